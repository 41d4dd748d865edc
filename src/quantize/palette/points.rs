//! The values of a region and how often each occurs: all that a one-dimensional palette depends on.
//!
//! FP16 and BF16 have at most 65,536 values, so their histogram is exact whatever the region's
//! size. F32 weights, and weights divided by a channel's scale, are sorted up to [`SORTED_LIMIT`]
//! of them. Beyond, they are binned by sign, exponent and the upper 11 bits of the mantissa; a bin
//! stands for its weighted mean, so that the mean of any run of bins is exact, and only cuts
//! *inside* a bin are not considered. Where the optimum cuts inside a bin, between centroids `a`
//! and `b`, moving the cut to the bin's end costs at most `2·(b − a)·h` a weight, with `h` the
//! bin's width (≤ 2⁻¹¹ of the value) and only for weights of that bin: the error of the
//! binned optimum exceeds the true one by at most the sum of that over the k − 1 cuts.

use super::input;
use super::shape::Region;
use super::solver::Points;
use crate::quantize::Importance;
use crate::quantize::importance::share;
use crate::tensor::{FloatType, Weights};
use half::{bf16, f16};
use rayon::prelude::*;

/// Up to so many weights that are not 16-bit are sorted: 8 MiB of keys, and at most 60 MiB while
/// solving.
pub(super) const SORTED_LIMIT: usize = 1 << 20;

/// Below so many weights, sorting is faster than sweeping a histogram of 65,536 bins.
const SWEEP_LIMIT: usize = 4096;

/// The value of 16 bits.
fn value(dtype: FloatType, bits: u16) -> f64 {
    if dtype == FloatType::BF16 {
        bf16::from_bits(bits).to_f64()
    } else {
        f16::from_bits(bits).to_f64()
    }
}

/// Points of a region of a 16-bit type; `None` if one is not finite or beyond FP16's range. −0 is
/// merged into 0. `parallel` spreads the work over threads. A value's weight is the sum of its
/// importances, of their number where there are none.
pub(super) fn of_halves(
    weights: &Weights,
    region: &Region,
    importance: Option<&Importance>,
    parallel: bool,
) -> Option<Points> {
    if region.len() < SWEEP_LIMIT {
        return sorted_halves(weights, region, importance);
    }
    let mut points = Points::default();
    let mut add = |bits: u16, count: u64| {
        if count > 0 {
            points.x.push(value(weights.dtype, bits));
            points.w.push(count as f64);
        }
    };
    let counts = if parallel {
        count_on_threads(weights, region, importance)
    } else {
        count(weights, region, importance)
    };
    let largest = input::largest_bits(weights.dtype);
    let beyond = |sign: u16| {
        (usize::from(sign | largest) + 1..=usize::from(sign | 0x7FFF)).any(|b| counts[b] > 0)
    };
    if beyond(0) || beyond(0x8000) {
        return None;
    }
    for bits in (0x8001..=0x8000 | largest).rev() {
        add(bits, counts[usize::from(bits)]);
    }
    add(0, counts[0] + counts[0x8000]);
    for bits in 1..=largest {
        add(bits, counts[usize::from(bits)]);
    }
    Some(points)
}

/// Adds the counts of a region of less than 2³² weights to `counts`.
fn count_into(weights: &Weights, region: &Region, counts: &mut [u32]) {
    let counts: &mut [u32; 1 << 16] = counts.try_into().expect("65,536 bins");
    // Every other weight has a table of its own: a count that repeats need not wait for its own
    // store. Small regions are not worth the sweep that joins the two.
    let mut second = vec![0u32; if region.len() < 1 << 17 { 0 } else { 1 << 16 }];
    let odd: Option<&mut [u32; 1 << 16]> = second.as_mut_slice().try_into().ok();
    let cols = weights.cols();
    let rows: Box<dyn Iterator<Item = &[u8]>> = if region.cols.len() == cols {
        Box::new([weights.slice(region.rows.start * cols..region.rows.end * cols)].into_iter())
    } else {
        let row =
            |r: usize| weights.slice(r * cols + region.cols.start..r * cols + region.cols.end);
        Box::new(region.rows.clone().map(row))
    };
    let Some(odd) = odd else {
        for b in rows.flat_map(|bytes| bytes.chunks_exact(2)) {
            counts[usize::from(u16::from_le_bytes([b[0], b[1]]))] += 1;
        }
        return;
    };
    for bytes in rows {
        let quads = bytes.chunks_exact(8);
        for b in quads.remainder().chunks_exact(2) {
            counts[usize::from(u16::from_le_bytes([b[0], b[1]]))] += 1;
        }
        for q in quads {
            let q = u64::from_le_bytes(q.try_into().expect("eight bytes"));
            counts[q as u16 as usize] += 1;
            odd[(q >> 16) as u16 as usize] += 1;
            counts[(q >> 32) as u16 as usize] += 1;
            odd[(q >> 48) as usize] += 1;
        }
    }
    counts.iter_mut().zip(odd).for_each(|(count, more)| *count += *more);
}

/// Counts of a region of any size, or sums of its importances, on one thread.
fn count(weights: &Weights, region: &Region, importance: Option<&Importance>) -> Vec<u64> {
    let mut total = vec![0u64; 1 << 16];
    if let Some(importance) = importance {
        each_half(weights, region, importance, |bits, often| {
            total[usize::from(bits)] += u64::from(often);
        });
        return total;
    }
    let rows = (1usize << 30).div_ceil(region.cols.len());
    let mut counts = vec![0u32; 1 << 16];
    for start in region.rows.clone().step_by(rows) {
        let rows = start..region.rows.end.min(start + rows);
        count_into(weights, &Region { rows, cols: region.cols.clone() }, &mut counts);
        for (total, count) in total.iter_mut().zip(&mut counts) {
            *total += u64::from(std::mem::take(count));
        }
    }
    total
}

/// Calls `f` with the bits and the importance of each weight of a region.
fn each_half(
    weights: &Weights,
    region: &Region,
    importance: &Importance,
    mut f: impl FnMut(u16, u32),
) {
    for row in region.rows.clone() {
        let first = row * weights.cols();
        let bytes = weights.slice(first + region.cols.start..first + region.cols.end);
        let importance = &importance.row(row)[region.cols.clone()];
        for (&b, &often) in bytes.as_chunks().0.iter().zip(importance) {
            f(u16::from_le_bytes(b), often);
        }
    }
}

/// Counts and importances are integers: their sum does not depend on how rows are shared out.
fn count_on_threads(
    weights: &Weights,
    region: &Region,
    importance: Option<&Importance>,
) -> Vec<u64> {
    let share = region.rows.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts: Vec<Vec<u64>> = region
        .rows
        .clone()
        .into_par_iter()
        .step_by(share)
        .map(|start| {
            let rows = start..region.rows.end.min(start + share);
            count(weights, &Region { rows, cols: region.cols.clone() }, importance)
        })
        .collect();
    let mut total = vec![0u64; 1 << 16];
    for part in parts {
        for (total, more) in total.iter_mut().zip(part) {
            *total += more;
        }
    }
    total
}

/// Sorts keys that are ordered as the values are.
fn sorted_halves(
    weights: &Weights,
    region: &Region,
    importance: Option<&Importance>,
) -> Option<Points> {
    let largest = input::largest_bits(weights.dtype);
    // −0 is 0.
    let key = |bits: u16| match bits {
        0x8000 => 0x8000,
        _ if bits & 0x8000 == 0 => bits | 0x8000,
        _ => !bits,
    };
    let bits = |key: u16| if key & 0x8000 == 0 { !key } else { key & 0x7FFF };
    if let Some(importance) = importance {
        let mut pairs: Vec<(u16, u32)> = Vec::with_capacity(region.len());
        let mut sound = true;
        each_half(weights, region, importance, |bits, often| {
            sound &= bits & 0x7FFF <= largest;
            pairs.push((key(bits), often));
        });
        pairs.sort_unstable();
        let mut points = Points::default();
        for run in pairs.chunk_by(|a, b| a.0 == b.0) {
            points.x.push(value(weights.dtype, bits(run[0].0)));
            points.w.push(run.iter().map(|pair| u64::from(pair.1)).sum::<u64>() as f64);
        }
        return sound.then_some(points);
    }
    let mut keys: Vec<u16> = Vec::with_capacity(region.len());
    for row in region.rows.clone() {
        let row = row * weights.cols();
        for b in weights.slice(row + region.cols.start..row + region.cols.end).chunks_exact(2) {
            let bits = u16::from_le_bytes([b[0], b[1]]);
            if bits & 0x7FFF > largest {
                return None;
            }
            keys.push(key(bits));
        }
    }
    keys.sort_unstable();
    let mut points = Points::default();
    for run in keys.chunk_by(|a, b| a == b) {
        points.x.push(value(weights.dtype, bits(run[0])));
        points.w.push(run.len() as f64);
    }
    Some(points)
}

/// A key that is ordered as finite floats are; −0 must have been made 0.
fn key(x: f32) -> u32 {
    let bits = x.to_bits();
    if bits >> 31 == 0 { bits | 0x8000_0000 } else { !bits }
}

fn float(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 0 { !key } else { key & 0x7FFF_FFFF })
}

/// Calls `f(y, weight)` for every weight of some rows of a region, divided by its row's scale,
/// with the scale's square as weight: an error in `y` counts as the error in `x` that it is, times its
/// importance. `scales` are the region's, or none. `false` if a weight is not finite or beyond FP16's
/// range.
fn visit(
    weights: &Weights,
    region: &Region,
    rows: std::ops::Range<usize>,
    scales: &[f16],
    importance: Option<&Importance>,
    mut f: impl FnMut(f32, f32),
) -> bool {
    let mut buffer = vec![0.0; region.cols.len()];
    for row in rows {
        let start = row * weights.cols() + region.cols.start;
        weights.decode(start..start + buffer.len(), &mut buffer);
        if !buffer.iter().all(|&x| input::fits(x)) {
            return false;
        }
        let s = scales.get(row - region.rows.start).map_or(1.0, |s| s.to_f32());
        // + 0.0 makes −0 into 0.
        match importance {
            None => buffer.iter().for_each(|&x| f(x / s + 0.0, s * s)),
            Some(importance) => {
                let importance = &importance.row(row)[region.cols.clone()];
                let both = buffer.iter().zip(importance);
                both.for_each(|(&x, &often)| f(x / s + 0.0, s * s * share(often)));
            }
        }
    }
    true
}

/// Points of a region of any type, each weight divided by its row's scale (`scales`: one a row of
/// the region, or none) and weighted by the scale's square. `None` if a weight is not finite or
/// beyond FP16's range.
pub(super) fn of_floats(
    weights: &Weights,
    region: &Region,
    scales: &[f16],
    importance: Option<&Importance>,
    parallel: bool,
) -> Option<Points> {
    if region.len() <= SORTED_LIMIT {
        sorted_floats(weights, region, scales, importance)
    } else {
        binned_floats(weights, region, scales, importance, if parallel { 4 } else { 1 })
    }
}

pub(super) fn sorted_floats(
    weights: &Weights,
    region: &Region,
    scales: &[f16],
    importance: Option<&Importance>,
) -> Option<Points> {
    // The weight takes part in the order, so that equal values are summed in one order.
    let mut keys: Vec<u64> = Vec::with_capacity(region.len());
    let fits = visit(weights, region, region.rows.clone(), scales, importance, |y, w| {
        keys.push(u64::from(key(y)) << 32 | u64::from(w.to_bits()));
    });
    if !fits {
        return None;
    }
    keys.sort_unstable();
    let mut points = Points::default();
    for run in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
        points.x.push(f64::from(float((run[0] >> 32) as u32)));
        points.w.push(run.iter().map(|&k| f64::from(f32::from_bits(k as u32))).sum());
    }
    Some(points)
}

/// The lower 12 bits of a mantissa do not choose a bin.
const BIN_SHIFT: u32 = 12;

/// `parts` is a constant of the caller's, never the number of threads: sums join in its order.
pub(super) fn binned_floats(
    weights: &Weights,
    region: &Region,
    scales: &[f16],
    importance: Option<&Importance>,
    parts: usize,
) -> Option<Points> {
    let share = region.rows.len().div_ceil(parts);
    let sums: Vec<Option<Vec<[f64; 2]>>> = region
        .rows
        .clone()
        .into_par_iter()
        .step_by(share)
        .map(|start| {
            let rows = start..region.rows.end.min(start + share);
            let mut bins = vec![[0.0; 2]; 1 << (32 - BIN_SHIFT)];
            let fits = visit(weights, region, rows, scales, importance, |y, w| {
                let bin = &mut bins[(key(y) >> BIN_SHIFT) as usize];
                bin[0] += f64::from(w);
                bin[1] += f64::from(w) * f64::from(y);
            });
            fits.then_some(bins)
        })
        .collect();
    let mut total: Option<Vec<[f64; 2]>> = None;
    for part in sums {
        let part = part?;
        match &mut total {
            None => total = Some(part),
            Some(total) => {
                for (total, more) in total.iter_mut().zip(part) {
                    *total = [total[0] + more[0], total[1] + more[1]];
                }
            }
        }
    }
    let mut points = Points::default();
    for [w, s] in total? {
        if w > 0.0 {
            points.x.push(s / w);
            points.w.push(w);
        }
    }
    Some(points)
}

/// Points of a region whose values FP16 holds exactly: `Err` is the first element it does not hold,
/// or none if a weight is not finite or beyond FP16's range.
pub(super) fn of_exact_halves(
    weights: &Weights,
    region: &Region,
) -> Result<Points, Option<(usize, f32)>> {
    let mut counts = vec![0u64; 1 << 16];
    let mut inexact = None;
    let (mut at, width) = (0, region.cols.len());
    let fits = visit(weights, region, region.rows.clone(), &[], None, |x, _| {
        let half = f16::from_f32(x);
        counts[usize::from(half.to_bits())] += 1;
        if half.to_f32() != x && inexact.is_none() {
            let (row, col) = (region.rows.start + at / width, region.cols.start + at % width);
            inexact = Some((row * weights.cols() + col, x));
        }
        at += 1;
    });
    if !fits || inexact.is_some() {
        return Err(inexact.filter(|_| fits));
    }
    let mut points = Points::default();
    for bits in (0x8000..=0xFBFFu16).rev().chain(0..=0x7BFF) {
        let count = counts[usize::from(bits)];
        if count > 0 {
            points.x.push(f16::from_bits(bits).to_f64());
            points.w.push(count as f64);
        }
    }
    Ok(points)
}
