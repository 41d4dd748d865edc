//! The typed MIL program: the only intermediate representation.
//!
//! Architectures build it, packages are raised into it, quantizing replaces the storage of its
//! weights, and lowering turns it into protobuf messages.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Program`], [`Function`] | functions of operations over typed values |
//! | [`Flow`] | who makes and who reads each value |
//! | [`Role`] | what operations do with a constant |
//! | [`Builder`] | builds a function, each step checked |
//! | [`ops`] | the table of operations |
//! | [`weight`] | a weight is a value with a storage |
//! | [`names`] | tensor names as identifiers |
//! | [`mod@lower`] | program × target → protobuf messages and the plan of `weight.bin` |
//! | [`Finding`] | one thing that is wrong, and where |
//! | [`raise`] | protobuf messages → program, with all findings |

mod builder;
mod constant;
mod data_type;
mod finding;
mod flow;
pub mod lower;
pub mod names;
pub mod ops;
mod program;
pub mod raise;
mod role;
mod types;
pub mod weight;

pub use builder::Builder;
pub use constant::{Constant, Labels};
pub use data_type::DataType;
pub use finding::Finding;
pub use flow::Flow;
pub use lower::{Lowered, lower};
pub use ops::macs;
pub use program::{
    Argument, ColorSpace, Feature, Function, Metadata, Operation, Program, Value, ValueId,
};
pub use role::Role;
pub use types::{Dim, SizeRange, Sizes, TensorType, ValueType};
