//! How much an error of a weight counts: by the energy of the input that it is multiplied with.
//!
//! A layer's output is off by `Σ (w − ŵ) · x`. Where inputs are not correlated, its expected square is
//! `Σ E[x²] · (w − ŵ)²`: each column of a weight counts as much as the mean square of its input.
//!
//! Importances are whole numbers, so that sums over the weights of equal value do not depend on who
//! adds them up.

use crate::tensor::Weights;
use std::ops::Range;

/// The largest importance: f32 holds all up to it, and a u64 sums of 2⁴⁰ weights.
const LARGEST: f64 = (1u32 << 24) as f64;

/// Added to the energy of each column: this share of the mean, as GPTQ adds it to the diagonal of its
/// Hessian. An input that was silent on the data of the calibration may speak on others.
const DAMPING: f64 = 0.01;

/// The importance of each column of a weight `[O, I, *taps]`, seen as a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Importance {
    /// `[groups, I · taps]`, each from 1 to [`LARGEST`].
    columns: Vec<u32>,
    cols: usize,
    /// Rows of a group of a convolution: all of them where there is one group.
    rows: usize,
}

impl Importance {
    /// From `Σx²` of each input channel, in any unit, for a weight of this shape. A convolution in `g`
    /// groups has `g · I` input channels; all taps of one count alike.
    ///
    /// `None` where the energies do not fit the shape, are no finite numbers, or are all zero.
    pub fn new(energies: &[f64], shape: &[usize]) -> Option<Self> {
        let &[outputs, inputs, ref taps @ ..] = shape else { return None };
        let taps = taps.iter().product();
        if inputs == 0 || energies.is_empty() || !energies.len().is_multiple_of(inputs) {
            return None;
        }
        let groups = energies.len() / inputs;
        if outputs == 0 || !outputs.is_multiple_of(groups) || taps == 0 {
            return None;
        }
        let sound = |&e: &f64| e.is_finite() && e >= 0.0;
        let mean = energies.iter().sum::<f64>() / energies.len() as f64;
        if !energies.iter().all(sound) || mean <= 0.0 || !mean.is_finite() {
            return None;
        }
        let damped = energies.iter().map(|e| e + DAMPING * mean);
        let largest = damped.clone().fold(0.0, f64::max);
        let whole = damped.map(|e| (e / largest * LARGEST).round_ties_even().max(1.0) as u32);
        let columns = whole.flat_map(|e| std::iter::repeat_n(e, taps)).collect();
        Some(Self { columns, cols: inputs * taps, rows: outputs / groups })
    }

    /// Whether it is one for this weight.
    pub(super) fn fits(&self, weights: &Weights) -> bool {
        let groups = self.columns.len() / self.cols;
        self.cols == weights.cols() && groups * self.rows == weights.rows()
    }

    /// The importances along one row.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        let group = row / self.rows;
        &self.columns[group * self.cols..(group + 1) * self.cols]
    }

    /// Calls `f` with each run of some elements (flat indices) that lie in one row: the elements, and
    /// their importances.
    pub(super) fn runs(&self, elements: Range<usize>, mut f: impl FnMut(Range<usize>, &[u32])) {
        let mut start = elements.start;
        while start < elements.end {
            let (row, col) = (start / self.cols, start % self.cols);
            let end = elements.end.min((row + 1) * self.cols);
            f(start..end, &self.row(row)[col..col + end - start]);
            start = end;
        }
    }
}

/// Importances as the lanes of the arithmetic take them: shares of the largest, exact.
pub(super) fn shares(importances: &[u32]) -> impl Iterator<Item = f32> {
    importances.iter().map(|&i| share(i))
}

/// One of them.
pub(super) fn share(importance: u32) -> f32 {
    importance as f32 / LARGEST as f32
}

#[cfg(test)]
mod tests;
