//! Sixteen lanes as one AVX-512 vector, and quads of INT8 by VNNI.
#![allow(unsafe_code)]

use super::{Dot, IntegerWork, PANELS, Quad, ROWS, Simd, Sums, Table, Work};
use std::arch::x86_64::*;
use std::array::from_fn;

/// Exists only where the processor has the features that [`Self::run`] enables: that is what makes
/// the `unsafe` calls sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }

    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn inner<W: Work>(lanes: Avx512, work: W) -> W::Output {
            work.run(lanes)
        }
        // SAFETY: `self` exists, so the processor has these features.
        unsafe { inner(self, work) }
    }

    pub(super) fn run_integer<W: IntegerWork>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn inner<W: IntegerWork>(lanes: Avx512, work: W) -> W::Output {
            work.run(lanes)
        }
        // SAFETY: `self` exists, so the processor has these features.
        unsafe { inner(self, work) }
    }
}

/// Wraps intrinsics as methods.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident: $Arg:ty),*) -> $Out:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $Arg),*) -> $Out {
            // SAFETY: `self` exists, so the processor has AVX-512 F and BW; loads and stores have
            // the size of what the argument refers to.
            unsafe { $intrinsic }
        }
    )*};
}

impl Simd for Avx512 {
    type Row = __m512;
    type Codes = __m512i;
    const TILE: usize = 12;

    intrinsics! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        get(x: &[f32; ROWS]) -> __m512 = _mm512_loadu_ps(x.as_ptr());
        put(x: __m512, out: &mut [f32; ROWS]) -> () = _mm512_storeu_ps(out.as_mut_ptr(), x);
        half(bits: &[u16; ROWS]) -> __m512 =
            _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast()));
        small(x: &[i8; ROWS]) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast())));
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fma(sum: __m512, a: __m512, b: __m512) -> __m512 = _mm512_fmadd_ps(a, b, sum);
        load(quad: &Quad) -> __m512i = _mm512_loadu_si512(quad.as_ptr().cast());
        store(codes: __m512i, out: &mut Quad) -> () =
            _mm512_storeu_si512(out.as_mut_ptr().cast(), codes);
        low(codes: __m512i) -> __m512i = _mm512_and_si512(codes, _mm512_set1_epi8(15));
        high(codes: __m512i) -> __m512i =
            _mm512_and_si512(_mm512_srli_epi16::<4>(codes), _mm512_set1_epi8(15));
        look_up(codes: __m512i, table: &[u8; 16]) -> __m512i = {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, codes)
        };
    }

    #[inline(always)]
    fn join(self, low: __m512i, crumbs: __m512i, i: usize) -> __m512i {
        // SAFETY: `self` exists, so the processor has AVX-512 F and BW.
        unsafe {
            let crumbs = match i {
                0 => _mm512_slli_epi16::<4>(crumbs),
                1 => _mm512_slli_epi16::<2>(crumbs),
                2 => crumbs,
                _ => _mm512_srli_epi16::<2>(crumbs),
            };
            _mm512_or_si512(low, _mm512_and_si512(crumbs, _mm512_set1_epi8(0x30)))
        }
    }

    #[inline(always)]
    fn signed(self, codes: __m512i) -> [__m512; 4] {
        // SAFETY: `self` exists, so the processor has AVX-512 F.
        from_fn(|c| unsafe {
            let top = match c {
                0 => _mm512_slli_epi32::<24>(codes),
                1 => _mm512_slli_epi32::<16>(codes),
                2 => _mm512_slli_epi32::<8>(codes),
                _ => codes,
            };
            _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(top))
        })
    }

    #[inline(always)]
    fn pick(self, codes: __m512i, table: __m512) -> [__m512; 4] {
        // SAFETY: `self` exists, so the processor has AVX-512 F. The permutation reads the low four
        // bits of an index.
        from_fn(|c| unsafe {
            let index = match c {
                0 => codes,
                1 => _mm512_srli_epi32::<8>(codes),
                2 => _mm512_srli_epi32::<16>(codes),
                _ => _mm512_srli_epi32::<24>(codes),
            };
            _mm512_permutexvar_ps(index, table)
        })
    }

    #[inline(always)]
    fn gather(self, codes: __m512i, table: &Table<'_>) -> [__m512; 4] {
        // SAFETY: `self` exists, so the processor has AVX-512 F. `Table` promises that start plus code
        // is an index of its entries for every code that its owner stores; the minimum holds every
        // other one inside as well.
        from_fn(|c| unsafe {
            let byte = _mm512_set1_epi32(255);
            let column = match c {
                0 => _mm512_and_si512(codes, byte),
                1 => _mm512_and_si512(_mm512_srli_epi32::<8>(codes), byte),
                2 => _mm512_and_si512(_mm512_srli_epi32::<16>(codes), byte),
                _ => _mm512_srli_epi32::<24>(codes),
            };
            let start = _mm512_loadu_si512(table.start.as_ptr().cast());
            let last = _mm512_set1_epi32(table.entries.len() as i32 - 1);
            let index = _mm512_min_epu32(_mm512_add_epi32(column, start), last);
            _mm512_i32gather_ps::<4>(index, table.entries.as_ptr())
        })
    }

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[[f32; ROWS]]; PANELS],
        x: [&[f32]; M],
        sums: &mut [Sums<f32>; M],
    ) {
        let [first, second] = w;
        let x = x.map(|x| &x[..first.len()]);
        let mut lanes: [[__m512; PANELS]; M] = from_fn(|i| from_fn(|p| self.get(&sums[i][p])));
        for (k, (first, second)) in first.iter().zip(second).enumerate() {
            let w = [self.get(first), self.get(second)];
            for i in 0..M {
                let x = self.splat(x[i][k]);
                for (lanes, w) in lanes[i].iter_mut().zip(w) {
                    *lanes = self.fma(*lanes, w, x);
                }
            }
        }
        for (sums, lanes) in sums.iter_mut().zip(lanes) {
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                self.put(lanes, sums);
            }
        }
    }
}

impl Dot for Avx512 {
    type Simd = Self;
    const UNSIGNED: bool = true;
    const TILE: usize = 12;

    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[Quad]; PANELS],
        x: [&[[u8; 4]]; M],
        sums: &mut [Sums<i32>; M],
    ) {
        let [first, second] = w;
        let x = x.map(|x| &x[..first.len()]);
        // SAFETY: `self` exists, so the processor has AVX-512 F and VNNI; stores are of sixteen sums.
        unsafe {
            let mut lanes = [[_mm512_setzero_si512(); PANELS]; M];
            for (k, (first, second)) in first.iter().zip(second).enumerate() {
                let w = [self.load(first), self.load(second)];
                for i in 0..M {
                    let x = _mm512_set1_epi32(i32::from_le_bytes(x[i][k]));
                    for (sum, w) in lanes[i].iter_mut().zip(w) {
                        *sum = _mm512_dpbusd_epi32(*sum, x, w);
                    }
                }
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                for (sums, lanes) in sums.iter_mut().zip(lanes) {
                    _mm512_storeu_si512(sums.as_mut_ptr().cast(), lanes);
                }
            }
        }
    }
}
