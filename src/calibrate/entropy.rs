//! The range by relative entropy.

/// Bins of |x|.
const BINS: usize = 2048;

/// Codes on one side of 0.
const LEVELS: usize = 128;

/// The threshold of |x| by TensorRT's calibration.
///
/// |x| is counted in 2,048 equal bins up to the largest; the first then counts as much as the second,
/// for zeros are exact in every grid, and those behind a ReLU would outweigh all else. For each number
/// of bins `i` from 128 on: `P` is the first `i` bins, with all that lies above added to the last of
/// them; `Q` the same bins without that, bin `j` joined into level `⌊128·j/i⌋` of 128 and spread evenly
/// over those bins of each level that are not empty. The threshold is `(i + ½)` bins, at most the
/// largest |x|, for the `i` of least `KL(P‖Q) = Σ P ln(P/Q)`, both scaled to 1; of equal ones the
/// largest, which cuts least. A `Q` that is empty where `P` is not is out of the question: the last never is.
///
/// # Source
/// S. Migacz, "8-bit Inference with TensorRT", GTC 2017; the first bin, the levels and the last of equals as in NVIDIA's
/// pytorch-quantization (`calib/histogram.py`).
pub(super) fn threshold(counts: &[(f64, u64)]) -> f64 {
    let most = counts.iter().fold(0.0, |most: f64, (x, _)| most.max(x.abs()));
    if most == 0.0 {
        return 0.0;
    }
    let mut bins = vec![0.0; BINS];
    for &(x, n) in counts {
        let bin = (x.abs() / most * BINS as f64) as usize;
        bins[bin.min(BINS - 1)] += n as f64;
    }
    bins[0] = bins[1];
    let total: f64 = bins.iter().sum();
    let (mut best, mut least) = (BINS, f64::INFINITY);
    let mut above = total - bins[..LEVELS].iter().sum::<f64>();
    for i in LEVELS..=BINS {
        if i > LEVELS {
            above -= bins[i - 1];
        }
        let divergence = divergence(&bins[..i], above, total);
        if divergence <= least {
            (best, least) = (i, divergence);
        }
    }
    ((best as f64 + 0.5) * most / BINS as f64).min(most)
}

/// `KL(P‖Q)` of these bins and so much above them.
fn divergence(bins: &[f64], above: f64, total: f64) -> f64 {
    let last = bins.len() - 1;
    if above > 0.0 && bins[last] == 0.0 {
        return f64::INFINITY;
    }
    let inside = total - above;
    let mut sum = 0.0;
    for level in 0..LEVELS {
        let [start, end] = [level, level + 1].map(|level| (level * bins.len()).div_ceil(LEVELS));
        let bins = &bins[start..end];
        let filled = bins.iter().filter(|&&n| n > 0.0).count();
        let q = bins.iter().sum::<f64>() / filled.max(1) as f64 / inside;
        for (place, &n) in (start..).zip(bins) {
            let p = (if place == last { n + above } else { n }) / total;
            if p > 0.0 {
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}
