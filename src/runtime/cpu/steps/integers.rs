//! Arithmetic and comparisons of integers, broadcast as numpy does.

use super::{Io, Step};
use crate::graph::DataType;
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::cpu::strided::View;
use crate::runtime::reference::{Definition, definition};

/// Results of INT32 operations, and of comparisons; narrower types are left to the reference.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    let is_int = |name: &str| node.dtype(name) == Ok(DataType::Int32);
    let Some(&to) = outputs.first() else { return Ok(None) };
    let views =
        |names: [&str; 2], planner: &mut Planner<'_>| -> Found<Option<[(Place, View); 2]>> {
            let out = node.out_shape(0)?;
            let [a, b] = names.map(|name| -> Found<_> {
                let view = View::broadcast(&node.shape(name)?, &out);
                Ok((name, view))
            });
            let ((a, Some(first)), (b, Some(second))) = (a?, b?) else { return Ok(None) };
            let (a, b) = (planner.argument(node, a)?, planner.argument(node, b)?);
            Ok(Some([(a, first), (b, second)]))
        };
    if node.kind() == "select" && is_int("a") {
        let Some([(a, first), (b, second)]) = views(["a", "b"], planner)? else { return Ok(None) };
        let condition = View::broadcast(&node.shape("cond")?, &node.out_shape(0)?);
        let (Some(condition), at) = (condition, planner.argument(node, "cond")?) else {
            return Ok(None);
        };
        return Ok(Some(Box::new(move |io: &mut Io<'_>| {
            let buffers = io.buffers;
            let out = io.outputs[0].ints_mut(to.len);
            let (mut flag, mut one, mut other) = ([false], [0], [0]);
            for (i, out) in out.iter_mut().enumerate() {
                condition.read(buffers.bools(at), i, &mut flag, 0, |x| x);
                first.read(buffers.ints(a), i, &mut one, 0, |x| x);
                second.read(buffers.ints(b), i, &mut other, 0, |x| x);
                *out = if flag[0] { one[0] } else { other[0] };
            }
            Ok(())
        })));
    }
    if !is_int("x") || !is_int("y") {
        return Ok(None);
    }
    let Some(f) = function(node.kind(), to.kind) else { return Ok(None) };
    let Some([(x, first), (y, second)]) = views(["x", "y"], planner)? else { return Ok(None) };
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (a, b) = (io.buffers.ints(x), io.buffers.ints(y));
        let pair = |i: usize| {
            let (mut one, mut other) = ([0], [0]);
            first.read(a, i, &mut one, 0, |x| x);
            second.read(b, i, &mut other, 0, |x| x);
            (one[0], other[0])
        };
        match f {
            Function::Compare(f) => {
                for (i, out) in io.outputs[0].bools_mut(to.len).iter_mut().enumerate() {
                    let (x, y) = pair(i);
                    *out = f(x.into(), y.into());
                }
            }
            Function::Number(f) => {
                for (i, out) in io.outputs[0].ints_mut(to.len).iter_mut().enumerate() {
                    let (x, y) = pair(i);
                    *out = f(x.into(), y.into()) as i32;
                }
            }
        }
        Ok(())
    })))
}

/// What the reference does with two integers: numbers wrap around, comparisons are exact in f64.
#[derive(Clone, Copy)]
enum Function {
    Number(fn(i64, i64) -> i64),
    Compare(fn(f64, f64) -> bool),
}

/// The function of an operation whose results are of this kind.
fn function(kind: &str, to: Kind) -> Option<Function> {
    match (definition(kind)?, to) {
        (Definition::Binary(_, f), Kind::Int) => Some(Function::Number(*f)),
        (Definition::Compare(f), Kind::Bool) => Some(Function::Compare(*f)),
        _ => None,
    }
}
