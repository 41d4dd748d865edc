//! INT8 activations.

use super::super::places::{array, flat};
use super::elementwise::{dtype, zip};
use super::{Arguments, One, Tensor};
use ndarray::{ArrayD, IxDyn};

/// `clamp(round(x / scale) + zero_point)` to the range of the type, half to even. The quotient is
/// formed in f32, as coremltools does. NaN becomes the zero point.
pub(in super::super) fn quantize(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("input")?;
    let word = arguments.text("output_dtype")?;
    let dtype = dtype(word).ok_or_else(|| format!("`output_dtype` is `{word}`"))?;
    let (low, high) = dtype.range().ok_or_else(|| format!("`output_dtype` is `{word}`"))?;
    let (scale, zero) = scale_and_zero(arguments, x.shape())?;
    let steps = zip(x, &scale, |x, scale| (x / scale).round_ties_even())?;
    let code = |&step: &f32, &zero: &i32| {
        (step as i64).saturating_add(zero.into()).clamp(low, high) as i32
    };
    Ok(Tensor::int(dtype, zip(&steps, &zero, code)?))
}

/// `scale · (q − zero_point)`.
pub(in super::super) fn dequantize(arguments: &Arguments<'_>) -> One {
    let input = arguments.tensor("input")?;
    let codes = input.as_int().ok_or_else(|| format!("`input` is {}", input.ty()))?;
    let (scale, zero) = scale_and_zero(arguments, codes.shape())?;
    let steps = zip(codes, &zero, |&code, &zero| (code - zero) as f32)?;
    let dtype = arguments.tensor("scale")?.dtype;
    Ok(Tensor::float(dtype, zip(&steps, &scale, |step, scale| step * scale)?))
}

/// The scale and the zero point in shapes that broadcast: one number, or a vector along `axis`.
fn scale_and_zero(
    arguments: &Arguments<'_>,
    shape: &[usize],
) -> Result<(ArrayD<f32>, ArrayD<i32>), String> {
    let scale = arguments.float("scale")?;
    let mut along = vec![1; shape.len()];
    if scale.ndim() > 0 {
        let axis = arguments.axis("axis", shape.len())?;
        along[axis] = scale.len();
        if scale.len() != shape[axis] {
            return Err(format!(
                "`scale` has {} numbers along axis {axis} of {shape:?}",
                scale.len()
            ));
        }
    }
    let zero = match arguments.optional("zero_point") {
        None => ArrayD::zeros(IxDyn(&along)),
        Some(tensor) => {
            let zero = tensor.as_int().ok_or_else(|| format!("`zero_point` is {}", tensor.ty()))?;
            array(&along, flat(zero).into_owned())?
        }
    };
    Ok((array(&along, flat(scale).into_owned())?, zero))
}
