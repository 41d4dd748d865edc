//! GGUF, versions 2 and 3: the files of ggml and llama.cpp, read.
//!
//! Little-endian throughout:
//!
//! | part | what it holds |
//! |---|---|
//! | head | `GGUF`, u32 version, u64 number of tensors, u64 number of metadata entries |
//! | metadata | each: key (u64 length, UTF-8), u32 type, value; a list is u32 type, u64 length, values |
//! | tensors | each: name (u64 length, UTF-8), u32 rank, u64 dimensions, the fastest first, u32 type, u64 offset |
//! | data | from the next multiple of `general.alignment` (32 where it is not said); offsets count from here and are such multiples |
//!
//! [`Reader::open`] checks all of it and allocates by what is really there; texts and lists stay where they
//! are. Tensors of ggml's quantized types are listed, and their data are not given out.
//!
//! Source: `docs/gguf.md` of ggml (github.com/ggml-org/ggml), and its Python package `gguf`.

mod reader;
#[cfg(test)]
mod tests;

pub use reader::{ElementType, List, Reader, Tensor, Value};

/// The first bytes of each file.
pub const MAGIC: [u8; 4] = *b"GGUF";
