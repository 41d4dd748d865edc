//! One grid for the whole tensor, from the histogram of its values.
//!
//! FP16 and BF16 weights have at most 65,536 values: the error of a range is a sum over these,
//! exact whatever the tensor's size. FP32 weights are counted by their upper 16 bits, which places
//! the range well; it must then beat the whole range on the weights themselves.

use super::rank;
use crate::quantize::Importance;
use crate::quantize::grid::{Codes, Grid};
use crate::quantize::importance::shares;
use crate::quantize::kernel::scan::Extents;
use crate::quantize::kernel::search::{CountedNoise, RowNoise};
use crate::quantize::kernel::{Kernel, LANES};
use crate::scheme::Clip;
use crate::tensor::{FloatType, Weights};
use rayon::prelude::*;

/// Weights that one job counts: a fixed number, whatever the threads.
const PIECE: usize = 1 << 20;

/// Candidates of the first search, each this much narrower than the one before: down to 1/2000.
const COARSE: usize = 128;
const RATIO: f32 = 0.942;

/// Candidates of the second search, between the neighbours of the first's best.
const FINE: usize = 128;

/// The extent of all weights, which are finite.
pub(super) fn extent(kernel: Kernel, weights: &Weights) -> (f32, f32) {
    let piece = |i: usize| {
        let elements = i * PIECE..weights.len().min((i + 1) * PIECE);
        let (dtype, segment) = (weights.dtype, elements.len());
        let (mut low, mut high) = ([0.0], [0.0]);
        let bytes = weights.slice(elements);
        kernel.run(Extents { dtype, bytes, segment, low: &mut low, high: &mut high });
        (low[0], high[0])
    };
    let wider = |a: (f32, f32), b: (f32, f32)| (a.0.min(b.0), a.1.max(b.1));
    let pieces = (0..weights.len().div_ceil(PIECE)).into_par_iter();
    pieces.map(piece).reduce(|| (0.0, 0.0), wider)
}

/// The grid of finite weights, and whether one of them is beyond it.
pub(in crate::quantize) fn of_tensor(
    kernel: Kernel,
    weights: &Weights,
    codes: Codes,
    clip: Clip,
    importance: Option<&Importance>,
) -> (Grid, bool) {
    let (mut low, mut high) = extent(kernel, weights);
    if !codes.asymmetric {
        high = high.max(-low);
        low = -high;
    }
    let whole = Grid::covering(codes, low, high);
    let grid = match clip {
        Clip::None => whole,
        Clip::Percentile(percent) => {
            let limit = percentile(weights, percent);
            if limit > 0.0 {
                Grid::covering(codes, low.max(-limit), high.min(limit))
            } else {
                whole
            }
        }
        Clip::Mse => search(kernel, weights, codes, importance, (low, high), whole),
    };
    (grid, grid.clips(codes, low, high))
}

fn search(
    kernel: Kernel,
    weights: &Weights,
    codes: Codes,
    importance: Option<&Importance>,
    (low, high): (f32, f32),
    whole: Grid,
) -> Grid {
    let counts = count_upper(weights, importance);
    let (values, counts) = as_lanes(weights.dtype, &counts);
    let shrunk = |factor: f32| Grid::covering(codes, low * factor, high * factor);
    let noise =
        |grid: Grid| kernel.run(CountedNoise { values: &values, counts: &counts, codes, grid });
    // Factors are products of one number, not powers: every library of mathematics agrees on them.
    let mut factors = vec![1.0f32];
    for i in 1..COARSE {
        factors.push(factors[i - 1] * RATIO);
    }
    let best = |factors: &[f32]| {
        let noises: Vec<f64> = factors.par_iter().map(|&f| noise(shrunk(f))).collect();
        let first = |best: usize, i: usize| if noises[i] < noises[best] { i } else { best };
        (0..factors.len()).fold(0, first)
    };
    let coarse = best(&factors);
    let from = factors[coarse] * RATIO;
    let to = if coarse == 0 { 1.0 } else { factors[coarse - 1] };
    let mut fine: Vec<f32> =
        (1..FINE).map(|i| from + (to - from) * (i as f32 / FINE as f32)).collect();
    fine.push(factors[coarse]);
    let found = shrunk(fine[best(&fine)]);
    let better = match weights.dtype {
        FloatType::F16 | FloatType::BF16 => noise(found) < noise(whole),
        FloatType::F32 => {
            let noise = |grid| exact_noise(kernel, weights, codes, importance, grid);
            noise(found) < noise(whole)
        }
    };
    if better { found } else { whole }
}

/// Σe² over all weights, in pieces that are summed in order.
fn exact_noise(
    kernel: Kernel,
    weights: &Weights,
    codes: Codes,
    importance: Option<&Importance>,
    grid: Grid,
) -> f64 {
    let piece = |i: usize| {
        let elements = i * PIECE..weights.len().min((i + 1) * PIECE);
        let (dtype, segment) = (weights.dtype, elements.len());
        let (scale, zero) = (&[grid.scale][..], &[grid.zero][..]);
        let mut often = Vec::new();
        if let Some(importance) = importance {
            importance.runs(elements.clone(), |_, of_run| often.extend(shares(of_run)));
        }
        let (bytes, importance) = (weights.slice(elements), &often[..]);
        kernel.run(RowNoise { dtype, bytes, segment, codes, scale, zero, importance })
    };
    let pieces = (0..weights.len().div_ceil(PIECE)).into_par_iter();
    pieces.map(piece).collect::<Vec<_>>().into_iter().sum()
}

/// How many weights share each pattern of upper 16 bits: for 16-bit types, each value. With
/// importances, their sum.
fn count_upper(weights: &Weights, importance: Option<&Importance>) -> Vec<u64> {
    let piece = |mut counts: Vec<u64>, i: usize| {
        let elements = i * PIECE..weights.len().min((i + 1) * PIECE);
        match importance {
            None => {
                let often = std::iter::repeat_n(1, elements.len());
                add_upper(weights.dtype, weights.slice(elements), often, &mut counts);
            }
            Some(importance) => importance.runs(elements, |elements, often| {
                let often = often.iter().map(|&i| u64::from(i));
                add_upper(weights.dtype, weights.slice(elements), often, &mut counts);
            }),
        }
        counts
    };
    let sum = |mut a: Vec<u64>, b: Vec<u64>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let pieces = (0..weights.len().div_ceil(PIECE)).into_par_iter();
    pieces.fold(|| vec![0; 1 << 16], piece).reduce(|| vec![0; 1 << 16], sum)
}

/// Adds each weight to its pattern's count, as often as it counts.
#[inline(always)]
fn add_upper(dtype: FloatType, bytes: &[u8], often: impl Iterator<Item = u64>, counts: &mut [u64]) {
    match dtype {
        FloatType::F16 | FloatType::BF16 => {
            for (&b, often) in bytes.as_chunks().0.iter().zip(often) {
                counts[usize::from(u16::from_le_bytes(b))] += often;
            }
        }
        FloatType::F32 => {
            for (&[_, _, low, high], often) in bytes.as_chunks().0.iter().zip(often) {
                counts[usize::from(u16::from_le_bytes([low, high]))] += often;
            }
        }
    }
}

/// The values that occur with their counts, in groups of eight, filled up with zeros.
fn as_lanes(dtype: FloatType, counts: &[u64]) -> (Vec<[f32; LANES]>, Vec<[f32; LANES]>) {
    let value = |bits: usize| match dtype {
        FloatType::F16 => half::f16::from_bits(bits as u16).to_f32(),
        FloatType::BF16 => f32::from_bits((bits as u32) << 16),
        // The middle of those that share the upper bits.
        FloatType::F32 => f32::from_bits((bits as u32) << 16 | 0x8000),
    };
    let present = || counts.iter().enumerate().filter(|c| *c.1 > 0);
    let mut values: Vec<f32> = present().map(|(bits, _)| value(bits)).collect();
    let mut counts: Vec<f32> = present().map(|(_, &n)| n as f32).collect();
    let full = values.len().next_multiple_of(LANES);
    values.resize(full, 0.0);
    counts.resize(full, 0.0);
    (values.as_chunks().0.to_vec(), counts.as_chunks().0.to_vec())
}

/// The nearest-rank percentile of the magnitudes, exact: by upper bits, then among those that share
/// them.
fn percentile(weights: &Weights, percent: f64) -> f32 {
    let counts = count_upper(weights, None);
    let mut left = rank(weights.len() as u64, percent);
    let mut bits = 0;
    loop {
        let here = counts[bits] + counts[bits | 0x8000];
        if left <= here {
            break;
        }
        left -= here;
        bits += 1;
    }
    match weights.dtype {
        FloatType::F16 => half::f16::from_bits(bits as u16).to_f32(),
        FloatType::BF16 => f32::from_bits((bits as u32) << 16),
        FloatType::F32 => {
            let magnitude = |b: &[u8; 4]| u32::from_le_bytes(*b) & 0x7fff_ffff;
            let all = weights.bytes.as_chunks().0.par_iter().map(magnitude);
            let mut same: Vec<u32> = all.filter(|m| *m as usize >> 16 == bits).collect();
            f32::from_bits(*same.select_nth_unstable(left as usize - 1).1)
        }
    }
}
