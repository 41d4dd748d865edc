//! What runs, one file a family.
//!
//! | module | operations |
//! |---|---|
//! | [`elementwise`] | chains of operations on floating-point elements, as small register programs |
//! | [`integers`] | arithmetic and comparisons of integers |
//! | [`movement`] | transpose, slice, concat, pad, tile, …: strided copies, or no copy at all |
//! | [`gather`] | rows by index; of a compressed table only those that are asked for |
//! | [`layer`] | linear, matmul with a constant, conv as products with packed weights; W8A8 |
//! | [`stage`] | what follows a layer on the way to its codes |
//! | [`table`] | codes from codes, looked up |
//! | [`conv`] | images to columns and back, depthwise convolution |
//! | [`product`] | matmul of activations, attention |
//! | [`reduce`] | reductions, softmax, norms |
//! | [`pool`] | max and average pooling |
//! | [`window`] | windows that slide along an axis |
//! | [`fallback`] | everything else, as the reference does it |

mod conv;
pub(super) mod elementwise;
mod fallback;
mod gather;
mod integers;
pub(super) mod layer;
pub(super) mod movement;
pub(super) mod pool;
mod product;
mod reduce;
pub(super) mod stage;
pub(super) mod table;
mod window;

use super::buffers::{Buffer, Buffers, Place};
use super::node::{Found, Node};
use super::plan::Planner;
use crate::graph::ValueId;
use crate::runtime::Tensor;
use std::collections::BTreeMap;

/// What a step works on.
pub(super) struct Io<'a> {
    pub buffers: &'a Buffers,
    /// The buffers that it writes, taken out of the others.
    pub outputs: &'a mut [Buffer],
    /// Space that holds nothing between steps.
    pub scratch: &'a mut [f32],
    /// Results that lie in no buffer.
    pub labels: &'a mut BTreeMap<ValueId, Tensor>,
}

/// A step, ready to run any number of times. Its error is a sentence on the data.
pub(super) type Step = Box<dyn FnMut(&mut Io<'_>) -> Found<()> + Send>;

/// Copies a value.
pub(super) fn copy(from: Place) -> Step {
    Box::new(move |io| {
        io.outputs[0].copy_from(io.buffers, from);
        Ok(())
    })
}

/// The step of an operation. Each family says `None` to what it does not know, and the last one
/// knows all that the reference does.
pub(super) fn build(planner: &mut Planner<'_>, node: Node<'_>, outputs: &[Place]) -> Found<Step> {
    type Family = fn(&mut Planner<'_>, Node<'_>, &[Place]) -> Found<Option<Step>>;
    const FAMILIES: [Family; 7] = [
        movement::build,
        gather::build,
        layer::build,
        product::build,
        reduce::build,
        pool::build,
        integers::build,
    ];
    for family in FAMILIES {
        if let Some(step) = family(planner, node, outputs)? {
            return Ok(step);
        }
    }
    fallback::build(planner, node, outputs)
}
