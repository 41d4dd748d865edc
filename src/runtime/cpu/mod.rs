//! The same numbers as the reference, fast.
//!
//! A function is specialized for its shapes, brought to move codes instead of numbers (`codes`), put
//! in order (`schedule`), given places in buffers (`plan`) and turned into steps (`steps`), which `ready` runs one after the other. Weights
//! are packed and buffers allocated then; a run allocates nothing, except in operations that the
//! reference evaluates (`steps::fallback`), in products of activations that `gemm` packs, and what
//! rayon needs to wake its threads.
//!
//! | module | what it does |
//! |---|---|
//! | `node` | an operation as the planner reads it |
//! | `affine` | what the codes of a `quantize` or `dequantize` stand for |
//! | `codes` | codes are moved instead of the numbers that they stand for |
//! | `cone` | what is computed of one value alone on the way to its codes |
//! | `schedule` | which operations run as one, and in which order |
//! | `plan` | a place in a buffer for each value, a step for each item |
//! | `steps` | what runs, one file a family |
//! | `packed` | packed weights that functions share |
//! | `ready` | copy in, run, copy out |
//! | `buffers`, `strided`, `blocks` | memory, tensors seen through strides, work shared between threads |
//! | `math` | exponentials and their kin, on vectors |
//! | [`matrix`] | weights in lane order, and their products with activations |

mod affine;
mod blocks;
mod buffers;
mod codes;
mod cone;
mod math;
pub mod matrix;
mod node;
mod packed;
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
use packed::Packed;

/// Evaluates in f32 on the processor, with weights read as they are stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// [`Cpu`] for several functions of a package, or one in several shapes: a weight that they share is
/// packed once, for as long as one of them is alive. It is the same weight where its bytes are the
/// same bytes of the same file.
#[derive(Debug, Default)]
pub struct SharedCpu(Packed);

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        SharedCpu::default().prepare(function, shapes)
    }
}

impl Backend for SharedCpu {
    fn name(&self) -> &'static str {
        Cpu.name()
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        let mut function = specialize(function, shapes)?;
        codes::rewrite(&mut function);
        let plan = plan::plan(&function, &self.0)?;
        Ok(Box::new(ready::Ready::new(&function, plan)))
    }
}
