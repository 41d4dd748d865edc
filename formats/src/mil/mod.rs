//! The protobuf messages of a CoreML model: [`Model`], its description, and MIL programs.
//!
//! Message structs are prost derives with the format's own field names; maps are ordered, so that
//! equal messages have equal bytes. Write with [`Model::to_bytes`], read with [`Model::parse`].
//!
//! | file | what it holds |
//! |---|---|
//! | `description` | [`Model`], [`ModelDescription`] and what callers see: [`FeatureType`] |
//! | `program` | [`Program`], [`Function`], [`Block`], [`Operation`], types and values |
//! | `data_type` | [`DataType`]: one table of element types, with bits and blob numbers |
//! | `build` | short constructors of, and views into, the nested messages |
//! | `parse` | from untrusted bytes to a [`Model`] |
//! | `unknown` | fields that the format does not have |
//!
//! proto3 leaves zero scalars and empty strings off the wire, but a oneof member that is an empty
//! message is written (tag and length 0): an unknown dimension is `12 00`.

mod build;
mod data_type;
mod description;
mod parse;
mod program;
mod unknown;

pub use build::WEIGHT_FILE_NAME;
pub use data_type::{DataType, Immediate, array_data_type};
pub use description::*;
pub use parse::MAX_MODEL_BYTES;
pub use program::*;
pub use unknown::unknown_fields;

#[cfg(test)]
mod tests;
