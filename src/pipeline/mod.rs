//! The way: read → plan → quantize → lay out → write → report.
//!
//! [`prepare()`] reads headers only and fixes every byte count and offset; [`Job::run`] obeys. What a
//! run knows of an output format is a list of sinks: places in files that want a part of a tensor.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@auto`] | a scheme for each weight, chosen by running the model |
//! | [`prepare()`] | input and options → plan, layouts, sinks |
//! | `roles` | what a whole model does with each tensor |
//! | `inputs` | what each weight is multiplied with, and what a calibration knows of it |
//! | `bias` | biases that make up for what rounding weights shifts |
//! | `smoothing` | columns of the weights, made alike |
//! | `scan` | which tensors hold NaN or infinity, where that decides sizes |
//! | `files`, `package` | the files of each output, and where every part of a tensor goes in them |
//! | `activations` | INT8 activations, where they are asked for |
//! | `dense` | what quantized weights stand for, as their checkpoint would hold it |
//! | `beside` | the tokenizer and its like, which go with a whole model |
//! | `golden` | recorded inputs and outputs of the package's functions |
//! | `provenance` | what a package says of its own making |
//! | `sink` | one such place |
//! | `budget` | how much memory the run will take |
//! | `run` | windows of tensors through quantizers into sinks |
//! | `window` | the order of the work, and its bound in memory |
//! | `bytes` | codes, parameters and values as the bytes of a file |
//! | `hash` | hashes of the input, while its pages are in memory |
//! | `summary` | plan and outcomes → report |
//! | [`output`] | the output folder as one transaction |

mod activations;
pub mod auto;
mod beside;
mod bias;
mod budget;
mod bytes;
mod dense;
mod files;
mod golden;
mod hash;
mod inputs;
pub mod output;
mod package;
mod prepare;
mod provenance;
mod roles;
mod run;
mod scan;
mod sink;
mod smoothing;
mod summary;
mod window;

#[cfg(test)]
mod tests;

pub use prepare::{Job, is_package, prepare};

pub use crate::progress::Progress;

use hash::InputHash;
