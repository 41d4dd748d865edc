//! What stands in `weight.bin`, where, and what is shared.

use super::data_type;
use crate::formats::{mil, weight_blob};
use crate::graph::DataType;
use crate::graph::weight::{Bytes, Data, Operand, Part, Slot};
use crate::target::Target;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// coremltools keeps fewer elements than these in the model itself.
const LEAST_ELEMENTS: usize = 10;

/// The content of one blob, and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// The bytes, or who makes them.
    pub data: Data,
    /// Type, offset of the data, length.
    pub entry: weight_blob::Entry,
}

/// A literal of an operation in the model.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) function: String,
    pub(super) operation: usize,
    pub(super) param: String,
    pub(super) kind: Parameter,
}

/// How an operation holds its literals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parameter {
    Attribute,
    Input,
}

impl Place {
    /// The bytes of the literal.
    pub(super) fn find<'m>(&self, model: &'m mut mil::Model) -> Option<&'m mut Vec<u8>> {
        let function = model.ml_program.as_mut()?.functions.get_mut(&self.function)?;
        let block = function.block_specializations.values_mut().next()?;
        let operation = block.operations.get_mut(self.operation)?;
        let value = match self.kind {
            Parameter::Attribute => operation.attributes.get_mut(&self.param)?,
            Parameter::Input => {
                let binding = operation.inputs.get_mut(&self.param)?.arguments.first_mut()?;
                match binding.binding.as_mut()? {
                    mil::binding::Binding::Value(value) => value,
                    mil::binding::Binding::Name(_) => return None,
                }
            }
        };
        match value.value.as_mut()? {
            mil::value::Value::Immediate(mil::ImmediateValue {
                value: Some(mil::immediate_value::Value::Tensor(tensor)),
            }) => match tensor.value.as_mut()? {
                mil::tensor_value::Value::Bytes(bytes) => Some(&mut bytes.values),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Two operands are one blob if both come from one slot, or have the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Slot(Slot),
    Bytes(Bytes),
}

/// The blobs of a package, growing.
pub(super) struct Blobs {
    target: Target,
    pub(super) plan: weight_blob::Plan,
    pub(super) blobs: Vec<Blob>,
    pub(super) small: BTreeMap<Slot, Vec<Place>>,
    shared: BTreeMap<(DataType, Source), weight_blob::Entry>,
}

impl Blobs {
    pub(super) fn new(target: Target) -> Self {
        let (plan, blobs, small, shared) = Default::default();
        Self { target, plan, blobs, small, shared }
    }

    /// The literal of an operand: in the model where it is small, else in `weight.bin`.
    pub(super) fn value(&mut self, operand: &Operand, place: Place) -> Result<mil::Value> {
        let dtype = data_type(operand.dtype);
        let shape: Vec<u64> = operand.shape.iter().map(|&d| d as u64).collect();
        if self.goes_to_file(operand) {
            let entry = self.entry(operand)?;
            return Ok(mil::Value::blob(dtype, &shape, entry.metadata_offset));
        }
        match &operand.data {
            Data::Bytes(bytes) => Ok(mil::Value::tensor(dtype, &shape, immediate(dtype, bytes)?)),
            Data::Later(slot) => {
                self.small.entry(*slot).or_default().push(place);
                let zeros = vec![0; operand.byte_len() as usize];
                Ok(mil::Value::bytes(dtype, &shape, zeros))
            }
        }
    }

    /// Weights that come later are streamed to the file, however small; everything else follows
    /// coremltools: ten elements or more, of a type that the target reads from blobs.
    fn goes_to_file(&self, operand: &Operand) -> bool {
        let streams = |slot: &Slot| matches!(slot.part, Part::Codes | Part::Dense);
        if matches!(&operand.data, Data::Later(slot) if streams(slot)) {
            return true;
        }
        let readable = match operand.dtype {
            DataType::Bool | DataType::String => false,
            DataType::Float64 | DataType::Int64 | DataType::UInt64 => false,
            DataType::Int16 | DataType::Int32 | DataType::UInt16 | DataType::UInt32 => {
                self.target >= Target::Ios18
            }
            DataType::Float16 | DataType::Float32 | DataType::Int8 | DataType::UInt8 => true,
            DataType::Int4 | DataType::UInt1 | DataType::UInt2 => true,
            DataType::UInt3 | DataType::UInt4 | DataType::UInt6 => true,
        };
        readable && operand.elements() >= LEAST_ELEMENTS
    }

    fn entry(&mut self, operand: &Operand) -> Result<weight_blob::Entry> {
        let source = match &operand.data {
            Data::Later(slot) => Source::Slot(*slot),
            Data::Bytes(bytes) => Source::Bytes(bytes.clone()),
        };
        let key = (operand.dtype, source);
        if let Some(entry) = self.shared.get(&key) {
            if entry.elements != operand.elements() as u64 {
                return Err(Error::bug(format!("blob {key:?}"), "one source, two lengths"));
            }
            return Ok(*entry);
        }
        let entry = self.plan.add(data_type(operand.dtype), operand.elements() as u64)?;
        self.blobs.push(Blob { data: operand.data.clone(), entry });
        self.shared.insert(key, entry);
        Ok(entry)
    }
}

/// A file's bytes in the member that an immediate value of this type has.
fn immediate(dtype: mil::DataType, bytes: &[u8]) -> Result<mil::tensor_value::Value> {
    use mil::tensor_value as tv;
    let bug = || Error::bug(format!("immediate {}", dtype.name()), "has no form");
    let form = dtype.immediate().ok_or_else(bug)?;
    let wide = |b: &[u8]| {
        let mut all = [0; 8];
        all[..b.len()].copy_from_slice(b);
        i64::from_le_bytes(all)
    };
    let size = usize::from(dtype.bits().ok_or_else(bug)?.div_ceil(8));
    let words = bytes.chunks_exact(size);
    Ok(match form {
        mil::Immediate::Bytes => tv::Bytes { values: bytes.to_vec() }.into(),
        mil::Immediate::Bools => tv::Bools { values: words.map(|b| b != [0]).collect() }.into(),
        mil::Immediate::Floats => {
            let float = |b: &[u8]| f32::from_bits(wide(b) as u32);
            tv::Floats { values: words.map(float).collect() }.into()
        }
        mil::Immediate::Doubles => {
            let double = |b: &[u8]| f64::from_bits(wide(b) as u64);
            tv::Doubles { values: words.map(double).collect() }.into()
        }
        mil::Immediate::Ints => {
            let int = |b: &[u8]| match dtype {
                mil::DataType::Int16 => i32::from(wide(b) as i16),
                _ => wide(b) as i32,
            };
            tv::Ints { values: words.map(int).collect() }.into()
        }
        mil::Immediate::LongInts => tv::LongInts { values: words.map(wide).collect() }.into(),
        mil::Immediate::Strings => return Err(bug()),
    })
}
