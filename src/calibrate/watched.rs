//! Which values are counted.

use super::{Feed, Window};
use crate::graph::{DataType, Function, ValueId, ValueType};
use std::collections::BTreeMap;

/// Operations that compute in INT8 between pairs of `quantize` and `dequantize`, or could.
const OPERATIONS: [&str; 8] =
    ["linear", "conv", "matmul", "add", "avg_pool", "max_pool", "l2_pool", "concat"];

/// Activation functions that compute in INT8 with the operation before them: their outputs are counted too.
const BEHIND: [&str; 6] = ["leaky_relu", "tanh", "scaled_tanh", "sigmoid", "relu", "relu6"];

/// A value to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// The operation that makes it; of an input `input`.
    pub made_by: String,
    /// The operations that read it, each once.
    pub read_by: Vec<String>,
    /// The axis along which it meets a weight, so that each place along it is a column of that weight.
    pub axis: Option<usize>,
    /// How it meets weights there, each way once.
    pub windows: Vec<Option<Window>>,
}

/// The floating-point values, no constants, that `linear`, `conv`, `matmul`, `add`, pooling and
/// `concat` take and give, and what ReLU, sigmoid and tanh make of the latter, in the order of the
/// function's values.
pub fn watched(function: &Function) -> Vec<Watch> {
    let mut makers: BTreeMap<ValueId, &str> = BTreeMap::new();
    let mut readers: BTreeMap<ValueId, Vec<String>> = BTreeMap::new();
    let mut feeds: BTreeMap<ValueId, (usize, Vec<Option<Window>>)> = BTreeMap::new();
    let mut found: Vec<ValueId> = Vec::new();
    for operation in &function.operations {
        let is_one = OPERATIONS.contains(&operation.row.name);
        let input = operation.argument("x").and_then(|x| makers.get(&x));
        let is_behind = BEHIND.contains(&operation.row.name)
            && input.is_some_and(|maker| OPERATIONS.contains(maker));
        for id in operation.arguments.iter().map(|argument| argument.value) {
            let readers = readers.entry(id).or_default();
            if !readers.iter().any(|name| name == operation.row.name) {
                readers.push(operation.row.name.into());
            }
            found.extend(is_one.then_some(id));
        }
        if let Some(Feed { value, axis, window, .. }) = Feed::of(function, operation) {
            let (first, windows) = feeds.entry(value).or_insert_with(|| (axis, Vec::new()));
            if *first == axis && !windows.contains(&window) {
                windows.push(window);
            }
        }
        for &id in &operation.outputs {
            makers.insert(id, operation.row.name);
            found.extend((is_one || is_behind).then_some(id));
        }
    }
    found.sort();
    found.dedup();
    let floats = found.into_iter().filter(|id| {
        let value = function.value(*id);
        let ValueType::Tensor(ty) = &value.ty else { return false };
        value.constant.is_none() && matches!(ty.dtype, DataType::Float16 | DataType::Float32)
    });
    let watch = |id: ValueId| {
        let (axis, windows) = feeds.remove(&id).unzip();
        Watch {
            name: function.value(id).name.clone(),
            made_by: (*makers.get(&id).unwrap_or(&"input")).into(),
            read_by: readers.remove(&id).unwrap_or_default(),
            axis,
            windows: windows.unwrap_or_default(),
        }
    };
    floats.map(watch).collect()
}
