//! Sixteen lanes in plain Rust.

use super::{Dot, PANELS, Quad, ROWS, SIGNED_UNIT, Simd, Sums, Table};
use half::f16;
use std::array::from_fn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portable;

impl Simd for Portable {
    type Row = [f32; ROWS];
    type Codes = Quad;
    const TILE: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Row {
        [x; ROWS]
    }
    #[inline(always)]
    fn get(self, x: &[f32; ROWS]) -> Self::Row {
        *x
    }
    #[inline(always)]
    fn put(self, x: Self::Row, out: &mut [f32; ROWS]) {
        *out = x;
    }
    fn half(self, bits: &[u16; ROWS]) -> Self::Row {
        bits.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    fn small(self, x: &[i8; ROWS]) -> Self::Row {
        x.map(f32::from)
    }
    #[inline(always)]
    fn add(self, a: Self::Row, b: Self::Row) -> Self::Row {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::Row, b: Self::Row) -> Self::Row {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::Row, b: Self::Row) -> Self::Row {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn fma(self, sum: Self::Row, a: Self::Row, b: Self::Row) -> Self::Row {
        from_fn(|i| sum[i] + a[i] * b[i])
    }

    #[inline(always)]
    fn load(self, quad: &Quad) -> Quad {
        *quad
    }
    #[inline(always)]
    fn store(self, codes: Quad, out: &mut Quad) {
        *out = codes;
    }
    #[inline(always)]
    fn low(self, codes: Quad) -> Quad {
        codes.map(|c| c & 15)
    }
    #[inline(always)]
    fn high(self, codes: Quad) -> Quad {
        codes.map(|c| c >> 4)
    }
    #[inline(always)]
    fn join(self, low: Quad, crumbs: Quad, i: usize) -> Quad {
        from_fn(|j| low[j] | (crumbs[j] >> (2 * i) & 3) << 4)
    }
    #[inline(always)]
    fn look_up(self, codes: Quad, table: &[u8; 16]) -> Quad {
        codes.map(|c| table[usize::from(c)])
    }
    #[inline(always)]
    fn signed(self, codes: Quad) -> [Self::Row; 4] {
        from_fn(|c| from_fn(|n| SIGNED_UNIT * f32::from(codes[4 * n + c] as i8)))
    }
    #[inline(always)]
    fn pick(self, codes: Quad, table: Self::Row) -> [Self::Row; 4] {
        from_fn(|c| from_fn(|n| table[usize::from(codes[4 * n + c])]))
    }
    #[inline(always)]
    fn choose(self, codes: Quad, table: &[u16; 256], _: usize) -> [Self::Row; 4] {
        from_fn(|c| self.half(&from_fn(|n| table[usize::from(codes[4 * n + c])])))
    }
    #[inline(always)]
    fn gather(self, codes: Quad, table: &Table<'_>) -> [Self::Row; 4] {
        from_fn(|c| from_fn(|n| table.entry(&codes, n, c)))
    }

    #[inline(always)]
    fn tile<const M: usize>(
        self,
        w: [&[[f32; ROWS]]; PANELS],
        x: &[[f32; M]],
        sums: &mut [Sums<f32>; M],
    ) {
        for (p, w) in w.into_iter().enumerate() {
            for (w, x) in w.iter().zip(x) {
                for (sums, &x) in sums.iter_mut().zip(x) {
                    sums[p] = self.fma(sums[p], *w, self.splat(x));
                }
            }
        }
    }
}

impl Dot for Portable {
    type Simd = Self;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

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
            for (w, x) in w.iter().zip(x) {
                for (sums, x) in sums.iter_mut().zip(x) {
                    for (sum, w) in sums[p].iter_mut().zip(w.as_chunks::<4>().0) {
                        let product = |i: usize| i32::from(w[i] as i8) * i32::from(x[i] as i8);
                        *sum += product(0) + product(1) + product(2) + product(3);
                    }
                }
            }
        }
    }
}
