//! Activation functions.

use super::elementwise::{erf, largest, least, unary, zip};
use super::rows::each_row;
use super::{Arguments, One, Tensor, places};
use ndarray::ArrayD;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// max(x, 0); NaN stays.
pub(in super::super) fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// min(max(x, 0), 6).
pub(in super::super) fn relu6(x: f64) -> f64 {
    least(relu(x), 6.0)
}

/// 1 / (1 + e⁻ˣ).
pub(in super::super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// x · sigmoid(x).
pub(in super::super) fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// ln(1 + eˣ), without overflow.
pub(in super::super) fn softplus(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + relu(x)
}

/// x / (1 + |x|).
pub(in super::super) fn softsign(x: f64) -> f64 {
    x / (1.0 + x.abs())
}

/// EXACT: x/2 · (1 + erf(x/√2)). TANH_APPROXIMATION: x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).
/// SIGMOID_APPROXIMATION: x · sigmoid(1.702 x).
pub(in super::super) fn gelu(arguments: &Arguments<'_>) -> One {
    match arguments.text("mode")? {
        "EXACT" => unary(arguments, |x| 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))),
        "TANH_APPROXIMATION" => unary(arguments, |x| {
            let inner = FRAC_2_SQRT_PI / SQRT_2 * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }),
        "SIGMOID_APPROXIMATION" => unary(arguments, |x| x * sigmoid(1.702 * x)),
        mode => Err(format!("`mode` is `{mode}`")),
    }
}

/// x, below zero α · (eˣ − 1).
pub(in super::super) fn elu(arguments: &Arguments<'_>) -> One {
    let alpha = arguments.number("alpha")?;
    unary(arguments, |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
}

/// x, below zero α · x.
pub(in super::super) fn leaky_relu(arguments: &Arguments<'_>) -> One {
    let alpha = arguments.number("alpha")?;
    unary(arguments, |x| if x < 0.0 { alpha * x } else { x })
}

/// min(β, x), below zero min(β, α · x).
pub(in super::super) fn clamped_relu(arguments: &Arguments<'_>) -> One {
    let (alpha, beta) = (arguments.number("alpha")?, arguments.number("beta")?);
    unary(arguments, |x| least(if x < 0.0 { alpha * x } else { x }, beta))
}

/// x, below α zero.
pub(in super::super) fn thresholded_relu(arguments: &Arguments<'_>) -> One {
    let alpha = arguments.number("alpha")?;
    unary(arguments, |x| if x < alpha { 0.0 } else { x })
}

/// α · x + β.
pub(in super::super) fn linear_activation(arguments: &Arguments<'_>) -> One {
    let (alpha, beta) = (arguments.number("alpha")?, arguments.number("beta")?);
    unary(arguments, |x| alpha * x + beta)
}

/// α · tanh(β · x).
pub(in super::super) fn scaled_tanh(arguments: &Arguments<'_>) -> One {
    let (alpha, beta) = (arguments.number("alpha")?, arguments.number("beta")?);
    unary(arguments, |x| alpha * (beta * x).tanh())
}

/// min(max(α · x + β, 0), 1).
pub(in super::super) fn sigmoid_hard(arguments: &Arguments<'_>) -> One {
    let (alpha, beta) = (arguments.number("alpha")?, arguments.number("beta")?);
    unary(arguments, |x| least(largest(alpha * x + beta, 0.0), 1.0))
}

/// x, below zero α · x, with an α for each channel (axis 1).
pub(in super::super) fn prelu(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let alpha = per_channel(arguments, "alpha", x.ndim())?;
    let f = |&x: &f32, &alpha: &f32| if x < 0.0 { x * alpha } else { x };
    Ok(Tensor::float(arguments.tensor("x")?.dtype, zip(x, &alpha, f)?))
}

/// α · ln(1 + e^(β · x)), with α and β for each channel (axis 1).
pub(in super::super) fn softplus_parametric(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let alpha = per_channel(arguments, "alpha", x.ndim())?;
    let beta = per_channel(arguments, "beta", x.ndim())?;
    let soft = zip(x, &beta, |&x, &beta| softplus(f64::from(x) * f64::from(beta)))?;
    let y = zip(&soft, &alpha, |&soft, &alpha| (soft * f64::from(alpha)) as f32)?;
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y))
}

/// eˣ / Σ eˣ along `axis`.
pub(in super::super) fn softmax(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let axis = arguments.axis("axis", x.ndim())?;
    let y = each_row(x, &[axis], softmax_row)?;
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y))
}

/// eˣ / Σ eˣ; the largest is subtracted first, which changes nothing but the range.
pub(in super::super) fn softmax_row(row: &mut [f64]) {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

/// A vector of one number a channel, in a shape that broadcasts along axis 1.
pub(in super::super) fn per_channel(
    arguments: &Arguments<'_>,
    name: &str,
    rank: usize,
) -> Result<ArrayD<f32>, String> {
    let vector = arguments.float(name)?;
    let mut shape = vec![1; rank.max(2)];
    shape[1] = vector.len();
    places::array(&shape, places::flat(vector).into_owned())
}
