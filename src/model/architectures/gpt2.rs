//! `gpt2`: learned positions, layer norms with biases, a plain feed-forward network, and weights stored
//! as `[inputs, outputs]` (Conv1D).

use super::parts::{activation, context, head, layer_norm};
use crate::Result;
use crate::model::blocks::{Activation, Attention, Linear, Mlp, Norm, Qkv};
use crate::model::config::Config;
use crate::model::decoder::{Decoder, Layer};
use crate::model::parameters::Checkpoint;

/// What the layers share.
struct Gpt2 {
    hidden: usize,
    inner: usize,
    heads: usize,
    epsilon: f32,
    activation: Activation,
}

/// Describes a GPT-2.
pub(super) fn describe(
    config: &Config,
    c: &mut Checkpoint<'_>,
    asked: Option<usize>,
) -> Result<Decoder> {
    config.only("is_causal", true)?;
    // The library takes these under newer names, too, which win.
    let either = |old: &str, new: &str, default: usize| {
        let old = config.size_or(old, default)?;
        config.size_or(new, old)
    };
    let hidden = either("n_embd", "hidden_size", 768)?;
    let count = either("n_layer", "num_hidden_layers", 12)?;
    let heads = either("n_head", "num_attention_heads", 12)?;
    let longest = either("n_positions", "max_position_embeddings", 1024)?;
    let vocabulary = config.size("vocab_size")?;
    if !hidden.is_multiple_of(heads) {
        return Err(config.unsupported("n_head", &format!("it must divide {hidden} channels")));
    }
    let model = Gpt2 {
        hidden,
        inner: config.size_or("n_inner", 4 * hidden)?,
        heads,
        epsilon: config.positive_or("layer_norm_epsilon", 1e-5)? as f32,
        activation: activation(config, "activation_function", Activation::GeluTanh)?,
    };
    let scaled = config.flag_or("scale_attn_weights", true)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    // The same numbers in another order.
    config.flag_or("reorder_and_upcast_attn", false)?;
    config.only("add_cross_attention", false)?;
    let tied = config.flag_or("tie_word_embeddings", true)?;
    config.finish()?;

    c.find_prefix("wte.weight", &["transformer.", ""]);
    let embedding = c.take("wte.weight", &[vocabulary, hidden]);
    let positions = Some(c.take("wpe.weight", &[longest, hidden]));
    let layer = |number: usize| {
        let root = if scaled { ((hidden / heads) as f32).sqrt() } else { 1.0 };
        let layer = if by_layer { (number + 1) as f32 } else { 1.0 };
        model.layer(c, number, 1.0 / (root * layer))
    };
    let layers = (0..count).map(layer).collect();
    Ok(Decoder {
        vocabulary,
        hidden,
        longest,
        context: context(asked, longest),
        embedding,
        embedding_scale: None,
        positions,
        ropes: Vec::new(),
        layers,
        norm: model.norm(c, "ln_f"),
        head: head(c, tied, embedding, [hidden, vocabulary]),
        softcap: None,
    })
}

impl Gpt2 {
    fn layer(&self, c: &mut Checkpoint<'_>, number: usize, scale: f32) -> Layer {
        let (hidden, inner) = (self.hidden, self.inner);
        let name = |part: &str| format!("h.{number}.{part}");
        // The causal mask, and what it puts in place of hidden scores.
        c.pass_over(&name("attn.bias"));
        c.pass_over(&name("attn.masked_bias"));
        let qkv = Qkv::Fused(conv1d(c, &name("attn.c_attn"), [hidden, 3 * hidden]));
        let out = conv1d(c, &name("attn.c_proj"), [hidden, hidden]);
        let attention =
            Attention { scale, ..Attention::plain(self.heads, hidden / self.heads, qkv, out) };
        let mlp = Mlp::Plain {
            up: conv1d(c, &name("mlp.c_fc"), [hidden, inner]),
            down: conv1d(c, &name("mlp.c_proj"), [inner, hidden]),
            activation: self.activation,
        };
        Layer {
            attention_norm: self.norm(c, &name("ln_1")),
            attention,
            attention_post_norm: None,
            mlp_norm: self.norm(c, &name("ln_2")),
            mlp,
            mlp_post_norm: None,
        }
    }

    fn norm(&self, c: &mut Checkpoint<'_>, name: &str) -> Norm {
        layer_norm(c, name, ["weight", "bias"], self.hidden, self.epsilon)
    }
}

/// A linear layer whose weight is stored as `[inputs, outputs]`.
fn conv1d(c: &mut Checkpoint<'_>, name: &str, shape: [usize; 2]) -> Linear {
    let weight = c.take_transposed(&format!("{name}.weight"), shape);
    let bias = Some(c.take(&format!("{name}.bias"), &[shape[1]]));
    Linear { weight, bias, shape }
}
