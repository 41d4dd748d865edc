//! What has no family: filling, ranges, sums along the way, quantizing, classifying.

use super::super::places::{FILL, all, array, flat, take_or};
use super::super::shape::{elements, size};
use super::elementwise::{dtype, range, wrap, zip};
use super::{Arguments, Data, One, Tensor};
use crate::graph::{DataType, Labels};
use crate::runtime::Label;
use ndarray::{Array1, ArrayD, Axis, IxDyn};

/// `value` in this shape.
pub(in super::super) fn fill(arguments: &Arguments<'_>) -> One {
    let shape = arguments.ints("shape", 0)?;
    let shape = shape.into_iter().map(size).collect::<Result<Vec<_>, _>>()?;
    filled(arguments, &shape)
}

/// `value` in the shape of another tensor.
pub(in super::super) fn fill_like(arguments: &Arguments<'_>) -> One {
    filled(arguments, arguments.tensor("ref_tensor")?.shape())
}

fn filled(arguments: &Arguments<'_>, shape: &[usize]) -> One {
    elements(shape)?;
    let value = arguments.scalar("value")?;
    Ok(take_or(&value, 0.0, &ArrayD::zeros(IxDyn(shape))))
}

/// `start`, `start + step`, … before `end`: ⌈(end − start) / step⌉ numbers.
pub(in super::super) fn range_1d(arguments: &Arguments<'_>) -> One {
    let dtype = arguments.tensor("start")?.dtype;
    let [start, end, step] = ["start", "end", "step"].map(|name| arguments.number(name));
    let (start, end, step) = (start?, end?, step?);
    let count = ((end - start) / step).ceil();
    if step == 0.0 || !count.is_finite() {
        return Err(format!("there is no range from {start} to {end} by {step}"));
    }
    let count = elements(&[count.max(0.0) as usize])?;
    let numbers: Array1<f64> = (0..count).map(|i| start + i as f64 * step).collect();
    Ok(match arguments.tensor("start")?.data {
        Data::Float(_) => Tensor::float(dtype, numbers.mapv(|x| x as f32).into_dyn()),
        _ => Tensor::int(dtype, numbers.mapv(|x| wrap(dtype, x as i64)).into_dyn()),
    })
}

/// Σ of the elements so far along `axis`: with this one, or `exclusive` before it; `reverse` from
/// the end.
pub(in super::super) fn cumsum(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axis = Axis(arguments.axis("axis", x.shape().len())?);
    let (exclusive, reverse) = (arguments.flag("exclusive")?, arguments.flag("reverse")?);
    let sums = |mut array: ArrayD<f64>| {
        for mut lane in array.lanes_mut(axis) {
            if reverse {
                lane.invert_axis(Axis(0));
            }
            let mut sum = 0.0;
            for x in lane {
                let before = sum;
                sum += *x;
                *x = if exclusive { before } else { sum };
            }
        }
        array
    };
    let data = match &x.data {
        Data::Float(array) => Data::Float(sums(array.mapv(f64::from)).mapv(|x| x as f32)),
        Data::Int(array) => {
            Data::Int(sums(array.mapv(f64::from)).mapv(|sum| wrap(x.dtype, sum as i64)))
        }
        _ => return Err(format!("`x` is {}, not of numbers", x.ty())),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// The last two axes with 0 outside a band: `lower` diagonals below the main one are kept and `upper`
/// above; a negative number keeps all.
pub(in super::super) fn band_part(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let (lower, upper) = (arguments.int("lower")?, arguments.int("upper")?);
    let &[.., rows, columns] = x.shape() else {
        return Err(format!("`x` is {}, no matrix", x.ty()));
    };
    let kept = |place: usize| {
        let below = (place / columns % rows) as i64 - (place % columns) as i64;
        let inside = (lower < 0 || below <= lower) && (upper < 0 || -below <= upper);
        if inside { place } else { FILL }
    };
    Ok(take_or(x, 0.0, &all(x.shape())?.mapv(kept)))
}

/// `clamp(round(x / scale) + zero_point)` to the range of the type, half to even. The quotient is
/// formed in f32, as coremltools does. NaN becomes the zero point.
pub(in super::super) fn quantize(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("input")?;
    let word = arguments.text("output_dtype")?;
    let dtype = dtype(word).ok_or_else(|| format!("`output_dtype` is `{word}`"))?;
    let (low, high) = range(dtype).ok_or_else(|| format!("`output_dtype` is `{word}`"))?;
    let (scale, zero) = scale_and_zero(arguments, x.shape())?;
    let steps = zip(x, &scale, |x, scale| (x / scale).round_ties_even())?;
    let code = |&step: &f32, &zero: &i32| (step as i64 + i64::from(zero)).clamp(low, high) as i32;
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

/// The label of the largest probability, the first of equals, and every label with its probability.
pub(in super::super) fn classify(arguments: &Arguments<'_>) -> Result<Vec<Tensor>, String> {
    let probabilities = arguments.float("probabilities")?;
    let labels = match arguments.labels("classes")? {
        Labels::Texts(texts) => texts.iter().cloned().map(Label::Text).collect::<Vec<_>>(),
        Labels::Ints(ints) => ints.iter().copied().map(Label::Int).collect(),
    };
    if labels.len() != probabilities.len() {
        return Err(format!("{} probabilities for {} labels", probabilities.len(), labels.len()));
    }
    let scores: Vec<(Label, f64)> =
        labels.into_iter().zip(probabilities.iter().map(|&p| p.into())).collect();
    let mut rest = scores.iter();
    let first = rest.next().ok_or("there are no labels")?;
    let best = rest.fold(first, |best, next| if next.1 > best.1 { next } else { best });
    let label = Data::Label(best.0.clone());
    let dtype = arguments.labels("classes")?.dtype();
    Ok(vec![
        Tensor { dtype, data: label },
        Tensor { dtype: DataType::Float64, data: Data::Scores(scores) },
    ])
}
