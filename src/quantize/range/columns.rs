//! One grid for each input channel. Its weights lie far apart: some channels at a time are gathered
//! and then treated as rows are.

use super::Ranger;
use crate::quantize::Importance;
use crate::quantize::grid::{Codes, Grid};
use crate::quantize::importance::share;
use crate::quantize::kernel::Kernel;
use crate::scheme::Clip;
use crate::tensor::Weights;
use rayon::prelude::*;
use std::ops::Range;

/// Channels gathered together: a cache line of FP16 weights of a matrix.
const PANEL: usize = 32;

/// The grids of the input channels of finite weights.
pub(in crate::quantize) fn of_columns(
    kernel: Kernel,
    weights: &Weights,
    codes: Codes,
    clip: Clip,
    importance: Option<&Importance>,
) -> Vec<Grid> {
    let channels = weights.shape[1];
    let length = weights.rows() * weights.taps();
    let panel = |i: usize| {
        let range = i * PANEL..channels.min((i + 1) * PANEL);
        let mut ranger = Ranger::new(kernel, weights.dtype, codes, clip, length, length);
        let gathered = gather(weights, range.clone());
        let channels = range.zip(gathered.chunks_exact(length * weights.dtype.bytes()));
        let grid = |(channel, bytes)| {
            let _ = ranger.look(bytes, &of_channel(weights, importance, channel));
            Grid { scale: ranger.scale[0], zero: ranger.zero[0] }
        };
        channels.map(grid).collect::<Vec<_>>()
    };
    (0..channels.div_ceil(PANEL)).into_par_iter().flat_map_iter(panel).collect()
}

/// The importances of the weights of an input channel, which differ where groups of a convolution read
/// different inputs; nothing where there are none.
pub(super) fn of_channel(
    weights: &Weights,
    importance: Option<&Importance>,
    channel: usize,
) -> Vec<f32> {
    let (rows, taps) = (0..weights.rows(), weights.taps());
    let of_row = |importance: &Importance, row| share(importance.row(row)[channel * taps]);
    let spread = |importance| {
        rows.flat_map(move |row| std::iter::repeat_n(of_row(importance, row), taps)).collect()
    };
    importance.map(spread).unwrap_or_default()
}

/// The bytes of some successive input channels, one channel after the other.
pub(super) fn gather(weights: &Weights, channels: Range<usize>) -> Vec<u8> {
    let (cols, taps) = (weights.cols(), weights.taps());
    let tap_bytes = taps * weights.dtype.bytes();
    let channel_bytes = weights.rows() * tap_bytes;
    let mut out = vec![0; channels.len() * channel_bytes];
    for row in 0..weights.rows() {
        let first = row * cols;
        let bytes = weights.slice(first + channels.start * taps..first + channels.end * taps);
        let place = |channel: usize| channel * channel_bytes + row * tap_bytes;
        if tap_bytes == 2 {
            // A matrix of 16-bit weights: no call for each two bytes.
            for (channel, from) in bytes.as_chunks::<2>().0.iter().enumerate() {
                out[place(channel)..][..2].copy_from_slice(from);
            }
        } else {
            for (channel, from) in bytes.chunks_exact(tap_bytes).enumerate() {
                out[place(channel)..][..tap_bytes].copy_from_slice(from);
            }
        }
    }
    out
}
