//! Sorting and running sums.

use super::arguments::{Arguments, Inferred, one, require};
use super::domain::{GATHERED, NUMBER, TOP};
use super::elementwise::same;
use super::{Default, Param, Row};
use crate::graph::{DataType, Dim, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", NUMBER);

pub(super) static ROWS: &[Row] = &[
    Row::new(
        "argsort",
        &[X, Param::int("axis").or(Default::Int(-1)), Param::flag("ascending", false)],
        argsort,
    ),
    // Exclusive: each sum is without its own element.
    Row::new(
        "cumsum",
        &[
            X,
            Param::int("axis").or(Default::Int(0)),
            Param::flag("exclusive", false),
            Param::flag("reverse", false),
        ],
        cumsum,
    ),
    // Values and, unless they are not wanted, places.
    Row::new(
        "topk",
        &[
            Param::tensor("x", GATHERED),
            Param::constant("k", TOP).or(Default::Int(1)),
            Param::int("axis").or(Default::Int(-1)),
            Param::flag("ascending", false),
            Param::flag("sort", true).since(Target::Ios16),
            Param::flag("return_indices", true).since(Target::Ios16),
            Param::word("output_indices_dtype").or(Default::Text("int32")).since(Target::Ios17),
        ],
        topk,
    ),
];

fn argsort(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    args.axis("axis", x.rank())?;
    one(DataType::Int32, x.dims.clone())
}

fn cumsum(args: &Arguments<'_>) -> Inferred {
    let (x, axis) = (args.tensor("x")?, args.int("axis")?);
    // Of the negative axes, only -1 is known.
    args.axis("axis", x.rank())?;
    require(axis >= -1, || format!("`axis` is {axis}, below -1"))?;
    same(args)
}

fn topk(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let (k, axis) = (args.size("k", 0)?, args.axis("axis", x.rank())?);
    let enough = x.dims[axis].size().is_none_or(|size| k <= size);
    require(enough, || format!("`k` is {k}, and `x` is {x}, axis {axis}"))?;
    let mut dims = x.dims.clone();
    dims[axis] = Dim::Fixed(k);
    let values = TensorType::new(x.dtype, dims.clone()).into();
    if !args.flag("return_indices")? {
        require(!args.has("output_indices_dtype"), || {
            "`output_indices_dtype` is there, and no indices are returned".to_owned()
        })?;
        return Ok(vec![values]);
    }
    let dtype = match args.word("output_indices_dtype", &["int32", "uint16"])? {
        "uint16" => DataType::UInt16,
        _ => DataType::Int32,
    };
    Ok(vec![values, TensorType::new(dtype, dims).into()])
}
