//! Which storages hold codes that hardware multiplies as they are.

use super::{Operand, Storage};
use crate::graph::DataType;

impl Storage {
    /// Whether its codes can meet INT8 activations in INT8 arithmetic: one signed byte a weight, or an
    /// index of such bytes, and all that scales them is one number an output channel, so that it can be
    /// applied to the sum.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn multiplies_in_int8(&self) -> Result<(), &'static str> {
        match self {
            Self::Dense(_) => Err("its weight is not quantized"),
            Self::Linear { codes, .. } if codes.dtype != DataType::Int8 => {
                Err("its weight's codes are no signed bytes, and are expanded to FP16")
            }
            Self::Linear { offset: Some(_), .. } => Err("its weight has zero points"),
            Self::Linear { scale, .. } if !by_channel(scale) => {
                Err("its weight's scales change along the sum; use one a channel or one a tensor")
            }
            Self::Linear { .. } => Ok(()),
            Self::Palette { table, .. } if table.dtype != DataType::Int8 => {
                Err("its weight's palette has FP16 entries; lut-int8 has INT8 ones")
            }
            Self::Palette { table, .. } if !by_channel(table) => {
                Err("its weight's palettes change along the sum")
            }
            Self::Palette { table, vector_axis, .. } => {
                let length = table.shape.last().copied().unwrap_or(1);
                let is_along = *vector_axis > 0 && length > 1;
                if is_along { Err("its weight's vectors lie along the sum") } else { Ok(()) }
            }
            Self::Sparse { .. } => Err("its weight is sparse"),
        }
    }
}

/// Whether there is one for each output channel at the most; entries and vectors stand behind the axes
/// of a table, and the first is that of the output channels.
fn by_channel(of: &Operand) -> bool {
    let axes = match of.dtype {
        DataType::Int8 => &of.shape[..of.shape.len().saturating_sub(2)],
        _ => &of.shape[..],
    };
    axes.iter().skip(1).all(|&size| size == 1)
}
