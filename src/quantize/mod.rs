//! Weights → codes and parameters: the arithmetic, and nothing else.
//!
//! A [`Quantizer`] is made once a tensor (what the whole tensor must be seen for, a per-tensor range
//! or palette, happens then) and encodes pieces of whole rows, in any order and on any thread. The
//! same codes and parameters come out whatever the pieces and the number of threads; statistics are
//! the same for the same pieces, joined in row order.
//!
//! | module | what it does |
//! |---|---|
//! | [`linear`] | INT8 and INT4 with scale and zero point |
//! | `range` | which range linear codes cover: `--clip` |
//! | `grid` | the values that one scale and one zero point can hold |
//! | [`Importance`], [`Guide`] | what is known of a weight's inputs |
//! | [`Feedback`] | GPTQ: errors made good by later columns |
//! | [`palette`] | optimal and vector palettes |
//! | [`kernel`] | the instructions that linear codes are computed with |
//! | [`check`] | weights that cannot be quantized |
//! | [`array()`] | an array in memory, from end to end |
//! | [`Params`] | what decodes the codes |

mod array;
pub mod check;
mod feedback;
mod grid;
mod importance;
pub mod kernel;
pub mod linear;
pub mod palette;
mod range;

pub(crate) use array::guided;
pub use array::{Quantized, array};
pub use feedback::{Feedback, Order};
pub use importance::Importance;

use kernel::Kernel;

use crate::metrics::Stats;
use crate::scheme::{Clip, PaletteGranularity, Scheme};
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use std::ops::Range;
use std::sync::Arc;

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

/// SQNR against the range of the codes, on a bounded sample of a tensor's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipCurve {
    /// From the absolute maximum (factor 1) downwards.
    pub points: Vec<ClipPoint>,
    /// What `--clip` chose: its SQNR on the same sample, and the median of the factors.
    pub chosen: ClipPoint,
}

/// One range of a [`ClipCurve`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipPoint {
    /// The range's share of the absolute maximum; a search in small blocks may choose a little more
    /// than 1, to move the lines of the grid.
    pub factor: f64,
    /// SQNR in dB; `None` where the sample is all zeros.
    pub sqnr_db: Option<f64>,
}

impl ClipCurve {
    /// Whether the chosen ranges are worse than clipping nothing: what `--clip percentile:P` risks.
    pub fn loses_to_none(&self) -> bool {
        self.chosen.sqnr_db < self.points.first().and_then(|p| p.sqnr_db)
    }
}

/// What is known of the inputs that a weight is multiplied with, and shall be used.
#[derive(Clone, Debug, Default)]
pub struct Guide {
    /// Ranges searched for the least error (`--clip mse`) and palettes minimise
    /// `Σ importance · (w − ŵ)²`; without, each weight counts alike.
    pub importance: Option<Arc<Importance>>,
    /// GPTQ: codes on these grids and tables are chosen column by column. Vectors and `unique` palettes
    /// go without.
    pub feedback: Option<Arc<Feedback>>,
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
    /// [`Error::Input`] at the first weight met here that is not finite or is beyond FP16's range;
    /// `unique` where the tensor has more distinct values than the palette. [`Error::Bug`] for a
    /// scheme that is no quantization.
    pub fn new(weights: Weights<'a>, scheme: Scheme, clip: Clip) -> Result<Self> {
        Self::guided(weights, scheme, clip, Guide::default())
    }

    /// Like [`Self::new`], for a weight whose inputs are known.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn guided(weights: Weights<'a>, scheme: Scheme, clip: Clip, guide: Guide) -> Result<Self> {
        if guide.importance.as_ref().is_some_and(|importance| !importance.fits(&weights)) {
            return Err(Error::bug(weights.name, "its importances are those of another shape"));
        }
        if guide.feedback.as_ref().is_some_and(|feedback| !feedback.fits(weights.shape)) {
            return Err(Error::bug(weights.name, "its Hessian is one of another shape"));
        }
        match scheme {
            Scheme::Linear(scheme) => {
                let linear = linear::Linear::with(weights, scheme, clip, guide, Kernel::detect());
                linear.map(Self::Linear)
            }
            Scheme::Palette(scheme) => {
                palette::Palette::new(weights, scheme, guide).map(Self::Palette)
            }
            Scheme::Float(_) => Err(Error::bug(weights.name, "a float scheme has no codes")),
        }
    }

    /// Pieces start at multiples of this many rows, and are multiples of it, except the last.
    pub fn granule_rows(&self) -> usize {
        match self {
            Self::Linear(linear) => linear.granule_rows(),
            Self::Palette(palette) => palette.granule_rows(),
        }
    }

    /// The number of code bytes of `rows` rows: one a code, whatever its width.
    pub fn code_len(&self, rows: usize) -> usize {
        match self {
            Self::Linear(linear) => linear.code_len(rows),
            Self::Palette(palette) => palette.code_len(rows),
        }
    }

    /// The parameters that all rows share; those of single rows come from [`Self::encode`].
    pub fn shared(&self) -> Params {
        match self {
            Self::Linear(linear) => linear.shared(),
            Self::Palette(palette) => palette.shared(),
        }
    }

    /// Encodes `rows` into `codes`, one byte a code in row order; a signed code is written as its
    /// two's complement byte.
    ///
    /// # Errors
    /// [`Error::Input`] at the first weight of these rows that is not finite or is beyond FP16's
    /// range. [`Error::Bug`] if `codes` is not of [`Self::code_len`].
    pub fn encode(&self, rows: Range<usize>, codes: &mut [u8]) -> Result<Encoded> {
        match self {
            Self::Linear(linear) => linear.encode(rows, codes),
            Self::Palette(palette) => palette.encode(rows, codes),
        }
    }

    /// Decodes `rows` from the codes and parameters that [`Self::encode`] gave for them, into
    /// `out`: what every reader of the package sees, each weight rounded once to FP16.
    ///
    /// # Errors
    /// [`Error::Bug`] if a length is not that of these rows.
    pub fn decode(
        &self,
        rows: Range<usize>,
        codes: &[u8],
        params: &Params,
        out: &mut [f16],
    ) -> Result<()> {
        match self {
            Self::Linear(linear) => linear.decode(rows, codes, params, out),
            Self::Palette(palette) => palette.decode(rows, codes, params, out),
        }
    }

    /// SQNR against range, on a sample; only linear codes have a range.
    pub fn clip_curve(&self) -> Option<ClipCurve> {
        match self {
            Self::Linear(linear) => Some(linear.clip_curve()),
            Self::Palette(_) => None,
        }
    }
}

/// Pieces of a tensor under this scheme start at multiples of so many rows: no group of channels
/// and no vector is ever cut.
pub fn granule_rows(scheme: Scheme) -> usize {
    match scheme {
        Scheme::Float(_) | Scheme::Linear(_) => 1,
        Scheme::Palette(palette) if palette.axis != 0 => 1,
        Scheme::Palette(palette) => match palette.granularity {
            PaletteGranularity::Tensor => palette.vector.into(),
            // A group holds whole vectors.
            PaletteGranularity::Group { size } => size as usize,
        },
    }
}

/// Decodes a whole tensor, slowly and obviously: the definition that [`Quantizer::decode`] and
/// every reader are tested against.
///
/// `shape` is `[O, I, …]`, `codes` one byte a code, `params` the tensor's. Each weight is rounded
/// once, to FP16.
///
/// # Panics
/// If codes or parameters are not those of the shape and scheme, or the scheme is no quantization.
pub fn dequantize(scheme: Scheme, shape: &[usize], codes: &[u8], params: &Params) -> Vec<f16> {
    match scheme {
        Scheme::Linear(scheme) => linear::dequantize(scheme, shape, codes, params),
        Scheme::Palette(scheme) => palette::dequantize(scheme, shape, codes, params),
        Scheme::Float(_) => panic!("a float scheme has no codes"),
    }
}
