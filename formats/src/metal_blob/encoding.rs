//! How one weight is stored in a blob: what the metadata says of it, and which planes follow.

use super::{Dtype, Lanes};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How one weight `[O, I, …]` is stored. Its JSON stands in the file's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Encoding {
    /// `w = f16(scale · (q − offset))`.
    Linear(Linear),
    /// `w = table[group, index]`, times the scales that are present.
    Palette(Palette),
    /// Values in floating point, in the weight's shape.
    Float {
        /// F16 or F32.
        dtype: Dtype,
    },
    /// A tensor that is no weight or was not to be touched, passed through from the source.
    Raw {
        /// The source's type.
        dtype: Dtype,
    },
}

/// Linear codes: `w = f16(scale · (q − offset))`, computed in f32 and rounded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Bits of a code: 8 or 4.
    pub bits: u8,
    /// Whether codes and offsets are two's complement; unsigned otherwise.
    pub signed: bool,
    /// Which weights share one scale and offset.
    pub granularity: Granularity,
    /// Whether there is a plane of offsets (zero points); 0 otherwise.
    pub offset: bool,
    /// The order of the codes.
    pub lanes: Lanes,
}

/// Which weights share one linear scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "per", rename_all = "snake_case", deny_unknown_fields)]
pub enum Granularity {
    /// The whole tensor: the scales are `[1, 1]`.
    Tensor,
    /// One index along this axis: `[1, O]` along axis 0, `[I, 1]` along axis 1.
    Channel {
        /// 0 or 1.
        axis: u8,
    },
    /// One output channel and this many successive input channels with all their kernel taps:
    /// `[I / size, O]`.
    Block {
        /// Input channels in a block; divides `I`.
        size: usize,
    },
}

/// Palette indices: `w = table[group, index, component]`, for INT8 entries
/// `f16(table_scale[group] · entry)`, with channel scales `f16(that · channel_scale[o])`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Palette {
    /// Bits of an index: 1, 2, 3, 4, 6 or 8. A table has 2^bits entries.
    pub bits: u8,
    /// Which weights share one table.
    pub grouping: Grouping,
    /// The axis, 0 or 1, that groups and vectors run along.
    pub axis: u8,
    /// Successive weights along `axis` that one index stands for: 1, 2 or 4.
    pub vector: u8,
    /// The type of the entries.
    pub entries: Entries,
    /// Whether there is a plane of scales of output channels.
    pub channel_scale: bool,
    /// The order of the indices.
    pub lanes: Lanes,
}

/// Which weights share one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "per", rename_all = "snake_case", deny_unknown_fields)]
pub enum Grouping {
    /// The whole tensor.
    Tensor,
    /// This many successive channels along the palette's axis.
    Group {
        /// Channels in a group; divides the axis, and is a multiple of the vector length.
        size: usize,
    },
}

/// The type of a table's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entries {
    /// Half precision.
    F16,
    /// INT8, with one FP16 scale a table.
    Int8,
}

/// What a plane holds of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The values of a float or raw weight, in its own shape.
    Values,
    /// Linear codes or palette indices.
    Codes,
    /// Linear scales, `[blocks, N]`.
    Scale,
    /// Linear offsets (zero points), in the scales' shape, one byte each.
    Offset,
    /// Palette entries, `[groups, P, V]`.
    Table,
    /// Scales of INT8 entries, `[groups]`.
    TableScale,
    /// Scales of output channels beside a palette, `[O]`.
    ChannelScale,
}

impl Part {
    /// What is put behind the weight's name to name the plane.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Values | Self::Codes => "",
            Self::Scale => ".scale",
            Self::Offset => ".offset",
            Self::Table => ".table",
            Self::TableScale => ".table_scale",
            Self::ChannelScale => ".channel_scale",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Values => "values",
            Self::Codes => "codes",
            Self::Scale => "scales",
            Self::Offset => "offsets",
            Self::Table => "table entries",
            Self::TableScale => "table scales",
            Self::ChannelScale => "channel scales",
        })
    }
}

/// One plane of a weight: what it holds, its type and its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneType {
    /// What it holds.
    pub part: Part,
    /// The type in the safetensors header.
    pub dtype: Dtype,
    /// The shape in the safetensors header.
    pub shape: Vec<usize>,
}

impl PlaneType {
    /// The length in bytes; `None` where it overflows or is no whole number.
    pub fn byte_len(&self) -> Option<u64> {
        let bits = elements(&self.shape)?.checked_mul(self.dtype.bitsize() as u64)?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

/// The number of elements of a shape.
pub(super) fn elements(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64))
}

/// `O`, `I` and the kernel taps of one input channel: 1 where the rank has no such dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dims {
    pub(super) o: usize,
    pub(super) i: usize,
    pub(super) taps: usize,
}

impl Dims {
    /// The dimensions of a shape of at most 2^62 elements.
    pub(super) fn of(shape: &[usize]) -> Result<Self, String> {
        // A zero anywhere would hide an overflow elsewhere: the other dimensions count too.
        let bound = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
        if bound.is_none_or(|n| n as u64 > 1 << 62) {
            return Err(format!("shape {shape:?} has too many elements"));
        }
        let at = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        Ok(Self { o: at(0), i: at(1), taps: shape.iter().skip(2).product() })
    }

    /// The length of axis 0 or 1.
    pub(super) fn axis(self, axis: u8) -> usize {
        if axis == 0 { self.o } else { self.i }
    }
}

/// `what` of this size along an axis of this length: how many, where it divides.
fn divide(what: &str, length: usize, size: usize) -> Result<usize, String> {
    if size == 0 || !length.is_multiple_of(size) {
        return Err(format!("{what} {size} does not divide its axis of {length}"));
    }
    Ok(length / size)
}

impl Encoding {
    /// The planes of a weight of this shape, in the order of their parts.
    ///
    /// # Errors
    /// Says in words what does not fit: bits that do not exist, an axis above 1, a block, group or
    /// vector that does not divide, a size that overflows.
    pub fn planes(&self, shape: &[usize]) -> Result<Vec<PlaneType>, String> {
        let planes = match *self {
            Self::Linear(linear) => linear.planes(Dims::of(shape)?)?,
            Self::Palette(palette) => palette.planes(Dims::of(shape)?)?,
            Self::Float { dtype } => {
                if !matches!(dtype, Dtype::F16 | Dtype::F32) {
                    return Err(format!("{dtype} is no type of a float weight; F16 and F32 are"));
                }
                vec![PlaneType { part: Part::Values, dtype, shape: shape.to_vec() }]
            }
            Self::Raw { dtype } => {
                vec![PlaneType { part: Part::Values, dtype, shape: shape.to_vec() }]
            }
        };
        for plane in &planes {
            if plane.byte_len().is_none_or(|len| len > 1 << 62) {
                let PlaneType { dtype, shape, .. } = plane;
                return Err(format!("{dtype} {shape:?} is no sound number of bytes"));
            }
        }
        Ok(planes)
    }

    /// The shape `[N, K]` of the matrix of codes of a weight of this shape; `None` for float and
    /// raw weights. A vector palette has fewer rows or columns than the weight.
    ///
    /// # Errors
    /// As [`Self::planes`].
    pub fn code_matrix(&self, shape: &[usize]) -> Result<Option<[usize; 2]>, String> {
        match *self {
            Self::Linear(_) => {
                let Dims { o, i, taps } = Dims::of(shape)?;
                Ok(Some([o, i * taps]))
            }
            Self::Palette(palette) => palette.code_matrix(Dims::of(shape)?).map(Some),
            Self::Float { .. } | Self::Raw { .. } => Ok(None),
        }
    }
}

/// The plane of a matrix of codes: bit stream or bytes.
fn codes_plane(lanes: Lanes, bits: u8, signed: bool, [rows, cols]: [usize; 2]) -> PlaneType {
    if bits < 8 && lanes == Lanes::Row {
        // At most 2^62 codes of less than 8 bits: no overflow in 128 bits, and fewer bytes.
        let bytes = ((rows * cols) as u128 * u128::from(bits)).div_ceil(8) as usize;
        return PlaneType { part: Part::Codes, dtype: Dtype::U8, shape: vec![bytes] };
    }
    let dtype = if signed { Dtype::I8 } else { Dtype::U8 };
    PlaneType { part: Part::Codes, dtype, shape: lanes.shape(rows, cols) }
}

impl Linear {
    fn planes(self, dims: Dims) -> Result<Vec<PlaneType>, String> {
        if !matches!(self.bits, 4 | 8) {
            return Err(format!("linear codes of {} bits; 4 and 8 exist", self.bits));
        }
        let scales = match self.granularity {
            Granularity::Tensor => [1, 1],
            Granularity::Channel { axis: 0 } => [1, dims.o],
            Granularity::Channel { axis: 1 } => [dims.i, 1],
            Granularity::Channel { axis } => {
                return Err(format!("a scale per channel of axis {axis}; 0 and 1 exist"));
            }
            Granularity::Block { size } => [divide("a block of", dims.i, size)?, dims.o],
        };
        let shape = scales.to_vec();
        let codes = codes_plane(self.lanes, self.bits, self.signed, [dims.o, dims.i * dims.taps]);
        let mut planes = vec![codes];
        planes.push(PlaneType { part: Part::Scale, dtype: Dtype::F16, shape: shape.clone() });
        if self.offset {
            let dtype = if self.signed { Dtype::I8 } else { Dtype::U8 };
            planes.push(PlaneType { part: Part::Offset, dtype, shape });
        }
        Ok(planes)
    }
}

impl Palette {
    fn code_matrix(self, dims: Dims) -> Result<[usize; 2], String> {
        let vectors = divide("a vector of", dims.axis(self.axis), usize::from(self.vector))?;
        Ok(if self.axis == 0 {
            [vectors, dims.i * dims.taps]
        } else {
            [dims.o, vectors * dims.taps]
        })
    }

    fn planes(self, dims: Dims) -> Result<Vec<PlaneType>, String> {
        if !matches!(self.bits, 1 | 2 | 3 | 4 | 6 | 8) {
            return Err(format!("indices of {} bits; 1, 2, 3, 4, 6 and 8 exist", self.bits));
        }
        if self.axis > 1 {
            return Err(format!("tables along axis {}; 0 and 1 exist", self.axis));
        }
        if !matches!(self.vector, 1 | 2 | 4) {
            return Err(format!("vectors of {}; 1, 2 and 4 exist", self.vector));
        }
        let vector = usize::from(self.vector);
        let groups = match self.grouping {
            Grouping::Tensor => 1,
            Grouping::Group { size } => {
                divide("a vector of", size, vector)?;
                divide("a group of", dims.axis(self.axis), size)?
            }
        };
        let matrix = self.code_matrix(dims)?;
        let mut planes = vec![codes_plane(self.lanes, self.bits, false, matrix)];
        let dtype = match self.entries {
            Entries::F16 => Dtype::F16,
            Entries::Int8 => Dtype::I8,
        };
        let shape = vec![groups, 1 << self.bits, vector];
        planes.push(PlaneType { part: Part::Table, dtype, shape });
        if self.entries == Entries::Int8 {
            let shape = vec![groups];
            planes.push(PlaneType { part: Part::TableScale, dtype: Dtype::F16, shape });
        }
        if self.channel_scale {
            let shape = vec![dims.o];
            planes.push(PlaneType { part: Part::ChannelScale, dtype: Dtype::F16, shape });
        }
        Ok(planes)
    }
}
