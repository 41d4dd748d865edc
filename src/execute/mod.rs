//! Running a function of a package on inputs from a file, or on drawn ones.
//!
//! | module | what it does |
//! |---|---|
//! | [`Inputs`] | what a function is fed: steps of tensors, and states to begin with |
//! | [`Rows`], [`RowFile`] | samples as the rows of tensors, one at a time |
//! | [`RowData`] | the file or folder that they are in |
//! | `npz`, `npy` | numpy's .npz as such a file, and its arrays' headers (feature `data`) |
//! | [`Images`], [`Folder`], [`Processor`] | images in a folder as such a file (feature `data`) |
//! | [`key`] | which input a tensor of a file is meant for |
//! | `convert` | stored numbers → the type and shape that an input declares |
//! | `draw` | numbers that depend on names alone |
//! | `sizes` | the sizes that samples have where several are possible |
//! | [`choose`] | the function that is meant |
//! | [`run()`], [`Engine`] | steps through a backend, states carried from one to the next |
//! | [`write_outputs`] | what came out, as safetensors |
//! | `describe` | what came out, for people and machines |
//! | [`replace_file`] | a file that appears whole or not at all |

mod convert;
mod describe;
mod draw;
#[cfg(feature = "data")]
mod images;
mod inputs;
pub mod key;
#[cfg(feature = "data")]
mod npy;
#[cfg(feature = "data")]
mod npz;
mod rows;
mod run;
mod sizes;
mod write;

pub use draw::draw;
#[cfg(feature = "data")]
pub use images::{Folder, Images, Processor};
pub use inputs::Inputs;
#[cfg(feature = "data")]
pub use npz::Npz;
pub use rows::{RowData, RowFile, Rows};
pub use run::{Engine, Ran, choose, run};
pub(crate) use run::{run_on, shapes};
pub use write::{Plain, replace_file, write_outputs};
