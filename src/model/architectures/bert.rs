//! `bert`, and what `roberta` shares with it.

use super::encoders::{Keys, LayerNames, Sizes, classes};
use super::parts::{linear, linear_whole};
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::encoder::{Classifier, Dense, Encoder, Positions, Sentence, Types};
use crate::model::parameters::Checkpoint;

const KEYS: Keys = Keys {
    hidden: "hidden_size",
    inner: "intermediate_size",
    count: "num_hidden_layers",
    heads: "num_attention_heads",
    activation: "hidden_act",
    epsilon: Some("layer_norm_eps"),
};

const NAMES: LayerNames = LayerNames {
    layer: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

/// Keys of the first checkpoints, which nothing ever read.
const UNREAD: [&str; 6] = [
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
];

/// Describes a BERT.
pub(super) fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    sentence: Option<Sentence>,
) -> Result<Encoder> {
    for key in UNREAD {
        config.has(key);
    }
    let labels = classes(config, sentence.as_ref())?;
    let mut encoder = body(config, checkpoint, "bert.", None, sentence)?;
    config.finish()?;
    if let Some(labels) = labels {
        let out = linear_whole(checkpoint, "classifier", [encoder.hidden, labels.len()]);
        encoder.classifier = Some(Classifier { inner: None, out, labels });
        // A pair of texts is told apart by types.
        encoder.types = encoder.types.map(|types| Types { given: types.rows > 1, ..types });
        if encoder.pooler.is_none() {
            encoder.pooler = Some(pooler(checkpoint, encoder.hidden));
        }
    }
    // Heads that guess hidden words and following sentences.
    checkpoint.pass_over_all("cls.");
    Ok(encoder)
}

/// The model of either, without its head. With an id of padding, positions count from behind it.
pub(super) fn body(
    config: &Config,
    c: &mut Checkpoint<'_>,
    prefix: &str,
    padding: Option<usize>,
    sentence: Option<Sentence>,
) -> Result<Encoder> {
    let sizes = Sizes::read(config, &KEYS)?;
    config.only("position_embedding_type", "absolute")?;
    let types = config.size_or("type_vocab_size", 2)?;
    sizes.check(config, sentence.as_ref())?;
    let hidden = sizes.hidden;
    let before = padding.map_or(0, |padding| padding + 1);
    let Some(usable) = sizes.rows.checked_sub(before).filter(|&usable| usable > 0) else {
        let can = format!("{before} rows come before the first position");
        return Err(config.unsupported("max_position_embeddings", &can));
    };

    c.find_prefix("embeddings.word_embeddings.weight", &[prefix, ""]);
    c.pass_over("embeddings.position_ids");
    let mut table =
        |of: &str, rows| c.take(&format!("embeddings.{of}_embeddings.weight"), &[rows, hidden]);
    let words = table("word", sizes.vocabulary);
    let types = Types { table: table("token_type", types), rows: types, given: false };
    let positions = table("position", sizes.rows);
    let positions = Positions { table: positions, rows: sizes.rows, padding };
    let norm = sizes.norm(c, "embeddings.LayerNorm");
    let layers = sizes.layers(c, &NAMES);
    let mut found = c.has("pooler.dense.weight");
    if sentence.is_some() {
        c.pass_over("pooler.dense.weight");
        c.pass_over("pooler.dense.bias");
        found = false;
    }
    Ok(Encoder {
        vocabulary: sizes.vocabulary,
        hidden,
        longest: usable,
        words,
        positions,
        types: Some(types),
        norm,
        layers,
        pooler: found.then(|| pooler(c, hidden)),
        classifier: None,
        sentence,
    })
}

fn pooler(c: &mut Checkpoint<'_>, hidden: usize) -> Dense {
    let linear = linear(c, "pooler.dense", [hidden, hidden], true);
    Dense { linear, activation: Activation::Tanh }
}
