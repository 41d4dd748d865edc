//! One number from all elements along some axes.

use super::elementwise::{dtype, largest, least, wrap};
use super::rows::from_rows;
use super::{Arguments, Data, One, Tensor};

/// f of the elements along `axes` (all, where none are given). Results on integers lose their
/// fraction.
pub(in super::super) fn reduce(arguments: &Arguments<'_>, f: impl Fn(&[f64]) -> f64) -> One {
    let x = arguments.tensor("x")?;
    let axes = arguments.axes("axes", x.shape().len())?;
    let keep = arguments.flag("keep_dims")?;
    let data = match &x.data {
        Data::Float(array) => Data::Float(from_rows(array, &axes, keep, |row| f(row) as f32)?),
        Data::Int(array) => {
            Data::Int(from_rows(array, &axes, keep, |row| wrap(x.dtype, f(row) as i64))?)
        }
        _ => return Err(format!("`x` is {}, not of numbers", x.ty())),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// Σ x / count.
pub(in super::super) fn mean(row: &[f64]) -> f64 {
    sum(row) / row.len() as f64
}

/// Σ x.
pub(in super::super) fn sum(row: &[f64]) -> f64 {
    row.iter().sum()
}

/// Π x.
pub(in super::super) fn prod(row: &[f64]) -> f64 {
    row.iter().product()
}

/// The largest.
pub(in super::super) fn max(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, largest)
}

/// The smallest.
pub(in super::super) fn min(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::INFINITY, least)
}

/// Σ |x|.
pub(in super::super) fn l1_norm(row: &[f64]) -> f64 {
    row.iter().map(|x| x.abs()).sum()
}

/// √Σ x².
pub(in super::super) fn l2_norm(row: &[f64]) -> f64 {
    sum_square(row).sqrt()
}

/// Σ x².
pub(in super::super) fn sum_square(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum()
}

/// ln Σ x.
pub(in super::super) fn log_sum(row: &[f64]) -> f64 {
    sum(row).ln()
}

/// ln Σ eˣ; the largest is subtracted first, which changes nothing but the range.
pub(in super::super) fn log_sum_exp(row: &[f64]) -> f64 {
    let top = max(row);
    if top.is_infinite() {
        return top;
    }
    top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
}

/// Where the largest element stands along `axis`, the first of equals; a NaN counts as the largest.
pub(in super::super) fn argmax(arguments: &Arguments<'_>) -> One {
    place(arguments, |x, best| x > best)
}

/// Where the smallest element stands along `axis`, the first of equals; a NaN counts as the smallest.
pub(in super::super) fn argmin(arguments: &Arguments<'_>) -> One {
    place(arguments, |x, best| x < best)
}

fn place(arguments: &Arguments<'_>, better: impl Fn(f64, f64) -> bool) -> One {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    let keep = arguments.flag("keep_dims")?;
    let word = arguments.text("output_dtype")?;
    let dtype = dtype(word).ok_or_else(|| format!("`output_dtype` is `{word}`"))?;
    if x.shape()[axis] == 0 {
        return Err(format!("`x` is {}, with nothing along axis {axis}", x.ty()));
    }
    let best = |row: &[f64]| {
        let mut best = 0;
        for (i, &x) in row.iter().enumerate().skip(1) {
            if better(x, row[best]) || (x.is_nan() && !row[best].is_nan()) {
                best = i;
            }
        }
        best as i32
    };
    let places = match &x.data {
        Data::Float(array) => from_rows(array, &[axis], keep, best)?,
        Data::Int(array) => from_rows(array, &[axis], keep, best)?,
        _ => return Err(format!("`x` is {}, not of numbers", x.ty())),
    };
    Ok(Tensor::int(dtype, places))
}
