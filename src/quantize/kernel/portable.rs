//! Eight lanes in plain Rust.

use super::{LANES, Lanes, PACKET};
use half::f16;
use std::array::from_fn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portable;

impl Lanes for Portable {
    type F = [f32; LANES];

    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }
    fn get(self, x: &[f32; LANES]) -> Self::F {
        *x
    }
    fn put(self, x: Self::F) -> [f32; LANES] {
        x
    }
    fn load_f16(self, b: &[u8; 16]) -> Self::F {
        from_fn(|i| f16::from_le_bytes([b[2 * i], b[2 * i + 1]]).to_f32())
    }
    fn load_bf16(self, b: &[u8; 16]) -> Self::F {
        from_fn(|i| f32::from_le_bytes([0, 0, b[2 * i], b[2 * i + 1]]))
    }
    fn load_f32(self, b: &[u8; 32]) -> Self::F {
        from_fn(|i| f32::from_le_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]]))
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        a.map(f32::abs)
    }
    fn round(self, a: Self::F) -> Self::F {
        a.map(f32::round_ties_even)
    }
    fn through_f16(self, a: Self::F) -> Self::F {
        a.map(|x| f16::from_f32(x).to_f32())
    }
    #[inline(always)]
    fn where_differ(self, a: Self::F, b: Self::F, value: Self::F) -> Self::F {
        from_fn(|i| if a[i] != b[i] { value[i] } else { 0.0 })
    }
    fn any_above(self, a: Self::F, b: Self::F) -> bool {
        (0..LANES).any(|i| a[i] > b[i])
    }
    fn pack(self, x: [Self::F; 4], out: &mut [u8; PACKET]) {
        for (out, x) in out.iter_mut().zip(x.as_flattened()) {
            *out = x.round_ties_even() as i8 as u8;
        }
    }
}
