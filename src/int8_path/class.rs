//! In which arithmetic a product runs.

use serde::{Deserialize, Serialize};

/// The arithmetic of a product, which follows from its two operands.
///
/// Ordered from the fastest on hardware that has an INT8 path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Both operands are INT8: activations between pairs, linear codes with one scale a tensor or
    /// output channel (or activations too).
    W8a8,
    /// Both operands are INT8, the weight by a palette whose entries are INT8.
    Lut8a8,
    /// Linear codes (8 or 4 bits) are expanded to float, and meet float.
    W8a16,
    /// Palette indices are expanded to float, and meet float.
    FpPalette,
    /// Float meets float.
    Float,
}

impl Class {
    /// All, in order.
    pub const ALL: [Self; 5] =
        [Self::W8a8, Self::Lut8a8, Self::W8a16, Self::FpPalette, Self::Float];

    /// Whether the arithmetic is INT8.
    pub fn is_int8(self) -> bool {
        match self {
            Self::W8a8 | Self::Lut8a8 => true,
            Self::W8a16 | Self::FpPalette | Self::Float => false,
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::W8a8 => "W8A8",
            Self::Lut8a8 => "LUT8A8",
            Self::W8a16 => "W8A16",
            Self::FpPalette => "FP palette",
            Self::Float => "float",
        }
    }

    /// What it means, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::W8a8 => "INT8 x INT8",
            Self::Lut8a8 => "INT8 table x INT8",
            Self::W8a16 => "integer codes, multiplied in float",
            Self::FpPalette => "palette, multiplied in float",
            Self::Float => "float x float",
        }
    }
}
