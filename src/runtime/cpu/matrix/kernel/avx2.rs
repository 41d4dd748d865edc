//! Sixteen lanes as two AVX2 vectors, with FMA and F16C.
#![allow(unsafe_code)]

use super::{PANELS, Quad, ROWS, Simd, Sums, Table, Work};
use std::arch::x86_64::*;
use std::array::from_fn;

/// Exists only where the processor has AVX2, FMA and F16C: that is what makes the `unsafe` calls
/// sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn inner<W: Work>(lanes: Avx2, work: W) -> W::Output {
            work.run(lanes)
        }
        // SAFETY: `self` exists, so the processor has AVX2, FMA and F16C.
        unsafe { inner(self, work) }
    }

    /// Each half's byte `c` of every 32-bit lane, zero-extended.
    #[inline(always)]
    fn column(self, codes: __m256i, c: usize) -> __m256i {
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe {
            let byte = _mm256_set1_epi32(255);
            match c {
                0 => _mm256_and_si256(codes, byte),
                1 => _mm256_and_si256(_mm256_srli_epi32::<8>(codes), byte),
                2 => _mm256_and_si256(_mm256_srli_epi32::<16>(codes), byte),
                _ => _mm256_srli_epi32::<24>(codes),
            }
        }
    }
}

/// Wraps intrinsics on each half as methods.
macro_rules! halves {
    ($($name:ident($($arg:ident),*) -> $Type:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: [$Type; 2]),*) -> [$Type; 2] {
            let half = |i: usize| {
                $(let $arg = $arg[i];)*
                // SAFETY: `self` exists, so the processor has AVX2 and FMA.
                unsafe { $intrinsic }
            };
            [half(0), half(1)]
        }
    )*};
}

impl Simd for Avx2 {
    type Row = [__m256; 2];
    type Codes = [__m256i; 2];
    const TILE: usize = 6;

    halves! {
        add(a, b) -> __m256 = _mm256_add_ps(a, b);
        sub(a, b) -> __m256 = _mm256_sub_ps(a, b);
        mul(a, b) -> __m256 = _mm256_mul_ps(a, b);
        fma(sum, a, b) -> __m256 = _mm256_fmadd_ps(a, b, sum);
        low(codes) -> __m256i = _mm256_and_si256(codes, _mm256_set1_epi8(15));
        high(codes) -> __m256i =
            _mm256_and_si256(_mm256_srli_epi16::<4>(codes), _mm256_set1_epi8(15));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Row {
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn get(self, x: &[f32; ROWS]) -> Self::Row {
        // SAFETY: `self` exists, so the processor has AVX2; both loads lie in `x`.
        unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn put(self, x: Self::Row, out: &mut [f32; ROWS]) {
        // SAFETY: `self` exists, so the processor has AVX2; both stores lie in `out`.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
        }
    }

    #[inline(always)]
    fn half(self, bits: &[u16; ROWS]) -> Self::Row {
        // SAFETY: `self` exists, so the processor has AVX2 and F16C; both loads lie in `bits`.
        from_fn(|i| unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().add(8 * i).cast())) })
    }

    #[inline(always)]
    fn small(self, x: &[i8; ROWS]) -> Self::Row {
        // SAFETY: `self` exists, so the processor has AVX2; both loads lie in `x`.
        from_fn(|i| unsafe {
            let bytes = _mm_loadl_epi64(x.as_ptr().add(8 * i).cast());
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
        })
    }

    #[inline(always)]
    fn load(self, quad: &Quad) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has AVX2; both loads lie in `quad`.
        from_fn(|i| unsafe { _mm256_loadu_si256(quad.as_ptr().add(32 * i).cast()) })
    }

    #[inline(always)]
    fn store(self, codes: Self::Codes, out: &mut Quad) {
        for (i, codes) in codes.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has AVX2; both stores lie in `out`.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(32 * i).cast(), codes) }
        }
    }

    #[inline(always)]
    fn join(self, low: Self::Codes, crumbs: Self::Codes, i: usize) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has AVX2.
        from_fn(|h| unsafe {
            let crumbs = match i {
                0 => _mm256_slli_epi16::<4>(crumbs[h]),
                1 => _mm256_slli_epi16::<2>(crumbs[h]),
                2 => crumbs[h],
                _ => _mm256_srli_epi16::<2>(crumbs[h]),
            };
            _mm256_or_si256(low[h], _mm256_and_si256(crumbs, _mm256_set1_epi8(0x30)))
        })
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has AVX2; the load is of the table's 16 bytes.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            codes.map(|codes| _mm256_shuffle_epi8(table, codes))
        }
    }

    #[inline(always)]
    fn signed(self, codes: Self::Codes) -> [Self::Row; 4] {
        // SAFETY: `self` exists, so the processor has AVX2.
        from_fn(|c| {
            codes.map(|codes| unsafe {
                let top = match c {
                    0 => _mm256_slli_epi32::<24>(codes),
                    1 => _mm256_slli_epi32::<16>(codes),
                    2 => _mm256_slli_epi32::<8>(codes),
                    _ => codes,
                };
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(top))
            })
        })
    }

    #[inline(always)]
    fn pick(self, codes: Self::Codes, table: Self::Row) -> [Self::Row; 4] {
        // SAFETY: `self` exists, so the processor has AVX2. Permutations read the low three bits of an
        // index, and blending the sign, to which the fourth bit is shifted.
        from_fn(|c| {
            codes.map(|codes| unsafe {
                let (index, high) = match c {
                    0 => (codes, _mm256_slli_epi32::<28>(codes)),
                    1 => (_mm256_srli_epi32::<8>(codes), _mm256_slli_epi32::<20>(codes)),
                    2 => (_mm256_srli_epi32::<16>(codes), _mm256_slli_epi32::<12>(codes)),
                    _ => (_mm256_srli_epi32::<24>(codes), _mm256_slli_epi32::<4>(codes)),
                };
                let below = _mm256_permutevar8x32_ps(table[0], index);
                let above = _mm256_permutevar8x32_ps(table[1], index);
                _mm256_blendv_ps(below, above, _mm256_castsi256_ps(high))
            })
        })
    }

    #[inline(always)]
    fn gather(self, codes: Self::Codes, table: &Table<'_>) -> [Self::Row; 4] {
        from_fn(|c| {
            from_fn(|h| {
                let column = self.column(codes[h], c);
                // SAFETY: `self` exists, so the processor has AVX2. `Table` promises that start plus
                // code is an index of its entries for every code that its owner stores; the minimum
                // holds every other one inside as well.
                unsafe {
                    let start = _mm256_loadu_si256(table.start.as_ptr().add(8 * h).cast());
                    let last = _mm256_set1_epi32(table.entries.len() as i32 - 1);
                    let index = _mm256_min_epu32(_mm256_add_epi32(column, start), last);
                    _mm256_i32gather_ps::<4>(table.entries.as_ptr(), index)
                }
            })
        })
    }

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[[f32; ROWS]]; PANELS],
        x: [&[f32]; M],
        sums: &mut [Sums<f32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            let x = x.map(|x| &x[..w.len()]);
            let mut lanes: [Self::Row; M] = from_fn(|i| self.get(&sums[i][p]));
            for (k, w) in w.iter().enumerate() {
                let w = self.get(w);
                for i in 0..M {
                    lanes[i] = self.fma(lanes[i], w, self.splat(x[i][k]));
                }
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                self.put(lanes, &mut sums[p]);
            }
        }
    }
}
