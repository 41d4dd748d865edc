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

    /// The INT32 elements, if they are such and here.
    pub fn as_ints(&self) -> Option<Vec<i64>> {
        let bytes = self.plain(DataType::Int32)?;
        let int = |b: &[u8]| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Some(bytes.chunks_exact(4).map(int).collect())
    }

    /// The flag, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.plain(DataType::Bool)? {
            [flag] => Some(*flag != 0),
            _ => None,
        }
    }

    /// The bytes of plain elements of this type.
    fn plain(&self, dtype: DataType) -> Option<&[u8]> {
        match &self.as_weight()?.storage {
            Storage::Dense(Operand { dtype: stored, data: Data::Bytes(bytes), .. })
                if *stored == dtype =>
            {
                Some(bytes)
            }
            _ => None,
        }
    }
}

impl From<Weight> for Constant {
    fn from(weight: Weight) -> Self {
        Self::Tensor(Box::new(weight))
    }
}
