//! INT8 products in AVX2: pairs, widened pairs, and quads where the processor has AVX-VNNI.
#![allow(unsafe_code)]

use super::avx2::Avx2;
use super::{Dot, IntegerWork, PANELS, Quad, ROWS, Sums};
use std::arch::x86_64::*;
use std::array::from_fn;

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

/// Both halves of a quad: rows 0 to 7 and 8 to 15.
#[inline(always)]
fn load(_: Avx2, quad: &Quad) -> [__m256i; 2] {
    // SAFETY: the token exists, so the processor has AVX2; both loads lie in `quad`.
    from_fn(|i| unsafe { _mm256_loadu_si256(quad.as_ptr().add(32 * i).cast()) })
}

/// Sixteen sums from two vectors.
#[inline(always)]
fn put(_: Avx2, lanes: [__m256i; 2], sums: &mut [i32; ROWS]) {
    for (sums, lanes) in sums.as_chunks_mut::<8>().0.iter_mut().zip(lanes) {
        // SAFETY: the token exists, so the processor has AVX2; the store is of 32 bytes.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), lanes) }
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
        x: [&[[u8; 4]]; M],
        sums: &mut [Sums<i32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            let x = x.map(|x| &x[..w.len()]);
            // SAFETY: `self` exists, so the processor has AVX2.
            unsafe {
                let mut lanes = [[_mm256_setzero_si256(); 2]; M];
                let ones = _mm256_set1_epi16(1);
                for (k, w) in w.iter().enumerate() {
                    let w = load(self.0, w);
                    for i in 0..M {
                        let x = _mm256_set1_epi32(i32::from_le_bytes(x[i][k]));
                        let magnitude = _mm256_abs_epi8(x);
                        for (sum, w) in lanes[i].iter_mut().zip(w) {
                            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, x));
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                        }
                    }
                }
                for (sums, lanes) in sums.iter_mut().zip(lanes) {
                    put(self.0, lanes, &mut sums[p]);
                }
            }
        }
    }
}

impl Dot for Widened {
    type Simd = Avx2;
    const UNSIGNED: bool = false;
    const TILE: usize = 3;

    fn simd(self) -> Avx2 {
        self.0
    }

    /// A vector holds four rows by four columns, so that each row has two sums until the end.
    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[Quad]; PANELS],
        x: [&[[u8; 4]]; M],
        sums: &mut [Sums<i32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            let x = x.map(|x| &x[..w.len()]);
            // SAFETY: `self` exists, so the processor has AVX2; loads are of 16 bytes of a quad.
            unsafe {
                let mut lanes = [[_mm256_setzero_si256(); 4]; M];
                for (k, w) in w.iter().enumerate() {
                    let w: [__m256i; 4] = from_fn(|j| {
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(w.as_ptr().add(16 * j).cast()))
                    });
                    for i in 0..M {
                        let x = _mm_set1_epi32(i32::from_le_bytes(x[i][k]));
                        let x = _mm256_cvtepi8_epi16(x);
                        for (sum, w) in lanes[i].iter_mut().zip(w) {
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(w, x));
                        }
                    }
                }
                for (sums, [a, b, c, d]) in sums.iter_mut().zip(lanes) {
                    // Adding neighbours works on 128-bit halves: put the pairs of rows in order.
                    let order = |x| _mm256_permute4x64_epi64::<0b11_01_10_00>(x);
                    let joined = [order(_mm256_hadd_epi32(a, b)), order(_mm256_hadd_epi32(c, d))];
                    put(self.0, joined, &mut sums[p]);
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
        x: [&[[u8; 4]]; M],
        sums: &mut [Sums<i32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            let x = x.map(|x| &x[..w.len()]);
            // SAFETY: `self` exists, so the processor has AVX2 and AVX-VNNI.
            unsafe {
                let mut lanes = [[_mm256_setzero_si256(); 2]; M];
                for (k, w) in w.iter().enumerate() {
                    let w = load(self.0, w);
                    for i in 0..M {
                        let x = _mm256_set1_epi32(i32::from_le_bytes(x[i][k]));
                        for (sum, w) in lanes[i].iter_mut().zip(w) {
                            *sum = _mm256_dpbusd_avx_epi32(*sum, x, w);
                        }
                    }
                }
                for (sums, lanes) in sums.iter_mut().zip(lanes) {
                    put(self.0, lanes, &mut sums[p]);
                }
            }
        }
    }
}
