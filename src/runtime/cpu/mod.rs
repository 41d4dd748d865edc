//! The same numbers as the reference, fast.
//!
//! A function is specialized for its shapes, put in order (`schedule`), given places in buffers
//! (`plan`) and turned into steps (`steps`), which `ready` runs one after the other. Weights
//! are packed and buffers allocated then; a run allocates nothing, except in operations that the
//! reference evaluates (`steps::fallback`), in products of activations that `gemm` packs, and what
//! rayon needs to wake its threads.
//!
//! | module | what it does |
//! |---|---|
//! | `node` | an operation as the planner reads it |
//! | `schedule` | which operations run as one, and in which order |
//! | `plan` | a place in a buffer for each value, a step for each item |
//! | `steps` | what runs, one file a family |
//! | `ready` | copy in, run, copy out |
//! | `buffers`, `strided`, `blocks` | memory, tensors seen through strides, work shared between threads |
//! | `math` | exponentials and their kin, on vectors |
//! | [`matrix`] | weights in lane order, and their products with activations |

mod blocks;
mod buffers;
mod math;
pub mod matrix;
mod node;
mod plan;
mod ready;
mod schedule;
mod steps;
mod strided;
#[cfg(test)]
mod tests;

use super::{Backend, Prepared, Shapes, specialize};
use crate::Result;
use crate::graph::Function;

/// Evaluates in f32 on the processor, with weights read as they are stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        let function = specialize(function, shapes)?;
        let plan = plan::plan(&function)?;
        Ok(Box::new(ready::Ready::new(&function, plan)))
    }
}
