//! Which layers could multiply in INT8.

use super::Given;
use crate::graph::{Flow, Operation, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// By their places among the operations, the layers that could multiply in INT8, each with what it
/// would read as codes. The others go to `left` with a reason.
pub(super) fn find(
    flow: &Flow<'_>,
    given: Given<'_>,
    left: &mut BTreeMap<String, String>,
) -> BTreeMap<usize, BTreeSet<ValueId>> {
    let mut found = BTreeMap::new();
    for (place, operation) in flow.function.operations.iter().enumerate() {
        match reads(flow, operation, given) {
            Ok(Some(reads)) => drop(found.insert(place, reads)),
            Ok(None) => {}
            Err(why) => drop(left.insert(operation.name.clone(), why)),
        }
    }
    found
}

/// What a layer would read as codes; `None` for what is no layer, and a reason for one that cannot.
fn reads(
    flow: &Flow<'_>,
    operation: &Operation,
    given: Given<'_>,
) -> Result<Option<BTreeSet<ValueId>>, String> {
    let (input, other) = match operation.row.name {
        "linear" | "conv" => ("x", "weight"),
        "matmul" if given.how.matmul => ("x", "y"),
        _ => return Ok(None),
    };
    let (Some(input), Some(other)) = (operation.argument(input), operation.argument(other)) else {
        return Ok(None);
    };
    let constant = |id: ValueId| flow.function.value(id).constant.as_ref();
    if constant(input).is_some() && constant(other).is_some() {
        return Ok(None);
    }
    if stays_in_float(flow, operation, given) {
        return Err("a rule keeps what it reads in float".into());
    }
    for weight in [input, other].into_iter().filter_map(|id| constant(id)?.as_weight()) {
        weight.storage.multiplies_in_int8().map_err(str::to_owned)?;
    }
    let read = [input, other].into_iter().filter(|&id| constant(id).is_none());
    let read: BTreeSet<ValueId> = read.collect();
    match read.iter().all(|&id| flow.is_activation(id)) {
        true => Ok(Some(read)),
        false => Err("what it reads is no floating-point tensor".into()),
    }
}

/// Whether a rule keeps what an operation reads in float: by its name, or by that of a weight it reads.
pub(super) fn stays_in_float(flow: &Flow<'_>, operation: &Operation, given: Given<'_>) -> bool {
    let read = operation.arguments.iter().filter(|argument| argument.param != "bias");
    let weights = read.filter_map(|a| flow.function.value(a.value).constant.as_ref()?.as_weight());
    let mut names: Vec<&str> = weights.filter_map(given.original).collect();
    names.push(&operation.name);
    given.how.float.iter().any(|pattern| names.iter().any(|name| pattern.is_match(name)))
}
