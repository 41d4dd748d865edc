//! From a description to the functions of a package.

use super::Decoder;
use super::feed::{Feed, Tokens};
use crate::graph::{DataType, Function, Program, ValueId};
use crate::model::blocks::{self, Linear, Memory};
use crate::model::emit::{Emitter, Weights};
use crate::target::Target;
use crate::{Error, Result};

/// How a decoder becomes a package.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which hardware the operations suit.
    pub style: Style,
    /// FP16, or FP32 for packages without states.
    pub float: DataType,
    /// The oldest system that must read it; from ios18 on there are states and functions.
    pub target: Target,
    /// The longest text, in tokens.
    pub context: usize,
    /// Tokens of one call of `prefill`.
    pub prefill_chunk: usize,
    /// What features are called.
    pub names: Names,
    /// Whether keys and values stay in states.
    pub states: bool,
}

/// Which hardware a graph is shaped for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// GPU and CPU: `[1, T, H]`, linear layers, fused attention.
    #[default]
    Gpu,
}

/// What features are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Token ids.
    pub ids: &'static str,
    /// The first token's position.
    pub position: &'static str,
    /// What is added to scores.
    pub mask: &'static str,
    /// Cached keys.
    pub keys: &'static str,
    /// Cached values.
    pub values: &'static str,
    /// Scores of the next token.
    pub logits: &'static str,
}

impl Names {
    /// Those of Hugging Face's transformers.
    pub const TRANSFORMERS: Self = Self {
        ids: "input_ids",
        position: "position",
        mask: "causal_mask",
        keys: "key_cache",
        values: "value_cache",
        logits: "logits",
    };
}

/// The package of a decoder: `prefill` and `decode` over states, or `main` without.
///
/// # Errors
/// [`Error::Usage`] for a context that learned positions or the chunk do not allow; [`Error::Bug`] for a
/// description that does not hold together.
pub fn build(decoder: &Decoder, weights: &Weights, options: &Options) -> Result<Program> {
    if options.states && options.context < 2 * options.prefill_chunk {
        return Err(Error::Usage(format!(
            "--context {} is less than two calls of {} tokens; choose a smaller --prefill-chunk",
            options.context, options.prefill_chunk
        )));
    }
    if decoder.positions.is_some() && options.context > decoder.longest {
        return Err(Error::Usage(format!(
            "--context {}: the model has learned {} positions, and knows no further ones",
            options.context, decoder.longest
        )));
    }
    let one = |tokens| function(decoder, weights, options, tokens);
    let mut program = if options.states {
        let functions = [
            ("prefill".to_owned(), one(Tokens::Fixed(options.prefill_chunk))?),
            ("decode".to_owned(), one(Tokens::Fixed(1))?),
        ];
        Program {
            functions: functions.into(),
            default_function: "decode".into(),
            ..Program::default()
        }
    } else {
        Program::single(one(Tokens::Any)?)
    };
    program.metadata.user = weights.names();
    Ok(program)
}

fn function(
    decoder: &Decoder,
    weights: &Weights,
    options: &Options,
    tokens: Tokens,
) -> Result<Function> {
    let mut emitter = Emitter::new(weights, options.float);
    let e = &mut emitter;
    let feed = Feed::new(e, decoder, options, tokens)?;
    let mut x = embed(e, decoder, &feed)?;
    let memory = feed.cache.as_ref().map(|cache| cache as &dyn Memory);
    for (number, layer) in decoder.layers.iter().enumerate() {
        e.enter(format!("layers_{number}"));
        let normed = blocks::norm(e, "attention_norm", x, &layer.attention_norm)?;
        let mut y = blocks::attention(e, &feed.around, memory, number, normed, &layer.attention)?;
        if let Some(norm) = &layer.attention_post_norm {
            y = blocks::norm(e, "attention_post_norm", y, norm)?;
        }
        x = e.add("attention_sum", x, y)?;
        let normed = blocks::norm(e, "mlp_norm", x, &layer.mlp_norm)?;
        let mut y = blocks::mlp(e, normed, &layer.mlp)?;
        if let Some(norm) = &layer.mlp_post_norm {
            y = blocks::norm(e, "mlp_post_norm", y, norm)?;
        }
        x = e.add("mlp_sum", x, y)?;
    }
    e.enter("");
    let x = blocks::norm(e, "norm", x, &decoder.norm)?;
    let logits = head(e, decoder, x, options.names.logits)?;
    e.builder().output(logits, "scores of the next token after each one given, [1, T, vocabulary]");
    Ok(emitter.finish())
}

/// Hidden values `[1, T, H]` of the ids.
fn embed(e: &mut Emitter<'_>, decoder: &Decoder, feed: &Feed) -> Result<ValueId> {
    let table = e.weight(decoder.embedding, &[decoder.vocabulary, decoder.hidden])?;
    let axis = e.int(0)?;
    let mut x =
        e.op("gather", "embedded", &[("x", table), ("indices", feed.ids), ("axis", axis)])?;
    if let Some(scale) = decoder.embedding_scale {
        let scale = e.number(scale)?;
        x = e.mul("embedded_scaled", x, scale)?;
    }
    if let Some(positions) = decoder.positions {
        let table = e.weight(positions, &[decoder.longest, decoder.hidden])?;
        let rows = feed.rows_within(e, "positions", table, [decoder.longest, decoder.hidden])?;
        x = e.add("embedded_placed", x, rows)?;
    }
    Ok(x)
}

/// Logits `[1, T, V]` under the name that callers see.
fn head(e: &mut Emitter<'_>, decoder: &Decoder, x: ValueId, name: &str) -> Result<ValueId> {
    let Linear { weight, bias, shape: [inputs, outputs] } = decoder.head;
    let weight = e.weight(weight, &[outputs, inputs])?;
    let mut arguments = vec![("x", x), ("weight", weight)];
    if let Some(bias) = bias {
        arguments.push(("bias", e.weight(bias, &[outputs])?));
    }
    match decoder.softcap {
        None => e.named("linear", name, &arguments),
        Some(cap) => {
            let raw = e.op("linear", "logits_raw", &arguments)?;
            blocks::softcap(e, name, raw, cap)
        }
    }
}
