//! Sorting and running sums.

use super::super::places::{all, take};
use super::super::shape::strides;
use super::elementwise::{dtype, wrap};
use super::{Arguments, Data, One, Tensor};
use crate::graph::DataType;
use ndarray::{ArrayD, Axis};

/// The `k` largest along `axis` (with `ascending`, the smallest), best first, and where they stand.
/// Equals keep their order; NaN comes last. Without `sort` the order is free: this one is kept.
pub(in super::super) fn topk(arguments: &Arguments<'_>) -> Result<Vec<Tensor>, String> {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    let k = arguments.size("k")?;
    if k > x.shape()[axis] {
        return Err(format!("`k` is {k} for {} along axis {axis}", x.ty()));
    }
    let order = order(x, axis, arguments.flag("ascending")?)?;
    let places = order.slice_axis(Axis(axis), (..k).into()).to_owned();
    let values = take(x, &places);
    if !arguments.flag("return_indices")? {
        return Ok(vec![values]);
    }
    let word = arguments.text("output_indices_dtype")?;
    let dtype = dtype(word).ok_or_else(|| format!("`output_indices_dtype` is `{word}`"))?;
    Ok(vec![values, Tensor::int(dtype, along(&places, x.shape(), axis))])
}

/// Where the elements stand along `axis` once they are sorted, largest first unless `ascending`.
/// Equals keep their order; NaN comes last.
pub(in super::super) fn argsort(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    let order = order(x, axis, arguments.flag("ascending")?)?;
    Ok(Tensor::int(DataType::Int32, along(&order, x.shape(), axis)))
}

/// The places of x's elements, sorted along an axis.
fn order(x: &Tensor, axis: usize, ascending: bool) -> Result<ArrayD<usize>, String> {
    let numbers: Vec<f64> = match &x.data {
        Data::Float(array) => array.iter().map(|&x| x.into()).collect(),
        Data::Int(array) => array.iter().map(|&x| x.into()).collect(),
        _ => return Err(format!("`x` is {}, not of numbers", x.ty())),
    };
    let mut places = all(x.shape())?;
    for mut lane in places.lanes_mut(Axis(axis)) {
        let mut sorted = lane.to_vec();
        sorted.sort_by(|&a, &b| {
            let (a, b) = (numbers[a], numbers[b]);
            let by_number = if ascending { a.total_cmp(&b) } else { b.total_cmp(&a) };
            let equal = a == b;
            a.is_nan().cmp(&b.is_nan()).then(if equal {
                std::cmp::Ordering::Equal
            } else {
                by_number
            })
        });
        lane.iter_mut().zip(sorted).for_each(|(place, from)| *place = from);
    }
    Ok(places)
}

/// The indices along an axis that belong to places.
fn along(places: &ArrayD<usize>, shape: &[usize], axis: usize) -> ArrayD<i32> {
    let (stride, length) = (strides(shape)[axis], shape[axis]);
    places.mapv(|place| (place / stride.max(1) % length.max(1)) as i32)
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
