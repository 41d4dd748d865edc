//! Joining values along an axis, and padding.

use crate::runtime::cpu::blocks;
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::node::{Found, Node, shape};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::cpu::steps::{Io, Step};
use crate::runtime::cpu::strided::row_major;

/// `concat` and `stack`: each row of the result is one row of each value after the other.
pub(super) fn concat(planner: &mut Planner<'_>, node: Node<'_>, to: Place) -> Found<Option<Step>> {
    let stack = node.kind() == "stack";
    if !stack && node.flag("interleave")? {
        return Ok(None);
    }
    let rank = node.out_shape(0)?.len();
    let axis = node.axis("axis", rank)?;
    let mut parts = Vec::new();
    for id in node.ids("values") {
        let row: usize = shape(node.value(id))?[axis..].iter().product();
        parts.push((planner.operand(id)?, row));
    }
    let row: usize = parts.iter().map(|(_, row)| row).sum();
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (buffers, out) = (io.buffers, &mut io.outputs[0]);
        match to.kind {
            Kind::Float => join(out.floats_mut(to.len), row, &parts, |p| buffers.floats(p)),
            Kind::Int => join(out.ints_mut(to.len), row, &parts, |p| buffers.ints(p)),
            Kind::Bool => join(out.bools_mut(to.len), row, &parts, |p| buffers.bools(p)),
            Kind::Code => join(out.codes_mut(to.len), row, &parts, |p| buffers.codes(p)),
        }
        Ok(())
    })))
}

fn join<'a, T: Copy + Send + Sync + 'a>(
    to: &mut [T],
    row: usize,
    parts: &[(Place, usize)],
    elements: impl Fn(Place) -> &'a [T] + Sync,
) {
    blocks::rows(to, row, row, |i, to| {
        let mut to = to;
        for &(place, len) in parts {
            let (now, later) = std::mem::take(&mut to).split_at_mut(len);
            now.copy_from_slice(&elements(place)[i * len..(i + 1) * len]);
            to = later;
        }
    });
}

/// Where each place of a padded axis is filled from; `None`: from the constant.
type Sources = Vec<Option<usize>>;

/// `pad`: the last axes get elements before and after.
pub(super) fn pad(planner: &mut Planner<'_>, node: Node<'_>, to: Place) -> Found<Option<Step>> {
    if node.varies("pad") || to.kind != Kind::Float || to.len == 0 {
        return Ok(None);
    }
    let (x, out) = (node.shape("x")?, node.out_shape(0)?);
    let pad = node.ints("pad", 0)?;
    let first = x.len().checked_sub(pad.len() / 2).ok_or("`pad` is too long")?;
    let mode = node.text("mode")?;
    let value = node.number("constant_val")?;
    let mut sources: Vec<Sources> = Vec::with_capacity(out.len());
    for (axis, (&size, &padded)) in x.iter().zip(&out).enumerate() {
        let before = if axis < first { 0 } else { pad[2 * (axis - first)] };
        let source = |i: usize| source(i as i64 - before, size as i64, mode);
        sources.push((0..padded).map(source).collect());
    }
    let (strides, from) = (row_major(&x), planner.argument(node, "x")?);
    let (last, outer) = sources.split_last().ok_or("a scalar cannot be padded")?;
    let (last, outer) = (last.clone(), outer.to_vec());
    let row = last.len();
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.floats(from);
        blocks::rows(io.outputs[0].floats_mut(to.len), row, row, |i, to| {
            let mut rest = i;
            let mut start = Some(0);
            for (sources, stride) in outer.iter().zip(&strides).rev() {
                let source = sources[rest % sources.len()];
                start = start.zip(source).map(|(s, at)| s + at * stride.unsigned_abs());
                rest /= sources.len();
            }
            for (to, source) in to.iter_mut().zip(&last) {
                *to = start.zip(*source).map_or(value, |(start, at)| from[start + at]);
            }
        });
        Ok(())
    })))
}

/// The element of an axis of `size` that stands at place `i` of the padded one.
fn source(i: i64, size: i64, mode: &str) -> Option<usize> {
    let inside = (0..size).contains(&i);
    let source = match mode {
        _ if inside => Some(i),
        "replicate" => Some(i.clamp(0, size - 1)),
        // The edge itself is not repeated.
        "reflect" => {
            let back = if i < 0 { -i } else { 2 * (size - 1) - i };
            Some(back).filter(|back| (0..size).contains(back))
        }
        _ => None,
    };
    source.and_then(|i| usize::try_from(i).ok())
}
