//! Integers between `quantize` and `dequantize`: each step as a short scalar function, which every
//! fast routine equals bit for bit.
//!
//! | item | what it is |
//! |---|---|
//! | [`Affine`] | what a code stands for: `x = scale · (code − zero_point)` |
//! | [`sum`] | a product of codes, exactly |
//! | [`Stage`] | from sums to codes, channel by channel: the fused output stage |
//!
//! # Beside the evaluation in f32
//! `Mode::F32` of the [reference](super::Reference) evaluates `dequantize → layer → quantize` number by
//! number: it rounds the layer's result v to f32 and then the quotient v / scale. What is said here
//! of equality is meant beside that.
//!
//! - **Movement** (reshape, transpose, slices, concat of one scale, max pools) of codes is exact: a
//!   code's number is an increasing function of it, and moving commutes with it.
//! - **Tables** are exact: their entries are the reference's own results.
//! - **The same scale twice** is exact: `(n · s) / s` is n within n · 2⁻²³ < ½ for |n| ≤ 255, as long
//!   as 255 · s is finite.
//! - **Clamps** are exact: `quantize` never falls, so the code of `clip(v, a, b)` is v's code
//!   between the codes of a and b.
//! - **Sums** are exact in i32; [`Stage`] then rounds four times. With t the exact result in steps of
//!   the output, p the product's part of it, b the bias's, and u = 2⁻²⁴, both evaluations are
//!   within u · (3|p| + |b| + 3|t|) of each other (and u · 2|p| more where a sum passes 2²⁴ or a scale
//!   is no FP16 number). So codes differ only where t lies as near as that to a tie, and never by more
//!   than one while that is below ½, that is for |p| below 2²⁰ steps. For results that fill the range
//!   this is one code in 10⁴ to 10⁵; of all-MiniLM-L6-v2, where p is small, one in 10⁶.
//! - **A function in the stage** (GELU, …) adds the error of its f32 form, 5·10⁻⁷ of the result.
//!
//! One such code is a whole step, which deep networks magnify: in all-MiniLM-L6-v2 one code in the fifth
//! of six layers moved a sentence's vector by 0.7 % of its largest element, two from the second layer on by
//! 7 %. That is the network's, not a backend's: `quantize validate` compares codes edge by edge, each fed
//! with the reference's codes.

mod stage;
#[cfg(test)]
mod tests;

pub use stage::{Function, Stage};

/// What a code stands for: `x = scale · (code − zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// One step; above 0.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i8,
}

impl Affine {
    /// `clamp(round(x / scale) + zero_point)`, half to even: MIL's `quantize`. NaN becomes the zero
    /// point.
    pub fn code(self, x: f32) -> i8 {
        let steps = (x / self.scale).round_ties_even();
        // NaN is 0 as an integer, and what is too large the largest.
        (steps as i64).saturating_add(self.zero_point.into()).clamp(-128, 127) as i8
    }

    /// `scale · (code − zero_point)`: MIL's `dequantize`.
    pub fn number(self, code: i8) -> f32 {
        self.scale * f32::from(i16::from(code) - i16::from(self.zero_point))
    }
}

/// `Σ (x − zero_point) · (w − offset)`, modulo 2³².
pub fn sum(x: &[i8], zero_point: i8, w: &[i8], offset: i8) -> i32 {
    let less = |code: i8, zero: i8| i32::from(code) - i32::from(zero);
    let products = x.iter().zip(w).map(|(&x, &w)| less(x, zero_point) * less(w, offset));
    products.fold(0, i32::wrapping_add)
}
