//! Literals and blobs → constants.

use super::finding::{Read, Stop, quoted, wrong};
use super::types::{data_type, tensor_type, value_type};
use crate::Result;
use crate::formats::{mil, weight_blob};
use crate::graph::weight::{Bytes, Operand, Weight};
use crate::graph::{Constant, DataType, Labels, ValueType};
use crate::target::Target;
use std::collections::{BTreeMap, BTreeSet};

/// The longest text constant. Words such as padding modes take a few bytes.
const LONGEST_TEXT: usize = 1 << 16;
/// Bytes that constants may take beside the files that they stand in, for each byte of those files:
/// a value that is stored once can be referred to, and expanded, any number of times.
const EXPANSION: u64 = 4;
const LEAST_EXPANSION: u64 = 64 << 20;

/// The blob files of a package, opened when first asked for.
pub(super) struct Files<'a> {
    open: &'a mut dyn FnMut(&str) -> Result<Bytes>,
    /// By the name that values use; `None` where a finding has said that the file is no use.
    opened: BTreeMap<String, Option<File>>,
    target: Target,
    /// Bytes that were made, not mapped.
    made: u64,
}

struct File {
    bytes: Bytes,
    /// Where the metadata stand of the blobs that the header counts; empty where it miscounts.
    counted: BTreeSet<u64>,
}

impl<'a> Files<'a> {
    pub(super) fn new(open: &'a mut dyn FnMut(&str) -> Result<Bytes>, target: Target) -> Self {
        Self { open, opened: BTreeMap::new(), target, made: 0 }
    }

    /// Room for `bytes` that are decoded, not mapped.
    pub(super) fn make(&mut self, bytes: usize) -> Read<()> {
        let mapped =
            self.opened.values().flatten().map(|file| file.bytes.len() as u64).sum::<u64>();
        self.made = self.made.saturating_add(bytes as u64);
        if self.made > LEAST_EXPANSION.saturating_add(EXPANSION.saturating_mul(mapped)) {
            return Err(wrong(format!(
                "constants that are decoded take more than {EXPANSION} times the size of the weights"
            )));
        }
        Ok(())
    }

    /// A word, labels, or a tensor.
    pub(super) fn constant(&mut self, value: &mil::Value) -> Read<Constant> {
        if !value.doc_string.is_empty() {
            return Err(wrong("its docString is set, which Core ML refuses"));
        }
        match value_type(value.r#type.as_ref())? {
            ValueType::Tensor(ty) if ty.dtype == DataType::String => {
                if !ty.dims.is_empty() {
                    return Err(wrong("several strings are no constant of any operation"));
                }
                let text = value.as_string().ok_or_else(|| wrong("it does not hold one string"))?;
                if text.len() > LONGEST_TEXT {
                    let most = LONGEST_TEXT;
                    return Err(wrong(format!(
                        "{} bytes of text; up to {most} can be read",
                        text.len()
                    )));
                }
                Ok(Constant::text(text))
            }
            ValueType::Tensor(_) => Ok(Weight::dense(self.operand(value)?).into()),
            ValueType::Labels(dtype, count) => labels(value, dtype, count),
            ty @ (ValueType::State(_) | ValueType::Scores(_)) => {
                Err(wrong(format!("{ty} is no type of constants")))
            }
        }
    }

    /// A tensor of numbers or flags, whose bytes fit its type.
    pub(super) fn operand(&mut self, value: &mil::Value) -> Read<Operand> {
        if !value.doc_string.is_empty() {
            return Err(wrong("its docString is set, which Core ML refuses"));
        }
        let ty = value.tensor_type().ok_or_else(|| wrong("it is no tensor"))?;
        let tensor = tensor_type(ty)?;
        let flexible = || wrong(format!("it is {tensor}; the shape of a constant is fixed"));
        let shape = tensor.shape().ok_or_else(flexible)?;
        let bytes = match (value.as_blob(), value.as_tensor()) {
            (Some(blob), _) => self.blob(blob, ty)?,
            (None, Some(values)) => {
                let form = || wrong(format!("it is {tensor}, and its values have another form"));
                immediate(tensor.dtype, values).ok_or_else(form)?.into()
            }
            (None, None) => return Err(wrong("it has no value")),
        };
        let operand = Operand::new(tensor.dtype, &shape, bytes);
        Weight::dense(operand.clone()).check().map_err(wrong)?;
        Ok(operand)
    }

    /// Opens a blob file that is named for the first time.
    fn open(&mut self, name: &str) -> Read<()> {
        if self.opened.contains_key(name) {
            return Ok(());
        }
        self.opened.insert(name.into(), None);
        let bytes = (self.open)(name)?;
        let walked = weight_blob::Reader::new(&bytes).and_then(|reader| reader.walk());
        let offsets = |blobs: &Vec<weight_blob::Blob<'_>>| {
            blobs.iter().map(|blob| blob.metadata_offset).collect()
        };
        let counted = walked.as_ref().map(offsets).unwrap_or_default();
        let walked = walked.map(|_| ()).map_err(crate::Error::from);
        self.opened.insert(name.into(), Some(File { bytes, counted }));
        Ok(walked?)
    }

    fn blob(&mut self, blob: &mil::BlobFileValue, ty: &mil::TensorType) -> Read<Bytes> {
        let name = &blob.file_name;
        self.open(name)?;
        let Some(Some(File { bytes, counted })) = self.opened.get(name) else {
            return Err(Stop::Known);
        };
        let offset = blob.offset;
        let found = weight_blob::Reader::new(bytes).and_then(|reader| reader.get(offset));
        let found = found.map_err(crate::Error::from)?;
        if Some(found.dtype) != ty.dtype() {
            let (is, wants) = (found.dtype.name(), ty.dtype().map_or("?", mil::DataType::name));
            return Err(wrong(format!("its blob at {offset} holds {is}, not {wants}")));
        }
        if Some(found.elements) != ty.elements() {
            let (is, wants) = (found.elements, ty.elements().unwrap_or(0));
            return Err(wrong(format!("its blob at {offset} holds {is} elements, not {wants}")));
        }
        if !counted.is_empty() && !counted.contains(&offset) {
            let why = "is none of those that the file's header counts";
            return Err(wrong(format!("its blob at {offset} {why}")));
        }
        let old = matches!(
            data_type(found.dtype),
            Some(DataType::Float16 | DataType::Float32 | DataType::Int8 | DataType::UInt8)
        );
        if !old && self.target < Target::Ios18 {
            let (dtype, file) = (found.dtype.name(), quoted(name));
            return Err(wrong(format!(
                "{file} holds {dtype} only from ios18 on, not for {}",
                self.target
            )));
        }
        let start = found.data_offset as usize; // Within the file, so within memory.
        bytes.slice(start..start + found.data.len()).ok_or(Stop::Known)
    }
}

/// A list of strings or of INT64 numbers.
fn labels(value: &mil::Value, dtype: DataType, count: usize) -> Read<Constant> {
    use mil::tensor_value::Value;
    let listed = match &value.value {
        Some(mil::value::Value::Immediate(mil::ImmediateValue {
            value: Some(mil::immediate_value::Value::List(list)),
        })) => &list.values,
        _ => return Err(wrong("it is a list and does not hold one")),
    };
    if listed.len() != count {
        return Err(wrong(format!("it is a list of {count} and holds {}", listed.len())));
    }
    let one = |value: &mil::Value| match (dtype, value.as_tensor()) {
        (DataType::String, Some(Value::Strings(v))) => {
            v.values.first().filter(|_| v.values.len() == 1).cloned().map(Err)
        }
        (_, Some(Value::LongInts(v))) => {
            v.values.first().filter(|_| v.values.len() == 1).copied().map(Ok)
        }
        _ => None,
    };
    let mut texts = Vec::new();
    let mut ints = Vec::new();
    for value in listed {
        match one(value) {
            Some(Err(text)) if dtype == DataType::String => texts.push(text),
            Some(Ok(int)) if dtype == DataType::Int64 => ints.push(int),
            _ => return Err(wrong(format!("its members are not all of one {dtype}"))),
        }
    }
    Ok(Constant::Labels(match dtype {
        DataType::String => Labels::Texts(texts),
        _ => Labels::Ints(ints),
    }))
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
