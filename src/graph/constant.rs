//! Values that are known when a program is written.

use super::weight::{Data, Operand, Storage, Weight};
use super::{DataType, TensorType, ValueType};

/// A value that is known when a program is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Numbers or flags: anything from a one-byte flag to a palettized matrix.
    Tensor(Box<Weight>),
    /// A word, such as a padding mode.
    Text(String),
    /// The labels of a classifier.
    Labels(Labels),
}

/// The labels of a classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Strings.
    Texts(Vec<String>),
    /// Numbers.
    Ints(Vec<i64>),
}

impl Labels {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Ints(ints) => ints.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of one label.
    pub fn dtype(&self) -> DataType {
        match self {
            Self::Texts(_) => DataType::String,
            Self::Ints(_) => DataType::Int64,
        }
    }
}

impl Constant {
    /// An INT32 scalar.
    pub fn int(value: i32) -> Self {
        Self::dense(DataType::Int32, &[], value.to_le_bytes().to_vec())
    }

    /// An INT32 vector.
    pub fn ints(values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::dense(DataType::Int32, &[values.len()], bytes)
    }

    /// A flag.
    pub fn bool(value: bool) -> Self {
        Self::dense(DataType::Bool, &[], vec![value.into()])
    }

    /// A word.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    fn dense(dtype: DataType, shape: &[usize], bytes: Vec<u8>) -> Self {
        Weight::dense(Operand::new(dtype, shape, bytes)).into()
    }

    /// The type that operations see.
    pub fn ty(&self) -> ValueType {
        match self {
            Self::Tensor(weight) => TensorType::fixed(weight.storage.dtype(), &weight.shape).into(),
            Self::Text(_) => TensorType::fixed(DataType::String, &[]).into(),
            Self::Labels(labels) => ValueType::Labels(labels.dtype(), labels.len()),
        }
    }

    /// The weight, if it is one.
    pub fn as_weight(&self) -> Option<&Weight> {
        match self {
            Self::Tensor(weight) => Some(weight),
            Self::Text(_) | Self::Labels(_) => None,
        }
    }

    /// The labels, if it is such.
    pub fn as_labels(&self) -> Option<&Labels> {
        match self {
            Self::Labels(labels) => Some(labels),
            Self::Tensor(_) | Self::Text(_) => None,
        }
    }

    /// The word, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Tensor(_) | Self::Labels(_) => None,
        }
    }

    /// The integers of 8, 16 or 32 bits, if they are such and here.
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        let (dtype, bytes) = self.plain()?;
        Some(match dtype {
            DataType::Int8 => bytes.iter().map(|&b| i64::from(b as i8)).collect(),
            DataType::UInt8 => bytes.iter().map(|&b| i64::from(b)).collect(),
            DataType::Int16 => elements(bytes, i16::from_le_bytes),
            DataType::UInt16 => elements(bytes, u16::from_le_bytes),
            DataType::Int32 => elements(bytes, i32::from_le_bytes),
            DataType::UInt32 => elements(bytes, u32::from_le_bytes),
            _ => return None,
        })
    }

    /// The FP16 or FP32 numbers, if they are such and here.
    pub fn as_floats(&self) -> Option<Vec<f32>> {
        let (dtype, bytes) = self.plain()?;
        Some(match dtype {
            DataType::Float16 => elements(bytes, half::f16::from_le_bytes),
            DataType::Float32 => elements(bytes, f32::from_le_bytes),
            _ => return None,
        })
    }

    /// The flags, if they are such and here.
    pub fn as_bools(&self) -> Option<Vec<bool>> {
        let (dtype, bytes) = self.plain()?;
        (dtype == DataType::Bool).then(|| bytes.iter().map(|&flag| flag != 0).collect())
    }

    /// The flag, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.as_bools()?[..] {
            [flag] => Some(flag),
            _ => None,
        }
    }

    /// How many elements are not zero, if they are plain, of whole bytes and here.
    pub fn count_non_zero(&self) -> Option<usize> {
        let (dtype, bytes) = self.plain()?;
        let width = usize::try_from(dtype.bits()?).ok().filter(|bits| bits % 8 == 0)? / 8;
        // The last byte of a float begins with its sign, and -0 is zero.
        let last = match dtype {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => 0x7f,
            _ => 0xff,
        };
        let is_set = |element: &&[u8]| {
            let (head, tail) = element.split_at(width - 1);
            head.iter().any(|&byte| byte != 0) || tail[0] & last != 0
        };
        Some(bytes.chunks_exact(width).filter(is_set).count())
    }

    /// Plain elements: their type and bytes.
    fn plain(&self) -> Option<(DataType, &[u8])> {
        match &self.as_weight()?.storage {
            Storage::Dense(Operand { dtype, data: Data::Bytes(bytes), .. }) => {
                Some((*dtype, bytes))
            }
            _ => None,
        }
    }
}

/// Little-endian elements.
fn elements<const N: usize, S: Into<D>, D>(bytes: &[u8], read: fn([u8; N]) -> S) -> Vec<D> {
    bytes.as_chunks().0.iter().map(|&chunk| read(chunk).into()).collect()
}

impl From<Weight> for Constant {
    fn from(weight: Weight) -> Self {
        Self::Tensor(Box::new(weight))
    }
}
