//! `qwen2` and `qwen3`: Llama with a window in some layers. Qwen2 has biases of queries, keys and
//! values; Qwen3 has norms of query and key heads instead.

use super::family::{Defaults, Family, Form, sliding, windows};
use super::parts::activation;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::parameters::Checkpoint;
use crate::model::rope::Rope;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    Two,
    Three,
}

/// Describes a Qwen2.
pub(super) fn describe_2(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    // Biases always stand there, whatever this key says.
    config.flag_or("attention_bias", true)?;
    describe(config, checkpoint, context, Generation::Two)
}

/// Describes a Qwen3.
pub(super) fn describe_3(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    describe(config, checkpoint, context, Generation::Three)
}

/// Describes either.
fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
    generation: Generation,
) -> Result<Decoder> {
    let is_3 = generation == Generation::Three;
    let head_dim = is_3.then_some(128);
    let defaults = Defaults { kv_heads: Some(32), head_dim, longest: 32_768, ..Defaults::LLAMA };
    let family = Family::read(config, context, defaults)?;
    let mut form = family.form(activation(config, "hidden_act", Activation::Silu)?);
    form.head_norms = is_3;
    let bias = if is_3 { config.flag_or("attention_bias", false)? } else { false };
    (form.qkv_bias, form.out_bias) = (!is_3 || bias, bias);
    let slides = config.flag_or("use_sliding_window", false)?;
    let absent = (!config.is_null("sliding_window")).then_some(4096);
    let window = config.optional_size("sliding_window")?.or(absent).filter(|_| slides);
    let first = config.count_or("max_window_layers", 28)?;
    let sliding = sliding(config, family.count, |i| window.is_some() && i >= first)?;
    let windows = windows(config, &sliding, window)?;
    let rope = Rope::read(config, &family.wanted())?;
    config.finish()?;
    let forms: Vec<Form> = windows.into_iter().map(|window| Form { window, ..form }).collect();
    Ok(family.decoder(checkpoint, vec![rope], &forms))
}
