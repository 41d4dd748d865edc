//! From a description to the function of a package.

use super::{Classifier, Dense, Encoder, Positions, Types, pool};
use crate::graph::{DataType, Dim, Program, SizeRange, Sizes, TensorType, ValueId};
use crate::model::blocks::{self, Around, MASKED};
use crate::model::emit::{Emitter, Style, Weights};
use crate::target::Target;
use crate::{Error, Result};

/// How an encoder becomes a package.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For which hardware.
    pub style: Style,
    /// FP16 or FP32.
    pub float: DataType,
    /// The oldest system that must read it; from ios18 on attention is fused.
    pub target: Target,
    /// The longest text, in tokens. The Neural Engine, which compiles for one shape, takes every text
    /// padded to it.
    pub context: usize,
}

/// The output that holds every token.
const LAST: &str = "last_hidden_state";

/// Tokens of a text if nobody says how many.
const USUAL: usize = 64;

/// The package of an encoder: `main`, with inputs and outputs as [`super`] names them.
///
/// # Errors
/// [`Error::Usage`] for a context beyond the learned positions; [`Error::Bug`] for a description that
/// does not hold together.
pub fn build(encoder: &Encoder, weights: &Weights, options: &Options) -> Result<Program> {
    if options.context > encoder.longest {
        return Err(Error::Usage(format!(
            "--context {} is beyond the {} tokens that the model has positions for; choose fewer",
            options.context, encoder.longest
        )));
    }
    let mut emitter = Emitter::new(weights, options.float).with_style(options.style);
    let e = &mut emitter;
    let feed = Feed::new(e, encoder, options)?;
    let mut x = embed(e, encoder, &feed, options)?;
    let around = Around {
        masks: [(None, feed.hidden)].into(),
        one_row: true,
        fused: options.target >= Target::Ios18,
        ..Around::default()
    };
    let last = encoder.layers.len().saturating_sub(1);
    for (number, layer) in encoder.layers.iter().enumerate() {
        e.enter(format!("layers_{number}"));
        let y = blocks::attention(e, &around, None, number, x, &layer.attention)?;
        let sum = e.add("attention_sum", x, y)?;
        x = blocks::norm(e, "attention_norm", sum, &layer.attention_norm)?;
        let y = blocks::mlp(e, x, &layer.mlp)?;
        let sum = e.add("mlp_sum", x, y)?;
        if number == last {
            e.enter("");
            let name = match options.style {
                Style::Gpu => LAST,
                Style::Ane => "last_hidden_channels",
            };
            x = blocks::norm(e, name, sum, &layer.mlp_norm)?;
        } else {
            x = blocks::norm(e, "mlp_norm", sum, &layer.mlp_norm)?;
        }
    }
    outputs(e, encoder, &feed, x)?;
    let mut program = Program::single(emitter.finish());
    program.metadata.user = weights.names();
    Ok(program)
}

/// What the function takes, and what follows from that alone.
#[derive(Debug)]
struct Feed {
    ids: ValueId,
    /// 1 for a token, 0 for padding: INT32 `[1, T]`.
    mask: ValueId,
    /// Where the caller gives them.
    types: Option<ValueId>,
    /// How many tokens there are: INT32 `[1]`.
    count: ValueId,
    /// What is added to scores, `[1, 1, 1, T]`.
    hidden: ValueId,
}

impl Feed {
    fn new(e: &mut Emitter<'_>, encoder: &Encoder, options: &Options) -> Result<Self> {
        let context = options.context;
        let mut input = |name: &str, about: &str| {
            if options.style == Style::Ane {
                let ty = TensorType::fixed(DataType::Int32, &[1, context]);
                return e.input(name, ty, Sizes::Fixed, about);
            }
            let ty = TensorType::new(DataType::Int32, vec![Dim::Fixed(1), Dim::Flexible]);
            let range = |low, default, high| SizeRange { low, default, high };
            let sizes = Sizes::Ranges(vec![range(1, 1, 1), range(1, context.min(USUAL), context)]);
            e.input(name, ty, sizes, about)
        };
        let ids = input("input_ids", "token ids")?;
        let mask = input("attention_mask", "1 for a token, 0 for padding")?;
        let given = encoder.types.is_some_and(|types| types.given);
        let about = "0 for tokens of the first text, 1 for those of the second";
        let types = if given { Some(input("token_type_ids", about)?) } else { None };
        let count = match options.style {
            Style::Ane => e.ints(&[context as i32])?,
            Style::Gpu => e.dimension("ids", ids, 1)?,
        };
        let float = e.float();
        let shown = e.cast("shown", mask, float)?;
        let (one, far) = (e.number(1.0)?, e.number(MASKED)?);
        let padding = e.op("sub", "padding", &[("x", one), ("y", shown)])?;
        let hidden = e.mul("padding_hidden", padding, far)?;
        let hidden = e.reshape("padding_mask", hidden, &[1, 1, 1, -1])?;
        Ok(Self { ids, mask, types, count, hidden })
    }
}

/// Hidden values of the ids: words, types and positions, normed. Rows of tables are gathered and summed
/// as rows, which Core ML does on the CPU in any style.
fn embed(
    e: &mut Emitter<'_>,
    encoder: &Encoder,
    feed: &Feed,
    options: &Options,
) -> Result<ValueId> {
    let words = e.weight(encoder.words, &[encoder.vocabulary, encoder.hidden])?;
    let mut x = e.gather("embedded", words, feed.ids)?;
    if let Some(Types { table, rows, .. }) = encoder.types {
        let table = e.weight(table, &[rows, encoder.hidden])?;
        let types = match feed.types {
            Some(ids) => e.gather("types", table, ids)?,
            None if rows == 1 => table,
            None => e.slice("type", table, 2, 0, 0..1)?,
        };
        x = e.add("embedded_typed", x, types)?;
    }
    let positions = positions(e, encoder, feed, options)?;
    let x = e.add("embedded_placed", x, positions)?;
    let x = blocks::hidden(e, "embedded", x, encoder.hidden)?;
    blocks::norm(e, "embedded_norm", x, &encoder.norm)
}

/// Learned positions of the tokens, `[T, H]` or `[1, T, H]`.
///
/// For the Neural Engine they are the first rows of the table, and nothing counts: padding stands behind
/// the text, and what position it gets is hidden with it.
fn positions(
    e: &mut Emitter<'_>,
    encoder: &Encoder,
    feed: &Feed,
    options: &Options,
) -> Result<ValueId> {
    let Positions { table, rows, padding } = encoder.positions;
    let table = e.weight(table, &[rows, encoder.hidden])?;
    if options.style == Style::Ane {
        let first = padding.map_or(0, |padding| padding + 1);
        return e.slice("positions", table, 2, 0, first..first + options.context);
    }
    let Some(padding) = padding else {
        let (begin, across) = (e.ints(&[0, 0])?, e.ints(&[encoder.hidden as i32])?);
        let end = e.concat("positions_end", &[feed.count, across], 0)?;
        let arguments = [("x", table), ("begin", begin), ("end", end)];
        return e.op("slice_by_index", "positions", &arguments);
    };
    let (padding, axis) = (e.int(padding as i32)?, e.int(1)?);
    let is_text = e.op("not_equal", "is_text", &[("x", feed.ids), ("y", padding)])?;
    let is_text = e.cast("text", is_text, DataType::Int32)?;
    let counted = e.op("cumsum", "text_count", &[("x", is_text), ("axis", axis)])?;
    let counted = e.mul("text_places", counted, is_text)?;
    let places = e.add("token_positions", counted, padding)?;
    e.gather("positions", table, places)
}

/// What callers see of the last hidden values.
fn outputs(e: &mut Emitter<'_>, encoder: &Encoder, feed: &Feed, x: ValueId) -> Result<()> {
    if let Some(sentence) = &encoder.sentence {
        let x = blocks::rows(e, "tokens", x, encoder.hidden)?;
        let tokens = pool::Tokens { x, mask: feed.mask, count: feed.count };
        let y = pool::embedding(e, "sentence_embedding", &tokens, encoder.hidden, sentence)?;
        e.builder().output(y, "what the text means, [1, D]");
        return Ok(());
    }
    let all = blocks::rows(e, LAST, x, encoder.hidden)?;
    e.builder().output(all, "each token in its context, [1, T, H]");
    if encoder.pooler.is_none() && encoder.classifier.is_none() {
        return Ok(());
    }
    let first = blocks::first(e, x, encoder.hidden)?;
    let pooled = match &encoder.pooler {
        None => None,
        Some(pooler) => {
            let pooled = dense(e, "pooler_output", first, pooler)?;
            e.builder().output(pooled, "the text by its first token, [1, H]");
            Some(pooled)
        }
    };
    if let Some(Classifier { inner, out, .. }) = &encoder.classifier {
        let from = match (inner, pooled) {
            (Some(inner), _) => dense(e, "classifier", first, inner)?,
            (None, Some(pooled)) => pooled,
            (None, None) => return Err(Error::bug("a classifier", "reads nothing")),
        };
        let logits = blocks::linear_of_one(e, "logits", from, out)?;
        e.builder().output(logits, "scores of the labels, [1, labels]");
    }
    Ok(())
}

fn dense(e: &mut Emitter<'_>, name: &str, x: ValueId, dense: &Dense) -> Result<ValueId> {
    let y = blocks::linear_of_one(e, &format!("{name}_linear"), x, &dense.linear)?;
    blocks::activation(e, name, y, dense.activation)
}
