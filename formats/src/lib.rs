//! The files that twolane reads and writes, as bytes.
//!
//! One module a format; each owns both directions, parses hostile input without panicking, and
//! knows nothing of schemes, models or error metrics: the `twolane` crate turns weights into the
//! plain structs found here.
//!
//! | module | what it is |
//! |---|---|
//! | [`safetensors`] | headers of `.safetensors` files and of sharded folders, checked in full; a streaming writer |
//! | [`mil`] | the protobuf messages of a CoreML model: `Model`, its description, and MIL programs |
//! | [`weight_blob`] | `weight.bin`, blob storage version 2 |
//! | [`mlpackage`] | the package directory around the two, with its manifest |
//! | [`gguf`] | GGUF, read: metadata and tensors of ggml's files |
//! | [`metal_blob`] | the page-aligned safetensors file for Metal, and its lane orders |
//! | [`bits`] | sub-byte codes as one little-endian bit stream |
//! | [`Error`] | whose fault it was, where, and what would do |
//!
//! No `unsafe` code; no parser allocates by an unchecked length.
#![forbid(unsafe_code)]

pub mod bits;
mod error;
pub mod gguf;
pub mod metal_blob;
pub mod mil;
pub mod mlpackage;
pub mod safetensors;
pub mod weight_blob;

pub use error::{Error, Result};
pub use half;
