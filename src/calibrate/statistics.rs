//! What is kept of one value.

use super::tally;
use half::f16;
use std::collections::BTreeMap;

/// Numbers that are counted of one value, and samples of all data: the sum of two overflows nothing, and
/// a machine needs years for so many.
pub(super) const MOST: u64 = 1 << 56;

/// Counts of one value, all of them integers.
///
/// A sample is what the data say: a text, a window of one, a row. Numbers that FP16 does not hold are
/// counted and left out of everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The FP16 numbers that occurred, by ascending bits, and how often.
    pub(super) counts: Vec<(u16, u64)>,
    /// Samples with a finite number.
    pub(super) samples: u64,
    /// Σ of the samples' least numbers, in units of 2⁻²⁴.
    pub(super) minima: i128,
    /// Σ of their largest.
    pub(super) maxima: i128,
    /// Σx of each column, in units of 2⁻²⁴; none of them in statistics that a file of form 1 is a part of.
    pub(super) sums: Vec<i128>,
    /// Σx² of each column, in units of 2⁻⁴⁸: a u128 takes 2⁴⁸ of the largest squares.
    pub(super) squares: Vec<u128>,
}

impl Statistics {
    /// How many numbers were counted.
    pub fn numbers(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// Adds the counts of other data; `None` for another number of columns and for sums beyond bounds.
    pub(super) fn merge(&mut self, other: &Self) -> Option<()> {
        if self.squares.is_empty() {
            self.squares.resize(other.squares.len(), 0);
            self.sums.resize(other.sums.len(), 0);
        }
        if !other.squares.is_empty() && self.squares.len() != other.squares.len() {
            return None;
        }
        let mut counts: BTreeMap<u16, u64> = self.counts.iter().copied().collect();
        for &(bits, more) in &other.counts {
            *counts.entry(bits).or_default() += more;
        }
        self.counts = counts.into_iter().collect();
        if self.numbers() > MOST {
            return None;
        }
        // A sample has a number: none of these overflows before.
        self.samples += other.samples;
        self.minima += other.minima;
        self.maxima += other.maxima;
        for (sum, more) in self.squares.iter_mut().zip(&other.squares) {
            *sum = sum.checked_add(*more)?;
        }
        if !other.squares.is_empty() {
            // The sum of a part would pass for that of the whole.
            self.sums.truncate(other.sums.len());
        }
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum = sum.checked_add(*more)?;
        }
        Some(())
    }

    /// The counts of several values as those of one, without columns.
    pub fn together<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        let mut one = Self::default();
        for part in all {
            for &(bits, more) in &part.counts {
                let count = counts.entry(bits).or_default();
                *count = count.saturating_add(more);
            }
            // A sample has a number, and there are fewer than 2⁵⁶ of each value.
            one.samples = one.samples.saturating_add(part.samples);
            one.minima = one.minima.saturating_add(part.minima);
            one.maxima = one.maxima.saturating_add(part.maxima);
        }
        one.counts = counts.into_iter().collect();
        one
    }

    /// The finite numbers that occurred, ascending, and how often.
    pub fn counts(&self) -> Vec<(f64, u64)> {
        let finite = self.counts.iter().filter(|(bits, _)| tally::is_finite(*bits));
        let numbers = finite.map(|&(bits, n)| (f16::from_bits(bits).to_f64(), n));
        let (positive, mut sorted): (Vec<_>, Vec<_>) = numbers.partition(|(x, _)| *x >= 0.0);
        // Bits of negative numbers ascend with their magnitude.
        sorted.reverse();
        sorted.extend(positive);
        sorted
    }

    /// Numbers that were NaN, or beyond ±65,504 once rounded.
    pub fn non_finite(&self) -> u64 {
        let beyond = self.counts.iter().filter(|(bits, _)| !tally::is_finite(*bits));
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

    /// Σx of each column, and how many numbers each has: as many as the others, where all are finite.
    /// `None` for a value that meets no weight, and where a part was counted without.
    pub fn sums(&self) -> Option<(Vec<f64>, f64)> {
        let finite = self.numbers() - self.non_finite();
        let numbers = finite as f64 / self.sums.len() as f64;
        let sums = self.sums.iter().map(|&sum| sum as f64 / f64::from(1 << 24));
        (!self.sums.is_empty()).then(|| (sums.collect(), numbers))
    }

    /// Σx² of each column; empty for a value that meets no weight.
    pub fn squares(&self) -> Vec<f64> {
        self.squares.iter().map(|&sum| sum as f64 / (1u64 << 48) as f64).collect()
    }
}
