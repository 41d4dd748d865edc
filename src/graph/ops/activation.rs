//! Activations: the shape and type of `x`.

use super::arguments::{Arguments, Inferred, require};
use super::domain::{FLOAT, WEIGHT};
use super::elementwise::same;
use super::{Default, Param, Row};
use crate::graph::{Constant, Dim};

const X: Param = Param::tensor("x", FLOAT);
const ALPHA: Param = Param::constant("alpha", WEIGHT);
const BETA: Param = Param::constant("beta", WEIGHT);

pub(super) static ROWS: &[Row] = &[
    // min(leaky_relu(x, alpha), beta).
    Row::new("clamped_relu", &[X, ALPHA, BETA], scalars),
    // x, and alpha · (eˣ − 1) below 0.
    Row::new("elu", &[X, ALPHA], scalars),
    Row::new("gelu", &[X, Param::word("mode").or(Default::Text("EXACT"))], gelu),
    // x, and alpha · x below 0.
    Row::new("leaky_relu", &[X, ALPHA], scalars),
    // alpha · x + beta.
    Row::new("linear_activation", &[X, ALPHA, BETA], scalars),
    // As leaky_relu, an alpha for each channel.
    Row::new("prelu", &[X, ALPHA], prelu),
    Row::new("relu", &[X], same),
    Row::new("relu6", &[X], same),
    // alpha · tanh(beta · x).
    Row::new("scaled_tanh", &[X, ALPHA, BETA], scalars),
    Row::new("sigmoid", &[X], same),
    // alpha · x + beta, clipped to 0 and 1.
    Row::new("sigmoid_hard", &[X, ALPHA, BETA], scalars),
    Row::new("silu", &[X], same),
    Row::new("softmax", &[X, Param::int("axis").or(Default::Int(-1))], softmax),
    Row::new("softplus", &[X], same),
    // alpha · ln(1 + e^(beta · x)), an alpha and a beta for each channel.
    Row::new("softplus_parametric", &[X, ALPHA, BETA], softplus_parametric),
    // x / (1 + |x|).
    Row::new("softsign", &[X], same),
    // x where it is at least alpha, else 0.
    Row::new("thresholded_relu", &[X, ALPHA], scalars),
];

/// Parameters that are one number each.
fn scalars(args: &Arguments<'_>) -> Inferred {
    for name in ["alpha", "beta"].into_iter().filter(|name| args.has(name)) {
        args.float(name)?;
    }
    same(args)
}

fn gelu(args: &Arguments<'_>) -> Inferred {
    args.word("mode", &["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"])?;
    same(args)
}

fn softmax(args: &Arguments<'_>) -> Inferred {
    args.axis("axis", args.tensor("x")?.rank())?;
    same(args)
}

/// A vector with a number for each channel of `x`, which is its second dimension.
fn per_channel(args: &Arguments<'_>, name: &str) -> Result<(), String> {
    let (x, vector) = (args.tensor("x")?, args.tensor(name)?);
    let channels = x.dims.get(1).copied().unwrap_or(Dim::Fixed(1));
    let fits = matches!(vector.dims[..], [count] if count.may_equal(channels));
    require(fits, || format!("`{name}` is {vector} beside `x`, which is {x}"))
}

fn prelu(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    require((3..=5).contains(&x.rank()), || format!("`x` is {x}, not of rank 3 to 5"))?;
    per_channel(args, "alpha")?;
    // Core ML has a kernel with an alpha for each channel for images only.
    if let (3 | 5, Some(alpha)) = (x.rank(), args.constant("alpha").and_then(Constant::as_floats)) {
        let equal = alpha.iter().all(|a| (a - alpha[0]).abs() <= 1e-5);
        require(equal, || format!("`alpha` differs from channel to channel, and `x` is {x}"))?;
    }
    same(args)
}

fn softplus_parametric(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    require(x.rank() >= 3, || format!("`x` is {x}, not of rank 3 or more"))?;
    per_channel(args, "alpha")?;
    per_channel(args, "beta")?;
    same(args)
}
