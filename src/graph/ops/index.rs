//! Gathering and scattering by indices.
//!
//! Negative indices count from the end before iOS 17; from iOS 17 they are out of bounds, and what an
//! index out of bounds does is undefined unless `validate_indices` is set.

use super::arguments::{Arguments, Inferred, on_axis, one, require};
use super::dims::may_equal;
use super::domain::{GATHERED, INDICES, INT, NUMBER};
use super::{Default, Param, Row};
use crate::graph::{Constant, Dim, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", GATHERED);
const AT: Param = Param::tensor("indices", INDICES);
const AXIS: Param = Param::int("axis").or(Default::Int(0));
const BATCH: Param = Param::int("batch_dims").or(Default::Int(0)).since(Target::Ios16);
const VALIDATE: Param = Param::flag("validate_indices", false).since(Target::Ios17);
const DATA: Param = Param::tensor("data", NUMBER);
const INTO: Param = Param::tensor("indices", INT);
const UPDATES: Param = Param::tensor("updates", NUMBER);
const MODE: Param = Param::word("mode").or(Default::Text("add"));

pub(super) static ROWS: &[Row] = &[
    // Slices of x along an axis: x[.., indices, ..].
    Row::new("gather", &[X, AT, AXIS, BATCH, VALIDATE], gather),
    // Elements of x along an axis, indices in the result's shape.
    Row::new("gather_along_axis", &[X, AT, AXIS, VALIDATE], gather_along_axis),
    // The last dimension of the indices is a place in x's first dimensions.
    Row::new("gather_nd", &[X, AT, BATCH, VALIDATE], gather_nd),
    Row::new("scatter", &[DATA, INTO, UPDATES, AXIS, MODE, VALIDATE], scatter),
    Row::new(
        "scatter_along_axis",
        &[DATA, INTO, UPDATES, AXIS, MODE, VALIDATE],
        scatter_along_axis,
    ),
    Row::new("scatter_nd", &[DATA, INTO, UPDATES, MODE, VALIDATE], scatter_nd),
];

/// With `validate_indices`, constant indices must lie in `size`.
fn validate(args: &Arguments<'_>, size: Dim) -> Result<(), String> {
    if !args.flag("validate_indices")? {
        return Ok(());
    }
    let indices = args.constant("indices").and_then(Constant::as_ints);
    let (Some(indices), Some(size)) = (indices, size.size()) else { return Ok(()) };
    let outside = indices.iter().find(|&&i| usize::try_from(i).is_ok_and(|i| i >= size) || i < 0);
    match outside {
        Some(index) => Err(format!("`indices` hold {index}, outside of 0 to {size}")),
        None => Ok(()),
    }
}

/// How many first dimensions indices and data share.
fn batch(args: &Arguments<'_>, x: &TensorType, most: usize) -> Result<usize, String> {
    let indices = args.tensor("indices")?;
    let shared = args.size("batch_dims", 0)?;
    let most = most.min(indices.rank());
    let fits = shared <= most && may_equal(&x.dims[..shared], &indices.dims[..shared]);
    require(fits, || format!("`batch_dims` is {shared}, `x` {x} and `indices` {indices}"))?;
    Ok(shared)
}

fn gather(args: &Arguments<'_>) -> Inferred {
    let (x, indices) = (args.tensor("x")?, args.tensor("indices")?);
    let axis = args.axis("axis", x.rank())?;
    let shared = batch(args, x, axis)?;
    validate(args, x.dims[axis])?;
    one(x.dtype, [&x.dims[..axis], &indices.dims[shared..], &x.dims[axis + 1..]].concat())
}

/// Whether indices fit the data except along an axis.
fn beside(args: &Arguments<'_>, x: &TensorType) -> Result<usize, String> {
    let indices = args.tensor("indices")?;
    let axis = on_axis("axis", args.int("axis")?, x.rank())?;
    let mut dims = indices.dims.clone();
    if let Some(along) = dims.get_mut(axis) {
        *along = x.dims[axis];
    }
    require(may_equal(&dims, &x.dims), || {
        format!("`indices` is {indices} beside {x} along axis {axis}")
    })?;
    Ok(axis)
}

fn gather_along_axis(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axis = beside(args, x)?;
    validate(args, x.dims[axis])?;
    one(x.dtype, args.tensor("indices")?.dims.clone())
}

/// The dimensions that places `[.., D]` select from `x`, the first `shared` of which are common.
fn selected(args: &Arguments<'_>, x: &TensorType, shared: usize) -> Result<Vec<Dim>, String> {
    let indices = args.tensor("indices")?;
    let depth = indices.dims.last().and_then(|depth| depth.size());
    let place = depth.filter(|depth| *depth <= x.rank() - shared);
    let place = place.ok_or_else(|| format!("`indices` is {indices}, no places in {x}"))?;
    Ok([&indices.dims[..indices.rank() - 1], &x.dims[shared + place..]].concat())
}

fn gather_nd(args: &Arguments<'_>) -> Inferred {
    let (x, indices) = (args.tensor("x")?, args.tensor("indices")?);
    let shared = batch(args, x, x.rank().min(indices.rank().saturating_sub(1)))?;
    one(x.dtype, selected(args, x, shared)?)
}

/// The data's type, if the updates have this shape.
fn updated(args: &Arguments<'_>, wanted: &[Dim]) -> Inferred {
    args.word("mode", &["add", "div", "max", "min", "mul", "sub", "update"])?;
    let (data, updates) = (args.tensor("data")?, args.tensor("updates")?);
    require(may_equal(&updates.dims, wanted), || {
        let wanted = TensorType::new(data.dtype, wanted.to_vec());
        format!("`updates` is {updates}, not {wanted}")
    })?;
    Ok(vec![data.clone().into()])
}

fn scatter(args: &Arguments<'_>) -> Inferred {
    let (data, indices) = (args.tensor("data")?, args.tensor("indices")?);
    let axis = args.axis("axis", data.rank())?;
    validate(args, data.dims[axis])?;
    updated(args, &[&data.dims[..axis], &indices.dims, &data.dims[axis + 1..]].concat())
}

fn scatter_along_axis(args: &Arguments<'_>) -> Inferred {
    let data = args.tensor("data")?;
    let axis = beside(args, data)?;
    validate(args, data.dims[axis])?;
    updated(args, &args.tensor("indices")?.dims)
}

fn scatter_nd(args: &Arguments<'_>) -> Inferred {
    let data = args.tensor("data")?;
    updated(args, &selected(args, data, 0)?)
}
