//! The arithmetic on panels: sixteen rows of weights at a time, one row a lane.
//!
//! Weights lie in *quads*, sixteen rows by four columns of codes of one byte, which are one 64-byte
//! unit of layout `k4`: 32-bit lane `n` holds the four columns of row `n`. So dot product
//! instructions sum four columns of sixteen rows at once, pair kernels two and two, and the columns
//! of a quad are reached by shifting every lane.
//!
//! Every routine is written once, over the operations of [`Simd`] (f32) and [`Dot`] (integers); a
//! processor's own instructions only fill in those. Integer sums are the same, bit for bit, on every
//! processor. Sums in f32 are formed in an order that depends on the shapes alone, but fused
//! where the processor fuses.
//!
//! | module | what it does |
//! |---|---|
//! | `portable` | plain Rust: the definition of all the others |
//! | `avx2`, `avx2_dot` | AVX2, FMA and F16C; pairs, widened pairs, and AVX-VNNI |
//! | `avx512` | AVX-512 with VNNI |
//! | `neon` | NEON, with and without dot products |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_dot;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

/// Rows of a panel.
pub(super) const ROWS: usize = 16;

/// Codes of sixteen rows by four columns.
pub(super) type Quad = [u8; 4 * ROWS];

/// Two panels that are multiplied together.
pub(super) const PANELS: usize = 2;

/// Sums of one row of activations with two panels.
pub(super) type Sums<T> = [[T; ROWS]; PANELS];

/// The instructions that products use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(avx2::Avx2, avx2_dot::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon::Neon, neon::NeonDot),
}

impl Kernel {
    /// The fastest that this processor has, or the one that `TWOLANE_KERNEL` names if it is among
    /// [`Self::available`].
    pub fn detect() -> Self {
        let all = Self::available();
        let wanted = std::env::var_os("TWOLANE_KERNEL");
        let named = all.iter().find(|kernel| wanted.as_deref().is_some_and(|w| w == kernel.name()));
        *named.unwrap_or(&all[0])
    }

    /// All that this processor has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = avx2::Avx2::detect();
            all.extend(avx512::Avx512::detect().map(Isa::Avx512));
            all.extend(avx2.zip(avx2_dot::AvxVnni::detect()).map(|(a, v)| Isa::AvxVnni(a, v)));
            all.extend(avx2.map(Isa::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        {
            let neon = neon::Neon::detect();
            all.extend(neon.zip(neon::NeonDot::detect()).map(|(n, d)| Isa::NeonDot(n, d)));
            all.extend(neon.map(Isa::Neon));
        }
        all.push(Isa::Portable);
        all.into_iter().map(Self).collect()
    }

    /// Plain Rust, on any processor: the definition of all the others.
    pub fn portable() -> Self {
        Self(Isa::Portable)
    }

    /// `avx512`, `avxvnni`, `avx2`, `neondot`, `neon` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(..) => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(..) => "neondot",
        }
    }

    /// Runs work in f32.
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Isa::Portable => work.run(portable::Portable),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) | Isa::AvxVnni(avx2, _) => avx2.run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(avx512) => avx512.run(work),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(neon) | Isa::NeonDot(neon, _) => work.run(neon),
        }
    }

    /// Runs work in integers. `narrow`: no weight is −128, which is what makes the pair kernel of
    /// AVX2 exact.
    pub(super) fn run_integer<W: IntegerWork>(self, narrow: bool, work: W) -> W::Output {
        #[cfg(not(target_arch = "x86_64"))]
        let _ = narrow;
        match self.0 {
            Isa::Portable => work.run(portable::Portable),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) if narrow => avx2_dot::Pairs(avx2).run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) => avx2_dot::Widened(avx2).run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(_, vnni) => vnni.run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(avx512) => avx512.run_integer(work),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(neon) => work.run(neon),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(_, dot) => work.run(dot),
        }
    }
}

/// Work in f32 that is compiled once for each kind of lanes. `run` and everything generic below it
/// is `#[inline(always)]`: only what is inlined may use the processor's own instructions.
pub(super) trait Work {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The same for integers.
pub(super) trait IntegerWork {
    type Output;
    fn run<D: Dot>(self, d: D) -> Self::Output;
}

/// Sixteen f32 lanes, and the codes that become such lanes.
pub(super) trait Simd: Copy {
    /// Sixteen numbers, one a row.
    type Row: Copy;
    /// A quad of codes.
    type Codes: Copy;
    /// Rows of activations that a [`Self::tile`] takes at most.
    const TILE: usize;

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

    fn load(self, quad: &Quad) -> Self::Codes;
    fn store(self, codes: Self::Codes, out: &mut Quad);
    /// The low four bits of each byte.
    fn low(self, codes: Self::Codes) -> Self::Codes;
    /// The high four bits of each byte.
    fn high(self, codes: Self::Codes) -> Self::Codes;
    /// `low + 16 · (bits 2i and 2i + 1 of crumbs)`: codes of six bits.
    fn join(self, low: Self::Codes, crumbs: Self::Codes, i: usize) -> Self::Codes;
    /// `table[code]` for codes below 16.
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes;
    /// Codes as signed integers times 2²⁴ (as the top byte of 32 bits they need no shift back), column by
    /// column.
    fn signed(self, codes: Self::Codes) -> [Self::Row; 4];
    /// `table[code]` for codes below 16, column by column.
    fn pick(self, codes: Self::Codes, table: Self::Row) -> [Self::Row; 4];
    /// `table[code]` for codes below `size`, a constant wherever this is called, and a table of FP16
    /// numbers, column by column.
    fn choose(self, codes: Self::Codes, table: &[u16; 256], size: usize) -> [Self::Row; 4];
    /// `table[start[row] + code]`, column by column.
    fn gather(self, codes: Self::Codes, table: &Table<'_>) -> [Self::Row; 4];

    /// `sums[i] += Σ_k w[panel][k] · x[k][i]`, all of one length.
    fn tile<const M: usize>(
        self,
        w: [&[[f32; ROWS]]; PANELS],
        x: &[[f32; M]],
        sums: &mut [Sums<f32>; M],
    );
}

/// What [`Simd::signed`] multiplies integers by.
pub(super) const SIGNED_UNIT: f32 = 16_777_216.0;

/// A table that [`Simd::gather`] reads: for each row, the 256 entries that a byte can choose from.
pub(super) struct Table<'a>([&'a [f32; 256]; ROWS]);

impl<'a> Table<'a> {
    /// # Panics
    /// If a byte could reach beyond `entries`.
    #[inline(always)]
    pub(super) fn new(entries: &'a [f32], start: &[u32; ROWS]) -> Self {
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
    fn entry(&self, codes: &Quad, n: usize, c: usize) -> f32 {
        self.0[n][usize::from(codes[4 * n + c])]
    }
}

/// Exact sums of products of INT8.
pub(super) trait Dot: Copy {
    /// The lanes that make panels of codes.
    type Simd: Simd;
    /// Takes activations plus 128, as unsigned bytes, and returns the sums with those.
    const UNSIGNED: bool;
    /// Rows of activations that a [`Self::tile`] takes at most.
    const TILE: usize;

    fn simd(self) -> Self::Simd;

    /// `sums[i] += Σ_k w[panel][k] · x[k][i]`, all of one length, modulo 2³².
    fn tile<const M: usize>(
        self,
        w: [&[Quad]; PANELS],
        x: &[[[u8; 4]; M]],
        sums: &mut [Sums<i32>; M],
    );
}
