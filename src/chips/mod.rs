//! What is known of Apple's chips: rates and bandwidths, each with its source, and the roofline that
//! follows from them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Chip`], [`Figure`], [`Fact`] | one chip; what is not known is `None` |
//! | `table` | the chips |
//! | [`Stored`] | what reading a stored weight costs on a unit, which is not always its bytes |
//! | [`roofline`] | the time of work on a unit of a chip |
//! | [`forecast`] | the least time of a function, product by product |
//!
//! Nothing here was measured by this project.

pub mod forecast;
pub mod roofline;
mod stored;
mod table;

pub use stored::Stored;

use crate::text::nearest;
use crate::{Error, Result};
use serde::Serialize;

/// One chip. Operations count a multiply-add as two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chip {
    /// As Apple writes it: `M5 Max`.
    pub name: &'static str,
    /// DRAM bandwidth as specified, GB/s (1e9 bytes).
    pub dram_gbps: Figure,
    /// What CPU clusters reached of it.
    pub cpu_gbps: Option<Figure>,
    /// What the GPU reached of it.
    pub gpu_gbps: Option<Figure>,
    /// The system-level cache, which all units share, MB (1e6 bytes).
    pub slc_mb: Option<Figure>,
    /// The Neural Engine's rate with an FP16 operand, 1e12 operations a second.
    pub ane_fp16_tops: Option<Figure>,
    /// Its rate where both operands are INT8.
    pub ane_int8_tops: Option<Figure>,
    /// How fast it reads weights, GB/s: never the DRAM's figure.
    pub ane_weight_gbps: Option<Figure>,
    /// The largest operand that it keeps on chip, MiB.
    pub ane_operand_mib: Option<Figure>,
    /// The largest width or height of a tensor on it.
    pub ane_axis: Option<Figure>,
    /// What a call of it costs, however small, ms.
    pub ane_call_ms: Option<Figure>,
    /// Whether it is faster where both operands are INT8 than where one is FP16.
    pub ane_int8_path: Option<Fact>,
    /// Whether linear INT8 weights stay bytes in DRAM; where not, they are expanded to FP16 before they
    /// are read. Palettes and masks stay compressed on all chips.
    pub ane_streams_linear: Option<Fact>,
    /// The same of codes with a scale for each block.
    pub ane_streams_blocks: Option<Fact>,
    /// Whether palettes of fewer than 8 bits are read faster than bytes.
    pub ane_streams_narrow_palettes: Option<Fact>,
    /// The GPU's rate in FP16, of its matrix units where it has them.
    pub gpu_fp16_tflops: Option<Figure>,
    /// Its rate where both operands are INT8; `None` where it has no such path, or it is unknown.
    pub gpu_int8_tops: Option<Figure>,
    /// The CPU's matrix units (SME) in FP16, all clusters.
    pub cpu_fp16_tflops: Option<Figure>,
    /// The same in INT8.
    pub cpu_int8_tops: Option<Figure>,
}

/// A number, how it came to be, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// How it came to be.
    pub kind: Kind,
    /// Who says so.
    pub source: &'static str,
}

/// What holds or does not, how that is known, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Whether it holds.
    pub holds: bool,
    /// How that is known.
    pub kind: Kind,
    /// Who says so.
    pub source: &'static str,
}

/// How a figure came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Apple's own word.
    Spec,
    /// Measured by the source.
    Measured,
    /// Computed from other public figures.
    Derived,
    /// Stated without a method.
    Claimed,
}

impl Kind {
    /// In words: `measured`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spec => "said by Apple",
            Self::Measured => "measured",
            Self::Derived => "derived",
            Self::Claimed => "claimed",
        }
    }
}

impl Figure {
    /// A figure.
    pub const fn new(value: f64, kind: Kind, source: &'static str) -> Self {
        Self { value, kind, source }
    }
}

impl Fact {
    /// A fact.
    pub const fn new(holds: bool, kind: Kind, source: &'static str) -> Self {
        Self { holds, kind, source }
    }
}

impl Chip {
    /// All chips.
    pub fn all() -> &'static [Self] {
        table::CHIPS
    }

    /// The chip of this name; case, spaces and hyphens do not matter.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown one, with the nearest.
    pub fn find(name: &str) -> Result<&'static Self> {
        let wanted = plain(name);
        if let Some(chip) = Self::all().iter().find(|chip| plain(chip.name) == wanted) {
            return Ok(chip);
        }
        let names: Vec<String> = Self::all().iter().map(|chip| plain(chip.name)).collect();
        let near = nearest(&wanted, names.iter().map(String::as_str));
        let near = near.and_then(|near| names.iter().position(|name| name == near));
        let remedy = match near {
            Some(place) => format!("did you mean {}?", Self::all()[place].name),
            None => {
                let names: Vec<_> = Self::all().iter().map(|chip| chip.name).collect();
                format!("known are {}", names.join(", "))
            }
        };
        let name = crate::text::printable(name);
        Err(Error::Usage(format!("unknown chip `{name}`; {remedy}")))
    }
}

impl Chip {
    /// How many times the FP16 rate the Neural Engine reached with both operands INT8; `None` where
    /// nobody measured both.
    pub fn ane_int8_gain(&self) -> Option<f64> {
        Some(self.ane_int8_tops?.value / self.ane_fp16_tops?.value)
    }
}

/// A name without case, spaces and hyphens.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_however_they_are_written() {
        for word in ["M5 Max", "m5max", "M5-MAX", "m5 max"] {
            assert_eq!(Chip::find(word).unwrap().name, "M5 Max");
        }
        insta::assert_snapshot!(Chip::find("M5 Mux").unwrap_err(), @"unknown chip `M5 Mux`; did you mean M5 Max?");
        assert!(Chip::find("Pentium").unwrap_err().to_string().contains("known are A14, "));
    }

    #[test]
    fn what_was_measured_does_not_contradict_what_is_said_of_the_int8_path() {
        for chip in Chip::all() {
            let (Some(gain), Some(path)) = (chip.ane_int8_gain(), chip.ane_int8_path) else {
                continue;
            };
            assert_eq!(gain > 1.1, path.holds, "{}: {gain}", chip.name);
        }
        assert!(Chip::find("M2").unwrap().ane_int8_path.is_none(), "no source says either");
    }

    #[test]
    fn each_figure_is_positive_and_each_name_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for chip in Chip::all() {
            assert!(names.insert(plain(chip.name)), "{}", chip.name);
            assert!(chip.dram_gbps.value > 0.0, "{}", chip.name);
            let rates = [chip.cpu_gbps, chip.gpu_gbps];
            for reached in rates.into_iter().flatten() {
                assert!(
                    reached.value > 0.0 && reached.value <= chip.dram_gbps.value,
                    "{}",
                    chip.name
                );
            }
        }
    }
}
