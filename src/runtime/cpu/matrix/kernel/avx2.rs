//! Sixteen lanes as two AVX2 vectors, with FMA and F16C.
#![allow(unsafe_code)]

use super::lanes::Table;
use super::{Dot, Quad, ROWS, Simd, Work};
use std::arch::x86_64::*;
use std::hint::black_box;

/// Exists only where the processor has AVX2, FMA and F16C: that is what makes the `unsafe` calls
/// sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

token!(Avx2(()): "avx2" "fma" "f16c");

impl Avx2 {
    /// Eight FP16 numbers from `i` on.
    #[inline(always)]
    fn half_from(self, bits: &[u16; ROWS], i: usize) -> __m256 {
        let bits: &[u16; 8] = bits[i..].first_chunk().expect("half a row");
        // SAFETY: `self` exists, so the processor has AVX2 and F16C; the load is of eight numbers.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().cast())) }
    }

    /// Eight small integers from `i` on.
    #[inline(always)]
    fn small_from(self, x: &[i8; ROWS], i: usize) -> __m256 {
        let x: &[i8; 8] = x[i..].first_chunk().expect("half a row");
        // SAFETY: `self` exists, so the processor has AVX2; the load is of eight bytes.
        unsafe {
            let bytes = _mm_loadl_epi64(x.as_ptr().cast());
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
        }
    }

    /// `table[low four bits]` of eight lanes.
    #[inline(always)]
    fn entry_of(self, index: __m256i, table: [__m256; 2]) -> __m256 {
        // SAFETY: `self` exists, so the processor has AVX2. Permutations read the low three bits of an
        // index, and blending the sign, to which the fourth bit is shifted.
        unsafe {
            let below = _mm256_permutevar8x32_ps(table[0], index);
            let above = _mm256_permutevar8x32_ps(table[1], index);
            let high = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index));
            _mm256_blendv_ps(below, above, high)
        }
    }

    /// Codes in memory, and kept there: reading bytes is faster than taking them out of a vector, which
    /// the compiler would do.
    #[inline(always)]
    fn kept(self, codes: [__m256i; 2]) -> Quad {
        let mut quad = [0; 64];
        self.store(codes, &mut quad);
        black_box(&mut quad);
        quad
    }

    /// FP16 entries for byte `c` of eight rows from `n` on.
    #[inline(always)]
    fn chosen(self, codes: &Quad, n: usize, c: usize, table: &[u16; 256]) -> __m256 {
        let entry = |i: usize| u64::from(table[usize::from(codes[4 * (n + i) + c])]);
        // Joined in general registers, of whose operations there are more a cycle.
        let four = |i| entry(i) | entry(i + 1) << 16 | entry(i + 2) << 32 | entry(i + 3) << 48;
        let (low, high) = (four(0), four(4));
        // SAFETY: `self` exists, so the processor has AVX2 and F16C.
        unsafe { _mm256_cvtph_ps(_mm_set_epi64x(high as i64, low as i64)) }
    }

    /// Entries for byte `c` of eight rows from `n` on, one load each: faster than gathering on most
    /// processors.
    #[inline(always)]
    fn entries(self, codes: &Quad, n: usize, c: usize, table: &Table<'_>) -> __m256 {
        let entry = |i: usize| table.entry(codes, n + i, c);
        let [a, b, c, d] = [entry(0), entry(1), entry(2), entry(3)];
        let [e, f, g, h] = [entry(4), entry(5), entry(6), entry(7)];
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe { _mm256_setr_ps(a, b, c, d, e, f, g, h) }
    }
}

/// Wraps intrinsics on each half as methods. No closures: one that is not inlined would be compiled
/// without these instructions.
macro_rules! halves {
    ($($name:ident $(<$N:ident>)? ($($arg:ident: $Arg:ty),*) -> $Out:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name $(<const $N: i32>)? (self, $($arg: [$Arg; 2]),*) -> [$Out; 2] {
            // SAFETY: `self` exists, so the processor has AVX2 and FMA.
            unsafe {
                [
                    { $(let $arg = $arg[0];)* $intrinsic },
                    { $(let $arg = $arg[1];)* $intrinsic },
                ]
            }
        }
    )*};
}

impl Simd for Avx2 {
    type Row = [__m256; 2];
    type Codes = [__m256i; 2];
    const TILE: usize = 6;
    const BOTH: bool = false;

    halves! {
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fma(sum: __m256, a: __m256, b: __m256) -> __m256 = _mm256_fmadd_ps(a, b, sum);
        least(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        most(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        up<N>(codes: __m256i) -> __m256i = _mm256_slli_epi32::<N>(codes);
        down<N>(codes: __m256i) -> __m256i = _mm256_srli_epi32::<N>(codes);
        number(codes: __m256i) -> __m256 = _mm256_cvtepi32_ps(codes);
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
    fn low_bytes(self, x: Self::Row, out: &mut [i8; ROWS]) {
        // SAFETY: `self` exists, so the processor has AVX2; the store is of `out`'s 16 bytes. Masked to a
        // byte, no lane saturates; packing works within halves, which the permutation undoes.
        unsafe {
            let byte = _mm256_set1_epi32(255);
            let low = _mm256_and_si256(_mm256_castps_si256(x[0]), byte);
            let high = _mm256_and_si256(_mm256_castps_si256(x[1]), byte);
            let words = _mm256_packus_epi32(low, high);
            let bytes = _mm256_packus_epi16(words, words);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes));
        }
    }

    #[inline(always)]
    fn half(self, bits: &[u16; ROWS]) -> Self::Row {
        [self.half_from(bits, 0), self.half_from(bits, 8)]
    }

    #[inline(always)]
    fn small(self, x: &[i8; ROWS]) -> Self::Row {
        [self.small_from(x, 0), self.small_from(x, 8)]
    }

    #[inline(always)]
    fn load(self, quad: &Quad) -> Self::Codes {
        let at: *const __m256i = quad.as_ptr().cast();
        // SAFETY: `self` exists, so the processor has AVX2; both loads lie in `quad`.
        unsafe { [_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))] }
    }

    #[inline(always)]
    fn store(self, codes: Self::Codes, out: &mut Quad) {
        let at: *mut __m256i = out.as_mut_ptr().cast();
        // SAFETY: `self` exists, so the processor has AVX2; both stores lie in `out`.
        unsafe {
            _mm256_storeu_si256(at, codes[0]);
            _mm256_storeu_si256(at.add(1), codes[1]);
        }
    }

    #[inline(always)]
    fn lanes(self, x: u32) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe { [_mm256_set1_epi32(x as i32); 2] }
    }

    #[inline(always)]
    fn entry(self, codes: Self::Codes, table: Self::Row) -> Self::Row {
        [self.entry_of(codes[0], table), self.entry_of(codes[1], table)]
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has AVX2; the load is of the table's 16 bytes.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, codes[0]), _mm256_shuffle_epi8(table, codes[1])]
        }
    }

    #[inline(always)]
    fn choose(self, codes: Self::Codes, table: &[u16; 256], _: usize) -> [Self::Row; 4] {
        let quad = self.kept(codes);
        [
            [self.chosen(&quad, 0, 0, table), self.chosen(&quad, 8, 0, table)],
            [self.chosen(&quad, 0, 1, table), self.chosen(&quad, 8, 1, table)],
            [self.chosen(&quad, 0, 2, table), self.chosen(&quad, 8, 2, table)],
            [self.chosen(&quad, 0, 3, table), self.chosen(&quad, 8, 3, table)],
        ]
    }

    #[inline(always)]
    fn gather(self, codes: Self::Codes, table: &Table<'_>) -> [Self::Row; 4] {
        let quad = self.kept(codes);
        [
            [self.entries(&quad, 0, 0, table), self.entries(&quad, 8, 0, table)],
            [self.entries(&quad, 0, 1, table), self.entries(&quad, 8, 1, table)],
            [self.entries(&quad, 0, 2, table), self.entries(&quad, 8, 2, table)],
            [self.entries(&quad, 0, 3, table), self.entries(&quad, 8, 3, table)],
        ]
    }
}
