//! Where coremltools 9.0 puts pairs.
//!
//! Two passes, `insert_prefix_quantize_dequantize_pair` and `insert_suffix_…`, and what follows them:
//!
//! 1. Whatever `conv`, `linear`, `avg_pool`, `max_pool` and `add` read is quantized for them, two operands
//!    of `add` or none. The weights do not matter, they may be quantized later.
//! 2. What such an operation gives is quantized for all who read it; behind an activation function, if
//!    that is the first to read it and is read itself. `add` is looked at once for each operand.
//! 3. Of equal pairs behind one another, or beside one another, one is left.
//!
//! What `concat` reads and gives has one range. Nothing stands behind a value that only leaves the
//! function. A value that leaves it and is read too is where this differs: coremltools counts no range
//! for outputs, and stops; here the readers are given codes, and the output stays as it is.

use super::{Given, Placed, grids, layers, shared};
use crate::graph::{Flow, Operation, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Operations that read codes, and by which parameters.
const READERS: [(&str, &[&str]); 5] = [
    ("conv", &["x"]),
    ("linear", &["x"]),
    ("avg_pool", &["x"]),
    ("max_pool", &["x"]),
    ("add", &["x", "y"]),
];

/// Activation functions that an operation takes along before what it gives is quantized. coremltools also
/// lists `hard_sigmoid`, which no operation of MIL is called.
const TAKEN_ALONG: [&str; 6] = ["leaky_relu", "tanh", "scaled_tanh", "sigmoid", "relu", "relu6"];

/// By place, the operations that read codes; of each what it reads so, by parameter.
type Reads = BTreeMap<usize, Vec<ValueId>>;

/// The pairs. What has no range in the calibration gets none, and is named in `left`.
pub(super) fn place(
    flow: &Flow<'_>,
    given: Given<'_>,
    left: &mut BTreeMap<String, String>,
) -> Placed {
    let operations = &flow.function.operations;
    let mut reads: Reads = operations
        .iter()
        .enumerate()
        .filter(|(_, operation)| !layers::stays_in_float(flow, operation, given))
        .filter_map(|(place, operation)| Some((place, read_as_codes(flow, operation)?)))
        .collect();
    let mut grids = grids::choose(flow, &groups(flow, &reads), given);
    let mut unseen = |place: &usize, what: &str| {
        let why = format!("its {what} was not counted in the calibration");
        left.insert(operations[*place].name.clone(), why);
    };
    reads.retain(|place, ids| {
        let is_seen = ids.iter().all(|id| grids.contains_key(id));
        if !is_seen {
            unseen(place, "input");
        }
        is_seen
    });
    let mut decoded: BTreeMap<usize, BTreeSet<ValueId>> =
        reads.iter().map(|(place, ids)| (*place, ids.iter().copied().collect())).collect();
    let mut values: BTreeSet<ValueId> = reads.values().flatten().copied().collect();
    for place in reads.keys() {
        for id in quantized_behind(flow, *place, &reads) {
            if !grids.contains_key(&id) {
                unseen(place, "output");
                continue;
            }
            values.insert(id);
            for (reader, _) in flow.readers(id) {
                decoded.entry(reader).or_default().insert(id);
            }
        }
    }
    grids.retain(|id, _| values.contains(id));
    let mut layers = layers::find(flow, given, left);
    layers.retain(|place, _| reads.contains_key(place));
    Placed { grids, reads: decoded, layers: layers.into_keys().collect() }
}

/// What an operation reads as codes; `None` if it is none of [`READERS`], or reads a constant there.
fn read_as_codes(flow: &Flow<'_>, operation: &Operation) -> Option<Vec<ValueId>> {
    let (_, params) = READERS.iter().find(|(name, _)| *name == operation.row.name)?;
    let values: Option<Vec<ValueId>> =
        params.iter().map(|param| operation.argument(param)).collect();
    values.filter(|values| values.iter().all(|&id| flow.is_activation(id)))
}

/// Whatever could get a pair, and what shares a range with it.
fn groups(flow: &Flow<'_>, reads: &Reads) -> Vec<Vec<ValueId>> {
    let mut values: BTreeSet<ValueId> = reads.values().flatten().copied().collect();
    for place in reads.keys() {
        for &id in &flow.function.operations[*place].outputs {
            values.insert(id);
            let behind = flow.readers(id).filter(|(_, operation)| is_taken_along(operation));
            values.extend(behind.flat_map(|(_, operation)| operation.outputs.iter().copied()));
        }
    }
    let mut together = Vec::new();
    for operation in &flow.function.operations {
        if operation.row.name != "concat" || operation.outputs.iter().any(|&id| flow.is_output(id))
        {
            continue;
        }
        let mut all = flow.activations(operation);
        all.extend(&operation.outputs);
        all.retain(|&id| flow.is_activation(id));
        together.extend(all.windows(2).map(|two| (two[0], two[1])));
        values.extend(all);
    }
    shared::join(&values, together)
}

fn is_taken_along(operation: &Operation) -> bool {
    TAKEN_ALONG.contains(&operation.row.name)
}

/// What is quantized behind an operation that reads codes.
///
/// coremltools looks at the operation once for each operand that it decodes, and at the first of those
/// who read its output: the operations in order, then the pairs of the first pass. An activation
/// function is made anew when a pair is put behind it, and is then the last of them.
fn quantized_behind(flow: &Flow<'_>, place: usize, reads: &Reads) -> BTreeSet<ValueId> {
    let mut found = BTreeSet::new();
    let [output] = flow.function.operations[place].outputs[..] else { return found };
    let is_pair =
        |reader: &usize, id: ValueId| reads.get(reader).is_some_and(|ids| ids.contains(&id));
    let read_by = |id: ValueId| {
        let mut readers: Vec<usize> = flow.readers(id).map(|(reader, _)| reader).collect();
        readers.sort_by_key(|reader| is_pair(reader, id));
        readers
    };
    let mut readers = read_by(output);
    for _ in &reads[&place] {
        let Some(&first) = readers.first() else { break };
        let operation = &flow.function.operations[first];
        let along = operation.outputs.first().filter(|_| is_taken_along(operation));
        let along = along.filter(|&&id| !read_by(id).is_empty());
        match along {
            Some(&id) => {
                let has_pair = matches!(read_by(id)[..], [one] if is_pair(&one, id));
                if has_pair || !found.insert(id) {
                    break;
                }
                readers.rotate_left(1);
            }
            None => {
                found.insert(output);
                break;
            }
        }
    }
    found
}
