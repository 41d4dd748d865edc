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
//! | `family` | what decoders share that descend from Llama |
//! | `bert` | `bert` |
//! | `roberta` | `roberta`, `xlm-roberta`, `camembert` |
//! | `distilbert` | `distilbert` |
//! | `encoders` | what encoders share |
//! | `resnet` | `resnet` |
//! | `vit` | `vit` |
//! | `parts` | linear layers, norms, heads, and keys that all of them have |
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
mod parts;
mod phi3;
mod qwen;
mod resnet;
mod roberta;
mod smollm3;
#[cfg(test)]
mod tests;
mod vit;

use super::config::Config;
use super::decoder::Decoder;
use super::encoder::{Encoder, Sentence};
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

/// How a model of some `model_type` is described.
#[derive(Clone, Copy, Debug)]
pub struct Architecture(Describe);

#[derive(Clone, Copy, Debug)]
enum Describe {
    Decoder(fn(&Config, &mut Checkpoint<'_>, Option<usize>) -> Result<Decoder>),
    Encoder(fn(&Config, &mut Checkpoint<'_>, Option<Sentence>) -> Result<Encoder>),
    Vision(fn(&Config, &mut Checkpoint<'_>) -> Result<Vision>),
}

impl Architecture {
    /// The architecture of this `model_type`, if it is known.
    pub fn find(model_type: &str) -> Option<Self> {
        use Describe::{Decoder, Encoder, Vision};
        Some(Self(match model_type {
            "bert" => Encoder(bert::describe),
            "camembert" | "roberta" | "xlm-roberta" => Encoder(roberta::describe),
            "distilbert" => Encoder(distilbert::describe),
            "gemma2" => Decoder(gemma::describe_2),
            "gemma3_text" => Decoder(gemma::describe_3),
            "gpt2" => Decoder(gpt2::describe),
            "llama" => Decoder(llama::describe),
            "mistral" => Decoder(mistral::describe),
            "phi3" => Decoder(phi3::describe),
            "qwen2" => Decoder(qwen::describe_2),
            "qwen3" => Decoder(qwen::describe_3),
            "resnet" => Vision(resnet::describe),
            "smollm3" => Decoder(smollm3::describe),
            "vit" => Vision(vit::describe),
            _ => return None,
        }))
    }

    /// Whether sentence-transformers may put a pooling behind it.
    pub fn pools(self) -> bool {
        matches!(self.0, Describe::Encoder(_))
    }

    /// Describes the model. `context` is the longest text that a decoder's package is to take;
    /// `sentence`, what stands behind an encoder.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a key or a value that is not understood.
    pub fn describe(
        self,
        config: &Config,
        checkpoint: &mut Checkpoint<'_>,
        context: Option<usize>,
        sentence: Option<Sentence>,
    ) -> Result<Model> {
        Ok(match self.0 {
            Describe::Decoder(describe) => {
                Model::Decoder(Box::new(describe(config, checkpoint, context)?))
            }
            Describe::Encoder(describe) => {
                Model::Encoder(Box::new(describe(config, checkpoint, sentence)?))
            }
            Describe::Vision(describe) => Model::Vision(Box::new(describe(config, checkpoint)?)),
        })
    }
}
