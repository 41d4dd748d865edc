//! `vit`: a transformer over patches of an image.

use super::parts::{activation, labels, layer_norm, linear, linear_whole};
use crate::Result;
use crate::model::blocks::{Activation, Attention, Conv, Mlp, Norm, Qkv};
use crate::model::config::Config;
use crate::model::parameters::Checkpoint;
use crate::model::vision::vit::{Layer, Vit};
use crate::model::vision::{Body, Vision};

/// What the layers share.
struct Shared {
    hidden: usize,
    inner: usize,
    heads: usize,
    epsilon: f32,
    qkv_bias: bool,
    activation: Activation,
}

/// Describes a vision transformer.
pub(super) fn describe(config: &Config, c: &mut Checkpoint<'_>) -> Result<Vision> {
    let hidden = config.size_or("hidden_size", 768)?;
    let shared = Shared {
        hidden,
        inner: config.size_or("intermediate_size", 3072)?,
        heads: config.size_or("num_attention_heads", 12)?,
        epsilon: config.positive_or("layer_norm_eps", 1e-12)? as f32,
        qkv_bias: config.flag_or("qkv_bias", true)?,
        activation: activation(config, "hidden_act", Activation::Gelu)?,
    };
    if !hidden.is_multiple_of(shared.heads) {
        let can = format!("it must divide {hidden} channels");
        return Err(config.unsupported("num_attention_heads", &can));
    }
    let count = config.size_or("num_hidden_layers", 12)?;
    let channels = config.size_or("num_channels", 3)?;
    let image = config.sides_or("image_size", 224)?;
    let patch = config.sides_or("patch_size", 16)?;
    let [down, across] = [0, 1].map(|axis| image[axis] / patch[axis]);
    // Patches of products of two sizes, and the token in front.
    let tokens = down.checked_mul(across).filter(|&patches| (1..1 << 24).contains(&patches));
    let Some(tokens) = tokens.map(|patches| patches + 1) else {
        return Err(config.unsupported("patch_size", "an image must hold 1 to 2^24 patches"));
    };
    let labels = labels(config)?;
    // Of other heads: the pooler's, and that which paints hidden patches.
    for key in ["pooler_output_size", "pooler_act", "encoder_stride"] {
        config.has(key);
    }
    config.finish()?;

    c.find_prefix("embeddings.cls_token", &["vit.", ""]);
    c.pass_over("embeddings.mask_token");
    let projection = "embeddings.patch_embeddings.projection";
    let shape = [hidden, channels, patch[0], patch[1]];
    let weight = c.take(&format!("{projection}.weight"), &shape);
    let bias = Some(c.take(&format!("{projection}.bias"), &[hidden]));
    let patches = Conv { weight, bias, shape, strides: patch, pad: 0 };
    let first = c.take("embeddings.cls_token", &[1, 1, hidden]);
    let positions = c.take("embeddings.position_embeddings", &[1, tokens, hidden]);
    let layers = (0..count).map(|number| shared.layer(c, number)).collect();
    let norm = shared.norm(c, "layernorm");
    let body =
        Body::Vit(Vit { channels, image, patches, first, positions, tokens, hidden, layers, norm });
    let head = linear_whole(c, "classifier", [hidden, labels.len()]);
    Ok(Vision { body, head, labels })
}

impl Shared {
    fn layer(&self, c: &mut Checkpoint<'_>, number: usize) -> Layer {
        let (hidden, inner) = (self.hidden, self.inner);
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let attention_norm = self.norm(c, &name("layernorm_before"));
        let qkv = ["query", "key", "value"].map(|of| {
            let of = name(&format!("attention.attention.{of}"));
            linear(c, &of, [hidden, hidden], self.qkv_bias)
        });
        let out = linear(c, &name("attention.output.dense"), [hidden, hidden], true);
        let attention = Attention::plain(self.heads, hidden / self.heads, Qkv::Split(qkv), out);
        let mlp_norm = self.norm(c, &name("layernorm_after"));
        let mlp = Mlp::Plain {
            up: linear(c, &name("intermediate.dense"), [hidden, inner], true),
            down: linear(c, &name("output.dense"), [inner, hidden], true),
            activation: self.activation,
        };
        Layer { attention_norm, attention, mlp_norm, mlp }
    }

    fn norm(&self, c: &mut Checkpoint<'_>, name: &str) -> Norm {
        layer_norm(c, name, ["weight", "bias"], self.hidden, self.epsilon)
    }
}
