//! The same elements in another shape.

use super::super::arguments::axis;
use super::super::places::{array, reshaped};
use super::super::shape::{elements, size};
use super::{Arguments, One, Tensor};
use crate::graph::DataType;

/// x itself: also what `read_state` gives, and, with `data`, what `write_state` leaves behind.
pub(in super::super) fn identity(arguments: &Arguments<'_>, name: &str) -> One {
    arguments.tensor(name).cloned()
}

/// The same elements in another shape. One −1 is what is left; 0 keeps the dimension that stands as
/// far from the end, or is 1 where x has none there (iOS 17's rule; before, ranks must be equal).
pub(in super::super) fn reshape(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let wanted = arguments.ints("shape", 0)?;
    let misfit = || format!("`shape` is {wanted:?} for {}", x.ty());
    let mut shape = Vec::with_capacity(wanted.len());
    for (place, &n) in wanted.iter().enumerate() {
        shape.push(match n {
            -1 => 1,
            0 => (place + x.shape().len())
                .checked_sub(wanted.len())
                .map_or(1, |axis| x.shape()[axis]),
            n => size(n).map_err(|_| misfit())?,
        });
    }
    let known = elements(&shape)?;
    if let Some(open) = wanted.iter().position(|&n| n == -1) {
        let count: usize = x.shape().iter().product();
        if known == 0 || !count.is_multiple_of(known) || wanted[open + 1..].contains(&-1) {
            return Err(misfit());
        }
        shape[open] = count / known;
    }
    reshaped(x, &shape).map_err(|_| misfit())
}

/// The shape of x in the dimensions that the references give: of each, those from its `begin` to
/// its `end`, or to the last.
pub(in super::super) fn reshape_like(arguments: &Arguments<'_>) -> One {
    let references = arguments.many("ref_tensors")?;
    let ints = |name| {
        let scalar = |tensor: &&Tensor| tensor.as_int().and_then(|array| array.first().copied());
        let numbers: Option<Vec<i32>> = arguments.many(name)?.iter().map(scalar).collect();
        numbers.ok_or_else(|| format!("`{name}` holds no integers"))
    };
    let (begins, ends) = (ints("begins")?, ints("ends")?);
    let masks = arguments.many("end_masks")?;
    let count = references.len();
    if [begins.len(), ends.len(), masks.len()] != [count; 3] {
        return Err(format!("{count} `ref_tensors` have other numbers of begins, ends or masks"));
    }
    let mut shape = vec![];
    for (i, reference) in references.iter().enumerate() {
        let dims = reference.shape();
        let rank = dims.len();
        let place = |n: i32| if n < 0 { (rank as i64 + i64::from(n)).max(0) } else { n.into() };
        let to_end = masks[i].as_bool().and_then(|mask| mask.first().copied()).unwrap_or(false);
        let end = if to_end { rank } else { size(place(ends[i]))?.min(rank) };
        shape.extend(&dims[size(place(begins[i]))?.min(end)..end]);
    }
    reshaped(arguments.tensor("x")?, &shape)
}

/// Dimensions of size 1 put in, at `axes` of the result.
pub(in super::super) fn expand_dims(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len() + arguments.ints("axes", 0)?.len();
    let mut shape = x.shape().to_vec();
    arguments.axes("axes", rank)?.into_iter().for_each(|axis| shape.insert(axis, 1));
    reshaped(x, &shape)
}

/// Dimensions of size 1 taken out: all, or those of `axes` that have this size (as torch does, the
/// others stay).
pub(in super::super) fn squeeze(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axes = arguments.axes("axes", x.shape().len())?;
    let kept = x.shape().iter().enumerate().filter(|&(axis, &n)| n != 1 || !axes.contains(&axis));
    reshaped(x, &kept.map(|(_, &n)| n).collect::<Vec<_>>())
}

/// Two dimensions: what stands before `axis`, and the rest. An axis below zero counts from the end.
pub(in super::super) fn flatten2d(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    // The end itself is a place to cut as well.
    let n = arguments.int("axis")?;
    let cut = if n == rank as i64 { rank } else { axis("axis", n, rank)? };
    let [rows, columns] = [&x.shape()[..cut], &x.shape()[cut..]].map(|part| part.iter().product());
    reshaped(x, &[rows, columns])
}

/// The lengths of x's dimensions, INT32.
pub(in super::super) fn shape(arguments: &Arguments<'_>) -> One {
    let shape = arguments.tensor("x")?.shape();
    let sizes: Result<Vec<_>, _> = shape.iter().map(|&n| i32::try_from(n)).collect();
    let sizes = sizes.map_err(|_| format!("the shape {shape:?} is beyond INT32"))?;
    Ok(Tensor::int(DataType::Int32, array(&[sizes.len()], sizes)?))
}
