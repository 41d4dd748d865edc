//! Sixteen lanes as one AVX-512 vector, and quads of INT8 by VNNI.
#![allow(unsafe_code)]
// Iterators are closures: one that is not inlined would lose the processor's instructions.
#![allow(clippy::needless_range_loop)]

use super::{Dot, IntegerWork, PANELS, Quad, ROWS, Simd, Sums, Table, Work};
use std::arch::x86_64::*;

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

/// A row for each of the four columns of a quad. No closures: one that is not inlined would be
/// compiled without these instructions.
macro_rules! columns {
    ($method:ident($self:ident, $codes:ident $(, $arg:expr)*)) => {
        [
            $self.$method($codes, 0 $(, $arg)*),
            $self.$method($codes, 1 $(, $arg)*),
            $self.$method($codes, 2 $(, $arg)*),
            $self.$method($codes, 3 $(, $arg)*),
        ]
    };
}

impl Avx512 {
    /// Every 32-bit lane with byte `c` lowest.
    #[inline(always)]
    fn shifted(self, codes: __m512i, c: usize) -> __m512i {
        // SAFETY: `self` exists, so the processor has AVX-512 F.
        unsafe {
            match c {
                0 => codes,
                1 => _mm512_srli_epi32::<8>(codes),
                2 => _mm512_srli_epi32::<16>(codes),
                _ => _mm512_srli_epi32::<24>(codes),
            }
        }
    }

    /// Byte `c` of every 32-bit lane as a signed integer times 2²⁴.
    #[inline(always)]
    fn signed_column(self, codes: __m512i, c: usize) -> __m512 {
        // SAFETY: `self` exists, so the processor has AVX-512 F.
        unsafe {
            let top = _mm512_set1_epi32(255 << 24);
            let column = match c {
                0 => _mm512_slli_epi32::<24>(codes),
                1 => _mm512_and_si512(_mm512_slli_epi32::<16>(codes), top),
                2 => _mm512_and_si512(_mm512_slli_epi32::<8>(codes), top),
                _ => _mm512_and_si512(codes, top),
            };
            _mm512_cvtepi32_ps(column)
        }
    }

    /// `table[byte c]` of every 32-bit lane, for bytes below 16.
    #[inline(always)]
    fn picked_column(self, codes: __m512i, c: usize, table: __m512) -> __m512 {
        // SAFETY: `self` exists, so the processor has AVX-512 F. The permutation reads the low four
        // bits of an index.
        unsafe { _mm512_permutexvar_ps(self.shifted(codes, c), table) }
    }

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
        columns!(signed_column(self, codes))
    }

    #[inline(always)]
    fn pick(self, codes: __m512i, table: __m512) -> [__m512; 4] {
        columns!(picked_column(self, codes, table))
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

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[[f32; ROWS]]; PANELS],
        x: &[[f32; M]],
        sums: &mut [Sums<f32>; M],
    ) {
        let [first, second] = w;
        let mut lanes = [[self.splat(0.0); PANELS]; M];
        for i in 0..M {
            lanes[i] = [self.get(&sums[i][0]), self.get(&sums[i][1])];
        }
        for ((first, second), x) in first.iter().zip(second).zip(x) {
            let w = [self.get(first), self.get(second)];
            for i in 0..M {
                let x = self.splat(x[i]);
                for p in 0..PANELS {
                    lanes[i][p] = self.fma(lanes[i][p], w[p], x);
                }
            }
        }
        for i in 0..M {
            for p in 0..PANELS {
                self.put(lanes[i][p], &mut sums[i][p]);
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
        x: &[[[u8; 4]; M]],
        sums: &mut [Sums<i32>; M],
    ) {
        let [first, second] = w;
        // SAFETY: `self` exists, so the processor has AVX-512 F and VNNI; loads and stores are of
        // sixteen sums.
        unsafe {
            let mut lanes = [[_mm512_setzero_si512(); PANELS]; M];
            for ((first, second), x) in first.iter().zip(second).zip(x) {
                let w = [self.load(first), self.load(second)];
                for i in 0..M {
                    let x = _mm512_set1_epi32(i32::from_le_bytes(x[i]));
                    for p in 0..PANELS {
                        lanes[i][p] = _mm512_dpbusd_epi32(lanes[i][p], x, w[p]);
                    }
                }
            }
            for i in 0..M {
                for p in 0..PANELS {
                    let at = sums[i][p].as_mut_ptr().cast();
                    let sum = _mm512_add_epi32(_mm512_loadu_si512(at), lanes[i][p]);
                    _mm512_storeu_si512(at, sum);
                }
            }
        }
    }
}
