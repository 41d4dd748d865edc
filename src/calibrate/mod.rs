//! What activations a model really has: counted exactly, merged exactly, turned into INT8 ranges.
//!
//! Activations are rounded to FP16 before they are counted, as the edges of a package hold them. Every
//! FP16 number is a whole multiple of 2⁻²⁴ and its square one of 2⁻⁴⁸, so all that is kept are integers:
//! the statistics of two halves of some data, merged, are those of the whole, bit for bit, in
//! whatever order.
//!
//! | item | what it is |
//! |---|---|
//! | [`watched()`], [`Watch`] | which values of a function are counted, and along which axis they have columns |
//! | [`Feed`], [`Window`] | how an operation multiplies a value with a constant weight |
//! | [`Recorder`] | all values, while the model runs |
//! | `counting`, `tally` | one of them, and how often each FP16 number occurred |
//! | [`Hessian`], `rows` | on request, what columns have to do with each other: Σ x xᵀ |
//! | [`Statistics`] | one value: counts by FP16 number, extremes of samples, Σx and Σx² by column |
//! | [`Calibration`] | all values of one model, merged |
//! | `file` | the same as a safetensors file |
//! | [`Imatrix`] | `E[x²]` by weight, as llama.cpp's `llama-imatrix` writes it |
//! | [`Observer`], [`Range`] | statistics → the range that INT8 codes cover |
//! | `entropy`, `squared` | the two observers that search |
//! | [`Grid`], [`Symmetry`] | range → scale and zero point, as CoreML's `quantize` has them |

mod calibration;
mod counting;
mod entropy;
mod feed;
mod file;
mod grid;
mod hessian;
mod imatrix;
mod observer;
mod recorder;
mod rows;
mod squared;
mod statistics;
mod tally;
#[cfg(test)]
mod tests;
mod watched;

pub use calibration::{Calibration, Data, Entry, Model};
pub use feed::{Feed, Window};
pub use grid::{Grid, Symmetry};
pub use hessian::Hessian;
pub use imatrix::{Energies, Imatrix};
pub use observer::{Observer, Range};
pub use recorder::Recorder;
pub use squared::Moments;
pub use statistics::Statistics;
pub use watched::{Watch, watched};
