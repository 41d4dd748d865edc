//! Architectures: from `config.json` and the names of weights to a description.
//!
//! | module | `model_type` |
//! |---|---|
//! | `llama` | `llama` |
//! | `mistral` | `mistral` |
//! | `qwen` | `qwen2`, `qwen3` |
//! | `smollm3` | `smollm3` |
//! | `phi3` | `phi3` |
//! | `gemma` | `gemma2`, `gemma3_text` |
//! | `gpt2` | `gpt2` |
//! | `family` | what these share |
//! | `bert` | `bert` |
//! | `roberta` | `roberta` |
//! | `distilbert` | `distilbert` |
//! | `encoders` | what these share |
//! | `resnet` | `resnet` |
//! | `vit` | `vit` |
//! | `vision` | what these two share |
//!
//! Keys, defaults and weight names are those of Hugging Face's transformers, 4.57 and 5.

mod bert;
mod distilbert;
mod encoders;
mod family;
mod gemma;
mod gpt2;
mod llama;
mod mistral;
mod phi3;
mod qwen;
mod resnet;
mod roberta;
mod smollm3;
mod vision;
mod vit;

use super::config::Config;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::parameters::Checkpoint;
use super::vision::Vision;
use crate::Result;

/// A model, described.
#[derive(Clone, Debug)]
pub enum Model {
    /// A text decoder.
    Decoder(Box<Decoder>),
    /// A text encoder.
    Encoder(Box<Encoder>),
    /// A classifier of images.
    Vision(Box<Vision>),
}

/// Describes the model of this type; `None` for a type that is not known. A `context` of `None` is the
/// longest text that the model was trained for.
///
/// # Errors
/// [`crate::Error::Input`] for a key or a value that is not understood.
pub fn describe(
    model_type: &str,
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Option<Result<Model>> {
    let encoder = |described: Result<Encoder>| Some(described.map(Box::new).map(Model::Encoder));
    match model_type {
        "bert" => return encoder(bert::describe(config, checkpoint)),
        "distilbert" => return encoder(distilbert::describe(config, checkpoint)),
        "roberta" => return encoder(roberta::describe(config, checkpoint)),
        _ => {}
    }
    let describe = match model_type {
        "gemma2" => gemma::describe_2,
        "gemma3_text" => gemma::describe_3,
        "gpt2" => gpt2::describe,
        "llama" => llama::describe,
        "mistral" => mistral::describe,
        "phi3" => phi3::describe,
        "qwen2" => qwen::describe_2,
        "qwen3" => qwen::describe_3,
        "resnet" => {
            return Some(
                resnet::describe(config, checkpoint).map(|vision| Model::Vision(Box::new(vision))),
            );
        }
        "smollm3" => smollm3::describe,
        "vit" => {
            return Some(
                vit::describe(config, checkpoint).map(|vision| Model::Vision(Box::new(vision))),
            );
        }
        _ => return None,
    };
    Some(describe(config, checkpoint, context).map(|decoder| Model::Decoder(Box::new(decoder))))
}
