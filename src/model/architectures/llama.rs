//! `llama`.

use super::family::{Defaults, Family};
use super::parts::activation;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::parameters::Checkpoint;
use crate::model::rope::Rope;

/// Describes a Llama.
pub(super) fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    let family = Family::read(config, context, Defaults::LLAMA)?;
    let mut form = family.form(activation(config, "hidden_act", Activation::Silu)?);
    let bias = config.flag_or("attention_bias", false)?;
    (form.qkv_bias, form.out_bias) = (bias, bias);
    form.mlp_bias = config.flag_or("mlp_bias", false)?;
    let rope = Rope::read(config, &family.wanted())?;
    config.finish()?;
    Ok(family.decoder(checkpoint, vec![rope], &vec![form; family.count]))
}
