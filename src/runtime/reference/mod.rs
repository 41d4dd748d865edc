//! The definition: one short, obvious function for each operation.
//!
//! | item | what it is |
//! |---|---|
//! | [`Reference`] | the backend |
//! | [`Mode`] | how values are rounded |
//! | [`Call`], [`call`] | one operation on values: what `specialize` folds constants with |

mod call;

pub use call::{Argument, Call, call};

use super::{Backend, Memory, Prepared, Shapes, Tensor, Tensors};
use crate::Result;
use crate::graph::{Function, Operation, ValueId};

/// How values are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All arithmetic in f32, FP16 values not rounded: the mathematics of the program.
    #[default]
    F32,
    /// What a value of type FP16 holds is rounded to FP16 after each operation.
    F16,
    /// As [`Mode::F16`], and sums of products are formed as the Neural Engine is reported to: see
    /// `ane`.
    Ane,
}

/// Evaluates one operation after the other, each by its definition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference {
    /// How values are rounded.
    pub mode: Mode,
}

/// What an observer sees after each operation.
#[derive(Debug)]
pub struct Step<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// The function's values so far: inputs, constants, results.
    pub values: &'a [Option<Tensor>],
    /// In [`Mode::Ane`]: sums whose partial sums passed the accumulator's limit.
    pub overflows: u64,
}

impl Step<'_> {
    /// A value that is known by now.
    pub fn value(&self, id: ValueId) -> Option<&Tensor> {
        self.values.get(id.0)?.as_ref()
    }
}

impl Reference {
    /// Evaluates a function, showing each operation's results to `observe`. Shapes are what the
    /// inputs have: nothing needs to be specialized.
    ///
    /// # Errors
    /// As [`Prepared::run`].
    pub fn evaluate(
        &self,
        function: &Function,
        inputs: &Tensors,
        states: &mut Tensors,
        observe: &mut dyn FnMut(&Step<'_>) -> Result<()>,
    ) -> Result<Tensors> {
        let _ = (function, inputs, states, observe);
        Err(crate::Error::bug("reference", "not written yet"))
    }
}

/// A function and a mode.
struct Ready {
    reference: Reference,
    function: Function,
}

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn prepare(&self, function: &Function, _: &Shapes) -> Result<Box<dyn Prepared>> {
        Ok(Box::new(Ready { reference: *self, function: function.clone() }))
    }
}

impl Prepared for Ready {
    fn run(&mut self, inputs: &Tensors, states: &mut Tensors, outputs: &mut Tensors) -> Result<()> {
        *outputs = self.reference.evaluate(&self.function, inputs, states, &mut |_| Ok(()))?;
        Ok(())
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }
}
