//! Moving elements: where in a tensor each element of a result comes from.
//!
//! A place is an index into row-major order. Operations that only move elements compute places, and
//! need not know what type the elements have.

use super::Tensor;
use super::shape::{elements, strides};
use crate::runtime::Data;
use ndarray::{ArrayD, IxDyn};
use std::borrow::Cow;

/// The place of an element that comes from nowhere: a filling.
pub(super) const FILL: usize = usize::MAX;

/// Each element's own place.
pub(super) fn all(shape: &[usize]) -> Result<ArrayD<usize>, String> {
    array(shape, (0..elements(shape)?).collect())
}

/// Axis by axis, which indices are taken (or [`FILL`]): their combinations in a tensor of `shape`.
pub(super) fn grid(shape: &[usize], taken: &[Vec<usize>]) -> Result<ArrayD<usize>, String> {
    let sizes: Vec<_> = taken.iter().map(Vec::len).collect();
    elements(&sizes)?;
    let mut places = vec![0];
    for (indices, stride) in taken.iter().zip(strides(shape)) {
        let step = |&base: &usize| {
            indices.iter().map(move |&i| match base == FILL || i == FILL {
                true => FILL,
                false => base + i * stride,
            })
        };
        places = places.iter().flat_map(step).collect();
    }
    array(&sizes, places)
}

/// The elements of `x` at these places.
pub(super) fn take(x: &Tensor, places: &ArrayD<usize>) -> Tensor {
    take_or(x, 0.0, places)
}

/// The elements of `x` at these places, and `filling` where they say [`FILL`].
pub(super) fn take_or(x: &Tensor, filling: f64, places: &ArrayD<usize>) -> Tensor {
    fn pick<T: Copy>(array: &ArrayD<T>, filling: T, places: &ArrayD<usize>) -> ArrayD<T> {
        let elements = flat(array);
        places.mapv(|place| if place == FILL { filling } else { elements[place] })
    }
    let data = match &x.data {
        Data::Float(array) => Data::Float(pick(array, filling as f32, places)),
        Data::Int(array) => Data::Int(pick(array, filling as i32, places)),
        Data::Bool(array) => Data::Bool(pick(array, filling != 0.0, places)),
        Data::Label(_) | Data::Scores(_) => x.data.clone(),
    };
    Tensor { dtype: x.dtype, data }
}

/// All elements of several tensors of one type in a row.
pub(super) fn join(tensors: &[&Tensor]) -> Result<Tensor, String> {
    let first = tensors.first().ok_or("there are no values")?;
    let other = |tensor: &&&Tensor| tensor.dtype != first.dtype;
    if let Some(other) = tensors.iter().find(other) {
        return Err(format!("{} stands beside {}", other.ty(), first.ty()));
    }
    fn row<'a, T: Copy + 'a>(
        arrays: impl Iterator<Item = Option<&'a ArrayD<T>>>,
    ) -> Result<ArrayD<T>, String> {
        let arrays: Option<Vec<_>> = arrays.collect();
        let arrays = arrays.ok_or("the values are of several types")?;
        let joined: Vec<T> = arrays.iter().flat_map(|array| array.iter().copied()).collect();
        array(&[joined.len()], joined)
    }
    let tensors = tensors.iter();
    let data = match first.data {
        Data::Float(_) => Data::Float(row(tensors.map(|t| t.as_float()))?),
        Data::Int(_) => Data::Int(row(tensors.map(|t| t.as_int()))?),
        Data::Bool(_) => Data::Bool(row(tensors.map(|t| t.as_bool()))?),
        Data::Label(_) | Data::Scores(_) => return Err("labels are no tensors".into()),
    };
    Ok(Tensor { dtype: first.dtype, data })
}

/// The same elements in another shape.
pub(super) fn reshaped(x: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    fn shaped<T: Clone>(x: &ArrayD<T>, shape: &[usize]) -> Result<ArrayD<T>, String> {
        array(shape, flat(x).into_owned())
    }
    let data = match &x.data {
        Data::Float(array) => Data::Float(shaped(array, shape)?),
        Data::Int(array) => Data::Int(shaped(array, shape)?),
        Data::Bool(array) => Data::Bool(shaped(array, shape)?),
        Data::Label(_) | Data::Scores(_) => return Err("labels have no shape".into()),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// The elements in row-major order.
pub(super) fn flat<T: Clone>(array: &ArrayD<T>) -> Cow<'_, [T]> {
    match array.as_slice() {
        Some(elements) => Cow::Borrowed(elements),
        None => Cow::Owned(array.iter().cloned().collect()),
    }
}

/// An array of these elements in row-major order.
pub(super) fn array<T>(shape: &[usize], elements: Vec<T>) -> Result<ArrayD<T>, String> {
    let count = elements.len();
    ArrayD::from_shape_vec(IxDyn(shape), elements)
        .map_err(|_| format!("{count} elements do not have the shape {shape:?}"))
}
