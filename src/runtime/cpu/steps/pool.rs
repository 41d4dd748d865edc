//! Pools: one number from each window of each channel.

use super::layer::Input;
use super::window::Windows;
use super::{Io, Step, stage};
use crate::runtime::cpu::blocks;
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use std::ops::Range;

/// The part of the input under a window, and its length with padding.
struct Span {
    inside: Range<usize>,
    padded: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Pool {
    Max,
    /// Whether padding counts as zeros.
    Average {
        padding: bool,
    },
    L2,
}

/// A pool over planes of pixels.
struct Planes {
    /// Spans along each axis.
    spans: [Vec<Span>; 3],
    /// Of the input.
    height: usize,
    width: usize,
    /// Elements of a plane of the input and of the output.
    sizes: [usize; 2],
    /// Elements of a whole window.
    taps: usize,
}

impl Planes {
    /// `None` for what is no pool of 1 to 3 spatial dimensions.
    fn read(node: Node<'_>) -> Found<Option<Self>> {
        let (x, out) = (node.shape("x")?, node.out_shape(0)?);
        if x.len() < 3 {
            return Ok(None);
        }
        let kernel = node.sizes("kernel_sizes", x.len() - 2)?;
        let Some(axes) = Windows::read(node, &x[2..], &kernel, &out[2..])? else { return Ok(None) };
        let [depth, height, width] = axes.map(|axis| axis.input);
        let sizes = [depth * height * width, out[2..].iter().product::<usize>()];
        let (spans, taps) = (axes.map(|axis| spans(&axis)), kernel.iter().product());
        Ok(Some(Self { spans, height, width, sizes, taps }))
    }

    /// Calls `over` with each window.
    fn each<X: Copy + Sync, Y: Send>(
        &self,
        from: &[X],
        to: &mut [Y],
        over: impl Fn(Window<'_, X>) -> Y + Sync,
    ) {
        let [plane, out_plane] = self.sizes;
        let [depths, heights, widths] = &self.spans;
        blocks::rows(to, out_plane, out_plane * self.taps, |channel, to| {
            let from = &from[channel * plane..(channel + 1) * plane];
            let mut to = to.iter_mut();
            for (d, h) in depths.iter().flat_map(|d| heights.iter().map(move |h| (d, h))) {
                for (w, to) in widths.iter().zip(&mut to) {
                    *to = over(Window {
                        plane: from,
                        sides: [self.height, self.width],
                        spans: [d, h, w],
                    });
                }
            }
        });
    }
}

/// What lies under one window of a plane.
struct Window<'a, X> {
    plane: &'a [X],
    /// Height and width of the plane.
    sides: [usize; 2],
    spans: [&'a Span; 3],
}

impl<'a, X: Copy> Window<'a, X> {
    fn elements(&self) -> impl Iterator<Item = X> + use<'a, X> {
        let (plane, [height, width], [d, h, w]) = (self.plane, self.sides, self.spans);
        let rows = d
            .inside
            .clone()
            .flat_map(move |z| h.inside.clone().map(move |y| (z * height + y) * width));
        rows.flat_map(move |row| &plane[row + w.inside.start..row + w.inside.end]).copied()
    }

    /// How many elements it has, those of the padding with them or without.
    fn count(&self, padding: bool) -> usize {
        let count = |span: &Span| if padding { span.padded } else { span.inside.len() };
        self.spans.map(count).iter().product()
    }
}

/// Max, average and l2 pools of 1 to 3 spatial dimensions; of codes, the largest.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    let pool = match node.kind() {
        "max_pool" => Pool::Max,
        "avg_pool" => Pool::Average { padding: is_padded(node)? },
        "l2_pool" => Pool::L2,
        _ => return Ok(None),
    };
    let Some(planes) = Planes::read(node)? else { return Ok(None) };
    let (from, to) = (planner.argument(node, "x")?, outputs[0]);
    if (pool, from.kind) == (Pool::Max, Kind::Code) {
        return Ok(Some(Box::new(move |io: &mut Io<'_>| {
            let (from, to) = (io.buffers.codes(from), io.outputs[0].codes_mut(to.len));
            planes.each(from, to, |window| window.elements().max().unwrap_or(i8::MIN));
            Ok(())
        })));
    }
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (from, to) = (io.buffers.floats(from), io.outputs[0].floats_mut(to.len));
        planes.each(from, to, |window| pool.over(&window));
        Ok(())
    })))
}

/// Whether padding counts as zeros.
fn is_padded(node: Node<'_>) -> Found<bool> {
    Ok(!node.flag("exclude_padding_from_average")?)
}

/// Whether a pool of codes can give codes by way of their sums.
pub(in crate::runtime::cpu) fn takes_codes(node: Node<'_>) -> bool {
    node.kind() == "avg_pool" && matches!(Planes::read(node), Ok(Some(_)))
}

/// An average pool of codes, and what makes codes of its results: each is a sum, in units that depend
/// on how many elements its window has.
pub(in crate::runtime::cpu) fn averaged(
    node: Node<'_>,
    x: Input,
    then: &[Node<'_>],
    to: Place,
) -> Found<Step> {
    let (Some(planes), Input::Codes(x, affine)) = (Planes::read(node)?, x) else {
        return Err("is no pool of codes".into());
    };
    let padding = is_padded(node)?;
    let unit = |count: usize| f64::from(affine.scale) / count as f64;
    let units: Vec<f64> = (1..=planes.taps).map(unit).collect();
    let stage = stage::build(then, &units, None)?;
    let zero = i32::from(affine.zero_point);
    Ok(Box::new(move |io: &mut Io<'_>| {
        let (from, to) = (io.buffers.codes(x), io.outputs[0].codes_mut(to.len));
        planes.each(from, to, |window| {
            let sum = window.elements().map(|code| i32::from(code) - zero).sum();
            // Of a window without elements, the sum is 0.
            stage.code(window.count(padding).max(1) - 1, sum)
        });
        Ok(())
    }))
}

fn spans(axis: &Windows) -> Vec<Span> {
    let span = |window: usize| {
        let start = window * axis.stride;
        let end = (start + axis.kernel).min(axis.before + axis.input + axis.after);
        let inside = |place: usize| place.saturating_sub(axis.before).min(axis.input);
        Span { inside: inside(start)..inside(end), padded: end.saturating_sub(start) }
    };
    (0..axis.output).map(span).collect()
}

impl Pool {
    /// Of one window.
    fn over(self, window: &Window<'_, f32>) -> f32 {
        let more = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
        let elements = window.elements();
        match self {
            Self::Max => elements.fold(f32::NEG_INFINITY, more),
            Self::Average { padding } => elements.sum::<f32>() / window.count(padding) as f32,
            Self::L2 => elements.map(|x| x * x).sum::<f32>().sqrt(),
        }
    }
}
