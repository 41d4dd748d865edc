//! `roberta`, and under other names `xlm-roberta` and `camembert`: BERT with positions that begin behind the id of padding, and another classifier.

use super::bert::body;
use super::encoders::classes;
use super::parts::linear_whole;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::encoder::{Classifier, Dense, Encoder, Sentence};
use crate::model::parameters::Checkpoint;

/// Describes a RoBERTa.
pub(super) fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    sentence: Option<Sentence>,
) -> Result<Encoder> {
    let padding = config.count_or("pad_token_id", 1)?;
    let labels = classes(config, sentence.as_ref())?;
    let mut encoder = body(config, checkpoint, "roberta.", Some(padding), sentence)?;
    config.finish()?;
    if let Some(labels) = labels {
        let hidden = encoder.hidden;
        let linear = linear_whole(checkpoint, "classifier.dense", [hidden, hidden]);
        let inner = Some(Dense { linear, activation: Activation::Tanh });
        let out = linear_whole(checkpoint, "classifier.out_proj", [hidden, labels.len()]);
        encoder.classifier = Some(Classifier { inner, out, labels });
    }
    // The head that guesses hidden words.
    checkpoint.pass_over_all("lm_head.");
    Ok(encoder)
}
