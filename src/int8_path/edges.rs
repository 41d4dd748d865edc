//! What flows between operations.

use crate::graph::{Function, Operation, ValueId};

/// What a value is, as far as INT8 arithmetic is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edge {
    /// Floats, or anything else that no pair stands around.
    Float,
    /// INT8 codes themselves, between `quantize` and `dequantize`, or an INT8 input.
    Codes,
    /// What a pair returns: float in the program, one byte an element in the machine.
    Pair(Grid),
    /// What an INT8 operation returns, until a `quantize` makes it codes: on the way through functions
    /// of single numbers, which are part of its output stage.
    Sum(Sum),
    /// What a pair with a scale for each channel returns.
    ChannelPair,
    /// A pair's values, moved: still bytes, if a pair follows.
    Moved {
        /// The operation that moved them.
        by: String,
        /// Their grid.
        grid: Grid,
    },
}

/// Scale and zero point of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// As stored; `None` where it is not known.
    pub(super) scale: Option<f32>,
    /// 0 where there is none.
    pub(super) zero_point: i64,
}

/// The result of an INT8 operation on its way to a `quantize`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sum {
    /// The product's, or other INT8 operation's, name.
    pub(super) from: String,
    /// The first operation that moved it, by its place in the function.
    pub(super) moved: Option<usize>,
}

impl Edge {
    /// Whether INT8 ends in an operation that takes this and computes in float.
    pub(super) fn is_int8(&self) -> bool {
        match self {
            Self::Pair(_) | Self::Sum(_) | Self::ChannelPair | Self::Moved { .. } | Self::Codes => {
                true
            }
            Self::Float => false,
        }
    }
}

/// What an operation does with INT8 values, if it is no product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// A function of single numbers: behind a product it is part of the output stage, between pairs a
    /// table of 256 entries.
    Pointwise,
    /// Elements move; none changes.
    Moves,
    /// A window over a pair's values, in integers.
    Pools,
    /// Operands of one grid are joined or added.
    Joins,
    /// Only the shape or nothing of the values is read.
    Ignores,
    /// INT8 ends here.
    Ends,
}

/// What an operation does with INT8 values.
///
/// Source: the pairs that coremltools' activation pass writes (`coreml-format`, opt-quantization):
/// around `conv`, `linear`, pools and `add`, with one activation between product and pair.
pub(super) fn passage(function: &Function, operation: &Operation) -> Passage {
    match operation.row.name {
        "relu" | "relu6" | "leaky_relu" | "tanh" | "scaled_tanh" | "sigmoid" | "sigmoid_hard"
        | "gelu" | "silu" | "elu" | "clamped_relu" | "linear_activation" | "softplus"
        | "softsign" | "thresholded_relu" | "erf" | "clip" | "square" | "sqrt" | "rsqrt"
        | "exp" | "abs" | "prelu" | "threshold" => Passage::Pointwise,
        "reshape" | "transpose" | "expand_dims" | "squeeze" | "split" | "slice_by_index"
        | "slice_by_size" | "flatten2d" | "identity" | "depth_to_space" | "space_to_depth"
        | "pixel_shuffle" | "pixel_unshuffle" | "tile" | "reverse" | "pad" | "gather" | "cast" => {
            Passage::Moves
        }
        "max_pool" | "avg_pool" => Passage::Pools,
        "concat" | "stack" => Passage::Joins,
        // With a constant of one number a channel, it is a part of the output stage.
        "add" | "sub" | "mul" | "real_div" if takes_a_vector(function, operation) => {
            Passage::Pointwise
        }
        "add" => Passage::Joins,
        "shape" => Passage::Ignores,
        _ => Passage::Ends,
    }
}

/// Whether one operand is a constant with at most one dimension of more than one element.
fn takes_a_vector(function: &Function, operation: &Operation) -> bool {
    ["x", "y"].into_iter().filter_map(|param| operation.argument(param)).any(|id| {
        let value = function.value(id);
        let wide = |dims: &crate::graph::TensorType| {
            dims.dims.iter().filter(|dim| dim.size() != Some(1)).count()
        };
        value.constant.is_some() && value.ty.tensor().is_some_and(|ty| wide(ty) <= 1)
    })
}

/// The grid of a `quantize` or `dequantize`; `None` where it has a scale for each channel.
pub(super) fn grid(function: &Function, operation: &Operation) -> Option<Grid> {
    if operation.argument("axis").is_some() {
        return None;
    }
    let constant = |id: ValueId| function.value(id).constant.as_ref();
    let scale = operation.argument("scale").and_then(constant).and_then(|c| c.as_floats());
    let zero = operation.argument("zero_point").and_then(constant).and_then(|c| c.as_ints());
    Some(Grid {
        scale: scale.and_then(|scale| scale.first().copied()),
        zero_point: zero.and_then(|zero| zero.first().copied()).unwrap_or(0),
    })
}
