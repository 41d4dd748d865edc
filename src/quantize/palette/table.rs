//! What a palette's indices mean: FP16 entries, or INT8 entries with one FP16 scale.
//!
//! Entries are rounded to their stored type first; indices then point to the nearest *stored*
//! entry, the lower of two equally near. Scalar tables ascend. Slots that are not needed repeat the
//! last entry: no index points there, and every index a reader might meet has a sound meaning.

use super::solver::Sums;
use crate::quantize::Params;
use crate::scheme::Entries;
use half::f16;

/// One table of `P` entries of `V` values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// What the indices decode to, `[P, V]`, rounded to FP16.
    pub(super) values: Vec<f16>,
    /// INT8 entries, `[P, V]`, where the table has them.
    pub(super) codes: Vec<i8>,
    /// Their scale: `value = f16(scale · code)`.
    pub(super) scale: Option<f16>,
}

/// INT8 entries are symmetric: −127…127.
const CODE_MAX: f32 = 127.0;

/// Shares of the full code range that the largest centroid may be given: a slightly larger scale
/// can put the other centroids nearer to whole codes.
const SCALES_TRIED: usize = 24;

/// Rounds of moving entries to the means of what they serve, and the scale to its least squares.
const REFINEMENTS: usize = 12;

impl Table {
    /// The table of `2^bits` scalars for the points behind `sums`, whose cuts are an optimal
    /// partition. Each centroid is rounded to the stored type. `x` are the points' values, `limit`
    /// the largest magnitude that an entry may decode to.
    pub(super) fn scalar(
        sums: &Sums,
        x: &[f64],
        cuts: &[u32],
        bits: u8,
        entries: Entries,
        limit: f32,
    ) -> Self {
        let means: Vec<f64> =
            cuts.windows(2).map(|c| sums.mean(c[0] as usize, c[1] as usize)).collect();
        let size = 1usize << bits;
        match entries {
            Entries::F16 => {
                let mut values: Vec<f16> = means.into_iter().map(f16::from_f64).collect();
                values.dedup();
                pad(&mut values, size);
                Self { values, codes: Vec::new(), scale: None }
            }
            Entries::Int8 => {
                let mut best = Int8::search(sums, x, &means, limit);
                pad(&mut best.codes, size);
                Self::int8(best.codes, best.scale)
            }
        }
    }

    /// The table of vectors: `entries` are `[P, V]`. INT8 codes use their whole range.
    pub(super) fn vectors(entries: &[f32], kind: Entries, limit: f32) -> Self {
        match kind {
            Entries::F16 => {
                let values = entries.iter().map(|&c| f16::from_f32(c)).collect();
                Self { values, codes: Vec::new(), scale: None }
            }
            Entries::Int8 => {
                let largest = entries.iter().fold(0f32, |m, c| m.max(c.abs()));
                let scale = table_scale(largest / CODE_MAX, limit);
                Self::int8(entries.iter().map(|&c| code(c, scale.to_f32())).collect(), scale)
            }
        }
    }

    /// The table of `2^bits` scalars that holds these values, which are FP16's, exactly.
    pub(super) fn of_values(x: &[f64], bits: u8) -> Self {
        let mut values: Vec<f16> = x.iter().map(|&x| f16::from_f64(x)).collect();
        pad(&mut values, 1 << bits);
        Self { values, codes: Vec::new(), scale: None }
    }

    /// Puts the table behind those in `params`.
    pub(super) fn append_to(&self, params: &mut Params) {
        match self.scale {
            None => params.table.extend_from_slice(&self.values),
            Some(scale) => {
                params.table_codes.extend_from_slice(&self.codes);
                params.table_scale.push(scale);
            }
        }
    }

    fn int8(codes: Vec<i8>, scale: f16) -> Self {
        let values = codes.iter().map(|&q| int8_value(q, scale)).collect();
        Self { values, codes, scale: Some(scale) }
    }
}

/// What an INT8 entry decodes to.
pub(super) fn int8_value(code: i8, scale: f16) -> f16 {
    f16::from_f32(scale.to_f32() * f32::from(code))
}

fn pad<T: Copy>(entries: &mut Vec<T>, size: usize) {
    let last = *entries.last().expect("a table has an entry");
    entries.resize(size, last);
}

/// The nearest FP16 scale that is not zero and with which no code decodes beyond `limit`.
fn table_scale(scale: f32, limit: f32) -> f16 {
    if scale == 0.0 {
        return f16::ONE;
    }
    let mut scale = f16::from_f32(scale).max(f16::from_bits(1));
    while int8_value(127, scale).to_f32() > limit && scale.to_bits() > 1 {
        scale = f16::from_bits(scale.to_bits() - 1);
    }
    scale
}

fn code(x: f32, scale: f32) -> i8 {
    (x / scale).round_ties_even().clamp(-CODE_MAX, CODE_MAX) as i8
}

/// INT8 entries under construction: distinct ascending codes.
#[derive(Clone)]
struct Int8 {
    codes: Vec<i8>,
    scale: f16,
    error: f64,
    /// The points each code serves: cuts, as many as codes and one more.
    cuts: Vec<usize>,
}

impl Int8 {
    /// Rounds centroids with several scales, takes the best, and improves it in turns: codes to the
    /// means of what they serve, the scale to its least squares. No step is kept that raises the
    /// error.
    fn search(sums: &Sums, x: &[f64], means: &[f64], limit: f32) -> Self {
        let largest = means.iter().fold(0f64, |m, c| m.max(c.abs())) as f32;
        let rounded = |means: &mut dyn Iterator<Item = f64>, scale: f16| {
            let codes = means.map(|c| code(c as f32, scale.to_f32())).collect();
            Self::measured(sums, x, codes, scale)
        };
        let mut best: Option<Self> = None;
        for i in 0..SCALES_TRIED {
            let scale = table_scale(largest / (CODE_MAX - i as f32), limit);
            let tried = rounded(&mut means.iter().copied(), scale);
            if best.as_ref().is_none_or(|b| tried.error < b.error) {
                best = Some(tried);
            }
        }
        let mut best = best.expect("at least one scale is tried");
        for _ in 0..REFINEMENTS {
            let before = best.error;
            let runs = || best.cuts.windows(2).filter(|c| c[0] < c[1]);
            let moved = rounded(&mut runs().map(|c| sums.mean(c[0], c[1])), best.scale);
            if moved.error < best.error {
                best = moved;
            }
            let scale = table_scale(best.least_squares(sums) as f32, limit);
            let scaled = Self::measured(sums, x, best.codes.clone(), scale);
            if scaled.error < best.error {
                best = scaled;
            }
            if best.error == before {
                break;
            }
        }
        best
    }

    fn measured(sums: &Sums, x: &[f64], mut codes: Vec<i8>, scale: f16) -> Self {
        codes.sort_unstable();
        codes.dedup();
        let values: Vec<f64> = codes.iter().map(|&q| int8_value(q, scale).to_f64()).collect();
        let mut cuts = vec![0];
        for pair in values.windows(2) {
            let middle = (pair[0] + pair[1]) / 2.0;
            let from = cuts[cuts.len() - 1];
            cuts.push(from + x[from..].partition_point(|&x| x <= middle));
        }
        cuts.push(x.len());
        let runs = cuts.windows(2).zip(&values).filter(|(c, _)| c[0] < c[1]);
        let error = runs.map(|(c, &v)| sums.error(c[0], c[1], v)).sum();
        Self { codes, scale, error, cuts }
    }

    /// Σ w·x·q / Σ w·q²: the scale of least error for these codes and runs.
    fn least_squares(&self, sums: &Sums) -> f64 {
        let (mut top, mut bottom) = (0.0, 0.0);
        for (c, &q) in self.cuts.windows(2).zip(&self.codes).filter(|(c, _)| c[0] < c[1]) {
            let (w, q) = (sums.weight(c[0], c[1]), f64::from(q));
            top += w * q * sums.mean(c[0], c[1]);
            bottom += w * q * q;
        }
        if bottom > 0.0 { top / bottom } else { 0.0 }
    }
}

/// The largest FP16 value that is nearest to entry i (or as near as to i + 1), for each i: a value
/// belongs to the first entry whose limit it does not exceed. One shorter than the table; limits
/// of repeated entries are infinite, as nothing reaches them.
pub(super) fn limits(values: &[f16]) -> Vec<f32> {
    let mut limits: Vec<f32> = values
        .windows(2)
        .map(|pair| {
            if pair[0] == pair[1] {
                return f32::INFINITY;
            }
            // Exact in f64; then the largest f32 that is not above.
            let middle = (pair[0].to_f64() + pair[1].to_f64()) / 2.0;
            let near = middle as f32;
            if f64::from(near) > middle { near.next_down() } else { near }
        })
        .collect();
    // A padded tail repeats the last entry; a repeated entry elsewhere would break the order.
    if let Some(first) = limits.iter().position(|l| l.is_infinite()) {
        limits[first..].fill(f32::INFINITY);
    }
    limits
}

#[cfg(test)]
mod tests;
