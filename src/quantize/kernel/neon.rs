//! Eight lanes as two NEON vectors.
#![allow(unsafe_code)]

use super::{LANES, Lanes, PACKET, Routine};
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

/// Exists only where the processor has NEON: that is what makes the `unsafe` calls sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    pub(super) fn run<R: Routine>(self, routine: R) -> R::Output {
        // NEON belongs to every aarch64 target: no function of its own is needed to enable it.
        routine.run(self)
    }
}

type Pair = [float32x4_t; 2];

/// Wraps intrinsics on each half as methods.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident),*) = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Pair),*) -> Pair {
            let half = |i: usize| {
                $(let $arg = $arg[i];)*
                // SAFETY: `self` exists, so the processor has NEON.
                unsafe { $intrinsic }
            };
            [half(0), half(1)]
        }
    )*};
}

impl Lanes for Neon {
    type F = Pair;

    intrinsics! {
        add(a, b) = vaddq_f32(a, b);
        sub(a, b) = vsubq_f32(a, b);
        mul(a, b) = vmulq_f32(a, b);
        div(a, b) = vdivq_f32(a, b);
        min(a, b) = vbslq_f32(vcltq_f32(a, b), a, b);
        max(a, b) = vbslq_f32(vcgtq_f32(a, b), a, b);
        abs(a) = vabsq_f32(a);
        round(a) = vrndnq_f32(a);
        through_f16(a) = vcvt_f32_f16(vcvt_f16_f32(a));
        where_differ(a, b, value) = vbslq_f32(vceqq_f32(a, b), vdupq_n_f32(0.0), value);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: `self` exists, so the processor has NEON.
        unsafe { [vdupq_n_f32(x); 2] }
    }

    #[inline(always)]
    fn get(self, x: &[f32; LANES]) -> Pair {
        // SAFETY: `self` exists, so the processor has NEON; both loads are of four readable numbers.
        unsafe { [vld1q_f32(x.as_ptr()), vld1q_f32(x.as_ptr().add(4))] }
    }

    #[inline(always)]
    fn put(self, x: Pair) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        // SAFETY: `self` exists, so the processor has NEON; both stores are to four writable
        // numbers.
        unsafe {
            vst1q_f32(out.as_mut_ptr(), x[0]);
            vst1q_f32(out.as_mut_ptr().add(4), x[1]);
        }
        out
    }

    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 16]) -> Pair {
        // SAFETY: `self` exists, so the processor has NEON; the load is of 16 readable bytes, and
        // bytes have no alignment.
        unsafe {
            let halves = vreinterpretq_u16_u8(vld1q_u8(bytes.as_ptr()));
            let low = vreinterpret_f16_u16(vget_low_u16(halves));
            let high = vreinterpret_f16_u16(vget_high_u16(halves));
            [vcvt_f32_f16(low), vcvt_f32_f16(high)]
        }
    }

    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 16]) -> Pair {
        // SAFETY: as in `load_f16`.
        unsafe {
            let halves = vreinterpretq_u16_u8(vld1q_u8(bytes.as_ptr()));
            let low = vshll_n_u16::<16>(vget_low_u16(halves));
            let high = vshll_n_u16::<16>(vget_high_u16(halves));
            [vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high)]
        }
    }

    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 32]) -> Pair {
        // SAFETY: `self` exists, so the processor has NEON; the loads are of 32 readable bytes, and
        // bytes have no alignment.
        unsafe {
            let low = vld1q_u8(bytes.as_ptr());
            let high = vld1q_u8(bytes.as_ptr().add(16));
            [vreinterpretq_f32_u8(low), vreinterpretq_f32_u8(high)]
        }
    }

    #[inline(always)]
    fn any_above(self, a: Pair, b: Pair) -> bool {
        // SAFETY: `self` exists, so the processor has NEON.
        unsafe { vmaxvq_u32(vorrq_u32(vcgtq_f32(a[0], b[0]), vcgtq_f32(a[1], b[1]))) != 0 }
    }

    #[inline(always)]
    fn pack(self, x: [Pair; 4], out: &mut [u8; PACKET]) {
        for (x, out) in x.chunks_exact(2).zip(out.chunks_exact_mut(16)) {
            // SAFETY: `self` exists, so the processor has NEON; the store is to 16 writable bytes.
            unsafe {
                let narrow = |x: Pair| {
                    let low = vqmovn_s32(vcvtnq_s32_f32(x[0]));
                    let high = vqmovn_s32(vcvtnq_s32_f32(x[1]));
                    vqmovn_s16(vcombine_s16(low, high))
                };
                vst1q_s8(out.as_mut_ptr().cast(), vcombine_s8(narrow(x[0]), narrow(x[1])));
            }
        }
    }
}
