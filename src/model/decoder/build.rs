//! From a description to the functions of a package.

use super::Decoder;
use super::ane::{HOST, Host};
use super::chunk::{CHUNK, Chunk, Part};
use super::feed::{Feed, Tokens};
use crate::graph::{DataType, Function, Program, ValueId};
use crate::model::blocks::{self, Linear, Memory};
use crate::model::emit::{Emitter, Style, Weights};
use crate::plan::Kv;
use crate::target::Target;
use crate::{Error, Result};
use std::collections::BTreeMap;

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
    /// Where keys and values of earlier tokens are kept; without it they are computed again.
    pub kv: Option<Kv>,
    /// Whether the likeliest next tokens are an output, too.
    pub argmax: bool,
    /// Whether a function of several tokens over caches returns the logits of one row alone, which its
    /// caller names: those behind the last token that is no padding.
    pub last_row: bool,
}

/// What features are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Token ids.
    pub ids: &'static str,
    /// The first token's position; without it shapes say it, and one function over states takes any
    /// number of tokens.
    pub position: Option<&'static str>,
    /// What is added to scores.
    pub mask: &'static str,
    /// Cached keys.
    pub keys: &'static str,
    /// Cached values.
    pub values: &'static str,
    /// Scores of the next token.
    pub logits: &'static str,
    /// The likeliest next token.
    pub next: &'static str,
    /// Where the new tokens go in a cache.
    pub update: &'static str,
    /// Cosines of the positions.
    pub cos: &'static str,
    /// Their sines.
    pub sin: &'static str,
    /// Which row's logits are wanted.
    pub last: &'static str,
    /// Hidden values that another package made.
    pub hidden: &'static str,
    /// Hidden values for the next package.
    pub handed: &'static str,
}

impl Names {
    /// Those of Hugging Face's transformers.
    pub const TRANSFORMERS: Self = Self {
        ids: "input_ids",
        position: Some("position"),
        mask: "causal_mask",
        keys: "key_cache",
        values: "value_cache",
        logits: "logits",
        next: "next_token",
        update: "update_mask",
        cos: "rope_cos",
        sin: "rope_sin",
        last: "last_row",
        hidden: "hidden_states",
        handed: "output_hidden_states",
    };

    /// Those that Hugging Face's swift-transformers loads.
    pub const SWIFT_TRANSFORMERS: Self = Self {
        ids: "inputIds",
        position: None,
        mask: "causalMask",
        keys: "keyCache",
        values: "valueCache",
        logits: "logits",
        next: "nextToken",
        update: "updateMask",
        cos: "ropeCos",
        sin: "ropeSin",
        last: "lastRow",
        hidden: "hiddenStates",
        handed: "outputHiddenStates",
    };
}

/// The package of a decoder: `prefill` and `decode` over caches, or `main`.
///
/// `main` takes a whole text where nothing is kept, and `prefill_chunk` tokens over caches below
/// ios18, whose packages have one function.
///
/// # Errors
/// [`Error::Usage`] for a context that learned positions or the chunk do not allow, and for a place of
/// the caches that the style has not; [`Error::Bug`] for a description that does not hold together.
pub fn build(decoder: &Decoder, weights: &Weights, options: &Options) -> Result<Program> {
    let mut programs = build_chunks(decoder, weights, options, 1)?;
    programs.pop().ok_or_else(|| Error::bug("a decoder", "without a package"))
}

/// The packages of a decoder in so many chunks, in the order in which they run; each has the functions
/// that [`build`]'s has.
///
/// # Errors
/// As [`build`], and [`Error::Usage`] for more chunks than layers, and for chunks where one function
/// takes any number of tokens over states: who feeds that runs one package.
pub fn build_chunks(
    decoder: &Decoder,
    weights: &Weights,
    options: &Options,
    count: usize,
) -> Result<Vec<Program>> {
    match (options.style, options.kv) {
        (Style::Ane, None) => {
            return Err(Error::Usage(
                "--unit ane: the Neural Engine takes no text of any length; choose --kv state or io"
                    .into(),
            ));
        }
        (Style::Gpu, Some(Kv::Io)) => {
            return Err(Error::Usage(
                "--kv io belongs to --unit ane; for the GPU, caches are states (--kv state)".into(),
            ));
        }
        (Style::Ane, Some(_)) | (Style::Gpu, None | Some(Kv::State)) => {}
    }
    let is_ranged = options.kv.is_some() && options.names.position.is_none();
    if options.names.position.is_none() && count > 1 {
        return Err(Error::Usage(
            "--chunks beside --names swift-transformers: that runtime runs one package".into(),
        ));
    }
    if is_ranged && options.style == Style::Ane {
        return Err(Error::Usage(
            "--names swift-transformers: that runtime feeds ids and one mask, not what --unit ane \
             takes; choose --unit gpu"
                .into(),
        ));
    }
    if options.kv.is_some() && !is_ranged && options.context / 2 < options.prefill_chunk {
        let (context, chunk) = (options.context, options.prefill_chunk);
        return Err(Error::Usage(match chunk {
            1 => format!("--context {context}: a text over caches has 2 tokens at the least"),
            _ => format!(
                "--context {context} is less than two calls of {chunk} tokens; choose a smaller \
                 --prefill-chunk"
            ),
        }));
    }
    if decoder.positions.is_some() && options.context > decoder.longest {
        return Err(Error::Usage(format!(
            "--context {}: the model has learned {} positions, and knows no further ones",
            options.context, decoder.longest
        )));
    }
    let parts = Part::all(decoder, weights, count)?;
    let one = |(number, part)| {
        let mut program = program(part, weights, options)?;
        if count > 1 {
            let names = options.names;
            let chunk = Chunk {
                number: number + 1,
                of: count,
                layers: part.layers.clone(),
                input: if part.is_first { names.ids } else { names.hidden }.into(),
                output: if part.is_last { names.logits } else { names.handed }.into(),
            };
            program.metadata.user.insert(CHUNK.into(), chunk.to_json());
        }
        Ok(program)
    };
    parts.iter().enumerate().map(one).collect()
}

/// The package of a part.
fn program(part: &Part, weights: &Weights, options: &Options) -> Result<Program> {
    let is_ranged = options.kv.is_some() && options.names.position.is_none();
    let mut names = BTreeMap::new();
    let mut one = |tokens| function(part, weights, options, tokens, &mut names);
    let mut program = if options.kv.is_none() || is_ranged {
        Program::single(one(Tokens::Any)?)
    } else if options.target < Target::Ios18 {
        Program::single(one(Tokens::Fixed(options.prefill_chunk))?)
    } else {
        let functions = [
            ("prefill".to_owned(), one(Tokens::Fixed(options.prefill_chunk))?),
            ("decode".to_owned(), one(Tokens::Fixed(1))?),
        ];
        Program {
            functions: functions.into(),
            default_function: "decode".into(),
            ..Program::default()
        }
    };
    program.metadata.user = names;
    if options.style == Style::Ane {
        let host = Host::new(&part.decoder, options);
        let host = Host { last: host.last.filter(|_| part.is_last), ..host };
        program.metadata.user.insert(HOST.into(), host.to_json());
    }
    Ok(program)
}

fn function(
    part: &Part,
    weights: &Weights,
    options: &Options,
    tokens: Tokens,
    names: &mut BTreeMap<String, String>,
) -> Result<Function> {
    let mut emitter = Emitter::new(weights, options.float).with_style(options.style);
    let e = &mut emitter;
    let decoder = &part.decoder;
    let mut feed = Feed::new(e, part, options, tokens)?;
    let mut memory = feed.memory.take();
    let mut x = match part.is_first {
        true => embed(e, decoder, &feed)?,
        false => blocks::hidden(e, "given", feed.given, decoder.hidden)?,
    };
    for (number, layer) in decoder.layers.iter().enumerate() {
        e.enter(format!("layers_{}", part.layers.start + number));
        let normed = blocks::norm(e, "attention_norm", x, &layer.attention_norm)?;
        let memory = memory.as_mut().map(|memory| &mut **memory as &mut dyn Memory);
        let around = &feed.around;
        let mut y = blocks::attention(e, around, memory, number, normed, &layer.attention)?;
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
    match part.is_last {
        true => finish(e, decoder, options, &feed, x)?,
        false => hand_on(e, decoder, options.names.handed, x)?,
    }
    if let Some(memory) = &mut memory {
        memory.finish(e)?;
    }
    names.extend(e.named_weights().clone());
    Ok(emitter.finish())
}

/// Returns hidden values to the caller, for the next package.
fn hand_on(e: &mut Emitter<'_>, decoder: &Decoder, name: &str, x: ValueId) -> Result<()> {
    let x = match e.style() {
        Style::Gpu => e.named("identity", name, &[("x", x)])?,
        Style::Ane => blocks::rows(e, name, x, decoder.hidden)?,
    };
    e.builder().output(x, "what the next package takes, [1, T, coordinates]");
    Ok(())
}

/// Returns logits, and what is asked for of them.
fn finish(
    e: &mut Emitter<'_>,
    decoder: &Decoder,
    options: &Options,
    feed: &Feed,
    x: ValueId,
) -> Result<()> {
    // The head is the largest product of a short step: rows that nobody reads are left out before it.
    let (x, after, rows) = match feed.last {
        None => (x, "each one given", "T"),
        Some(row) => (only(e, decoder, x, row)?, "the row asked for", "1"),
    };
    let x = blocks::norm(e, "norm", x, &decoder.norm)?;
    let logits = head(e, decoder, x, options.names.logits)?;
    let about = format!("scores of the next token after {after}, [1, {rows}, vocabulary]");
    e.builder().output(logits, &about);
    if options.argmax {
        let axis = e.int(-1)?;
        let arguments = [("x", logits), ("axis", axis)];
        let next = e.named("reduce_argmax", options.names.next, &arguments)?;
        e.builder().output(next, &format!("the likeliest token after {after}, [1, {rows}]"));
    }
    Ok(())
}

/// Hidden values of the ids.
///
/// The rows of the table are gathered inside the package, also for the Neural Engine: Core ML runs
/// that one operation on the CPU, and the table, which is often the head as well, is stored once.
fn embed(e: &mut Emitter<'_>, decoder: &Decoder, feed: &Feed) -> Result<ValueId> {
    let table = e.weight(decoder.embedding, &[decoder.vocabulary, decoder.hidden])?;
    let mut x = e.gather("embedded", table, feed.given)?;
    if let Some(scale) = decoder.embedding_scale {
        let scale = e.number(scale)?;
        x = e.mul("embedded_scaled", x, scale)?;
    }
    if let Some(positions) = decoder.positions {
        let table = e.weight(positions, &[decoder.longest, decoder.hidden])?;
        let rows = feed.rows_within(e, "positions", table, [decoder.longest, decoder.hidden])?;
        x = e.add("embedded_placed", x, rows)?;
    }
    blocks::hidden(e, "embedded", x, decoder.hidden)
}

/// One row of hidden values: that of an index, or, for the Neural Engine, of a one-hot row.
pub(super) fn only(
    e: &mut Emitter<'_>,
    decoder: &Decoder,
    x: ValueId,
    row: ValueId,
) -> Result<ValueId> {
    match e.style() {
        Style::Gpu => {
            let zero = e.ints(&[0])?;
            let begin = e.concat("last_begin", &[zero, row, zero], 0)?;
            let size = e.ints(&[1, 1, decoder.hidden as i32])?;
            e.op("slice_by_size", "last", &[("x", x), ("begin", begin), ("size", size)])
        }
        Style::Ane => {
            // Chosen, not multiplied: an infinite value of another row would make NaN of this one.
            let (half, zero) = (e.number(0.5)?, e.number(0.0)?);
            let is_last = e.op("greater", "last_chosen", &[("x", row), ("y", half)])?;
            let arguments = [("cond", is_last), ("a", x), ("b", zero)];
            let x = e.op("select", "last_alone", &arguments)?;
            let (columns, kept) = (e.ints(&[3])?, e.flag(true)?);
            e.op("reduce_sum", "last", &[("x", x), ("axes", columns), ("keep_dims", kept)])
        }
    }
}

/// Logits `[1, T, V]` under the name that callers see.
fn head(e: &mut Emitter<'_>, decoder: &Decoder, x: ValueId, name: &str) -> Result<ValueId> {
    if e.style() == Style::Ane {
        let mut raw = blocks::linear(e, "logits_channels", x, &decoder.head)?;
        if let Some(cap) = decoder.softcap {
            raw = blocks::softcap(e, "logits_capped", raw, cap)?;
        }
        return blocks::rows(e, name, raw, decoder.vocabulary);
    }
    // No decoder's head has a bias.
    let Linear { weight, shape: [inputs, outputs], .. } = decoder.head;
    let arguments = [("x", x), ("weight", e.weight(weight, &[outputs, inputs])?)];
    match decoder.softcap {
        None => e.named("linear", name, &arguments),
        Some(cap) => {
            let raw = e.op("linear", "logits_raw", &arguments)?;
            blocks::softcap(e, name, raw, cap)
        }
    }
}
