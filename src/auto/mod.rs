//! A scheme for each weight, chosen by what it costs the model: `--scheme auto`.
//!
//! Each weight is tried alone, in every scheme that it could have, and how far the model's outputs move
//! is measured. Divergences of single weights nearly add up, so that the best mix for any size lies on
//! one [`path`]; where on it a plan stands follows from the [`Budget`], by its bytes or its time, or by
//! running plans of the path, all weights together, until the cheapest is found that is near enough.
//!
//! | module | what it does |
//! |---|---|
//! | [`Budget`] | what a plan must hold |
//! | [`Form`] | a scheme, and what the layer multiplies the weight with |
//! | [`Subject`], [`Weight`], [`Variant`], [`Price`], [`Time`] | the weights, what they could become, and what that costs |
//! | [`Evaluator`] | who runs the model: the pipeline hands it in |
//! | [`measure()`] | each weight alone, nothing twice |
//! | [`path`] | the best mixes, from the smallest to the nearest |
//! | [`choose()`] | the one that holds the budget |
//! | `reasons` | why each weight has what it has, in words |
//! | [`Plan`] | the file: what was measured and chosen, and why; read again, and edited |

mod budget;
mod choose;
mod file;
mod form;
mod measure;
pub mod path;
mod reasons;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Metric};
pub use choose::{Choice, choose};
pub use file::{Candidate, Plan, Row};
pub use form::{Form, Input};
pub use measure::{Measured, measure};

use crate::Result;

/// What is chosen for.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The weights to choose for.
    pub weights: Vec<Weight>,
    /// What all other tensors cost.
    pub others: Price,
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
    /// What it could become, fitted to its shape; the smallest first, none twice.
    pub variants: Vec<Variant>,
}

/// One thing that a weight could become, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// The scheme, and what the weight meets.
    pub form: Form,
    /// What it costs.
    pub price: Price,
}

/// What weights cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Bytes of codes and parameters.
    pub bytes: u64,
    /// Their share of a call on a chip, where one is chosen for.
    pub time: Option<Time>,
}

/// A weight's share of a call on a chip, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Time {
    /// Of the call: reading and multiplying, whichever takes longer.
    pub call: f64,
    /// Of reading it alone.
    pub reading: f64,
}

impl Price {
    /// Both.
    pub fn and(self, other: Self) -> Self {
        let both =
            |(a, b): (Time, Time)| Time { call: a.call + b.call, reading: a.reading + b.reading };
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, time: self.time.zip(other.time).map(both) }
    }
}

impl Subject {
    /// Bits a weight of all tensors if they take so many bytes.
    pub fn bits(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.elements.max(1) as f64
    }

    /// What all tensors cost with these variants of the weights.
    pub fn price(&self, chosen: &[usize]) -> Price {
        let each = chosen.iter().zip(&self.weights).map(|(&c, weight)| weight.variants[c].price);
        each.fold(self.others, Price::and)
    }

    /// The forms of these variants.
    pub fn forms(&self, chosen: &[usize]) -> Vec<Form> {
        let each = chosen.iter().zip(&self.weights);
        each.map(|(&c, weight)| weight.variants[c].form).collect()
    }
}

/// Who runs the model. Divergences are of the budget's [`Metric`]: 0 is the model in float, and those of
/// single weights nearly add up.
pub trait Evaluator {
    /// How far the model moves with this weight so, and all others in float.
    ///
    /// # Errors
    /// Whatever quantizing or running ends in.
    fn alone(&mut self, weight: usize, form: Form) -> Result<f64>;

    /// How far it moves with all weights so, in their order, on all data, and all other tensors as the
    /// conversion stores them.
    ///
    /// # Errors
    /// As [`Evaluator::alone`].
    fn together(&mut self, forms: &[Form]) -> Result<f64>;
}
