//! The MIL program: functions, blocks, operations, types and values.
//!
//! Field numbers and rules: Core ML's public `MIL.proto`.

use std::collections::BTreeMap;

/// A program: named functions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Program {
    /// 1.
    #[prost(int64, tag = "1")]
    pub version: i64,
    /// `main` alone, or several by name.
    #[prost(btree_map = "string, message", tag = "2")]
    pub functions: BTreeMap<String, Function>,
    /// Empty: Core ML's loader refuses it.
    #[prost(string, tag = "3")]
    pub doc_string: String,
    /// `buildInfo` or nothing.
    #[prost(btree_map = "string, message", tag = "4")]
    pub attributes: BTreeMap<String, Value>,
}

/// A function: typed inputs, and a block in one opset.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Function {
    /// Inputs and states.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<NamedValueType>,
    /// `CoreML5` … `CoreML9`: the key of the one entry of `block_specializations`.
    #[prost(string, tag = "2")]
    pub opset: String,
    /// Opset → block.
    #[prost(btree_map = "string, message", tag = "3")]
    pub block_specializations: BTreeMap<String, Block>,
    /// Empty.
    #[prost(btree_map = "string, message", tag = "4")]
    pub attributes: BTreeMap<String, Value>,
}

/// Operations in topological order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Block {
    /// Empty in a function's block; loops bind values here.
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<NamedValueType>,
    /// Names of the values that leave the block.
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    /// The operations.
    #[prost(message, repeated, tag = "3")]
    pub operations: Vec<Operation>,
    /// Empty.
    #[prost(btree_map = "string, message", tag = "4")]
    pub attributes: BTreeMap<String, Value>,
}

/// One operation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    /// `const`, `linear`, `constexpr_lut_to_dense`, ...
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Parameter name → bindings.
    #[prost(btree_map = "string, message", tag = "2")]
    pub inputs: BTreeMap<String, Argument>,
    /// The values it defines.
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<NamedValueType>,
    /// Of control flow.
    #[prost(message, repeated, tag = "4")]
    pub blocks: Vec<Block>,
    /// `name`, and the parameters of `const` and of attribute-coded constexpr operations.
    #[prost(btree_map = "string, message", tag = "5")]
    pub attributes: BTreeMap<String, Value>,
}

/// What a parameter is bound to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Argument {
    /// One, or several for parameters such as `concat.values`.
    #[prost(message, repeated, tag = "1")]
    pub arguments: Vec<Binding>,
}

/// A name or a literal (`Argument.Binding`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Binding {
    /// Which of the two.
    #[prost(oneof = "binding::Binding", tags = "1, 2")]
    pub binding: Option<binding::Binding>,
}

/// The members of [`Binding`].
pub mod binding {
    use super::*;

    /// A name or a literal.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Binding {
        /// A value defined earlier.
        #[prost(string, tag = "1")]
        Name(String),
        /// A literal.
        #[prost(message, tag = "2")]
        Value(Value),
    }
}

/// A value's name and type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamedValueType {
    /// Unique in its function.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<ValueType>,
}

/// The type of a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueType {
    /// Which type.
    #[prost(oneof = "value_type::Type", tags = "1, 2, 3, 4, 5")]
    pub r#type: Option<value_type::Type>,
}

/// The members of [`ValueType`].
pub mod value_type {
    use super::*;

    /// Which type a value has.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Type {
        /// A tensor; rank 0 is a scalar.
        #[prost(message, tag = "1")]
        Tensor(TensorType),
        /// Values of one type.
        #[prost(message, tag = "2")]
        List(ListType),
        /// Values of several types.
        #[prost(message, tag = "3")]
        Tuple(TupleType),
        /// Keys and values.
        #[prost(message, tag = "4")]
        Dictionary(DictionaryType),
        /// A state that outlives a prediction.
        #[prost(message, tag = "5")]
        State(StateType),
    }
}

/// The type of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// A [`super::DataType`] number.
    #[prost(int32, tag = "1")]
    pub data_type: i32,
    /// The number of `dimensions`.
    #[prost(int64, tag = "2")]
    pub rank: i64,
    /// The shape.
    #[prost(message, repeated, tag = "3")]
    pub dimensions: Vec<Dimension>,
    /// Empty.
    #[prost(btree_map = "string, message", tag = "4")]
    pub attributes: BTreeMap<String, Value>,
}

/// One dimension of a shape.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Dimension {
    /// Known or not.
    #[prost(oneof = "dimension::Dimension", tags = "1, 2")]
    pub dimension: Option<dimension::Dimension>,
}

/// The members of [`Dimension`].
pub mod dimension {
    /// A size that is known, or not.
    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Dimension {
        /// Known.
        #[prost(message, tag = "1")]
        Constant(ConstantDimension),
        /// Flexible.
        #[prost(message, tag = "2")]
        Unknown(UnknownDimension),
    }

    /// A known size.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct ConstantDimension {
        /// The size.
        #[prost(uint64, tag = "1")]
        pub size: u64,
    }

    /// A size that the caller chooses.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct UnknownDimension {
        /// Stands for several dimensions; Core ML's loader refuses it.
        #[prost(bool, tag = "1")]
        pub variadic: bool,
    }
}

/// The type of a list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListType {
    /// Of its members.
    #[prost(message, optional, boxed, tag = "1")]
    pub r#type: Option<Box<ValueType>>,
    /// Their number.
    #[prost(message, optional, tag = "2")]
    pub length: Option<Dimension>,
}

/// The type of a tuple.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TupleType {
    /// Of its members, in order.
    #[prost(message, repeated, tag = "1")]
    pub types: Vec<ValueType>,
}

/// The type of a dictionary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DictionaryType {
    /// Of its keys.
    #[prost(message, optional, boxed, tag = "1")]
    pub key_type: Option<Box<ValueType>>,
    /// Of its values.
    #[prost(message, optional, boxed, tag = "2")]
    pub value_type: Option<Box<ValueType>>,
}

/// The type of a state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StateType {
    /// Of what it holds.
    #[prost(message, optional, boxed, tag = "1")]
    pub wrapped_type: Option<Box<ValueType>>,
}

/// A constant.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// Empty: Core ML's loader refuses it.
    #[prost(string, tag = "1")]
    pub doc_string: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<ValueType>,
    /// Where it stands.
    #[prost(oneof = "value::Value", tags = "3, 5")]
    pub value: Option<value::Value>,
}

/// The members of [`Value`].
pub mod value {
    use super::*;

    /// Where a constant stands.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// Here.
        #[prost(message, tag = "3")]
        Immediate(ImmediateValue),
        /// In a blob file.
        #[prost(message, tag = "5")]
        BlobFile(BlobFileValue),
    }
}

/// A constant that stands in the model (`Value.ImmediateValue`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImmediateValue {
    /// Which form it has.
    #[prost(oneof = "immediate_value::Value", tags = "1, 2, 3, 4")]
    pub value: Option<immediate_value::Value>,
}

/// The members of [`ImmediateValue`].
pub mod immediate_value {
    use super::*;

    /// Which form a constant has.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// A tensor or scalar.
        #[prost(message, tag = "1")]
        Tensor(TensorValue),
        /// A tuple.
        #[prost(message, tag = "2")]
        Tuple(Values),
        /// A list.
        #[prost(message, tag = "3")]
        List(Values),
        /// A dictionary.
        #[prost(message, tag = "4")]
        Dictionary(DictionaryValue),
    }
}

/// A constant that stands in a blob file (`Value.BlobFileValue`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct BlobFileValue {
    /// `@model_path/weights/weight.bin`, where `@model_path` is the folder of `model.mlmodel`.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// Of the blob's *metadata*, a multiple of 64.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
}

/// The elements of a tensor, row-major.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorValue {
    /// Which member follows from the type: [`super::DataType::immediate`].
    #[prost(oneof = "tensor_value::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<tensor_value::Value>,
}

/// The members of [`TensorValue`].
pub mod tensor_value {
    /// The elements, in the form that their type has. An empty tensor still sets its member.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        /// FLOAT32.
        #[prost(message, tag = "1")]
        Floats(Floats),
        /// INT32, INT16, UINT16.
        #[prost(message, tag = "2")]
        Ints(Ints),
        /// BOOL.
        #[prost(message, tag = "3")]
        Bools(Bools),
        /// STRING.
        #[prost(message, tag = "4")]
        Strings(Strings),
        /// INT64, UINT64.
        #[prost(message, tag = "5")]
        LongInts(LongInts),
        /// FLOAT64.
        #[prost(message, tag = "6")]
        Doubles(Doubles),
        /// Everything else, as it would stand in a blob.
        #[prost(message, tag = "7")]
        Bytes(Bytes),
    }

    /// FLOAT32 elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Floats {
        /// The elements.
        #[prost(float, repeated, tag = "1")]
        pub values: Vec<f32>,
    }

    /// INT32, INT16 or UINT16 elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Ints {
        /// The elements.
        #[prost(int32, repeated, tag = "1")]
        pub values: Vec<i32>,
    }

    /// BOOL elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Bools {
        /// The elements.
        #[prost(bool, repeated, tag = "1")]
        pub values: Vec<bool>,
    }

    /// STRING elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Strings {
        /// The elements.
        #[prost(string, repeated, tag = "1")]
        pub values: Vec<String>,
    }

    /// INT64 or UINT64 elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LongInts {
        /// The elements.
        #[prost(int64, repeated, tag = "1")]
        pub values: Vec<i64>,
    }

    /// FLOAT64 elements.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Doubles {
        /// The elements.
        #[prost(double, repeated, tag = "1")]
        pub values: Vec<f64>,
    }

    /// Little-endian, packed elements of every other type.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Bytes {
        /// The elements.
        #[prost(bytes = "vec", tag = "1")]
        pub values: Vec<u8>,
    }
}

/// The members of a tuple or of a list (`TupleValue`, `ListValue`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Values {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// The pairs of a dictionary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DictionaryValue {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValuePair>,
}

/// One pair of a dictionary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValuePair {
    /// The key.
    #[prost(message, optional, boxed, tag = "1")]
    pub key: Option<Box<Value>>,
    /// The value.
    #[prost(message, optional, boxed, tag = "2")]
    pub value: Option<Box<Value>>,
}
