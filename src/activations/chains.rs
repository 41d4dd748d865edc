//! Which values are quantized.
//!
//! Those that INT8 layers read; and, where `add`, `concat` or a pooling stands between such layers, what
//! it reads and what leaves it. One that stands before a norm, say, stays as it is: it would lose
//! accuracy and the next operation needs float anyway.

use super::flow::{before, behind, moves, origin};
use crate::graph::{Flow, Operation, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Operations between layers that Core ML computes on codes between pairs.
const CARRIERS: [&str; 5] = ["add", "concat", "avg_pool", "max_pool", "l2_pool"];

/// What is quantized.
#[derive(Debug)]
pub(super) struct Chains {
    /// Values that get a pair.
    pub(super) values: BTreeSet<ValueId>,
    /// Operations that carry codes between layers, by place.
    pub(super) carriers: BTreeSet<usize>,
}

impl Chains {
    /// By place, the operations that read the pairs' outputs, and of which values.
    pub(super) fn into_reads(
        self,
        layers: &BTreeMap<usize, BTreeSet<ValueId>>,
    ) -> BTreeMap<usize, BTreeSet<ValueId>> {
        let mut reads = layers.clone();
        reads.extend(self.carriers.iter().map(|&place| (place, self.values.clone())));
        reads
    }
}

/// The values between these layers.
pub(super) fn find(flow: &Flow<'_>, layers: &BTreeMap<usize, BTreeSet<ValueId>>) -> Chains {
    let read: BTreeSet<ValueId> = layers.values().flatten().copied().collect();
    let operations = flow.function.operations.iter().enumerate();
    let mut carriers: BTreeSet<usize> = operations
        .filter(|(_, operation)| could_carry(flow, operation))
        .map(|(place, _)| place)
        .collect();
    // One that fails takes others with it, and never helps another: this ends.
    loop {
        let lives = |place: usize| {
            let operation = &flow.function.operations[place];
            let is_fed = |&id: &ValueId| {
                read.contains(&id) || {
                    let maker = flow.maker(before(flow, origin(flow, id)));
                    maker.is_some_and(|(place, _)| {
                        layers.contains_key(&place) || carriers.contains(&place)
                    })
                }
            };
            let inputs = flow.activations(operation);
            inputs.iter().all(is_fed)
                && operation.outputs.iter().all(|&id| feeds(flow, id, layers, &carriers))
        };
        let living: BTreeSet<usize> = carriers.iter().copied().filter(|&p| lives(p)).collect();
        if living.len() == carriers.len() {
            break;
        }
        carriers = living;
    }
    let mut values = read;
    for &place in &carriers {
        let operation = &flow.function.operations[place];
        values.extend(flow.activations(operation));
        values.extend(operation.outputs.iter().map(|&id| behind(flow, id)));
    }
    Chains { values, carriers }
}

/// Whether it is one of [`CARRIERS`], of activations alone.
fn could_carry(flow: &Flow<'_>, operation: &Operation) -> bool {
    let inputs = flow.activations(operation);
    let least = if operation.row.name == "add" { 2 } else { 1 };
    CARRIERS.contains(&operation.row.name)
        && inputs.len() >= least
        && inputs.iter().chain(&operation.outputs).all(|&id| flow.is_activation(id))
        && operation.argument("values").is_none_or(|_| {
            let values = operation.arguments.iter().filter(|a| a.param == "values");
            values.clone().count() == inputs.len()
        })
}

/// Whether a value reaches a layer or a carrier, through unary functions and moves.
fn feeds(
    flow: &Flow<'_>,
    id: ValueId,
    layers: &BTreeMap<usize, BTreeSet<ValueId>>,
    carriers: &BTreeSet<usize>,
) -> bool {
    let id = behind(flow, id);
    flow.readers(id).any(|(place, operation)| {
        layers.get(&place).is_some_and(|reads| reads.contains(&id))
            || carriers.contains(&place)
            || moves(operation)
                && operation.outputs.iter().any(|&id| feeds(flow, id, layers, carriers))
    })
}
