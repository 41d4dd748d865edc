//! Reductions over axes.

use super::arguments::{Arguments, Inferred, one};
use super::domain::{INT, NUMBER};
use super::{Default, Param, Row};
use crate::graph::{DataType, Dim};
use crate::target::Target;

const X: Param = Param::tensor("x", NUMBER);
const KEEP: Param = Param::flag("keep_dims", false);
const AXES: &[Param] = &[X, Param::constant("axes", INT).or(Default::Absent), KEEP];
const AXIS: &[Param] = &[
    X,
    Param::int("axis").or(Default::Int(-1)),
    KEEP,
    Param::word("output_dtype").or(Default::Text("int32")).since(Target::Ios17),
];

pub(super) static ROWS: &[Row] = &[
    // The first of several.
    Row::new("reduce_argmax", AXIS, arg),
    Row::new("reduce_argmin", AXIS, arg),
    Row::new("reduce_l1_norm", AXES, reduce),
    Row::new("reduce_l2_norm", AXES, reduce),
    Row::new("reduce_log_sum", AXES, reduce),
    Row::new("reduce_log_sum_exp", AXES, reduce),
    Row::new("reduce_max", AXES, reduce),
    Row::new("reduce_mean", AXES, reduce),
    Row::new("reduce_min", AXES, reduce),
    Row::new("reduce_prod", AXES, reduce),
    Row::new("reduce_sum", AXES, reduce),
    Row::new("reduce_sum_square", AXES, reduce),
];

fn without(dims: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    let left = |(axis, &dim): (usize, &Dim)| match (axes.contains(&axis), keep) {
        (false, _) => Some(dim),
        (true, true) => Some(Dim::Fixed(1)),
        (true, false) => None,
    };
    dims.iter().enumerate().filter_map(left).collect()
}

/// Over `axes`, all by default, which are dropped or become 1.
fn reduce(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axes = args.axes("axes", x.rank())?;
    one(x.dtype, without(&x.dims, &axes, args.flag("keep_dims")?))
}

/// The place along one axis.
fn arg(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axis = args.axis("axis", x.rank())?;
    let dtype = match args.word("output_dtype", &["int32", "uint16"])? {
        "uint16" => DataType::UInt16,
        _ => DataType::Int32,
    };
    one(dtype, without(&x.dims, &[axis], args.flag("keep_dims")?))
}
