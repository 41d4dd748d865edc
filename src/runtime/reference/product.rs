//! Sums of products: what linear layers, convolutions and attention consist of.

use super::{Arguments, Mode, ane};
use crate::graph::DataType;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

/// Rows and columns that are widened to f64 at a time: bounds the copies.
const BLOCK: usize = 512;

/// `start + a · b`: a `[M, K]`, b `[K, N]`, start `[M, N]`.
///
/// Sums are formed in f64 and rounded once to f32: products of f32 are exact there, so the result
/// does not depend on the order. In [`Mode::Ane`], operations of type FP16 sum as `ane` says, and
/// what overflows is counted.
pub(super) fn product(
    arguments: &Arguments<'_>,
    dtype: DataType,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    start: ArrayView2<'_, f32>,
) -> Array2<f32> {
    if arguments.call.mode == Mode::Ane && dtype == DataType::Float16 {
        let (out, overflows) = ane::product(a, b, start);
        arguments.overflows.set(arguments.overflows.get() + overflows);
        return out;
    }
    let mut out = Array2::zeros(start.dim());
    let (height, width) = start.dim();
    for top in (0..height).step_by(BLOCK) {
        let rows = top..height.min(top + BLOCK);
        let a = a.slice(s![rows.clone(), ..]).mapv(f64::from);
        for left in (0..width).step_by(BLOCK) {
            let cols = left..width.min(left + BLOCK);
            let b = b.slice(s![.., cols.clone()]).mapv(f64::from);
            let mut sums = start.slice(s![rows.clone(), cols.clone()]).mapv(f64::from);
            general_mat_mul(1.0, &a, &b, 1.0, &mut sums);
            out.slice_mut(s![rows.clone(), cols]).assign(&sums.mapv(|sum| sum as f32));
        }
    }
    out
}
