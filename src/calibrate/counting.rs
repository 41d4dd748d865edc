//! One value, while its numbers come in.

use super::Statistics;
use super::tally::{self, Tally};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Numbers that are rounded at once.
const CHUNK: usize = 4096;

/// Columns of a tensor in row-major order: element `i` is of column `i / inner mod count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// How many there are.
    pub(super) count: usize,
    /// Elements behind one another of the same column.
    pub(super) inner: usize,
}

impl Columns {
    /// The columns along an axis of a shape; `None` beyond its rank, and where there is no element.
    pub(super) fn along(axis: usize, shape: &[usize]) -> Option<Self> {
        let columns = Self { count: *shape.get(axis)?, inner: shape[axis + 1..].iter().product() };
        (columns.count > 0 && columns.inner > 0).then_some(columns)
    }
}

/// What becomes [`Statistics`].
#[derive(Debug, Default)]
pub(super) struct Counting {
    tally: Tally,
    samples: u64,
    minima: i128,
    maxima: i128,
    sums: Vec<i128>,
    squares: Vec<u128>,
    /// The least and the largest number of the sample that is not over, in units of 2⁻²⁴.
    extremes: Option<(i64, i64)>,
}

impl Counting {
    /// The number of columns, once there were any.
    pub(super) fn columns(&self) -> Option<usize> {
        (!self.squares.is_empty()).then_some(self.squares.len())
    }

    /// Counts some numbers of a sample, rounded to FP16. `columns` are as many each time.
    pub(super) fn add(&mut self, x: &[f32], columns: Option<Columns>) {
        let mut rounded = [f16::ZERO; CHUNK];
        if let Some(columns) = columns {
            self.squares.resize(columns.count, 0);
            self.sums.resize(columns.count, 0);
        }
        let (mut low, mut high) = self.extremes.unwrap_or((i64::MAX, i64::MIN));
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
                    self.sums[column] += i128::from(units);
                }
                at += 1;
                if at == inner {
                    (column, at) = (if column + 1 == count { 0 } else { column + 1 }, 0);
                }
            }
        }
        self.extremes = (low <= high).then_some((low, high));
    }

    /// Ends a sample.
    pub(super) fn end_sample(&mut self) {
        if let Some((low, high)) = self.extremes.take() {
            self.samples += 1;
            self.minima += i128::from(low);
            self.maxima += i128::from(high);
        }
    }

    /// What was counted in samples that are over.
    pub(super) fn finish(self) -> Statistics {
        let Self { tally, samples, minima, maxima, sums, squares, .. } = self;
        Statistics { counts: tally.counts(), samples, minima, maxima, sums, squares }
    }
}
