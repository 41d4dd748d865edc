//! Element types of MIL values.

use std::fmt;

/// The element type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // The names say it all.
pub enum DataType {
    Bool,
    String,
    Float16,
    Float32,
    Float64,
    Int4,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt1,
    UInt2,
    UInt3,
    UInt4,
    UInt6,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
}

impl DataType {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Bool,
        Self::String,
        Self::Float16,
        Self::Float32,
        Self::Float64,
        Self::Int4,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::UInt1,
        Self::UInt2,
        Self::UInt3,
        Self::UInt4,
        Self::UInt6,
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
    ];

    /// The type of this name, MIL's own word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.to_string() == word)
    }

    /// Bits of one element in a file; sub-byte elements are packed. `None` for strings.
    pub fn bits(self) -> Option<u32> {
        Some(match self {
            Self::UInt1 => 1,
            Self::UInt2 => 2,
            Self::UInt3 => 3,
            Self::Int4 | Self::UInt4 => 4,
            Self::UInt6 => 6,
            Self::Bool | Self::Int8 | Self::UInt8 => 8,
            Self::Float16 | Self::Int16 | Self::UInt16 => 16,
            Self::Float32 | Self::Int32 | Self::UInt32 => 32,
            Self::Float64 | Self::Int64 | Self::UInt64 => 64,
            Self::String => return None,
        })
    }

    /// The smallest and the largest number of an integer type that tensors are computed in: of 8 to
    /// 32 bits, UINT32 aside. `None` for all others.
    pub fn range(self) -> Option<(i64, i64)> {
        Some(match self {
            Self::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Self::UInt8 => (0, u8::MAX.into()),
            Self::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Self::UInt16 => (0, u16::MAX.into()),
            Self::Int32 => (i32::MIN.into(), i32::MAX.into()),
            _ => return None,
        })
    }

    /// The unsigned type of an index of `bits` bits.
    pub fn index(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::UInt1,
            2 => Self::UInt2,
            3 => Self::UInt3,
            4 => Self::UInt4,
            6 => Self::UInt6,
            8 => Self::UInt8,
            _ => return None,
        })
    }
}

impl fmt::Display for DataType {
    /// MIL's own word: `fp16`, `int8`, `uint3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::Float16 => "fp16",
            Self::Float32 => "fp32",
            Self::Float64 => "fp64",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt1 => "uint1",
            Self::UInt2 => "uint2",
            Self::UInt3 => "uint3",
            Self::UInt4 => "uint4",
            Self::UInt6 => "uint6",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
        })
    }
}
