//! A transformer over the patches of an image, and one token more, which is classified.
//!
//! Source: arXiv 2010.11929.

use super::{HIDDEN, Seen};
use crate::Result;
use crate::graph::{Sizes, TensorType, ValueId};
use crate::model::blocks::{self, Around, Attention, Conv, Mlp, Norm};
use crate::model::emit::{Emitter, Style};
use crate::model::parameters::ParameterId;

/// A vision transformer.
#[derive(Clone, Debug)]
pub struct Vit {
    /// Channels of an image.
    pub channels: usize,
    /// Height and width of an image.
    pub image: [usize; 2],
    /// From each patch to a token.
    pub patches: Conv,
    /// The token in front of those, `[1, 1, H]`.
    pub first: ParameterId,
    /// What is added to each token, `[1, tokens, H]`.
    pub positions: ParameterId,
    /// Patches and the token in front.
    pub tokens: usize,
    /// Coordinates of a token.
    pub hidden: usize,
    /// From the first to the last.
    pub layers: Vec<Layer>,
    /// Behind the last.
    pub norm: Norm,
}

/// One layer: `x + attention(norm(x))`, then the same with the feed-forward network.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Before attention.
    pub attention_norm: Norm,
    /// Attention of all tokens to all.
    pub attention: Attention,
    /// Before the feed-forward network.
    pub mlp_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
}

impl Vit {
    /// `fused` says whether the target has fused attention.
    pub(super) fn emit(&self, e: &mut Emitter<'_>, fused: bool) -> Result<Seen> {
        let mut x = self.embed(e)?;
        let around = Around { fused, ..Around::default() };
        for (number, layer) in self.layers.iter().enumerate() {
            e.enter(format!("layers_{number}"));
            let normed = blocks::norm(e, "attention_norm", x, &layer.attention_norm)?;
            let y = blocks::attention(e, &around, None, number, normed, &layer.attention)?;
            x = e.add("attention_sum", x, y)?;
            let normed = blocks::norm(e, "mlp_norm", x, &layer.mlp_norm)?;
            let y = blocks::mlp(e, normed, &layer.mlp)?;
            x = e.add("mlp_sum", x, y)?;
        }
        e.enter("");
        let name = match e.style() {
            Style::Gpu => HIDDEN,
            Style::Ane => "last_hidden_channels",
        };
        let hidden = blocks::norm(e, name, x, &self.norm)?;
        let pooled = blocks::first(e, hidden, self.hidden)?;
        let hidden = blocks::rows(e, HIDDEN, hidden, self.hidden)?;
        Ok(Seen { hidden, about: "what all tokens became, [1, tokens, H]", pooled })
    }

    /// Hidden values of the patches, with positions.
    fn embed(&self, e: &mut Emitter<'_>) -> Result<ValueId> {
        let [height, width] = self.image;
        let ty = TensorType::fixed(e.float(), &[1, self.channels, height, width]);
        let about = "an image, normalized, [1, channels, height, width]";
        let pixels = e.input("pixel_values", ty, Sizes::Fixed, about)?;
        let patches = blocks::conv(e, "patches", pixels, &self.patches)?;
        let (hidden, count) = (self.hidden as i32, self.tokens as i32 - 1);
        // Both are constant: what a style makes of them is formed when the package is compiled.
        let first = e.weight(self.first, &[1, 1, self.hidden])?;
        let first = blocks::hidden(e, "first_patch", first, self.hidden)?;
        let positions = e.weight(self.positions, &[1, self.tokens, self.hidden])?;
        let positions = blocks::hidden(e, "positions", positions, self.hidden)?;
        let x = match e.style() {
            Style::Gpu => {
                let patches = e.reshape("patches_in_a_row", patches, &[1, hidden, count])?;
                let patches = e.transpose("patches_as_tokens", patches, &[0, 2, 1])?;
                e.concat("embedded", &[first, patches], 1)?
            }
            Style::Ane => {
                let patches = e.reshape("patches_in_a_row", patches, &[1, hidden, 1, count])?;
                e.concat("embedded", &[first, patches], 3)?
            }
        };
        e.add("embedded_placed", x, positions)
    }
}
