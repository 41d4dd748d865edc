//! Tensors that are made from sizes, and padding.

use super::arguments::{Arguments, Inferred, listed, on_axis, one, require};
use super::dims::{fixed, map};
use super::domain::{ELEMENT, ELEMENT_U, FLOAT, INT, NUMBER};
use super::elementwise::same;
use super::{Default, Param, Row};
use crate::graph::{Constant, DataType, Dim};
use crate::target::Target;

pub(super) static ROWS: &[Row] = &[
    // Keeps `lower` diagonals below and `upper` above the main one; -1 keeps all.
    Row::new(
        "band_part",
        &[
            Param::tensor("x", ELEMENT),
            Param::int("lower").or(Default::Int(-1)),
            Param::int("upper").or(Default::Int(-1)),
        ],
        band_part,
    ),
    Row::new(
        "fill",
        &[Param::tensor("shape", INT), Param::constant("value", ELEMENT).or(Default::Float(0.0))],
        fill,
    ),
    Row::new(
        "fill_like",
        &[
            Param::tensor("ref_tensor", ELEMENT),
            Param::constant("value", ELEMENT_U).or(Default::Float(0.0)),
        ],
        fill_like,
    )
    .since(Target::Ios16),
    // The places of what is not zero, [count, rank]: known only where x is.
    Row::new("non_zero", &[Param::tensor("x", ELEMENT)], non_zero),
    // The defaults are INT32 numbers.
    Row::new(
        "one_hot",
        &[
            Param::tensor("indices", INT),
            Param::tensor("one_hot_vector_size", INT),
            Param::int("axis").or(Default::Int(-1)),
            Param::constant("on_value", ELEMENT).or(Default::Int(1)),
            Param::constant("off_value", ELEMENT).or(Default::Int(0)),
        ],
        one_hot,
    ),
    // [before, after] for each of the last dimensions.
    Row::new(
        "pad",
        &[
            Param::tensor("x", FLOAT),
            Param::tensor("pad", INT),
            Param::word("mode").or(Default::Text("constant")),
            Param::constant("constant_val", FLOAT).or(Default::Float(0.0)),
        ],
        pad,
    ),
    Row::new(
        "range_1d",
        &[
            Param::tensor("end", NUMBER),
            Param::tensor("start", NUMBER),
            Param::tensor("step", NUMBER),
        ],
        range_1d,
    ),
];

fn band_part(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    require(x.rank() >= 2, || format!("`x` is {x}, no matrix"))?;
    args.int("lower")?;
    args.int("upper")?;
    same(args)
}

fn value_type(args: &Arguments<'_>) -> Result<DataType, String> {
    let Some(value) = args.optional("value") else { return Ok(DataType::Float32) };
    require(value.rank() == 0, || format!("`value` is {value}, not one number"))?;
    Ok(value.dtype)
}

fn fill(args: &Arguments<'_>) -> Inferred {
    let (shape, dtype) = (args.tensor("shape")?, value_type(args)?);
    let [Dim::Fixed(rank @ 0..=8)] = shape.dims[..] else {
        return Err(format!("`shape` is {shape}, not up to 8 numbers"));
    };
    let Some(sizes) = args.ints("shape", 0)? else {
        return one(dtype, vec![Dim::Flexible; rank]);
    };
    let dims: Option<Vec<_>> = sizes.iter().map(|&size| fixed(size.into())).collect();
    one(dtype, dims.ok_or_else(|| format!("`shape` is {}", listed(&sizes)))?)
}

fn fill_like(args: &Arguments<'_>) -> Inferred {
    one(value_type(args)?, args.tensor("ref_tensor")?.dims.clone())
}

fn non_zero(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let count = args.constant("x").and_then(Constant::count_non_zero);
    one(DataType::Int32, vec![count.map_or(Dim::Flexible, Dim::Fixed), Dim::Fixed(x.rank())])
}

fn one_hot(args: &Arguments<'_>) -> Inferred {
    let indices = args.tensor("indices")?;
    let axis = on_axis("axis", args.int("axis")?, indices.rank() + 1)?;
    let types = ["on_value", "off_value"]
        .map(|name| args.optional(name).map_or(DataType::Int32, |value| value.dtype));
    require(types[0] == types[1], || {
        format!("`on_value` is {} and `off_value` {}", types[0], types[1])
    })?;
    let depth = match args.varies("one_hot_vector_size") {
        true => Dim::Flexible,
        false => Dim::Fixed(args.size("one_hot_vector_size", 0)?),
    };
    let mut dims = indices.dims.clone();
    dims.insert(axis, depth);
    one(types[0], dims)
}

fn pad(args: &Arguments<'_>) -> Inferred {
    let (x, ty) = (args.tensor("x")?, args.tensor("pad")?);
    args.word("mode", &["constant", "reflect", "replicate"])?;
    args.float("constant_val")?;
    let rank = x.rank();
    let Some(pad) = args.ints("pad", 0)? else {
        args.per_axis("pad", 2 * rank)?;
        return one(x.dtype, vec![Dim::Flexible; rank]);
    };
    let refused = || format!("`pad` is {}, and `x` is {x}", listed(&pad));
    let first = rank.checked_sub(pad.len() / 2).ok_or_else(refused)?;
    require(ty.rank() == 1 && pad.len() % 2 == 0 && pad.iter().all(|&n| n >= 0), refused)?;
    let mut dims = x.dims.clone();
    for (dim, pair) in dims[first..].iter_mut().zip(pad.chunks_exact(2)) {
        let sum = i128::from(pair[0]) + i128::from(pair[1]);
        *dim = map(*dim, |size| size.checked_add(sum)).ok_or_else(refused)?;
    }
    one(x.dtype, dims)
}

/// `start, start + step, …` below `end`.
fn range_1d(args: &Arguments<'_>) -> Inferred {
    let names = ["start", "end", "step"];
    let start = args.tensor("start")?;
    for name in names {
        args.of_rank(name, 0)?;
    }
    if names.iter().any(|name| args.varies(name)) {
        return one(start.dtype, vec![Dim::Flexible]);
    }
    let count = if start.dtype == DataType::Int32 {
        let [start, end, step] = [args.int("start")?, args.int("end")?, args.int("step")?];
        let span = i128::from(end) - i128::from(start);
        // Rounded up, whichever way the steps go.
        let step = i128::from(step);
        (step != 0).then(|| (span * step.signum() + step.abs() - 1).div_euclid(step.abs()))
    } else {
        let [start, end, step] = [args.float("start")?, args.float("end")?, args.float("step")?];
        let steps = ((end - start) / step).ceil();
        steps.is_finite().then_some(steps as i128)
    };
    let count = count.and_then(fixed);
    let refused = || "`end` cannot be reached from `start` by `step`".to_owned();
    one(start.dtype, vec![count.ok_or_else(refused)?])
}
