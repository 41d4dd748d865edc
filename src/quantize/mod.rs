//! Weights → codes and parameters: the arithmetic, and nothing else.
//!
//! A [`Quantizer`] is made once a tensor (what the whole tensor must be seen for, a per-tensor range
//! or palette, happens then) and encodes pieces of whole rows, in any order and on any thread. The
//! same codes, parameters and statistics come out whatever the number of threads, because pieces
//! are of a fixed size and are joined in order.
//!
//! | module | what it does |
//! |---|---|
//! | [`linear`] | INT8 and INT4 with scale and zero point |
//! | [`palette`] | optimal and vector palettes |
//! | [`Params`] | what decodes the codes |

pub mod linear;
pub mod palette;

use crate::metrics::Stats;
use crate::scheme::{Clip, Scheme};
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;

/// What decodes codes, in the order of the plan's operands (`graph::weight::Storage`), each
/// row-major. Only the members that the scheme has are filled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// Linear scales.
    pub scale: Vec<f16>,
    /// Linear zero points.
    pub offset: Vec<i8>,
    /// FP16 palette entries, `[groups, P, V]`.
    pub table: Vec<f16>,
    /// INT8 palette entries, `[groups, P, V]`.
    pub table_codes: Vec<i8>,
    /// One scale a table, for INT8 entries.
    pub table_scale: Vec<f16>,
    /// One scale an output channel, beside a palette.
    pub channel_scale: Vec<f16>,
}

impl Params {
    /// Appends the parameters of the rows that follow.
    pub fn append(&mut self, next: &Self) {
        self.scale.extend_from_slice(&next.scale);
        self.offset.extend_from_slice(&next.offset);
        self.table.extend_from_slice(&next.table);
        self.table_codes.extend_from_slice(&next.table_codes);
        self.table_scale.extend_from_slice(&next.table_scale);
        self.channel_scale.extend_from_slice(&next.channel_scale);
    }
}

/// The outcome of encoding some rows; the codes went to the caller's buffer.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The parameters that belong to these rows alone: appended piece by piece and put behind
    /// [`Quantizer::shared`], they are the tensor's.
    pub params: Params,
    /// Errors of these rows, to be merged in row order.
    pub stats: Stats,
}

/// One tensor being quantized.
pub enum Quantizer<'a> {
    /// Linear codes.
    Linear(linear::Linear<'a>),
    /// Palette indices.
    Palette(palette::Palette<'a>),
}

impl<'a> Quantizer<'a> {
    /// Prepares to quantize `weights` (rank ≥ 2, not empty), whose shape the scheme's blocks, groups
    /// and vectors divide. Parameters that all rows share are computed here, in parallel.
    ///
    /// # Errors
    /// [`Error::Input`] at the first non-finite weight that is met here; `unique` where the tensor
    /// has more distinct values than the palette. [`Error::Bug`] for a scheme that is no quantization.
    pub fn new(weights: Weights<'a>, scheme: Scheme, clip: Clip) -> Result<Self> {
        match scheme {
            Scheme::Linear(scheme) => linear::Linear::new(weights, scheme, clip).map(Self::Linear),
            Scheme::Palette(scheme) => palette::Palette::new(weights, scheme).map(Self::Palette),
            Scheme::Float(_) => Err(Error::bug(weights.name, "a float scheme has no codes")),
        }
    }
}
