//! Several tensors as one, one as several, one again and again.

use super::super::places::{all, array, flat, grid, join, take};
use super::super::shape::{elements, size};
use super::{Arguments, One, Tensor};
use ndarray::{Axis, concatenate};

/// One after the other along `axis`; interleaved, in turns. Scalars count as vectors of one.
pub(in super::super) fn concat(arguments: &Arguments<'_>) -> One {
    let values = arguments.many("values")?;
    let rank = values.first().ok_or("there are no values")?.shape().len();
    let axis = arguments.axis("axis", rank.max(1))?;
    let interleave = arguments.flag("interleave")?;
    let joined = join(&values)?;
    let mut shapes: Vec<_> = values.iter().map(|value| value.shape().to_vec()).collect();
    if rank == 0 {
        shapes.iter_mut().for_each(|shape| shape.push(1));
    }
    let total = shapes[0].get(axis).map(|_| shapes.iter().filter_map(|s| s.get(axis)).sum());
    let mut shape = shapes[0].clone();
    shape[axis] = total.unwrap_or(0);
    elements(&shape)?;
    let misfit = || format!("{shapes:?} do not stand beside each other along axis {axis}");
    if interleave {
        if shapes.iter().any(|other| *other != shapes[0]) {
            return Err(misfit());
        }
        // [values, before, axis, after] → [before, axis, values, after].
        let before: usize = shapes[0][..axis].iter().product();
        let after: usize = shapes[0][axis + 1..].iter().product();
        let parts = all(&[values.len(), before, shapes[0][axis], after])?;
        let turns = parts.permuted_axes(vec![1, 2, 0, 3]);
        return Ok(take(&joined, &array(&shape, flat(&turns).into_owned())?));
    }
    let mut start = 0;
    let parts = shapes.iter().map(|shape| {
        let part = all(shape)?.mapv(|place| place + start);
        start += part.len();
        Ok(part)
    });
    let parts = parts.collect::<Result<Vec<_>, String>>()?;
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let places = concatenate(Axis(axis), &views).map_err(|_| misfit())?;
    Ok(take(&joined, &places))
}

/// Beside each other along a new axis.
pub(in super::super) fn stack(arguments: &Arguments<'_>) -> One {
    let values = arguments.many("values")?;
    let shape = values.first().ok_or("there are no values")?.shape();
    if let Some(other) = values.iter().find(|value| value.shape() != shape) {
        return Err(format!("{} stands beside a value of shape {shape:?}", other.ty()));
    }
    let axis = arguments.axis("axis", shape.len() + 1)?;
    let parts = all(&[&[values.len()], shape].concat())?;
    let mut perm: Vec<_> = (1..=shape.len()).collect();
    perm.insert(axis, 0);
    Ok(take(&join(&values)?, &parts.permuted_axes(perm)))
}

/// The tensor again and again, `reps` times along each axis.
pub(in super::super) fn tile(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let reps = arguments.sizes("reps", x.shape().len(), 0)?;
    let shape: Option<Vec<_>> =
        x.shape().iter().zip(&reps).map(|(n, reps)| n.checked_mul(*reps)).collect();
    elements(&shape.ok_or_else(|| format!("`reps` is {reps:?} for {}", x.ty()))?)?;
    let along = |(&n, &reps): (&usize, &usize)| (0..n * reps).map(|i| i % n).collect();
    let taken: Vec<Vec<usize>> = x.shape().iter().zip(&reps).map(along).collect();
    Ok(take(x, &grid(x.shape(), &taken)?))
}

/// Consecutive parts along `axis`: `num_splits` of one size, or of `split_sizes`.
pub(in super::super) fn split(arguments: &Arguments<'_>) -> Result<Vec<Tensor>, String> {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    let length = x.shape()[axis];
    let sizes = match arguments.optional_ints("split_sizes")? {
        Some(sizes) => sizes.into_iter().map(size).collect::<Result<Vec<_>, _>>()?,
        None => {
            let count = arguments.sizes("num_splits", 1, 1)?[0];
            if length % count != 0 {
                return Err(format!("`num_splits` is {count} for {length} elements"));
            }
            vec![length / count; count]
        }
    };
    let total = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
    if total != Some(length) {
        return Err(format!("`split_sizes` {sizes:?} are not {length} together"));
    }
    let mut taken: Vec<Vec<_>> = x.shape().iter().map(|&size| (0..size).collect()).collect();
    let mut from = 0;
    let parts = sizes.iter().map(|&size| {
        taken[axis] = (from..from + size).collect();
        from += size;
        Ok(take(x, &grid(x.shape(), &taken)?))
    });
    parts.collect()
}
