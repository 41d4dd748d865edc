//! Linear layers, and parts of what they return.

use super::Linear;
use crate::Result;
use crate::graph::ValueId;
use crate::model::emit::{Emitter, Style};
use std::ops::Range;

/// `x · Wᵀ + b`; a 1x1 convolution where channels come first.
pub(in crate::model) fn linear(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    layer: &Linear,
) -> Result<ValueId> {
    let [inputs, outputs] = layer.shape;
    let (operation, shape) = match e.style() {
        Style::Gpu => ("linear", &[outputs, inputs][..]),
        Style::Ane => ("conv", &[outputs, inputs, 1, 1][..]),
    };
    let weight = e.weight(layer.weight, shape)?;
    let mut arguments = vec![("x", x), ("weight", weight)];
    if let Some(bias) = layer.bias {
        arguments.push(("bias", e.weight(bias, &[outputs])?));
    }
    e.op(operation, name, &arguments)
}

/// Some coordinates of hidden values.
pub(in crate::model) fn part(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    coordinates: Range<usize>,
) -> Result<ValueId> {
    match e.style() {
        Style::Gpu => e.slice(name, x, 3, 2, coordinates),
        Style::Ane => e.slice(name, x, 4, 1, coordinates),
    }
}
