//! Values that must have one scale, so that their codes are added, joined, compared or moved as they
//! are: what `add` reads, both sides of `concat` and of `max_pool`, and of what only moves elements.

use super::chains::Chains;
use super::flow::origin;
use crate::graph::{Flow, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Groups of the quantized values, each sorted; together they are all of them.
pub(super) fn groups(flow: &Flow<'_>, chains: &Chains) -> Vec<Vec<ValueId>> {
    let mut together = Vec::new();
    for &place in &chains.carriers {
        let operation = &flow.function.operations[place];
        let mut one = flow.activations(operation);
        if matches!(operation.row.name, "concat" | "max_pool") {
            // Behind an activation function the range is another.
            one.extend(operation.outputs.iter().filter(|id| chains.values.contains(id)));
        }
        together.extend(one.windows(2).map(|two| (two[0], two[1])));
    }
    let origins = chains.values.iter().map(|&id| (id, origin(flow, id)));
    together.extend(origins.filter(|(_, origin)| chains.values.contains(origin)));
    join(&chains.values, together)
}

/// The values, those of each pair in one group; each group is sorted.
pub(super) fn join(
    values: &BTreeSet<ValueId>,
    together: impl IntoIterator<Item = (ValueId, ValueId)>,
) -> Vec<Vec<ValueId>> {
    let mut heads: BTreeMap<ValueId, ValueId> = values.iter().map(|&id| (id, id)).collect();
    for (a, b) in together {
        let (a, b) = (head(&heads, a), head(&heads, b));
        heads.insert(a.max(b), a.min(b));
    }
    let mut groups: BTreeMap<ValueId, Vec<ValueId>> = BTreeMap::new();
    for &id in values {
        groups.entry(head(&heads, id)).or_default().push(id);
    }
    groups.into_values().collect()
}

/// The first of a value's group.
fn head(heads: &BTreeMap<ValueId, ValueId>, mut id: ValueId) -> ValueId {
    while heads[&id] != id {
        id = heads[&id];
    }
    id
}
