//! How one tensor is stored: a plain value, parsed from `--scheme`, printed in reports, compared
//! in tests, and matched without `_`, so that the compiler lists every place a new scheme must
//! reach.
//!
//! The words are a head and comma-separated options, `linear-int4,block:32`; see [`Scheme`].

mod clip;
mod text;

pub use text::ParseError;

/// How one tensor is stored.
///
/// # Words
///
/// | head | options (the default first) |
/// |---|---|
/// | `linear-int8`, `linear-int4` | `channel`, `tensor` or `block:B`; `axis:0` or `axis:1` (with `channel`); `symmetric` or `asymmetric` |
/// | `palette-8`, `-6`, `-4`, `-3`, `-2`, `-1` | `tensor` or `group:G`; `vector:2`, `vector:4`; `axis:0` or `axis:1` (with a group or a vector); `lut-int8`; `channel-scale`; `unique` |
/// | `float16`, `float32` | none |
///
/// [`Display`](std::fmt::Display) prints the canonical words: defaults left out, options in the
/// order of this table. In serialized form a scheme is these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Left in floating point, in this type.
    Float(Float),
    /// `w ≈ scale · (q − zero_point)`.
    Linear(Linear),
    /// `w ≈ lut[index]`.
    Palette(Palette),
}

/// The floating-point type of a tensor that is not quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
}

/// Linear quantization: `w ≈ scale · (q − zero_point)`, `q` a signed integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Bits of a code, and with them its range.
    pub bits: LinearBits,
    /// With a zero point; without, codes are symmetric about zero.
    pub asymmetric: bool,
    /// Which weights share one scale.
    pub granularity: LinearGranularity,
}

/// Width of a linear code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearBits {
    /// −127…127 symmetric, −128…127 asymmetric.
    Int8,
    /// −7…7 symmetric, −8…7 asymmetric.
    Int4,
}

/// Which weights share one linear scale. The weight is `[O, I, …]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearGranularity {
    /// The whole tensor.
    Tensor,
    /// One index along this axis: 0, an output channel; 1, an input channel.
    Channel {
        /// 0 or 1.
        axis: u8,
    },
    /// One output channel and this many successive input channels (with all their kernel taps).
    Block {
        /// Input channels in a block; divides `I`.
        size: u32,
    },
}

/// A palette: `w ≈ lut[index]`, `index` an unsigned integer of `bits` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Palette {
    /// Bits of an index: 1, 2, 3, 4, 6 or 8.
    pub bits: u8,
    /// Which weights share one table.
    pub granularity: PaletteGranularity,
    /// Successive weights along `axis` that one index stands for: 1, 2 or 4.
    pub vector: u8,
    /// The axis (0 or 1) that groups and vectors run along.
    pub axis: u8,
    /// What the table holds.
    pub entries: Entries,
    /// Each output channel is divided by a scale of its own before it meets the table.
    pub channel_scale: bool,
    /// The table holds exactly the tensor's distinct values: lossless, or an error.
    pub unique: bool,
}

/// Which weights share one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaletteGranularity {
    /// The whole tensor.
    Tensor,
    /// This many successive channels along the palette's axis.
    Group {
        /// Channels in a group; divides the axis.
        size: u32,
    },
}

/// The type of a table's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entries {
    /// Half precision.
    F16,
    /// INT8 codes, with one FP16 scale a table.
    Int8,
}

/// How the range of linear codes is chosen (`--clip`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// The range with the least squared error, among shrunk ranges and the absolute maximum.
    Mse,
    /// The absolute maximum: nothing saturates.
    None,
    /// This percentile of |w|, in (0, 100].
    Percentile(f64),
}

impl LinearBits {
    /// The width in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// The largest code: 127 or 7. The smallest is its negative, or one below when asymmetric.
    pub fn max(self) -> i8 {
        match self {
            Self::Int8 => 127,
            Self::Int4 => 7,
        }
    }
}
