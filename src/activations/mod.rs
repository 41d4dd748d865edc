//! INT8 activations: pairs of `quantize` and `dequantize` around what computes in INT8.
//!
//! There is no operation with INT8 operands in MIL: between a `dequantize` of what a layer reads and a
//! `quantize` of what follows it, the device multiplies the codes themselves. A pair costs accuracy
//! wherever it stands, so it stands only where it makes INT8 arithmetic possible, or keeps a chain of
//! such layers from returning to float between them.
//!
//! | item | what it is |
//! |---|---|
//! | [`Activations`], [`Zero`], [`Pairs`] | what a user chooses |
//! | [`Given`] | that, and what is known of the model |
//! | `flow` | the way of values past what costs INT8 nothing |
//! | `layers` | which layers could multiply in INT8, and why the others could not |
//! | `chains` | which values are quantized: what these layers read, and what lies between them |
//! | `coremltools` | in place of these, where coremltools puts pairs |
//! | `shared` | values that must have one scale |
//! | `grids` | statistics → the scale and zero point of each |
//! | `insert` | the pairs, put into the function |
//! | [`quantize()`] | all of it |
//! | [`strip()`] | the pairs, taken out again |
//!
//! Sources: coremltools' guide to quantizing activations for which operations Core ML takes between
//! pairs; its pass `insert_prefix_quantize_dequantize_pair` for the form of a pair.

mod chains;
mod coremltools;
mod flow;
mod grids;
mod insert;
mod layers;
mod options;
mod shared;
mod strip;
#[cfg(test)]
pub(crate) mod tests;

pub use options::{Activations, Pairs, Zero};
pub use strip::strip;

use crate::calibrate::{Calibration, Grid};
use crate::graph::weight::Weight;
use crate::graph::{Flow, Function, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// What pairs follow from.
#[derive(Clone, Copy)]
pub struct Given<'g> {
    /// What was counted of the values.
    pub calibration: &'g Calibration,
    /// What a user chose.
    pub how: &'g Activations,
    /// What a weight was called before it became a constant of its function.
    pub original: &'g dyn Fn(&Weight) -> Option<&'g str>,
}

/// What was done to a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantized {
    /// Values that have a pair.
    pub values: usize,
    /// Layers that compute in INT8, by operation.
    pub layers: Vec<String>,
    /// Layers that do not, and why.
    pub left: BTreeMap<String, String>,
}

/// Pairs, and who reads them.
struct Placed {
    /// The values that have one.
    grids: BTreeMap<ValueId, Grid>,
    /// By place, the operations that read what pairs give, and of which values.
    reads: BTreeMap<usize, BTreeSet<ValueId>>,
    /// The places of layers that multiply in INT8 so.
    layers: Vec<usize>,
}

/// Puts pairs into a function.
///
/// As [`Pairs::Chains`]: before every layer that can multiply in INT8 (`linear` and `conv` whose
/// weight is stored as symmetric INT8, and where asked for `matmul`), and around `add`, `concat` and
/// pooling where that keeps a chain of such layers in INT8. Operands of `add`, and both sides of
/// `concat` and of `max_pool`, share one scale. Whoever computes in float reads the float value still.
///
/// As [`Pairs::Coremltools`]: where the passes of coremltools 9.0 put them, with their ranges: `concat`
/// alone makes values share one.
pub fn quantize(function: &mut Function, given: Given<'_>) -> Quantized {
    let flow = Flow::new(function);
    let mut left = BTreeMap::new();
    let place = match given.how.pairs {
        Pairs::Chains => chained,
        Pairs::Coremltools => coremltools::place,
    };
    let Placed { grids, reads, layers } = place(&flow, given, &mut left);
    let names = layers.into_iter().map(|place| flow.function.operations[place].name.clone());
    let outcome = Quantized { values: grids.len(), layers: names.collect(), left };
    insert::pairs(function, &grids, &reads);
    outcome
}

/// The pairs of [`Pairs::Chains`]; layers without one go to `left` with the reason.
fn chained(flow: &Flow<'_>, given: Given<'_>, left: &mut BTreeMap<String, String>) -> Placed {
    let mut layers = layers::find(flow, given, left);
    // A layer whose input was never seen has no range, and its chain must do without it.
    loop {
        let chains = chains::find(flow, &layers);
        let groups = shared::groups(flow, &chains);
        let grids = grids::choose(flow, &groups, given);
        let lacks = |reads: &BTreeSet<ValueId>| !reads.iter().all(|id| grids.contains_key(id));
        let unseen: Vec<usize> =
            layers.iter().filter(|(_, reads)| lacks(reads)).map(|(place, _)| *place).collect();
        if unseen.is_empty() {
            let reads = chains.into_reads(&layers);
            return Placed { grids, reads, layers: layers.into_keys().collect() };
        }
        for place in unseen {
            layers.remove(&place);
            let name = flow.function.operations[place].name.clone();
            left.insert(name, "its input was not counted in the calibration".into());
        }
    }
}
