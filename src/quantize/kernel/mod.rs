//! The arithmetic on eight weights at a time.
//!
//! Every routine is written once, over the operations of `Lanes`: eight f32 lanes in which weight
//! `i` of a segment has lane `i mod 8`. A processor's own instructions only fill in those
//! operations, each of them exact or rounded as IEEE 754 says (no fused multiply-add), so codes,
//! parameters and statistics are the same, bit for bit, on every processor.
//!
//! | module | what it does |
//! |---|---|
//! | `scan` | the largest magnitude or the extent of segments, by integer comparison |
//! | `encode` | codes and error sums; decoding |
//! | `search` | the error of candidate ranges |
//! | `portable`, `avx2`, `neon` | the eight lanes |

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(super) mod encode;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(super) mod scan;
pub(super) mod search;

use crate::tensor::FloatType;

/// The instructions that the arithmetic uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

impl Kernel {
    /// The fastest that this processor has, unless the environment says `TWOLANE_KERNEL=portable`.
    pub fn detect() -> Self {
        if std::env::var_os("TWOLANE_KERNEL").is_some_and(|name| name == "portable") {
            return Self::portable();
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = avx2::Avx2::detect() {
            return Self(Isa::Avx2(avx2));
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(neon) = neon::Neon::detect() {
            return Self(Isa::Neon(neon));
        }
        Self::portable()
    }

    /// Plain Rust, on any processor: the definition of all the others.
    pub fn portable() -> Self {
        Self(Isa::Portable)
    }

    /// `portable`, `avx2` or `neon`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
        }
    }

    /// Runs a routine with these instructions.
    pub(super) fn run<R: Routine>(self, routine: R) -> R::Output {
        match self.0 {
            Isa::Portable => routine.run(portable::Portable),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(avx2) => avx2.run(routine),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(neon) => neon.run(routine),
        }
    }
}

/// Work that is compiled once for each kind of lanes. `run` and everything generic below it is
/// `#[inline(always)]`: only what is inlined may use the processor's own instructions.
pub(super) trait Routine {
    type Output;
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// The number of lanes.
pub(super) const LANES: usize = 8;

/// Weights that are encoded together; the last of a segment are padded with zeros.
pub(super) const PACKET: usize = 32;

/// Eight f32 lanes. Operands are never NaN.
pub(super) trait Lanes: Copy {
    type F: Copy;
    fn splat(self, x: f32) -> Self::F;
    fn get(self, x: &[f32; LANES]) -> Self::F;
    fn put(self, x: Self::F) -> [f32; LANES];
    /// Eight little-endian numbers at any address.
    fn load_f16(self, bytes: &[u8; 16]) -> Self::F;
    fn load_bf16(self, bytes: &[u8; 16]) -> Self::F;
    fn load_f32(self, bytes: &[u8; 32]) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// To the nearest FP16 number, ties to even.
    fn through_f16(self, a: Self::F) -> Self::F;
    /// `value` where `a` and `b` differ, else zero.
    fn where_differ(self, a: Self::F, b: Self::F, value: Self::F) -> Self::F;
    /// Whether `a > b` in any lane.
    fn any_above(self, a: Self::F, b: Self::F) -> bool;
    /// 32 numbers, rounded to integers (ties to even) in −128…127, as bytes.
    fn pack(self, x: [Self::F; 4], out: &mut [u8; PACKET]);
}

/// A stored type.
pub(super) trait Element {
    const BYTES: usize;
    /// Has at most 11 significant bits: see [`quotient`].
    const SHORT: bool;
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F;
}

/// FP16.
pub(super) struct F16;
/// BF16.
pub(super) struct BF16;
/// FP32.
pub(super) struct F32;

fn array<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.try_into().expect("eight elements")
}

impl Element for F16 {
    const BYTES: usize = 2;
    const SHORT: bool = true;
    #[inline(always)]
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F {
        l.load_f16(array(bytes))
    }
}

impl Element for BF16 {
    const BYTES: usize = 2;
    const SHORT: bool = true;
    #[inline(always)]
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F {
        l.load_bf16(array(bytes))
    }
}

impl Element for F32 {
    const BYTES: usize = 4;
    const SHORT: bool = false;
    #[inline(always)]
    fn load<L: Lanes>(l: L, bytes: &[u8]) -> L::F {
        l.load_f32(array(bytes))
    }
}

/// Calls `$body` with `$E` as the element type that `$dtype` names.
macro_rules! with_element {
    ($dtype:expr, $E:ident => $body:expr) => {
        match $dtype {
            FloatType::F16 => {
                type $E = super::F16;
                $body
            }
            FloatType::BF16 => {
                type $E = super::BF16;
                $body
            }
            FloatType::F32 => {
                type $E = super::F32;
                $body
            }
        }
    };
}
use with_element;

/// A number whose rounding to an integer, ties to even, is that of the true quotient `x / s`, for an
/// FP16 number `s` and its rounded reciprocal `r`; where |x / s| is 512 or more, any number beyond
/// the codes on the same side.
///
/// FP32 weights are divided. FP16 and BF16 weights are multiplied by `r`, four times as fast, and
/// put right: a quotient of two numbers of 11 bits that is not a tie is at least 2⁻¹² away from one
/// (if it is at least ½ − 2⁻¹²; below, it rounds to zero), and `x · r` is at most 2⁻¹⁵ away from a
/// quotient below 256. So rounding `x · r` to a multiple of 2⁻¹³, which adding and subtracting 1536
/// does for magnitudes below 512, makes ties exact again and moves nothing across one.
#[inline(always)]
pub(super) fn quotient<L: Lanes, E: Element>(l: L, x: L::F, s: L::F, r: L::F) -> L::F {
    if E::SHORT {
        let steady = l.splat(1536.0);
        l.sub(l.add(l.mul(x, r), steady), steady)
    } else {
        l.div(x, s)
    }
}

/// The elements of a short packet, followed by zeros.
#[inline(always)]
fn padded(bytes: &[u8]) -> [u8; 4 * PACKET] {
    let mut whole = [0; 4 * PACKET];
    whole[..bytes.len()].copy_from_slice(bytes);
    whole
}

/// The four vectors of a packet; if it is the last, short one of a segment, with zeros behind it.
/// Zeros have code `zero` and no error: they add nothing to any sum.
#[inline(always)]
fn load_packet<L: Lanes, E: Element>(l: L, bytes: &[u8]) -> [L::F; 4] {
    let step = LANES * E::BYTES;
    let whole;
    let bytes = if bytes.len() == 4 * step {
        bytes
    } else {
        whole = padded(bytes);
        &whole[..4 * step]
    };
    [
        E::load(l, &bytes[..step]),
        E::load(l, &bytes[step..2 * step]),
        E::load(l, &bytes[2 * step..3 * step]),
        E::load(l, &bytes[3 * step..]),
    ]
}
