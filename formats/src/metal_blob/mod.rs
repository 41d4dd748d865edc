//! The Metal blob: quantized weights in a *valid safetensors file* that can be mapped and handed to
//! `makeBuffer(bytesNoCopy:)` without a copy.
//!
//! The data section starts on a 16,384-byte page, every plane of 64 KiB or more starts on a page,
//! smaller ones lie together at 256-byte offsets in one run, gaps are declared as `__pad.N` tensors,
//! and the file ends on a page. `docs/metal-blob.md` specifies it completely.
//!
//! | item | what it is |
//! |---|---|
//! | [`Lanes`] | the order of a matrix of codes in its plane, by definition |
//! | [`Encoding`] | how one weight is stored: kind, bits, granularity, lanes |
//! | [`Plan`] | names, shapes, offsets and the header, from shapes and encodings alone |
//! | [`Reader`] | verifies every promise of a file, and gives back codes, parameters and values |

mod check;
mod encoding;
mod header;
mod lanes;
mod plan;
mod reader;
mod values;

pub use crate::safetensors::Dtype;
pub use encoding::{Encoding, Entries, Granularity, Grouping, Linear, Palette, Part, PlaneType};
pub use lanes::{Lanes, UnknownLanes};
pub use plan::{Plan, Plane, Weight};
pub use reader::Reader;
pub use values::{Params, Values};

/// The page of Apple silicon, in bytes: what `makeBuffer(bytesNoCopy:)` wants its pointer and its
/// length to be multiples of.
pub const PAGE: u64 = 16_384;

/// Planes of this many bytes or more start on a page of their own.
pub const LARGE: u64 = 65_536;

/// Planes below [`LARGE`] start at multiples of this many bytes: the strictest offset that Metal
/// asks of a buffer binding.
pub const SMALL_ALIGN: u64 = 256;

/// The version of the layout that this crate writes and reads, `twolane.version` in the metadata.
pub const VERSION: &str = "1";

/// The format's name in errors.
const FORMAT: &str = "Metal blob";
