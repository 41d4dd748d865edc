//! Eight lanes in AVX2 and F16C.
#![allow(unsafe_code)]

use super::{LANES, Lanes, PACKET, Routine};
use std::arch::x86_64::*;

/// Exists only where the processor has AVX2 and F16C: that is what makes the `unsafe` calls sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    pub(super) fn run<R: Routine>(self, routine: R) -> R::Output {
        #[target_feature(enable = "avx2,f16c")]
        fn inner<R: Routine>(lanes: Avx2, routine: R) -> R::Output {
            routine.run(lanes)
        }
        // SAFETY: `self` exists, so the processor has AVX2 and F16C.
        unsafe { inner(self, routine) }
    }
}

/// Wraps intrinsics as methods.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident),*) = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: __m256),*) -> __m256 {
            // SAFETY: `self` exists, so the processor has AVX2 and F16C.
            unsafe { $intrinsic }
        }
    )*};
}

impl Lanes for Avx2 {
    type F = __m256;

    intrinsics! {
        add(a, b) = _mm256_add_ps(a, b);
        sub(a, b) = _mm256_sub_ps(a, b);
        mul(a, b) = _mm256_mul_ps(a, b);
        div(a, b) = _mm256_div_ps(a, b);
        min(a, b) = _mm256_min_ps(a, b);
        max(a, b) = _mm256_max_ps(a, b);
        abs(a) = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        round(a) = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        through_f16(a) = _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a));
        where_differ(a, b, value) = _mm256_and_ps(_mm256_cmp_ps::<_CMP_NEQ_OQ>(a, b), value);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn get(self, x: &[f32; LANES]) -> __m256 {
        // SAFETY: `self` exists, so the processor has AVX2; the load is of 32 readable bytes, at
        // any alignment.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn put(self, x: __m256) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        // SAFETY: `self` exists, so the processor has AVX2; the store is to 32 writable bytes, at
        // any alignment.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), x) };
        out
    }

    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 16]) -> __m256 {
        // SAFETY: `self` exists, so the processor has AVX2 and F16C; the load is of 16 readable
        // bytes, at any alignment.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 16]) -> __m256 {
        // SAFETY: as in `load_f16`.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 32]) -> __m256 {
        // SAFETY: `self` exists, so the processor has AVX2; the load is of 32 readable bytes, at
        // any alignment.
        unsafe { _mm256_loadu_ps(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn any_above(self, a: __m256, b: __m256) -> bool {
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) != 0 }
    }

    #[inline(always)]
    fn pack(self, [a, b, c, d]: [__m256; 4], out: &mut [u8; PACKET]) {
        // SAFETY: `self` exists, so the processor has AVX2; the store is to 32 writable bytes, at
        // any alignment.
        unsafe {
            let ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
            let cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
            let bytes = _mm256_packs_epi16(ab, cd);
            // Packing works on 128-bit halves: put the groups of four back in order.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
        }
    }
}
