//! Element types: one table of their MIL numbers, names, bits and blob numbers.

/// Where an immediate tensor of a type keeps its values: the member of `TensorValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Immediate {
    /// `floats`: one `f32` an element.
    Floats,
    /// `ints`: one `i32` an element.
    Ints,
    /// `bools`: one `bool` an element.
    Bools,
    /// `strings`: one string an element.
    Strings,
    /// `longInts`: one `i64` an element.
    LongInts,
    /// `doubles`: one `f64` an element.
    Doubles,
    /// `bytes`: little-endian elements; sub-byte ones packed as in [`crate::bits`].
    Bytes,
}

macro_rules! data_types {
    ($($variant:ident $number:literal $name:literal $bits:expr, $blob:expr, $immediate:expr;)*) => {
        /// `MILSpec.DataType`: the element type of a MIL value.
        ///
        /// The discriminant is the number in the protobuf; `weight.bin` has numbers of its own,
        /// [`DataType::blob_number`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // The names say it all.
        #[repr(i32)]
        pub enum DataType { $($variant = $number,)* }

        impl DataType {
            /// All types, by their number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number in the protobuf.
            pub fn number(self) -> i32 {
                self as i32
            }

            /// The type of a number in the protobuf.
            pub fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name in MIL text: `fp16`, `uint3`, `string`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Bits of one element in `weight.bin` or in `bytes`; `None` for strings.
            pub fn bits(self) -> Option<u8> {
                match self { $(Self::$variant => $bits,)* }
            }

            /// The number in `weight.bin`; `None` for types that are always immediate.
            pub fn blob_number(self) -> Option<u32> {
                match self { $(Self::$variant => $blob,)* }
            }

            /// Where an immediate tensor keeps its values; `None` where coremltools has no form.
            pub fn immediate(self) -> Option<Immediate> {
                use Immediate::*;
                match self { $(Self::$variant => $immediate,)* }
            }
        }
    };
}

#[rustfmt::skip]
data_types! {
//  variant      MIL  name      bits      blob      immediate
    Bool           1 "bool"     Some(8),  None,     Some(Bools);
    String         2 "string"   None,     None,     Some(Strings);
    Float16       10 "fp16"     Some(16), Some(1),  Some(Bytes);
    Float32       11 "fp32"     Some(32), Some(2),  Some(Floats);
    Float64       12 "fp64"     Some(64), None,     Some(Doubles);
    BFloat16      13 "bf16"     Some(16), Some(5),  None;
    Int8          21 "int8"     Some(8),  Some(4),  Some(Bytes);
    Int16         22 "int16"    Some(16), Some(6),  Some(Ints);
    Int32         23 "int32"    Some(32), Some(14), Some(Ints);
    Int64         24 "int64"    Some(64), None,     Some(LongInts);
    Int4          25 "int4"     Some(4),  Some(8),  Some(Bytes);
    UInt8         31 "uint8"    Some(8),  Some(3),  Some(Bytes);
    UInt16        32 "uint16"   Some(16), Some(7),  Some(Ints);
    UInt32        33 "uint32"   Some(32), Some(15), Some(Bytes);
    UInt64        34 "uint64"   Some(64), None,     Some(LongInts);
    UInt4         35 "uint4"    Some(4),  Some(11), Some(Bytes);
    UInt2         36 "uint2"    Some(2),  Some(10), Some(Bytes);
    UInt1         37 "uint1"    Some(1),  Some(9),  Some(Bytes);
    UInt6         38 "uint6"    Some(6),  Some(13), Some(Bytes);
    UInt3         39 "uint3"    Some(3),  Some(12), Some(Bytes);
    Float8E4M3FN  40 "fp8e4m3fn" Some(8), Some(16), None;
    Float8E5M2    41 "fp8e5m2"  Some(8),  Some(17), None;
}

impl DataType {
    /// The type of a number in `weight.bin`.
    pub fn from_blob_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.blob_number() == Some(number))
    }

    /// The number of the same type in a model's description, for types that inputs and outputs
    /// can have.
    pub fn array_number(self) -> Option<i32> {
        match self {
            Self::Float16 => Some(array_data_type::FLOAT16),
            Self::Float32 => Some(array_data_type::FLOAT32),
            Self::Float64 => Some(array_data_type::DOUBLE),
            Self::Int8 => Some(array_data_type::INT8),
            Self::Int32 => Some(array_data_type::INT32),
            _ => None,
        }
    }

    /// The type of a number in a model's description.
    pub fn from_array_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.array_number() == Some(number))
    }

    /// Bytes that `elements` packed elements take, the last byte padded with zero bits; `None`
    /// for strings and where the count overflows.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        let bits = u64::from(self.bits()?);
        (elements / 8).checked_mul(bits)?.checked_add((elements % 8 * bits).div_ceil(8))
    }
}

/// `ArrayFeatureType.ArrayDataType`: element types in a model's description.
///
/// The low half is the width in bits, the high half the kind: 1 float, 2 signed integer.
pub mod array_data_type {
    /// From specification version 7.
    pub const FLOAT16: i32 = 0x1_0010;
    /// From specification version 6.
    pub const FLOAT32: i32 = 0x1_0020;
    /// Not used by ML Programs.
    pub const DOUBLE: i32 = 0x1_0040;
    /// From specification version 10.
    pub const INT8: i32 = 0x2_0008;
    /// From specification version 6.
    pub const INT32: i32 = 0x2_0020;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_table_lead_back_to_their_types() {
        for &t in DataType::ALL {
            assert_eq!(DataType::from_number(t.number()), Some(t));
            if let Some(number) = t.blob_number() {
                assert_eq!(DataType::from_blob_number(number), Some(t));
            }
            if let Some(number) = t.array_number() {
                assert_eq!(DataType::from_array_number(number), Some(t));
            }
        }
        let blobs: Vec<_> = (0..=18).map(DataType::from_blob_number).collect();
        assert!(blobs[1..=17].iter().all(Option::is_some), "1 to 17 are blob numbers");
        assert_eq!((blobs[0], blobs[18]), (None, None));
    }

    #[test]
    fn blob_numbers_follow_the_formats_own_order() {
        let names: Vec<_> =
            (1..=17).map(|n| DataType::from_blob_number(n).expect("1 to 17").name()).collect();
        insta::assert_snapshot!(names.join(" "), @"fp16 fp32 uint8 int8 bf16 int16 uint16 int4 uint1 uint2 uint4 uint3 uint6 int32 uint32 fp8e4m3fn fp8e5m2");
    }

    #[test]
    fn array_numbers_are_kind_and_width() {
        assert_eq!(array_data_type::FLOAT16, 65552);
        assert_eq!(array_data_type::FLOAT32, 65568);
        assert_eq!(array_data_type::DOUBLE, 65600);
        assert_eq!(array_data_type::INT8, 131_080);
        assert_eq!(array_data_type::INT32, 131_104);
    }

    #[test]
    fn byte_lengths_round_up_and_do_not_overflow() {
        #[rustfmt::skip]
        let cases = [
            (DataType::UInt3,   9,           Some(4)),
            (DataType::UInt1,   0,           Some(0)),
            (DataType::Float16, 3,           Some(6)),
            (DataType::UInt6,   u64::MAX,    Some(u64::MAX / 8 * 6 + 6)),
            (DataType::Float32, u64::MAX,    None),
            (DataType::String,  1,           None),
        ];
        for (t, elements, want) in cases {
            assert_eq!(t.byte_len(elements), want, "{t:?} × {elements}");
        }
    }
}
