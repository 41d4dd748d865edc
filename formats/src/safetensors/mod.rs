//! Safetensors files: eight bytes of length, a JSON header, and the tensors' bytes without gaps.
//!
//! ```text
//! byte 0        8                      8 + n                                     end of file
//! ┌─────────────┬──────────────────────┬──────────────┬──────────────┬─────────┐
//! │ n, u64 LE   │ JSON object, n bytes │ tensor bytes │ tensor bytes │ …       │
//! └─────────────┴──────────────────────┴──────────────┴──────────────┴─────────┘
//! {"__metadata__": {"format": "pt"},
//!  "fc.weight": {"dtype": "F16", "shape": [96, 128], "data_offsets": [0, 24576]}, …}
//! ```
//!
//! Offsets count from the end of the header. Tensors cover the rest of the file exactly: no hole,
//! no overlap, nothing behind the last one. Elements are little-endian and row-major, at any
//! alignment.
//!
//! - [`Header`] reads and checks a header. It is stricter than the `safetensors` crate, which keeps
//!   the last of two tensors of one name and ignores unknown fields; whatever is accepted here, the
//!   crate accepts too (tested).
//! - [`Layout`] fixes header, offsets and length of a file whose bytes are written later.
//! - [`Index`] reads `model.safetensors.index.json`, which says in which shard each tensor lies.
//!
//! # Source
//! The format's README at <https://github.com/huggingface/safetensors>, section "Format".

mod header;
mod index;
mod json;
mod layout;
#[cfg(test)]
mod tests;
mod wire;

pub use ::safetensors::Dtype;
pub use header::{Entry, Header, MAX_HEADER_BYTES};
pub use index::Index;
pub use json::shown;
pub use layout::Layout;

/// The format's name in error messages.
const FORMAT: &str = "safetensors";
