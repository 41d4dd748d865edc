//! What a value of type FP16 holds once it leaves an operation.

use super::{Mode, Tensor};
use crate::graph::DataType;
use crate::runtime::Data;
use half::f16;

/// Rounds the elements of an FP16 tensor as `mode` does at the edge between two operations.
///
/// In [`Mode::F16`] to the nearest FP16 number, ties to even, what is too large to infinity. In
/// [`Mode::Ane`] ties go away from zero, and NaN becomes +∞.
pub(super) fn edge(mode: Mode, tensor: &mut Tensor) {
    let Data::Float(array) = &mut tensor.data else { return };
    if tensor.dtype != DataType::Float16 {
        return;
    }
    match mode {
        Mode::F32 => {}
        Mode::F16 => array.mapv_inplace(|x| f16::from_f32(x).to_f32()),
        Mode::Ane => array.mapv_inplace(super::ane::edge),
    }
}

/// Rounds an FP16 tensor to FP16, ties to even, in every mode: what enters a function is stored.
pub(super) fn entry(tensor: &mut Tensor) {
    if let (DataType::Float16, Data::Float(array)) = (tensor.dtype, &mut tensor.data) {
        array.mapv_inplace(|x| f16::from_f32(x).to_f32());
    }
}
