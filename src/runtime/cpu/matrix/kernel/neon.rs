//! Sixteen lanes as four NEON vectors, and INT8 products with and without dot product instructions.
#![allow(unsafe_code)]
// Iterators are closures: one that is not inlined would lose the processor's instructions.
#![allow(clippy::needless_range_loop)]

use super::{Dot, PANELS, Quad, ROWS, Simd, Sums, Table};
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
    ($($name:ident($($arg:ident),*) -> $Type:ty = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: [$Type; 4]),*) -> [$Type; 4] {
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
    type Codes = [uint8x16_t; 4];
    const TILE: usize = 4;

    quarters! {
        add(a, b) -> float32x4_t = vaddq_f32(a, b);
        sub(a, b) -> float32x4_t = vsubq_f32(a, b);
        mul(a, b) -> float32x4_t = vmulq_f32(a, b);
        fma(sum, a, b) -> float32x4_t = vfmaq_f32(sum, a, b);
        low(codes) -> uint8x16_t = vandq_u8(codes, vdupq_n_u8(15));
        high(codes) -> uint8x16_t = vshrq_n_u8::<4>(codes);
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
        from_fn(|i| unsafe { vld1q_u8(quad.as_ptr().add(16 * i)) })
    }

    #[inline(always)]
    fn store(self, codes: Self::Codes, out: &mut Quad) {
        for (i, codes) in codes.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has NEON; all stores lie in `out`.
            unsafe { vst1q_u8(out.as_mut_ptr().add(16 * i), codes) }
        }
    }

    #[inline(always)]
    fn join(self, low: Self::Codes, crumbs: Self::Codes, i: usize) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has NEON.
        from_fn(|j| unsafe {
            let crumbs = match i {
                0 => vshlq_n_u8::<4>(crumbs[j]),
                1 => vshlq_n_u8::<2>(crumbs[j]),
                2 => crumbs[j],
                _ => vshrq_n_u8::<2>(crumbs[j]),
            };
            vorrq_u8(low[j], vandq_u8(crumbs, vdupq_n_u8(0x30)))
        })
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        // SAFETY: `self` exists, so the processor has NEON; the load is of the table's 16 bytes.
        unsafe {
            let table = vld1q_u8(table.as_ptr());
            codes.map(|codes| vqtbl1q_u8(table, codes))
        }
    }

    #[inline(always)]
    fn signed(self, codes: Self::Codes) -> [Self::Row; 4] {
        // SAFETY: `self` exists, so the processor has NEON.
        from_fn(|c| {
            codes.map(|codes| unsafe {
                let codes = vreinterpretq_s32_u8(codes);
                let top = vdupq_n_s32(255 << 24);
                let column = match c {
                    0 => vshlq_n_s32::<24>(codes),
                    1 => vandq_s32(vshlq_n_s32::<16>(codes), top),
                    2 => vandq_s32(vshlq_n_s32::<8>(codes), top),
                    _ => vandq_s32(codes, top),
                };
                vcvtq_f32_s32(column)
            })
        })
    }

    #[inline(always)]
    fn pick(self, codes: Self::Codes, table: Self::Row) -> [Self::Row; 4] {
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
            let order = vreinterpretq_u8_u32(vdupq_n_u32(0x0302_0100));
            from_fn(|c| {
                codes.map(|codes| {
                    let codes = vreinterpretq_u32_u8(vshlq_n_u8::<2>(codes));
                    let byte = vdupq_n_u32(255);
                    let column = match c {
                        0 => vandq_u32(codes, byte),
                        1 => vandq_u32(vshrq_n_u32::<8>(codes), byte),
                        2 => vandq_u32(vshrq_n_u32::<16>(codes), byte),
                        _ => vshrq_n_u32::<24>(codes),
                    };
                    let first = vreinterpretq_u8_u32(vmulq_n_u32(column, 0x0101_0101));
                    vreinterpretq_f32_u8(vqtbl4q_u8(bytes, vaddq_u8(first, order)))
                })
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

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[[f32; ROWS]]; PANELS],
        x: &[[f32; M]],
        sums: &mut [Sums<f32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            let mut lanes: [Self::Row; M] = from_fn(|i| self.get(&sums[i][p]));
            for (w, x) in w.iter().zip(x) {
                let w = self.get(w);
                for i in 0..M {
                    lanes[i] = self.fma(lanes[i], w, self.splat(x[i]));
                }
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                self.put(lanes, &mut sums[p]);
            }
        }
    }
}

/// `SMULL`, then `SADALP`: a product of two INT8 fits 16 bits, and pairs of products are added to 32.
impl Dot for Neon {
    type Simd = Self;
    const UNSIGNED: bool = false;
    const TILE: usize = 2;

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
        for (p, w) in w.into_iter().enumerate() {
            // SAFETY: `self` exists, so the processor has NEON; each load and store is of four sums.
            unsafe {
                // Two rows a vector, so that each row has two sums until the end.
                let mut lanes = [[vdupq_n_s32(0); 8]; M];
                for (w, x) in w.iter().zip(x) {
                    let w = self.load(w).map(|w| vreinterpretq_s8_u8(w));
                    for i in 0..M {
                        let x = vreinterpret_s8_u32(vdup_n_u32(u32::from_le_bytes(x[i])));
                        for (sums, w) in lanes[i].as_chunks_mut::<2>().0.iter_mut().zip(w) {
                            sums[0] = vpadalq_s16(sums[0], vmull_s8(vget_low_s8(w), x));
                            sums[1] = vpadalq_s16(sums[1], vmull_s8(vget_high_s8(w), x));
                        }
                    }
                }
                for (sums, lanes) in sums.iter_mut().zip(lanes) {
                    let four = sums[p].as_chunks_mut::<4>().0.iter_mut();
                    for (four, lanes) in four.zip(lanes.as_chunks::<2>().0) {
                        let sum = vpaddq_s32(lanes[0], lanes[1]);
                        vst1q_s32(four.as_mut_ptr(), vaddq_s32(vld1q_s32(four.as_ptr()), sum));
                    }
                }
            }
        }
    }
}

/// `sum + w · x` by fours. The intrinsic is not stable yet: an instruction of its own.
///
/// # Safety
/// The processor has dot product instructions.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the caller says that the processor has it; it touches three registers only.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

impl Dot for NeonDot {
    type Simd = Neon;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Neon {
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
            // SAFETY: `self` exists, so the processor has NEON and dot products; each load and
            // store is of four sums.
            unsafe {
                let mut lanes = [[vdupq_n_s32(0); 4]; M];
                for (w, x) in w.iter().zip(x) {
                    let w = self.0.load(w).map(|w| vreinterpretq_s8_u8(w));
                    for i in 0..M {
                        let x = vreinterpretq_s8_u32(vdupq_n_u32(u32::from_le_bytes(x[i])));
                        for (sum, w) in lanes[i].iter_mut().zip(w) {
                            *sum = sdot(*sum, w, x);
                        }
                    }
                }
                for (sums, lanes) in sums.iter_mut().zip(lanes) {
                    let four = sums[p].as_chunks_mut::<4>().0.iter_mut();
                    for (four, lanes) in four.zip(lanes) {
                        vst1q_s32(four.as_mut_ptr(), vaddq_s32(vld1q_s32(four.as_ptr()), lanes));
                    }
                }
            }
        }
    }
}
