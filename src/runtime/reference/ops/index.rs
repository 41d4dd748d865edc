//! Elements chosen by indices, and elements changed by indices.
//!
//! An index below zero counts from the end, for every opset: iOS 17's reference calls such indices
//! out of bounds, where numpy (whose `take` coremltools folds constants with) and iOS 16 count back.
//! Any other index outside is an error.

use super::super::arguments::axis;
use super::super::places::{array, flat, grid, join, take};
use super::super::shape::{elements, strides};
use super::elementwise::{floor_div, largest, least, wrap};
use super::{Arguments, Data, One, Tensor};
use crate::graph::DataType;
use ndarray::ArrayD;

/// Indices along an axis of `length`, in their shape.
fn indices(arguments: &Arguments<'_>, length: usize) -> Result<(Vec<usize>, Vec<usize>), String> {
    let tensor = arguments.tensor("indices")?;
    let ints = arguments.ints("indices", 0)?;
    let places = ints.iter().map(|&n| axis("indices", n, length).map_err(|_| outside(n, length)));
    Ok((places.collect::<Result<_, _>>()?, tensor.shape().to_vec()))
}

/// What is said of an index that leads outside.
pub(in crate::runtime) fn outside(n: i64, length: usize) -> String {
    format!("`indices` holds {n} for a dimension of {length}")
}

/// `x[.., indices, ..]` at `axis`; the first `batch_dims` dimensions of both go together.
pub(in super::super) fn gather(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    let shared = arguments.size("batch_dims")?;
    let (indices, shape) = indices(arguments, x.shape()[axis])?;
    if shared > axis || shared > shape.len() || x.shape()[..shared] != shape[..shared] {
        return Err(format!("`batch_dims` is {shared} for {} and indices {shape:?}", x.ty()));
    }
    let result = [&x.shape()[..axis], &shape[shared..], &x.shape()[axis + 1..]].concat();
    // [batch, before, length, after] by [batch, indices] → [batch, before, indices, after].
    let batch: usize = shape[..shared].iter().product();
    let before: usize = x.shape()[shared..axis].iter().product();
    let (length, after) = (x.shape()[axis], x.shape()[axis + 1..].iter().product::<usize>());
    let each: usize = shape[shared..].iter().product();
    let mut places = Vec::with_capacity(elements(&result)?);
    for b in 0..batch {
        for before_place in 0..before {
            for &index in &indices[b * each..(b + 1) * each] {
                let start = ((b * before + before_place) * length + index) * after;
                places.extend(start..start + after);
            }
        }
    }
    Ok(take(x, &array(&result, places)?))
}

/// `y[p] = x[p with indices[p] at axis]`: torch's gather. Other dimensions are as x's.
pub(in super::super) fn gather_along_axis(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    Ok(take(x, &along_axis(arguments, x.shape(), axis)?))
}

/// For each index, the place in a tensor of `shape` that it names along `axis`.
fn along_axis(
    arguments: &Arguments<'_>,
    shape: &[usize],
    axis: usize,
) -> Result<ArrayD<usize>, String> {
    let (indices, own) = indices(arguments, shape[axis])?;
    let mut expected = shape.to_vec();
    if own.len() == shape.len() {
        expected[axis] = own[axis];
    }
    if own != expected {
        return Err(format!("`indices` has shape {own:?} for {shape:?} along axis {axis}"));
    }
    let mut starts: Vec<Vec<usize>> = own.iter().map(|&n| (0..n).collect()).collect();
    starts[axis] = vec![0; own[axis]];
    let stride = strides(shape)[axis];
    let mut places = grid(shape, &starts)?;
    places.iter_mut().zip(indices).for_each(|(place, index)| *place += index * stride);
    Ok(places)
}

/// `x[indices[i, ..]]`: the last dimension of `indices` holds the first indices into x; the first
/// `batch_dims` dimensions of both go together.
pub(in super::super) fn gather_nd(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let shared = arguments.size("batch_dims")?;
    Ok(take(x, &nd(arguments, x.shape(), shared)?))
}

/// The places that index vectors name in a tensor of `shape`.
fn nd(arguments: &Arguments<'_>, shape: &[usize], shared: usize) -> Result<ArrayD<usize>, String> {
    let own = arguments.tensor("indices")?.shape();
    let ints = arguments.ints("indices", 0)?;
    let misfit = || format!("`indices` has shape {own:?} for {shape:?}");
    let (&depth, outer) = own.split_last().ok_or_else(misfit)?;
    let end = shared.checked_add(depth).filter(|&end| end <= shape.len()).ok_or_else(misfit)?;
    if shared > outer.len() || outer[..shared] != shape[..shared] {
        return Err(misfit());
    }
    let result = [outer, &shape[end..]].concat();
    let mut places = Vec::with_capacity(elements(&result)?);
    let steps = strides(shape);
    let slice: usize = shape[end..].iter().product();
    let batch_len: usize = shape[shared..].iter().product();
    let vectors: usize = outer.iter().product();
    let each: usize = outer[shared..].iter().product();
    for vector in 0..vectors {
        let mut start = (vector / each.max(1)) * batch_len;
        for i in 0..depth {
            let (n, length) = (ints[vector * depth + i], shape[shared + i]);
            start +=
                axis("indices", n, length).map_err(|_| outside(n, length))? * steps[shared + i];
        }
        places.extend(start..start + slice);
    }
    array(&result, places)
}

/// `data` with `updates[.., i, ..]` combined into `data[.., indices[i], ..]` at `axis`.
pub(in super::super) fn scatter(arguments: &Arguments<'_>) -> One {
    let data = arguments.tensor("data")?;
    let axis = arguments.axis("axis", data.shape().len())?;
    let (indices, shape) = indices(arguments, data.shape()[axis])?;
    let mut taken: Vec<Vec<usize>> = data.shape().iter().map(|&n| (0..n).collect()).collect();
    taken[axis] = indices;
    let places = grid(data.shape(), &taken)?;
    let expected = [&data.shape()[..axis], &shape, &data.shape()[axis + 1..]].concat();
    combine(arguments, array(&expected, flat(&places).into_owned())?)
}

/// `data` with `updates[p]` combined into `data[p with indices[p] at axis]`.
pub(in super::super) fn scatter_along_axis(arguments: &Arguments<'_>) -> One {
    let data = arguments.tensor("data")?;
    let axis = arguments.axis("axis", data.shape().len())?;
    combine(arguments, along_axis(arguments, data.shape(), axis)?)
}

/// `data` with `updates[i, ..]` combined into `data[indices[i, ..]]`, as [`gather_nd`] reads it.
pub(in super::super) fn scatter_nd(arguments: &Arguments<'_>) -> One {
    let data = arguments.tensor("data")?;
    combine(arguments, nd(arguments, data.shape(), 0)?)
}

/// Combines the updates into the data at these places, one after the other, as `mode` says.
fn combine(arguments: &Arguments<'_>, places: ArrayD<usize>) -> One {
    let (data, updates) = (arguments.tensor("data")?, arguments.tensor("updates")?);
    if updates.shape() != places.shape() {
        return Err(format!("`updates` is {}, not of shape {:?}", updates.ty(), places.shape()));
    }
    type Numbers = fn(f64, f64) -> f64;
    type Integers = fn(i64, i64) -> i64;
    let (f, g): (Numbers, Integers) = match arguments.text("mode")? {
        "update" => (|_, update| update, |_, update| update),
        "add" => (|x, update| x + update, |x, update| x + update),
        "sub" => (|x, update| x - update, |x, update| x - update),
        "mul" => (|x, update| x * update, |x, update| x * update),
        "div" => (|x, update| x / update, floor_div),
        "max" => (largest, i64::max),
        "min" => (least, i64::min),
        mode => return Err(format!("`mode` is `{mode}`")),
    };
    fn apply<T: Copy>(
        data: &ArrayD<T>,
        places: &ArrayD<usize>,
        updates: &ArrayD<T>,
        f: impl Fn(T, T) -> T,
    ) -> Result<ArrayD<T>, String> {
        let mut elements = flat(data).into_owned();
        for (&place, &update) in places.iter().zip(updates) {
            elements[place] = f(elements[place], update);
        }
        array(data.shape(), elements)
    }
    let result = match (&data.data, &updates.data) {
        (Data::Float(x), Data::Float(updates)) => {
            Data::Float(apply(x, &places, updates, |x, u| f(x.into(), u.into()) as f32)?)
        }
        (Data::Int(x), Data::Int(updates)) => {
            let wrapped = |x: i32, u: i32| wrap(data.dtype, g(x.into(), u.into()));
            Data::Int(apply(x, &places, updates, wrapped)?)
        }
        _ => return Err(format!("`updates` is {} for {}", updates.ty(), data.ty())),
    };
    Ok(Tensor { dtype: data.dtype, data: result })
}

/// A new axis of `one_hot_vector_size`: `on_value` at the index, `off_value` elsewhere. An index
/// below zero counts from the end; one outside has `off_value` everywhere, as TensorFlow has it.
pub(in super::super) fn one_hot(arguments: &Arguments<'_>) -> One {
    let shape = arguments.tensor("indices")?.shape().to_vec();
    let ints = arguments.ints("indices", 0)?;
    let size = arguments.size("one_hot_vector_size")?;
    let new = arguments.axis("axis", shape.len() + 1)?;
    let (on, off) = (arguments.scalar("on_value")?, arguments.scalar("off_value")?);
    let mut result = shape.clone();
    result.insert(new, size);
    let count = elements(&result)?;
    let inner: usize = shape[new..].iter().product();
    // Place 0 is off, place 1 on.
    let pick = |place: usize| {
        let (outer, rest) = (place / inner / size, place % inner);
        let hot = place / inner % size;
        usize::from(axis("indices", ints[outer * inner + rest], size) == Ok(hot))
    };
    let places = array(&result, (0..count).map(pick).collect())?;
    let values = join(&[&off, &on])?;
    Ok(take(&values, &places))
}

/// The indices of all elements that are not 0, a row each, in row-major order: `[N, rank]`.
pub(in super::super) fn non_zero(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let flags: Vec<bool> = match &x.data {
        Data::Float(array) => array.iter().map(|&x| x != 0.0).collect(),
        Data::Int(array) => array.iter().map(|&x| x != 0).collect(),
        Data::Bool(array) => array.iter().copied().collect(),
        Data::Label(_) | Data::Scores(_) => return Err("labels have no elements".into()),
    };
    let places = flags.iter().enumerate().filter(|(_, set)| **set).map(|(place, _)| place);
    let steps = strides(x.shape());
    let rank = x.shape().len();
    let mut rows = vec![];
    for place in places {
        let indices = steps.iter().zip(x.shape()).map(|(&step, &n)| (place / step % n) as i32);
        rows.extend(indices);
    }
    let count = flags.iter().filter(|set| **set).count();
    Ok(Tensor::int(DataType::Int32, array(&[count, rank], rows)?))
}
