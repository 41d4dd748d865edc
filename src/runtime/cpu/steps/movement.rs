//! Operations that only move elements: strided copies that are planned once, or no copy at all.

mod join;
mod slice;
mod view;

pub(in crate::runtime::cpu) use slice::update;

use super::{Io, Step};
use crate::graph::{DataType, ValueId};
use crate::runtime::cpu::buffers::{Buffer, Buffers, Kind, Place};
use crate::runtime::cpu::node::{Found, Node, has_elements};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::cpu::strided::View;

/// The source of an operation whose result is its operand's elements in the same order: it lies
/// where the operand lies.
pub(in crate::runtime::cpu) fn viewed(node: Node<'_>) -> Option<ValueId> {
    let x = node.operation.argument("x")?;
    let lies = |id: ValueId| has_elements(node.value(id));
    if !lies(x) || node.operation.outputs.len() != 1 || !lies(node.operation.outputs[0]) {
        return None;
    }
    let float = |dtype| matches!(dtype, DataType::Float16 | DataType::Float32);
    let same = match node.kind() {
        "reshape" | "reshape_like" | "squeeze" | "expand_dims" | "flatten2d" | "identity" => true,
        "cast" => float(node.dtype("x").ok()?) && float(node.out_dtype(0).ok()?),
        _ => {
            let count = |shape: Vec<usize>| shape.iter().product::<usize>();
            let view = view::fixed(node).ok().flatten();
            let whole = view.is_some_and(|view| view.is_whole());
            whole && count(node.shape("x").ok()?) == count(node.out_shape(0).ok()?)
        }
    };
    same.then_some(x)
}

/// The step of an operation that moves elements, if it is one.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    if let Some(view) = view::fixed(node)? {
        let from = planner.argument(node, "x")?;
        return Ok(Some(read(from, outputs[0], view)));
    }
    match node.kind() {
        "slice_by_index" | "slice_by_size" => slice::build(planner, node, outputs[0]).map(Some),
        "split" => split(planner, node, outputs),
        "concat" | "stack" => join::concat(planner, node, outputs[0]),
        "pad" => join::pad(planner, node, outputs[0]),
        _ => Ok(None),
    }
}

/// Copies what a view shows.
fn read(from: Place, to: Place, view: View) -> Step {
    Box::new(move |io: &mut Io<'_>| {
        show(io.buffers, &mut io.outputs[0], from, to, &view, 0);
        Ok(())
    })
}

/// Copies what a view shows of a value, `shift` elements further on.
fn show(buffers: &Buffers, to: &mut Buffer, from: Place, out: Place, view: &View, shift: usize) {
    match from.kind {
        Kind::Float => view.copy(buffers.floats(from), to.floats_mut(out.len), shift),
        Kind::Int => view.copy(buffers.ints(from), to.ints_mut(out.len), shift),
        Kind::Bool => view.copy(buffers.bools(from), to.bools_mut(out.len), shift),
        Kind::Code => view.copy(buffers.codes(from), to.codes_mut(out.len), shift),
    }
}

/// Parts of `x` along an axis.
fn split(planner: &mut Planner<'_>, node: Node<'_>, outputs: &[Place]) -> Found<Option<Step>> {
    let shape = node.shape("x")?;
    let axis = node.axis("axis", shape.len())?;
    let strides = crate::runtime::cpu::strided::row_major(&shape);
    let from = planner.argument(node, "x")?;
    let (mut views, mut begin) = (Vec::with_capacity(outputs.len()), 0);
    for i in 0..outputs.len() {
        let part = node.out_shape(i)?;
        let offset = begin * strides[axis].unsigned_abs();
        views.push(View::new(&part, &strides, offset).ok_or("has too many dimensions")?);
        begin += part[axis];
    }
    let places = outputs.to_vec();
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        for ((view, place), to) in views.iter().zip(&places).zip(io.outputs.iter_mut()) {
            show(io.buffers, to, from, *place, view, 0);
        }
        Ok(())
    })))
}
