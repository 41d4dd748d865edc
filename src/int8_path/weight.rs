//! Whether a stored weight can be an INT8 operand.

use super::{Class, Reason};
use crate::graph::weight::{Storage, Weight};
use crate::graph::{DataType, Operation};

/// The class of a product with this weight and INT8 activations, or why it is none of INT8; and its
/// class with activations in float. `out` is the axis of the weight's output channels.
///
/// An INT8 operand's scale must leave the sum over inputs: one for the tensor or for each output
/// channel, and no zero point (a zero point of weights adds a term for every activation; hardware has
/// no stream for it). Source: coremltools' guide, opt-joint-compression and opt-quantization-overview;
/// sbryngelson/ane-guide ch. 25 for zero points.
pub(super) fn class(weight: &Weight, out: usize) -> (Result<Class, Reason>, Class) {
    of_storage(&weight.storage, out)
}

fn of_storage(storage: &Storage, out: usize) -> (Result<Class, Reason>, Class) {
    match storage {
        Storage::Dense(_) => (Err(Reason::FloatWeight), Class::Float),
        Storage::Linear { codes, scale, offset } => {
            let misfit = if !is_byte(codes.dtype) {
                Some(Reason::NarrowCodes { dtype: codes.dtype.to_string() })
            } else {
                of_scale(&scale.shape, out).or(offset.as_ref().map(|_| Reason::ZeroPoints))
            };
            (misfit.map_or(Ok(Class::W8a8), Err), Class::W8a16)
        }
        Storage::Palette { table, table_scale, channel_scale, .. } => {
            let misfit = if !is_byte(table.dtype) {
                Some(Reason::FloatTable)
            } else {
                let scales = [table_scale, channel_scale].into_iter().flatten();
                scales.into_iter().find_map(|scale| of_scale(&scale.shape, out))
            };
            (misfit.map_or(Ok(Class::Lut8a8), Err), Class::FpPalette)
        }
        // Sums over a mask: which arithmetic the chip has for them is documented nowhere.
        Storage::Sparse { values, .. } => (Err(Reason::Sparse), of_storage(values, out).1),
    }
}

fn is_byte(dtype: DataType) -> bool {
    matches!(dtype, DataType::Int8 | DataType::UInt8)
}

/// Why scales of this shape stay inside the sum over inputs, if they do.
fn of_scale(shape: &[usize], out: usize) -> Option<Reason> {
    let mut inside = shape.iter().enumerate().filter(|(axis, size)| *axis != out && **size > 1);
    inside.next().map(|_| match shape.get(out) {
        Some(1) => Reason::InputScales,
        _ => Reason::BlockScales,
    })
}

/// The parameter that is a stored weight in this type of operation, and the one that is the
/// activation beside it.
pub(super) fn operands(operation: &Operation) -> [&'static str; 2] {
    match operation.row.name {
        "matmul" => ["y", "x"],
        "einsum" => ["values", "values"],
        _ => ["weight", "x"],
    }
}

/// The axis of a weight's output channels, where `param` is bound to it.
pub(super) fn output_axis(kind: &str, param: &str, rank: usize, transposed: bool) -> usize {
    let [rows, columns] = [rank.saturating_sub(2), rank.saturating_sub(1)];
    match (kind, param) {
        ("conv_transpose", _) => 1,
        ("matmul", "y") => {
            if transposed {
                rows
            } else {
                columns
            }
        }
        ("matmul", _) => {
            if transposed {
                columns
            } else {
                rows
            }
        }
        _ => 0,
    }
}
