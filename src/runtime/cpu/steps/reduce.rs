//! Reductions, softmax and norms: one result, or a row of them, from all elements along some axes.

use super::{Io, Step};
use crate::runtime::cpu::blocks::{self, simd};
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::math::exp;
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;

/// The step of an operation of this family, if it is one whose axes stand side by side.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    match node.kind() {
        "softmax" => softmax(planner, node),
        "layer_norm" | "instance_norm" | "l2_norm" => norm(planner, node),
        "reduce_argmax" => argmax(planner, node, outputs[0]),
        kind => match Reduction::of(kind) {
            Some(reduction) => reduce(planner, node, reduction),
            None => Ok(None),
        },
    }
}

/// `[outer, count, inner]`: the axes that are reduced in the middle.
#[derive(Clone, Copy)]
struct Middle {
    outer: usize,
    count: usize,
    inner: usize,
}

impl Middle {
    /// `None` if the axes do not stand side by side, or nothing stands along them.
    fn new(shape: &[usize], axes: &[usize]) -> Option<Self> {
        let reduced = |axis: usize| axes.contains(&axis) || shape[axis] == 1;
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else {
            return Some(Self { outer: shape.iter().product(), count: 1, inner: 1 });
        };
        let product = |part: &[usize]| part.iter().product::<usize>();
        let count = product(&shape[first..=last]);
        let middle =
            Self { outer: product(&shape[..first]), count, inner: product(&shape[last + 1..]) };
        ((first..=last).all(reduced) && count > 0).then_some(middle)
    }
}

/// What is done to the elements.
#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    Sum,
    Mean,
    SumSquare,
    L1,
    L2,
    LogSum,
    LogSumExp,
    Product,
    Max,
    Min,
}

impl Reduction {
    fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "reduce_sum" => Self::Sum,
            "reduce_mean" => Self::Mean,
            "reduce_sum_square" => Self::SumSquare,
            "reduce_l1_norm" => Self::L1,
            "reduce_l2_norm" => Self::L2,
            "reduce_log_sum" => Self::LogSum,
            "reduce_log_sum_exp" => Self::LogSumExp,
            "reduce_prod" => Self::Product,
            "reduce_max" => Self::Max,
            "reduce_min" => Self::Min,
            _ => return None,
        })
    }

    /// Of elements `stride` apart.
    #[inline(always)]
    fn over(self, row: &[f32]) -> f32 {
        let count = row.len() as f32;
        match self {
            Self::Sum => sum(row, |x| x),
            Self::Mean => sum(row, |x| x) / count,
            Self::SumSquare => sum(row, |x| x * x),
            Self::L1 => sum(row, f32::abs),
            Self::L2 => sum(row, |x| x * x).sqrt(),
            Self::LogSum => sum(row, |x| x).ln(),
            Self::LogSumExp => {
                let top = largest(row);
                if top.is_infinite() { top } else { top + sum(row, |x| exp(x - top)).ln() }
            }
            Self::Product => row.iter().product(),
            Self::Max => largest(row),
            Self::Min => -largest_of(row, |x| -x),
        }
    }
}

/// Lanes that sums run in side by side; they are joined at the end, always in the same order.
const LANES: usize = 16;

/// Σ f(x).
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = row.chunks_exact(LANES);
    let mut rest: f32 = chunks.remainder().iter().map(|&x| f(x)).sum();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for lane in lanes {
        rest += lane;
    }
    rest
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    largest_of(row, |x| x)
}

/// The largest f(x); NaN if one is.
#[inline(always)]
fn largest_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let more = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |top, &x| more(top, f(x)));
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = more(*lane, f(x));
        }
    }
    lanes.iter().fold(rest, |top, &x| more(top, x))
}

fn reduce(planner: &mut Planner<'_>, node: Node<'_>, reduction: Reduction) -> Found<Option<Step>> {
    let shape = node.shape("x")?;
    let Some(middle) = Middle::new(&shape, &node.axes("axes", shape.len())?) else {
        return Ok(None);
    };
    let from = planner.argument(node, "x")?;
    // Rows that do not lie together are collected, a few at a time, by the reference.
    if from.kind != Kind::Float || (middle.inner > 1 && middle.count > STACK) {
        return Ok(None);
    }
    let Middle { outer, count, inner } = middle;
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.floats(from);
        blocks::rows(io.outputs[0].floats_mut(outer * inner), 1, count, |i, to| {
            let start = i / inner * count * inner + i % inner;
            simd(
                #[inline(always)]
                || {
                    to[0] = if inner == 1 {
                        reduction.over(&from[start..start + count])
                    } else {
                        let mut row = [0.0; STACK];
                        gather(from, start, inner, &mut row[..count]);
                        reduction.over(&row[..count])
                    };
                },
            );
        });
        Ok(())
    })))
}

/// Elements of a row that are collected on the stack.
const STACK: usize = 4096;

fn gather(from: &[f32], start: usize, stride: usize, row: &mut [f32]) {
    for (x, &from) in row.iter_mut().zip(from[start..].iter().step_by(stride)) {
        *x = from;
    }
}

/// Where the largest element stands: the first of equals; a NaN counts as the largest.
fn argmax(planner: &mut Planner<'_>, node: Node<'_>, to: Place) -> Found<Option<Step>> {
    let shape = node.shape("x")?;
    let axis = node.axis("axis", shape.len())?;
    let Some(Middle { count, inner, .. }) = Middle::new(&shape, &[axis]) else { return Ok(None) };
    let from = planner.argument(node, "x")?;
    if from.kind != Kind::Float || to.kind != Kind::Int {
        return Ok(None);
    }
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.floats(from);
        blocks::rows(io.outputs[0].ints_mut(to.len), 1, count, |i, to| {
            let row = from[i / inner * count * inner + i % inner..].iter().step_by(inner);
            let mut best = (0, f32::NEG_INFINITY);
            for (at, &x) in row.take(count).enumerate() {
                if at == 0 || x > best.1 || (x.is_nan() && !best.1.is_nan()) {
                    best = (at as i32, x);
                }
            }
            to[0] = best.0;
        });
        Ok(())
    })))
}

/// eˣ / Σ eˣ along an axis, the largest taken off first.
fn softmax(planner: &mut Planner<'_>, node: Node<'_>) -> Found<Option<Step>> {
    let shape = node.shape("x")?;
    let axis = node.axis("axis", shape.len())?;
    let Some(Middle { outer, count, inner }) = Middle::new(&shape, &[axis]) else {
        return Ok(None);
    };
    let from = planner.argument(node, "x")?;
    if inner > 1 && count > STACK {
        return Ok(None);
    }
    let plane = count * inner;
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.floats(from);
        blocks::rows(io.outputs[0].floats_mut(outer * plane), plane, 8 * plane, |i, to| {
            let from = &from[i * plane..(i + 1) * plane];
            if inner == 1 {
                to.copy_from_slice(from);
                simd(
                    #[inline(always)]
                    || softmax_row(to),
                );
                return;
            }
            let mut row = [0.0; STACK];
            for column in 0..inner {
                let row = &mut row[..count];
                gather(from, column, inner, row);
                simd(
                    #[inline(always)]
                    || softmax_row(row),
                );
                let places = to[column..].iter_mut().step_by(inner);
                places.zip(&*row).for_each(|(to, &x)| *to = x);
            }
        });
        Ok(())
    })))
}

/// Softmax in place.
#[inline(always)]
pub(super) fn softmax_row(row: &mut [f32]) {
    let top = largest(row);
    for x in &mut *row {
        *x = exp(*x - top);
    }
    let scale = 1.0 / sum(row, |x| x);
    for x in row {
        *x *= scale;
    }
}

/// How rows are normalized.
#[derive(Clone, Copy)]
enum Norm {
    /// (x − mean) / √(variance + ε)
    Variance(f32),
    /// x / √(Σx² + ε)
    Length(f32),
}

/// Layer, instance and l2 norms: rows that lie together, then γ and β.
fn norm(planner: &mut Planner<'_>, node: Node<'_>) -> Found<Option<Step>> {
    let shape = node.shape("x")?;
    let rank = shape.len();
    let epsilon = node.number("epsilon")?;
    let (axes, norm) = match node.kind() {
        "layer_norm" => (node.axes("axes", rank)?, Norm::Variance(epsilon)),
        "instance_norm" => ((2..rank).collect(), Norm::Variance(epsilon)),
        _ => ((rank.saturating_sub(3)..rank).collect(), Norm::Length(epsilon)),
    };
    let Some(Middle { outer, count, inner: 1 }) = Middle::new(&shape, &axes) else {
        return Ok(None);
    };
    let (from, per_channel) = (planner.argument(node, "x")?, node.kind() == "instance_norm");
    let channels = if per_channel { shape[1] } else { count };
    let vector = |planner: &mut Planner<'_>, name: &str| -> Found<Option<Place>> {
        let place = planner.optional(node, name)?;
        match place.filter(|place| place.len != channels) {
            Some(place) => Err(format!("`{name}` has {} elements, not {channels}", place.len)),
            None => Ok(place),
        }
    };
    let (gamma, beta) = (vector(planner, "gamma")?, vector(planner, "beta")?);
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.floats(from);
        let [gamma, beta] = [gamma, beta].map(|place| place.map(|place| io.buffers.floats(place)));
        blocks::rows(io.outputs[0].floats_mut(outer * count), count, 4 * count, |i, to| {
            let from = &from[i * count..(i + 1) * count];
            simd(
                #[inline(always)]
                || {
                    normalize(norm, from, to);
                    if per_channel {
                        let of =
                            |v: Option<&[f32]>, otherwise| v.map_or(otherwise, |v| v[i % channels]);
                        let (gamma, beta) = (of(gamma, 1.0), of(beta, 0.0));
                        for x in to {
                            *x = *x * gamma + beta;
                        }
                        return;
                    }
                    for (x, gamma) in to.iter_mut().zip(gamma.unwrap_or_default()) {
                        *x *= gamma;
                    }
                    for (x, beta) in to.iter_mut().zip(beta.unwrap_or_default()) {
                        *x += beta;
                    }
                },
            );
        });
        Ok(())
    })))
}

#[inline(always)]
fn normalize(norm: Norm, from: &[f32], to: &mut [f32]) {
    let count = from.len() as f32;
    let (mean, scale) = match norm {
        Norm::Variance(epsilon) => {
            let mean = sum(from, |x| x) / count;
            let variance = sum(from, |x| (x - mean) * (x - mean)) / count;
            (mean, 1.0 / (variance + epsilon).sqrt())
        }
        Norm::Length(epsilon) => (0.0, 1.0 / (sum(from, |x| x * x) + epsilon).sqrt()),
    };
    for (to, &x) in to.iter_mut().zip(from) {
        *to = (x - mean) * scale;
    }
}
