//! Parts of a tensor.

use super::arguments::{Arguments, Inferred, listed, one, require};
use super::dims::{fixed, map, may_equal};
use super::domain::{BOOL, MOVED, SIZES};
use super::elementwise::same;
use super::{Default, Param, Row};
use crate::graph::{Dim, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", MOVED);
const BEGIN: Param = Param::tensor("begin", SIZES);
const END: Param = Param::tensor("end", SIZES);
const STRIDE: Param = Param::constant("stride", SIZES).or(Default::Each(1));

/// Flags, one a dimension: none is set by default.
const fn mask(name: &'static str) -> Param {
    Param::constant(name, BOOL).or(Default::Absent)
}

const BEGIN_MASK: Param = mask("begin_mask");
const END_MASK: Param = mask("end_mask");
const SQUEEZE_MASK: Param = mask("squeeze_mask");

pub(super) static ROWS: &[Row] = &[
    // Vectors of x's rank. A mask takes the begin or end of the dimension; a squeezed dimension is the
    // one element at begin and goes.
    Row::new(
        "slice_by_index",
        &[X, BEGIN, END, STRIDE, BEGIN_MASK, END_MASK, SQUEEZE_MASK],
        slice_by_index,
    ),
    // A size of -1: all from begin on.
    Row::new("slice_by_size", &[X, BEGIN, Param::tensor("size", SIZES)], slice_by_size),
    // x with the part that slice_by_index would take replaced.
    Row::new(
        "slice_update",
        &[
            X,
            Param::tensor("update", MOVED),
            BEGIN,
            END,
            STRIDE,
            BEGIN_MASK,
            END_MASK,
            SQUEEZE_MASK,
        ],
        slice_update,
    )
    .since(Target::Ios18),
];

/// What is taken of one dimension; begin and end are `None` where only the run knows them.
struct Range {
    begin: Option<i64>,
    end: Option<i64>,
    stride: i64,
    from_edge: bool,
    to_edge: bool,
}

impl Range {
    /// How many elements of a dimension it takes.
    fn count(&self, size: Dim) -> Option<Dim> {
        let (stride, forward) = (i128::from(self.stride.unsigned_abs()), self.stride > 0);
        let begin = self.begin.filter(|_| !self.from_edge).map(i128::from);
        let end = self.end.filter(|_| !self.to_edge).map(i128::from);
        let known = (begin.is_some() || self.from_edge) && (end.is_some() || self.to_edge);
        let Dim::Fixed(size) = size else {
            return match (begin, end) {
                // The last element on, or the first back: one, however many there are.
                (Some(-1), None) if known && forward => Some(Dim::Fixed(1)),
                (Some(0), None) if known && !forward => Some(Dim::Fixed(1)),
                (Some(b), Some(e)) if forward == (b >= 0) && forward == (e >= 0) => {
                    let span = if forward { e - b } else { b - e };
                    let count = (span + stride - 1).div_euclid(stride);
                    Some(if count <= 1 { fixed(count.max(0))? } else { Dim::Flexible })
                }
                _ => Some(Dim::Flexible),
            };
        };
        if !known {
            // One element has one place to begin and end.
            return Some(if size == 1 { Dim::Fixed(1) } else { Dim::Flexible });
        }
        let size = i128::try_from(size).ok()?;
        let from_front = |place: i128| if place < 0 { (place + size).max(0) } else { place };
        let (first, behind) = if forward {
            (begin.map_or(0, from_front), end.map_or(size, |end| from_front(end).min(size)))
        } else {
            (end.map_or(-1, from_front), begin.map_or(size - 1, |b| from_front(b).min(size - 1)))
        };
        fixed((behind - first + stride - 1).div_euclid(stride).max(0))
    }
}

/// The dimensions of the slice that the arguments select.
fn sliced(args: &Arguments<'_>, x: &TensorType) -> Result<Vec<Dim>, String> {
    let rank = x.rank();
    let begin = args.per_axis("begin", rank)?;
    let end = args.per_axis("end", rank)?;
    let stride = args.vector("stride", rank, i64::MIN)?;
    let from_edge = args.flags("begin_mask", rank)?;
    let to_edge = args.flags("end_mask", rank)?;
    let squeezed = args.flags("squeeze_mask", rank)?;
    require(!stride.contains(&0), || format!("`stride` is {}", listed(&stride)))?;
    let mut dims = Vec::new();
    for axis in (0..rank).filter(|&axis| !squeezed[axis]) {
        let range = Range {
            begin: begin.as_ref().map(|begin| begin[axis]),
            end: end.as_ref().map(|end| end[axis]),
            stride: stride[axis],
            from_edge: from_edge[axis],
            to_edge: to_edge[axis],
        };
        if let (Some(b), Some(e), false, false) =
            (range.begin, range.end, range.from_edge, range.to_edge)
        {
            let backwards = match range.stride > 0 {
                true => b >= 0 && e >= 0 && e < b,
                false => b < 0 && e < 0 && b < e,
            };
            require(!backwards, || {
                format!("dimension {axis} goes from {b} to {e} by {}", range.stride)
            })?;
        }
        let count = range.count(x.dims[axis]);
        dims.push(count.ok_or_else(|| format!("dimension {axis} of {x} overflows"))?);
    }
    Ok(dims)
}

fn slice_by_index(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    one(x.dtype, sliced(args, x)?)
}

fn slice_update(args: &Arguments<'_>) -> Inferred {
    let (x, update) = (args.tensor("x")?, args.tensor("update")?);
    let part = sliced(args, x)?;
    require(update.rank() >= 1 && may_equal(&part, &update.dims), || {
        format!("`update` is {update}, the slice {}", TensorType::new(x.dtype, part))
    })?;
    same(args)
}

fn slice_by_size(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let begin = args.per_axis("begin", x.rank())?;
    let Some(size) = args.per_axis("size", x.rank())? else {
        return one(x.dtype, vec![Dim::Flexible; x.rank()]);
    };
    let taken = |axis: usize| match (size[axis], &begin) {
        (-1, Some(begin)) => {
            map(x.dims[axis], |d| d.checked_sub(begin[axis].into()).filter(|&n| 0 <= n && n <= d))
        }
        (-1, None) => Some(Dim::Flexible),
        (n, begin) => {
            let begin = begin.as_ref().map_or(0, |begin| i128::from(begin[axis].max(0)));
            let end = begin + i128::from(n);
            fixed(n.into()).filter(|_| x.dims[axis].size().is_none_or(|d| end <= d as i128))
        }
    };
    let dims: Option<Vec<_>> = (0..x.rank()).map(taken).collect();
    one(x.dtype, dims.ok_or_else(|| format!("`size` is {}, and `x` is {x}", listed(&size)))?)
}
