//! Slices, also those that begin where the data says.

use super::show;
use crate::runtime::cpu::buffers::{Buffers, Kind, Place};
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::cpu::steps::{Io, Step};
use crate::runtime::cpu::strided::{View, row_major};

/// A slice of `x`: its shape is known, where it begins perhaps only when it runs.
pub(super) struct Slice {
    /// Of the slice; squeezed axes are gone.
    shape: Vec<usize>,
    strides: Vec<isize>,
    axes: Vec<Axis>,
    /// Where each axis begins, if that is known.
    begin: Option<Vec<i64>>,
}

/// One axis of `x`.
struct Axis {
    size: usize,
    /// Between neighbours in `x`, in elements.
    stride: usize,
    /// Between elements of the slice.
    step: i64,
    count: usize,
    /// Begins at the edge, whatever `begin` says.
    from_edge: bool,
    /// A beginning before the first element is none; it is not moved there.
    exact: bool,
}

/// Reads the parameters; `None` if the slice cannot be expressed.
pub(super) fn read(node: Node<'_>) -> Found<Option<Slice>> {
    let x = node.shape("x")?;
    let rank = x.len();
    let by_size = node.kind() == "slice_by_size";
    let step = if by_size { vec![1; rank] } else { node.ints("stride", rank)? };
    let from_edge = node.mask("begin_mask", rank)?;
    let squeezed = node.mask("squeeze_mask", rank)?;
    let counts = match node.kind() {
        "slice_update" => node.shape("update")?,
        _ => node.out_shape(0)?,
    };
    let mut left = counts.iter().copied();
    let strides = row_major(&x);
    let mut axes = Vec::with_capacity(rank);
    let (mut shape, mut steps) = (Vec::new(), Vec::new());
    for axis in 0..rank {
        let exact = by_size || squeezed[axis];
        let step = match squeezed[axis] {
            true => 1,
            false => *step.get(axis).ok_or("`stride` is too short")?,
        };
        let count = match squeezed[axis] {
            true => 1,
            false => left.next().ok_or("the slice has too few dimensions")?,
        };
        if !squeezed[axis] {
            shape.push(count);
            steps.push(strides[axis] * step as isize);
        }
        let stride = strides[axis].unsigned_abs();
        let from_edge = from_edge[axis];
        axes.push(Axis { size: x[axis], stride, step, count, from_edge, exact });
    }
    let begin = if node.varies("begin") { None } else { Some(node.ints("begin", 0)?) };
    let known = begin.as_ref().is_none_or(|begin| begin.len() == rank);
    Ok((left.next().is_none() && known).then_some(Slice { shape, strides: steps, axes, begin }))
}

impl Slice {
    /// The slice as a view, if it is known where it begins.
    pub(super) fn fixed(&self) -> Option<View> {
        let begin = self.begin.as_ref()?;
        let offset = self.offset(|axis| begin[axis]).ok()?;
        View::new(&self.shape, &self.strides, offset)
    }

    /// The slice as a view of what begins at its first element.
    fn relative(&self) -> Found<View> {
        let view = View::new(&self.shape, &self.strides, 0);
        view.ok_or_else(|| "has too many dimensions".into())
    }

    /// Where the slice begins in `x`.
    ///
    /// # Errors
    /// A sentence on a slice that leaves `x`.
    fn offset(&self, begin: impl Fn(usize) -> i64) -> Found<usize> {
        let mut offset = 0;
        for (i, axis) in self.axes.iter().enumerate() {
            let size = axis.size as i64;
            let begin = match (axis.from_edge, axis.step > 0) {
                (true, true) => 0,
                (true, false) => size - 1,
                (false, _) => match begin(i) {
                    n if n < 0 && (axis.exact || axis.step < 0) => n + size,
                    n if n < 0 => (n + size).max(0),
                    n if axis.step < 0 => n.min(size - 1),
                    n => n,
                },
            };
            if axis.count > 0 {
                let last = begin + (axis.count as i64 - 1) * axis.step;
                if !(0..size).contains(&begin) || !(0..size).contains(&last) {
                    let found = format!("axis {i} of {size} elements is sliced from {begin}");
                    return Err(format!("{found} to {last}"));
                }
                offset += begin as usize * axis.stride;
            }
        }
        Ok(offset)
    }
}

/// An element of a value of integers.
fn int(buffers: &Buffers, place: Place, i: usize) -> i64 {
    match place.kind {
        Kind::Code => buffers.codes(place)[i].into(),
        _ => buffers.ints(place)[i].into(),
    }
}

/// A slice that begins where the data says.
pub(super) fn build(planner: &mut Planner<'_>, node: Node<'_>, to: Place) -> Found<Step> {
    let slice = read(node)?.ok_or("cannot be sliced so")?;
    let (from, begin) = (planner.argument(node, "x")?, planner.argument(node, "begin")?);
    let view = slice.relative()?;
    Ok(Box::new(move |io: &mut Io<'_>| {
        let offset = slice.offset(|axis| int(io.buffers, begin, axis))?;
        show(io.buffers, &mut io.outputs[0], from, to, &view, offset);
        Ok(())
    }))
}

/// `x` with a slice replaced; without `whole`, the result lies where `x` lies.
pub(in crate::runtime::cpu) fn update(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    whole: Option<Place>,
) -> Found<Step> {
    let slice = read(node)?.ok_or("cannot be sliced so")?;
    let (update, begin) = (planner.argument(node, "update")?, planner.argument(node, "begin")?);
    let view = slice.relative()?;
    let len = node.shape("x")?.iter().product();
    Ok(Box::new(move |io: &mut Io<'_>| {
        let to = &mut io.outputs[0];
        if let Some(whole) = whole {
            to.copy_from(io.buffers, whole);
        }
        let offset = slice.offset(|axis| int(io.buffers, begin, axis))?;
        match update.kind {
            Kind::Float => view.write(io.buffers.floats(update), to.floats_mut(len), offset),
            Kind::Int => view.write(io.buffers.ints(update), to.ints_mut(len), offset),
            Kind::Bool => view.write(io.buffers.bools(update), to.bools_mut(len), offset),
            Kind::Code => view.write(io.buffers.codes(update), to.codes_mut(len), offset),
        }
        Ok(())
    }))
}
