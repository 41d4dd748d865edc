//! The rows.

use super::{Default, Param, Row, infer};
use crate::target::Target;

const fn row(name: &'static str, params: &'static [Param], infer: super::Infer) -> Row {
    Row { name, since: Target::Ios16, params, infer }
}

/// Every operation that the graph knows, in alphabetical order.
pub static TABLE: &[Row] = &[
    row("add", &[Param::tensor("x"), Param::tensor("y")], infer::elementwise),
    row("cast", &[Param::tensor("x"), Param::constant("dtype")], infer::cast),
    row(
        "conv",
        &[
            Param::tensor("x"),
            Param::tensor("weight"),
            Param::constant("bias").or(Default::Absent),
            Param::constant("strides").or(Default::Each(1)),
            Param::constant("pad_type").or(Default::Text("valid")),
            Param::constant("pad").or(Default::Each(0)),
            Param::constant("dilations").or(Default::Each(1)),
            Param::constant("groups").or(Default::Int(1)),
        ],
        infer::conv,
    ),
    row(
        "gather",
        &[
            Param::tensor("x"),
            Param::tensor("indices"),
            Param::constant("axis").or(Default::Int(0)),
            Param::constant("batch_dims").or(Default::Int(0)),
            Param::constant("validate_indices").or(Default::Bool(false)).since(Target::Ios17),
        ],
        infer::gather,
    ),
    row(
        "linear",
        &[
            Param::tensor("x"),
            Param::constant("weight"),
            Param::constant("bias").or(Default::Absent),
        ],
        infer::linear,
    ),
    row(
        "matmul",
        &[
            Param::tensor("x"),
            Param::tensor("y"),
            Param::constant("transpose_x").or(Default::Bool(false)),
            Param::constant("transpose_y").or(Default::Bool(false)),
        ],
        infer::matmul,
    ),
    row("mul", &[Param::tensor("x"), Param::tensor("y")], infer::elementwise),
];
