//! twolane quantizes safetensors checkpoints and CoreML packages for Apple silicon, on any machine.
//!
//! Data flows one way; a line of this map uses only the lines below it:
//!
//! | | module | what it does |
//! |---|---|---|
//! | way | [`pipeline`] | read → plan → quantize → lay out → write → report |
//! | | [`validate`] | a package beside its source: weights, layers, outputs, speed; golden vectors |
//! | | [`generate`] | text from a language model, token by token |
//! | | [`embed`] | texts as vectors |
//! | | [`execute`] | functions of a package on inputs from a file, or on drawn ones |
//! | | [`watch`] | a package on data, its activations counted |
//! | rooms | [`source`] | one file, a folder or an index of shards, or a package, mapped and checked |
//! | | [`plan`] | which scheme each tensor gets, and every size and offset, before any data is read |
//! | | [`quantize`] | weights → codes and parameters; the arithmetic |
//! | | [`layout`] | codes → the lane orders of 2-wide and 4-wide INT8 hardware |
//! | | [`activations`] | a function whose layers read INT8 |
//! | | [`auto`] | which scheme each weight is worth, by what it costs the model |
//! | | [`smooth`] | outlier columns, moved from activations to weights or back |
//! | | [`calibrate`] | activations, counted exactly → INT8 ranges |
//! | | [`report`] | what a run did: `report.json`, tables, plots |
//! | | [`runtime`] | functions evaluated on any machine: the definition, and the same numbers fast |
//! | values | [`scheme`] | how one tensor is stored: parsed, printed, compared |
//! | | [`target`] | which operating systems must read the package |
//! | | [`tensor`] | a view of stored weights |
//! | | [`chips`] | what is known of Apple's chips, each figure with its source, and the roofline |
//! | | [`advice`] | what costs speed or goes wrong on Apple's chips, each rule with its source |
//! | | [`int8_path`] | which multiplications of a function run in INT8, and where chains break |
//! | | [`graph`] | the typed MIL program, weights with their storage, and its lowering to protobuf |
//! | | [`model`] | what becomes a graph: whole models by architecture, or the layer package |
//! | | [`metrics`] | error measures and histograms |
//! | | [`text`] | aligned tables, sizes and block-character plots for a terminal |
//! | | [`Progress`](pipeline::Progress) | who hears how far long work is |
//! | | [`Error`] | whose fault, where, and what would do |
//! | bytes | [`formats`] | the files themselves (crate `twolane-formats`) |
//!
//! The words of the command line live in the binary, `quantize`.

pub mod activations;
pub mod advice;
pub mod auto;
pub mod calibrate;
pub mod chips;
pub mod embed;
mod error;
pub mod execute;
pub mod generate;
pub mod graph;
pub mod int8_path;
pub mod layout;
mod map;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod plan;
mod progress;
pub mod quantize;
pub mod report;
pub mod runtime;
pub mod scheme;
pub mod smooth;
pub mod source;
pub mod target;
pub mod tensor;
pub mod text;
pub mod validate;
pub mod watch;

pub use error::{Error, Result};
pub use twolane_formats as formats;
