//! `roberta`: BERT with positions that begin behind the id of padding, and another classifier.

use super::bert::body;
use super::encoders::{classifies, labels, to_labels};
use crate::Result;
use crate::model::blocks::{Activation, Linear};
use crate::model::config::Config;
use crate::model::encoder::{Classifier, Dense, Encoder};
use crate::model::parameters::Checkpoint;

/// Describes a RoBERTa.
pub(super) fn describe(config: &Config, checkpoint: &mut Checkpoint<'_>) -> Result<Encoder> {
    let padding = config.count_or("pad_token_id", 1)?;
    let classifies = classifies(config)?;
    let labels = if classifies { labels(config)? } else { 0 };
    let mut encoder = body(config, checkpoint, "roberta.", Some(padding))?;
    config.finish()?;
    if classifies {
        let hidden = encoder.hidden;
        let linear = Linear {
            weight: checkpoint.take_whole("classifier.dense.weight", &[hidden, hidden]),
            bias: Some(checkpoint.take_whole("classifier.dense.bias", &[hidden])),
            shape: [hidden, hidden],
        };
        let inner = Some(Dense { linear, activation: Activation::Tanh });
        let out = to_labels(checkpoint, "classifier.out_proj", hidden, labels);
        encoder.classifier = Some(Classifier { inner, out });
    }
    // The head that guesses hidden words.
    checkpoint.pass_over_all("lm_head.");
    Ok(encoder)
}
