//! Sixteen lanes in plain Rust.

use super::lanes::Table;
use super::{Dot, Quad, ROWS, Simd};
use half::f16;
use std::array::from_fn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portable;

/// Operations on each lane.
macro_rules! each {
    ($($name:ident $(<$N:ident>)? ($($arg:ident: $Arg:ty),*) -> $Out:ty = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name $(<const $N: i32>)? (self, $($arg: [$Arg; ROWS]),*) -> [$Out; ROWS] {
            from_fn(|n| {
                $(let $arg = $arg[n];)*
                $value
            })
        }
    )*};
}

impl Simd for Portable {
    type Row = [f32; ROWS];
    type Codes = [u32; ROWS];
    const TILE: usize = 4;
    const BOTH: bool = false;

    each! {
        add(a: f32, b: f32) -> f32 = a + b;
        sub(a: f32, b: f32) -> f32 = a - b;
        mul(a: f32, b: f32) -> f32 = a * b;
        fma(sum: f32, a: f32, b: f32) -> f32 = sum + a * b;
        least(a: f32, b: f32) -> f32 = if a < b { a } else { b };
        most(a: f32, b: f32) -> f32 = if a > b { a } else { b };
        and(a: u32, b: u32) -> u32 = a & b;
        or(a: u32, b: u32) -> u32 = a | b;
        up<N>(codes: u32) -> u32 = codes << N;
        down<N>(codes: u32) -> u32 = codes >> N;
        number(codes: u32) -> f32 = codes as i32 as f32;
    }

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
    #[inline(always)]
    fn low_bytes(self, x: Self::Row, out: &mut [i8; ROWS]) {
        *out = x.map(|x| x.to_bits() as i8);
    }
    #[inline(always)]
    fn half(self, bits: &[u16; ROWS]) -> Self::Row {
        bits.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    fn small(self, x: &[i8; ROWS]) -> Self::Row {
        x.map(f32::from)
    }

    #[inline(always)]
    fn load(self, quad: &Quad) -> Self::Codes {
        from_fn(|n| u32::from_le_bytes(quad.as_chunks().0[n]))
    }
    #[inline(always)]
    fn store(self, codes: Self::Codes, out: &mut Quad) {
        out.as_chunks_mut().0.copy_from_slice(&codes.map(u32::to_le_bytes));
    }
    #[inline(always)]
    fn lanes(self, x: u32) -> Self::Codes {
        [x; ROWS]
    }
    #[inline(always)]
    fn entry(self, codes: Self::Codes, table: Self::Row) -> Self::Row {
        codes.map(|code| table[code as usize % ROWS])
    }
    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        let entry = |code: u8| table[usize::from(code)];
        codes.map(|lane| u32::from_le_bytes(lane.to_le_bytes().map(entry)))
    }
    #[inline(always)]
    fn choose(self, codes: Self::Codes, table: &[u16; 256], _: usize) -> [Self::Row; 4] {
        from_fn(|c| self.half(&codes.map(|lane| table[usize::from(lane.to_le_bytes()[c])])))
    }
    #[inline(always)]
    fn gather(self, codes: Self::Codes, table: &Table<'_>) -> [Self::Row; 4] {
        let mut quad = [0; 4 * ROWS];
        self.store(codes, &mut quad);
        from_fn(|c| from_fn(|n| table.entry(&quad, n, c)))
    }
}

impl Dot for Portable {
    type Simd = Self;
    const UNSIGNED: bool = false;
    const TILE: usize = 4;

    fn simd(self) -> Self {
        self
    }

    each! {
        dot(sums: u32, w: u32, x: u32) -> u32 = {
            let [w, x] = [w, x].map(|lane| lane.to_le_bytes().map(|byte| i32::from(byte as i8)));
            let four = w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3];
            sums.wrapping_add_signed(four)
        };
    }
}
