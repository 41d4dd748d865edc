//! The definition: one short, obvious function for each operation.
//!
//! | item | what it is |
//! |---|---|
//! | [`Reference`] | the backend |
//! | [`Mode`] | how values are rounded |
//! | [`Evaluator`], [`Step`] | a function made ready, and what an observer sees of it |
//! | [`Call`], [`call()`] | one operation on values: what `specialize` folds constants with |
//! | `inputs` | whether what callers give is what the function declares |
//! | `functions` | operation → function, the one place |
//! | `ops` | the functions, a file for each family |
//! | `arguments` | what they read: arguments by name, with defaults |
//! | `shape`, `places` | shapes computed with care; elements moved |
//! | `product` | sums of products |
//! | `round`, `ane` | FP16 edges; sums as the Neural Engine is reported to form them |
//!
//! # Numbers
//! A value is f32. Each operation is evaluated in f64 and each element of its result is rounded
//! once to f32, then as the [`Mode`] says: sums do not depend on the order of their terms, and what
//! another backend differs by is its own rounding. Integers are exact and wrap.

mod ane;
mod arguments;
mod call;
mod evaluator;
mod functions;
mod inputs;
mod ops;
mod places;
mod product;
mod round;
mod shape;
#[cfg(test)]
mod tests;

pub use call::{Argument, Call, call};
pub(super) use evaluator::REMEDY;
pub use evaluator::{Evaluator, Step};
pub(super) use functions::{Function as Definition, function as definition};
pub(super) use inputs::{missing, other, unknown};
pub(super) use ops::index::outside;
pub(super) use shape::elements;

use super::{Backend, Prepared, Shapes, Tensor, Tensors};
use crate::Result;
use crate::graph::Function;
use arguments::Arguments;

/// How values are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// FP16 results are not rounded, and among them what a compressed weight stands for: the
    /// mathematics of the program. What is stored as FP16 numbers, constants, scales and tables, and
    /// inputs of type FP16, is such: a package and its callers store no other.
    #[default]
    F32,
    /// What a value of type FP16 holds is rounded to FP16 after each operation, half to even; what
    /// is above FP16's range becomes infinite. Inside an operation nothing is rounded: a device that
    /// accumulates in FP16 does worse.
    F16,
    /// As [`Mode::F16`], and sums of products of type FP16 are formed as the Neural Engine is
    /// reported to: see the source of `ane` for what is reported and disputed.
    Ane,
}

/// Evaluates one operation after the other, each by its definition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference {
    /// How values are rounded.
    pub mode: Mode,
}

impl Reference {
    /// Evaluates a function once, showing each operation's results to `observe`. Shapes are what
    /// the inputs have. Who runs a function often makes an [`Evaluator`] once.
    ///
    /// # Errors
    /// As [`Prepared::run`]; whatever `observe` returns.
    pub fn evaluate(
        &self,
        function: &Function,
        inputs: &Tensors,
        states: &mut Tensors,
        observe: &mut dyn FnMut(&Step<'_>) -> Result<()>,
    ) -> Result<Tensors> {
        Evaluator::new(function, &Shapes::new(), self.mode)?.run(inputs, states, observe)
    }
}

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        Ok(Box::new(Evaluator::new(function, shapes, self.mode)?))
    }
}
