//! The range of least squared error, segment by segment.
//!
//! A candidate is a share of the segment's own range, its scale rounded to FP16 before it is
//! judged. Other segments try every candidate on every weight. For long rows of symmetric INT8
//! codes a model of the error chooses two candidates, and only those see every weight. In both
//! cases the winner must then beat the whole range by the error as it is reported, decoded values
//! rounded to FP16: so the search never loses to clipping nothing.
//!
//! Where weights have importances (`WEIGHTED`), each error counts as often; then all segments are
//! searched by trial.

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
    /// The importance of each weight of the row, or nothing.
    pub(in crate::quantize) importance: &'a [f32],
    /// Room for the weights of a tail.
    pub(in crate::quantize) tail: &'a mut Vec<f32>,
}

impl Routine for SearchRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        with_element!(self.dtype, E => match self.importance {
            [] => search_row::<L, E, false>(l, self),
            _ => search_row::<L, E, true>(l, self),
        });
    }
}

#[inline(always)]
fn search_row<L: Lanes, E: Element, const WEIGHTED: bool>(l: L, row: SearchRow) {
    let SearchRow { bytes, segment, codes, low, high, scale, zero, importance, tail, .. } = row;
    for (i, bytes) in bytes.chunks_exact(segment * E::BYTES).enumerate() {
        let (low, high) = (low[i].min(0.0), high[i].max(0.0));
        if low == 0.0 && high == 0.0 {
            continue;
        }
        let whole = Grid { scale: scale[i], zero: zero[i] };
        let importance = if WEIGHTED { &importance[i * segment..][..segment] } else { &[] };
        let modelled = !codes.asymmetric && codes.max > 100.0 && segment >= MODELLED;
        let best = if modelled && !WEIGHTED {
            by_tail::<L, E>(l, bytes, codes, high.max(-low), tail)
        } else {
            by_trial::<L, E, WEIGHTED>(l, bytes, codes, importance, low, high)
        };
        if best == whole {
            continue;
        }
        let grids = [best, whole];
        let [noise, whole_noise] = noises::<L, E, 2, WEIGHTED>(l, bytes, codes, importance, grids);
        if noise < whole_noise {
            (scale[i], zero[i]) = (best.scale, best.zero);
        }
    }
}

/// From this many weights on, the model of the error is good.
const MODELLED: usize = 1024;

/// Candidates of the model.
const MODEL: usize = 4 * LANES;

/// The best of them, which see every weight.
const TRIED: usize = 2;

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
    for (i, limit) in limits.iter_mut().enumerate() {
        *limit = max / (1.0 + weights * per_weight * (i as f32 / (MODEL - 1) as f32));
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

    // The best, as grids.
    let mut order = [(f32::INFINITY, 0usize); TRIED];
    for (i, &error) in errors.iter().enumerate() {
        let place = order.iter().position(|o| error < o.0);
        if let Some(place) = place {
            order[place..].rotate_right(1);
            order[place] = (error, i);
        }
    }
    let most = codes.largest_scale;
    let grids = order.map(|(_, i)| {
        let scale = half::f16::from_f32((limits[i] / codes.max).max(SMALLEST)).to_f32();
        Grid { scale: scale.min(most), zero: 0.0 }
    });
    let errors = rough_noises::<L, E>(l, bytes, codes, grids);
    let mut best = 0;
    for i in 1..TRIED {
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
    grids: [Grid; TRIED],
) -> [f64; TRIED] {
    let mut recips = [l.splat(0.0); TRIED];
    for (recip, grid) in recips.iter_mut().zip(grids) {
        *recip = l.splat(1.0 / grid.scale);
    }
    let (low, high) = (l.splat(codes.min), l.splat(codes.max));
    let zero = l.splat(0.0);
    let mut wide = [[0.0; LANES]; TRIED];
    for bytes in bytes.chunks(16 * PACKET * E::BYTES) {
        let mut sums = [zero; TRIED];
        for bytes in bytes.chunks(PACKET * E::BYTES) {
            for x in load_packet::<L, E>(l, bytes) {
                for k in 0..TRIED {
                    let steps = l.mul(x, recips[k]);
                    let error = l.sub(steps, l.round(l.max(l.min(steps, high), low)));
                    sums[k] = l.add(sums[k], l.mul(error, error));
                }
            }
        }
        for k in 0..TRIED {
            widen(l, &mut wide[k], sums[k]);
        }
    }
    let mut noises = [0.0; TRIED];
    for k in 0..TRIED {
        let scale = f64::from(grids[k].scale);
        noises[k] = join(wide[k]) * scale * scale;
    }
    noises
}

/// The importances of a packet; zeros behind a segment's end, where no error is.
#[inline(always)]
fn importances(importance: &[f32], packet: usize) -> [[f32; LANES]; 4] {
    let mut whole = [[0.0; LANES]; 4];
    let here = &importance[packet * PACKET..];
    let len = here.len().min(PACKET);
    whole.as_flattened_mut()[..len].copy_from_slice(&here[..len]);
    whole
}

/// Σe² of grids, as it is reported.
#[inline(always)]
fn noises<L: Lanes, E: Element, const K: usize, const WEIGHTED: bool>(
    l: L,
    bytes: &[u8],
    codes: Codes,
    importance: &[f32],
    grids: [Grid; K],
) -> [f64; K] {
    let zero = l.splat(0.0);
    let (mut scale, mut recip, mut low, mut high) = ([zero; K], [zero; K], [zero; K], [zero; K]);
    for (k, grid) in grids.iter().enumerate() {
        scale[k] = l.splat(grid.scale);
        recip[k] = l.splat(1.0 / grid.scale);
        low[k] = l.splat(codes.min - grid.zero);
        high[k] = l.splat(codes.max - grid.zero);
    }
    let mut wide = [[0.0; LANES]; K];
    let mut packets = 0;
    for bytes in bytes.chunks(16 * PACKET * E::BYTES) {
        let mut sums = [zero; K];
        for bytes in bytes.chunks(PACKET * E::BYTES) {
            let often = if WEIGHTED { importances(importance, packets) } else { [[1.0; LANES]; 4] };
            packets += 1;
            for (x, often) in load_packet::<L, E>(l, bytes).into_iter().zip(often) {
                for k in 0..K {
                    let rounded = l.round(quotient::<L, E>(l, x, scale[k], recip[k]));
                    let kept = l.max(l.min(rounded, high[k]), low[k]);
                    let error = l.sub(x, l.through_f16(l.mul(kept, scale[k])));
                    let mut energy = l.mul(error, error);
                    if WEIGHTED {
                        energy = l.mul(energy, l.get(&often));
                    }
                    sums[k] = l.add(sums[k], energy);
                }
            }
        }
        for k in 0..K {
            widen(l, &mut wide[k], sums[k]);
        }
    }
    let mut noises = [0.0; K];
    for k in 0..K {
        noises[k] = join(wide[k]);
    }
    noises
}

/// How candidates are spaced.
struct Steps {
    /// The first share of the whole range, and each next one's share of the one before.
    first: f32,
    ratio: f32,
    /// Batches of eight at most.
    batches: usize,
    /// Whether a last batch looks between the best candidate's neighbours.
    refine: bool,
}

impl Steps {
    /// Few weights rarely pay for clipping the largest of them, but by stretching the grid by a
    /// percent they can move nearer to its lines: with eight bits, that is all there is to gain.
    const SHORT_INT8: Self = Self { first: 1.028, ratio: 0.9961, batches: 1, refine: false };
    const LONG_INT8: Self = Self { first: 1.0, ratio: 0.98, batches: 8, refine: false };
    const INT4: Self = Self { first: 1.0, ratio: 0.92, batches: 6, refine: true };
}

/// Tries candidates on all weights, eight at a time: geometric, downwards, until the error has risen;
/// then between the neighbours of the best.
#[inline(always)]
fn by_trial<L: Lanes, E: Element, const WEIGHTED: bool>(
    l: L,
    bytes: &[u8],
    codes: Codes,
    importance: &[f32],
    low: f32,
    high: f32,
) -> Grid {
    let steps = if codes.max < 100.0 {
        Steps::INT4
    } else if bytes.len() < MODELLED * E::BYTES {
        Steps::SHORT_INT8
    } else {
        Steps::LONG_INT8
    };
    let mut factors = [steps.first; LANES];
    for i in 1..LANES {
        factors[i] = factors[i - 1] * steps.ratio;
    }
    let segment = Segment { bytes, importance, low, high, codes };
    let mut best = Best { error: f32::INFINITY, grid: Grid { scale: 1.0, zero: 0.0 }, factor: 1.0 };
    if steps.first > 1.0 {
        // Nothing is clipped: no code needs to be clamped.
        try_eight::<L, E, false, WEIGHTED>(l, segment, factors, &mut best);
        return best.grid;
    }
    for _ in 0..steps.batches {
        try_eight::<L, E, true, WEIGHTED>(l, segment, factors, &mut best);
        // The error has risen twice since the best: it will not fall again by much.
        if best.factor > factors[LANES - 2] {
            break;
        }
        let shrink = factors[LANES - 1] * steps.ratio / factors[0];
        for factor in &mut factors {
            *factor *= shrink;
        }
    }
    if steps.refine {
        // −4, −3, −2, −1, 1, 2, 3, 4 parts of a step.
        let part = (1.0 - steps.ratio) * 0.22;
        for (i, factor) in factors.iter_mut().enumerate() {
            let parts = if i < 4 { i as f32 - 4.0 } else { i as f32 - 3.0 };
            *factor = best.factor * (1.0 + parts * part);
        }
        try_eight::<L, E, true, WEIGHTED>(l, segment, factors, &mut best);
    }
    best.grid
}

/// What a segment's candidates are made from, and what they are tried on.
#[derive(Clone, Copy)]
struct Segment<'a> {
    bytes: &'a [u8],
    importance: &'a [f32],
    low: f32,
    high: f32,
    codes: Codes,
}

/// The best candidate so far.
struct Best {
    error: f32,
    grid: Grid,
    factor: f32,
}

/// Judges eight shares of the whole range; without `CLIP`, as if there were codes beyond the last.
#[inline(always)]
fn try_eight<L: Lanes, E: Element, const CLIP: bool, const WEIGHTED: bool>(
    l: L,
    Segment { bytes, importance, low, high, codes }: Segment,
    factors: [f32; LANES],
    best: &mut Best,
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
        (l.min(scale, l.splat(codes.largest_scale)), zero)
    };
    let recip = l.div(l.splat(1.0), scale);
    let (bottom, top) = (l.sub(min, zeros), l.sub(max, zeros));

    let mut wide = [0.0; LANES];
    let mut sums = [zero; 4];
    let mut pending = 0;
    for (at, bytes) in bytes.chunks(PACKET * E::BYTES).enumerate() {
        // Candidates lie in the lanes; each weight meets all eight at once.
        let packet = load_packet::<L, E>(l, bytes);
        let often = if WEIGHTED { importances(importance, at) } else { [[1.0; LANES]; 4] };
        for (x, often) in packet.into_iter().zip(often) {
            let x = l.put(x);
            for i in 0..LANES {
                let steps = l.mul(l.splat(x[i]), recip);
                let kept = if CLIP { l.max(l.min(steps, top), bottom) } else { steps };
                let error = l.sub(steps, l.round(kept));
                let mut energy = l.mul(error, error);
                if WEIGHTED {
                    energy = l.mul(energy, l.splat(often[i]));
                }
                sums[i % 4] = l.add(sums[i % 4], energy);
            }
        }
        pending += 1;
        if pending == 16 {
            widen(l, &mut wide, l.add(l.add(sums[0], sums[1]), l.add(sums[2], sums[3])));
            sums = [zero; 4];
            pending = 0;
        }
    }
    widen(l, &mut wide, l.add(l.add(sums[0], sums[1]), l.add(sums[2], sums[3])));
    let mut errors = wide.map(|sum| sum as f32);
    errors = l.put(l.mul(l.mul(l.get(&errors), scale), scale));
    let (scale, zeros) = (l.put(scale), l.put(zeros));
    if codes.asymmetric {
        for i in 0..LANES {
            let grid = Grid { scale: scale[i], zero: zeros[i] };
            errors[i] = if grid.is_finite(codes) { errors[i] } else { f32::INFINITY };
        }
    }
    // The first of the least. Numbers that are not negative order as their bits do; comparing these
    // with the place behind them needs no branch, which would be guessed wrongly half of the time.
    let mut least = u64::MAX;
    for (i, error) in errors.iter().enumerate() {
        least = least.min(u64::from(error.to_bits()) << 32 | i as u64);
    }
    let i = least as usize % LANES;
    if errors[i] < best.error {
        let grid = Grid { scale: scale[i], zero: zeros[i] };
        *best = Best { error: errors[i], grid, factor: factors[i] };
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
    /// The importance of each weight, or nothing.
    pub(in crate::quantize) importance: &'a [f32],
}

impl Routine for RowNoise<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) -> f64 {
        let Self { dtype, bytes, segment, codes, scale, zero, importance } = self;
        let mut sum = 0.0;
        with_element!(dtype, E => {
            for (i, bytes) in bytes.chunks_exact(segment * E::BYTES).enumerate() {
                let grid = [Grid { scale: scale[i], zero: zero[i] }];
                sum += match importance {
                    [] => noises::<L, E, 1, false>(l, bytes, codes, &[], grid)[0],
                    _ => {
                        let importance = &importance[i * segment..][..segment];
                        noises::<L, E, 1, true>(l, bytes, codes, importance, grid)[0]
                    }
                };
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
