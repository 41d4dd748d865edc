//! What becomes a graph.
//!
//! | module | what it does |
//! |---|---|
//! | [`Whole`] | a checkpoint with its `config.json`: the whole model |
//! | [`mod@layer_package`] | bare tensors: one function for each weight matrix |
//! | [`layer`] | which operation a bare tensor feeds, by shape and by name |
//! | [`architectures`] | `config.json` and the names of weights → a description, one file each |
//! | [`Companions`] | what stands beside `config.json` and says more of the model |
//! | [`config`] | `config.json`: every key understood, or an error |
//! | [`parameters`] | the tensors of a checkpoint as architectures ask for them: none missing, none left over |
//! | [`rope`] | rotary positions and their scalings |
//! | [`blocks`] | norms, linear layers, gates, attention: what they are, and their operations |
//! | [`decoder`] | the description of a decoder, and its functions |
//! | [`encoder`] | the description of an encoder, and its function |
//! | [`vision`] | the description of a classifier of images, and its function |
//! | [`emit`] | operations, constants and weights of one function |

pub mod architectures;
pub mod blocks;
mod companions;
pub mod config;
pub mod decoder;
pub mod emit;
pub mod encoder;
pub mod layer;
pub mod layer_package;
pub mod parameters;
pub mod rope;
pub mod vision;
mod whole;

pub use companions::{Companions, Read};
pub use layer::{Kind, Rules};
pub use layer_package::{Layer, LayerPackage, Options, Outcome, layer_package};
pub use whole::{Built, CONTEXT, ENDS, LABELS, LOWER_CASE, MODEL_TYPE, PROMPT, Whole};
