//! Convolutions: patches of the input as rows of a matrix, some pixels at a time; depthwise ones
//! directly; transposed ones as the product that each input pixel spreads over the output.

use super::layer::{Input, Multiplier, pack, plain, transposed as turned};
use super::window::Windows;
use super::{Io, Step};
use crate::graph::weight::Weight;
use crate::runtime::cpu::blocks::{self, simd};
use crate::runtime::cpu::buffers::Place;
use crate::runtime::cpu::matrix::Out;
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;

/// Elements of the patches that are made at a time.
const PATCHES: usize = 1 << 18;

/// What a convolution reads and writes: `[n, groups · inside, *d]` → `[n, groups · out, *p]`.
#[derive(Clone, Copy)]
struct Shape {
    groups: usize,
    /// Channels of a group.
    inside: usize,
    out: usize,
    axes: [Windows; 3],
}

impl Shape {
    /// Elements of a channel of the input.
    fn volume(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    /// Elements of a channel of the output.
    fn pixels(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    /// Elements of the kernel.
    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }
}

/// `conv` with a constant weight `[O, C/groups, *k]`, and what follows it on the way to codes.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    x: Input,
    weight: &Weight,
    then: &[Node<'_>],
    to: Place,
) -> Found<Option<Step>> {
    let (input, output) = (node.shape("x")?, node.out_shape(0)?);
    let groups = node.sizes("groups", 1)?[0];
    let windows = Windows::read(node, &input[2..], &weight.shape[2..], &output[2..])?;
    let Some(axes) = windows else { return Ok(None) };
    let (inside, out) = (weight.shape[1], weight.shape[0] / groups);
    let shape = Shape { groups, inside, out, axes };
    let bias = planner.optional(node, "bias")?;
    if let (1, Input::Floats(x)) = (inside, x)
        && groups > 1
    {
        return depthwise(planner, shape, x, weight, bias, to).map(Some);
    }
    let at_once = shape.at_once();
    let matrices = (0..groups).map(|group| pack(planner, weight, group * out..(group + 1) * out));
    let matrices = matrices.collect::<Found<Vec<_>>>()?;
    let patches = at_once * shape.columns();
    if let Input::Floats(x) = x {
        let most = matrices.iter().map(|matrix| matrix.scratch_len(at_once)).max().unwrap_or(0);
        planner.needs_scratch(most + patches);
        return Ok(Some(Box::new(move |io: &mut Io<'_>| {
            let (x, to) = (io.buffers.floats(x), io.outputs[0].floats_mut(to.len));
            let bias = bias.map(|bias| io.buffers.floats(bias));
            let (patches, scratch) = io.scratch.split_at_mut(patches);
            shape.each(x, 0.0, patches, to, |group, x, m, to| {
                let bias = bias.map(|bias| &bias[group * out..(group + 1) * out]);
                matrices[group].multiply(x, m, bias, to, scratch);
            });
            Ok(())
        })));
    }
    let Input::Codes(x, affine) = x else { return Ok(None) };
    let multipliers = matrices.into_iter().map(|matrix| Multiplier::new(matrix, affine, at_once));
    let multipliers: Vec<_> = multipliers.collect();
    let most = multipliers.iter().map(|m| m.scratch).max().unwrap_or(0);
    let mut patches = vec![0; patches];
    if then.is_empty() {
        planner.needs_scratch(most);
        return Ok(Some(Box::new(move |io: &mut Io<'_>| {
            let (x, to) = (io.buffers.codes(x), io.outputs[0].floats_mut(to.len));
            let bias = bias.map(|bias| io.buffers.floats(bias));
            shape.each(x, affine.zero_point, &mut patches, to, |group, x, m, to| {
                let bias = bias.map(|bias| &bias[group * out..(group + 1) * out]);
                multipliers[group].numbers(x, m, bias, to, io.scratch);
            });
            Ok(())
        })));
    }
    planner.needs_scratch(most + at_once * out);
    let bias = node.floats("bias")?;
    let part =
        |group: usize| bias.as_ref().map(|bias| bias[group * out..(group + 1) * out].to_vec());
    let biases: Vec<_> = (0..groups).map(part).collect();
    let stages = multipliers.iter().zip(&biases);
    let stages = stages.map(|(multiplier, bias)| multiplier.stage(then, bias.as_deref()));
    let stages = stages.collect::<Found<Vec<_>>>()?;
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (x, to) = (io.buffers.codes(x), io.outputs[0].codes_mut(to.len));
        shape.each(x, affine.zero_point, &mut patches, to, |group, x, m, to| {
            let (bias, stage) = (biases[group].as_deref(), &stages[group]);
            multipliers[group].codes(x, m, bias, stage, to, io.scratch);
        });
        Ok(())
    })))
}

impl Shape {
    /// Columns of the matrix that multiplies patches.
    fn columns(&self) -> usize {
        self.inside * self.taps()
    }

    /// Pixels whose patches are made at a time.
    fn at_once(&self) -> usize {
        (PATCHES / self.columns().max(1)).clamp(16, self.pixels().max(16))
    }

    /// Calls `product` with the group, some patches, how many they are, and where their products go,
    /// until all of the output is there. `nothing` stands in the padding.
    fn each<X: Copy + Send + Sync, Y>(
        &self,
        x: &[X],
        nothing: X,
        patches: &mut [X],
        to: &mut [Y],
        mut product: impl FnMut(usize, &[X], usize, Out<'_, Y>),
    ) {
        let (pixels, k, at_once) = (self.pixels(), self.columns(), self.at_once());
        for (i, to) in to.chunks_mut((self.out * pixels).max(1)).enumerate() {
            let x = &x[i * self.inside * self.volume()..];
            for first in (0..pixels).step_by(at_once) {
                let m = at_once.min(pixels - first);
                let patches = &mut patches[..m * k];
                fill(self, x, first, patches, nothing);
                let out = Out { data: &mut to[first..], row_stride: 1, col_stride: pixels };
                product(i % self.groups, patches, m, out);
            }
        }
    }
}

/// The patches of pixels from `first` on, one row `[C, *k]` each; `nothing` in the padding.
fn fill<T: Copy + Send + Sync>(
    shape: &Shape,
    x: &[T],
    first: usize,
    patches: &mut [T],
    nothing: T,
) {
    let [depth, height, width] = shape.axes;
    let (volume, taps) = (shape.volume(), shape.taps());
    let k = shape.inside * taps;
    if taps == 1 && shape.axes.iter().all(|axis| axis.stride == 1 && axis.before + axis.after == 0)
    {
        return turn(x, volume, first, k, patches);
    }
    blocks::rows(patches, k, 4 * k, |i, patch| {
        let pixel = first + i;
        let (line, w) = (pixel / width.output, pixel % width.output);
        let (d, h) = (line / height.output, line % height.output);
        for (channel, patch) in patch.chunks_exact_mut(taps).enumerate() {
            let x = &x[channel * volume..(channel + 1) * volume];
            for (tap, row) in patch.chunks_exact_mut(width.kernel).enumerate() {
                let place =
                    depth.source(d, tap / height.kernel).zip(height.source(h, tap % height.kernel));
                let Some((z, y)) = place else {
                    row.fill(nothing);
                    continue;
                };
                let x = &x[(z * height.input + y) * width.input..][..width.input];
                for (tap, to) in row.iter_mut().enumerate() {
                    *to = width.source(w, tap).map_or(nothing, |w| x[w]);
                }
            }
        }
    });
}

/// Rows of channels from planes of pixels: `[C, P]` → `[P, C]`, in tiles that stay in the cache.
fn turn<T: Copy + Send + Sync>(x: &[T], volume: usize, first: usize, k: usize, to: &mut [T]) {
    const PIXELS: usize = 16;
    blocks::each(to, PIXELS * k, |start, to| {
        let first = first + start / k;
        for channel in 0..k {
            let plane = &x[channel * volume + first..];
            for (row, &x) in to.chunks_exact_mut(k).zip(plane) {
                row[channel] = x;
            }
        }
    });
}

/// One channel in, `out` channels out of it: each row of the output is the sum of rows of the input
/// times one number of the kernel.
fn depthwise(
    planner: &mut Planner<'_>,
    shape: Shape,
    x: Place,
    weight: &Weight,
    bias: Option<Place>,
    to: Place,
) -> Found<Step> {
    let weight = planner.numbers(weight.unrounded().map_err(|why| why.to_string())?);
    let (pixels, volume, taps) = (shape.pixels(), shape.volume(), shape.taps());
    let channels = shape.groups * shape.out;
    let [depth, height, width] = shape.axes;
    let line = width.output;
    Ok(Box::new(move |io: &mut Io<'_>| {
        let (x, weight) = (io.buffers.floats(x), io.buffers.floats(weight));
        let bias = bias.map(|bias| io.buffers.floats(bias));
        blocks::rows(io.outputs[0].floats_mut(to.len), pixels, pixels * taps, |i, to| {
            let channel = i % channels;
            let x = &x[i / shape.out * volume..][..volume];
            let weight = &weight[channel * taps..][..taps];
            to.fill(bias.map_or(0.0, |bias| bias[channel]));
            for (row, to) in to.chunks_exact_mut(line).enumerate() {
                for (tap, &weight) in weight.iter().enumerate() {
                    let (rest, across) = (tap / width.kernel, tap % width.kernel);
                    let (down, deep) = (rest % height.kernel, rest / height.kernel);
                    let z = depth.source(row / height.output, deep);
                    let place = z.zip(height.source(row % height.output, down));
                    let Some((z, y)) = place else { continue };
                    let x = &x[(z * height.input + y) * width.input..][..width.input];
                    simd(
                        #[inline(always)]
                        || add_row(&width, across, weight, x, to),
                    );
                }
            }
        });
        Ok(())
    }))
}

/// Adds `weight` times what lies under element `tap` of each window.
#[inline(always)]
fn add_row(axis: &Windows, tap: usize, weight: f32, x: &[f32], to: &mut [f32]) {
    let shift = tap * axis.dilation;
    // The windows whose element lies in the input.
    let first = axis.before.saturating_sub(shift).div_ceil(axis.stride).min(to.len());
    let start = (first * axis.stride + shift).saturating_sub(axis.before);
    if start >= x.len() {
        return;
    }
    let (x, to) = (&x[start..], &mut to[first..]);
    if axis.stride == 1 {
        for (to, &x) in to.iter_mut().zip(x) {
            *to += weight * x;
        }
    } else {
        for (to, &x) in to.iter_mut().zip(x.iter().step_by(axis.stride)) {
            *to += weight * x;
        }
    }
}

/// `conv_transpose` with a constant weight `[C, O/groups, *k]`: every input pixel times the weight,
/// added to the output under its window.
pub(super) fn transposed(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    weight: &Weight,
    to: Place,
) -> Found<Option<Step>> {
    let (input, output) = (node.shape("x")?, node.out_shape(0)?);
    let groups = node.sizes("groups", 1)?[0];
    let Some(axes) = spread(node, &input[2..], &weight.shape[2..], &output[2..])? else {
        return Ok(None);
    };
    let (inside, out) = (weight.shape[0] / groups, weight.shape[1]);
    let shape = Shape { groups, inside, out, axes };
    let (x, bias) = (planner.argument(node, "x")?, planner.optional(node, "bias")?);
    let (volume, pixels, n) = (shape.volume(), shape.pixels(), out * shape.taps());
    let at_once = (PATCHES / n.max(inside).max(1)).clamp(16, volume.max(16));
    let matrices = (0..groups)
        .map(|group| {
            let turned = turned(&part(weight, groups, group)?)?;
            pack(planner, &turned, 0..n)
        })
        .collect::<Found<Vec<_>>>()?;
    let most = matrices.iter().map(|matrix| matrix.scratch_len(at_once)).max().unwrap_or(0);
    planner.needs_scratch(most + at_once * (inside + n));
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (x, bias) = (io.buffers.floats(x), bias.map(|bias| io.buffers.floats(bias)));
        let (rows, rest) = io.scratch.split_at_mut(at_once * inside);
        let (columns, scratch) = rest.split_at_mut(at_once * n);
        let to = io.outputs[0].floats_mut(to.len);
        for (i, to) in to.chunks_mut((out * pixels).max(1)).enumerate() {
            let group = i % groups;
            for (channel, plane) in to.chunks_mut(pixels).enumerate() {
                plane.fill(bias.map_or(0.0, |bias| bias[group * out + channel]));
            }
            let x = &x[i * inside * volume..];
            for first in (0..volume).step_by(at_once) {
                let m = at_once.min(volume - first);
                let (rows, columns) = (&mut rows[..m * inside], &mut columns[..m * n]);
                turn(x, volume, first, inside, rows);
                let out = Out { data: columns, row_stride: 1, col_stride: m };
                matrices[group].multiply(rows, m, None, out, scratch);
                add(&shape, columns, first, m, to);
            }
        }
        Ok(())
    })))
}

/// The rows of a weight that belong to one group; of several they are decoded.
fn part(weight: &Weight, groups: usize, group: usize) -> Found<Weight> {
    if groups == 1 {
        return Ok(weight.clone());
    }
    let values = weight.unrounded().map_err(|why| why.to_string())?;
    let part = values.len() / groups;
    let mut shape = weight.shape.clone();
    shape[0] /= groups;
    Ok(plain(&shape, &values[group * part..(group + 1) * part]))
}

/// Adds `[O · k, m]` products of the input's pixels from `first` on to the output, channel by
/// channel.
fn add(shape: &Shape, columns: &[f32], first: usize, m: usize, to: &mut [f32]) {
    let [depth, height, width] = shape.axes;
    let (pixels, taps) = (shape.pixels(), shape.taps());
    blocks::rows(to, pixels, m * taps, |channel, plane| {
        for tap in 0..taps {
            let column = &columns[(channel * taps + tap) * m..][..m];
            let (rest, across) = (tap / width.kernel, tap % width.kernel);
            let (down, deep) = (rest % height.kernel, rest / height.kernel);
            for (i, &value) in column.iter().enumerate() {
                let (line, w) = ((first + i) / width.input, (first + i) % width.input);
                let (d, h) = (line / height.input, line % height.input);
                let z = depth.target(d, deep);
                let place = z.zip(height.target(h, down)).zip(width.target(w, across));
                if let Some(((z, y), x)) = place {
                    plane[(z * height.output + y) * width.output + x] += value;
                }
            }
        }
    });
}

/// The windows of a transposed convolution, which lie over the output.
fn spread(
    node: Node<'_>,
    input: &[usize],
    kernel: &[usize],
    output: &[usize],
) -> Found<Option<[Windows; 3]>> {
    let Some(mut axes) = Windows::read(node, input, kernel, output)? else { return Ok(None) };
    let pad_type = node.text("pad_type")?;
    if pad_type.starts_with("same") {
        for axis in &mut axes {
            let reach = axis.kernel.saturating_sub(1) * axis.dilation;
            let full = axis.input.saturating_sub(1) * axis.stride + reach + 1;
            let cut = full.saturating_sub(axis.output);
            axis.before = if pad_type == "same" { cut / 2 } else { cut - cut / 2 };
        }
    }
    Ok(Some(axes))
}
