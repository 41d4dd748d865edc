//! INT8 products in AVX2: pairs, widened pairs, and quads where the processor has AVX-VNNI.
#![allow(unsafe_code)]
// Iterators are closures: one that is not inlined would lose the processor's instructions.
#![allow(clippy::needless_range_loop)]

use super::avx2::Avx2;
use super::{Dot, IntegerWork, PANELS, Quad, ROWS, Simd, Sums};
use std::arch::x86_64::*;

/// `vpmaddubsw` of |x| and w with the sign of x, then `vpmaddwd` by ones.
///
/// The first saturates at 16 bits, which it never reaches here: |x| ≤ 128 and |w| ≤ 127, so that the
/// sum of a pair is at most 2 · 128 · 127 = 32,512. **Weights of −128 are not allowed**: taking the
/// sign of x would have to negate them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs(pub(super) Avx2);

/// `vpmovsxbw`, then `vpmaddwd`: exact for all codes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widened(pub(super) Avx2);

/// `vpdpbusd` on 256 bits. Exists only where the processor has it, and AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AvxVnni(Avx2);

impl AvxVnni {
    pub(super) fn detect() -> Option<Self> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }
}

/// `run` on a token, inside a function that enables its features.
macro_rules! run_with {
    ($Token:ident, $features:literal) => {
        impl $Token {
            pub(super) fn run<W: IntegerWork>(self, work: W) -> W::Output {
                #[target_feature(enable = $features)]
                fn inner<W: IntegerWork>(token: $Token, work: W) -> W::Output {
                    work.run(token)
                }
                // SAFETY: the token exists, so the processor has these features.
                unsafe { inner(self, work) }
            }
        }
    };
}
run_with!(Pairs, "avx2,fma,f16c");
run_with!(Widened, "avx2,fma,f16c");
run_with!(AvxVnni, "avx2,fma,f16c,avxvnni");

/// Adds two vectors to sixteen sums.
#[inline(always)]
fn put(_: Avx2, lanes: [__m256i; 2], sums: &mut [i32; ROWS]) {
    let at: *mut __m256i = sums.as_mut_ptr().cast();
    // SAFETY: the token exists, so the processor has AVX2; loads and stores lie in `sums`.
    unsafe {
        _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), lanes[0]));
        let at = at.add(1);
        _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), lanes[1]));
    }
}

impl Dot for Pairs {
    type Simd = Avx2;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[Quad]; PANELS],
        x: &[[[u8; 4]; M]],
        sums: &mut [Sums<i32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has AVX2.
            unsafe {
                let mut lanes = [[_mm256_setzero_si256(); 2]; M];
                let ones = _mm256_set1_epi16(1);
                for (w, x) in w.iter().zip(x) {
                    let w = self.0.load(w);
                    for i in 0..M {
                        let x = _mm256_set1_epi32(i32::from_le_bytes(x[i]));
                        let magnitude = _mm256_abs_epi8(x);
                        for h in 0..2 {
                            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w[h], x));
                            let sums = _mm256_madd_epi16(pairs, ones);
                            lanes[i][h] = _mm256_add_epi32(lanes[i][h], sums);
                        }
                    }
                }
                for i in 0..M {
                    put(self.0, lanes[i], &mut sums[i][p]);
                }
            }
        }
    }
}

impl Dot for Widened {
    type Simd = Avx2;
    const UNSIGNED: bool = false;
    const TILE: usize = 2;

    fn simd(self) -> Avx2 {
        self.0
    }

    /// A vector holds four rows by four columns, so that each row has two sums until the end.
    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[Quad]; PANELS],
        x: &[[[u8; 4]; M]],
        sums: &mut [Sums<i32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has AVX2; loads are of 16 bytes of a quad.
            unsafe {
                let mut lanes = [[_mm256_setzero_si256(); 4]; M];
                for (w, x) in w.iter().zip(x) {
                    let at: *const __m128i = w.as_ptr().cast();
                    let w = [
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(at)),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(at.add(1))),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(at.add(2))),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(at.add(3))),
                    ];
                    for i in 0..M {
                        let x = _mm_set1_epi32(i32::from_le_bytes(x[i]));
                        let x = _mm256_cvtepi8_epi16(x);
                        for h in 0..4 {
                            let pairs = _mm256_madd_epi16(w[h], x);
                            lanes[i][h] = _mm256_add_epi32(lanes[i][h], pairs);
                        }
                    }
                }
                for i in 0..M {
                    let [a, b, c, d] = lanes[i];
                    // Adding neighbours works on 128-bit halves: put the pairs of rows in order.
                    let [a, b] = [_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d)];
                    let a = _mm256_permute4x64_epi64::<0b11_01_10_00>(a);
                    let b = _mm256_permute4x64_epi64::<0b11_01_10_00>(b);
                    put(self.0, [a, b], &mut sums[i][p]);
                }
            }
        }
    }
}

impl Dot for AvxVnni {
    type Simd = Avx2;
    const UNSIGNED: bool = true;
    const TILE: usize = 6;

    fn simd(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[Quad]; PANELS],
        x: &[[[u8; 4]; M]],
        sums: &mut [Sums<i32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has AVX2 and AVX-VNNI.
            unsafe {
                let mut lanes = [[_mm256_setzero_si256(); 2]; M];
                for (w, x) in w.iter().zip(x) {
                    let w = self.0.load(w);
                    for i in 0..M {
                        let x = _mm256_set1_epi32(i32::from_le_bytes(x[i]));
                        for h in 0..2 {
                            lanes[i][h] = _mm256_dpbusd_avx_epi32(lanes[i][h], x, w[h]);
                        }
                    }
                }
                for i in 0..M {
                    put(self.0, lanes[i], &mut sums[i][p]);
                }
            }
        }
    }
}
