//! What the decoders share that descend from Llama: pre-norms, rotary positions, grouped key heads, a
//! gated feed-forward network.
//!
//! Each architecture reads the keys of [`Family::read`] with its own defaults, then says of every
//! layer what [`Form`] asks.

use super::parts::{context, head, linear};
use crate::Result;
use crate::model::blocks::{Activation, Attention, GateUp, Mlp, Norm, NormKind, Qkv};
use crate::model::config::Config;
use crate::model::decoder::{Decoder, Layer};
use crate::model::parameters::Checkpoint;
use crate::model::rope::{Rope, Wanted};

/// The library's defaults, where architectures differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    /// Key heads, where the key is absent; without, as many as query heads.
    pub(super) kv_heads: Option<usize>,
    /// Coordinates of a head; without, the share of the hidden axis.
    pub(super) head_dim: Option<usize>,
    pub(super) epsilon: f64,
    pub(super) theta: f64,
    pub(super) longest: usize,
    pub(super) tied: bool,
    /// Whether gains are stored as what they exceed 1 by.
    pub(super) gains_from_one: bool,
}

/// The keys that every one of them has.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) vocabulary: usize,
    pub(super) count: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    /// The longest text that it was trained for.
    pub(super) longest: usize,
    /// The longest text that the package takes.
    pub(super) context: usize,
    pub(super) epsilon: f32,
    pub(super) tied: bool,
    default_theta: f64,
    gains_from_one: bool,
}

/// What layers of one architecture, or one of its layers, are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Of queries, keys and values.
    pub(super) qkv_bias: bool,
    /// Behind attention.
    pub(super) out_bias: bool,
    pub(super) mlp_bias: bool,
    /// Queries, keys and values are one layer, and gate and up are.
    pub(super) fused: bool,
    /// Norms of each query and key head.
    pub(super) head_norms: bool,
    /// Norms behind attention and behind the feed-forward network, too.
    pub(super) post_norms: bool,
    /// What scores are multiplied by.
    pub(super) scale: f32,
    /// `c · tanh(scores / c)`.
    pub(super) softcap: Option<f32>,
    /// How many positions back a token sees, itself included; without, all.
    pub(super) window: Option<usize>,
    /// Which of the decoder's rotations; without, none.
    pub(super) rope: Option<usize>,
    /// Of the gate.
    pub(super) activation: Activation,
}

impl Defaults {
    /// Llama's.
    pub(super) const LLAMA: Self = Self {
        kv_heads: None,
        head_dim: None,
        epsilon: 1e-6,
        theta: 1e4,
        longest: 2048,
        tied: false,
        gains_from_one: false,
    };
}

impl Family {
    /// Reads the common keys. `asked` is the longest text that the package is to take.
    pub(super) fn read(config: &Config, asked: Option<usize>, defaults: Defaults) -> Result<Self> {
        // transformers 5 makes an encoder of a decoder with false.
        config.only("is_causal", true)?;
        let hidden = config.size("hidden_size")?;
        let heads = config.size("num_attention_heads")?;
        let kv_default = if config.is_null("num_key_value_heads") {
            heads
        } else {
            defaults.kv_heads.unwrap_or(heads)
        };
        let kv_heads = config.size_or("num_key_value_heads", kv_default)?;
        let head_dim = config.size_or("head_dim", defaults.head_dim.unwrap_or(hidden / heads))?;
        if !heads.is_multiple_of(kv_heads) {
            let can = format!("it must divide the {heads} query heads");
            return Err(config.unsupported("num_key_value_heads", &can));
        }
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(config.unsupported("head_dim", "it must be even, so that coordinates pair"));
        }
        let longest = config.size_or("max_position_embeddings", defaults.longest)?;
        Ok(Self {
            hidden,
            inner: config.size("intermediate_size")?,
            vocabulary: config.size("vocab_size")?,
            count: config.size("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            longest,
            context: context(asked, longest),
            epsilon: config.positive_or("rms_norm_eps", defaults.epsilon)? as f32,
            tied: config.flag_or("tie_word_embeddings", defaults.tied)?,
            default_theta: defaults.theta,
            gains_from_one: defaults.gains_from_one,
        })
    }

    /// The form of a plain Llama layer.
    pub(super) fn form(&self, activation: Activation) -> Form {
        Form {
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            fused: false,
            head_norms: false,
            post_norms: false,
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            softcap: None,
            window: None,
            rope: Some(0),
            activation,
        }
    }

    /// What its rotations want, where layers are of one kind.
    pub(super) fn wanted(&self) -> Wanted<'static> {
        Wanted {
            head_dim: self.head_dim,
            default_theta: self.default_theta,
            kind: None,
            in_part: false,
            old_names: false,
            original: None,
            longest: self.longest,
            context: self.context,
        }
    }

    /// The decoder, its layers of these forms, in order.
    pub(super) fn decoder(
        &self,
        checkpoint: &mut Checkpoint<'_>,
        ropes: Vec<Rope>,
        forms: &[Form],
    ) -> Decoder {
        checkpoint.find_prefix("embed_tokens.weight", &["model.", ""]);
        let (hidden, vocabulary) = (self.hidden, self.vocabulary);
        let embedding = checkpoint.take("embed_tokens.weight", &[vocabulary, hidden]);
        let layers = forms.iter().enumerate().map(|(i, form)| self.layer(checkpoint, i, form));
        let layers = layers.collect();
        let norm = self.norm(checkpoint, "norm", hidden);
        Decoder {
            vocabulary,
            hidden,
            longest: self.longest,
            context: self.context,
            embedding,
            embedding_scale: None,
            positions: None,
            ropes,
            layers,
            norm,
            head: head(checkpoint, self.tied, embedding, [hidden, vocabulary]),
            softcap: None,
        }
    }

    fn layer(&self, c: &mut Checkpoint<'_>, number: usize, form: &Form) -> Layer {
        let name = |part: &str| format!("layers.{number}.{part}");
        let norm = |c: &mut Checkpoint<'_>, part: &str| self.norm(c, &name(part), self.hidden);
        // Older checkpoints carry the angles.
        c.pass_over(&name("self_attn.rotary_emb.inv_freq"));
        let attention_norm = norm(c, "input_layernorm");
        let attention = self.attention(c, &name("self_attn"), form);
        // With four norms, that behind attention has the name that else is of the one after it.
        let after = norm(c, "post_attention_layernorm");
        let (attention_post_norm, mlp_norm, mlp_post_norm) = if form.post_norms {
            let before = norm(c, "pre_feedforward_layernorm");
            let behind = norm(c, "post_feedforward_layernorm");
            (Some(after), before, Some(behind))
        } else {
            (None, after, None)
        };
        let mlp = self.mlp(c, &name("mlp"), form);
        Layer { attention_norm, attention, attention_post_norm, mlp_norm, mlp, mlp_post_norm }
    }

    fn attention(&self, c: &mut Checkpoint<'_>, name: &str, form: &Form) -> Attention {
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let part = |part: &str| format!("{name}.{part}");
        let qkv =
            if form.fused {
                let shape = [self.hidden, q + 2 * kv];
                Qkv::Fused(linear(c, &part("qkv_proj"), shape, form.qkv_bias))
            } else {
                Qkv::Split([("q_proj", q), ("k_proj", kv), ("v_proj", kv)].map(|(of, outputs)| {
                    linear(c, &part(of), [self.hidden, outputs], form.qkv_bias)
                }))
            };
        let mut head_norm = |of: &str| {
            let norm = || self.norm(c, &part(of), self.head_dim);
            form.head_norms.then(norm)
        };
        let (q_norm, k_norm) = (head_norm("q_norm"), head_norm("k_norm"));
        Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            qkv,
            out: linear(c, &part("o_proj"), [q, self.hidden], form.out_bias),
            q_norm,
            k_norm,
            scale: form.scale,
            softcap: form.softcap,
            window: form.window,
            rope: form.rope,
        }
    }

    fn mlp(&self, c: &mut Checkpoint<'_>, name: &str, form: &Form) -> Mlp {
        let part = |part: &str| format!("{name}.{part}");
        let gate_up = if form.fused {
            let shape = [self.hidden, 2 * self.inner];
            GateUp::Fused(linear(c, &part("gate_up_proj"), shape, form.mlp_bias))
        } else {
            let shape = [self.hidden, self.inner];
            GateUp::Split(
                ["gate_proj", "up_proj"].map(|of| linear(c, &part(of), shape, form.mlp_bias)),
            )
        };
        let down = linear(c, &part("down_proj"), [self.inner, self.hidden], form.mlp_bias);
        Mlp::Gated { gate_up, down, activation: form.activation }
    }

    fn norm(&self, c: &mut Checkpoint<'_>, name: &str, size: usize) -> Norm {
        Norm {
            kind: NormKind::Rms { gains_from_one: self.gains_from_one },
            weight: c.take(&format!("{name}.weight"), &[size]),
            epsilon: self.epsilon,
            size,
        }
    }
}

/// Which layers see a window only: by `layer_types`, or by a rule where that key is absent.
pub(super) fn sliding(
    config: &Config,
    layers: usize,
    by_rule: impl Fn(usize) -> bool,
) -> Result<Vec<bool>> {
    let Some(types) = config.optional_words("layer_types")? else {
        return Ok((0..layers).map(by_rule).collect());
    };
    let is_sliding = |word: &String| match word.as_str() {
        "sliding_attention" => Some(true),
        "full_attention" => Some(false),
        _ => None,
    };
    let types: Option<Vec<bool>> = types.iter().map(is_sliding).collect();
    types.filter(|types| types.len() == layers).ok_or_else(|| {
        let can =
            format!("it must be full_attention or sliding_attention for each of {layers} layers");
        config.unsupported("layer_types", &can)
    })
}

/// The window of each layer; one that slides needs a number.
pub(super) fn windows(
    config: &Config,
    sliding: &[bool],
    window: Option<usize>,
) -> Result<Vec<Option<usize>>> {
    if window.is_none() && sliding.contains(&true) {
        let can = "layers of the kind sliding_attention need a number of tokens";
        return Err(config.unsupported("sliding_window", can));
    }
    Ok(sliding.iter().map(|&slides| window.filter(|_| slides)).collect())
}
