//! What is kept of one value.

use super::tally::{self, Tally};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Numbers that are rounded at once.
const CHUNK: usize = 4096;

/// Columns of a tensor in row-major order: element `i` is of column `i / inner mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// How many there are.
    pub count: usize,
    /// Elements behind one another of the same column.
    pub inner: usize,
}

impl Columns {
    /// The columns along an axis of a shape; `None` beyond its rank.
    pub fn along(axis: usize, shape: &[usize]) -> Option<Self> {
        Some(Self { count: *shape.get(axis)?, inner: shape[axis + 1..].iter().product() })
    }
}

/// Counts of one value, all of them integers.
///
/// A sample is what the data say: a text, a window of one, a row. Numbers that FP16 does not hold are
/// counted and left out of everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub(super) tally: Tally,
    /// Samples with a finite number.
    pub(super) samples: u64,
    /// Σ of the samples' least numbers, in units of 2⁻²⁴.
    pub(super) minima: i128,
    /// Σ of their largest.
    pub(super) maxima: i128,
    /// Σx² of each column, in units of 2⁻⁴⁸: a u128 takes 2⁴⁶ of the largest squares.
    pub(super) squares: Vec<u128>,
}

/// The extremes of a sample that is not over, in units of 2⁻²⁴.
pub(super) type Extremes = Option<(i64, i64)>;

impl Statistics {
    /// Counts some numbers of a sample, rounded to FP16, and widens its extremes. `columns` is the same
    /// number of columns each time.
    pub(super) fn add(&mut self, x: &[f32], columns: Option<Columns>, extremes: &mut Extremes) {
        let mut rounded = [f16::ZERO; CHUNK];
        let columns = columns.filter(|columns| columns.count > 0 && columns.inner > 0);
        if let Some(columns) = columns {
            self.squares.resize(columns.count, 0);
        }
        let (mut low, mut high) = extremes.unwrap_or((i64::MAX, i64::MIN));
        // The column, and how far it is.
        let (mut column, mut at) = (0, 0);
        for chunk in x.chunks(CHUNK) {
            let rounded = &mut rounded[..chunk.len()];
            rounded.convert_from_f32_slice(chunk);
            for &number in rounded.iter() {
                let bits = tally::canonical(number);
                self.tally.count(bits);
                let units = tally::units(bits);
                let is_finite = tally::is_finite(bits);
                if is_finite {
                    (low, high) = (low.min(units), high.max(units));
                }
                let Some(Columns { count, inner }) = columns else { continue };
                if is_finite {
                    let magnitude = u128::from(units.unsigned_abs());
                    self.squares[column] += magnitude * magnitude;
                }
                at += 1;
                if at == inner {
                    (column, at) = (if column + 1 == count { 0 } else { column + 1 }, 0);
                }
            }
        }
        *extremes = (low <= high).then_some((low, high));
    }

    /// Ends a sample.
    pub(super) fn close(&mut self, extremes: &mut Extremes) {
        if let Some((low, high)) = extremes.take() {
            self.samples += 1;
            self.minima += i128::from(low);
            self.maxima += i128::from(high);
        }
    }

    /// Adds the counts of other data; `None` for another number of columns and for sums that nothing
    /// holds.
    #[must_use]
    pub(super) fn merge(&mut self, other: &Self) -> Option<()> {
        if self.squares.is_empty() {
            self.squares.resize(other.squares.len(), 0);
        }
        if !other.squares.is_empty() && self.squares.len() != other.squares.len() {
            return None;
        }
        for (bits, count) in other.tally.counts() {
            self.tally.add(bits, count)?;
        }
        self.samples = self.samples.checked_add(other.samples)?;
        self.minima = self.minima.checked_add(other.minima)?;
        self.maxima = self.maxima.checked_add(other.maxima)?;
        for (sum, more) in self.squares.iter_mut().zip(&other.squares) {
            *sum = sum.checked_add(*more)?;
        }
        Some(())
    }

    /// The finite numbers that occurred, ascending, and how often.
    pub fn counts(&self) -> Vec<(f64, u64)> {
        self.tally.finite()
    }

    /// Numbers that were NaN, or beyond ±65,504 once rounded.
    pub fn non_finite(&self) -> u64 {
        let beyond = self.tally.counts().filter(|(bits, _)| !tally::is_finite(*bits));
        beyond.map(|(_, n)| n).sum()
    }

    /// Samples with a finite number.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The means of the samples' least and largest numbers.
    pub fn mean_extremes(&self) -> Option<(f64, f64)> {
        let mean = |sum: i128| sum as f64 / self.samples as f64 / f64::from(1 << 24);
        (self.samples > 0).then(|| (mean(self.minima), mean(self.maxima)))
    }

    /// Σx² of each column; empty for a value that meets no weight.
    pub fn squares(&self) -> Vec<f64> {
        self.squares.iter().map(|&sum| sum as f64 / (1u64 << 48) as f64).collect()
    }
}
