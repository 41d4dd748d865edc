//! `phi3`: Llama with queries, keys and values in one layer, gate and up in another, and heads that
//! may rotate in part.

use super::family::{Defaults, Family};
use super::parts::activation;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::parameters::Checkpoint;
use crate::model::rope::{Rope, Wanted};

/// Describes a Phi-3.
pub(super) fn describe(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    let defaults = Defaults { epsilon: 1e-5, longest: 4096, ..Defaults::LLAMA };
    let family = Family::read(config, context, defaults)?;
    let mut form = family.form(activation(config, "hidden_act", Activation::Silu)?);
    form.fused = true;
    form.window = config.optional_size("sliding_window")?;
    // Of Phi-4-mini; the library reads neither.
    config.only("full_attn_mod", 1)?;
    config.only("interpolate_factor", 1)?;
    let wanted = Wanted { in_part: true, old_names: true, original: Some(4096), ..family.wanted() };
    let rope = Rope::read(config, &wanted)?;
    config.finish()?;
    Ok(family.decoder(checkpoint, vec![rope], &vec![form; family.count]))
}
