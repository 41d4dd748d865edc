//! The grid of values that one scale and one zero point can hold, and how it is laid over a range.

use crate::scheme::Linear;
use half::f16;

/// The smallest scale: FP16's smallest number.
pub(super) const SMALLEST: f32 = f16::MIN_POSITIVE_SUBNORMAL.to_f32_const();

/// From here on, rounding to FP16 gives infinity.
const INFINITE: f32 = 65520.0;

/// The codes of a scheme. Kept as f32, in which all arithmetic on them is exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Codes {
    pub(super) min: f32,
    pub(super) max: f32,
    pub(super) asymmetric: bool,
    /// The largest symmetric scale that keeps every decoded value finite.
    pub(super) largest_scale: f32,
}

/// `x ≈ scale · (q − zero)`; `scale` is an FP16 number, `zero` a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) zero: f32,
}

impl Codes {
    pub(super) fn of(scheme: Linear) -> Self {
        let max = f32::from(scheme.bits.max());
        let min = if scheme.asymmetric { -max - 1.0 } else { -max };
        let mut scale = f16::from_f32(INFINITE / max);
        while max * scale.to_f32() >= INFINITE {
            scale = below(scale);
        }
        let largest_scale = scale.to_f32();
        Self { min, max, asymmetric: scheme.asymmetric, largest_scale }
    }
}

impl Grid {
    /// The finest grid on which nothing in `low..=high` falls outside the codes; both ends may be
    /// the same. The range is widened to hold 0, and to be symmetric where the codes are.
    ///
    /// - Symmetric: `scale = max(−low, high) / code_max`. Asymmetric: `scale = (high − low) /
    ///   (code_max − code_min)`, `zero = round(code_min − low / scale)`.
    /// - The scale is rounded to the nearest FP16 number, at least 2⁻²⁴; where that would give an end
    ///   of the range a code that does not exist, it is the next above; where a code would decode to
    ///   FP16's infinity (from 65520), it is the next below until none does, though an end of the
    ///   range may then be clipped.
    /// - An empty range, of zeros alone, has scale 1.
    pub(super) fn covering(codes: Codes, low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        if low == 0.0 && high == 0.0 {
            return Self { scale: 1.0, zero: 0.0 };
        }
        let wanted = if codes.asymmetric {
            (high - low) / (codes.max - codes.min)
        } else {
            high.max(-low) / codes.max
        };
        let mut scale = f16::from_f32(wanted.max(SMALLEST));
        if Self::with_scale(codes, scale, low).clips(codes, low, high) {
            scale = above(scale);
        }
        let mut grid = Self::with_scale(codes, scale, low);
        while !grid.is_finite(codes) {
            scale = below(scale);
            grid = Self::with_scale(codes, scale, low);
        }
        grid
    }

    fn with_scale(codes: Codes, scale: f16, low: f32) -> Self {
        let scale = scale.to_f32();
        let zero = if codes.asymmetric {
            (codes.min - low / scale).round_ties_even().clamp(codes.min, codes.max)
        } else {
            0.0
        };
        Self { scale, zero }
    }

    /// Whether every code decodes to a finite FP16 number.
    pub(super) fn is_finite(self, codes: Codes) -> bool {
        (codes.max - self.zero).max(self.zero - codes.min) * self.scale < INFINITE
    }

    /// Whether an end of the range falls outside the codes.
    pub(super) fn clips(self, codes: Codes, low: f32, high: f32) -> bool {
        (low / self.scale).round_ties_even() + self.zero < codes.min
            || (high / self.scale).round_ties_even() + self.zero > codes.max
    }
}

/// The next FP16 number above a positive one.
fn above(x: f16) -> f16 {
    f16::from_bits(x.to_bits() + 1)
}

/// The next FP16 number below a positive one.
fn below(x: f16) -> f16 {
    f16::from_bits(x.to_bits() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{LinearBits, LinearGranularity};

    fn codes(bits: LinearBits, asymmetric: bool) -> Codes {
        Codes::of(Linear { bits, asymmetric, granularity: LinearGranularity::Tensor })
    }

    #[test]
    fn a_grid_holds_its_range_and_stays_finite() {
        use LinearBits::{Int4, Int8};
        type Case<'a> = (&'a str, LinearBits, bool, (f32, f32), (f32, f32));
        let tiny = 2f32.powi(-24);
        #[rustfmt::skip]
        let cases: &[Case] = &[
            ("an even scale",                        Int8, false, (-127.0, 3.0),       (1.0, 0.0)),
            ("zeros",                                Int8, false, (0.0, 0.0),          (1.0, 0.0)),
            ("zeros, asymmetric",                    Int4, true,  (0.0, 0.0),          (1.0, 0.0)),
            ("the smallest number",                  Int8, false, (0.0, tiny),         (tiny, 0.0)),
            ("a subnormal whose scale vanishes",     Int8, false, (-1e-40, 0.0),       (tiny, 0.0)),
            ("nearest scale would clip: next above", Int8, false, (0.0, 190.0 * tiny), (2.0 * tiny, 0.0)),
            ("65504 / 127 rounds to infinity",       Int8, false, (0.0, 65504.0),      (515.5, 0.0)),
            ("65504 / 7 rounds to infinity",         Int4, false, (-65504.0, 0.0),     (9352.0, 0.0)),
            ("a range that spends every code",       Int8, true,  (-128.0, 127.0),     (1.0, 0.0)),
            ("a positive range is widened to 0",     Int8, true,  (1.0, 255.0),        (1.0, -128.0)),
            ("a negative range is widened to 0",     Int8, true,  (-255.0, -1.0),      (1.0, 127.0)),
            ("both halves at the top, four bits",    Int4, true,  (-65504.0, 65504.0), (8188.0, 0.0)),
        ];
        for &(name, bits, asymmetric, (low, high), (scale, zero)) in cases {
            let codes = codes(bits, asymmetric);
            let grid = Grid::covering(codes, low, high);
            assert_eq!(grid, Grid { scale, zero }, "{name}");
            assert!(grid.is_finite(codes), "{name}");
        }
    }

    #[test]
    fn no_range_is_clipped_unless_it_would_be_infinite() {
        for bits in [LinearBits::Int8, LinearBits::Int4] {
            for asymmetric in [false, true] {
                let codes = codes(bits, asymmetric);
                for step in 0..20_000u32 {
                    let high = f16::from_bits((step * 37 % 0x7c00) as u16).to_f32();
                    let low = -f16::from_bits((step * 7919 % 0x7c00) as u16).to_f32();
                    let grid = Grid::covering(codes, low, high);
                    assert!(grid.is_finite(codes), "{low} {high}");
                    let near_the_top = high - low > 60_000.0;
                    assert!(near_the_top || !grid.clips(codes, low, high), "{low} {high} {grid:?}");
                }
            }
        }
    }
}
