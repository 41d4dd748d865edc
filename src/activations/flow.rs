//! Who makes and who reads each value.

use crate::graph::{DataType, Function, Operation, ValueId, ValueType};

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

/// A function, and the way of its values.
pub(super) struct Flow<'f> {
    pub(super) function: &'f Function,
    /// By value: the operation that makes it.
    makers: Vec<Option<usize>>,
    /// By value: the operations that read it, as often as they do.
    readers: Vec<Vec<usize>>,
}

impl<'f> Flow<'f> {
    pub(super) fn new(function: &'f Function) -> Self {
        let mut makers = vec![None; function.values.len()];
        let mut readers = vec![Vec::new(); function.values.len()];
        for (place, operation) in function.operations.iter().enumerate() {
            operation.outputs.iter().for_each(|id| makers[id.0] = Some(place));
            operation.arguments.iter().for_each(|a| readers[a.value.0].push(place));
        }
        Self { function, makers, readers }
    }

    /// The operation that makes a value, and its place.
    pub(super) fn maker(&self, id: ValueId) -> Option<(usize, &'f Operation)> {
        let place = self.makers[id.0]?;
        Some((place, &self.function.operations[place]))
    }

    /// The operations that read a value, with their places.
    pub(super) fn readers(&self, id: ValueId) -> impl Iterator<Item = (usize, &'f Operation)> + '_ {
        self.readers[id.0].iter().map(|&place| (place, &self.function.operations[place]))
    }

    /// Whether it is computed anew in each run, in floating point.
    pub(super) fn is_activation(&self, id: ValueId) -> bool {
        let value = self.function.value(id);
        let ValueType::Tensor(ty) = &value.ty else { return false };
        value.constant.is_none() && matches!(ty.dtype, DataType::Float16 | DataType::Float32)
    }

    /// What an operation reads that is no constant.
    pub(super) fn activations(&self, operation: &Operation) -> Vec<ValueId> {
        let read = operation.arguments.iter().map(|argument| argument.value);
        read.filter(|&id| self.function.value(id).constant.is_none()).collect()
    }

    /// Whether an operation only moves elements.
    pub(super) fn moves(operation: &Operation) -> bool {
        MOVES.contains(&operation.row.name)
    }

    /// Where the values that a value is moved from come from: through operations that only move, back
    /// to one that does not.
    pub(super) fn origin(&self, mut id: ValueId) -> ValueId {
        // Operations read what stands above them, so this ends.
        while let Some((_, operation)) = self.maker(id) {
            match operation.argument("x") {
                Some(x) if Self::moves(operation) => id = x,
                _ => break,
            }
        }
        id
    }

    /// Through unary functions, each the only reader of the one before, to the last of them: where the
    /// output of a layer leaves its output stage.
    pub(super) fn behind(&self, mut id: ValueId) -> ValueId {
        while let [place] = self.readers[id.0][..] {
            let operation = &self.function.operations[place];
            let is_output = self.function.outputs.iter().any(|output| output.value == id);
            match operation.outputs[..] {
                [output] if UNARY.contains(&operation.row.name) && !is_output => id = output,
                _ => break,
            }
        }
        id
    }

    /// The reverse of [`Self::behind`]: what unary functions that alone read each other were given.
    pub(super) fn before(&self, mut id: ValueId) -> ValueId {
        while let Some((_, operation)) = self.maker(id) {
            match operation.argument("x") {
                Some(x)
                    if UNARY.contains(&operation.row.name) && self.behind(x) == self.behind(id) =>
                {
                    id = x;
                }
                _ => break,
            }
        }
        id
    }
}
