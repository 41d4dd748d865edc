//! Shapes, computed with care: sizes come from files.

/// The most elements that a result may have: 2³⁰, 4 GiB of numbers.
const LIMIT: usize = 1 << 30;

/// The number of elements of a result of this shape.
///
/// # Errors
/// A sentence if it passes the limit; zeros in a shape do not excuse the other dimensions.
pub(in crate::runtime) fn elements(shape: &[usize]) -> Result<usize, String> {
    let product = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size.max(1)));
    match product.filter(|&n| n <= LIMIT) {
        Some(_) => Ok(shape.iter().product()),
        None => Err(format!("the shape {shape:?} is above the limit of 2^30 elements")),
    }
}

/// Numpy's broadcast of two shapes.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(place) => shape[place],
        None => 1,
    };
    let join = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y => Some(x),
        (1, other) | (other, 1) => Some(other),
        _ => None,
    };
    let shape: Option<Vec<_>> = (0..rank).map(join).collect();
    let shape = shape.ok_or_else(|| format!("{a:?} and {b:?} do not broadcast"))?;
    elements(&shape)?;
    Ok(shape)
}

/// A size from a signed number.
pub(super) fn size(n: i64) -> Result<usize, String> {
    usize::try_from(n).map_err(|_| format!("{n} is no size"))
}

/// How far apart neighbours along each axis stand in row-major order.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}
