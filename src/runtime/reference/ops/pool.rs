//! Pools: one number from each window.

use super::super::shape::elements;
use super::window::{Axis, Windows};
use super::{Arguments, One, Tensor, places};

/// The largest element of each window; padding does not count.
pub(in super::super) fn max_pool(arguments: &Arguments<'_>) -> One {
    pool(arguments, f64::NEG_INFINITY, super::elementwise::largest, |top, _| top)
}

/// The mean of each window. Padding counts as zeros, unless `exclude_padding_from_average`; what
/// `ceil_mode` lets hang over the padded end never counts (torch's rule).
pub(in super::super) fn avg_pool(arguments: &Arguments<'_>) -> One {
    let exclude = arguments.flag("exclude_padding_from_average")?;
    let sum = |a, b| a + b;
    pool(arguments, 0.0, sum, |sum, size| {
        sum / if exclude { size.inside } else { size.padded } as f64
    })
}

/// √Σx² of each window.
pub(in super::super) fn l2_pool(arguments: &Arguments<'_>) -> One {
    pool(arguments, 0.0, |sum, x| sum + x * x, |sum, _| sum.sqrt())
}

/// How many elements a window has.
struct Size {
    /// In the input.
    inside: usize,
    /// In the input or its padding.
    padded: usize,
}

fn pool(
    arguments: &Arguments<'_>,
    start: f64,
    fold: impl Fn(f64, f64) -> f64,
    finish: impl Fn(f64, Size) -> f64,
) -> One {
    let x = arguments.float("x")?;
    let spatial = x.shape().get(2..).ok_or("`x` has no spatial dimensions")?;
    let kernel = arguments.sizes("kernel_sizes", spatial.len(), 1)?;
    let windows = Windows::new(arguments, spatial, &kernel)?;
    let shape = [&x.shape()[..2], &windows.output()].concat();
    elements(&shape)?;
    // Every shape is three-dimensional here: what is missing has size 1.
    let single =
        Axis { input: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, output: 1 };
    let mut axes = vec![single; 3 - windows.axes.len()];
    axes.extend(windows.axes);
    let [depth, height, width] = [0, 1, 2].map(|axis| spans(&axes[axis]));
    let plane: usize = axes.iter().map(|axis| axis.input).product();
    let x_elements = places::flat(x);
    let mut y = Vec::with_capacity(elements(&shape)?);
    for plane in x_elements.chunks_exact(plane.max(1)) {
        for d in &depth {
            for h in &height {
                for w in &width {
                    let mut folded = start;
                    for z in d.from..d.to {
                        for row in h.from..h.to {
                            let begin = (z * axes[1].input + row) * axes[2].input;
                            for &x in &plane[begin + w.from..begin + w.to] {
                                folded = fold(folded, x.into());
                            }
                        }
                    }
                    let inside = [d, h, w].map(|span| span.to - span.from).iter().product();
                    let padded = [d, h, w].map(|span| span.padded).iter().product();
                    y.push(finish(folded, Size { inside, padded }) as f32);
                }
            }
        }
    }
    Ok(Tensor::float(arguments.tensor("x")?.dtype, places::array(&shape, y)?))
}

/// The part of the input under one window along one axis.
struct Span {
    from: usize,
    to: usize,
    /// Its length with padding.
    padded: usize,
}

fn spans(axis: &Axis) -> Vec<Span> {
    let span = |window: usize| {
        let start = window * axis.stride;
        let end = (start + axis.kernel).min(axis.before + axis.input + axis.after);
        let inside = |place: usize| place.saturating_sub(axis.before).min(axis.input);
        Span { from: inside(start), to: inside(end), padded: end.saturating_sub(start) }
    };
    (0..axis.output).map(span).collect()
}
