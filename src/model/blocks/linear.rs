//! Linear layers.

use super::Linear;
use crate::Result;
use crate::graph::ValueId;
use crate::model::emit::Emitter;

/// `x · Wᵀ + b`.
pub(in crate::model) fn linear(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    layer: &Linear,
) -> Result<ValueId> {
    let [inputs, outputs] = layer.shape;
    let weight = e.weight(layer.weight, &[outputs, inputs])?;
    let mut arguments = vec![("x", x), ("weight", weight)];
    if let Some(bias) = layer.bias {
        arguments.push(("bias", e.weight(bias, &[outputs])?));
    }
    e.op("linear", name, &arguments)
}
