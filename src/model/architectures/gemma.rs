//! `gemma2` and `gemma3_text`: four norms a layer, whose gains are stored less one; embeddings scaled
//! by `√hidden`; layers with a window between layers without. Gemma 2 caps scores and logits; Gemma
//! 3 has norms of query and key heads, and two kinds of rotation.

use super::family::{Defaults, Family, Form, sliding, windows};
use super::parts::activation;
use crate::Result;
use crate::model::blocks::Activation;
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::parameters::Checkpoint;
use crate::model::rope::{Rope, Wanted};

/// Describes a Gemma 2.
pub(super) fn describe_2(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    let family = Family::read(config, context, defaults(1e4, 8192))?;
    let mut form = form(config, &family)?;
    form.softcap = cap(config, "attn_logit_softcapping", Some(50.0))?;
    let last = cap(config, "final_logit_softcapping", Some(30.0))?;
    // An old name of the next, which the library does not read.
    config.has("sliding_window_size");
    let sliding = sliding(config, family.count, |i| i.is_multiple_of(2))?;
    let windows =
        windows(config, &sliding, config.optional_size("sliding_window")?.or(Some(4096)))?;
    let rope = Rope::read(config, &family.wanted())?;
    config.finish()?;
    let forms: Vec<Form> = windows.into_iter().map(|window| Form { window, ..form }).collect();
    let decoder = family.decoder(checkpoint, vec![rope], &forms);
    Ok(scaled(decoder, last))
}

/// Describes a Gemma 3 that only reads text.
pub(super) fn describe_3(
    config: &Config,
    checkpoint: &mut Checkpoint<'_>,
    context: Option<usize>,
) -> Result<Decoder> {
    let family = Family::read(config, context, defaults(1e6, 131_072))?;
    let mut form = form(config, &family)?;
    form.head_norms = true;
    if config.has("attn_logit_softcapping") {
        let can = "models of this type are computed without it";
        return Err(config.unsupported("attn_logit_softcapping", can));
    }
    config.only("use_bidirectional_attention", false)?;
    let last = cap(config, "final_logit_softcapping", None)?;
    // The second key is what the library writes of the first.
    let every = config.size_or("sliding_window_pattern", 6)?;
    config.has("_sliding_window_pattern");
    let sliding = sliding(config, family.count, |i| !(i + 1).is_multiple_of(every))?;
    let windows =
        windows(config, &sliding, config.optional_size("sliding_window")?.or(Some(4096)))?;
    let full = Wanted { kind: Some("full_attention"), ..family.wanted() };
    let ropes = vec![Rope::read(config, &full)?, local(config, &family)?];
    config.finish()?;
    let kind = |(window, &slides)| Form { window, rope: Some(usize::from(slides)), ..form };
    let forms: Vec<Form> = windows.into_iter().zip(&sliding).map(kind).collect();
    let decoder = family.decoder(checkpoint, ropes, &forms);
    Ok(scaled(decoder, last))
}

/// The angles of layers with a window, which are never stretched.
fn local(config: &Config, family: &Family) -> Result<Rope> {
    let newer = config.optional_section("rope_parameters")?;
    let newer = newer.map(|all| all.optional_section("sliding_attention")).transpose()?.flatten();
    if newer.is_some() {
        let sliding = Some("sliding_attention");
        return Rope::read(
            config,
            &Wanted { kind: sliding, default_theta: 1e4, ..family.wanted() },
        );
    }
    Ok(Rope::plain(family.head_dim, config.positive_or("rope_local_base_freq", 1e4)?))
}

fn defaults(theta: f64, longest: usize) -> Defaults {
    Defaults {
        kv_heads: Some(4),
        head_dim: Some(256),
        epsilon: 1e-6,
        theta,
        longest,
        tied: true,
        gains_from_one: true,
    }
}

fn form(config: &Config, family: &Family) -> Result<Form> {
    let activation = activation(config, "hidden_activation", Activation::GeluTanh)?;
    // Old files have this key as well, and the library does not read it.
    config.has("hidden_act");
    let bias = config.flag_or("attention_bias", false)?;
    let scalar = config.positive_or("query_pre_attn_scalar", 256.0)?;
    Ok(Form {
        qkv_bias: bias,
        out_bias: bias,
        post_norms: true,
        scale: scalar.powf(-0.5) as f32,
        ..family.form(activation)
    })
}

/// A soft cap, which null turns off.
fn cap(config: &Config, key: &str, default: Option<f64>) -> Result<Option<f32>> {
    let default = default.filter(|_| !config.is_null(key));
    Ok(config.optional_positive(key)?.or(default).map(|cap| cap as f32))
}

/// With embeddings times `√hidden`, and capped logits.
fn scaled(decoder: Decoder, softcap: Option<f32>) -> Decoder {
    let scale = (decoder.hidden as f32).sqrt();
    Decoder { embedding_scale: Some(scale), softcap, ..decoder }
}
