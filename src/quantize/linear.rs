//! Linear INT8 and INT4: `w ≈ scale · (q − zero_point)`.
//!
//! `q = clamp(round(w / scale) + zero_point)`, the division in f32, rounding to the nearest integer,
//! ties to even; the scale is rounded to FP16 first. Symmetric codes are ±127 or ±7, without a zero
//! point; asymmetric ones −128…127 or −8…7.
//!
//! A scale of one row or of a block within it depends on that row alone and is computed when the row
//! is encoded. One scale for the tensor, or one for each input channel, is computed beforehand.
//! With GPTQ, `fed` chooses the codes.
//!
//! # Source
//! Jacob et al. 2018 (arXiv:1712.05877), section 2.1. −128 is left out of symmetric codes, as in
//! Core ML's `linear_symmetric` mode.

mod fed;

use super::grid::{Codes, Grid};
use super::importance::shares;
use super::kernel::Kernel;
use super::kernel::encode::{DecodeRow, EncodeRow, Grids, RowErrors, Sums};
use super::range::{self, Ranger};
use super::{ClipCurve, Encoded, Guide, Params, check};
use crate::metrics::{Stats, sample_stride};
use crate::scheme::{self, Clip, LinearGranularity};
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use std::ops::Range;

/// A tensor being quantized linearly.
pub struct Linear<'a> {
    weights: Weights<'a>,
    codes: Codes,
    clip: Clip,
    kernel: Kernel,
    guide: Guide,
    layout: Layout,
}

/// Where the grid of a weight is found.
enum Layout {
    /// Each row is cut into segments of this many weights, each with a grid of its own.
    Rows { segment: usize },
    /// One grid for all; `clips` if some weight is beyond it.
    Tensor { grid: Grid, clips: bool },
    /// One grid for each input channel, spread over the weights of a row.
    Columns { scale: Vec<f32>, zero: Vec<f32>, taps: usize },
}

impl<'a> Linear<'a> {
    /// Prepares to quantize `weights` (rank ≥ 2, not empty).
    ///
    /// # Errors
    /// [`Error::Input`] at the first weight that is not finite or is beyond FP16's range, if the
    /// whole tensor must be seen now.
    pub fn new(weights: Weights<'a>, scheme: scheme::Linear, clip: Clip) -> Result<Self> {
        Self::with(weights, scheme, clip, Guide::default(), Kernel::detect())
    }

    /// Like [`Self::new`], with what is known of the inputs, and instructions of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(
        weights: Weights<'a>,
        scheme: scheme::Linear,
        clip: Clip,
        guide: Guide,
        kernel: Kernel,
    ) -> Result<Self> {
        let (cols, taps) = (weights.cols(), weights.taps());
        if weights.shape.len() < 2 || weights.is_empty() {
            return Err(Error::bug(weights.name, "linear codes need a matrix that is not empty"));
        }
        let codes = Codes::of(scheme);
        let importance = guide.importance.as_deref();
        let layout = match scheme.granularity {
            LinearGranularity::Tensor => {
                check::all(kernel, &weights)?;
                let (grid, clips) = range::of_tensor(kernel, &weights, codes, clip, importance);
                Layout::Tensor { grid, clips }
            }
            LinearGranularity::Channel { axis: 0 } => Layout::Rows { segment: cols },
            LinearGranularity::Channel { axis: 1 } => {
                check::all(kernel, &weights)?;
                let grids = range::of_columns(kernel, &weights, codes, clip, importance);
                let spread = |f: fn(&Grid) -> f32| {
                    grids.iter().flat_map(|g| std::iter::repeat_n(f(g), taps)).collect()
                };
                Layout::Columns { scale: spread(|g| g.scale), zero: spread(|g| g.zero), taps }
            }
            LinearGranularity::Channel { axis } => {
                return Err(Error::bug(weights.name, format!("no scales run along axis {axis}")));
            }
            LinearGranularity::Block { size } => {
                let size = size as usize;
                if size == 0 || !weights.shape[1].is_multiple_of(size) {
                    return Err(Error::bug(
                        weights.name,
                        format!("blocks of {size} do not divide"),
                    ));
                }
                Layout::Rows { segment: size * taps }
            }
        };
        Ok(Self { weights, codes, clip, kernel, guide, layout })
    }

    /// The instructions in use.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    pub(super) fn granule_rows(&self) -> usize {
        1
    }

    pub(super) fn code_len(&self, rows: usize) -> usize {
        rows * self.weights.cols()
    }

    pub(super) fn shared(&self) -> Params {
        match &self.layout {
            Layout::Rows { .. } => Params::default(),
            Layout::Tensor { grid, .. } => self.params(&[grid.scale], &[grid.zero]),
            Layout::Columns { scale, zero, taps } => {
                let channels = |x: &[f32]| x.iter().copied().step_by(*taps).collect::<Vec<_>>();
                self.params(&channels(scale), &channels(zero))
            }
        }
    }

    fn params(&self, scale: &[f32], zero: &[f32]) -> Params {
        let mut params = Params::default();
        self.push(&mut params, scale, zero);
        params
    }

    fn push(&self, params: &mut Params, scale: &[f32], zero: &[f32]) {
        params.scale.extend(scale.iter().map(|&s| f16::from_f32(s)));
        if self.codes.asymmetric {
            params.offset.extend(zero.iter().map(|&z| z as i8));
        }
    }

    /// As [`Quantizer::encode`](super::Quantizer::encode).
    ///
    /// # Errors
    /// As there.
    pub fn encode(&self, rows: Range<usize>, codes: &mut [u8]) -> Result<Encoded> {
        let mut stats = Stats::default();
        let params = self.encode_with(rows, codes, Some(&mut stats))?;
        Ok(Encoded { params, stats })
    }

    /// Encodes without statistics, for those who need none: about twice as fast where ranges are
    /// not searched.
    ///
    /// # Errors
    /// As [`Quantizer::encode`](super::Quantizer::encode).
    pub fn encode_only(&self, rows: Range<usize>, codes: &mut [u8]) -> Result<Params> {
        self.encode_with(rows, codes, None)
    }

    fn encode_with(
        &self,
        rows: Range<usize>,
        codes: &mut [u8],
        mut stats: Option<&mut Stats>,
    ) -> Result<Params> {
        let weights = &self.weights;
        let cols = weights.cols();
        if rows.end > weights.rows() || codes.len() != self.code_len(rows.len()) {
            return Err(Error::bug(weights.name, format!("rows {rows:?} do not fit their codes")));
        }
        if let Some(feedback) = &self.guide.feedback {
            return self.encode_fed(feedback, rows, codes, stats);
        }
        let mut params = Params::default();
        let mut look = self.look();
        for (row, codes) in rows.zip(codes.chunks_exact_mut(cols)) {
            let (grids, clips) = look.at(row)?;
            if let Layout::Rows { .. } = self.layout {
                self.push(&mut params, grids.scale, grids.zero);
            }
            let mut sums = Sums::default();
            self.kernel.run(EncodeRow {
                dtype: weights.dtype,
                bytes: weights.slice(row * cols..(row + 1) * cols),
                grids,
                codes: self.codes,
                plain: !clips && !self.codes.asymmetric,
                out: codes,
                sums: stats.is_some().then_some(&mut sums),
            });
            if let Some(stats) = &mut stats {
                add(stats, sums, cols);
                self.sample(stats, row, grids, codes);
            }
        }
        Ok(params)
    }

    fn look(&self) -> Look<'_> {
        let ranger = match self.layout {
            Layout::Rows { segment } => {
                let Weights { dtype, .. } = self.weights;
                let cols = self.weights.cols();
                Some(Ranger::new(self.kernel, dtype, self.codes, self.clip, cols, segment))
            }
            Layout::Tensor { .. } | Layout::Columns { .. } => None,
        };
        Look { linear: self, ranger, importance: Vec::new() }
    }

    /// Adds a row to the histograms, if it is one of the sample.
    fn sample(&self, stats: &mut Stats, row: usize, grids: Grids, codes: &[u8]) {
        let cols = self.weights.cols();
        if row.is_multiple_of(sample_stride(self.weights.len())) {
            let mut errors = vec![0.0; cols];
            let bytes = self.weights.slice(row * cols..(row + 1) * cols);
            let (dtype, out) = (self.weights.dtype, &mut errors[..]);
            self.kernel.run(RowErrors { dtype, bytes, grids, codes, out });
            stats.add_codes(codes);
            stats.add_errors(&errors);
        }
    }

    pub(super) fn decode(
        &self,
        rows: Range<usize>,
        codes: &[u8],
        params: &Params,
        out: &mut [f16],
    ) -> Result<()> {
        let cols = self.weights.cols();
        let wrong =
            || Error::bug(self.weights.name, format!("rows {rows:?} do not fit their codes"));
        if codes.len() != self.code_len(rows.len()) || out.len() != codes.len() {
            return Err(wrong());
        }
        let scale: Vec<f32> = params.scale.iter().map(|s| s.to_f32()).collect();
        let zero = match self.codes.asymmetric {
            true => params.offset.iter().map(|&z| f32::from(z)).collect(),
            false => vec![0.0; scale.len()],
        };
        let per_row = match self.layout {
            Layout::Rows { segment } => cols / segment,
            Layout::Tensor { .. } | Layout::Columns { .. } => 0,
        };
        if scale.len() != rows.len() * per_row || zero.len() != scale.len() {
            return Err(wrong());
        }
        let mut scratch = vec![0.0; cols];
        let parts = codes.chunks_exact(cols).zip(out.chunks_exact_mut(cols));
        for (row, (codes, out)) in parts.enumerate() {
            let grids = match self.layout {
                Layout::Rows { segment } => {
                    let own = row * per_row..(row + 1) * per_row;
                    Grids { segment, scale: &scale[own.clone()], zero: &zero[own] }
                }
                Layout::Tensor { .. } | Layout::Columns { .. } => self.layout.grids(cols).0,
            };
            self.kernel.run(DecodeRow { grids, codes, scratch: &mut scratch, out });
        }
        Ok(())
    }

    pub(super) fn clip_curve(&self) -> ClipCurve {
        let sampled = match self.layout {
            Layout::Rows { segment } => range::Sampled::Rows { segment },
            Layout::Tensor { grid, .. } => range::Sampled::Tensor(grid),
            Layout::Columns { .. } => range::Sampled::Columns,
        };
        let importance = self.guide.importance.as_deref();
        range::curve(self.kernel, &self.weights, self.codes, self.clip, importance, sampled)
    }
}

/// The grids of one row after another.
struct Look<'l> {
    linear: &'l Linear<'l>,
    /// Where rows have grids of their own.
    ranger: Option<Ranger>,
    importance: Vec<f32>,
}

impl Look<'_> {
    /// A row's grids, and whether a weight may be beyond them.
    ///
    /// # Errors
    /// [`Error::Input`] for a weight that is not finite or is beyond FP16's range.
    fn at(&mut self, row: usize) -> Result<(Grids<'_>, bool)> {
        let Self { linear, ranger, importance } = self;
        let (weights, cols) = (&linear.weights, linear.weights.cols());
        let Some(ranger) = ranger else { return Ok(linear.layout.grids(cols)) };
        if let Some(of) = &linear.guide.importance {
            importance.clear();
            importance.extend(shares(of.row(row)));
        }
        let bytes = weights.slice(row * cols..(row + 1) * cols);
        let clips = ranger.look(bytes, importance);
        let clips = clips.ok_or_else(|| check::first(weights, row..row + 1))?;
        Ok((ranger.grids(), clips))
    }
}

impl Layout {
    /// The grids that all rows share, and whether a weight may be beyond them.
    fn grids(&self, cols: usize) -> (Grids<'_>, bool) {
        match self {
            Self::Rows { .. } => unreachable!("rows have grids of their own"),
            Self::Tensor { grid, clips } => {
                let Grid { scale, zero } = grid;
                let (scale, zero) = (std::slice::from_ref(scale), std::slice::from_ref(zero));
                (Grids { segment: cols, scale, zero }, *clips)
            }
            Self::Columns { scale, zero, .. } => (Grids { segment: 0, scale, zero }, true),
        }
    }
}

fn add(stats: &mut Stats, sums: Sums, weights: usize) {
    stats.weights += weights as u64;
    stats.signal += sums.signal;
    stats.noise += sums.noise;
    stats.decoded += sums.decoded;
    stats.clipped += sums.clipped as u64;
    stats.clipped_energy += sums.clipped_energy;
    stats.max_error = stats.max_error.max(f64::from(sums.largest));
}

/// Decodes a whole tensor, slowly and obviously; see [`super::dequantize`].
pub(super) fn dequantize(
    scheme: scheme::Linear,
    shape: &[usize],
    codes: &[u8],
    params: &Params,
) -> Vec<f16> {
    let taps: usize = shape[2..].iter().product();
    let inputs = shape[1];
    let decode = |(i, &q): (usize, &u8)| {
        let (output, input) = (i / (inputs * taps), i / taps % inputs);
        let place = match scheme.granularity {
            LinearGranularity::Tensor => 0,
            LinearGranularity::Channel { axis: 0 } => output,
            LinearGranularity::Channel { .. } => input,
            LinearGranularity::Block { size } => {
                output * (inputs / size as usize) + input / size as usize
            }
        };
        let zero = if scheme.asymmetric { params.offset[place] } else { 0 };
        let steps = i16::from(q as i8) - i16::from(zero);
        f16::from_f32(params.scale[place].to_f32() * f32::from(steps))
    };
    codes.iter().enumerate().map(decode).collect()
}
