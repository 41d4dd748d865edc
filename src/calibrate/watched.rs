//! Which values are counted.

use crate::graph::{DataType, Function, Operation, ValueId, ValueType};
use std::collections::BTreeMap;

/// Operations that compute in INT8 between pairs of `quantize` and `dequantize`, or could.
const OPERATIONS: [&str; 8] =
    ["linear", "conv", "matmul", "add", "avg_pool", "max_pool", "l2_pool", "concat"];

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
}

/// The floating-point values, no constants, that `linear`, `conv`, `matmul`, `add`, pooling and
/// `concat` take and give, in the order of the function's values.
pub fn watched(function: &Function) -> Vec<Watch> {
    let mut makers: BTreeMap<ValueId, &str> = BTreeMap::new();
    let mut readers: BTreeMap<ValueId, Vec<String>> = BTreeMap::new();
    let mut axes: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut found: Vec<ValueId> = Vec::new();
    for operation in &function.operations {
        let is_one = OPERATIONS.contains(&operation.row.name);
        for id in operation.arguments.iter().map(|argument| argument.value) {
            let readers = readers.entry(id).or_default();
            if !readers.iter().any(|name| name == operation.row.name) {
                readers.push(operation.row.name.into());
            }
            found.extend(is_one.then_some(id));
            if let Some(axis) = column_axis(function, operation, id) {
                axes.entry(id).or_insert(axis);
            }
        }
        for &id in &operation.outputs {
            makers.insert(id, operation.row.name);
            found.extend(is_one.then_some(id));
        }
    }
    found.sort();
    found.dedup();
    let floats = found.into_iter().filter(|id| {
        let value = function.value(*id);
        let ValueType::Tensor(ty) = &value.ty else { return false };
        value.constant.is_none() && matches!(ty.dtype, DataType::Float16 | DataType::Float32)
    });
    let watch = |id: ValueId| Watch {
        name: function.value(id).name.clone(),
        made_by: (*makers.get(&id).unwrap_or(&"input")).into(),
        read_by: readers.remove(&id).unwrap_or_default(),
        axis: axes.get(&id).copied(),
    };
    floats.map(watch).collect()
}

/// The axis of `id` that an operation sums over against a constant.
fn column_axis(function: &Function, operation: &Operation, id: ValueId) -> Option<usize> {
    let rank = function.value(id).ty.tensor()?.rank();
    let bound = |param| operation.argument(param);
    let is_constant = |id: ValueId| function.value(id).constant.is_some();
    let flag = |param| {
        let constant = bound(param).and_then(|id| function.value(id).constant.as_ref());
        constant.and_then(|constant| constant.as_bool()).unwrap_or(false)
    };
    let from_end = |n: usize| rank.checked_sub(n);
    match operation.row.name {
        "linear" if bound("x") == Some(id) => from_end(1),
        "conv" if bound("x") == Some(id) && is_constant(bound("weight")?) => {
            (rank > 1).then_some(1)
        }
        "matmul" if bound("x") == Some(id) && is_constant(bound("y")?) => {
            from_end(if flag("transpose_x") { 2 } else { 1 })
        }
        "matmul" if bound("y") == Some(id) && is_constant(bound("x")?) => {
            from_end(if flag("transpose_y") { 1 } else { 2 })
        }
        _ => None,
    }
}
