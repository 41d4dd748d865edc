//! The end of a classifier.

use super::arguments::{Arguments, Inferred, require};
use super::dims::product;
use super::domain::{ANY, FLOAT32};
use super::{Kind, Param, Row};
use crate::graph::{DataType, Dim, TensorType, ValueType};

pub(super) static ROWS: &[Row] = &[
    // The likeliest label, and the score of each.
    Row::new(
        "classify",
        &[Param::tensor("probabilities", FLOAT32), Param::tensor("classes", ANY).of(Kind::Labels)],
        classify,
    ),
];

fn classify(args: &Arguments<'_>) -> Inferred {
    let scores = args.tensor("probabilities")?;
    let Some(ValueType::Labels(dtype, count)) = args.get("classes").map(|bound| bound.ty) else {
        return Err("`classes` is missing".to_owned());
    };
    let fits = product(&scores.dims).is_some_and(|size| size.may_equal(Dim::Fixed(*count)));
    require(fits && matches!(dtype, DataType::String | DataType::Int64), || {
        format!("`classes` are {count} of {dtype}, and `probabilities` is {scores}")
    })?;
    Ok(vec![TensorType::fixed(*dtype, &[]).into(), ValueType::Scores(*dtype)])
}
