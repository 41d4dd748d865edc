//! Exponentials and their kin as short polynomials: loops over them become vector code, which calls
//! of the system's mathematics library would not.
//!
//! Every function states its error, measured against f64 over its whole range in the tests.

use std::f32::consts::LOG2_E;

/// eˣ, relative error below 2·10⁻⁷; 0 below −87.4 and infinite above 88.8.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; the series of eʳ up to r⁷ leaves less than 10⁻⁸. ln 2 is
/// split in two, the first with so few digits that n times it is exact (Cody and Waite, Software
/// Manual for the Elementary Functions, 1980).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2²³ leaves no room for a fraction: what stands there is the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let inside = if x > 88.8 { 88.8 } else { x };
    let inside = if inside < -87.4 { -87.4 } else { inside };
    let shifted = inside * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (inside - n * HIGH) - n * LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let series = p * (r * r) + r + 1.0;
    // 2ⁿ in two factors, for 2¹²⁸ has no bits of its own.
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = power >> 1;
    let two_to = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    let result = series * two_to(half) * two_to(power - half);
    let result = if x < -87.4 { 0.0 } else { result };
    if x.is_nan() { x } else { result }
}

/// 1 / (1 + e⁻ˣ), relative error below 4·10⁻⁷.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, relative error below 4·10⁻⁷: its series up to x¹³ near 0, by [`exp`]
/// elsewhere.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let p = 21844.0 / 6_081_075.0;
    let p = p * square - 1382.0 / 155_925.0;
    let p = p * square + 62.0 / 2835.0;
    let p = p * square - 17.0 / 315.0;
    let p = p * square + 2.0 / 15.0;
    let p = p * square - 1.0 / 3.0;
    let near = x + x * square * p;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.45 { near } else { far }
}

/// The error function, relative error below 5·10⁻⁷: its series up to x¹⁹ below 1; above, 1 − t·p(t)·
/// e^(−x²) with t = 1 / (1 + 0.3275911·x) (Abramowitz and Stegun, 7.1.26, absolute error 1.5·10⁻⁷).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    // (−1)ⁿ / (n! (2n + 1)), times 2/√π.
    let p = -1.0 / 6_894_720.0;
    let p = p * square + 1.0 / 685_440.0;
    let p = p * square - 1.0 / 75_600.0;
    let p = p * square + 1.0 / 9360.0;
    let p = p * square - 1.0 / 1320.0;
    let p = p * square + 1.0 / 216.0;
    let p = p * square - 1.0 / 42.0;
    let p = p * square + 1.0 / 10.0;
    let p = p * square - 1.0 / 3.0;
    let near = std::f32::consts::FRAC_2_SQRT_PI * (x + x * square * p);
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let p = 1.061_405_4;
    let p = p * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let far = (1.0 - p * t * exp(-square)).copysign(x);
    if size < 1.0 { near } else { far }
}

/// x · sigmoid(x).
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// x · Φ(x), by [`erf`].
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Its approximation by [`sigmoid`].
#[inline(always)]
pub(super) fn gelu_sigmoid(x: f32) -> f32 {
    x * sigmoid(1.702 * x)
}

/// Its approximation by [`tanh`].
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + tanh(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error over a sweep of f32 from −`end` to `end`.
    fn error(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, end: f32) -> f64 {
        let at = |i: i32| end * (i as f32 / 50_000.0).powi(3);
        let relative = |x: f32| {
            let want = exact(x.into());
            (f64::from(f(x)) - want).abs() / want.abs().max(1e-37)
        };
        (-50_000..=50_000).map(at).map(relative).fold(0.0, f64::max)
    }

    /// ∫ by its series, which converges everywhere.
    fn erf64(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn errors_are_as_stated() {
        assert!(error(exp, f64::exp, 87.0) < 2e-7);
        assert!(error(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 80.0) < 4e-7);
        assert!(error(tanh, f64::tanh, 20.0) < 4e-7);
        assert!(error(erf, erf64, 4.0) < 5e-7);
    }

    #[test]
    fn the_ends_are_exact() {
        #[rustfmt::skip]
        let cases: [(&str, f32, f32); 9] = [
            ("exp of much", exp(200.0), f32::INFINITY),
            ("exp of infinity", exp(f32::INFINITY), f32::INFINITY),
            ("exp of little", exp(-200.0), 0.0),
            ("exp of minus infinity", exp(f32::NEG_INFINITY), 0.0),
            ("sigmoid", sigmoid(f32::NEG_INFINITY), 0.0),
            ("tanh", tanh(f32::INFINITY), 1.0),
            ("tanh below", tanh(-100.0), -1.0),
            ("erf", erf(30.0), 1.0),
            ("erf below", erf(f32::NEG_INFINITY), -1.0),
        ];
        for (name, got, want) in cases {
            assert_eq!(got, want, "{name}");
        }
        assert!([exp, sigmoid, tanh, erf].iter().all(|f| f(f32::NAN).is_nan()));
        assert_eq!([exp(0.0), sigmoid(0.0), tanh(0.0), erf(0.0)], [1.0, 0.5, 0.0, 0.0]);
    }
}
