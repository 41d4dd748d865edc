//! What the encoders share: BERT's layers under different names.

use super::parts::{activation, labels, layer_norm, linear};
use crate::model::blocks::{Activation, Attention, Mlp, Norm, Qkv};
use crate::model::config::Config;
use crate::model::encoder::{Layer, Sentence};
use crate::model::parameters::Checkpoint;
use crate::{Error, Result};

/// What every encoder's layers are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) vocabulary: usize,
    pub(super) count: usize,
    pub(super) heads: usize,
    /// Rows of the table of positions.
    pub(super) rows: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
}

/// Keys of sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) hidden: &'static str,
    pub(super) inner: &'static str,
    pub(super) count: &'static str,
    pub(super) heads: &'static str,
    pub(super) activation: &'static str,
    /// Where there is none, ε is 1e-12.
    pub(super) epsilon: Option<&'static str>,
}

/// Names of a layer's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerNames {
    /// Before the layer's number.
    pub(super) layer: &'static str,
    pub(super) qkv: [&'static str; 3],
    pub(super) out: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) norm: &'static str,
}

impl Sizes {
    /// Reads the sizes, and the keys that an encoder must not have set.
    pub(super) fn read(config: &Config, keys: &Keys) -> Result<Self> {
        for key in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
            config.only(key, false)?;
        }
        if config.entries("pruned_heads")?.is_some_and(|heads| heads > 0) {
            return Err(config.unsupported("pruned_heads", "only whole layers are supported"));
        }
        // The head that shares the embedding is left out either way.
        config.flag_or("tie_word_embeddings", true)?;
        let hidden = config.size(keys.hidden)?;
        let heads = config.size(keys.heads)?;
        if !hidden.is_multiple_of(heads) {
            let can = format!("it must divide the {hidden} hidden values");
            return Err(config.unsupported(keys.heads, &can));
        }
        let epsilon = match keys.epsilon {
            Some(key) => config.positive_or(key, 1e-12)?,
            None => 1e-12,
        };
        Ok(Self {
            hidden,
            inner: config.size(keys.inner)?,
            vocabulary: config.size("vocab_size")?,
            count: config.size(keys.count)?,
            heads,
            rows: config.size_or("max_position_embeddings", 512)?,
            epsilon: epsilon as f32,
            activation: activation(config, keys.activation, Activation::Gelu)?,
        })
    }

    /// Holds against the model what follows it in its folder: its pooling must take what the model
    /// gives.
    pub(super) fn check(&self, config: &Config, sentence: Option<&Sentence>) -> Result<()> {
        match sentence.and_then(|sentence| sentence.width) {
            Some(width) if width != self.hidden => {
                let found =
                    format!("tokens have {} values, and its pooling takes {width}", self.hidden);
                Err(Error::input(config.place(), found, "give the files of one model"))
            }
            _ => Ok(()),
        }
    }

    /// The layers, from the first to the last.
    pub(super) fn layers(&self, c: &mut Checkpoint<'_>, names: &LayerNames) -> Vec<Layer> {
        (0..self.count).map(|number| self.layer(c, names, number)).collect()
    }

    fn layer(&self, c: &mut Checkpoint<'_>, names: &LayerNames, number: usize) -> Layer {
        let (hidden, inner, head_dim) = (self.hidden, self.inner, self.hidden / self.heads);
        let name = |part: &str| format!("{}.{number}.{part}", names.layer);
        let dense = |c: &mut Checkpoint<'_>, part, shape| linear(c, &name(part), shape, true);
        let qkv = Qkv::Split(names.qkv.map(|part| dense(c, part, [hidden, hidden])));
        let out = dense(c, names.out, [hidden, hidden]);
        let attention = Attention::plain(self.heads, head_dim, qkv, out);
        let attention_norm = self.norm(c, &name(names.attention_norm));
        let mlp = Mlp::Plain {
            up: dense(c, names.up, [hidden, inner]),
            down: dense(c, names.down, [inner, hidden]),
            activation: self.activation,
        };
        let mlp_norm = self.norm(c, &name(names.norm));
        Layer { attention, attention_norm, mlp, mlp_norm }
    }

    /// A norm, whose parts older checkpoints call gamma and beta.
    pub(super) fn norm(&self, c: &mut Checkpoint<'_>, name: &str) -> Norm {
        let old = c.has(&format!("{name}.gamma"));
        let parts = if old { ["gamma", "beta"] } else { ["weight", "bias"] };
        layer_norm(c, name, parts, self.hidden, self.epsilon)
    }
}

/// The names of the labels, where the weights have a head that classifies texts, by the class that
/// wrote them. In a folder of sentence-transformers heads are never used.
pub(super) fn classes(config: &Config, sentence: Option<&Sentence>) -> Result<Option<Vec<String>>> {
    let classes = config.optional_words("architectures")?.unwrap_or_default();
    let classifies = classes.iter().any(|class| class.ends_with("ForSequenceClassification"));
    match classifies && sentence.is_none() {
        true => labels(config).map(Some),
        false => Ok(None),
    }
}
