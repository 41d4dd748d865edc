//! Products of activations: matmul and attention.

mod dense;

use super::reduce::softmax_row;
use super::{Io, Step};
use crate::runtime::cpu::blocks::{self, simd};
use crate::runtime::cpu::buffers::{Buffers, Kind, Place};
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::cpu::strided::View;
use dense::{Matrix, multiply};
use rayon::prelude::*;

/// `matmul` of floating-point matrices and `scaled_dot_product_attention`.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    match node.kind() {
        "matmul" => matmul(planner, node, outputs[0]),
        "scaled_dot_product_attention" => attention(planner, node, outputs[0]),
        _ => Ok(None),
    }
}

/// `[rows, cols]` of a matrix in the last two axes, and its strides once transposed or not.
fn last_two(shape: &[usize], transpose: bool) -> ([usize; 2], [usize; 2]) {
    let [rows, cols] = [shape[shape.len() - 2], shape[shape.len() - 1]];
    if transpose { ([cols, rows], [1, cols]) } else { ([rows, cols], [cols, 1]) }
}

/// Where the matrix of each batch begins.
fn offsets(shape: &[usize], batch: &[usize]) -> Option<Vec<usize>> {
    let (own, matrix) = shape.split_at(shape.len() - 2);
    let size: usize = matrix.iter().product();
    let order: Vec<usize> = (0..own.iter().product()).collect();
    let mut offsets = vec![0; batch.iter().product()];
    View::broadcast(own, batch)?.read(&order, 0, &mut offsets, 0, |i| i * size);
    Some(offsets)
}

/// Multiply-accumulates that take as long as an element to read.
const MACS: usize = 16;

fn matmul(planner: &mut Planner<'_>, node: Node<'_>, to: Place) -> Found<Option<Step>> {
    let (x, y, out) = (node.shape("x")?, node.shape("y")?, node.out_shape(0)?);
    let (a, b) = (planner.argument(node, "x")?, planner.argument(node, "y")?);
    if x.len() < 2 || y.len() < 2 || [a.kind, b.kind] != [Kind::Float; 2] || to.len == 0 {
        return Ok(None);
    }
    let ([m, k], a_strides) = last_two(&x, node.flag("transpose_x")?);
    let ([_, n], b_strides) = last_two(&y, node.flag("transpose_y")?);
    let batch = &out[..out.len() - 2];
    let (Some(a_starts), Some(b_starts)) = (offsets(&x, batch), offsets(&y, batch)) else {
        return Ok(None);
    };
    let alone = a_starts.len() == 1;
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (a, b) = (io.buffers.floats(a), io.buffers.floats(b));
        let product = |i: usize, to: &mut [f32]| {
            let a = Matrix { data: &a[a_starts[i]..], strides: a_strides };
            let b = Matrix { data: &b[b_starts[i]..], strides: b_strides };
            multiply([m, n, k], a, b, to, alone && blocks::shared());
        };
        let to = io.outputs[0].floats_mut(to.len);
        match alone {
            true => product(0, to),
            false => blocks::rows(to, m * n, m * n * k / MACS, product),
        }
        Ok(())
    })))
}

/// Queries that are scored against all keys at a time: bounds the scores that are kept.
const QUERIES: usize = 32;

/// `softmax(q · kᵀ / √E + mask) · v`, some queries of a head at a time.
fn attention(planner: &mut Planner<'_>, node: Node<'_>, to: Place) -> Found<Option<Step>> {
    let (q, k, v) = (node.shape("query")?, node.shape("key")?, node.shape("value")?);
    let rank = q.len();
    let heads: usize = q[..rank - 2].iter().product();
    let ([l, e], [s, ev]) = ([q[rank - 2], q[rank - 1]], [k[rank - 2], v[rank - 1]]);
    if k[..rank - 2] != q[..rank - 2] || v[..rank - 2] != q[..rank - 2] || to.len == 0 || s == 0 {
        return Ok(None);
    }
    let query = planner.argument(node, "query")?;
    let (key, value) = (planner.argument(node, "key")?, planner.argument(node, "value")?);
    let mask = match planner.optional(node, "attn_mask")? {
        None => None,
        Some(place) => {
            let all = [&q[..rank - 2], &[l, s]].concat();
            let view = View::broadcast(&node.shape("attn_mask")?, &all);
            Some((place, view.ok_or("`attn_mask` does not broadcast")?))
        }
    };
    let at_once = l.min(QUERIES);
    planner.needs_scratch(heads * at_once * s);
    let scale = (1.0 / (e as f64).sqrt()) as f32;
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let buffers = io.buffers;
        let (q, k, v) = (buffers.floats(query), buffers.floats(key), buffers.floats(value));
        let alone = heads == 1 && blocks::shared();
        let head = |head: usize, to: &mut [f32], scores: &mut [f32]| {
            let keys = Matrix { data: &k[head * s * e..], strides: [1, e] };
            let values = Matrix { data: &v[head * s * ev..], strides: [ev, 1] };
            for (block, to) in to.chunks_mut(at_once * ev).enumerate() {
                let (first, rows) = (head * l + block * at_once, to.len() / ev.max(1));
                let scores = &mut scores[..rows * s];
                let queries = Matrix { data: &q[first * e..], strides: [e, 1] };
                multiply([rows, s, e], queries, keys, scores, alone);
                for (i, row) in scores.chunks_mut(s).enumerate() {
                    simd(
                        #[inline(always)]
                        || {
                            for x in &mut *row {
                                *x *= scale;
                            }
                        },
                    );
                    let start = (first + i) * s;
                    if let Some((place, view)) = &mask {
                        mask_row(io.buffers, *place, view, start, row);
                    }
                    simd(
                        #[inline(always)]
                        || softmax_row(row),
                    );
                }
                let weights = Matrix { data: scores, strides: [s, 1] };
                multiply([rows, ev, s], weights, values, to, alone);
            }
        };
        let to = io.outputs[0].floats_mut(to.len);
        let scores = &mut io.scratch[..heads * at_once * s];
        let (row, part) = (l * ev, at_once * s);
        if heads > 1 && blocks::shared() {
            let heads = to.par_chunks_mut(row).zip(scores.par_chunks_mut(part)).enumerate();
            heads.for_each(|(i, (to, scores))| head(i, to, scores));
        } else {
            let heads = to.chunks_mut(row).zip(scores.chunks_mut(part)).enumerate();
            heads.for_each(|(i, (to, scores))| head(i, to, scores));
        }
        Ok(())
    })))
}

/// Elements of a mask that are read at a time.
const PART: usize = 256;

/// Adds a mask of numbers to a row of scores; a flag that is not set takes its key out.
fn mask_row(buffers: &Buffers, place: Place, view: &View, start: usize, row: &mut [f32]) {
    for (i, part) in row.chunks_mut(PART).enumerate() {
        let mut mask = [0.0; PART];
        let mask = &mut mask[..part.len()];
        let start = start + i * PART;
        match place.kind {
            Kind::Bool => {
                let off = |on| if on { 0.0 } else { f32::NEG_INFINITY };
                view.read(buffers.bools(place), start, mask, 0, off);
            }
            _ => view.read(buffers.floats(place), start, mask, 0, |x| x),
        }
        part.iter_mut().zip(mask).for_each(|(x, mask)| *x += *mask);
    }
}
