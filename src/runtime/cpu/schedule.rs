//! The order in which operations run, and which run as one.
//!
//! Elementwise operations wait until something else needs their results. Then they run together,
//! block by block, so that what only they read never leaves the cache. `dequantize` waits likewise:
//! a layer that multiplies codes takes them from before it, and where the layer's results become
//! codes again it gives those; what a `quantize` makes of one dequantized value alone is looked up.
//! A `dequantize` that only such items read never runs.

use super::affine::affine;
use super::cone::Uses;
use super::node::{Node, shape};
use super::steps::{elementwise, layer, pool, stage};
use crate::graph::{Function, ValueId};

/// What runs as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An operation.
    One(usize),
    /// Elementwise operations whose results have one shape.
    Chain(Vec<usize>),
    /// A layer, or a pool, on the codes that `dequantize` reads.
    Coded {
        /// The layer, and what makes codes of its results, if they are wanted as codes.
        operations: Vec<usize>,
        dequantize: usize,
    },
    /// Codes from codes: a `dequantize`, elementwise operations, a `quantize`.
    Table(Vec<usize>),
}

/// The most operations of a chain.
pub(super) const CHAIN: usize = 16;

impl Item {
    /// The operations.
    pub(super) fn operations(&self) -> &[usize] {
        match self {
            Self::One(operation) => std::slice::from_ref(operation),
            Self::Chain(operations) | Self::Table(operations) => operations,
            Self::Coded { operations, .. } => operations,
        }
    }

    /// The values that it reads.
    pub(super) fn reads(&self, function: &Function) -> Vec<ValueId> {
        let arguments = |i: usize| function.operations[i].arguments.iter();
        let codes = |i: usize| arguments(i).filter(|argument| argument.param == "input");
        match self {
            Self::One(i) => arguments(*i).map(|a| a.value).collect(),
            Self::Chain(all) => all.iter().flat_map(|&i| arguments(i)).map(|a| a.value).collect(),
            Self::Coded { operations, dequantize } => {
                let others = arguments(operations[0]).filter(|argument| argument.param != "x");
                others.chain(codes(*dequantize)).map(|argument| argument.value).collect()
            }
            Self::Table(operations) => codes(operations[0]).map(|a| a.value).collect(),
        }
    }
}

/// Puts the operations of a specialized function in order.
pub(super) fn schedule(function: &Function) -> Vec<Item> {
    let uses = Uses::new(function);
    let cones = uses.cones();
    let mut schedule =
        Schedule { function, waiting: vec![None; function.values.len()], items: Vec::new() };
    let mut taken = vec![false; function.operations.len()];
    for (i, operation) in function.operations.iter().enumerate() {
        if taken[i] {
            continue;
        }
        let node = Node { function, operation };
        let on_codes = |id: ValueId| {
            let maker = uses.maker(id)?;
            let dequantize = Node { function, operation: &function.operations[maker] };
            let one = dequantize.kind() == "dequantize" && affine(dequantize).is_some();
            one.then_some((maker, dequantize))
        };
        let looked_up = cones[i].as_ref().and_then(|cone| {
            let (dequantize, _) = on_codes(cone.source)?;
            Some(Item::Table([&[dequantize], &cone.operations[..]].concat()))
        });
        if looked_up.is_none() && elementwise::takes(node) {
            for id in &operation.outputs {
                schedule.waiting[id.0] = Some(i);
            }
            continue;
        }
        let coded = operation.argument("x").and_then(on_codes).and_then(|(dequantize, _)| {
            let result = operation.outputs.first().copied()?;
            let cone = cones.iter().flatten().find(|cone| cone.source == result);
            let cone = cone.filter(|cone| uses.is_private(cone) && stage::takes(function, cone));
            let wanted = layer::takes_codes(node) || (pool::takes_codes(node) && cone.is_some());
            let then = cone.iter().flat_map(|cone| &cone.operations);
            let operations = std::iter::once(&i).chain(then).copied().collect();
            wanted.then_some(Item::Coded { operations, dequantize })
        });
        let item = looked_up.or(coded).unwrap_or(Item::One(i));
        schedule.demand(item.reads(function));
        item.operations().iter().for_each(|&i| taken[i] = true);
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
