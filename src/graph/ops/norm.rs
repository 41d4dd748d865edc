//! Normalization: the shape and type of `x`. Variances are those of the population.

use super::arguments::{Arguments, Inferred, require};
use super::dims::may_equal;
use super::domain::{FLOAT, INT, WEIGHT};
use super::elementwise::same;
use super::{Default, Param, Row};
use crate::graph::Dim;

const X: Param = Param::tensor("x", FLOAT);
const GAMMA: Param = Param::constant("gamma", WEIGHT).or(Default::Absent);
const BETA: Param = Param::constant("beta", WEIGHT).or(Default::Absent);

const fn number(name: &'static str, default: f32) -> Param {
    Param::constant(name, WEIGHT).or(Default::Float(default))
}

pub(super) static ROWS: &[Row] = &[
    Row::new(
        "batch_norm",
        &[
            X,
            Param::constant("mean", WEIGHT),
            Param::constant("variance", WEIGHT),
            GAMMA,
            BETA,
            number("epsilon", 1e-5),
        ],
        batch_norm,
    ),
    Row::new("instance_norm", &[X, GAMMA, BETA, number("epsilon", 1e-5)], instance_norm),
    // x / √(Σ x² + epsilon) over the last three dimensions together.
    Row::new("l2_norm", &[X, number("epsilon", 1e-6)], l2_norm),
    Row::new(
        "layer_norm",
        &[
            X,
            Param::constant("axes", INT).or(Default::Absent),
            GAMMA,
            BETA,
            number("epsilon", 1e-5),
        ],
        layer_norm,
    ),
    // x / (k + alpha / size · Σ x² over `size` neighbouring channels)^beta.
    Row::new(
        "local_response_norm",
        &[X, Param::int("size"), number("alpha", 1e-4), number("beta", 0.75), number("k", 1.0)],
        local_response_norm,
    ),
];

/// `x` of one of these ranks, and each of the parameters that are there one number a channel.
fn channels(
    args: &Arguments<'_>,
    ranks: std::ops::RangeInclusive<usize>,
    params: &[&str],
) -> Inferred {
    let x = args.tensor("x")?;
    require(ranks.contains(&x.rank()), || {
        format!("`x` is {x}, not of rank {} to {}", ranks.start(), ranks.end())
    })?;
    let channels = x.dims.get(1).copied().unwrap_or(Dim::Fixed(1));
    for &param in params {
        let Some(vector) = args.optional(param) else { continue };
        let fits = matches!(vector.dims[..], [count] if count.may_equal(channels));
        require(fits, || format!("`{param}` is {vector} beside `x`, which is {x}"))?;
    }
    args.row.param("epsilon").map(|_| args.float("epsilon")).transpose()?;
    same(args)
}

fn batch_norm(args: &Arguments<'_>) -> Inferred {
    channels(args, 2..=5, &["mean", "variance", "gamma", "beta"])
}

fn instance_norm(args: &Arguments<'_>) -> Inferred {
    channels(args, 3..=4, &["gamma", "beta"])
}

fn l2_norm(args: &Arguments<'_>) -> Inferred {
    channels(args, 3..=5, &[])
}

fn local_response_norm(args: &Arguments<'_>) -> Inferred {
    args.size("size", 1)?;
    for number in ["alpha", "beta", "k"] {
        args.float(number)?;
    }
    channels(args, 3..=5, &[])
}

fn layer_norm(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axes = args.axes("axes", x.rank())?;
    let normalized: Vec<_> = axes.iter().map(|&axis| x.dims[axis]).collect();
    for param in ["gamma", "beta"] {
        let Some(scale) = args.optional(param) else { continue };
        require(may_equal(&scale.dims, &normalized), || {
            format!("`{param}` is {scale} for axes {axes:?} of `x`, which is {x}")
        })?;
    }
    args.float("epsilon")?;
    same(args)
}
