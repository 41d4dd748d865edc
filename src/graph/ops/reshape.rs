//! The same elements in the same order under another shape.

use super::arguments::{Arguments, Inferred, listed, on_axis, one, require};
use super::dims::{self, fixed};
use super::domain::{ANY, BOOL, ELEMENT, INT, MOVED, SIZES};
use super::elementwise::same;
use super::{Default, Kind, Param, Row};
use crate::graph::{DataType, Dim, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", MOVED);

pub(super) static ROWS: &[Row] = &[
    Row::new("expand_dims", &[X, Param::constant("axes", INT)], expand_dims),
    // [product of the dimensions before the axis, product of the others].
    Row::new(
        "flatten2d",
        &[Param::tensor("x", ELEMENT), Param::int("axis").or(Default::Int(1))],
        flatten2d,
    ),
    Row::new("identity", &[Param::tensor("x", ANY).of(Kind::Any)], identity),
    // -1, once: what is left. 0: x's dimension in the same place, which before iOS 17 needs a shape of
    // x's rank; from iOS 17 places count from the end, and beyond x's rank it is 1.
    Row::new("reshape", &[X, Param::tensor("shape", SIZES)], reshape),
    // The shape is put together from parts of other tensors' shapes.
    Row::new(
        "reshape_like",
        &[
            X,
            Param::tensor("ref_tensors", ANY).of(Kind::Many),
            Param::tensor("begins", INT).of(Kind::Many),
            Param::tensor("ends", INT).of(Kind::Many),
            Param::tensor("end_masks", BOOL).of(Kind::Many),
        ],
        reshape_like,
    )
    .since(Target::Ios16),
    Row::new("shape", &[Param::tensor("x", ELEMENT)], shape),
    // Dimensions that are not 1 stay, whatever the axes say.
    Row::new("squeeze", &[X, Param::constant("axes", INT).or(Default::Absent)], squeeze),
];

fn identity(args: &Arguments<'_>) -> Inferred {
    match args.get("x") {
        Some(bound) => Ok(vec![bound.ty.clone()]),
        None => same(args),
    }
}

fn expand_dims(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let count = args.tensor("axes")?.dims.first().map_or(Some(1), |dim| dim.size());
    let count = count.filter(|&count| count <= 8).ok_or("`axes` are more than 8")?;
    let axes = args.axes("axes", x.rank() + count)?;
    let mut old = x.dims.iter().copied();
    let place = |axis| if axes.contains(&axis) { Some(Dim::Fixed(1)) } else { old.next() };
    one(x.dtype, (0..x.rank() + axes.len()).filter_map(place).collect())
}

fn squeeze(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axes = args.axes("axes", x.rank())?;
    let stays = |(axis, dim): &(usize, &Dim)| **dim != Dim::Fixed(1) || !axes.contains(axis);
    one(x.dtype, x.dims.iter().enumerate().filter(stays).map(|(_, &dim)| dim).collect())
}

fn flatten2d(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    // The axis may also stand behind the last dimension.
    let axis = args.int("axis")?;
    let axis = if axis == x.rank() as i64 { x.rank() } else { on_axis("axis", axis, x.rank())? };
    let halves = [dims::product(&x.dims[..axis]), dims::product(&x.dims[axis..])];
    let halves: Option<Vec<_>> = halves.into_iter().collect();
    one(x.dtype, halves.ok_or_else(|| format!("`x` is {x}: its size overflows"))?)
}

fn shape(args: &Arguments<'_>) -> Inferred {
    one(DataType::Int32, vec![Dim::Fixed(args.tensor("x")?.rank())])
}

fn reshape(args: &Arguments<'_>) -> Inferred {
    let (x, shape) = (args.tensor("x")?, args.tensor("shape")?);
    let [Dim::Fixed(rank)] = shape.dims[..] else {
        return Err(format!("`shape` is {shape}: the rank of the result is not known"));
    };
    require(rank <= 8, || format!("`shape` is {shape}: more than 8 dimensions"))?;
    let Some(wanted) = args.ints("shape", 0)? else {
        return one(x.dtype, vec![Dim::Flexible; rank]);
    };
    let refused = || format!("`shape` is {}, which `x`, {x}, cannot take", listed(&wanted));
    let kept = |place: usize| match args.target {
        Target::Ios15 | Target::Ios16 => (rank == x.rank()).then(|| x.dims[place]),
        Target::Ios17 | Target::Ios18 | Target::Ios26 => {
            let place = (place + x.rank()).checked_sub(rank);
            Some(place.map_or(Dim::Fixed(1), |place| x.dims[place]))
        }
    };
    let open = wanted.iter().position(|&size| size == -1);
    let size = |(place, &size): (usize, &i64)| match size {
        0 => kept(place),
        -1 if open == Some(place) => Some(Dim::Fixed(1)),
        size => fixed(size.into()),
    };
    let mut dims: Vec<_> =
        wanted.iter().enumerate().map(size).collect::<Option<_>>().ok_or_else(refused)?;
    let (before, after) = (dims::product(&x.dims), dims::product(&dims));
    match (before.ok_or_else(refused)?, after.ok_or_else(refused)?, open) {
        (Dim::Fixed(before), Dim::Fixed(after), Some(open)) => {
            let left = dims::divided(Dim::Fixed(before), after);
            dims[open] = left.ok_or_else(refused)?;
        }
        (_, _, Some(open)) => dims[open] = Dim::Flexible,
        (before, after, None) => require(before.may_equal(after), refused)?,
    }
    one(x.dtype, dims)
}

/// For each reference: its dimensions from `begin` to `end`, or to its last.
fn reshape_like(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let numbers = |name: &str| -> Result<Vec<i64>, String> {
        let number = |bound: &super::Bound<'_>| match bound.constant?.as_ints()?[..] {
            [number] => Some(number),
            _ => None,
        };
        let numbers: Option<Vec<_>> = args.many(name).map(number).collect();
        numbers.ok_or_else(|| format!("`{name}` are not constant numbers"))
    };
    let (begins, ends) = (numbers("begins")?, numbers("ends")?);
    let masks = args.many("end_masks").map(|bound| bound.constant?.as_bool());
    let masks: Option<Vec<_>> = masks.collect();
    let masks = masks.ok_or("`end_masks` are not constant flags")?;
    let references: Vec<_> = args.many("ref_tensors").filter_map(|b| b.ty.tensor()).collect();
    let count = references.len();
    require([begins.len(), ends.len(), masks.len()] == [count; 3], || {
        format!("`ref_tensors` are {count}; there must be as many begins, ends and end_masks")
    })?;
    let mut dims = Vec::new();
    for (i, reference) in references.iter().enumerate() {
        let end = if masks[i] { reference.rank() as i64 } else { ends[i] };
        dims.extend_from_slice(part(reference, begins[i], end));
    }
    require(!dims.contains(&Dim::Flexible), || "`ref_tensors` leave a size open".to_owned())?;
    let result = TensorType::new(x.dtype, dims);
    let sizes = dims::product(&x.dims).zip(dims::product(&result.dims));
    super::within_limits(&result)?;
    require(sizes.is_some_and(|(before, after)| before.may_equal(after)), || {
        format!("`x` is {x} and cannot become {result}")
    })?;
    Ok(vec![result.into()])
}

/// A range of dimensions as Python takes it: counted from either end, clipped, empty if backwards.
fn part(tensor: &TensorType, begin: i64, end: i64) -> &[Dim] {
    let rank = tensor.rank() as i64;
    let place = |n: i64| (if n < 0 { n.saturating_add(rank) } else { n }).clamp(0, rank) as usize;
    let (begin, end) = (place(begin), place(end));
    &tensor.dims[begin..end.max(begin)]
}
