//! Pools: one number from each window of each channel.

use super::window::Windows;
use super::{Io, Step};
use crate::runtime::cpu::blocks;
use crate::runtime::cpu::buffers::Place;
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

/// Max, average and l2 pools of 1 to 3 spatial dimensions.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    let pool = match node.kind() {
        "max_pool" => Pool::Max,
        "avg_pool" => Pool::Average { padding: !node.flag("exclude_padding_from_average")? },
        "l2_pool" => Pool::L2,
        _ => return Ok(None),
    };
    let (x, out) = (node.shape("x")?, node.out_shape(0)?);
    if x.len() < 3 {
        return Ok(None);
    }
    let kernel = node.sizes("kernel_sizes", x.len() - 2)?;
    let Some(axes) = Windows::read(node, &x[2..], &kernel, &out[2..])? else { return Ok(None) };
    let (from, to) = (planner.argument(node, "x")?, outputs[0]);
    let [depths, heights, widths] = axes.map(|axis| spans(&axis));
    let [depth, height, width] = axes.map(|axis| axis.input);
    let (plane, out_plane) = (depth * height * width, out[2..].iter().product::<usize>());
    let cost = out_plane * kernel.iter().product::<usize>();
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.floats(from);
        blocks::rows(io.outputs[0].floats_mut(to.len), out_plane, cost, |channel, to| {
            let from = &from[channel * plane..(channel + 1) * plane];
            let mut to = to.iter_mut();
            for (d, h) in depths.iter().flat_map(|d| heights.iter().map(move |h| (d, h))) {
                for (w, to) in widths.iter().zip(&mut to) {
                    *to = pool.over(from, [height, width], [d, h, w]);
                }
            }
        });
        Ok(())
    })))
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
    /// Of one window: `[depth, height, width]` of a plane whose rows are `width` long.
    fn over(self, plane: &[f32], [height, width]: [usize; 2], window: [&Span; 3]) -> f32 {
        let [d, h, w] = window;
        let rows =
            d.inside.clone().flat_map(|z| h.inside.clone().map(move |y| (z * height + y) * width));
        let elements = rows.flat_map(|row| &plane[row + w.inside.start..row + w.inside.end]);
        let more = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
        match self {
            Self::Max => elements.fold(f32::NEG_INFINITY, |top, &x| more(top, x)),
            Self::Average { padding } => {
                let count = |span: &Span| if padding { span.padded } else { span.inside.len() };
                elements.sum::<f32>() / window.map(count).iter().product::<usize>() as f32
            }
            Self::L2 => elements.map(|x| x * x).sum::<f32>().sqrt(),
        }
    }
}
