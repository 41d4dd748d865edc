//! How far quantized weights are from the weights they stand for, and what follows from it.
//!
//! These types hold sums; the measures that people read are derived from them. Sums of pieces are
//! merged in a fixed order, so that the same figures come out on any number of threads.
//!
//! | item | what it measures |
//! |---|---|
//! | [`Stats`], [`ErrorHistogram`] | weights, as they are quantized |
//! | [`Closeness`] | values of one program beside those of another |
//! | [`Divergence`] | distributions over classes, before and after |

mod closeness;
mod divergence;
mod histogram;

pub use closeness::Closeness;
pub use divergence::{Divergence, Rows, quantile};
pub use histogram::ErrorHistogram;

/// Error statistics of some weights `x` and of what they decode to, `x̂`.
///
/// `x̂` is the value that the stored parameters give, rounded to FP16 as every reader of the
/// package rounds it; `e = x − x̂`. A tensor's statistics are those of its pieces, [merged](Self::merge)
/// in row order.
///
/// Sums, the largest error and the clipped weights cover every weight. Of a large tensor only some
/// rows enter the counts of codes and the histogram of errors (see [`sample_stride`]): `counted`
/// says how many weights that were.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// The number of weights.
    pub weights: u64,
    /// Σx².
    pub signal: f64,
    /// Σe².
    pub noise: f64,
    /// Σx̂².
    pub decoded: f64,
    /// max |e|.
    pub max_error: f64,
    /// Weights beyond the range of the codes: rounding alone would have given a code that does not
    /// exist.
    pub clipped: u64,
    /// Σe² over the clipped weights, where |e| is the distance to the end of the range.
    pub clipped_energy: f64,
    /// Weights that entered `codes` and `errors`.
    pub counted: u64,
    /// How often each code occurs; a signed code at its two's complement, `code as u8`.
    pub codes: [u64; 256],
    /// The distribution of `e`.
    pub errors: ErrorHistogram,
    /// Where the Hessian of the inputs is known and used: `Σ e H eᵀ` over rows, the squared error of the
    /// layer's output, by rounding alone and as it is; else zeros.
    pub output: [f64; 2],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            weights: 0,
            signal: 0.0,
            noise: 0.0,
            decoded: 0.0,
            max_error: 0.0,
            clipped: 0,
            clipped_energy: 0.0,
            counted: 0,
            codes: [0; 256],
            errors: ErrorHistogram::default(),
            output: [0.0; 2],
        }
    }
}

impl Stats {
    /// Adds the statistics of the weights that follow. Integer members do not depend on how the
    /// weights were cut into pieces; sums of floating-point numbers do, in their last digits, so
    /// pieces are of a fixed size.
    pub fn merge(&mut self, next: &Self) {
        self.weights += next.weights;
        self.signal += next.signal;
        self.noise += next.noise;
        self.decoded += next.decoded;
        self.max_error = self.max_error.max(next.max_error);
        self.clipped += next.clipped;
        self.clipped_energy += next.clipped_energy;
        self.counted += next.counted;
        for (count, more) in self.codes.iter_mut().zip(&next.codes) {
            *count += more;
        }
        self.errors.merge(&next.errors);
        self.output[0] += next.output[0];
        self.output[1] += next.output[1];
    }

    /// Adds `count` weights of the same value that decode to the same value: the entry for those who
    /// quantize a histogram of values. Their codes are added by [`Self::add_code`].
    pub fn add_weighted(&mut self, value: f32, decoded: f32, count: u64) {
        let (x, d, n) = (f64::from(value), f64::from(decoded), count as f64);
        let e = x - d;
        self.weights += count;
        self.signal += x * x * n;
        self.noise += e * e * n;
        self.decoded += d * d * n;
        if count > 0 {
            self.max_error = self.max_error.max(e.abs());
        }
        self.counted += count;
        self.errors.add(e as f32, count);
    }

    /// Adds `count` occurrences of a code.
    pub fn add_code(&mut self, code: u8, count: u64) {
        self.codes[usize::from(code)] += count;
    }

    /// Adds one occurrence of each code.
    pub fn add_codes(&mut self, codes: &[u8]) {
        histogram::count_bytes(codes, &mut self.codes);
    }

    /// Counts the errors of weights in the histogram, and in `counted`; the sums are added
    /// elsewhere.
    pub fn add_errors(&mut self, errors: &[f32]) {
        self.counted += errors.len() as u64;
        self.errors.add_all(errors);
    }

    /// Signal to quantization noise, `10 · log₁₀(Σx² / Σe²)`, in dB.
    ///
    /// `None` where every weight is zero, for then there is no signal; infinity where no weight
    /// changed.
    pub fn sqnr_db(&self) -> Option<f64> {
        sqnr_db(self.signal, self.noise)
    }

    /// `√(Σe² / n)`; zero for no weights.
    pub fn rmse(&self) -> f64 {
        if self.weights == 0 { 0.0 } else { (self.noise / self.weights as f64).sqrt() }
    }

    /// `Σx·x̂ / √(Σx² · Σx̂²)`, with `2·Σx·x̂ = Σx² + Σx̂² − Σe²`.
    ///
    /// Where one side is zero the angle has no meaning: 1 if both are, else 0.
    pub fn cosine(&self) -> f64 {
        if self.signal == 0.0 || self.decoded == 0.0 {
            return if self.signal == self.decoded { 1.0 } else { 0.0 };
        }
        let product = 0.5 * (self.signal + self.decoded - self.noise);
        (product / (self.signal.sqrt() * self.decoded.sqrt())).clamp(-1.0, 1.0)
    }

    /// The share of weights beyond the range of the codes, 0 to 1.
    pub fn clipped_share(&self) -> f64 {
        if self.weights == 0 { 0.0 } else { self.clipped as f64 / self.weights as f64 }
    }

    /// The energy lost by clipping as a share of the signal's, Σe² over clipped weights / Σx².
    pub fn clipped_energy_share(&self) -> f64 {
        if self.signal == 0.0 { 0.0 } else { self.clipped_energy / self.signal }
    }

    /// The number of codes that occur among the counted weights.
    pub fn used_codes(&self) -> usize {
        self.codes.iter().filter(|&&n| n > 0).count()
    }

    /// The entropy of the codes of the counted weights, in bits a code: what an ideal coder would
    /// need.
    pub fn code_entropy_bits(&self) -> f64 {
        let total: u64 = self.codes.iter().sum();
        let bits = |&n: &u64| {
            let share = n as f64 / total as f64;
            share * -share.log2()
        };
        // 0.0 + …: the sum of no terms is −0.
        0.0 + self.codes.iter().filter(|&&n| n > 0).map(bits).sum::<f64>()
    }
}

/// `10 · log₁₀(signal / noise)` in dB; `None` without a signal, infinity without noise.
pub fn sqnr_db(signal: f64, noise: f64) -> Option<f64> {
    if signal == 0.0 {
        None
    } else if noise == 0.0 {
        Some(f64::INFINITY)
    } else {
        Some(10.0 * (signal / noise).log10())
    }
}

/// Which rows of a tensor of `weights` elements enter the counts of codes and the histogram of
/// errors: those whose index is a multiple of this. All of them up to 2¹⁹ weights, then as few as
/// keep about 2¹⁸ weights. It follows from the size alone, so that the counts are the same however
/// the rows are cut into pieces.
pub fn sample_stride(weights: usize) -> usize {
    (weights >> 18).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stats(pairs: &[(f32, f32)]) -> Stats {
        let mut stats = Stats::default();
        for &(x, d) in pairs {
            stats.add_weighted(x, d, 1);
        }
        stats
    }

    #[test]
    fn measures_follow_their_formulas() {
        let s = stats(&[(3.0, 3.5), (-4.0, -4.0), (0.0, 0.0), (12.0, 11.5)]);
        assert_eq!((s.weights, s.signal, s.noise, s.max_error), (4, 169.0, 0.5, 0.5));
        assert!((s.sqnr_db().unwrap() - 10.0 * (169.0f64 / 0.5).log10()).abs() < 1e-12);
        assert!((s.rmse() - 0.125f64.sqrt()).abs() < 1e-15);
        let dot = 3.0 * 3.5 + 16.0 + 12.0 * 11.5;
        assert!((s.cosine() - dot / (169.0f64 * s.decoded).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn silence_and_perfection_have_defined_outcomes() {
        type Case<'a> = (&'a str, &'a [(f32, f32)], Option<f64>, f64);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            ("no weights",                 &[],           None,                1.0),
            ("zeros that stay zero",       &[(0.0, 0.0)], None,                1.0),
            ("zeros that become noise",    &[(0.0, 1.0)], None,                0.0),
            ("weights that do not change", &[(2.0, 2.0)], Some(f64::INFINITY), 1.0),
            ("weights that vanish",        &[(2.0, 0.0)], Some(0.0),           0.0),
        ];
        for &(name, pairs, sqnr, cosine) in cases {
            let s = stats(pairs);
            assert_eq!((s.sqnr_db(), s.cosine()), (sqnr, cosine), "{name}");
            assert_eq!((s.clipped_share(), s.clipped_energy_share()), (0.0, 0.0), "{name}");
        }
        assert_eq!(Stats::default().rmse(), 0.0);
        assert!(Stats::default().code_entropy_bits().is_sign_positive());
    }

    #[test]
    fn entropy_counts_the_bits_that_codes_need() {
        let mut s = Stats::default();
        for code in 0..4 {
            s.add_code(code, 5);
        }
        assert_eq!((s.used_codes(), s.code_entropy_bits()), (4, 2.0));
        s.add_code(0, 15);
        assert_eq!(s.used_codes(), 4);
        assert!(s.code_entropy_bits() < 2.0);
    }

    #[test]
    fn a_count_is_so_many_single_weights() {
        let mut counted = Stats::default();
        counted.add_weighted(1.5, 1.25, 3);
        assert_eq!(counted, stats(&[(1.5, 1.25); 3]));
        counted.add_weighted(100.0, 0.0, 0);
        assert_eq!(counted, stats(&[(1.5, 1.25); 3]), "a value that does not occur adds nothing");
    }

    proptest! {
        #[test]
        fn pieces_merge_to_the_whole(
            pairs in prop::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..80), cut in 0usize..80,
        ) {
            let (a, b) = pairs.split_at(cut.min(pairs.len()));
            let mut merged = stats(a);
            merged.merge(&stats(b));
            let whole = stats(&pairs);
            prop_assert!((merged.noise - whole.noise).abs() <= 1e-12 * whole.noise);
            prop_assert_eq!(merged.max_error, whole.max_error);
            prop_assert_eq!(&merged.errors, &whole.errors);
        }
    }
}
