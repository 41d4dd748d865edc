//! How near the values of one program come to those of another.

use super::sqnr_db;

/// Sums over pairs of a value `x` and what stands for it, `y`.
///
/// Pairs that are not both finite enter no sum: equal ones (two infinities of one sign, two NaNs)
/// are right, others are counted in `broken`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closeness {
    /// Pairs.
    pub elements: u64,
    /// Σx².
    pub signal: f64,
    /// Σ(x − y)².
    pub noise: f64,
    /// Σy².
    pub decoded: f64,
    /// Σx·y.
    pub product: f64,
    /// max |x − y|.
    pub max_abs: f64,
    /// max |x|.
    pub largest: f64,
    /// Pairs of which only one is finite, or that are infinite in two ways.
    pub broken: u64,
}

impl Closeness {
    /// Compares `y` with `x`, element by element; `None` if they are not of one length.
    pub fn of(x: &[f32], y: &[f32]) -> Option<Self> {
        let mut sums = Self::default();
        (x.len() == y.len()).then(|| sums.add(x, y))?;
        Some(sums)
    }

    /// Adds pairs; what one side has more is left out.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        for (&x, &y) in x.iter().zip(y) {
            self.elements += 1;
            if !(x.is_finite() && y.is_finite()) {
                self.broken += u64::from(x != y && !(x.is_nan() && y.is_nan()));
                continue;
            }
            let (x, y) = (f64::from(x), f64::from(y));
            self.signal += x * x;
            self.noise += (x - y) * (x - y);
            self.decoded += y * y;
            self.product += x * y;
            self.max_abs = self.max_abs.max((x - y).abs());
            self.largest = self.largest.max(x.abs());
        }
    }

    /// Adds the sums of other pairs.
    pub fn merge(&mut self, other: &Self) {
        self.elements += other.elements;
        self.signal += other.signal;
        self.noise += other.noise;
        self.decoded += other.decoded;
        self.product += other.product;
        self.max_abs = self.max_abs.max(other.max_abs);
        self.largest = self.largest.max(other.largest);
        self.broken += other.broken;
    }

    /// `10 · log₁₀(Σx² / Σ(x − y)²)` in dB; `None` without a signal, infinity where nothing differs,
    /// and −infinity where a pair is broken.
    pub fn sqnr_db(&self) -> Option<f64> {
        match self.broken {
            0 => sqnr_db(self.signal, self.noise),
            _ => Some(f64::NEG_INFINITY),
        }
    }

    /// `Σx·y / √(Σx² · Σy²)`; where one side is zero, 1 if both are, else 0.
    pub fn cosine(&self) -> f64 {
        if self.signal == 0.0 || self.decoded == 0.0 {
            return if self.signal == self.decoded { 1.0 } else { 0.0 };
        }
        (self.product / (self.signal.sqrt() * self.decoded.sqrt())).clamp(-1.0, 1.0)
    }

    /// `max |x − y| / max |x|`: 0 where nothing differs, infinity where a pair is broken or x is zero
    /// and y is not.
    pub fn relative(&self) -> f64 {
        match self.max_abs {
            _ if self.broken > 0 => f64::INFINITY,
            0.0 => 0.0,
            max_abs => max_abs / self.largest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_follow_their_formulas() {
        let c = Closeness::of(&[3.0, -4.0, 0.0, 12.0], &[3.5, -4.0, 0.0, 11.5]).unwrap();
        assert_eq!(
            (c.elements, c.signal, c.noise, c.max_abs, c.largest),
            (4, 169.0, 0.5, 0.5, 12.0)
        );
        assert!((c.sqnr_db().unwrap() - 10.0 * (169.0f64 / 0.5).log10()).abs() < 1e-12);
        let dot = 3.0 * 3.5 + 16.0 + 12.0 * 11.5;
        assert!((c.cosine() - dot / (169.0f64 * c.decoded).sqrt()).abs() < 1e-15);
        assert_eq!(c.relative(), 0.5 / 12.0);
        assert_eq!(Closeness::of(&[1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn what_is_not_finite_is_broken_unless_it_is_the_same() {
        let inf = f32::INFINITY;
        type Case<'a> = (&'a str, [f32; 2], [f32; 2], u64, Option<f64>);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            ("the same infinity",   [inf, 1.0],      [inf, 1.0],      0, Some(f64::INFINITY)),
            ("two NaNs",            [f32::NAN, 1.0], [f32::NAN, 1.0], 0, Some(f64::INFINITY)),
            ("an overflow",         [1e5, 1.0],      [inf, 1.0],      1, Some(f64::NEG_INFINITY)),
            ("the other infinity",  [inf, 1.0],      [-inf, 1.0],     1, Some(f64::NEG_INFINITY)),
            ("a NaN for a number",  [2.0, 1.0],      [f32::NAN, 1.0], 1, Some(f64::NEG_INFINITY)),
            ("zeros",               [0.0, 0.0],      [0.0, 0.0],      0, None),
        ];
        for (name, x, y, broken, sqnr) in cases {
            let c = Closeness::of(x, y).unwrap();
            assert_eq!((c.broken, c.sqnr_db()), (*broken, *sqnr), "{name}");
            assert_eq!(c.relative().is_infinite(), *broken > 0, "{name}");
        }
    }

    #[test]
    fn pieces_merge_to_the_whole() {
        let (x, y) = ([1.0, -2.0, 3.0, 1e4], [1.5, -2.0, f32::NAN, 9e3]);
        let mut merged = Closeness::of(&x[..2], &y[..2]).unwrap();
        merged.merge(&Closeness::of(&x[2..], &y[2..]).unwrap());
        assert_eq!(Some(merged), Closeness::of(&x, &y));
    }
}
