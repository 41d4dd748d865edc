//! Sixteen lanes as one AVX-512 vector, and quads of INT8 by VNNI.
#![allow(unsafe_code)]

use super::lanes::Table;
use super::{Dot, Quad, ROWS, Simd, Work};
use std::arch::x86_64::*;

/// Exists only where the processor has AVX-512 F, BW, VL and VNNI: that is what makes the `unsafe`
/// calls sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512(());

token!(Avx512(()): "avx512f" "avx512bw" "avx512vl" "avx512vnni");

impl Avx512 {
    /// FP16 entries for the low byte of every 16-bit lane: 64 entries a permutation.
    #[inline(always)]
    fn chosen(self, index: __m512i, table: &[u16; 256], size: usize) -> __m512i {
        let at: *const __m512i = table.as_ptr().cast();
        // SAFETY: `self` exists, so the processor has AVX-512 F and BW; eight loads of 32 entries are the
        // table. Permutations read the low six bits of an index.
        unsafe {
            let table = [
                _mm512_loadu_si512(at),
                _mm512_loadu_si512(at.add(1)),
                _mm512_loadu_si512(at.add(2)),
                _mm512_loadu_si512(at.add(3)),
                _mm512_loadu_si512(at.add(4)),
                _mm512_loadu_si512(at.add(5)),
                _mm512_loadu_si512(at.add(6)),
                _mm512_loadu_si512(at.add(7)),
            ];
            let first = _mm512_permutex2var_epi16(table[0], index, table[1]);
            if size <= 64 {
                return first;
            }
            let second = _mm512_permutex2var_epi16(table[2], index, table[3]);
            let third = _mm512_permutex2var_epi16(table[4], index, table[5]);
            let fourth = _mm512_permutex2var_epi16(table[6], index, table[7]);
            let bit6 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
            let bit7 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
            let low = _mm512_mask_blend_epi16(bit6, first, second);
            let high = _mm512_mask_blend_epi16(bit6, third, fourth);
            _mm512_mask_blend_epi16(bit7, low, high)
        }
    }

    /// Entries for byte `c` of all rows, one load each: faster than gathering on most processors.
    #[inline(always)]
    fn entries(self, codes: &Quad, c: usize, table: &Table<'_>) -> __m512 {
        let e = |n: usize| table.entry(codes, n, c);
        let [e0, e1, e2, e3, e4, e5, e6, e7] = [e(0), e(1), e(2), e(3), e(4), e(5), e(6), e(7)];
        let [e8, e9, ea, eb, ec, ed, ee, ef] =
            [e(8), e(9), e(10), e(11), e(12), e(13), e(14), e(15)];
        // SAFETY: `self` exists, so the processor has AVX-512 F.
        unsafe { _mm512_setr_ps(e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, ea, eb, ec, ed, ee, ef) }
    }
}

/// Wraps intrinsics as methods.
macro_rules! intrinsics {
    ($($name:ident $(<$N:ident>)? ($($arg:ident: $Arg:ty),*) -> $Out:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name $(<const $N: i32>)? (self, $($arg: $Arg),*) -> $Out {
            // SAFETY: `self` exists, so the processor has AVX-512 F, BW and VNNI; loads and stores
            // have the size of what the argument refers to.
            unsafe { $intrinsic }
        }
    )*};
}

impl Simd for Avx512 {
    type Row = __m512;
    type Codes = __m512i;
    const TILE: usize = 12;
    const BOTH: bool = true;

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
        least(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        most(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        low_bytes(x: __m512, out: &mut [i8; ROWS]) -> () = {
            let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(x));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        };
        load(quad: &Quad) -> __m512i = _mm512_loadu_si512(quad.as_ptr().cast());
        store(codes: __m512i, out: &mut Quad) -> () =
            _mm512_storeu_si512(out.as_mut_ptr().cast(), codes);
        lanes(x: u32) -> __m512i = _mm512_set1_epi32(x as i32);
        and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        // Shifts by an immediate take a u32; those by a constant vector become the same.
        up<N>(codes: __m512i) -> __m512i = _mm512_sllv_epi32(codes, _mm512_set1_epi32(N));
        down<N>(codes: __m512i) -> __m512i = _mm512_srlv_epi32(codes, _mm512_set1_epi32(N));
        number(codes: __m512i) -> __m512 = _mm512_cvtepi32_ps(codes);
        // The permutation reads the low four bits of an index.
        entry(codes: __m512i, table: __m512) -> __m512 = _mm512_permutexvar_ps(codes, table);
        look_up(codes: __m512i, table: &[u8; 16]) -> __m512i = {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, codes)
        };
    }

    #[inline(always)]
    fn choose(self, codes: __m512i, table: &[u16; 256], size: usize) -> [__m512; 4] {
        // Even columns are the low bytes of 16-bit lanes, odd ones the high bytes.
        // SAFETY: `self` exists, so the processor has AVX-512 F and BW.
        unsafe {
            let even = self.chosen(codes, table, size);
            let odd = self.chosen(_mm512_srli_epi16::<8>(codes), table, size);
            [
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(even)),
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(odd)),
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(even))),
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(odd))),
            ]
        }
    }

    #[inline(always)]
    fn gather(self, codes: __m512i, table: &Table<'_>) -> [__m512; 4] {
        let mut quad = [0; 64];
        self.store(codes, &mut quad);
        [
            self.entries(&quad, 0, table),
            self.entries(&quad, 1, table),
            self.entries(&quad, 2, table),
            self.entries(&quad, 3, table),
        ]
    }
}

impl Dot for Avx512 {
    type Simd = Self;
    const UNSIGNED: bool = true;
    const TILE: usize = 12;

    fn simd(self) -> Self {
        self
    }

    intrinsics! {
        dot(sums: __m512i, w: __m512i, x: __m512i) -> __m512i = _mm512_dpbusd_epi32(sums, x, w);
    }
}
