//! The extent of segments, found by comparing bit patterns as integers: a NaN counts as beyond
//! infinity, so that one look at the result tells whether all weights are finite.

use super::{FloatType, LANES, Lanes, Routine};
use crate::quantize::grid::{Codes, Grid, SMALLEST};

/// The largest |x| of each segment of `segment` weights; NaN or infinity if one is among them.
pub(in crate::quantize) struct Magnitudes<'a> {
    pub(in crate::quantize) dtype: FloatType,
    pub(in crate::quantize) bytes: &'a [u8],
    pub(in crate::quantize) segment: usize,
    pub(in crate::quantize) out: &'a mut [f32],
}

/// The smallest and the largest weight of each segment. If one is not finite, one of the two is not.
pub(in crate::quantize) struct Extents<'a> {
    pub(in crate::quantize) dtype: FloatType,
    pub(in crate::quantize) bytes: &'a [u8],
    pub(in crate::quantize) segment: usize,
    pub(in crate::quantize) low: &'a mut [f32],
    pub(in crate::quantize) high: &'a mut [f32],
}

impl Routine for Magnitudes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { dtype, bytes, segment, out } = self;
        let chunks = bytes.chunks_exact(segment * dtype.bytes());
        match dtype {
            FloatType::F16 | FloatType::BF16 => {
                for (out, bytes) in out.iter_mut().zip(chunks) {
                    // The common block has its own copy, which the compiler unrolls.
                    let largest = match <&[u8; 64]>::try_from(bytes) {
                        Ok(block) => largest_of_16(block),
                        Err(_) => largest_of_16(bytes),
                    };
                    *out = widen(dtype, largest);
                }
            }
            FloatType::F32 => {
                for (out, bytes) in out.iter_mut().zip(chunks) {
                    let bits = bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b));
                    let largest = bits.fold(0, |m, bits| m.max(bits & 0x7fff_ffff));
                    *out = f32::from_bits(largest);
                }
            }
        }
    }
}

#[inline(always)]
fn largest_of_16(bytes: &[u8]) -> u16 {
    let bits = bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b));
    bits.fold(0, |m, bits| m.max(bits & 0x7fff))
}

#[inline(always)]
fn widen(dtype: FloatType, bits: u16) -> f32 {
    match dtype {
        FloatType::F16 => half::f16::from_bits(bits).to_f32(),
        FloatType::BF16 | FloatType::F32 => f32::from_bits(u32::from(bits) << 16),
    }
}

impl Routine for Extents<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { dtype, bytes, segment, low, high } = self;
        let chunks = bytes.chunks_exact(segment * dtype.bytes());
        match dtype {
            FloatType::F16 | FloatType::BF16 => {
                for ((low, high), bytes) in low.iter_mut().zip(high).zip(chunks) {
                    let keys =
                        bytes.as_chunks().0.iter().map(|&b| ordered16(i16::from_le_bytes(b)));
                    let ends = keys.fold((i16::MAX, i16::MIN), |(l, h), k| (l.min(k), h.max(k)));
                    // The order's own inverse is itself.
                    *low = widen(dtype, ordered16(ends.0) as u16);
                    *high = widen(dtype, ordered16(ends.1) as u16);
                }
            }
            FloatType::F32 => {
                for ((low, high), bytes) in low.iter_mut().zip(high).zip(chunks) {
                    let keys =
                        bytes.as_chunks().0.iter().map(|&b| ordered32(i32::from_le_bytes(b)));
                    let ends = keys.fold((i32::MAX, i32::MIN), |(l, h), k| (l.min(k), h.max(k)));
                    *low = f32::from_bits(ordered32(ends.0) as u32);
                    *high = f32::from_bits(ordered32(ends.1) as u32);
                }
            }
        }
    }
}

/// Maps sign and magnitude to two's complement, so that integers order as the numbers do.
#[inline(always)]
fn ordered16(bits: i16) -> i16 {
    bits ^ ((bits >> 15) & 0x7fff)
}

#[inline(always)]
fn ordered32(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & 0x7fff_ffff)
}

/// [`Grid::covering`] for symmetric codes and many magnitudes.
pub(in crate::quantize) struct Cover<'a> {
    pub(in crate::quantize) codes: Codes,
    pub(in crate::quantize) magnitudes: &'a [f32],
    pub(in crate::quantize) scale: &'a mut [f32],
}

impl Routine for Cover<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { codes, magnitudes, scale } = self;
        let (most, least) = (l.splat(codes.largest_scale), l.splat(SMALLEST));
        let top = l.splat(codes.max);
        for (magnitudes, scale) in magnitudes.chunks(LANES).zip(scale.chunks_mut(LANES)) {
            let mut eight = [1.0; LANES];
            eight[..magnitudes.len()].copy_from_slice(magnitudes);
            let magnitude = l.get(&eight);
            let nearest = l.through_f16(l.max(l.div(magnitude, top), least));
            let kept = l.min(nearest, most);
            if l.any_above(l.round(l.div(magnitude, kept)), top) {
                for (scale, &magnitude) in scale.iter_mut().zip(magnitudes) {
                    *scale = Grid::covering(codes, -magnitude, magnitude).scale;
                }
            } else {
                // A segment of zeros has scale 1.
                let kept = l.put(kept);
                for ((scale, kept), &magnitude) in scale.iter_mut().zip(kept).zip(magnitudes) {
                    *scale = if magnitude == 0.0 { 1.0 } else { kept };
                }
            }
        }
    }
}
