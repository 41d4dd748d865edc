//! Codes → the lane orders of 2-wide and 4-wide INT8 hardware.
//!
//! | item | what it does |
//! |---|---|
//! | [`pack()`], [`pack_groups`] | a row-major matrix of codes into a plane, or a run of a plane |
//! | [`runs()`] | where the planes of bands of rows lie in the plane of all rows |
//! | [`transpose_params`] | `[N, blocks]` → `[blocks, N]` |
//! | [`encoding`], [`part`] | a scheme and its parts in the words of the blob |
//!
//! [`Lanes::position`] defines the orders; everything here is tested against it.

mod blob;
mod pack;
mod runs;

pub use crate::formats::metal_blob::Lanes;
pub use blob::{encoding, part};
pub use pack::{pack, pack_groups, transpose_params};
pub use runs::{Run, runs};
