//! The range of least squared error, segment by segment.
//!
//! A candidate is a shrunk copy of the segment's own range, its scale rounded to FP16 before it is
//! judged. Short segments try every candidate on every weight. For long rows of symmetric INT8
//! codes a model of the error chooses three candidates, and only those see every weight. In both
//! cases the winner must then beat the whole range by the error as it is reported, decoded values
//! rounded to FP16: so the search never loses to clipping nothing.

use super::encode::{join, widen};
use super::{
    Element, FloatType, LANES, Lanes, PACKET, Routine, load_packet, quotient, with_element,
};
use crate::quantize::grid::{Codes, Grid, SMALLEST};

/// Finds a grid for each segment of a row, whose weights are finite.
pub(in crate::quantize) struct SearchRow<'a> {
    pub(in crate::quantize) dtype: FloatType,
    pub(in crate::quantize) bytes: &'a [u8],
    pub(in crate::quantize) segment: usize,
    pub(in crate::quantize) codes: Codes,
    /// The segments' extents, in: `low` and `high` of each.
    pub(in crate::quantize) low: &'a [f32],
    pub(in crate::quantize) high: &'a [f32],
    /// The grids that cover them, in; the best grids, out.
    pub(in crate::quantize) scale: &'a mut [f32],
    pub(in crate::quantize) zero: &'a mut [f32],
    /// Room for the weights of a tail.
    pub(in crate::quantize) tail: &'a mut Vec<f32>,
}

impl Routine for SearchRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        with_element!(self.dtype, E => search_row::<L, E>(l, self));
    }
}

#[inline(always)]
fn search_row<L: Lanes, E: Element>(l: L, row: SearchRow) {
    let SearchRow { bytes, segment, codes, low, high, scale, zero, tail, .. } = row;
    for (i, bytes) in bytes.chunks_exact(segment * E::BYTES).enumerate() {
        let (low, high) = (low[i].min(0.0), high[i].max(0.0));
        if low == 0.0 && high == 0.0 {
            continue;
        }
        let whole = Grid { scale: scale[i], zero: zero[i] };
        let modelled = !codes.asymmetric && codes.max > 100.0 && segment >= MODELLED;
        let best = if modelled {
            by_tail::<L, E>(l, bytes, codes, high.max(-low), tail)
        } else {
            by_trial::<L, E>(l, bytes, codes, low, high)
        };
        if best == whole {
            continue;
        }
        let [noise, whole_noise] = noises::<L, E, 2>(l, bytes, codes, [best, whole]);
        if noise < whole_noise {
            (scale[i], zero[i]) = (best.scale, best.zero);
        }
    }
}

/// From this many weights on, the model of the error is good.
const MODELLED: usize = 1024;

/// Candidates of the model.
const MODEL: usize = 4 * LANES;

/// Σe² of clipping symmetric codes at `c` is the clipped weights' `(|x| − c)²` and, for each of the
/// `n` others, `scale² / 12` with `scale = c / code_max`: rounding errors are spread evenly over a
/// step that is small against the weights. Only the few weights above the least sensible `c` need to
/// be looked at. There the derivative is zero: `n·c / (6·code_max²) = 2·Σ(|x| − c) ≥ 2·(max − c)`,
/// so no `c` below `max / (1 + n / (12·code_max²))` can be the best.
#[inline(always)]
fn by_tail<L: Lanes, E: Element>(
    l: L,
    bytes: &[u8],
    codes: Codes,
    max: f32,
    tail: &mut Vec<f32>,
) -> Grid {
    let weights = (bytes.len() / E::BYTES) as f32;
    let per_weight = 1.0 / (12.0 * codes.max * codes.max);
    let least = max / (1.0 + weights * per_weight);
    collect_above::<L, E>(l, bytes, least, tail);

    // From the maximum to the least, in equal steps of the reciprocal.
    let mut limits = [max; MODEL];
    for i in 1..MODEL {
        limits[i] = max / (1.0 + weights * per_weight * (i as f32 / (MODEL - 1) as f32));
    }
    let zero = l.splat(0.0);
    let mut errors = [0.0; MODEL];
    for (limits, errors) in limits.as_chunks::<LANES>().0.iter().zip(errors.as_chunks_mut().0) {
        let limit = l.get(limits);
        let mut clipped = zero;
        for &x in tail.iter() {
            let over = l.max(l.sub(l.splat(x), limit), zero);
            clipped = l.add(clipped, l.mul(over, over));
        }
        let rounding = l.mul(l.mul(limit, limit), l.splat(weights * per_weight));
        *errors = l.put(l.add(clipped, rounding));
    }

    // The three best, as grids.
    let mut order = [(f32::INFINITY, 0usize); 3];
    for (i, &error) in errors.iter().enumerate() {
        let place = order.iter().position(|o| error < o.0);
        if let Some(place) = place {
            order[place..].rotate_right(1);
            order[place] = (error, i);
        }
    }
    let most = codes.largest_scale();
    let grids = order.map(|(_, i)| {
        let scale = half::f16::from_f32((limits[i] / codes.max).max(SMALLEST)).to_f32();
        Grid { scale: scale.min(most), zero: 0.0 }
    });
    let errors = rough_noises::<L, E>(l, bytes, codes, grids);
    let mut best = 0;
    for i in 1..3 {
        if errors[i] < errors[best] {
            best = i;
        }
    }
    grids[best]
}

/// Puts the magnitudes above `limit` in `tail`.
#[inline(always)]
fn collect_above<L: Lanes, E: Element>(l: L, bytes: &[u8], limit: f32, tail: &mut Vec<f32>) {
    tail.clear();
    let limits = l.splat(limit);
    for bytes in bytes.chunks(PACKET * E::BYTES) {
        let [a, b, c, d] = load_packet::<L, E>(l, bytes);
        let x = [l.abs(a), l.abs(b), l.abs(c), l.abs(d)];
        let largest = l.max(l.max(x[0], x[1]), l.max(x[2], x[3]));
        if l.any_above(largest, limits) {
            for x in x {
                tail.extend(l.put(x).into_iter().filter(|&x| x > limit));
            }
        }
    }
}

/// Σe² of symmetric grids, up to the rounding of decoded values to FP16.
#[inline(always)]
fn rough_noises<L: Lanes, E: Element>(
    l: L,
    bytes: &[u8],
    codes: Codes,
    grids: [Grid; 3],
) -> [f64; 3] {
    let [a, b, c] = grids;
    let recips = [l.splat(1.0 / a.scale), l.splat(1.0 / b.scale), l.splat(1.0 / c.scale)];
    let (low, high) = (l.splat(codes.min), l.splat(codes.max));
    let zero = l.splat(0.0);
    let mut wide = [[0.0; LANES]; 3];
    for bytes in bytes.chunks(16 * PACKET * E::BYTES) {
        let mut sums = [zero; 3];
        for bytes in bytes.chunks(PACKET * E::BYTES) {
            for x in load_packet::<L, E>(l, bytes) {
                for k in 0..3 {
                    let steps = l.mul(x, recips[k]);
                    let error = l.sub(steps, l.round(l.max(l.min(steps, high), low)));
                    sums[k] = l.add(sums[k], l.mul(error, error));
                }
            }
        }
        for k in 0..3 {
            widen(l, &mut wide[k], sums[k]);
        }
    }
    let mut noises = [0.0; 3];
    for k in 0..3 {
        let scale = f64::from(grids[k].scale);
        noises[k] = join(wide[k]) * scale * scale;
    }
    noises
}

/// Σe² of grids, as it is reported.
#[inline(always)]
fn noises<L: Lanes, E: Element, const K: usize>(
    l: L,
    bytes: &[u8],
    codes: Codes,
    grids: [Grid; K],
) -> [f64; K] {
    let one = l.splat(1.0);
    let (min, max) = (l.splat(codes.min), l.splat(codes.max));
    let mut wide = [[0.0; LANES]; K];
    for bytes in bytes.chunks(16 * PACKET * E::BYTES) {
        for k in 0..K {
            let (scale, zero) = (l.splat(grids[k].scale), l.splat(grids[k].zero));
            let recip = l.div(one, scale);
            let (low, high) = (l.sub(min, zero), l.sub(max, zero));
            let mut sum = l.splat(0.0);
            for bytes in bytes.chunks(PACKET * E::BYTES) {
                for x in load_packet::<L, E>(l, bytes) {
                    let rounded = l.round(quotient::<L, E>(l, x, scale, recip));
                    let kept = l.max(l.min(rounded, high), low);
                    let error = l.sub(x, l.through_f16(l.mul(kept, scale)));
                    sum = l.add(sum, l.mul(error, error));
                }
            }
            widen(l, &mut wide[k], sum);
        }
    }
    let mut noises = [0.0; K];
    for k in 0..K {
        noises[k] = join(wide[k]);
    }
    noises
}

/// How far apart the first candidates are, and how far they go before the error must rise.
struct Steps {
    ratio: f32,
    /// Batches of eight at most.
    batches: usize,
    /// Whether a last batch looks between the best candidate's neighbours.
    refine: bool,
}

/// Tries candidates on all weights, eight at a time: geometric, from the whole range down, until the
/// error has risen; then between the neighbours of the best.
#[inline(always)]
fn by_trial<L: Lanes, E: Element>(l: L, bytes: &[u8], codes: Codes, low: f32, high: f32) -> Grid {
    let weights = bytes.len() / E::BYTES;
    let steps = if codes.max > 100.0 {
        if weights <= 256 {
            Steps { ratio: 0.9875, batches: 1, refine: false }
        } else {
            Steps { ratio: 0.98, batches: 8, refine: false }
        }
    } else {
        Steps { ratio: 0.92, batches: 6, refine: true }
    };
    let mut factors = [1.0f32; LANES];
    for i in 1..LANES {
        factors[i] = factors[i - 1] * steps.ratio;
    }
    let mut best = (f64::INFINITY, Grid { scale: 1.0, zero: 0.0 }, 1.0);
    let mut place = 0;
    for batch in 0..steps.batches {
        let first = place;
        try_eight::<L, E>(l, bytes, codes, (low, high), factors, &mut best, &mut place, batch);
        // The error has risen twice since the best: it will not fall again by much.
        if place < batch * LANES + LANES - 2 || (batch > 0 && place == first) {
            break;
        }
        let next = factors[LANES - 1] * steps.ratio;
        let scale = next / factors[0];
        factors = factors.map(|f| f * scale);
    }
    if steps.refine {
        let center = best.2;
        let width = (1.0 - steps.ratio) * 0.22;
        for (i, factor) in factors.iter_mut().enumerate() {
            // −4, −3, −2, −1, 1, 2, 3, 4 parts of a step.
            let parts = if i < 4 { i as f32 - 4.0 } else { i as f32 - 3.0 };
            *factor = (center * (1.0 + parts * width)).min(1.0);
        }
        try_eight::<L, E>(l, bytes, codes, (low, high), factors, &mut best, &mut place, 0);
    }
    best.1
}

/// Judges eight shrink factors and updates the best error, grid and factor, and its place.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn try_eight<L: Lanes, E: Element>(
    l: L,
    bytes: &[u8],
    codes: Codes,
    (low, high): (f32, f32),
    factors: [f32; LANES],
    best: &mut (f64, Grid, f32),
    place: &mut usize,
    batch: usize,
) {
    let factor = l.get(&factors);
    let (min, max) = (l.splat(codes.min), l.splat(codes.max));
    let zero = l.splat(0.0);
    let (scale, zeros) = if codes.asymmetric {
        let step = (high - low) / (codes.max - codes.min);
        let scale = l.through_f16(l.max(l.mul(l.splat(step), factor), l.splat(SMALLEST)));
        let ends = l.div(l.mul(l.splat(low), factor), scale);
        let zeros = l.max(l.min(l.round(l.sub(min, ends)), max), min);
        (scale, zeros)
    } else {
        let step = l.splat(high.max(-low) / codes.max);
        let scale = l.through_f16(l.max(l.mul(step, factor), l.splat(SMALLEST)));
        (l.min(scale, l.splat(codes.largest_scale())), zero)
    };
    let recip = l.div(l.splat(1.0), scale);
    let (bottom, top) = (l.sub(min, zeros), l.sub(max, zeros));

    let mut wide = [0.0; LANES];
    let mut decoded = [0.0f32; 16 * PACKET];
    for bytes in bytes.chunks(16 * PACKET * E::BYTES) {
        // Candidates lie in the lanes; each weight meets all eight at once.
        let mut filled = 0;
        for bytes in bytes.chunks(PACKET * E::BYTES) {
            for x in load_packet::<L, E>(l, bytes) {
                decoded[filled..filled + LANES].copy_from_slice(&l.put(x));
                filled += LANES;
            }
        }
        let mut sums = [zero; 4];
        for four in decoded[..filled].as_chunks::<4>().0 {
            for j in 0..4 {
                let steps = l.mul(l.splat(four[j]), recip);
                let error = l.sub(steps, l.round(l.max(l.min(steps, top), bottom)));
                sums[j] = l.add(sums[j], l.mul(error, error));
            }
        }
        widen(l, &mut wide, l.add(l.add(sums[0], sums[1]), l.add(sums[2], sums[3])));
    }
    let (scale, zeros) = (l.put(scale), l.put(zeros));
    for i in 0..LANES {
        let error = wide[i] * f64::from(scale[i]) * f64::from(scale[i]);
        let grid = Grid { scale: scale[i], zero: zeros[i] };
        if error < best.0 && grid.is_finite(codes) {
            *best = (error, grid, factors[i]);
            *place = batch * LANES + i;
        }
    }
}

/// Σe² of one grid for each segment of a row, all segments together, as it is reported.
pub(in crate::quantize) struct RowNoise<'a> {
    pub(in crate::quantize) dtype: FloatType,
    pub(in crate::quantize) bytes: &'a [u8],
    pub(in crate::quantize) segment: usize,
    pub(in crate::quantize) codes: Codes,
    pub(in crate::quantize) scale: &'a [f32],
    pub(in crate::quantize) zero: &'a [f32],
}

impl Routine for RowNoise<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let Self { dtype, bytes, segment, codes, scale, zero } = self;
        let mut sum = 0.0;
        with_element!(dtype, E => {
            for (i, bytes) in bytes.chunks_exact(segment * E::BYTES).enumerate() {
                let grid = Grid { scale: scale[i], zero: zero[i] };
                sum += noises::<L, E, 1>(l, bytes, codes, [grid])[0];
            }
        });
        sum
    }
}

/// Σe² of one grid over weights that occur several times, as it is reported.
pub(in crate::quantize) struct CountedNoise<'a> {
    pub(in crate::quantize) values: &'a [[f32; LANES]],
    pub(in crate::quantize) counts: &'a [[f32; LANES]],
    pub(in crate::quantize) codes: Codes,
    pub(in crate::quantize) grid: Grid,
}

impl Routine for CountedNoise<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let Self { values, counts, codes, grid } = self;
        let (scale, zero) = (l.splat(grid.scale), l.splat(grid.zero));
        let (low, high) = (l.sub(l.splat(codes.min), zero), l.sub(l.splat(codes.max), zero));
        let mut wide = [0.0; LANES];
        for (values, counts) in values.chunks(64).zip(counts.chunks(64)) {
            let mut sum = l.splat(0.0);
            for (x, n) in values.iter().zip(counts) {
                let x = l.get(x);
                let rounded = l.round(l.div(x, scale));
                let kept = l.max(l.min(rounded, high), low);
                let error = l.sub(x, l.through_f16(l.mul(kept, scale)));
                sum = l.add(sum, l.mul(l.mul(error, error), l.get(n)));
            }
            widen(l, &mut wide, sum);
        }
        join(wide)
    }
}
