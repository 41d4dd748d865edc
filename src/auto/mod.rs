//! A scheme for each weight, chosen by what it costs the model: `--scheme auto`.
//!
//! Each weight is tried alone, in every scheme that it could have, and how far the model's outputs move
//! is measured. Divergences of single weights nearly add up, so that the best mix for any size lies on
//! one [`path`]; where on it a plan stands follows from the [`Budget`], by its bytes, or by running
//! plans of the path, all weights together, until the smallest is found that is near enough.
//!
//! | module | what it does |
//! |---|---|
//! | [`Budget`] | what a plan must hold |
//! | [`Subject`], [`Weight`] | the weights, and what they could become |
//! | [`Evaluator`] | who runs the model: the pipeline hands it in |
//! | [`measure()`] | each weight alone, nothing twice |
//! | [`path`] | the best mixes, from the smallest to the nearest |
//! | [`choose()`] | the one that holds the budget |
//! | [`Plan`] | the file: what was measured and chosen, and why; read again, and edited |

mod budget;
mod choose;
mod file;
mod measure;
pub mod path;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Metric};
pub use choose::{Choice, choose};
pub use file::{Candidate, Plan, Row};
pub use measure::{Measured, measure};

use crate::Result;
use crate::scheme::Scheme;

/// What is chosen for.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The weights to choose for.
    pub weights: Vec<Weight>,
    /// Bytes of all other tensors.
    pub other_bytes: u64,
    /// Elements of all tensors, those included.
    pub elements: u64,
}

/// A weight and what it could become.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its name.
    pub name: String,
    /// How many numbers it holds.
    pub elements: u64,
    /// Schemes as they would be, fitted to its shape, with the bytes of codes and parameters; the
    /// smallest first, none twice.
    pub candidates: Vec<(Scheme, u64)>,
}

impl Subject {
    /// Bits a weight of all tensors if the weights take so many bytes.
    pub fn bits(&self, bytes: u64) -> f64 {
        self.other_bytes.saturating_add(bytes) as f64 * 8.0 / self.elements.max(1) as f64
    }

    /// The most bytes that the weights may take for so many bits a weight.
    fn room(&self, bits: f64) -> u64 {
        // Saturates: a float beyond u64 becomes its largest number.
        ((bits * self.elements as f64 / 8.0).floor() as u64).saturating_sub(self.other_bytes)
    }
}

/// Who runs the model. Divergences are of the budget's [`Metric`]: 0 is the model in float, and those of
/// single weights nearly add up.
pub trait Evaluator {
    /// How far the model moves with this weight stored so, and all others in float.
    ///
    /// # Errors
    /// Whatever quantizing or running ends in.
    fn alone(&mut self, weight: usize, scheme: Scheme) -> Result<f64>;

    /// How far it moves with all weights stored so, in their order, on all data, and all other tensors as the conversion
    /// stores them.
    ///
    /// # Errors
    /// As [`Evaluator::alone`].
    fn together(&mut self, schemes: &[Scheme]) -> Result<f64>;
}
