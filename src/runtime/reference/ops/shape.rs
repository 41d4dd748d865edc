//! The same elements, elsewhere.

use super::super::arguments::axis;
use super::super::places::{FILL, all, array, flat, grid, join, reshaped, take, take_or};
use super::super::shape::{elements, size};
use super::{Arguments, Data, One, Tensor};
use crate::graph::DataType;
use ndarray::{ArrayD, Axis, concatenate};

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

/// Axes in the order of `perm`.
pub(in super::super) fn transpose(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    let given = arguments.ints("perm", rank)?;
    let perm = given.iter().map(|&n| axis("perm", n, rank)).collect::<Result<Vec<_>, _>>()?;
    permuted(x, &perm).ok_or_else(|| format!("`perm` is {given:?} for {}", x.ty()))
}

/// The axes in another order, if it names each once.
fn permuted(x: &Tensor, perm: &[usize]) -> Option<Tensor> {
    fn permute<T: Copy>(array: &ArrayD<T>, perm: &[usize]) -> ArrayD<T> {
        array.view().permuted_axes(perm.to_vec()).as_standard_layout().into_owned()
    }
    let once = (0..x.shape().len()).all(|axis| perm.contains(&axis));
    if !once || perm.len() != x.shape().len() {
        return None;
    }
    let data = match &x.data {
        Data::Float(array) => Data::Float(permute(array, perm)),
        Data::Int(array) => Data::Int(permute(array, perm)),
        Data::Bool(array) => Data::Bool(permute(array, perm)),
        Data::Label(_) | Data::Scores(_) => return None,
    };
    Some(Tensor { dtype: x.dtype, data })
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

/// Elements put around: `pad` holds how many before and after, for the last dimensions. `constant`
/// puts `constant_val`, `replicate` the nearest element, `reflect` those behind it in mirror order.
pub(in super::super) fn pad(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    let count = arguments.ints("pad", 0)?.len();
    let pads = arguments.sizes("pad", count, 0)?;
    let mode = arguments.text("mode")?;
    let first = (count % 2 == 0).then_some(count / 2).and_then(|n| rank.checked_sub(n));
    let first = first.ok_or_else(|| format!("`pad` is {pads:?} for {}", x.ty()))?;
    let amounts = |axis: usize| match axis.checked_sub(first) {
        Some(i) => (pads[2 * i], pads[2 * i + 1]),
        None => (0, 0),
    };
    let size = |axis: usize| {
        let (before, after) = amounts(axis);
        x.shape()[axis].checked_add(before)?.checked_add(after)
    };
    let shape: Option<Vec<_>> = (0..rank).map(size).collect();
    elements(&shape.ok_or_else(|| format!("`pad` is {pads:?} for {}", x.ty()))?)?;
    let taken = (0..rank).map(|axis| {
        let (length, (before, after)) = (x.shape()[axis], amounts(axis));
        let most = match mode {
            "constant" => usize::MAX,
            "replicate" => {
                if length == 0 {
                    0
                } else {
                    usize::MAX
                }
            }
            "reflect" => length.saturating_sub(1),
            _ => return Err(format!("`mode` is `{mode}`")),
        };
        if before > most || after > most {
            return Err(format!("`pad` is {pads:?} for {} in mode {mode}", x.ty()));
        }
        let source = |place: usize| match (place.checked_sub(before), mode) {
            (Some(i), _) if i < length => i,
            (_, "constant") => FILL,
            (None, "replicate") => 0,
            (None, _) => before - place,
            (Some(_), "replicate") => length - 1,
            (Some(i), _) => 2 * (length - 1) - i,
        };
        Ok((0..before + length + after).map(source).collect())
    });
    let taken = taken.collect::<Result<Vec<_>, _>>()?;
    let filling = if mode == "constant" { arguments.number("constant_val")? } else { 0.0 };
    Ok(take_or(x, filling, &grid(x.shape(), &taken)?))
}

/// The elements in reverse order along `axes`, all where none are given.
pub(in super::super) fn reverse(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axes = arguments.axes("axes", x.shape().len())?;
    let along = |(axis, &n): (usize, &usize)| match axes.contains(&axis) {
        true => (0..n).rev().collect(),
        false => (0..n).collect(),
    };
    let taken: Vec<Vec<usize>> = x.shape().iter().enumerate().map(along).collect();
    Ok(take(x, &grid(x.shape(), &taken)?))
}

/// The first `lengths[b]` elements along `seq_axis` in reverse order, for each index b along
/// `batch_axis`; the others stay. TensorFlow's reverse_sequence.
pub(in super::super) fn reverse_sequence(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    let (seq, batch) = (arguments.axis("seq_axis", rank)?, arguments.axis("batch_axis", rank)?);
    let lengths = arguments.sizes("lengths", x.shape()[batch], 0)?;
    if seq == batch || lengths.iter().any(|&n| n > x.shape()[seq]) {
        return Err(format!("`lengths` is {lengths:?} along axis {seq} of {}", x.ty()));
    }
    let places = all(x.shape())?;
    let reversed = ArrayD::from_shape_fn(places.raw_dim(), |mut index| {
        let length = lengths[index[batch]];
        if index[seq] < length {
            index[seq] = length - 1 - index[seq];
        }
        places[index]
    });
    Ok(take(x, &reversed))
}

/// Windows of `size` elements along `axis`, `stride` apart: `[.., windows, size, ..]`.
pub(in super::super) fn sliding_windows(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let axis = arguments.axis("axis", x.shape().len())?;
    let size = arguments.sizes("size", 1, 1)?[0];
    let stride = arguments.sizes("stride", 1, 1)?[0];
    let room = x.shape()[axis].checked_sub(size);
    let room = room.ok_or_else(|| format!("windows of {size} do not fit in {}", x.ty()))?;
    let count = room / stride + 1;
    let mut taken: Vec<Vec<_>> = x.shape().iter().map(|&n| (0..n).collect()).collect();
    let mut shape = x.shape().to_vec();
    shape.splice(axis..=axis, [count, size]);
    elements(&shape)?;
    taken[axis] = (0..count).flat_map(|w| w * stride..w * stride + size).collect();
    reshaped(&take(x, &grid(x.shape(), &taken)?), &shape)
}

/// The lengths of x's dimensions, INT32.
pub(in super::super) fn shape(arguments: &Arguments<'_>) -> One {
    let shape = arguments.tensor("x")?.shape();
    let sizes: Result<Vec<_>, _> = shape.iter().map(|&n| i32::try_from(n)).collect();
    let sizes = sizes.map_err(|_| format!("the shape {shape:?} is beyond INT32"))?;
    Ok(Tensor::int(DataType::Int32, array(&[sizes.len()], sizes)?))
}

/// x seen in `split` dimensions, with the axes in another order, seen in `shape`.
fn rearranged(x: &Tensor, split: &[usize], perm: &[usize], shape: &[usize]) -> One {
    let parts = reshaped(x, split)?;
    let parts = permuted(&parts, perm).ok_or("no permutation")?;
    reshaped(&parts, shape)
}

/// The four sizes of an image, and a factor ≥ 1.
fn image<'a>(
    arguments: &Arguments<'a>,
    name: &str,
) -> Result<(&'a Tensor, [usize; 4], usize), String> {
    let x = arguments.tensor("x")?;
    let &[n, c, h, w] = x.shape() else {
        return Err(format!("`x` is {}, not [n, C, H, W]", x.ty()));
    };
    let factor = arguments.sizes(name, 1, 1)?[0];
    factor.checked_mul(factor).ok_or_else(|| format!("`{name}` is {factor}"))?;
    Ok((x, [n, c, h, w], factor))
}

/// `[n, b · b · C, H, W]` → `[n, C, H · b, W · b]`, the block's place slowest among the channels:
/// TensorFlow's order.
pub(in super::super) fn depth_to_space(arguments: &Arguments<'_>) -> One {
    let (x, [n, c, h, w], b) = image(arguments, "block_size")?;
    let out = c / (b * b);
    rearranged(x, &[n, b, b, out, h, w], &[0, 3, 4, 1, 5, 2], &[n, out, h * b, w * b])
}

/// The inverse of [`depth_to_space`].
pub(in super::super) fn space_to_depth(arguments: &Arguments<'_>) -> One {
    let (x, [n, c, h, w], b) = image(arguments, "block_size")?;
    let (rows, columns) = (h / b, w / b);
    rearranged(x, &[n, c, rows, b, columns, b], &[0, 3, 5, 1, 2, 4], &[n, c * b * b, rows, columns])
}

/// `[n, C · f · f, H, W]` → `[n, C, H · f, W · f]`, the block's place fastest: torch's PixelShuffle.
pub(in super::super) fn pixel_shuffle(arguments: &Arguments<'_>) -> One {
    let (x, [n, c, h, w], f) = image(arguments, "upscale_factor")?;
    let out = c / (f * f);
    rearranged(x, &[n, out, f, f, h, w], &[0, 1, 4, 2, 5, 3], &[n, out, h * f, w * f])
}

/// The inverse of [`pixel_shuffle`].
pub(in super::super) fn pixel_unshuffle(arguments: &Arguments<'_>) -> One {
    let (x, [n, c, h, w], f) = image(arguments, "downscale_factor")?;
    let (rows, columns) = (h / f, w / f);
    rearranged(x, &[n, c, rows, f, columns, f], &[0, 1, 3, 5, 2, 4], &[n, c * f * f, rows, columns])
}

/// Blocks of the padded image become batches, the block's place slowest: TensorFlow's order.
pub(in super::super) fn space_to_batch(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let &[n, c, h, w] = x.shape() else {
        return Err(format!("`x` is {}, not [n, C, H, W]", x.ty()));
    };
    let block = arguments.sizes("block_shape", 2, 1)?;
    let pads = arguments.sizes("paddings", 4, 0)?;
    let misfit = || format!("blocks {block:?} and paddings {pads:?} do not fit {}", x.ty());
    let padded = |length: usize, before: usize, after: usize, block: usize| {
        let total = length.checked_add(before)?.checked_add(after)?;
        (total % block == 0).then_some(total)
    };
    let height = padded(h, pads[0], pads[1], block[0]).ok_or_else(misfit)?;
    let width = padded(w, pads[2], pads[3], block[1]).ok_or_else(misfit)?;
    elements(&[n, c, height, width])?;
    let around = |length: usize, before: usize, total: usize| -> Vec<usize> {
        let source =
            |place: usize| place.checked_sub(before).filter(|&i| i < length).unwrap_or(FILL);
        (0..total).map(source).collect()
    };
    let taken =
        [(0..n).collect(), (0..c).collect(), around(h, pads[0], height), around(w, pads[2], width)];
    let image = take_or(x, 0.0, &grid(x.shape(), &taken)?);
    let (rows, columns) = (height / block[0], width / block[1]);
    let split = [n, c, rows, block[0], columns, block[1]];
    rearranged(&image, &split, &[3, 5, 0, 1, 2, 4], &[n * block[0] * block[1], c, rows, columns])
}

/// The inverse of [`space_to_batch`]: batches become blocks of an image, which is then cropped.
pub(in super::super) fn batch_to_space(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let &[n, c, h, w] = x.shape() else {
        return Err(format!("`x` is {}, not [n, C, H, W]", x.ty()));
    };
    let block = arguments.sizes("block_shape", 2, 1)?;
    let crops = arguments.sizes("crops", 4, 0)?;
    let misfit = || format!("blocks {block:?} and crops {crops:?} do not fit {}", x.ty());
    let blocks =
        block[0].checked_mul(block[1]).filter(|blocks| n % blocks == 0).ok_or_else(misfit)?;
    let (batch, height, width) = (n / blocks, h * block[0], w * block[1]);
    let split = [block[0], block[1], batch, c, h, w];
    let image = rearranged(x, &split, &[2, 3, 4, 0, 5, 1], &[batch, c, height, width])?;
    let end = |total: usize, before: usize, after: usize| {
        total.checked_sub(after).filter(|&end| end >= before).ok_or_else(misfit)
    };
    let (bottom, right) = (end(height, crops[0], crops[1])?, end(width, crops[2], crops[3])?);
    let taken = [
        (0..batch).collect(),
        (0..c).collect(),
        (crops[0]..bottom).collect(),
        (crops[2]..right).collect(),
    ];
    Ok(take(&image, &grid(image.shape(), &taken)?))
}
