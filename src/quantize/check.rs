//! Weights that cannot be quantized: not finite, or beyond FP16's range.

use super::kernel::Kernel;
use super::kernel::scan::Magnitudes;
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// Weights looked at together: a fixed number, whatever the threads.
const PIECE: usize = 1 << 18;

/// The first weight among `elements` (flat indices) that no FP16 number can stand for: NaN, an
/// infinity, or a magnitude above 65504.
pub fn first_unusable(weights: &Weights, elements: Range<usize>) -> Option<(usize, f32)> {
    let kernel = Kernel::detect();
    elements.clone().step_by(PIECE).find_map(|start| {
        let end = elements.end.min(start + PIECE);
        if is_sound(largest(kernel, weights, start..end)) {
            return None;
        }
        let mut values = vec![0.0; end - start];
        weights.decode(start..end, &mut values);
        let place = values.iter().position(|x| !is_sound(x.abs()))?;
        Some((start + place, values[place]))
    })
}

/// Checks that every weight among `elements` (flat indices) is finite and within FP16's range.
///
/// # Errors
/// [`Error::Input`] at the first that is not.
pub fn finite(weights: &Weights, elements: Range<usize>) -> Result<()> {
    match first_unusable(weights, elements) {
        None => Ok(()),
        Some((place, value)) => Err(weights.unusable(place, value)),
    }
}

/// [`finite`] for all weights, on all threads.
pub(super) fn all(kernel: Kernel, weights: &Weights) -> Result<()> {
    let pieces = weights.len().div_ceil(PIECE);
    let piece = |i: usize| i * PIECE..weights.len().min((i + 1) * PIECE);
    let unsound = |&i: &usize| !is_sound(largest(kernel, weights, piece(i)));
    match (0..pieces).into_par_iter().find_first(unsound) {
        None => Ok(()),
        Some(i) => finite(weights, piece(i)),
    }
}

/// The error for the first unusable weight of `rows`, where there is one.
pub(super) fn first(weights: &Weights, rows: Range<usize>) -> Error {
    let cols = weights.cols();
    match finite(weights, rows.start * cols..rows.end * cols) {
        Err(error) => error,
        Ok(()) => Error::bug(weights.name, format!("all weights of rows {rows:?} are finite")),
    }
}

/// False for a NaN too.
pub(super) fn is_sound(magnitude: f32) -> bool {
    magnitude <= f16::MAX.to_f32()
}

fn largest(kernel: Kernel, weights: &Weights, elements: Range<usize>) -> f32 {
    let mut out = [0.0];
    let (dtype, segment) = (weights.dtype, elements.len());
    kernel.run(Magnitudes { dtype, bytes: weights.slice(elements), segment, out: &mut out });
    out[0]
}
