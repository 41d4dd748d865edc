//! Seeing an array as rows along some of its axes.

use super::places::{array, flat};
use ndarray::ArrayD;

/// The array with `axes` moved behind the others, as rows of f64, and how it was permuted.
struct Rows {
    elements: Vec<f64>,
    /// Elements of one row.
    len: usize,
    count: usize,
    perm: Vec<usize>,
}

fn rows<T: Copy + Into<f64>>(x: &ArrayD<T>, axes: &[usize]) -> Rows {
    let outer = (0..x.ndim()).filter(|axis| !axes.contains(axis));
    let perm: Vec<_> = outer.chain(axes.iter().copied()).collect();
    let size = |axes: &[usize]| axes.iter().map(|&axis| x.shape()[axis]).product();
    Rows {
        elements: x.view().permuted_axes(perm.clone()).iter().map(|&x| x.into()).collect(),
        len: size(axes),
        count: size(&perm[..x.ndim() - axes.len()]),
        perm,
    }
}

/// Changes each row along `axes` (ascending, the last of them fastest), and rounds to f32.
pub(super) fn each_row(
    x: &ArrayD<f32>,
    axes: &[usize],
    mut change: impl FnMut(&mut [f64]),
) -> Result<ArrayD<f32>, String> {
    let Rows { mut elements, len, count, perm } = rows(x, axes);
    for row in 0..count {
        change(&mut elements[row * len..(row + 1) * len]);
    }
    let shape: Vec<_> = perm.iter().map(|&axis| x.shape()[axis]).collect();
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let y = array(&shape, elements.iter().map(|&x| x as f32).collect())?;
    let y = y.permuted_axes(back);
    array(x.shape(), flat(&y).into_owned())
}

/// One number from each row along `axes` (ascending); these axes become 1 or, without `keep`, go.
pub(super) fn from_rows<T: Copy + Into<f64>, U>(
    x: &ArrayD<T>,
    axes: &[usize],
    keep: bool,
    f: impl Fn(&[f64]) -> U,
) -> Result<ArrayD<U>, String> {
    let Rows { elements, len, count, .. } = rows(x, axes);
    let results = (0..count).map(|row| f(&elements[row * len..(row + 1) * len])).collect();
    let shape: Vec<_> = (x.shape().iter().enumerate())
        .filter_map(|(axis, &size)| match (axes.contains(&axis), keep) {
            (false, _) => Some(size),
            (true, true) => Some(1),
            (true, false) => None,
        })
        .collect();
    array(&shape, results)
}
