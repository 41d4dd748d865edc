//! `distilbert`: BERT's layers under other names, without types of tokens and without a pooler.

use super::encoders::{Keys, LayerNames, Sizes, classes};
use super::parts::linear_whole;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::encoder::{Classifier, Dense, Encoder, Positions, Sentence};
use crate::model::parameters::Checkpoint;

const KEYS: Keys = Keys {
    hidden: "dim",
    inner: "hidden_dim",
    count: "n_layers",
    heads: "n_heads",
    activation: "activation",
    epsilon: None,
};

const NAMES: LayerNames = LayerNames {
    layer: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

/// Describes a DistilBERT.
pub(super) fn describe(
    config: &Config,
    c: &mut Checkpoint<'_>,
    sentence: Option<Sentence>,
) -> Result<Encoder> {
    // The library takes these under BERT's names, too, which win.
    let either = |own, other| match (config.has(own), config.has(other)) {
        (_, true) => other,
        (_, false) => own,
    };
    let keys = Keys {
        hidden: either(KEYS.hidden, "hidden_size"),
        count: either(KEYS.count, "num_hidden_layers"),
        heads: either(KEYS.heads, "num_attention_heads"),
        ..KEYS
    };
    let sizes = Sizes::read(config, &keys)?;
    // How it was trained.
    config.has("tie_weights_");
    let labels = classes(config, sentence.as_ref())?;
    sizes.check(config, sentence.as_ref())?;
    config.finish()?;
    let (hidden, rows) = (sizes.hidden, sizes.rows);

    c.find_prefix("embeddings.word_embeddings.weight", &["distilbert.", ""]);
    c.pass_over("embeddings.position_ids");
    let words = c.take("embeddings.word_embeddings.weight", &[sizes.vocabulary, hidden]);
    let table = c.take("embeddings.position_embeddings.weight", &[rows, hidden]);
    let norm = sizes.norm(c, "embeddings.LayerNorm");
    let layers = sizes.layers(c, &NAMES);
    let classifier = labels.map(|labels| {
        let linear = linear_whole(c, "pre_classifier", [hidden, hidden]);
        let inner = Some(Dense { linear, activation: Activation::Relu });
        let out = linear_whole(c, "classifier", [hidden, labels.len()]);
        Classifier { inner, out, labels }
    });
    // The head that guesses hidden words.
    c.pass_over_all("vocab_");
    Ok(Encoder {
        vocabulary: sizes.vocabulary,
        hidden,
        longest: rows,
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
