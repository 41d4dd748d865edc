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
//! | `lanes` | those operations, and what is made of them |
//! | `tile` | the loop of products of many rows |
//! | `portable` | plain Rust |
//! | `avx2`, `avx2_dot` | AVX2, FMA and F16C; widened pairs, pairs, and AVX-VNNI |
//! | `avx512` | AVX-512 with VNNI |
//! | `neon` | NEON, with and without dot products |

/// Detects a processor's features, and runs work where they are enabled.
#[cfg(target_arch = "x86_64")]
macro_rules! token {
    ($Token:ident($field:expr): $($feature:tt)+) => {
        impl $Token {
            pub(super) fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&+).then_some(Self($field))
            }

            pub(super) fn run<W: Work>(self, work: W) -> W::Output {
                #[target_feature($(enable = $feature),+)]
                fn inner<W: Work>(lanes: impl Simd, work: W) -> W::Output {
                    work.run(lanes)
                }
                // SAFETY: `self` exists, so the processor has these features.
                unsafe { inner(self.simd(), work) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_dot;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;
mod tile;

pub(super) use lanes::{Dot, IntegerWork, SIGNED_UNIT, Simd, Table, Work};
pub(super) use tile::{Floats, Quads, tile};

/// Rows of a panel.
pub(super) const ROWS: usize = 16;

/// Codes of sixteen rows by four columns.
pub(super) type Quad = [u8; 4 * ROWS];

/// Two panels that are multiplied together.
pub(super) const PANELS: usize = 2;

/// Sums of one row of activations with two panels.
pub(super) type Sums<T> = [[T; ROWS]; PANELS];

/// Code that names no lanes.
#[cfg(target_arch = "x86_64")]
struct Plain<F>(F);

#[cfg(target_arch = "x86_64")]
impl<R, F: FnOnce() -> R> Work for Plain<F> {
    type Output = R;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> R {
        (self.0)()
    }
}

/// The instructions that products use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(avx2_dot::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon::NeonDot),
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
            all.extend(avx512::Avx512::detect().map(Isa::Avx512));
            all.extend(avx2_dot::AvxVnni::detect().map(Isa::AvxVnni));
            all.extend(avx2::Avx2::detect().map(Isa::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        {
            all.extend(neon::NeonDot::detect().map(Isa::NeonDot));
            all.extend(neon::Neon::detect().map(Isa::Neon));
        }
        all.push(Isa::Portable);
        all.into_iter().map(Self).collect()
    }

    /// Plain Rust, on any processor.
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

    /// Runs plain code, compiled for these instructions as far as it is inlined.
    #[inline(always)]
    pub(in super::super) fn plain<R>(self, code: impl FnOnce() -> R) -> R {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) => avx2.run(Plain(code)),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(vnni) => vnni.run(Plain(code)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(avx512) => avx512.run(Plain(code)),
            // Every aarch64 processor has NEON.
            _ => code(),
        }
    }

    /// Runs work in f32.
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Isa::Portable => work.run(portable::Portable),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) => avx2.run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(vnni) => vnni.run(work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(avx512) => avx512.run(work),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(neon) => work.run(neon),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(dot) => work.run(dot.simd()),
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
            Isa::Avx2(avx2) if narrow => avx2.run(lanes::With(avx2_dot::Pairs(avx2), work)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) => avx2.run(lanes::With(avx2, work)),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(vnni) => vnni.run(lanes::With(vnni, work)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(avx512) => avx512.run(lanes::With(avx512, work)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(neon) => work.run(neon),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(dot) => work.run(dot),
        }
    }
}
