//! Convolutions, as products of the weight and a matrix of patches.

use super::super::product::product;
use super::super::shape::elements;
use super::window::{Axis, Windows};
use super::{Arguments, One, Tensor, places};
use ndarray::{Array1, Array2, ArrayD, Axis as Dimension, IxDyn, s};

/// Elements of the matrix of patches that are made at a time: bounds the copies.
const PATCHES: usize = 1 << 22;

/// `y[n, o, p] = b[o] + Σ W[o, c, t] · x[n, c, p · stride + t · dilation − pad]`, in groups:
/// x `[n, C, *d]`, W `[O, C/groups, *k]`, b `[O]`.
pub(in super::super) fn conv(arguments: &Arguments<'_>) -> One {
    let (x, weight) = (arguments.float("x")?, arguments.float("weight")?);
    let groups = arguments.sizes("groups", 1, 1)?[0];
    let (channels, spatial) = split(x)?;
    let (out, kernel) = split_weight(weight)?;
    let inside = weight.shape()[1];
    if inside.checked_mul(groups) != Some(channels) || out % groups != 0 {
        return Err(misfit(x, weight, groups));
    }
    let windows = Windows::new(arguments, spatial, kernel)?;
    let matrix = matrix(weight, out)?;
    let part = out / groups;
    let weights = (0..groups).map(|g| matrix.slice(s![g * part..(g + 1) * part, ..]).to_owned());
    convolve(arguments, windows.axes, Axis::source, &weights.collect::<Vec<_>>())
}

/// The transpose of [`conv`]: each input adds W, `[C, O/groups, *k]`, to the output under its window.
///
/// `y[n, o, p] = b[o] + Σ W[c, o, t] · x[n, c, q]` where `q · stride + t · dilation − pad = p`.
/// The output has `(d − 1) · stride + (k − 1) · dilation + 1 − pads` elements along an axis, for
/// `same` `d · stride`, or what `output_shape` says. With `same` and with `output_shape`, what is cut
/// off is cut at both ends, the odd element behind (`same_lower`: before); with `custom` the pads are
/// cut and an `output_shape` extends or cuts the end (torch's `output_padding`).
pub(in super::super) fn conv_transpose(arguments: &Arguments<'_>) -> One {
    let (x, weight) = (arguments.float("x")?, arguments.float("weight")?);
    let groups = arguments.sizes("groups", 1, 1)?[0];
    let (channels, spatial) = split(x)?;
    let (inside, kernel) = split_weight(weight)?;
    if inside != channels || channels % groups != 0 || kernel.len() != spatial.len() {
        return Err(misfit(x, weight, groups));
    }
    let axes = transposed_axes(arguments, spatial, kernel)?;
    let (part, out) = (channels / groups, weight.shape()[1]);
    let weights = (0..groups).map(|g| {
        let group = weight.slice_axis(Dimension(0), (g * part..(g + 1) * part).into());
        let mut outputs_first = group.to_owned();
        outputs_first.swap_axes(0, 1);
        matrix(&outputs_first, out)
    });
    let weights = weights.collect::<Result<Vec<_>, _>>()?;
    convolve(arguments, axes, Axis::transposed_source, &weights)
}

fn transposed_axes(
    arguments: &Arguments<'_>,
    spatial: &[usize],
    kernel: &[usize],
) -> Result<Vec<Axis>, String> {
    let count = spatial.len();
    if !(1..=3).contains(&count) {
        return Err(format!("{spatial:?} has not 1 to 3 spatial dimensions"));
    }
    let strides = arguments.sizes("strides", count, 1)?;
    let dilations = arguments.sizes("dilations", count, 1)?;
    let pad_type = arguments.text("pad_type")?;
    let pad = match pad_type {
        "custom" => arguments.sizes("pad", 2 * count, 0)?,
        "valid" | "same" | "same_lower" => vec![0; 2 * count],
        _ => return Err(format!("`pad_type` is `{pad_type}`")),
    };
    let wanted = match arguments.optional_ints("output_shape")? {
        Some(shape) if shape.len() == count + 2 => {
            Some(arguments.sizes("output_shape", count + 2, 0)?)
        }
        Some(shape) => {
            return Err(format!("`output_shape` is {shape:?} for {count} spatial dimensions"));
        }
        None => None,
    };
    let axis = |axis: usize| {
        let (input, kernel) = (spatial[axis], kernel[axis]);
        let (stride, dilation) = (strides[axis], dilations[axis]);
        let full = (input.checked_sub(1).and_then(|n| n.checked_mul(stride)))
            .and_then(|n| n.checked_add(kernel.checked_sub(1)?.checked_mul(dilation)?))
            .and_then(|n| n.checked_add(1));
        let none = || format!("nothing is left of {spatial:?} under {kernel:?}");
        let full = full.ok_or_else(none)?;
        let wanted = wanted.as_ref().map(|shape| shape[axis + 2]);
        let (before, output) = match pad_type {
            "same" | "same_lower" => {
                let output = wanted.or(input.checked_mul(stride)).ok_or_else(none)?;
                let cut = full.saturating_sub(output);
                (if pad_type == "same" { cut / 2 } else { cut - cut / 2 }, output)
            }
            _ => {
                let (before, after) = (pad[2 * axis], pad[2 * axis + 1]);
                let rest = before.checked_add(after).and_then(|cut| full.checked_sub(cut));
                (before, wanted.or(rest).ok_or_else(none)?)
            }
        };
        Ok(Axis { input, kernel, stride, dilation, before, after: 0, output })
    };
    (0..count).map(axis).collect()
}

/// `y[n, group · o, p] = b + W[group] · patches`, where a patch at `p` holds for each channel of the
/// group and each element of the kernel what `source` finds in x, or zero.
fn convolve(
    arguments: &Arguments<'_>,
    mut axes: Vec<Axis>,
    source: impl Fn(&Axis, usize, usize) -> Option<usize>,
    weights: &[Array2<f32>],
) -> One {
    let x = arguments.float("x")?;
    let dtype = arguments.tensor("x")?.dtype;
    let (out, rows) = weights.first().map(|weight| weight.dim()).ok_or("there are no groups")?;
    let outputs = out * weights.len();
    let mut shape = vec![x.shape()[0], outputs];
    shape.extend(axes.iter().map(|axis| axis.output));
    elements(&shape)?;
    let bias = bias(arguments, outputs)?;
    // Every shape is three-dimensional here: what is missing has size 1.
    while axes.len() < 3 {
        let single =
            Axis { input: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, output: 1 };
        axes.insert(0, single);
    }
    let sources: Vec<Vec<Vec<Option<usize>>>> = axes
        .iter()
        .map(|axis| {
            let tap = |tap| (0..axis.output).map(|p| source(axis, p, tap)).collect();
            (0..axis.kernel).map(tap).collect()
        })
        .collect();
    let volume: usize = axes.iter().map(|axis| axis.input).product();
    let (lines, width) = (axes[0].output * axes[1].output, axes[2].output);
    let at_once = (PATCHES / (rows * width).max(1)).clamp(1, lines.max(1));
    let mut y = ArrayD::<f32>::zeros(IxDyn(&[x.shape()[0], outputs, lines * width]));
    let elements = places::flat(x);
    let group_len = volume * (x.shape()[1] / weights.len());
    let groups = elements.chunks_exact(group_len.max(1));
    for (number, input) in groups.enumerate() {
        let (n, g) = (number / weights.len(), number % weights.len());
        for top in (0..lines).step_by(at_once) {
            let block = top..lines.min(top + at_once);
            let patches = patches(input, &axes, &sources, block.clone(), rows)?;
            let start = bias.slice(s![g * out..(g + 1) * out]).insert_axis(Dimension(1));
            let start = start.broadcast((out, patches.ncols())).ok_or("the bias does not fit")?;
            let sums = product(arguments, dtype, weights[g].view(), patches.view(), start);
            let columns = block.start * width..block.end * width;
            y.slice_mut(s![n, g * out..(g + 1) * out, columns]).assign(&sums);
        }
    }
    Ok(Tensor::float(dtype, places::array(&shape, y.into_raw_vec_and_offset().0)?))
}

/// The patches `[C · kernel, P]` at some lines of the output (pairs of depth and height).
fn patches(
    input: &[f32],
    axes: &[Axis],
    sources: &[Vec<Vec<Option<usize>>>],
    lines: std::ops::Range<usize>,
    rows: usize,
) -> Result<Array2<f32>, String> {
    let (heights, width) = (axes[1].output, axes[2].output);
    let volume: usize = axes.iter().map(|axis| axis.input).product();
    let columns = lines.len() * width;
    let mut patches = Vec::with_capacity(rows * columns);
    for channel in input.chunks_exact(volume.max(1)) {
        for depth in &sources[0] {
            for height in &sources[1] {
                for across in &sources[2] {
                    for line in lines.clone() {
                        let place = depth[line / heights].zip(height[line % heights]);
                        match place {
                            None => patches.resize(patches.len() + width, 0.0),
                            Some((d, h)) => {
                                let row = &channel[(d * axes[1].input + h) * axes[2].input..];
                                let pick = |place: &Option<usize>| place.map_or(0.0, |w| row[w]);
                                patches.extend(across.iter().map(pick));
                            }
                        }
                    }
                }
            }
        }
    }
    Array2::from_shape_vec((rows, columns), patches).map_err(|_| "`weight` does not fit `x`".into())
}

/// The bias, or zeros.
pub(super) fn bias(arguments: &Arguments<'_>, outputs: usize) -> Result<Array1<f32>, String> {
    match arguments.optional_float("bias")? {
        None => Ok(Array1::zeros(outputs)),
        Some(bias) if bias.len() == outputs => Ok(bias.iter().copied().collect()),
        Some(bias) => Err(format!("`bias` has shape {:?} for {outputs} outputs", bias.shape())),
    }
}

/// Channels and spatial sizes of x.
fn split(x: &ArrayD<f32>) -> Result<(usize, &[usize]), String> {
    match x.shape() {
        [_, channels, spatial @ ..] if !spatial.is_empty() => Ok((*channels, spatial)),
        shape => Err(format!("`x` has shape {shape:?}, not [n, C, ..]")),
    }
}

/// First size and kernel of a weight.
fn split_weight(weight: &ArrayD<f32>) -> Result<(usize, &[usize]), String> {
    match weight.shape() {
        [first, _, kernel @ ..] if !kernel.is_empty() => Ok((*first, kernel)),
        shape => Err(format!("`weight` has shape {shape:?}, not [O, C, ..]")),
    }
}

/// A weight as a matrix `[rows, everything else]`.
fn matrix(weight: &ArrayD<f32>, rows: usize) -> Result<Array2<f32>, String> {
    let columns = weight.len().checked_div(rows).unwrap_or(0);
    let elements = weight.iter().copied().collect();
    Array2::from_shape_vec((rows, columns), elements).map_err(|_| "`weight` is no matrix".into())
}

fn misfit(x: &ArrayD<f32>, weight: &ArrayD<f32>, groups: usize) -> String {
    let (x, weight) = (x.shape(), weight.shape());
    format!("`x` of shape {x:?} does not fit `weight` of shape {weight:?} in {groups} groups")
}
