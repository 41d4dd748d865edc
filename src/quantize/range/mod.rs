//! Which range the codes cover: `--clip`.
//!
//! | | where the extent is known | the range |
//! |---|---|---|
//! | [`Ranger`] | rows, blocks, gathered input channels | a segment at a time |
//! | [`of_tensor`] | the whole tensor | from the histogram of its values |
//! | [`of_columns`] | input channels | gathered, then as rows |
//! | [`curve()`] | a sample | SQNR of shrunk ranges, for people to look at |

mod columns;
mod curve;
mod tensor;

pub(super) use columns::of_columns;
pub(super) use curve::{Sampled, curve};
pub(super) use tensor::of_tensor;

use super::check::is_sound;
use super::grid::{Codes, Grid};
use super::kernel::Kernel;
use super::kernel::encode::Grids;
use super::kernel::scan::{Cover, Extents, Magnitudes};
use super::kernel::search::SearchRow;
use crate::scheme::Clip;
use crate::tensor::{FloatType, decode};

/// Finds the grids of one row after another; keeps its buffers between rows.
pub(super) struct Ranger {
    kernel: Kernel,
    dtype: FloatType,
    codes: Codes,
    clip: Clip,
    segment: usize,
    low: Vec<f32>,
    high: Vec<f32>,
    /// The grids of the row that was looked at last.
    pub(super) scale: Vec<f32>,
    pub(super) zero: Vec<f32>,
    scratch: Vec<f32>,
}

impl Ranger {
    /// For rows of `cols` weights, cut into segments of `segment`, which divides `cols`.
    pub(super) fn new(
        kernel: Kernel,
        dtype: FloatType,
        codes: Codes,
        clip: Clip,
        cols: usize,
        segment: usize,
    ) -> Self {
        let room = || vec![0.0; cols / segment];
        Self {
            kernel,
            dtype,
            codes,
            clip,
            segment,
            low: room(),
            high: room(),
            scale: room(),
            zero: room(),
            scratch: Vec::new(),
        }
    }

    /// Finds the grids of a row, whose weights have these importances, or none: whether a weight is
    /// beyond its grid, or `None` if a weight is not finite or beyond FP16.
    pub(super) fn look(&mut self, bytes: &[u8], importance: &[f32]) -> Option<bool> {
        if !self.cover(bytes) {
            return None;
        }
        match self.clip {
            Clip::None => {}
            Clip::Mse => self.search(bytes, importance),
            Clip::Percentile(percent) => self.cut(bytes, percent),
        }
        // Symmetric grids that cover clip nothing: a largest finite scale holds 65504.
        let covers = self.clip == Clip::None && !self.codes.asymmetric;
        Some(!covers && self.any_clips())
    }

    /// The grids that [`Self::look`] found.
    pub(super) fn grids(&self) -> Grids<'_> {
        Grids { segment: self.segment, scale: &self.scale, zero: &self.zero }
    }

    /// The extent of a segment of that row, as wide as its codes see it.
    fn extent(&self, segment: usize) -> (f32, f32) {
        let (low, high) = (self.low[segment], self.high[segment]);
        if self.codes.asymmetric { (low.min(0.0), high.max(0.0)) } else { (-high, high) }
    }

    /// Lays grids over the segments' extents. False if a weight is not finite or beyond FP16.
    fn cover(&mut self, bytes: &[u8]) -> bool {
        let Self { kernel, dtype, codes, segment, low, high, scale, zero, .. } = self;
        let (dtype, segment, codes) = (*dtype, *segment, *codes);
        if codes.asymmetric {
            kernel.run(Extents { dtype, bytes, segment, low, high });
            if !low.iter().zip(&*high).all(|(l, h)| is_sound(l.abs()) && is_sound(h.abs())) {
                return false;
            }
            for (i, (&low, &high)) in low.iter().zip(&*high).enumerate() {
                let grid = Grid::covering(codes, low, high);
                (scale[i], zero[i]) = (grid.scale, grid.zero);
            }
        } else {
            kernel.run(Magnitudes { dtype, bytes, segment, out: high });
            if !high.iter().all(|&h| is_sound(h)) {
                return false;
            }
            kernel.run(Cover { codes, magnitudes: high, scale });
        }
        true
    }

    fn search(&mut self, bytes: &[u8], importance: &[f32]) {
        // Symmetric segments have no low end: zeros.
        self.kernel.run(SearchRow {
            dtype: self.dtype,
            bytes,
            segment: self.segment,
            codes: self.codes,
            low: &self.low,
            high: &self.high,
            scale: &mut self.scale,
            zero: &mut self.zero,
            importance,
            tail: &mut self.scratch,
        });
    }

    /// Cuts each segment's range at a percentile of its magnitudes.
    fn cut(&mut self, bytes: &[u8], percent: f64) {
        self.scratch.resize(self.segment, 0.0);
        for (i, bytes) in bytes.chunks_exact(self.segment * self.dtype.bytes()).enumerate() {
            decode(self.dtype, bytes, &mut self.scratch);
            let limit = percentile(&mut self.scratch, percent);
            if limit > 0.0 {
                let (low, high) = self.extent(i);
                let grid = Grid::covering(self.codes, low.max(-limit), high.min(limit));
                (self.scale[i], self.zero[i]) = (grid.scale, grid.zero);
            }
        }
    }

    fn any_clips(&self) -> bool {
        let clips = |(i, (&scale, &zero)): (usize, (&f32, &f32))| {
            let (low, high) = self.extent(i);
            Grid { scale, zero }.clips(self.codes, low, high)
        };
        self.scale.iter().zip(&self.zero).enumerate().any(clips)
    }
}

/// How many of `weights` magnitudes, from the smallest, a percentile spans: at least one.
fn rank(weights: u64, percent: f64) -> u64 {
    ((percent / 100.0 * weights as f64).ceil() as u64).clamp(1, weights)
}

/// The smallest magnitude that `percent` of all do not exceed (the nearest-rank percentile).
/// Reorders `x`, which is not empty.
fn percentile(x: &mut [f32], percent: f64) -> f32 {
    let place = rank(x.len() as u64, percent) as usize - 1;
    let by_magnitude = |a: &f32, b: &f32| a.abs().total_cmp(&b.abs());
    x.select_nth_unstable_by(place, by_magnitude).1.abs()
}
