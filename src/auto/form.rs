//! What a weight could become: a scheme, and what the layer multiplies it with.

use crate::scheme::Scheme;
use serde::Deserialize;
use std::fmt;

/// What a layer multiplies its weight with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// Activations in float.
    #[default]
    Float,
    /// INT8 codes on the calibrated grid: with an INT8 weight, INT8 arithmetic.
    Int8,
}

impl Input {
    /// The word in a plan's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int8 => "int8",
        }
    }
}

/// What a weight could become.
///
/// | scheme | input | called |
/// |---|---|---|
/// | `linear-int8` | float | W8A16 |
/// | `linear-int8` | INT8 | W8A8 |
/// | `palette-6` | float | FP palette |
/// | `palette-6,lut-int8` | INT8 | INT8 palette |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// How the weight is stored.
    pub scheme: Scheme,
    /// What it meets.
    pub input: Input,
}

impl Form {
    /// A weight beside activations in float.
    pub const fn float(scheme: Scheme) -> Self {
        Self { scheme, input: Input::Float }
    }

    /// A weight beside INT8 activations.
    pub const fn int8(scheme: Scheme) -> Self {
        Self { scheme, input: Input::Int8 }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.input {
            Input::Float => write!(f, "{}", self.scheme),
            Input::Int8 => write!(f, "{} on INT8 inputs", self.scheme),
        }
    }
}
