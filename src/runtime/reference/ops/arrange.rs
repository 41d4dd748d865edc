//! The same elements in another order.

use super::super::arguments::axis;
use super::super::places::{FILL, all, grid, reshaped, take, take_or};
use super::super::shape::elements;
use super::{Arguments, Data, One, Tensor};
use ndarray::ArrayD;

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
    let batch = n / blocks;
    let sides = h.checked_mul(block[0]).zip(w.checked_mul(block[1]));
    let (height, width) = sides.ok_or_else(misfit)?;
    elements(&[batch, c, height, width])?;
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
