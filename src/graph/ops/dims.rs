//! Arithmetic on dimensions. Sizes come from files: whatever overflows is `None`, and no loop is as
//! long as a size.

use crate::graph::{Dim, TensorType};

/// Most dimensions that a tensor may have; Core ML itself stops at five to eight.
const MOST_DIMENSIONS: usize = 8;

/// Most elements that a tensor may have: a terabyte of bytes.
const MOST_ELEMENTS: usize = 1 << 40;

/// Refuses a tensor that no machine holds.
pub(in crate::graph) fn within_limits(tensor: &TensorType) -> Result<(), String> {
    if tensor.rank() > MOST_DIMENSIONS {
        let (dtype, rank) = (tensor.dtype, tensor.rank());
        return Err(format!("{dtype} of {rank} dimensions has more than {MOST_DIMENSIONS}"));
    }
    let sizes = tensor.dims.iter().filter_map(|dim| dim.size());
    let elements = sizes.filter(|&size| size > 0).try_fold(1, usize::checked_mul);
    match elements.filter(|&n| n <= MOST_ELEMENTS) {
        Some(_) => Ok(()),
        None => Err(format!("{tensor} has more than 2^40 elements")),
    }
}

/// Numpy's broadcast of two lists of dimensions.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Dim], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(place) => dims[place],
        None => Dim::Fixed(1),
    };
    let join = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y => Some(x),
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Some(other),
        // A flexible size beside a fixed one above 1 must turn out to be 1 or the same.
        (Dim::Flexible, fixed) | (fixed, Dim::Flexible) => Some(fixed),
        (Dim::Fixed(_), Dim::Fixed(_)) => None,
    };
    (0..rank).map(join).collect()
}

/// Whether two lists can be the same sizes.
pub(super) fn may_equal(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.may_equal(*b))
}

/// The dimension of a size that was computed in wide integers.
pub(super) fn fixed(size: i128) -> Option<Dim> {
    usize::try_from(size).ok().map(Dim::Fixed)
}

/// Applies `f` to a size; a flexible one stays flexible.
pub(super) fn map(dim: Dim, f: impl FnOnce(i128) -> Option<i128>) -> Option<Dim> {
    match dim {
        Dim::Flexible => Some(Dim::Flexible),
        Dim::Fixed(size) => fixed(f(i128::try_from(size).ok()?)?),
    }
}

/// `dim · factor`.
pub(super) fn times(dim: Dim, factor: usize) -> Option<Dim> {
    map(dim, |size| size.checked_mul(i128::try_from(factor).ok()?))
}

/// `dim / divisor` where it divides.
pub(super) fn divided(dim: Dim, divisor: usize) -> Option<Dim> {
    match dim {
        Dim::Flexible => Some(Dim::Flexible),
        Dim::Fixed(size) => {
            size.checked_rem(divisor).filter(|&rest| rest == 0).map(|_| Dim::Fixed(size / divisor))
        }
    }
}

/// The product of dimensions.
pub(super) fn product(dims: &[Dim]) -> Option<Dim> {
    dims.iter().try_fold(Dim::Fixed(1), |product, dim| match (product, dim) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_mul(*b).map(Dim::Fixed),
        (Dim::Flexible, _) | (_, Dim::Flexible) => Some(Dim::Flexible),
    })
}
