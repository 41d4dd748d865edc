//! INT8 products in AVX2: widened, in pairs, and in quads where the processor has AVX-VNNI.
#![allow(unsafe_code)]

use super::avx2::Avx2;
use super::{Dot, Simd, Work};
use std::arch::x86_64::*;

/// `vpmaddubsw` of |x| and w with the sign of x, then `vpmaddwd` by ones.
///
/// The first saturates at 16 bits, which it never reaches here: |x| ≤ 128 and |w| ≤ 127, so that the
/// sum of a pair is at most 2 · 128 · 127 = 32,512. **Weights of −128 are not allowed**: taking the
/// sign of x would have to negate them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs(pub(super) Avx2);

/// `vpdpbusd` on 256 bits. Exists only where the processor has it, and AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AvxVnni(Avx2);

token!(AvxVnni(Avx2::detect()?): "avxvnni" "avx2" "fma" "f16c");

/// `dot` on each half.
macro_rules! halves {
    (|$sums:ident, $w:ident, $x:ident| $dot:expr) => {
        #[inline(always)]
        fn dot(self, sums: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
            // SAFETY: `self` exists, so the processor has AVX2, and AVX-VNNI where that is its name.
            unsafe {
                let [low, high] = [(sums[0], w[0], x[0]), (sums[1], w[1], x[1])];
                let ($sums, $w, $x) = low;
                let low = $dot;
                let ($sums, $w, $x) = high;
                [low, $dot]
            }
        }
    };
}

/// Exact for all codes: bytes 0 and 2 of each lane, then 1 and 3, widened to 16 bits for `vpmaddwd`.
/// `vpmaddubsw` by 1 and 0 widens the even bytes in one instruction, a shift the odd ones.
impl Dot for Avx2 {
    type Simd = Self;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Self {
        self
    }

    halves!(|sums, w, x| {
        let first = _mm256_set1_epi16(1);
        let [even_w, even_x] = [_mm256_maddubs_epi16(first, w), _mm256_maddubs_epi16(first, x)];
        let [odd_w, odd_x] = [_mm256_srai_epi16::<8>(w), _mm256_srai_epi16::<8>(x)];
        let even = _mm256_add_epi32(sums, _mm256_madd_epi16(even_w, even_x));
        _mm256_add_epi32(even, _mm256_madd_epi16(odd_w, odd_x))
    });
}

impl Dot for Pairs {
    type Simd = Avx2;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Avx2 {
        self.0
    }

    halves!(|sums, w, x| {
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    });
}

impl Dot for AvxVnni {
    type Simd = Avx2;
    const UNSIGNED: bool = true;
    const TILE: usize = 6;

    fn simd(self) -> Avx2 {
        self.0
    }

    halves!(|sums, w, x| _mm256_dpbusd_avx_epi32(sums, x, w));
}
