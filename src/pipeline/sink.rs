//! Where the bytes of a tensor go: the only thing a run knows of an output format.

use crate::graph::weight::Part;
use crate::layout::Lanes;
use crate::scheme::Float;

/// One place in one output file that wants a part of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sink {
    /// Which file of the run.
    pub(super) file: usize,
    /// Where the part starts in it.
    pub(super) offset: u64,
    /// What it wants, and in which order.
    pub(super) content: Content,
}

/// What a sink wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content {
    /// Codes or indices, row-major, as one stream of this many bits each.
    Codes { bits: u8 },
    /// Codes or indices, one byte each, in a lane order.
    Lanes(Lanes),
    /// Parameters, row-major, INT4 zero points packed if `bits` says so.
    Params { part: Part, bits: u8 },
    /// Parameters `[N, blocks]` as `[blocks, N]`, one element a byte or FP16.
    Transposed { part: Part, blocks: usize },
    /// The values that the weight stands for, row-major, in this type.
    Values(Float),
    /// The source's bytes.
    Raw,
}
