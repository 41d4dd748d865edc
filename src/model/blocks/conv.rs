//! Convolutions over images.

use super::Conv;
use crate::Result;
use crate::graph::ValueId;
use crate::model::emit::Emitter;

/// A convolution of `[1, inputs, height, width]`.
pub(in crate::model) fn conv(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    of: &Conv,
) -> Result<ValueId> {
    let weight = e.weight(of.weight, &of.shape)?;
    let [height, width] = of.strides;
    let strides = e.ints(&[height as i32, width as i32])?;
    let (custom, pad) = (e.word("custom")?, e.ints(&[of.pad as i32; 4])?);
    let mut arguments = vec![("x", x), ("weight", weight)];
    if let Some(bias) = of.bias {
        arguments.push(("bias", e.weight(bias, &of.shape[..1])?));
    }
    arguments.extend([("strides", strides), ("pad_type", custom), ("pad", pad)]);
    e.op("conv", name, &arguments)
}
