//! `mistral`: Llama with a window in every layer, and no biases.

use super::family::{Defaults, Family};
use super::parts::activation;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::parameters::Checkpoint;
use crate::model::rope::Rope;

/// Describes a Mistral.
pub(super) fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    let defaults = Defaults { kv_heads: Some(8), longest: 131_072, ..Defaults::LLAMA };
    let family = Family::read(config, context, defaults)?;
    let mut form = family.form(activation(config, "hidden_act", Activation::Silu)?);
    // Null means no window; an absent key means the library's.
    let absent = (!config.is_null("sliding_window")).then_some(4096);
    form.window = config.optional_size("sliding_window")?.or(absent);
    let rope = Rope::read(config, &family.wanted())?;
    config.finish()?;
    Ok(family.decoder(checkpoint, vec![rope], &vec![form; family.count]))
}
