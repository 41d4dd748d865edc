//! A weight is a value with a storage.
//!
//! Quantizing replaces the storage. Which constexpr operation that becomes depends on the target
//! and is the lowering's business alone; raising a package undoes it.

mod bytes;
mod check;
mod dequantize;
mod integer;

pub use bytes::{Bytes, Identity};

use super::DataType;
use crate::scheme::{Entries, Float, Linear, LinearBits, LinearGranularity};
use crate::scheme::{Palette, PaletteGranularity, Scheme};

/// A constant tensor of a program: its logical shape, and how it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// The shape that operations see, `[O, I, …]`.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub storage: Storage,
}

/// How a weight is stored. Shapes follow `[O, I, …]`, the weight's own; `..` is as many 1s as the
/// rank needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// The values themselves.
    Dense(Operand),
    /// `w = scale · (codes − offset)`, rounded once to the scale's type.
    Linear {
        /// Integer codes, in the weight's shape.
        codes: Operand,
        /// `[1, 1, ..]`, `[O, 1, ..]`, `[1, I, ..]` or `[O, I/B, ..]`: each weight dimension is a
        /// multiple of the scale's.
        scale: Operand,
        /// The zero point, in the scale's shape; absent when symmetric.
        offset: Option<Operand>,
    },
    /// `w = table[group, index]`, times the scales that are present.
    Palette {
        /// Unsigned indices: the weight's shape, with `vector_axis` divided by the vector length.
        indices: Operand,
        /// `[G0, G1, .., P, V]`: groups along each dimension, entries, vector length.
        table: Operand,
        /// For INT8 entries: FP16, `[G0, G1, .., 1, 1]`.
        table_scale: Option<Operand>,
        /// The axis along which one index fills V values; 0 where V is 1.
        vector_axis: usize,
        /// FP16, `[O, 1, ..]`: `w = table[..] · channel_scale`. Packages of other programs may hold
        /// any shape whose dimensions divide the weight's.
        channel_scale: Option<Operand>,
    },
    /// Where the mask's bit is set, the next of `values`; elsewhere 0.
    Sparse {
        /// UINT1. The weight's shape; before indices of vectors, the indices' shape.
        mask: Operand,
        /// A storage whose values, codes or indices are the row `[D]` of those that the mask keeps,
        /// in row-major order; its scales and tables have the shapes that the whole weight would need.
        values: Box<Self>,
    },
}

/// One stored tensor: type, shape, and where its bytes come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    /// Element type; sub-byte elements are packed into one bit stream.
    pub dtype: DataType,
    /// Shape of the stored elements.
    pub shape: Vec<usize>,
    /// The bytes, now or later.
    pub data: Data,
}

/// Where an operand's bytes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Here, as they stand in a file: little-endian, packed.
    Bytes(Bytes),
    /// Made by a later step, which asks by this key: sizes and offsets are planned before data.
    Later(Slot),
}

/// One part of one tensor of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The tensor's place in the plan.
    pub tensor: usize,
    /// Which of its parts.
    pub part: Part,
}

/// The parts that a tensor can be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Floating-point values.
    Dense,
    /// Linear codes or palette indices.
    Codes,
    /// Linear scales.
    Scale,
    /// Linear zero points.
    Offset,
    /// Palette entries.
    Table,
    /// Scales of INT8 palette entries.
    TableScale,
    /// Scales of output channels beside a palette.
    ChannelScale,
}

impl Operand {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes in a file, the last one padded with zero bits.
    ///
    /// # Panics
    /// For strings, which no weight holds.
    pub fn byte_len(&self) -> u64 {
        let bits = u64::from(self.dtype.bits().expect("a weight's operand is numeric"));
        (self.elements() as u64 * bits).div_ceil(8)
    }
}

impl Storage {
    /// The storage of tensor number `tensor` of a plan, of this shape (rank ≥ 1), under this
    /// scheme, whose blocks, groups and vectors divide the shape. All bytes come later.
    pub fn planned(scheme: Scheme, shape: &[usize], tensor: usize) -> Self {
        let operand = |part, dtype, shape: Vec<usize>| Operand {
            dtype,
            shape,
            data: Data::Later(Slot { tensor, part }),
        };
        match scheme {
            Scheme::Float(float) => {
                let dtype = match float {
                    Float::F16 => DataType::Float16,
                    Float::F32 => DataType::Float32,
                };
                Self::Dense(operand(Part::Dense, dtype, shape.to_vec()))
            }
            Scheme::Linear(linear) => {
                let code = match linear.bits {
                    LinearBits::Int8 => DataType::Int8,
                    LinearBits::Int4 => DataType::Int4,
                };
                let scale = scale_shape(linear, shape);
                Self::Linear {
                    codes: operand(Part::Codes, code, shape.to_vec()),
                    offset: linear.asymmetric.then(|| operand(Part::Offset, code, scale.clone())),
                    scale: operand(Part::Scale, DataType::Float16, scale),
                }
            }
            Scheme::Palette(palette) => {
                let (indices, groups) = palette_shapes(palette, shape);
                let dtype = DataType::index(palette.bits).expect("a parsed scheme's bits");
                let entries = match palette.entries {
                    Entries::F16 => DataType::Float16,
                    Entries::Int8 => DataType::Int8,
                };
                let table_of = |p: usize, v: usize| [&groups[..], &[p, v]].concat();
                let table = table_of(1 << palette.bits, usize::from(palette.vector));
                let mut channels = vec![1; shape.len()];
                channels[0] = shape[0];
                Self::Palette {
                    indices: operand(Part::Codes, dtype, indices),
                    table: operand(Part::Table, entries, table),
                    table_scale: (palette.entries == Entries::Int8)
                        .then(|| operand(Part::TableScale, DataType::Float16, table_of(1, 1))),
                    vector_axis: if palette.vector > 1 { palette.axis.into() } else { 0 },
                    channel_scale: palette
                        .channel_scale
                        .then(|| operand(Part::ChannelScale, DataType::Float16, channels)),
                }
            }
        }
    }

    /// The stored operands, each with the part it is. The mask of a sparse weight is not among them:
    /// no scheme makes one.
    pub fn operands(&self) -> Vec<(Part, &Operand)> {
        match self {
            Self::Dense(values) => vec![(Part::Dense, values)],
            Self::Linear { codes, scale, offset } => {
                let offset = offset.iter().map(|o| (Part::Offset, o));
                [(Part::Codes, codes), (Part::Scale, scale)].into_iter().chain(offset).collect()
            }
            Self::Palette { indices, table, table_scale, vector_axis: _, channel_scale } => {
                let table_scale = table_scale.iter().map(|o| (Part::TableScale, o));
                let channel_scale = channel_scale.iter().map(|o| (Part::ChannelScale, o));
                [(Part::Codes, indices), (Part::Table, table)]
                    .into_iter()
                    .chain(table_scale)
                    .chain(channel_scale)
                    .collect()
            }
            Self::Sparse { mask: _, values } => values.operands(),
        }
    }

    /// Bytes of all [operands](Self::operands) in a file, without what a file puts between them.
    pub fn byte_len(&self) -> u64 {
        self.operands().iter().map(|(_, operand)| operand.byte_len()).sum()
    }

    /// The same storage with scales, and palette entries that are no integers, in FP32: what the
    /// weight stands for is then FP32. Their values are those of FP16.
    pub fn widened(self) -> Self {
        let wide = |operand: Operand| match operand.dtype {
            DataType::Float16 => Operand { dtype: DataType::Float32, ..operand },
            _ => operand,
        };
        match self {
            Self::Dense(values) => Self::Dense(wide(values)),
            Self::Linear { codes, scale, offset } => {
                Self::Linear { codes, scale: wide(scale), offset }
            }
            Self::Palette { indices, table, table_scale, vector_axis, channel_scale } => {
                Self::Palette {
                    indices,
                    table: wide(table),
                    table_scale: table_scale.map(wide),
                    vector_axis,
                    channel_scale: channel_scale.map(wide),
                }
            }
            Self::Sparse { mask, values } => {
                Self::Sparse { mask, values: Box::new(values.widened()) }
            }
        }
    }

    /// The same storage of a weight of shape `from` seen in the shape `to`, which differs from it by
    /// axes of one element behind: a linear layer's weight as that of a 1x1 convolution. `None` for
    /// any other shape, and for a sparse storage.
    pub fn with_axes(&self, from: &[usize], to: &[usize]) -> Option<Self> {
        let ones = to.strip_prefix(from)?;
        if ones.iter().any(|&size| size != 1) {
            return None;
        }
        // Axes of a table stand before its entries and vectors.
        let seen = |operand: &Operand| {
            let mut shape = operand.shape.clone();
            shape.splice(from.len()..from.len(), ones.iter().copied());
            operand.reshaped(shape)
        };
        Some(match self {
            Self::Dense(values) => Self::Dense(seen(values)),
            Self::Linear { codes, scale, offset } => Self::Linear {
                codes: seen(codes),
                scale: seen(scale),
                offset: offset.as_ref().map(seen),
            },
            Self::Palette { indices, table, table_scale, vector_axis, channel_scale } => {
                Self::Palette {
                    indices: seen(indices),
                    table: seen(table),
                    table_scale: table_scale.as_ref().map(seen),
                    vector_axis: *vector_axis,
                    channel_scale: channel_scale.as_ref().map(seen),
                }
            }
            Self::Sparse { .. } => return None,
        })
    }

    /// The type of the weights that operations see.
    pub fn dtype(&self) -> DataType {
        match self {
            Self::Dense(values) => values.dtype,
            Self::Linear { scale, .. } => scale.dtype,
            Self::Palette { table, table_scale, channel_scale, .. } => {
                channel_scale.as_ref().or(table_scale.as_ref()).unwrap_or(table).dtype
            }
            Self::Sparse { values, .. } => values.dtype(),
        }
    }
}

impl Operand {
    /// An operand whose bytes are here.
    pub fn new(dtype: DataType, shape: &[usize], bytes: impl Into<Bytes>) -> Self {
        Self { dtype, shape: shape.to_vec(), data: Data::Bytes(bytes.into()) }
    }

    /// The same elements seen in another shape.
    pub fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { dtype: self.dtype, shape, data: self.data.clone() }
    }
}

impl Weight {
    /// Bytes of all operands and of the mask in a file, without what a file puts between them.
    pub fn byte_len(&self) -> u64 {
        let mask = match &self.storage {
            Storage::Sparse { mask, .. } => mask.byte_len(),
            Storage::Dense(_) | Storage::Linear { .. } | Storage::Palette { .. } => 0,
        };
        self.storage.byte_len() + mask
    }

    /// Plain values.
    pub fn dense(values: Operand) -> Self {
        Self { shape: values.shape.clone(), storage: Storage::Dense(values) }
    }
}

/// The shape of the scales of a linear weight of shape `[O, I, …]`.
fn scale_shape(linear: Linear, shape: &[usize]) -> Vec<usize> {
    let mut scale = vec![1; shape.len()];
    match linear.granularity {
        LinearGranularity::Tensor => {}
        LinearGranularity::Channel { axis } => scale[usize::from(axis)] = shape[usize::from(axis)],
        LinearGranularity::Block { size } => {
            scale[0] = shape[0];
            scale[1] = shape[1] / size as usize;
        }
    }
    scale
}

/// The shapes of the indices and of the groups of tables of a palette for a weight `[O, I, …]`.
fn palette_shapes(palette: Palette, shape: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let axis = usize::from(palette.axis);
    let mut indices = shape.to_vec();
    indices[axis] /= usize::from(palette.vector);
    let mut groups = vec![1; shape.len()];
    match palette.granularity {
        PaletteGranularity::Tensor => {}
        PaletteGranularity::Group { size } => groups[axis] = shape[axis] / size as usize,
    }
    (indices, groups)
}
