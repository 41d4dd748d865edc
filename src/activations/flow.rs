//! The way of values past what costs INT8 nothing.

use crate::graph::{Flow, Operation, ValueId};

/// Elements keep their values, and only their places change: codes pass as they are.
const MOVES: [&str; 10] = [
    "reshape",
    "transpose",
    "expand_dims",
    "squeeze",
    "slice_by_index",
    "slice_by_size",
    "split",
    "space_to_depth",
    "depth_to_space",
    "pixel_shuffle",
];

/// One element becomes one element, which a layer's output stage or a table of 256 codes does at no cost.
const UNARY: [&str; 20] = [
    "relu",
    "relu6",
    "leaky_relu",
    "clamped_relu",
    "thresholded_relu",
    "prelu",
    "elu",
    "gelu",
    "silu",
    "sigmoid",
    "sigmoid_hard",
    "tanh",
    "scaled_tanh",
    "softplus",
    "softsign",
    "clip",
    "erf",
    "exp",
    "square",
    "sqrt",
];

/// Whether an operation only moves elements.
pub(super) fn moves(operation: &Operation) -> bool {
    MOVES.contains(&operation.row.name)
}

/// Where the values that a value is moved from come from: through operations that only move, back to
/// one that does not.
pub(super) fn origin(flow: &Flow<'_>, mut id: ValueId) -> ValueId {
    // Operations read what stands above them, so this ends.
    while let Some((_, operation)) = flow.maker(id) {
        match operation.argument("x") {
            Some(x) if moves(operation) => id = x,
            _ => break,
        }
    }
    id
}

/// Through unary functions, each the only reader of the one before, to the last of them: where the
/// output of a layer leaves its output stage.
pub(super) fn behind(flow: &Flow<'_>, mut id: ValueId) -> ValueId {
    while let Some(operation) = flow.only_reader(id) {
        match operation.outputs[..] {
            [output] if UNARY.contains(&operation.row.name) => id = output,
            _ => break,
        }
    }
    id
}

/// The reverse of [`behind`]: what unary functions that alone read each other were given.
pub(super) fn before(flow: &Flow<'_>, mut id: ValueId) -> ValueId {
    while let Some((_, operation)) = flow.maker(id) {
        match operation.argument("x") {
            Some(x) if UNARY.contains(&operation.row.name) && flow.only_reader(x).is_some() => {
                id = x;
            }
            _ => break,
        }
    }
    id
}
