//! `distilbert`: BERT's layers under other names, without types of tokens and without a pooler.

use super::encoders::{Keys, Names, Sizes, classifies, labels, to_labels};
use crate::Result;
use crate::model::blocks::{Activation, Linear};
use crate::model::config::Config;
use crate::model::encoder::{Classifier, Dense, Encoder, Positions};
use crate::model::parameters::Checkpoint;

const KEYS: Keys = Keys {
    hidden: "dim",
    inner: "hidden_dim",
    count: "n_layers",
    heads: "n_heads",
    activation: "activation",
    epsilon: None,
};

const NAMES: Names = Names {
    layer: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

/// Describes a DistilBERT.
pub(super) fn describe(config: &Config, c: &mut Checkpoint<'_>) -> Result<Encoder> {
    // The library takes these under BERT's names, too.
    let either = |own, other| if config.has(own) { own } else { other };
    let keys = Keys {
        hidden: either(KEYS.hidden, "hidden_size"),
        count: either(KEYS.count, "num_hidden_layers"),
        heads: either(KEYS.heads, "num_attention_heads"),
        ..KEYS
    };
    let sizes = Sizes::read(config, &keys)?;
    // How it was trained.
    config.has("tie_weights_");
    let classifies = classifies(config)?;
    let labels = if classifies { labels(config)? } else { 0 };
    let sentence = sizes.sentence(config)?;
    config.finish()?;
    let (hidden, rows) = (sizes.hidden, sizes.rows);
    let longest = sentence.as_ref().and_then(|s| s.longest).map_or(rows, |l| l.min(rows));

    c.find_prefix("embeddings.word_embeddings.weight", &["distilbert.", ""]);
    c.pass_over("embeddings.position_ids");
    let words = c.take("embeddings.word_embeddings.weight", &[sizes.vocabulary, hidden]);
    let table = c.take("embeddings.position_embeddings.weight", &[rows, hidden]);
    let norm = sizes.norm(c, "embeddings.LayerNorm");
    let layers = sizes.layers(c, &NAMES);
    let classifier = classifies.then(|| {
        let linear = Linear {
            weight: c.take_whole("pre_classifier.weight", &[hidden, hidden]),
            bias: Some(c.take_whole("pre_classifier.bias", &[hidden])),
            shape: [hidden, hidden],
        };
        let inner = Some(Dense { linear, activation: Activation::Relu });
        Classifier { inner, out: to_labels(c, "classifier", hidden, labels) }
    });
    // The head that guesses hidden words.
    c.pass_over_all("vocab_");
    Ok(Encoder {
        vocabulary: sizes.vocabulary,
        hidden,
        longest,
        words,
        positions: Positions { table, rows, padding: None },
        types: None,
        norm,
        layers,
        pooler: None,
        classifier,
        sentence,
    })
}
