//! A scheme against a shape: blocks, groups and vectors must divide. Where they do not, the nearest
//! that does is taken, and said.

use crate::scheme::{Linear, LinearGranularity, Palette, PaletteGranularity, Scheme};

/// The smallest block or group that a fallback takes: below it, parameters outweigh codes.
pub const SMALLEST_FALLBACK: u32 = 4;

/// `scheme` where it fits a weight of this shape (rank ≥ 2, not empty), else the nearest that
/// does, with a note for each change.
///
/// - A block or group that does not divide becomes the largest divisor that is at most as large and
///   at least [`SMALLEST_FALLBACK`] (and a multiple of the vector); failing that, one scale a
///   channel, one table a tensor.
/// - Vectors that do not divide their axis become single weights, with the same index bits.
pub fn fit(scheme: Scheme, shape: &[usize]) -> (Scheme, Vec<String>) {
    let mut notes = vec![];
    let fitted = match scheme {
        Scheme::Float(_) => scheme,
        Scheme::Linear(linear) => Scheme::Linear(fit_linear(linear, shape, &mut notes)),
        Scheme::Palette(palette) => Scheme::Palette(fit_palette(palette, shape, &mut notes)),
    };
    (fitted, notes)
}

/// `scheme` for a weight whose output channels lie along its second axis: what runs along outputs
/// runs along that axis.
pub fn turn(scheme: Scheme) -> (Scheme, Vec<String>) {
    match scheme {
        Scheme::Linear(linear) => {
            let mut notes = vec![];
            let granularity = match linear.granularity {
                LinearGranularity::Tensor => LinearGranularity::Tensor,
                LinearGranularity::Channel { axis } => {
                    LinearGranularity::Channel { axis: 1 - axis }
                }
                LinearGranularity::Block { size } => {
                    notes.push(format!(
                        "block:{size} runs along the second axis, and inputs lie along the first → channel"
                    ));
                    LinearGranularity::Channel { axis: 1 }
                }
            };
            (Scheme::Linear(Linear { granularity, ..linear }), notes)
        }
        Scheme::Palette(palette) => {
            (Scheme::Palette(Palette { axis: 1 - palette.axis, ..palette }), vec![])
        }
        Scheme::Float(_) => (scheme, vec![]),
    }
}

fn fit_linear(linear: Linear, shape: &[usize], notes: &mut Vec<String>) -> Linear {
    let LinearGranularity::Block { size } = linear.granularity else { return linear };
    let inputs = shape[1];
    if divides(size, inputs) {
        return linear;
    }
    let granularity = match largest_divisor(inputs, size, 1) {
        Some(smaller) => {
            notes.push(replaced("block", size, inputs, &format!("block:{smaller}"), true));
            LinearGranularity::Block { size: smaller }
        }
        None => {
            notes.push(replaced("block", size, inputs, "channel", false));
            LinearGranularity::Channel { axis: 0 }
        }
    };
    Linear { granularity, ..linear }
}

fn fit_palette(mut palette: Palette, shape: &[usize], notes: &mut Vec<String>) -> Palette {
    let channels = shape[usize::from(palette.axis)];
    if !divides(palette.vector.into(), channels) {
        notes.push(format!(
            "vector:{} does not divide {channels} → single weights of {} bits",
            palette.vector, palette.bits
        ));
        palette.vector = 1;
    }
    if let PaletteGranularity::Group { size } = palette.granularity
        && !divides(size, channels)
    {
        palette.granularity = match largest_divisor(channels, size, palette.vector.into()) {
            Some(smaller) => {
                notes.push(replaced("group", size, channels, &format!("group:{smaller}"), true));
                PaletteGranularity::Group { size: smaller }
            }
            None => {
                notes.push(replaced("group", size, channels, "tensor", false));
                PaletteGranularity::Tensor
            }
        };
    }
    if palette.vector == 1 && palette.granularity == PaletteGranularity::Tensor {
        palette.axis = 0; // One table of single weights has no axis.
    }
    palette
}

fn replaced(what: &str, size: u32, of: usize, by: &str, divisor: bool) -> String {
    let reason = if divisor { "largest divisor" } else { "no divisor" };
    format!("{what}:{size} does not divide {of} → {by} ({reason} ≥ {SMALLEST_FALLBACK})")
}

fn divides(size: u32, n: usize) -> bool {
    n.is_multiple_of(size as usize)
}

/// The largest divisor of `n` in [`SMALLEST_FALLBACK`]`..=most` that is a multiple of `unit`.
fn largest_divisor(n: usize, most: u32, unit: u32) -> Option<u32> {
    // A divisor above n's root belongs to one below it, so n's root bounds the walk.
    let fits = |d: usize| {
        let d = u32::try_from(d).ok()?;
        (d >= SMALLEST_FALLBACK && d <= most && d.is_multiple_of(unit)).then_some(d)
    };
    (1..=n.isqrt())
        .filter(|d| n.is_multiple_of(*d))
        .flat_map(|d| [fits(d), fits(n / d)])
        .flatten()
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_divide_falls_to_the_nearest_that_does_and_says_so() {
        #[rustfmt::skip]
        let cases: &[(&str, &[usize], &str, &str)] = &[
            ("linear-int4,block:32", &[8, 64],       "linear-int4,block:32", ""),
            ("linear-int4,block:32", &[8, 172],      "linear-int4,block:4",  "block:32 does not divide 172 → block:4 (largest divisor ≥ 4)"),
            ("linear-int4,block:32", &[8, 16],       "linear-int4,block:16", "block:32 does not divide 16 → block:16 (largest divisor ≥ 4)"),
            ("linear-int4,block:32", &[8, 7],        "linear-int4,block:7",  "block:32 does not divide 7 → block:7 (largest divisor ≥ 4)"),
            ("linear-int8,block:32,asymmetric", &[8, 62], "linear-int8,block:31,asymmetric", "block:32 does not divide 62 → block:31 (largest divisor ≥ 4)"),
            ("linear-int8,block:32,asymmetric", &[8, 74], "linear-int8,asymmetric", "block:32 does not divide 74 → channel (no divisor ≥ 4)"),
            ("linear-int8,block:2",  &[8, 3],        "linear-int8",          "block:2 does not divide 3 → channel (no divisor ≥ 4)"),
            ("linear-int8,block:2",  &[8, 6],        "linear-int8,block:2",  ""),
            ("linear-int8,block:32", &[16, 3, 3, 3], "linear-int8",          "block:32 does not divide 3 → channel (no divisor ≥ 4)"),
            ("palette-4,group:16",   &[32, 3],       "palette-4,group:16",   ""),
            ("palette-4,group:16",   &[24, 3],       "palette-4,group:12",   "group:16 does not divide 24 → group:12 (largest divisor ≥ 4)"),
            ("palette-4,group:16",   &[37, 3],       "palette-4",            "group:16 does not divide 37 → tensor (no divisor ≥ 4)"),
            ("palette-4,group:16,axis:1", &[32, 37], "palette-4",            "group:16 does not divide 37 → tensor (no divisor ≥ 4)"),
            ("palette-4,vector:2,axis:1", &[32, 37], "palette-4",            "vector:2 does not divide 37 → single weights of 4 bits"),
            ("palette-4,vector:4",   &[32, 37],      "palette-4,vector:4",   ""),
            ("palette-4,vector:2,group:16", &[18, 9], "palette-4,group:6,vector:2", "group:16 does not divide 18 → group:6 (largest divisor ≥ 4)"),
            ("palette-4,vector:2,group:8",  &[15, 9], "palette-4,group:5",   "vector:2 does not divide 15 → single weights of 4 bits; group:8 does not divide 15 → group:5 (largest divisor ≥ 4)"),
            ("float16",              &[7, 7],        "float16",              ""),
        ];
        for (asked, shape, got, notes) in cases {
            let (scheme, told) = fit(asked.parse().expect(asked), shape);
            assert_eq!(scheme.to_string(), *got, "{asked} on {shape:?}");
            assert_eq!(told.join("; "), *notes, "{asked} on {shape:?}");
        }
    }

    proptest! {
        #[test]
        fn the_divisor_equals_the_one_that_trying_each_finds(n in 1usize..5000, most in 1u32..600, unit in prop::sample::select(vec![1u32, 2, 4])) {
            let slow = (SMALLEST_FALLBACK..=most).rev().find(|d| n % *d as usize == 0 && d % unit == 0);
            prop_assert_eq!(largest_divisor(n, most, unit), slow);
        }
    }
}
