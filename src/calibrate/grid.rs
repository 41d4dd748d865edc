//! Scale and zero point.

use super::Range;
use half::f16;
use std::{fmt, str::FromStr};

/// Whether 0 is the middle of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Symmetry {
    /// The zero point is 0: what coremltools calibrates.
    Symmetric,
    /// It is where the range puts it: one code more a range that lies on one side of 0.
    Asymmetric,
}

impl FromStr for Symmetry {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "symmetric" => Ok(Self::Symmetric),
            "asymmetric" => Ok(Self::Asymmetric),
            _ => Err(format!("unknown grid `{word}`; use symmetric or asymmetric")),
        }
    }
}

impl fmt::Display for Symmetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Symmetric => "symmetric",
            Self::Asymmetric => "asymmetric",
        })
    }
}

/// The numbers that the codes stand for: `scale · (q − zero_point)`, `q` from −128 to 127, as the pair
/// of CoreML's `quantize` (`q = clip(round_half_even(x / scale) + zero_point)`) and `dequantize` has
/// them.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Grid {
    /// An FP16 number above 0.
    pub scale: f32,
    /// A code.
    pub zero_point: i32,
}

impl Grid {
    /// The grid of a range: `scale = max(|low|, |high|) / 127` if it is symmetric, else
    /// `(high − low) / 255` and `zero_point = round_half_even(−128 − low / scale)`, with the range
    /// widened to hold 0. The scale is rounded to FP16 first, not below 2⁻²⁴; of a range of zeros it
    /// is 1.
    pub fn of(range: Range, symmetry: Symmetry) -> Self {
        let (low, high) = (range.low.min(0.0), range.high.max(0.0));
        let exact = match symmetry {
            Symmetry::Symmetric => high.max(-low) / 127.0,
            Symmetry::Asymmetric => (high - low) / 255.0,
        };
        let scale = match exact > 0.0 {
            true => f16::from_f64(exact).max(f16::from_bits(1)).to_f32(),
            false => 1.0,
        };
        let zero_point = match symmetry {
            Symmetry::Symmetric => 0,
            Symmetry::Asymmetric => {
                (-128.0 - low / f64::from(scale)).round_ties_even().clamp(-128.0, 127.0) as i32
            }
        };
        Self { scale, zero_point }
    }

    /// What a code stands for.
    pub fn value(&self, code: i32) -> f64 {
        f64::from(self.scale) * f64::from(code - self.zero_point)
    }
}
