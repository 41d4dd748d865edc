//! Columns of unlike size, made alike: what a layer reads is divided by a factor for each column, and its
//! weight's columns are multiplied by it, which changes no product.
//!
//! `W x = (W · diag(s)) (diag(1/s) x)`. The division costs nothing where what makes `x` can take it up:
//! the gains and offsets of a norm, the rows of the layer before, as far back as operations are homogeneous
//! in each channel, through attention to its values. [`Smooth`] says where the factors come from:
//!
//! - from a calibration, SmoothQuant's migration (Xiao et al. 2022, arXiv:2211.10438): outlier columns of
//!   activations move into weights or back. Where nothing takes the division up, a multiplication is
//!   put in, if the outlier is worth it;
//! - from the weights alone, cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721).
//!
//! **Factors are powers of two**: a rewritten model in FP16 computes bit for bit what the one before did,
//! but for what leaves the range of normal numbers on the way.
//!
//! | item | what it is |
//! |---|---|
//! | [`Smooth`] | where factors come from |
//! | [`plan()`], [`Step`], [`Scaled`] | what would be done, for a model's functions |
//! | `place` | one value: the weights around it |
//! | `absorb` | what takes the division up |
//! | `attention` | the way of values through attention |
//! | `magnitudes` | how large rows and columns of weights are |
//! | `factors` | columns → powers of two |
//! | [`insert()`], [`strip()`] | the multiplications, put into a function and taken out again |

mod absorb;
mod attention;
mod factors;
mod insert;
mod magnitudes;
mod place;
mod plan;
mod step;
#[cfg(test)]
mod tests;

pub use insert::{insert, strip};
pub use plan::{Model, plan};
pub use step::{Repeat, Scaled, Step};

use serde::{Serialize, Serializer};
use std::fmt;

/// Where factors come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smooth {
    /// `s = rms(x)^α / rms(w)^(1−α)` of each column, `x` as it was counted. 0.5 shares an outlier between
    /// activations and weights, 0 leaves the weights' columns equal (for activations that stay in
    /// float), 1 those of the activations.
    Measured(f64),
    /// `s = √(max|row before| / max|column|)`: the two are equal then.
    Equalized,
}

impl Smooth {
    /// The word that asks for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Measured(_) => "--smooth",
            Self::Equalized => "--equalize",
        }
    }
}

/// As words of the command line.
impl fmt::Display for Smooth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(alpha) => write!(f, "{}={alpha}", self.word()),
            Self::Equalized => f.write_str(self.word()),
        }
    }
}

impl Serialize for Smooth {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Measured(alpha) => to.serialize_f64(*alpha),
            Self::Equalized => to.serialize_str("equalized"),
        }
    }
}
