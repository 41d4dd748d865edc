//! What functions take and give.

use crate::graph::{DataType, TensorType};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Tensors by the names of features.
pub type Tensors = BTreeMap<String, Tensor>;

/// A value while a function runs: an element type, and elements in a form that can be computed
/// with.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The type that the program declares. FP16 elements are f32 numbers here; who rounds them, and
    /// when, is the backend's business.
    pub dtype: DataType,
    /// The elements.
    pub data: Data,
}

/// Elements in row-major order ("standard layout" of ndarray).
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// FP16 and FP32.
    Float(ArrayD<f32>),
    /// Integers of 8 to 32 bits.
    Int(ArrayD<i32>),
    /// Flags.
    Bool(ArrayD<bool>),
    /// What a classifier says: the best label.
    Label(Label),
    /// What a classifier says of each label.
    Scores(Vec<(Label, f64)>),
}

/// A label of a classifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A string.
    Text(String),
    /// A number.
    Int(i64),
}

impl Tensor {
    /// Floating-point elements.
    pub fn float(dtype: DataType, array: ArrayD<f32>) -> Self {
        Self { dtype, data: Data::Float(array) }
    }

    /// Integers.
    pub fn int(dtype: DataType, array: ArrayD<i32>) -> Self {
        Self { dtype, data: Data::Int(array) }
    }

    /// Flags.
    pub fn bool(array: ArrayD<bool>) -> Self {
        Self { dtype: DataType::Bool, data: Data::Bool(array) }
    }

    /// The shape; empty for a label or scores.
    pub fn shape(&self) -> &[usize] {
        match &self.data {
            Data::Float(array) => array.shape(),
            Data::Int(array) => array.shape(),
            Data::Bool(array) => array.shape(),
            Data::Label(_) | Data::Scores(_) => &[],
        }
    }

    /// The type, with every dimension fixed.
    pub fn ty(&self) -> TensorType {
        TensorType::fixed(self.dtype, self.shape())
    }

    /// The elements, if they are floating-point numbers.
    pub fn as_float(&self) -> Option<&ArrayD<f32>> {
        match &self.data {
            Data::Float(array) => Some(array),
            _ => None,
        }
    }

    /// The elements, if they are integers.
    pub fn as_int(&self) -> Option<&ArrayD<i32>> {
        match &self.data {
            Data::Int(array) => Some(array),
            _ => None,
        }
    }

    /// The elements, if they are flags.
    pub fn as_bool(&self) -> Option<&ArrayD<bool>> {
        match &self.data {
            Data::Bool(array) => Some(array),
            _ => None,
        }
    }
}
