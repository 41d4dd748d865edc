//! Several tensors in one, and one in several.

use super::arguments::{Arguments, Inferred, listed, on_axis, one, require};
use super::dims::{divided, fixed, map};
use super::domain::{ANY, ELEMENT, INT};
use super::{Default, Kind, Param, Row};
use crate::graph::{Dim, TensorType};

/// Most results of one operation: a file's number must not make us write more.
const MOST_SPLITS: usize = 1 << 16;

const VALUES: Param = Param::tensor("values", ANY).of(Kind::Many);

pub(super) static ROWS: &[Row] = &[
    // Scalars become a vector. Interleaved: the first of each, the second of each, ...
    Row::new("concat", &[VALUES, Param::int("axis"), Param::flag("interleave", false)], concat),
    // One of num_splits and split_sizes; the sizes win.
    Row::new(
        "split",
        &[
            Param::tensor("x", ELEMENT),
            Param::int("num_splits").or(Default::Absent),
            Param::constant("split_sizes", INT).or(Default::Absent),
            Param::int("axis"),
        ],
        split,
    ),
    Row::new("stack", &[VALUES, Param::int("axis")], stack),
    Row::new("tile", &[Param::tensor("x", ELEMENT), Param::tensor("reps", INT)], tile),
];

/// The tensors, of one type and rank.
fn values<'a>(args: &Arguments<'a>) -> Result<Vec<&'a TensorType>, String> {
    let values: Vec<_> = args.many("values").filter_map(|bound| bound.ty.tensor()).collect();
    let first = *values.first().ok_or("`values` is missing")?;
    let other = values.iter().find(|v| v.dtype != first.dtype || v.rank() != first.rank());
    match other {
        Some(other) => Err(format!("`values` hold {first} and {other}")),
        None => Ok(values),
    }
}

/// What two dimensions that must be the same are.
fn agreed(a: Dim, b: Dim) -> Option<Dim> {
    a.may_equal(b).then_some(if a == Dim::Flexible { b } else { a })
}

fn sum(a: Dim, b: Dim) -> Option<Dim> {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_add(b).map(Dim::Fixed),
        (Dim::Flexible, _) | (_, Dim::Flexible) => Some(Dim::Flexible),
    }
}

fn concat(args: &Arguments<'_>) -> Inferred {
    let values = values(args)?;
    let interleave = args.flag("interleave")?;
    let first = values[0];
    if first.rank() == 0 {
        return one(first.dtype, vec![Dim::Fixed(values.len())]);
    }
    let along = args.axis("axis", first.rank())?;
    let mut dims = first.dims.clone();
    for value in &values[1..] {
        let mismatch = || format!("`values` hold {first} and {value}, joined along axis {along}");
        require(!interleave || first.dims[along].may_equal(value.dims[along]), mismatch)?;
        for (axis, (dim, &other)) in dims.iter_mut().zip(&value.dims).enumerate() {
            let joined = if axis == along { sum(*dim, other) } else { agreed(*dim, other) };
            *dim = joined.ok_or_else(mismatch)?;
        }
    }
    one(first.dtype, dims)
}

fn stack(args: &Arguments<'_>) -> Inferred {
    let values = values(args)?;
    let mut dims = values[0].dims.clone();
    for value in &values[1..] {
        for (dim, &other) in dims.iter_mut().zip(&value.dims) {
            let agreed = agreed(*dim, other);
            *dim = agreed.ok_or_else(|| format!("`values` hold {} and {value}", values[0]))?;
        }
    }
    let axis = on_axis("axis", args.int("axis")?, dims.len() + 1)?;
    dims.insert(axis, Dim::Fixed(values.len()));
    one(values[0].dtype, dims)
}

fn split(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axis = args.axis("axis", x.rank())?;
    let whole = x.dims[axis];
    let limit = |count: usize| {
        require(count <= MOST_SPLITS, || format!("{count} parts are more than {MOST_SPLITS}"))
    };
    let parts = if let Some(sizes) = args.ints("split_sizes", 0)? {
        limit(sizes.len())?;
        let parts: Option<Vec<_>> = sizes.iter().map(|&size| fixed(size.into())).collect();
        let sum = sizes.iter().map(|&size| i128::from(size)).sum();
        let fits = fixed(sum).is_some_and(|sum| sum.may_equal(whole));
        let stated = args.ints("num_splits", 0)?.is_none_or(|n| n == [sizes.len() as i64]);
        let parts = parts.filter(|_| fits && stated);
        parts.ok_or_else(|| format!("`split_sizes` are {}, and `x` is {x}", listed(&sizes)))?
    } else {
        let count = args.size("num_splits", 1)?;
        limit(count)?;
        let part = divided(whole, count);
        vec![part.ok_or_else(|| format!("`num_splits` is {count}, and `x` is {x}"))?; count]
    };
    let part = |size| {
        let mut dims = x.dims.clone();
        dims[axis] = size;
        TensorType::new(x.dtype, dims).into()
    };
    Ok(parts.into_iter().map(part).collect())
}

fn tile(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let Some(reps) = args.per_axis("reps", x.rank())? else {
        return one(x.dtype, vec![Dim::Flexible; x.rank()]);
    };
    let tiled = |(dim, &rep): (&Dim, &i64)| {
        map(*dim, |size| size.checked_mul(rep.into())).filter(|_| rep > 0)
    };
    let dims: Option<Vec<_>> = x.dims.iter().zip(&reps).map(tiled).collect();
    let dims = dims.filter(|_| x.rank() > 0);
    one(x.dtype, dims.ok_or_else(|| format!("`reps` is {}, and `x` is {x}", listed(&reps)))?)
}
