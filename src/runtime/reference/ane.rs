//! Sums of products as the Neural Engine is reported to form them.
//!
//! | what | how | source |
//! |---|---|---|
//! | accumulator | Q15.16 fixed point: multiples of 2⁻¹⁶ | M6S |
//! | limit | a partial sum of magnitude ≥ 32768 makes the output infinite, whatever follows | M6S |
//! | start | the bias, which counts toward the limit | M6S |
//! | products | rounded to the grid, half away from zero; one whose factors' exponents sum to −17 or less vanishes | M6S |
//! | edges | FP16, 65504 the largest number; NaN becomes +∞ | M6S, GUIDE |
//!
//! M6S is the `numerics.md` of a study of the M4's and M6's engine; GUIDE is a guide to the engine of
//! the M1 to M5 families. **They disagree**: GUIDE (chapter 3) reports a wide accumulator of FP32's
//! class, with subnormals flushed on M1 and kept on M5, and such an engine would not overflow here.
//! Nobody has settled it. So the numbers of this mode are a warning, not a prediction: an output that
//! is finite here has room to spare on every engine that was reported.
//!
//! Partial sums are taken in the order of the reduction; the engine's own order is not known. Not
//! modelled: the INT8 path (INT32 accumulators, scale at the end), and tables for activation
//! functions.

use half::f16;
use ndarray::{Array2, ArrayView2};

/// 2¹⁶ steps to one.
const STEPS: f64 = 65536.0;

/// 32768 in steps.
const LIMIT: u64 = 1 << 31;

/// Products whose factors' exponents sum to this or less vanish.
const VANISHING: i32 = -17;

/// What an FP16 value holds once it leaves an operation: ties go away from zero, NaN becomes +∞.
pub(super) fn edge(x: f32) -> f32 {
    if x.is_nan() {
        return f32::INFINITY;
    }
    let even = f16::from_f32(x).to_f32();
    if even.abs() >= x.abs() {
        return even;
    }
    // `even` is nearer to zero. On a tie the neighbour further out is as near: 2x is their sum.
    let out = f16::from_bits(f16::from_f32(even).to_bits() + 1).to_f32();
    if f64::from(x) * 2.0 == f64::from(even) + f64::from(out) { out } else { even }
}

/// `start + a · b` for FP16 numbers, and how many of the outputs passed the limit on the way.
/// a `[M, K]`, b `[K, N]`, start `[M, N]`.
pub(super) fn product(
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    start: ArrayView2<'_, f32>,
) -> (Array2<f32>, u64) {
    let mut overflows = 0;
    let out = Array2::from_shape_fn(start.dim(), |(m, n)| {
        let sum =
            sum(start[[m, n]], a.row(m).into_iter().copied().zip(b.column(n).iter().copied()));
        overflows += u64::from(sum.is_err());
        sum.unwrap_or_else(|infinite| infinite)
    });
    (out, overflows)
}

/// `start + Σ a · b`; as an error, the infinity of the first partial sum that passes the limit.
fn sum(start: f32, factors: impl Iterator<Item = (f32, f32)>) -> Result<f32, f32> {
    let mut sum = within(steps(start.into()))?;
    for (a, b) in factors {
        if exponent(a).saturating_add(exponent(b)) > VANISHING {
            sum = within(sum.saturating_add(steps(f64::from(a) * f64::from(b))))?;
        }
    }
    Ok((sum as f64 / STEPS) as f32)
}

/// In steps, half away from zero; NaN counts as +∞, and infinities as the largest number of steps.
fn steps(x: f64) -> i64 {
    if x.is_nan() { i64::MAX } else { (x * STEPS).round() as i64 }
}

fn within(steps: i64) -> Result<i64, f32> {
    match steps.unsigned_abs() < LIMIT {
        true => Ok(steps),
        false => Err(if steps > 0 { f32::INFINITY } else { f32::NEG_INFINITY }),
    }
}

/// e of 2ᵉ ≤ |x| < 2ᵉ⁺¹; far below all others for zero.
fn exponent(x: f32) -> i32 {
    // FP16 numbers, subnormal ones included, are normal in f32.
    if x == 0.0 { -10_000 } else { (x.abs().to_bits() >> 23) as i32 - 127 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stop_at_the_limit_and_small_products_vanish() {
        let e = f32::exp2;
        type Case<'a> = (&'a str, f32, &'a [(f32, f32)], Result<f32, f32>);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            ("plain", 0.5, &[(1.5, 2.0), (-0.25, 1.0)], Ok(3.25)),
            ("a later product cannot bring an infinity back", 0.0, &[(256.0, 128.0), (-256.0, 128.0)], Err(f32::INFINITY)),
            ("the other order stays below the limit", 1.0, &[(-256.0, 127.0), (256.0, 128.0)], Ok(257.0)),
            ("both signs have a limit", 0.0, &[(-256.0, 128.0)], Err(f32::NEG_INFINITY)),
            ("one step below it", 32768.0 - e(-9.0), &[], Ok(32768.0 - e(-9.0))),
            ("the bias counts", 32768.0, &[(-256.0, 128.0)], Err(f32::INFINITY)),
            ("exponents −17 vanish though the product is above half a step", 0.0, &[(1.9 * e(-8.0), 1.9 * e(-9.0))], Ok(0.0)),
            ("exponents −16 are one step", 0.0, &[(e(-8.0), e(-8.0))], Ok(e(-16.0))),
            ("half a step goes away from zero", 0.0, &[(1.5 * e(-8.0), -e(-8.0))], Ok(-2.0 * e(-16.0))),
            ("NaN is infinite", 0.0, &[(f32::NAN, 1.0)], Err(f32::INFINITY)),
        ];
        for &(name, start, factors, want) in cases {
            assert_eq!(sum(start, factors.iter().copied()), want, "{name}");
        }
    }

    #[test]
    fn edges_are_fp16_with_ties_away_from_zero() {
        let step = f32::exp2(-10.0);
        let cases = [
            (1.0 + 0.5 * step, 1.0 + step),
            (-1.0 - 0.5 * step, -1.0 - step),
            (1.0 + 0.499 * step, 1.0),
            (1.0 + 1.5 * step, 1.0 + 2.0 * step),
            (65504.0, 65504.0),
            (65519.0, 65504.0),
            (65520.0, f32::INFINITY),
            (f32::NAN, f32::INFINITY),
            (f32::exp2(-25.0), f32::exp2(-24.0)),
            (0.0, 0.0),
        ];
        for (x, want) in cases {
            assert_eq!(edge(x), want, "{x}");
        }
    }
}
