//! The squared error of a grid, and the range where it is least.

use super::{Grid, Range, Symmetry};

/// Shrink factors of an octave that the search tries.
const STEPS: i32 = 16;

/// Octaves that it goes down: activations of language models have been seen at a thousand times the
/// size of all others.
const OCTAVES: i32 = 10;

/// Rounds over the two ends of an asymmetric range: each can only lower the error, and mostly the second
/// changes nothing.
const ROUNDS: usize = 4;

/// Sums over the numbers up to each, ascending: of 1, x and x², each as often as it occurred.
#[derive(Clone, Debug)]
pub struct Moments {
    numbers: Vec<f64>,
    /// One more than there are numbers, the first 0.
    sums: Vec<[f64; 3]>,
}

impl Moments {
    /// Of numbers that ascend, with how often each occurred.
    pub fn of(counts: &[(f64, u64)]) -> Self {
        let mut sums = vec![[0.0; 3]];
        let mut sum = [0.0; 3];
        for &(x, n) in counts {
            let n = n as f64;
            sum = [sum[0] + n, sum[1] + n * x, sum[2] + n * x * x];
            sums.push(sum);
        }
        Self { numbers: counts.iter().map(|&(x, _)| x).collect(), sums }
    }

    /// `Σ(x − x̂)²`, where `x̂` is the nearest number of the grid.
    ///
    /// The numbers of one code lie between the middles to its neighbours'; on a middle, either gives the
    /// same error. So 256 searches take the place of a sum over all numbers.
    pub fn squared_error(&self, grid: Grid) -> f64 {
        let mut begin = 0;
        let mut error = 0.0;
        for code in -128..=127 {
            let end = match code {
                127 => self.numbers.len(),
                _ => {
                    let middle = (grid.value(code) + grid.value(code + 1)) / 2.0;
                    begin + self.numbers[begin..].partition_point(|&x| x <= middle)
                }
            };
            let value = grid.value(code);
            let [n, x, squares] = std::array::from_fn(|i| self.sums[end][i] - self.sums[begin][i]);
            error += squares - 2.0 * value * x + value * value * n;
            begin = end;
        }
        error.max(0.0)
    }

    /// `10 · log₁₀(Σx² / Σ(x − x̂)²)` in dB; infinite for no error, 0 for no numbers but 0.
    pub fn sqnr_db(&self, grid: Grid) -> f64 {
        let [_, _, signal] = self.sums[self.numbers.len()];
        if signal > 0.0 { 10.0 * (signal / self.squared_error(grid)).log10() } else { 0.0 }
    }

    /// The range of least squared error, among those whose ends are the extremes, shrunk by factors
    /// `2^(−k/16)` for `k` from 0 to 160; of equal ones the widest. An asymmetric range is found
    /// one end at a time, the upper first, until neither moves.
    pub(super) fn best(&self, full: Range, symmetry: Symmetry) -> Range {
        let factors = || (0..=STEPS * OCTAVES).map(|k| (-f64::from(k) / f64::from(STEPS)).exp2());
        let least = |candidates: &mut dyn Iterator<Item = Range>| {
            let errors = candidates.map(|r| (self.squared_error(Grid::of(r, symmetry)), r));
            errors.reduce(|best, next| if next.0 < best.0 { next } else { best }).map(|best| best.1)
        };
        if symmetry == Symmetry::Symmetric {
            let most = full.high.max(-full.low);
            let shrunk = |factor| Range { low: -most * factor, high: most * factor };
            return least(&mut factors().map(shrunk)).unwrap_or(full);
        }
        let full = Range { low: full.low.min(0.0), high: full.high.max(0.0) };
        let mut range = full;
        for _ in 0..ROUNDS {
            let before = range;
            let upper = |factor| Range { high: full.high * factor, ..range };
            range = least(&mut factors().map(upper)).unwrap_or(range);
            let lower = |factor| Range { low: full.low * factor, ..range };
            range = least(&mut factors().map(lower)).unwrap_or(range);
            if range == before {
                break;
            }
        }
        range
    }
}
