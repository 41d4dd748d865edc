//! Whether a stored weight can be an INT8 operand.

use super::{Class, Reason};
use crate::graph::weight::{Storage, Weight};
use crate::graph::{DataType, Function, Operation, ValueId};

/// The stored weight of a product.
#[derive(Clone, Copy, Debug)]
pub struct StoredWeight<'f> {
    /// The constant.
    pub id: ValueId,
    /// What it holds.
    pub weight: &'f Weight,
    /// The axis of its output channels.
    pub outputs: usize,
}

impl<'f> StoredWeight<'f> {
    /// The weight that an operation multiplies with; `None` for one that multiplies activations with
    /// each other, or nothing.
    pub fn of(function: &'f Function, operation: &Operation) -> Option<Self> {
        let kind = operation.row.name;
        let constant = |param| {
            let id = operation.argument(param)?;
            Some((id, function.value(id).constant.as_ref()?))
        };
        // `W · x` of matmul has its weight first.
        let (param, id, weight) = operands(kind)?.into_iter().find_map(|param| {
            let (id, constant) = constant(param)?;
            Some((param, id, constant.as_weight()?))
        })?;
        let flag = constant(if param == "x" { "transpose_x" } else { "transpose_y" });
        let transposed = flag.and_then(|(_, flag)| flag.as_bool()).unwrap_or(false);
        let outputs = output_axis(kind, param, weight.shape.len(), transposed);
        Some(Self { id, weight, outputs })
    }

    /// Whether a scale of this shape has several values along other axes than the output channels'.
    pub fn is_inside(&self, scale: &[usize]) -> bool {
        of_scale(scale, self.outputs).is_some()
    }

    /// The class of a product with this weight and INT8 activations, or why it is none of INT8; and
    /// its class with activations in float.
    ///
    /// An INT8 operand's scale must leave the sum over inputs: one for the tensor or for each output
    /// channel, and no zero point (a zero point of weights adds a term for every activation; hardware
    /// has no stream for it). Source: coremltools' guide, opt-joint-compression and
    /// opt-quantization-overview; sbryngelson/ane-guide ch. 25 for zero points.
    pub(super) fn class(&self) -> (Result<Class, Reason>, Class) {
        of_storage(&self.weight.storage, self.outputs)
    }
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

/// The parameters that may be a stored weight in this type of product, the usual one first.
fn operands(kind: &str) -> Option<Vec<&'static str>> {
    match kind {
        "linear" | "conv" | "conv_transpose" => Some(vec!["weight", "x"]),
        "matmul" => Some(vec!["y", "x"]),
        "einsum" => Some(vec!["values"]),
        _ => None,
    }
}

/// The axis of a weight's output channels, where `param` is bound to it.
fn output_axis(kind: &str, param: &str, rank: usize, transposed: bool) -> usize {
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
