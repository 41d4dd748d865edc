//! Weights that no palette can hold.

use super::shape::Region;
use crate::Result;
use crate::tensor::{FloatType, Weights};

/// The largest finite FP16 number.
pub(super) const FP16_MAX: f32 = 65504.0;

/// The largest magnitude bits of a 16-bit type that FP16 holds: 65504 in FP16, 65280 in BF16, whose
/// next number is 65536.
pub(super) fn largest_bits(dtype: FloatType) -> u16 {
    if dtype == FloatType::BF16 { 0x477F } else { 0x7BFF }
}

/// The error for the first weight in a region that is not finite or is beyond FP16's range.
///
/// # Errors
/// [`crate::Error::Input`], if there is one.
pub(super) fn check(weights: &Weights, region: &Region) -> Result<()> {
    let cols = weights.cols();
    let mut buffer = vec![0.0; region.cols.len()];
    for row in region.rows.clone() {
        let start = row * cols + region.cols.start;
        weights.decode(start..start + buffer.len(), &mut buffer);
        if let Some(i) = buffer.iter().position(|&x| !fits(x)) {
            return Err(weights.unusable(start + i, buffer[i]));
        }
    }
    Ok(())
}

/// Whether FP16 holds numbers of this size.
pub(super) fn fits(x: f32) -> bool {
    x.abs() <= FP16_MAX
}
