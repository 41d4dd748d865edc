//! Literals and blobs → operands.

use super::{data_type, malformed};
use crate::formats::{mil, weight_blob};
use crate::graph::weight::{Bytes, Operand, Weight};
use crate::graph::{Constant, DataType};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The blob files of a package, opened when first asked for.
pub(super) struct Files<'a> {
    open: &'a mut dyn FnMut(&str) -> Result<Bytes>,
    opened: BTreeMap<String, Bytes>,
}

impl<'a> Files<'a> {
    pub(super) fn new(open: &'a mut dyn FnMut(&str) -> Result<Bytes>) -> Self {
        Self { open, opened: BTreeMap::new() }
    }

    /// A word, or a tensor.
    pub(super) fn constant(&mut self, value: &mil::Value, place: &str) -> Result<Constant> {
        if value.tensor_type().and_then(mil::TensorType::dtype) == Some(mil::DataType::String) {
            let text = value.as_string().ok_or_else(|| malformed(place, "it is not one string"))?;
            return Ok(Constant::text(text));
        }
        Ok(Weight::dense(self.operand(value, place)?).into())
    }

    /// A tensor of numbers or flags, whose bytes fit its type.
    pub(super) fn operand(&mut self, value: &mil::Value, place: &str) -> Result<Operand> {
        let wrong = |why: &str| malformed(place, why);
        let ty = value.tensor_type().ok_or_else(|| wrong("it is no tensor"))?;
        let stored = ty.dtype().ok_or_else(|| wrong("its element type is unknown"))?;
        let dtype = data_type(stored).ok_or_else(|| {
            Error::input(
                format!("package value `{place}`"),
                format!("it is of {}", stored.name()),
                "coremltools 9.0 cannot read it either; convert the model again with FP16 weights",
            )
        })?;
        let shape = ty.shape().ok_or_else(|| wrong("its shape is not fixed"))?;
        let shape: Option<Vec<usize>> =
            shape.into_iter().map(|size| usize::try_from(size).ok()).collect();
        let shape = shape.ok_or_else(|| wrong("its shape overflows"))?;
        let bytes = match (value.as_blob(), value.as_tensor()) {
            (Some(blob), _) => self.blob(blob, stored, place)?,
            (None, Some(tensor)) => {
                let form = "its values do not have the form of its type";
                immediate(dtype, tensor).ok_or_else(|| wrong(form))?.into()
            }
            (None, None) => return Err(wrong("it has no value")),
        };
        let operand = Operand::new(dtype, &shape, bytes);
        Weight::dense(operand.clone()).check().map_err(|why| malformed(place, why))?;
        Ok(operand)
    }

    fn blob(
        &mut self,
        blob: &mil::BlobFileValue,
        dtype: mil::DataType,
        place: &str,
    ) -> Result<Bytes> {
        let name = &blob.file_name;
        if !self.opened.contains_key(name) {
            self.opened.insert(name.clone(), (self.open)(name)?);
        }
        let file = &self.opened[name];
        let found = weight_blob::Reader::new(file)?.get(blob.offset)?;
        if found.dtype != dtype {
            let (is, wants) = (found.dtype.name(), dtype.name());
            let why = format!("its blob at {} holds {is}, not {wants}", blob.offset);
            return Err(malformed(place, why));
        }
        let start = found.data_offset as usize; // Within the file, so within memory.
        file.slice(start..start + found.data.len())
            .ok_or_else(|| malformed(place, "its blob passes the end of the file"))
    }
}

/// The bytes that these values would have in a blob.
fn immediate(dtype: DataType, tensor: &mil::tensor_value::Value) -> Option<Vec<u8>> {
    use DataType::*;
    use mil::tensor_value::Value;
    Some(match (tensor, dtype) {
        (Value::Floats(v), Float32) => v.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (Value::Doubles(v), Float64) => v.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (Value::Bools(v), Bool) => v.values.iter().map(|&v| v.into()).collect(),
        (Value::Ints(v), Int32) => v.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (Value::Ints(v), Int16) => {
            let narrow: Option<Vec<_>> = v.values.iter().map(|&v| i16::try_from(v).ok()).collect();
            narrow?.into_iter().flat_map(i16::to_le_bytes).collect()
        }
        (Value::Ints(v), UInt16) => {
            let narrow: Option<Vec<_>> = v.values.iter().map(|&v| u16::try_from(v).ok()).collect();
            narrow?.into_iter().flat_map(u16::to_le_bytes).collect()
        }
        (Value::LongInts(v), Int64 | UInt64) => {
            v.values.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        (Value::Bytes(v), Float16 | UInt32 | Int4 | Int8 | UInt8) => v.values.clone(),
        (Value::Bytes(v), UInt1 | UInt2 | UInt3 | UInt4 | UInt6) => v.values.clone(),
        _ => return None,
    })
}
