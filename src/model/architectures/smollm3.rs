//! `smollm3`: Llama with some layers that do not rotate.

use super::family::{Defaults, Family, Form, sliding, windows};
use super::parts::activation;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::parameters::Checkpoint;
use crate::model::rope::Rope;

/// Describes a SmolLM3.
pub(super) fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    let defaults =
        Defaults { kv_heads: Some(4), theta: 2e6, longest: 32_768, tied: true, ..Defaults::LLAMA };
    let family = Family::read(config, context, defaults)?;
    let mut form = family.form(activation(config, "hidden_act", Activation::Silu)?);
    let bias = config.flag_or("attention_bias", false)?;
    (form.qkv_bias, form.out_bias) = (bias, bias);
    form.mlp_bias = config.flag_or("mlp_bias", false)?;
    // The key's name says the contrary: 1 stands where a layer rotates.
    let interval = config.size_or("no_rope_layer_interval", 4)?;
    let listed = config.optional_flags("no_rope_layers")?;
    let by_interval = || (1..=family.count).map(|i| !i.is_multiple_of(interval)).collect();
    let rotates: Vec<bool> = listed.unwrap_or_else(by_interval);
    if rotates.len() != family.count {
        let can = format!("it must hold 0 or 1 for each of {} layers", family.count);
        return Err(config.unsupported("no_rope_layers", &can));
    }
    let slides = config.flag_or("use_sliding_window", false)?;
    let window = config.optional_size("sliding_window")?.filter(|_| slides);
    let sliding = sliding(config, family.count, |i| window.is_some() && !rotates[i])?;
    let windows = windows(config, &sliding, window)?;
    // Left in the file by Qwen's, whose rule for windows this class does not follow.
    config.has("max_window_layers");
    let rope = Rope::read(config, &family.wanted())?;
    config.finish()?;
    let form = |(window, &rotates): (_, &bool)| Form { window, rope: rotates.then_some(0), ..form };
    let forms: Vec<Form> = windows.into_iter().zip(&rotates).map(form).collect();
    Ok(family.decoder(checkpoint, vec![rope], &forms))
}
