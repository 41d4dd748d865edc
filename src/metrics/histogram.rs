//! A histogram of signed errors whose range finds itself.

/// 64 equal bins over `[−R, R)`, `R` the smallest power of two above every |error| so far.
///
/// Bin `i` holds the errors in `[(i − 32) · R/32, (i − 31) · R/32)`. Doubling `R` joins the bins in
/// pairs, and every old bin lies wholly in one new bin: so the outcome depends on the errors alone,
/// neither on their order nor on how they were cut into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorHistogram {
    exponent: i32,
    bins: [u64; Self::BINS],
}

/// Errors of 2⁻¹⁰⁰ and below share the two middle bins; no FP16 error is so small.
const LOWEST: i32 = -100;

impl Default for ErrorHistogram {
    fn default() -> Self {
        Self { exponent: LOWEST, bins: [0; Self::BINS] }
    }
}

impl ErrorHistogram {
    /// The number of bins.
    pub const BINS: usize = 64;

    /// The counts, from the most negative errors to the most positive.
    pub fn bins(&self) -> &[u64; Self::BINS] {
        &self.bins
    }

    /// `R`: the bins cover `[−R, R)`.
    pub fn range(&self) -> f64 {
        2f64.powi(self.exponent)
    }

    /// The number of errors counted.
    pub fn total(&self) -> u64 {
        self.bins.iter().sum()
    }

    /// Counts `count` errors of the same value, which is finite.
    pub fn add(&mut self, error: f32, count: u64) {
        if count > 0 {
            self.cover(error.abs());
            self.bins[usize::from(bin(error, self.bins_per_unit()))] += count;
        }
    }

    /// Counts each error once.
    pub fn add_all(&mut self, errors: &[f32]) {
        self.cover(errors.iter().fold(0.0, |m, e| if e.abs() > m { e.abs() } else { m }));
        let per_unit = self.bins_per_unit();
        let mut places = [0u8; 4096];
        for errors in errors.chunks(places.len()) {
            let places = &mut places[..errors.len()];
            for (place, &e) in places.iter_mut().zip(errors) {
                *place = bin(e, per_unit);
            }
            count_bytes(places, &mut self.bins);
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.exponent <= self.exponent {
            self.add_folded(other.clone());
        } else {
            let narrow = std::mem::replace(self, other.clone());
            self.add_folded(narrow);
        }
    }

    fn add_folded(&mut self, mut narrow: Self) {
        narrow.fold_to(self.exponent);
        for (count, more) in self.bins.iter_mut().zip(narrow.bins) {
            *count += more;
        }
    }

    /// Widens the range until it holds an error of this magnitude.
    fn cover(&mut self, magnitude: f32) {
        debug_assert!(magnitude.is_finite());
        // 2 to this is the next power of two above a normal number.
        let above = (magnitude.to_bits() >> 23) as i32 - 126;
        self.fold_to(self.exponent.max(above));
    }

    fn fold_to(&mut self, exponent: i32) {
        // After six doublings only the two middle bins are left, and more change nothing.
        for _ in 0..(exponent - self.exponent).min(6) {
            let mut wide = [0; Self::BINS];
            for (i, &count) in self.bins.iter().enumerate() {
                wide[16 + i / 2] += count;
            }
            self.bins = wide;
        }
        self.exponent = exponent;
    }

    /// 32 / R: a power of two that f32 holds, as `R` is at least 2⁻¹⁰⁰.
    fn bins_per_unit(&self) -> f32 {
        (32.0 / self.range()) as f32
    }
}

/// The bin of an error within the range. Scaling by a power of two is exact, so bins of different
/// widths nest exactly.
fn bin(error: f32, per_unit: f32) -> u8 {
    let scaled = error * per_unit;
    // The floor, without a call to it. Adding 32 first would round.
    let towards_zero = scaled as i32;
    (towards_zero - i32::from(towards_zero as f32 > scaled) + 32) as u8
}

/// Counts bytes, each below `N`. Equal neighbours would wait for each other's sum: four tables take
/// turns.
pub(super) fn count_bytes<const N: usize>(bytes: &[u8], counts: &mut [u64; N]) {
    let mut tables = [[0u32; N]; 4];
    // Each table holds at most a quarter of the bytes, which is less than 2³².
    for bytes in bytes.chunks(1 << 30) {
        let (fours, rest) = bytes.as_chunks::<4>();
        for four in fours {
            for (table, &byte) in tables.iter_mut().zip(four) {
                table[usize::from(byte)] += 1;
            }
        }
        for &byte in rest {
            tables[0][usize::from(byte)] += 1;
        }
        for table in &mut tables {
            for (count, more) in counts.iter_mut().zip(std::mem::replace(table, [0; N])) {
                *count += u64::from(more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(errors: &[f32]) -> ErrorHistogram {
        let mut h = ErrorHistogram::default();
        errors.iter().for_each(|&e| h.add(e, 1));
        h
    }

    #[test]
    fn each_error_falls_in_the_bin_that_holds_it() {
        type Case<'a> = (&'a str, &'a [f32], f64, &'a [(usize, u64)]);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            ("nothing",                       &[],                2f64.powi(-100), &[]),
            ("zero is the first bin upwards", &[0.0, -0.0],       2f64.powi(-100), &[(32, 2)]),
            ("R is above the largest error",  &[0.75],            1.0,             &[(56, 1)]),
            ("a power of two needs the next", &[1.0],             2.0,             &[(48, 1)]),
            ("signs are kept",                &[-0.75, 0.75],     1.0,             &[(8, 1), (56, 1)]),
            ("just below zero",               &[-1e-9, 0.75],     1.0,             &[(31, 1), (56, 1)]),
            ("errors beyond the least range", &[-1e-38, 1e-40],   2f64.powi(-100), &[(31, 1), (32, 1)]),
            ("a later, wider error folds",    &[0.5, -0.5, 40.0], 64.0,            &[(31, 1), (32, 1), (52, 1)]),
        ];
        for &(name, errors, range, filled) in cases {
            let h = of(errors);
            let got: Vec<_> = h.bins().iter().copied().enumerate().filter(|b| b.1 > 0).collect();
            assert_eq!((h.range(), &got[..]), (range, filled), "{name}");
        }
    }

    proptest! {
        #[test]
        fn order_and_pieces_do_not_matter(
            parts in prop::collection::vec((-30i32..20, prop::collection::vec(-1f32..1.0, 0..20)), 0..6),
        ) {
            let scaled = |(k, part): &(i32, Vec<f32>)| -> Vec<f32> {
                part.iter().map(|e| e * 2f32.powi(*k)).collect()
            };
            let parts: Vec<Vec<f32>> = parts.iter().map(scaled).collect();
            let all = parts.concat();
            let mut merged = ErrorHistogram::default();
            parts.iter().for_each(|p| merged.merge(&of(p)));
            let mut reversed = ErrorHistogram::default();
            parts.iter().rev().for_each(|p| reversed.merge(&of(p)));
            let mut at_once = ErrorHistogram::default();
            at_once.add_all(&all);
            prop_assert_eq!(&merged, &of(&all));
            prop_assert_eq!(&reversed, &merged);
            prop_assert_eq!(&at_once, &merged);
            prop_assert_eq!(merged.total(), all.len() as u64);
            for e in all {
                prop_assert!(f64::from(e.abs()) < merged.range());
            }
        }
    }
}
