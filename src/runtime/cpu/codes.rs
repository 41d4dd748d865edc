//! Codes instead of numbers: what only moves numbers, or picks the largest, moves their codes.
//!
//! ```text
//! dequantize → move → …          becomes   move → dequantize → …
//! … → move → quantize            becomes   … → quantize → move
//! dequantize → quantize, the same scale    becomes nothing
//! quantize of the same number twice        becomes one
//! ```
//!
//! None of it changes a result: see [`crate::runtime::integer`]. What was a move of a byte where it
//! was four is also what leaves layers side by side, so that they run in integers from end to end.

use super::affine::affine;
use super::node::{Node, shape};
use crate::graph::{
    Argument, DataType, Function, Operation, TensorType, Value, ValueId, ValueType,
};
use crate::runtime::integer::Affine;
use crate::runtime::specialize::drop_dead;

/// Rewrites a specialized function.
pub(super) fn rewrite(function: &mut Function) {
    let quantizes = |operation: &Operation| operation.row.name == "quantize";
    if !function.operations.iter().any(quantizes) {
        return;
    }
    sink(function);
    hoist(function);
    sink(function);
    drop_dead(function);
}

/// The parameter of what an operation moves; `None` for those that compute, and where codes and numbers
/// would move differently.
fn moved(node: Node<'_>) -> Option<&'static str> {
    match node.kind() {
        "reshape" | "squeeze" | "expand_dims" | "flatten2d" | "identity" | "transpose"
        | "reverse" | "slice_by_index" | "slice_by_size" | "split" | "depth_to_space"
        | "space_to_depth" | "pixel_shuffle" => Some("x"),
        "concat" | "stack" => Some("values"),
        "max_pool" => is_picked(node).then_some("x"),
        _ => None,
    }
}

/// Whether every window of a max pool has an element: none is of padding alone.
fn is_picked(node: Node<'_>) -> bool {
    let rank = node.shape("x").map_or(0, |shape| shape.len());
    let Some(spatial) = rank.checked_sub(2).filter(|spatial| (1..=3).contains(spatial)) else {
        return false;
    };
    let sizes = |name: &str, each| node.sizes(name, each).unwrap_or_default();
    let (kernel, pad) = (sizes("kernel_sizes", spatial), sizes("pad", 2 * spatial));
    let custom = node.text("pad_type") == Ok("custom");
    // Where the last windows may hang over the end, they may lie beyond it.
    let over = node.flag("ceil_mode") != Ok(false);
    let covers = |(i, &pad): (usize, &usize)| kernel.get(i / 2).is_some_and(|&size| pad < size);
    !over && (!custom || pad.len() == 2 * spatial && pad.iter().enumerate().all(covers))
}

/// A value of codes in the shape of another value.
fn codes_like(function: &mut Function, like: ValueId) -> Option<ValueId> {
    let Value { name, .. } = function.value(like);
    let ty = TensorType::fixed(DataType::Int8, &shape(function.value(like)).ok()?);
    let value = Value { name: format!("{name}_codes"), ty: ty.into(), constant: None };
    function.values.push(value);
    Some(ValueId(function.values.len() - 1))
}

/// An operation with values of a parameter exchanged.
fn with(operation: &Operation, param: &str, mut to: impl FnMut(ValueId) -> ValueId) -> Operation {
    let mut operation = operation.clone();
    for argument in operation.arguments.iter_mut().filter(|argument| argument.param == param) {
        argument.value = to(argument.value);
    }
    operation
}

/// What is known of a number: it is the code of another value.
#[derive(Clone)]
struct Coded {
    codes: ValueId,
    affine: Affine,
    /// The `dequantize` that says so.
    by: Operation,
}

/// Lets `dequantize` sink below what moves its results, and drops every `quantize` whose codes are
/// there already.
fn sink(function: &mut Function) {
    let mut coded: Vec<Option<Coded>> = vec![None; function.values.len()];
    let mut made: Vec<(ValueId, Affine, ValueId)> = Vec::new();
    let mut same: Vec<ValueId> = (0..function.values.len()).map(ValueId).collect();
    let operations = std::mem::take(&mut function.operations);
    for mut operation in operations {
        for Argument { value, .. } in &mut operation.arguments {
            *value = same.get(value.0).copied().unwrap_or(*value);
        }
        let node = Node { function, operation: &operation };
        let is_output = |id: ValueId| function.outputs.iter().any(|output| output.value == id);
        match (node.kind(), affine(node), node.id("input")) {
            ("dequantize", Some(affine), Ok(codes)) => {
                let known = Coded { codes, affine, by: operation.clone() };
                coded[operation.outputs[0].0] = Some(known);
            }
            ("quantize", Some(affine), Ok(x)) if !is_output(operation.outputs[0]) => {
                let result = operation.outputs[0];
                let back = coded.get(x.0).and_then(Option::as_ref);
                let back = back.filter(|back| back.affine == affine).map(|back| back.codes);
                let twice = made.iter().find(|(y, a, _)| (*y, *a) == (x, affine));
                if let Some(codes) = back.or(twice.map(|(.., codes)| *codes)) {
                    same[result.0] = codes;
                    continue;
                }
                made.push((x, affine, result));
            }
            _ => {
                if let Some((moved, results)) = sunk(function, &operation, &coded) {
                    function.operations.push(moved);
                    for (number, known) in results {
                        let mut back = with(&known.by, "input", |_| known.codes);
                        back.outputs = vec![number];
                        function.operations.push(back);
                        coded[number.0] = Some(known);
                    }
                    continue;
                }
            }
        }
        function.operations.push(operation);
    }
}

/// An operation that moves numbers, moving their codes; and what its results are the codes of.
fn sunk(
    function: &mut Function,
    operation: &Operation,
    coded: &[Option<Coded>],
) -> Option<(Operation, Vec<(ValueId, Coded)>)> {
    let node = Node { function, operation };
    let param = moved(node)?;
    let known: Option<Vec<&Coded>> =
        node.ids(param).iter().map(|id| coded.get(id.0)?.as_ref()).collect();
    let known = known?;
    let first = *known.first()?;
    if known.iter().any(|other| other.affine != first.affine) {
        return None;
    }
    let codes = |id: ValueId| coded[id.0].as_ref().map_or(id, |known| known.codes);
    let mut moved = with(operation, param, codes);
    let mut results = Vec::with_capacity(moved.outputs.len());
    for output in &mut moved.outputs {
        let codes = codes_like(function, *output)?;
        results.push((*output, Coded { codes, ..first.clone() }));
        *output = codes;
    }
    Some((moved, results))
}

/// Lets every `quantize` rise above what moves its operand, if nothing else reads that.
fn hoist(function: &mut Function) {
    for quantize in 0..function.operations.len() {
        let mut at = quantize;
        while let Some(above) = rises(function, at) {
            let (moving, operation) = (&function.operations[above], &function.operations[at]);
            let node = Node { function, operation: moving };
            let Some(param) = moved(node) else { break };
            let x = node.ids(param)[0];
            let (moving, operation) = (moving.clone(), operation.clone());
            let Some(codes) = codes_like(function, x) else { break };
            let mut first = with(&operation, "input", |_| x);
            first.outputs = vec![codes];
            let mut second = with(&moving, param, |_| codes);
            second.outputs = operation.outputs;
            function.operations[above] = first;
            function.operations[at] = second;
            at = above;
        }
    }
}

/// The operation above a `quantize` that moves one value, of which it is the only reader.
fn rises(function: &Function, quantize: usize) -> Option<usize> {
    let node = Node { function, operation: &function.operations[quantize] };
    let x = affine(node).filter(|_| node.kind() == "quantize").and(node.id("input").ok())?;
    let above = function.operations[..quantize].iter().rposition(|op| op.outputs == [x])?;
    let moving = Node { function, operation: &function.operations[above] };
    let one = moving.ids(moved(moving)?).len() == 1;
    let numbers = |id: &ValueId| matches!(function.value(*id).ty, ValueType::Tensor(_));
    let arguments = function.operations.iter().flat_map(|operation| &operation.arguments);
    let reads = arguments.filter(|argument| argument.value == x).count();
    let kept = function.outputs.iter().any(|output| output.value == x);
    (one && moving.ids(moved(moving)?).iter().all(numbers) && reads == 1 && !kept).then_some(above)
}
