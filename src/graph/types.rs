//! Types of values.

use super::DataType;
use std::fmt;

/// One dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the program is written.
    Fixed(usize),
    /// Known when the program runs; which sizes an input takes is its [`Sizes`].
    Flexible,
}

/// A tensor's type: no dimensions, a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DataType,
    /// Dimensions, outermost first.
    pub dims: Vec<Dim>,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A tensor.
    Tensor(TensorType),
    /// A tensor that outlives a prediction, read and written by operations of their own.
    State(TensorType),
    /// The labels of a classifier: so many strings or INT64 numbers.
    Labels(DataType, usize),
    /// What a classifier says of each label: label → FP64.
    Scores(DataType),
}

/// Which sizes the flexible dimensions of an input or output take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sizes {
    /// None is flexible, or (an output) they follow from the inputs.
    #[default]
    Fixed,
    /// Each dimension on its own: the size that is assumed by default, and the inclusive range.
    Ranges(Vec<SizeRange>),
    /// One of these shapes; the first is the default.
    Enumerated(Vec<Vec<usize>>),
}

/// The sizes that one dimension takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizeRange {
    /// The smallest.
    pub low: usize,
    /// The size that is assumed by default.
    pub default: usize,
    /// The largest.
    pub high: usize,
}

impl TensorType {
    /// A tensor of a fixed shape.
    pub fn fixed(dtype: DataType, shape: &[usize]) -> Self {
        Self { dtype, dims: shape.iter().map(|&size| Dim::Fixed(size)).collect() }
    }

    /// A tensor of fixed and flexible dimensions.
    pub fn new(dtype: DataType, dims: Vec<Dim>) -> Self {
        Self { dtype, dims }
    }

    /// The shape, if no dimension is flexible.
    pub fn shape(&self) -> Option<Vec<usize>> {
        self.dims.iter().map(|dim| dim.size()).collect()
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }
}

impl ValueType {
    /// The tensor's type, also a state's.
    pub fn tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(tensor) | Self::State(tensor) => Some(tensor),
            Self::Labels(..) | Self::Scores(_) => None,
        }
    }
}

impl TensorType {
    /// Whether the two can be the same once flexible dimensions are known.
    pub fn may_equal(&self, other: &Self) -> bool {
        let pairs = || self.dims.iter().zip(&other.dims);
        self.dtype == other.dtype
            && self.rank() == other.rank()
            && pairs().all(|(a, b)| a.may_equal(*b))
    }
}

impl ValueType {
    /// Whether the two can be the same once flexible dimensions are known.
    pub fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tensor(a), Self::Tensor(b)) | (Self::State(a), Self::State(b)) => a.may_equal(b),
            _ => self == other,
        }
    }
}

impl From<TensorType> for ValueType {
    fn from(tensor: TensorType) -> Self {
        Self::Tensor(tensor)
    }
}

impl Dim {
    /// The size, if it is fixed.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(size),
            Self::Flexible => None,
        }
    }

    /// Whether the two can be the same size.
    pub fn may_equal(self, other: Self) -> bool {
        self == Self::Flexible || other == Self::Flexible || self == other
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Flexible => f.write_str("?"),
        }
    }
}

impl fmt::Display for TensorType {
    /// `fp16[64, 2048]`, `int32[]`, `fp16[1, ?]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, dim) in self.dims.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(tensor) => write!(f, "{tensor}"),
            Self::State(tensor) => write!(f, "state<{tensor}>"),
            Self::Labels(dtype, count) => write!(f, "list<{dtype}, {count}>"),
            Self::Scores(label) => write!(f, "dict<{label}, fp64>"),
        }
    }
}
