//! The same numbers as the reference, fast.
//!
//! | module | what it does |
//! |---|---|
//! | [`matrix`] | weights in lane order, and their products with activations |

pub mod matrix;

use super::{Backend, Prepared, Reference, Shapes};
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
        Reference::default().prepare(function, shapes)
    }
}
