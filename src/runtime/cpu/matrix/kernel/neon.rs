//! Sixteen lanes as four NEON vectors, and INT8 products with and without dot product instructions.
#![allow(unsafe_code)]

use super::lanes::Table;
use super::{Dot, Quad, ROWS, Simd};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::array::from_fn;

/// Exists only where the processor has NEON: that is what makes the `unsafe` calls sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neon(());

/// `SDOT`. Exists only where the processor has it, and NEON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeonDot(Neon);

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl NeonDot {
    pub(super) fn detect() -> Option<Self> {
        Neon::detect().filter(|_| is_aarch64_feature_detected!("dotprod")).map(Self)
    }
}

/// Wraps intrinsics on each quarter as methods.
macro_rules! quarters {
    ($($name:ident $(<$N:ident>)? ($($arg:ident: $Arg:ty),*) -> $Out:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name $(<const $N: i32>)? (self, $($arg: [$Arg; 4]),*) -> [$Out; 4] {
            from_fn(|i| {
                $(let $arg = $arg[i];)*
                // SAFETY: `self` exists, so the processor has NEON.
                unsafe { $intrinsic }
            })
        }
    )*};
}

impl Simd for Neon {
    type Row = [float32x4_t; 4];
    type Codes = [uint32x4_t; 4];
    const TILE: usize = 4;
    const BOTH: bool = false;

    quarters! {
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fma(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t =
            vfmaq_f32(sum, a, b);
        least(a: float32x4_t, b: float32x4_t) -> float32x4_t = vminq_f32(a, b);
        most(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmaxq_f32(a, b);
        and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vandq_u32(a, b);
        or(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vorrq_u32(a, b);
        up<N>(codes: uint32x4_t) -> uint32x4_t = vshlq_n_u32::<N>(codes);
        down<N>(codes: uint32x4_t) -> uint32x4_t = vshrq_n_u32::<N>(codes);
        // Bytes have a shift of their own.
        high(codes: uint32x4_t) -> uint32x4_t =
            vreinterpretq_u32_u8(vshrq_n_u8::<4>(vreinterpretq_u8_u32(codes)));
        number(codes: uint32x4_t) -> float32x4_t = vcvtq_f32_s32(vreinterpretq_s32_u32(codes));
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Row {
        // SAFETY: `self` exists, so the processor has NEON.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    fn get(self, x: &[f32; ROWS]) -> Self::Row {
        // SAFETY: `self` exists, so the processor has NEON; all loads lie in `x`.
        from_fn(|i| unsafe { vld1q_f32(x.as_ptr().add(4 * i)) })
    }

    #[inline(always)]
    fn put(self, x: Self::Row, out: &mut [f32; ROWS]) {
        for (i, x) in x.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has NEON; all stores lie in `out`.
            unsafe { vst1q_f32(out.as_mut_ptr().add(4 * i), x) }
        }
    }

    #[inline(always)]
    fn low_bytes(self, x: Self::Row, out: &mut [i8; ROWS]) {
        // SAFETY: `self` exists, so the processor has NEON; the store is of `out`'s 16 bytes.
        unsafe {
            let words = x.map(|x| vmovn_u32(vreinterpretq_u32_f32(x)));
            let low = vmovn_u16(vcombine_u16(words[0], words[1]));
            let high = vmovn_u16(vcombine_u16(words[2], words[3]));
            vst1q_s8(out.as_mut_ptr(), vreinterpretq_s8_u8(vcombine_u8(low, high)));
        }
    }

    #[inline(always)]
    fn half(self, bits: &[u16; ROWS]) -> Self::Row {
        // SAFETY: `self` exists, so the processor has NEON; all loads lie in `bits`.
        from_fn(|i| unsafe {
            vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(bits.as_ptr().add(4 * i))))
        })
    }

    #[inline(always)]
    fn small(self, x: &[i8; ROWS]) -> Self::Row {
        self.get(&x.map(f32::from))
    }

    #[inline(always)]
    fn load(self, quad: &Quad) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has NEON; all loads lie in `quad`.
        from_fn(|i| unsafe { vreinterpretq_u32_u8(vld1q_u8(quad.as_ptr().add(16 * i))) })
    }

    #[inline(always)]
    fn store(self, codes: Self::Codes, out: &mut Quad) {
        for (i, codes) in codes.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has NEON; all stores lie in `out`.
            unsafe { vst1q_u8(out.as_mut_ptr().add(16 * i), vreinterpretq_u8_u32(codes)) }
        }
    }

    #[inline(always)]
    fn lanes(self, x: u32) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has NEON.
        unsafe { [vdupq_n_u32(x); 4] }
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has NEON; the load is of the table's 16 bytes.
        unsafe {
            let table = vld1q_u8(table.as_ptr());
            codes.map(|codes| vreinterpretq_u32_u8(vqtbl1q_u8(table, vreinterpretq_u8_u32(codes))))
        }
    }

    #[inline(always)]
    fn entry(self, codes: Self::Codes, table: Self::Row) -> Self::Row {
        // A table of sixteen numbers is four vectors of bytes: the four bytes of a number are found
        // at four times its code.
        // SAFETY: `self` exists, so the processor has NEON.
        unsafe {
            let bytes = uint8x16x4_t(
                vreinterpretq_u8_f32(table[0]),
                vreinterpretq_u8_f32(table[1]),
                vreinterpretq_u8_f32(table[2]),
                vreinterpretq_u8_f32(table[3]),
            );
            let order = vdupq_n_u32(0x0302_0100);
            codes.map(|codes| {
                let first = vmulq_n_u32(vandq_u32(codes, vdupq_n_u32(15)), 0x0404_0404);
                let at = vreinterpretq_u8_u32(vorrq_u32(first, order));
                vreinterpretq_f32_u8(vqtbl4q_u8(bytes, at))
            })
        }
    }

    #[inline(always)]
    fn choose(self, codes: Self::Codes, table: &[u16; 256], _: usize) -> [Self::Row; 4] {
        let mut quad = [0; 64];
        self.store(codes, &mut quad);
        from_fn(|c| self.half(&from_fn(|n| table[usize::from(quad[4 * n + c])])))
    }

    /// There is no instruction for it: sixty-four loads.
    #[inline(always)]
    fn gather(self, codes: Self::Codes, table: &Table<'_>) -> [Self::Row; 4] {
        let mut quad = [0; 64];
        self.store(codes, &mut quad);
        from_fn(|c| self.get(&from_fn(|n| table.entry(&quad, n, c))))
    }
}

/// Bytes 0 and 2 of each lane, then 1 and 3, widened to 16 bits, which their products fit; `SADALP`
/// adds those in pairs.
impl Dot for Neon {
    type Simd = Self;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Self {
        self
    }

    quarters! {
        dot(sums: uint32x4_t, w: uint32x4_t, x: uint32x4_t) -> uint32x4_t = {
            let [w, x] = [vreinterpretq_s16_u32(w), vreinterpretq_s16_u32(x)];
            let even = vmulq_s16(
                vshrq_n_s16::<8>(vshlq_n_s16::<8>(w)),
                vshrq_n_s16::<8>(vshlq_n_s16::<8>(x)),
            );
            let odd = vmulq_s16(vshrq_n_s16::<8>(w), vshrq_n_s16::<8>(x));
            let sums = vpadalq_s16(vreinterpretq_s32_u32(sums), even);
            vreinterpretq_u32_s32(vpadalq_s16(sums, odd))
        };
    }
}

/// The intrinsic of `SDOT` is not stable yet: an instruction of its own.
impl Dot for NeonDot {
    type Simd = Neon;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Neon {
        self.0
    }

    quarters! {
        // The processor has dot products too; three registers are all that is touched.
        dot(sums: uint32x4_t, w: uint32x4_t, x: uint32x4_t) -> uint32x4_t = {
            let mut sums = sums;
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {w:v}.16b, {x:v}.16b",
                sums = inout(vreg) sums,
                w = in(vreg) w,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags),
            );
            sums
        };
    }
}
