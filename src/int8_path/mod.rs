//! The INT8 path of a function: which multiplications run in INT8, and where INT8 values end in float.
//!
//! Hardware that pairs two INT8 in one 16-bit lane doubles its rate only where *both* operands are
//! INT8 and the result is INT8 again. No operation of MIL says so: the compiler finds it in pairs of
//! `quantize` and `dequantize` around an operation. This room finds what it would find, from the
//! graph alone.
//!
//! | module | what it says |
//! |---|---|
//! | [`Int8Path`], [`Product`], [`Break`] | the analysis of one function |
//! | [`Class`] | the arithmetic of one product, which follows from its operands |
//! | [`StoredWeight`] | the weight of a product, and whether it can be an INT8 operand |
//! | `edges` | what flows between operations: floats, INT8 codes, sums that become codes |
//! | `walk` | the analysis: operation by operation, in order |
//! | [`Reason`] | why a chain ends, in words that teach |
//! | [`Shares`] | multiply-accumulates by class |
//! | [`fold()`] | equal findings of repeated layers as one |
//! | [`FunctionPath`] | the paths of a program |
//! | [`Summary`], [`InPackage`] | what a report keeps of them |
//! | `text` | the tables |
//!
//! Sources: coremltools' guide (opt-quantization-overview, opt-joint-compression) for which pairs and
//! tables the INT8 path takes; maderix/ANE `ane_int8_bench.m`, and the M6 study of 751K, for what one
//! FP16 edge costs. `docs/int8-path.md` lists each rule with its source.

mod class;
mod edges;
mod fold;
mod program;
mod reason;
mod shares;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod walk;
mod weight;

pub use class::Class;
pub use fold::{Folded, fold};
pub(crate) use fold::{pattern, without_numbers};
pub use program::{FunctionPath, InPackage, Summary};
pub use reason::Reason;
pub use shares::{ByClass, Shares};
pub use weight::StoredWeight;

use crate::graph::Function;
use serde::{Deserialize, Serialize};

/// The INT8 path of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8Path {
    /// Its multiply-accumulates by class.
    pub shares: Shares,
    /// Every operation that multiplies and accumulates, in order.
    pub products: Vec<Product>,
    /// Every place where INT8 ends, in order.
    pub breaks: Vec<Break>,
}

/// An operation that multiplies and accumulates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Product {
    /// Its name.
    pub operation: String,
    /// Its type: `linear`.
    pub kind: &'static str,
    /// In which arithmetic it runs.
    pub class: Class,
    /// In which it would run if pairs stood around all activations.
    pub with_pairs: Class,
    /// Its multiply-accumulates; `null` where a size is flexible.
    pub macs: Option<u64>,
    /// The stored weight; `null` where activations meet activations.
    pub weight: Option<String>,
    /// Its output channels; `null` where activations meet activations.
    pub channels: Option<u64>,
}

/// A place where INT8 values end in float, or never began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The operation that computes in float.
    pub operation: String,
    /// Its type: `softmax`.
    pub kind: String,
    /// The reason's short name, the same in every version: `softmax`.
    pub reason: String,
    /// The reason in a sentence, and what would do.
    pub why: String,
    /// The multiply-accumulates that are not INT8 for this reason; 0 for operations that only move,
    /// add or norm.
    pub macs: u64,
}

impl Int8Path {
    /// Analyses a function. Sizes should be fixed (as [`specialize`](crate::runtime::specialize) does);
    /// what is flexible is counted as unknown.
    pub fn of(function: &Function) -> Self {
        walk::walk(function)
    }
}
