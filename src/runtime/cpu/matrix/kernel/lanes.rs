//! What processors supply, and what is made of it.

use super::{Quad, ROWS};

/// Work in f32 that is compiled once for each kind of lanes. `run` and everything generic below it
/// is `#[inline(always)]`: only what is inlined may use the processor's own instructions.
pub(in super::super) trait Work {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The same for integers.
pub(in super::super) trait IntegerWork {
    type Output;
    fn run<D: Dot>(self, d: D) -> Self::Output;
}

/// Work in integers with these sums, wherever work in f32 runs.
#[cfg(target_arch = "x86_64")]
pub(super) struct With<D, W>(pub(super) D, pub(super) W);

#[cfg(target_arch = "x86_64")]
impl<D: Dot, W: IntegerWork> Work for With<D, W> {
    type Output = W::Output;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> W::Output {
        self.1.run(self.0)
    }
}

/// Sixteen lanes of 32 bits: numbers, or codes that become such numbers.
pub(in super::super) trait Simd: Copy {
    /// Sixteen numbers, one a row.
    type Row: Copy;
    /// A quad of codes, four a lane, the first in the lowest bits; or integers.
    type Codes: Copy;
    /// Rows of activations that a tile takes at most.
    const TILE: usize;
    /// Whether the registers hold a tile's sums with both panels.
    const BOTH: bool;

    fn splat(self, x: f32) -> Self::Row;
    fn get(self, x: &[f32; ROWS]) -> Self::Row;
    fn put(self, x: Self::Row, out: &mut [f32; ROWS]);
    /// Sixteen FP16 numbers, exactly.
    fn half(self, bits: &[u16; ROWS]) -> Self::Row;
    /// Sixteen small integers.
    fn small(self, x: &[i8; ROWS]) -> Self::Row;
    fn add(self, a: Self::Row, b: Self::Row) -> Self::Row;
    fn sub(self, a: Self::Row, b: Self::Row) -> Self::Row;
    fn mul(self, a: Self::Row, b: Self::Row) -> Self::Row;
    /// `sum + a · b`, rounded once or twice.
    fn fma(self, sum: Self::Row, a: Self::Row, b: Self::Row) -> Self::Row;
    /// The smaller of two numbers; any where one is NaN.
    fn least(self, a: Self::Row, b: Self::Row) -> Self::Row;
    /// The larger of two numbers; any where one is NaN.
    fn most(self, a: Self::Row, b: Self::Row) -> Self::Row;
    /// The lowest byte of each number's bits.
    fn low_bytes(self, x: Self::Row, out: &mut [i8; ROWS]);

    fn load(self, quad: &Quad) -> Self::Codes;
    fn store(self, codes: Self::Codes, out: &mut Quad);
    /// The same in every lane.
    fn lanes(self, x: u32) -> Self::Codes;
    fn and(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Lanes, `N` bits towards the high end.
    fn up<const N: i32>(self, codes: Self::Codes) -> Self::Codes;
    /// Lanes, `N` bits towards the low end.
    fn down<const N: i32>(self, codes: Self::Codes) -> Self::Codes;
    /// Lanes as signed integers.
    fn number(self, codes: Self::Codes) -> Self::Row;
    /// `table[low four bits]` of each lane.
    fn entry(self, codes: Self::Codes, table: Self::Row) -> Self::Row;
    /// `table[code]` for codes below 16.
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes;
    /// `table[code]` for codes below `size`, a constant wherever this is called, and a table of FP16
    /// numbers, column by column.
    fn choose(self, codes: Self::Codes, table: &[u16; 256], size: usize) -> [Self::Row; 4];
    /// `table[start[row] + code]`, column by column.
    fn gather(self, codes: Self::Codes, table: &Table<'_>) -> [Self::Row; 4];

    /// The low four bits of each byte.
    #[inline(always)]
    fn low(self, codes: Self::Codes) -> Self::Codes {
        self.and(codes, self.lanes(0x0F0F_0F0F))
    }

    /// The high four bits of each byte.
    #[inline(always)]
    fn high(self, codes: Self::Codes) -> Self::Codes {
        self.low(self.down::<4>(codes))
    }

    /// `low + 16 · (bits 2i and 2i + 1 of crumbs)`: codes of six bits.
    #[inline(always)]
    fn join(self, low: Self::Codes, crumbs: Self::Codes, i: usize) -> Self::Codes {
        let crumbs = match i {
            0 => self.up::<4>(crumbs),
            1 => self.up::<2>(crumbs),
            2 => crumbs,
            _ => self.down::<2>(crumbs),
        };
        self.or(low, self.and(crumbs, self.lanes(0x3030_3030)))
    }

    /// Codes as signed integers times 2²⁴ (as the top byte of 32 bits they need no shift back), column
    /// by column.
    #[inline(always)]
    fn signed(self, codes: Self::Codes) -> [Self::Row; 4] {
        let top = self.lanes(255 << 24);
        [
            self.number(self.up::<24>(codes)),
            self.number(self.and(self.up::<16>(codes), top)),
            self.number(self.and(self.up::<8>(codes), top)),
            self.number(self.and(codes, top)),
        ]
    }

    /// The nearest integer of each number, half to even, plus `zero`, as a byte: for numbers of at most
    /// 2²¹, and those sums of which are codes. The sum of 1.5 · 2²³ and an integer has that
    /// integer in its lowest bits.
    #[inline(always)]
    fn nearest(self, x: Self::Row, zero: f32, out: &mut [i8; ROWS]) {
        let integers = self.splat(INTEGERS);
        let steps = self.sub(self.add(x, integers), integers);
        self.low_bytes(self.add(steps, self.splat(INTEGERS + zero)), out);
    }

    /// `table[code]` for codes below 16, column by column.
    #[inline(always)]
    fn pick(self, codes: Self::Codes, table: Self::Row) -> [Self::Row; 4] {
        [
            self.entry(codes, table),
            self.entry(self.down::<8>(codes), table),
            self.entry(self.down::<16>(codes), table),
            self.entry(self.down::<24>(codes), table),
        ]
    }
}

/// 1.5 · 2²³: numbers around it are integers.
const INTEGERS: f32 = 12_582_912.0;

/// What [`Simd::signed`] multiplies integers by.
pub(in super::super) const SIGNED_UNIT: f32 = 16_777_216.0;

/// A table that [`Simd::gather`] reads: for each row, the 256 entries that a byte can choose from.
pub(in super::super) struct Table<'a>([&'a [f32; 256]; ROWS]);

impl<'a> Table<'a> {
    /// # Panics
    /// If a byte could reach beyond `entries`.
    #[inline(always)]
    pub(in super::super) fn new(entries: &'a [f32], start: &[u32; ROWS]) -> Self {
        let from = |start: u32| entries.get(start as usize..).and_then(<[f32]>::first_chunk);
        let reach = "256 entries from each start on";
        let mut rows = [from(start[0]).expect(reach); ROWS];
        for (row, &start) in rows.iter_mut().zip(start) {
            *row = from(start).expect(reach);
        }
        Self(rows)
    }

    /// The entry of row `n` for byte `c` of its 32-bit lane.
    #[inline(always)]
    pub(super) fn entry(&self, codes: &Quad, n: usize, c: usize) -> f32 {
        self.0[n][usize::from(codes[4 * n + c])]
    }
}

/// Exact sums of products of INT8.
pub(in super::super) trait Dot: Copy {
    /// The lanes that make panels of codes, and hold the sums.
    type Simd: Simd;
    /// Takes activations plus 128, as unsigned bytes, and returns the sums with those.
    const UNSIGNED: bool;
    /// Rows of activations that a tile takes at most.
    const TILE: usize;

    fn simd(self) -> Self::Simd;
    /// `sum + Σ w · x` of the four bytes of each lane, modulo 2³².
    fn dot(self, sums: Lanes<Self>, w: Lanes<Self>, x: Lanes<Self>) -> Lanes<Self>;
}

/// Sixteen lanes of a kind of sums.
pub(in super::super) type Lanes<D> = <<D as Dot>::Simd as Simd>::Codes;
