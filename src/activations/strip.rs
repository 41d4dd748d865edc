//! The way back: a function without its pairs.

use crate::graph::{Function, Operation, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Takes out every `dequantize` of what a `quantize` with the same scale and zero point gives: who read
/// it reads what was quantized. What the model computes but for the rounding of activations.
pub fn strip(function: &mut Function) {
    let makers: BTreeMap<ValueId, &Operation> = function
        .operations
        .iter()
        .flat_map(|operation| operation.outputs.iter().map(move |id| (*id, operation)))
        .collect();
    let constant = |operation: &Operation, param: &str| {
        operation.argument(param).map(|id| function.value(id).constant.clone())
    };
    let undone = |operation: &Operation| {
        let quantize = makers.get(&operation.argument("input")?).copied()?;
        let float = quantize.argument("input")?;
        let decoded = *operation.outputs.first()?;
        let same = ["scale", "zero_point", "axis"]
            .iter()
            .all(|param| constant(operation, param) == constant(quantize, param));
        let is_pair = operation.row.name == "dequantize"
            && quantize.row.name == "quantize"
            && same
            && function.value(float).ty == function.value(decoded).ty;
        is_pair.then_some((decoded, float))
    };
    let undone: BTreeMap<ValueId, ValueId> =
        function.operations.iter().filter_map(undone).collect();
    // What stands for a value may be what another pair gave.
    let float = |mut id: ValueId| {
        while let Some(&float) = undone.get(&id) {
            id = float;
        }
        id
    };
    for operation in &mut function.operations {
        operation.arguments.iter_mut().for_each(|argument| argument.value = float(argument.value));
    }
    // An output keeps its name, and the pair that makes it.
    let mut read: BTreeSet<ValueId> = function.outputs.iter().map(|output| output.value).collect();
    let mut kept = Vec::with_capacity(function.operations.len());
    for operation in std::mem::take(&mut function.operations).into_iter().rev() {
        let is_half = matches!(operation.row.name, "quantize" | "dequantize");
        if is_half && !operation.outputs.iter().any(|id| read.contains(id)) {
            continue;
        }
        read.extend(operation.arguments.iter().map(|argument| argument.value));
        kept.push(operation);
    }
    kept.reverse();
    function.operations = kept;
}
