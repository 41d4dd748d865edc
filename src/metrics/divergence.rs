//! How far the distributions that a model predicts move.

/// Kullback-Leibler divergences of rows, and how often the likeliest class stays the same: the
/// figures that language models are compared by.
///
/// `KL(p ‖ q) = Σ p · ln(p / q)` in nats, p from the source and q from the quantized model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Divergence {
    /// One KL a row.
    rows: Vec<f64>,
    /// Rows whose largest element stands in the same place.
    agree: u64,
}

/// What the rows of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// `p = softmax(x)`.
    Logits,
    /// `p = x`, each row a distribution.
    Probabilities,
}

impl Rows {
    /// What `x` is: rows of numbers that are not negative and whose sum is 1 within 1 % are
    /// probabilities.
    pub fn guess(x: &[f32], classes: usize) -> Self {
        let is_distribution = |row: &[f32]| {
            let sum: f32 = row.iter().sum();
            row.iter().all(|&p| p >= 0.0) && (sum - 1.0).abs() <= 0.01
        };
        match x.chunks_exact(classes.max(1)).all(is_distribution) {
            true => Self::Probabilities,
            false => Self::Logits,
        }
    }

    /// ln p of a row. A probability of zero counts as the smallest normal f32, as no softmax is zero.
    fn log_probabilities(self, row: &[f32]) -> Vec<f64> {
        let logs: Vec<f64> = match self {
            Self::Logits => row.iter().map(|&x| f64::from(x)).collect(),
            Self::Probabilities => {
                row.iter().map(|&p| f64::from(p.max(f32::MIN_POSITIVE)).ln()).collect()
            }
        };
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = most + logs.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
        logs.iter().map(|x| x - sum).collect()
    }
}

impl Divergence {
    /// Adds rows of `classes` elements each; a row that holds NaN or +infinity on either side has no
    /// distribution and counts as infinitely far.
    pub fn add(&mut self, kind: Rows, classes: usize, x: &[f32], y: &[f32]) {
        for (x, y) in x.chunks_exact(classes.max(1)).zip(y.chunks_exact(classes.max(1))) {
            let (p, q) = (kind.log_probabilities(x), kind.log_probabilities(y));
            // A class that is impossible (−infinity) adds nothing.
            let term = |(p, q): (&f64, &f64)| if p.exp() == 0.0 { 0.0 } else { p.exp() * (p - q) };
            let kl: f64 = p.iter().zip(&q).map(term).sum();
            self.rows.push(if kl.is_nan() { f64::INFINITY } else { kl.max(0.0) });
            let both = likeliest(x).zip(likeliest(y));
            self.agree += u64::from(both.is_some_and(|(x, y)| x == y));
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The mean KL in nats; 0 without rows.
    pub fn mean(&self) -> f64 {
        self.rows.iter().sum::<f64>() / self.rows.len().max(1) as f64
    }

    /// The KL that a share of the rows does not pass, by nearest rank: 0.99 for the 99th percentile,
    /// 1 for the largest.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.rows.clone();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, share)
    }

    /// The share of rows whose likeliest class is the same, 0 to 1; 1 without rows.
    pub fn top1(&self) -> f64 {
        if self.is_empty() { 1.0 } else { self.agree as f64 / self.rows.len() as f64 }
    }
}

/// The value that a share of sorted values does not pass, by nearest rank; 0 without values.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// The place of the first largest element; `None` where an element is NaN.
fn likeliest(row: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if x.is_nan() {
            return None;
        }
        if *x > row[best] {
            best = i;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_the_formula() {
        let mut d = Divergence::default();
        let (p, q) = ([0.5f32, 0.5], [0.25f32, 0.75]);
        d.add(Rows::guess(&p, 2), 2, &p, &q);
        let want = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((d.mean() - want).abs() < 1e-9);
        let logits = |p: [f32; 2]| p.map(|p| p.ln() + 3.0);
        let mut e = Divergence::default();
        e.add(Rows::Logits, 2, &logits(p), &logits(q));
        assert!((e.mean() - want).abs() < 1e-6, "a constant added to all logits changes nothing");
        assert_eq!(d.top1(), 0.0, "the first of two equal classes is the likeliest");
    }

    #[test]
    fn rows_are_counted_and_sorted() {
        let mut d = Divergence::default();
        let x = [[0.0, 1.0], [0.0, 2.0], [5.0, 0.0], [0.0, 3.0]].concat();
        let y = [[0.0, 1.0], [0.0, 2.0], [0.0, 5.0], [0.0, 3.5]].concat();
        d.add(Rows::guess(&x, 2), 2, &x, &y);
        assert_eq!((d.len(), d.top1()), (4, 0.75));
        assert_eq!(d.quantile(0.25), 0.0);
        assert!(d.quantile(1.0) > d.quantile(0.75) && d.quantile(0.75) > 0.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(Divergence::default().mean(), 0.0);
    }

    #[test]
    fn broken_rows_are_infinitely_far_and_masked_classes_are_not() {
        let mut d = Divergence::default();
        d.add(Rows::Logits, 2, &[0.0, 1.0], &[0.0, f32::NAN]);
        assert_eq!((d.mean(), d.top1()), (f64::INFINITY, 0.0));
        let mut d = Divergence::default();
        let masked = [f32::NEG_INFINITY, 1.0, 2.0];
        d.add(Rows::Logits, 3, &masked, &masked);
        assert_eq!(d.mean(), 0.0);
        assert_eq!(Rows::guess(&[0.2, 0.8, 1.0, 0.0], 2), Rows::Probabilities);
        assert_eq!(Rows::guess(&[0.2, 0.9, 1.0, 0.0], 2), Rows::Logits);
    }
}
