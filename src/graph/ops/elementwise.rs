//! One element at a time, or pairs of elements: arithmetic, comparisons, logic, `cast`, `select`.

use super::arguments::{Arguments, Inferred, one};
use super::dims::broadcast;
use super::domain::{BOOL, ELEMENT, FLOAT, MOVED, NUMBER, WEIGHT};
use super::{Default, Param, Row};
use crate::graph::{DataType, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", FLOAT);
const N: Param = Param::tensor("x", NUMBER);
const PAIR: &[Param] = &[N, Param::tensor("y", NUMBER)];
const FLAGS: &[Param] = &[Param::tensor("x", BOOL), Param::tensor("y", BOOL)];

/// `x` with an epsilon that keeps it from zero. The default is what coremltools assumes; in FP16 it
/// rounds to 0 for `log` and `rsqrt`.
const fn guarded(epsilon: f32) -> Param {
    Param::constant("epsilon", WEIGHT).or(Default::Float(epsilon))
}

pub(super) static ROWS: &[Row] = &[
    Row::new("abs", &[N], same),
    Row::new("acos", &[X], same),
    Row::new("add", PAIR, pair),
    Row::new("asin", &[X], same),
    Row::new("atan", &[X], same),
    Row::new("atanh", &[X], same),
    Row::new("cast", &[Param::tensor("x", MOVED), Param::word("dtype")], cast),
    Row::new("ceil", &[X], same),
    // From iOS 17 alpha must be below beta.
    Row::new("clip", &[X, Param::constant("alpha", FLOAT), Param::constant("beta", FLOAT)], clip),
    Row::new("cos", &[X], same),
    Row::new("cosh", &[X], same),
    Row::new("equal", PAIR, compare),
    Row::new("erf", &[X], same),
    Row::new("exp", &[X], same),
    Row::new("exp2", &[N], same),
    Row::new("floor", &[X], same),
    Row::new("floor_div", PAIR, pair),
    Row::new("greater", PAIR, compare),
    Row::new("greater_equal", PAIR, compare),
    Row::new("inverse", &[X, guarded(1e-4)], same),
    Row::new("less", PAIR, compare),
    Row::new("less_equal", PAIR, compare),
    Row::new("log", &[X, guarded(1e-45)], same),
    Row::new("logical_and", FLAGS, compare),
    Row::new("logical_not", &[Param::tensor("x", BOOL)], same),
    Row::new("logical_or", FLAGS, compare),
    Row::new("logical_xor", FLAGS, compare),
    Row::new("maximum", PAIR, pair),
    Row::new("minimum", PAIR, pair),
    // The sign of y, as in Python.
    Row::new("mod", PAIR, pair),
    Row::new("mul", PAIR, pair),
    Row::new("not_equal", PAIR, compare),
    Row::new("pow", PAIR, pair),
    // On INT32 the quotient is INT32.
    Row::new("real_div", PAIR, pair),
    // Half to even.
    Row::new("round", &[X], same),
    Row::new("rsqrt", &[X, guarded(1e-12)], same),
    Row::new(
        "select",
        &[Param::tensor("cond", BOOL), Param::tensor("a", ELEMENT), Param::tensor("b", ELEMENT)],
        select,
    ),
    Row::new("sign", &[N], same),
    Row::new("sin", &[X], same),
    Row::new("sinh", &[X], same),
    Row::new("sqrt", &[X], same),
    Row::new("square", &[N], same),
    Row::new("sub", PAIR, pair),
    Row::new("tan", &[X], same),
    Row::new("tanh", &[X], same),
    // max(x, alpha).
    Row::new("threshold", &[N, Param::constant("alpha", NUMBER)], same),
];

/// The type of `x`.
pub(super) fn same(args: &Arguments<'_>) -> Inferred {
    Ok(vec![args.tensor("x")?.clone().into()])
}

fn broadcasting(args: &Arguments<'_>) -> Result<TensorType, String> {
    let (x, y) = (args.tensor("x")?, args.tensor("y")?);
    let dims =
        broadcast(&x.dims, &y.dims).ok_or_else(|| format!("{x} and {y} do not broadcast"))?;
    Ok(TensorType::new(x.dtype, dims))
}

/// `x ∘ y`, broadcast.
fn pair(args: &Arguments<'_>) -> Inferred {
    Ok(vec![broadcasting(args)?.into()])
}

/// Flags of pairs.
fn compare(args: &Arguments<'_>) -> Inferred {
    one(DataType::Bool, broadcasting(args)?.dims)
}

/// `x` in another type, named by a word.
fn cast(args: &Arguments<'_>) -> Inferred {
    let known: &[&str] = match args.target {
        Target::Ios15 | Target::Ios16 => &["fp16", "fp32", "int32", "bool"],
        Target::Ios17 | Target::Ios18 | Target::Ios26 => {
            &["fp16", "fp32", "int32", "bool", "int8", "uint8", "int16", "uint16"]
        }
    };
    let word = args.word("dtype", known)?;
    let dtype = DataType::named(word).ok_or_else(|| format!("`dtype` is `{word}`"))?;
    one(dtype, args.tensor("x")?.dims.clone())
}

fn clip(args: &Arguments<'_>) -> Inferred {
    let (alpha, beta) = (args.float("alpha")?, args.float("beta")?);
    if args.target >= Target::Ios17 && alpha >= beta {
        return Err(format!("`alpha` is {alpha}, not below `beta`, which is {beta}"));
    }
    same(args)
}

/// `a` where `cond` is set, else `b`; the three broadcast.
fn select(args: &Arguments<'_>) -> Inferred {
    let (cond, a, b) = (args.tensor("cond")?, args.tensor("a")?, args.tensor("b")?);
    let dims = broadcast(&a.dims, &b.dims).and_then(|dims| broadcast(&cond.dims, &dims));
    one(a.dtype, dims.ok_or_else(|| format!("{cond}, {a} and {b} do not broadcast"))?)
}
