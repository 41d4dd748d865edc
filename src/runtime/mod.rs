//! Evaluating functions of the graph, on any machine.
//!
//! | item | what it is |
//! |---|---|
//! | [`Tensor`], [`Tensors`] | what goes in and comes out |
//! | [`Backend`], [`Prepared`] | who evaluates: made ready once for fixed shapes, then run many times |
//! | [`Reference`] | the definition: one short function for each operation, in f32 or as a device rounds |
//! | [`Cpu`] | the same numbers fast: packed weights, fused chains, no allocation while it runs |
//! | [`SharedCpu`] | the same for functions that share weights |
//! | [`integer`] | what happens between `quantize` and `dequantize`, in integers: the scalar model |
//! | [`specialize()`] | a function with every shape fixed and every constant folded |

mod constant;
pub mod cpu;
pub mod integer;
pub mod reference;
mod specialize;
mod tensor;

pub(crate) use constant::tensor_of;
pub use cpu::{Cpu, SharedCpu};
pub use reference::{Mode, Reference};
pub use specialize::{Shapes, specialize};
pub use tensor::{Data, Label, Tensor, Tensors};

use crate::Result;
use crate::graph::Function;

/// Who evaluates functions.
pub trait Backend: Sync {
    /// The word for it on the command line.
    fn name(&self) -> &'static str;

    /// Makes a function ready to run on inputs of these shapes (every input and state that is a
    /// tensor; those of fixed shape may be left out).
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for shapes that the function does not take;
    /// [`crate::Error::Input`] for an operation that this backend cannot run, by name.
    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>>;
}

/// A function made ready for inputs of fixed shapes.
pub trait Prepared: Send {
    /// Runs once: reads `inputs`, reads and replaces `states`, and writes `outputs`, whose buffers are
    /// reused where they fit. All maps go by the features' names. A state that is missing is
    /// zero; one that the function only reads stays as it is.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for an input that is missing, unknown, or of another type or shape.
    fn run(&mut self, inputs: &Tensors, states: &mut Tensors, outputs: &mut Tensors) -> Result<()>;

    /// What it holds.
    fn memory(&self) -> Memory;
}

/// What a prepared function holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Weights in a form of their own; those that are read where the package is mapped do not count,
    /// and those that it shares with another function count in each.
    pub weights: u64,
    /// Values between operations, and scratch space.
    pub activations: u64,
}
