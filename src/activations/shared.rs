//! Values that must have one scale, so that their codes are added, joined, compared or moved as they
//! are: what `add` reads, both sides of `concat` and of `max_pool`, and of what only moves elements.

use super::chains::Chains;
use super::flow::Flow;
use crate::graph::ValueId;
use std::collections::BTreeMap;

/// Groups of the quantized values, each sorted; together they are all of them.
pub(super) fn groups(flow: &Flow<'_>, chains: &Chains) -> Vec<Vec<ValueId>> {
    let mut heads: BTreeMap<ValueId, ValueId> = chains.values.iter().map(|&id| (id, id)).collect();
    for &place in &chains.carriers {
        let operation = &flow.function.operations[place];
        let mut one = flow.activations(operation);
        if matches!(operation.row.name, "concat" | "max_pool") {
            // Behind an activation function the range is another.
            one.extend(operation.outputs.iter().filter(|id| chains.values.contains(id)));
        }
        one.windows(2).for_each(|pair| join(&mut heads, pair[0], pair[1]));
    }
    for &id in &chains.values {
        let origin = flow.origin(id);
        if chains.values.contains(&origin) {
            join(&mut heads, id, origin);
        }
    }
    let mut groups: BTreeMap<ValueId, Vec<ValueId>> = BTreeMap::new();
    for &id in &chains.values {
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

/// Makes two groups one.
fn join(heads: &mut BTreeMap<ValueId, ValueId>, a: ValueId, b: ValueId) {
    let (a, b) = (head(heads, a), head(heads, b));
    heads.insert(a.max(b), a.min(b));
}
