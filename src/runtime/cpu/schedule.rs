//! The order in which operations run, and which run as one.
//!
//! Elementwise operations wait until something else needs their results. Then they run together,
//! block by block, so that what only they read never leaves the cache. `dequantize` waits likewise:
//! a layer that multiplies codes takes them from before it, and if all its readers do, it never
//! runs.

use super::node::{Node, shape};
use super::steps::{elementwise, layer};
use crate::graph::{Function, ValueId};

/// What runs as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An operation.
    One(usize),
    /// Elementwise operations whose results have one shape.
    Chain(Vec<usize>),
    /// A layer that multiplies the codes that an operation of the second number dequantizes.
    Coded(usize, usize),
}

/// The most operations of a chain.
pub(super) const CHAIN: usize = 16;

impl Item {
    /// The operations.
    pub(super) fn operations(&self) -> &[usize] {
        match self {
            Self::One(operation) | Self::Coded(operation, _) => std::slice::from_ref(operation),
            Self::Chain(operations) => operations,
        }
    }

    /// The values that it reads.
    pub(super) fn reads(&self, function: &Function) -> Vec<ValueId> {
        let arguments = |i: usize| function.operations[i].arguments.iter();
        match self {
            Self::One(i) => arguments(*i).map(|a| a.value).collect(),
            Self::Chain(all) => all.iter().flat_map(|&i| arguments(i)).map(|a| a.value).collect(),
            Self::Coded(layer, dequantize) => {
                let others = arguments(*layer).filter(|argument| argument.param != "x");
                let codes = arguments(*dequantize).filter(|argument| argument.param == "input");
                others.chain(codes).map(|argument| argument.value).collect()
            }
        }
    }
}

/// Puts the operations of a specialized function in order.
pub(super) fn schedule(function: &Function) -> Vec<Item> {
    let mut schedule =
        Schedule { function, waiting: vec![None; function.values.len()], items: Vec::new() };
    for (i, operation) in function.operations.iter().enumerate() {
        let node = Node { function, operation };
        if elementwise::takes(node) {
            for id in &operation.outputs {
                schedule.waiting[id.0] = Some(i);
            }
            continue;
        }
        let dequantize = operation.argument("x").and_then(|x| schedule.waiting[x.0]);
        let coded = dequantize.filter(|&d| {
            layer::takes_codes(node, Node { function, operation: &function.operations[d] })
        });
        let item = match coded {
            Some(dequantize) => Item::Coded(i, dequantize),
            None => Item::One(i),
        };
        schedule.demand(item.reads(function));
        schedule.items.push(item);
    }
    schedule.demand(function.outputs.iter().map(|output| output.value).collect());
    schedule.items
}

struct Schedule<'a> {
    function: &'a Function,
    /// By value: the operation that gives it, while it waits.
    waiting: Vec<Option<usize>>,
    items: Vec<Item>,
}

impl Schedule<'_> {
    /// Lets everything run that these values wait for.
    fn demand(&mut self, mut values: Vec<ValueId>) {
        let mut batch = Vec::new();
        while let Some(value) = values.pop() {
            let Some(i) = self.waiting[value.0] else { continue };
            let operation = &self.function.operations[i];
            for id in &operation.outputs {
                self.waiting[id.0] = None;
            }
            values.extend(operation.arguments.iter().map(|argument| argument.value));
            batch.push(i);
        }
        batch.sort_unstable();
        let chains = chains(self.function, &batch);
        self.items.extend(chains.into_iter().map(Item::Chain));
    }
}

/// Groups operations by shape, each behind those that it reads.
fn chains(function: &Function, batch: &[usize]) -> Vec<Vec<usize>> {
    let out_shape = |i: usize| shape(function.value(function.operations[i].outputs[0])).ok();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for &i in batch {
        let reads = |chain: &Vec<usize>| {
            let outputs = chain.iter().flat_map(|&j| &function.operations[j].outputs);
            let mut arguments = function.operations[i].arguments.iter();
            let outputs: Vec<_> = outputs.collect();
            arguments.any(|argument| outputs.contains(&&argument.value))
        };
        let earliest = chains.iter().rposition(reads).unwrap_or(0);
        let fits =
            |chain: &&mut Vec<usize>| chain.len() < CHAIN && out_shape(chain[0]) == out_shape(i);
        match chains.iter_mut().skip(earliest).find(fits) {
            Some(chain) => chain.push(i),
            None => chains.push(vec![i]),
        }
    }
    chains
}
