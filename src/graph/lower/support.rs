//! Which target first has a form for a scheme, and what to use before it.
//!
//! iOS 16 has three forms: `constexpr_affine_dequantize` (INT8, one scale a tensor or channel),
//! `constexpr_lut_to_dense` (one FP16 table of 2, 4, 16, 64 or 256 entries) and
//! `constexpr_sparse_to_dense`. Everything else came with iOS 18.

use crate::graph::DataType;
use crate::graph::weight::Storage;
use crate::scheme::{Entries, LinearBits, LinearGranularity, PaletteGranularity, Scheme};
use crate::target::Target;
use crate::{Error, Result};

/// What no form before iOS 18 can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    Int4,
    Blocks,
    ThreeBits,
    Groups,
    Vectors,
    Int8Entries,
    ScaledInside,
    Joint,
}

impl Novelty {
    /// What it is, and what would do on older targets.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Int4 => ("4-bit linear codes", "palette-4"),
            Self::Blocks => ("one scale a block", "one scale a channel (`channel`)"),
            Self::ThreeBits => ("a palette of 3 bits", "palette-4"),
            Self::Groups => ("a table a group of channels", "one table a tensor (`tensor`)"),
            Self::Vectors => ("palettes of vectors", "a palette without `vector:`"),
            Self::Int8Entries => ("INT8 palette entries", "a palette without `lut-int8`"),
            Self::ScaledInside => {
                ("a scale inside a palettized weight", "a palette without `channel-scale`")
            }
            Self::Joint => ("a sparse weight that is also quantized", "either of the two alone"),
        }
    }
}

/// What `scheme` asks that came with iOS 18.
fn novelty(scheme: Scheme) -> Option<Novelty> {
    match scheme {
        Scheme::Float(_) => None,
        Scheme::Linear(linear) => match (linear.bits, linear.granularity) {
            (LinearBits::Int4, _) => Some(Novelty::Int4),
            (LinearBits::Int8, LinearGranularity::Block { .. }) => Some(Novelty::Blocks),
            (LinearBits::Int8, LinearGranularity::Tensor | LinearGranularity::Channel { .. }) => {
                None
            }
        },
        Scheme::Palette(palette) => {
            let grouped = matches!(palette.granularity, PaletteGranularity::Group { .. });
            first(&[
                (palette.bits == 3, Novelty::ThreeBits),
                (grouped, Novelty::Groups),
                (palette.vector > 1, Novelty::Vectors),
                (palette.entries == Entries::Int8, Novelty::Int8Entries),
            ])
        }
    }
}

/// What `storage` holds that came with iOS 18; for weights that no scheme of ours describes too.
pub(super) fn novelty_of(storage: &Storage) -> Option<Novelty> {
    match storage {
        Storage::Dense(_) => None,
        Storage::Linear { codes, scale, .. } => first(&[
            (!matches!(codes.dtype, DataType::Int8 | DataType::UInt8), Novelty::Int4),
            (scaled_axis(&scale.shape, &codes.shape).is_none(), Novelty::Blocks),
        ]),
        Storage::Palette { table, table_scale, channel_scale, .. } => {
            let (groups, entry) = table.shape.split_at(table.shape.len().saturating_sub(2));
            first(&[
                (entry.first() == Some(&8), Novelty::ThreeBits),
                (groups.iter().any(|&g| g != 1), Novelty::Groups),
                (entry.last() != Some(&1), Novelty::Vectors),
                (table_scale.is_some(), Novelty::Int8Entries),
                (channel_scale.is_some(), Novelty::ScaledInside),
            ])
        }
        Storage::Sparse { values, .. } => {
            (!matches!(**values, Storage::Dense(_))).then_some(Novelty::Joint)
        }
    }
}

/// The axis that a scale runs along, if it is one scale a tensor (then 0) or one a channel.
pub(super) fn scaled_axis(scale: &[usize], shape: &[usize]) -> Option<usize> {
    let mut axes = scale.iter().enumerate().filter(|(_, n)| **n != 1).map(|(axis, _)| axis);
    match (axes.next(), axes.next()) {
        (None, _) => Some(0),
        (Some(axis), None) if shape.get(axis) == scale.get(axis) => Some(axis),
        _ => None,
    }
}

fn first(found: &[(bool, Novelty)]) -> Option<Novelty> {
    found.iter().find(|(holds, _)| *holds).map(|&(_, novelty)| novelty)
}

/// Whether `target` has a form for this scheme.
///
/// # Errors
/// [`Error::Usage`], naming the first target that has one, and what to use instead.
pub fn supports(scheme: Scheme, target: Target) -> Result<()> {
    refuse(novelty(scheme), target)
}

pub(super) fn refuse(novelty: Option<Novelty>, target: Target) -> Result<()> {
    let Some(novelty) = novelty.filter(|_| target < Target::Ios18) else { return Ok(()) };
    let (what, instead) = novelty.words();
    let [ios, macos] = Target::Ios18.names();
    Err(Error::Usage(format!(
        "{target} has no form for {what}: {ios} ({macos}) is the first target that has; \
         use `--target {ios}`, or on {target} {instead}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{Float, Linear, Palette};

    const PALETTE: Palette = Palette {
        bits: 4,
        granularity: PaletteGranularity::Tensor,
        vector: 1,
        axis: 0,
        entries: Entries::F16,
        channel_scale: false,
        unique: false,
    };

    fn linear(bits: LinearBits, granularity: LinearGranularity) -> Scheme {
        Scheme::Linear(Linear { bits, asymmetric: true, granularity })
    }

    #[test]
    fn each_scheme_has_a_first_target_and_older_ones_name_it() {
        use LinearGranularity::{Block, Channel, Tensor};
        let group = PaletteGranularity::Group { size: 16 };
        #[rustfmt::skip]
        let cases = [
            (Scheme::Float(Float::F32),                                  Target::Ios16),
            (linear(LinearBits::Int8, Tensor),                           Target::Ios16),
            (linear(LinearBits::Int8, Channel { axis: 1 }),              Target::Ios16),
            (linear(LinearBits::Int8, Block { size: 32 }),               Target::Ios18),
            (linear(LinearBits::Int4, Tensor),                           Target::Ios18),
            (Scheme::Palette(PALETTE),                                   Target::Ios16),
            (Scheme::Palette(Palette { channel_scale: true, ..PALETTE }), Target::Ios16),
            (Scheme::Palette(Palette { bits: 3, ..PALETTE }),            Target::Ios18),
            (Scheme::Palette(Palette { granularity: group, ..PALETTE }), Target::Ios18),
            (Scheme::Palette(Palette { vector: 2, ..PALETTE }),          Target::Ios18),
            (Scheme::Palette(Palette { entries: Entries::Int8, ..PALETTE }), Target::Ios18),
        ];
        for (scheme, first) in cases {
            for target in Target::ALL {
                assert_eq!(
                    supports(scheme, target).is_ok(),
                    target >= first,
                    "{scheme:?} {target}"
                );
            }
        }
    }

    #[test]
    fn the_refusal_says_what_would_do() {
        let int4 = linear(LinearBits::Int4, LinearGranularity::Tensor);
        insta::assert_snapshot!(supports(int4, Target::Ios16).unwrap_err(), @"ios16 has no form for 4-bit linear codes: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios16 palette-4");
    }
}
