//! Decoders: what an architecture says of itself, and how that becomes functions.
//!
//! | module | what it builds |
//! |---|---|
//! | [`Decoder`] | the description that each architecture fills in |
//! | `feed` | where ids, positions and masks come from: the forms of a function |
//! | [`ane`] | the same for the Neural Engine: what a host feeds |
//! | `ranged` | a function for any number of tokens, whose position follows from shapes |
//! | `cache` | keys and values of earlier tokens |
//! | `chunk` | a decoder in several packages |
//! | `build` | the functions of a package |

pub mod ane;
mod build;
mod cache;
mod chunk;
mod feed;
mod ranged;
#[cfg(test)]
mod tests;

pub use super::emit::Style;
pub use build::{Names, Options, build, build_chunks};
pub use chunk::{CHUNK, Chunk};

use super::blocks::{Attention, Linear, Mlp, Norm};
use super::parameters::ParameterId;
use super::rope::Rope;
use crate::{Error, Result};

/// A decoder-only transformer.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Tokens that it knows.
    pub vocabulary: usize,
    /// Coordinates of the residual stream.
    pub hidden: usize,
    /// The longest text that it was trained for.
    pub longest: usize,
    /// The longest text that the package takes: its rotations are for that.
    pub context: usize,
    /// `[vocabulary, hidden]`.
    pub embedding: ParameterId,
    /// What embeddings are multiplied by.
    pub embedding_scale: Option<f32>,
    /// Learned positions `[longest, hidden]`, added to embeddings.
    pub positions: Option<ParameterId>,
    /// The kinds of rotation that its layers use.
    pub ropes: Vec<Rope>,
    /// From the first to the last.
    pub layers: Vec<Layer>,
    /// The norm behind the last.
    pub norm: Norm,
    /// `[vocabulary, hidden]`; the embedding, where the two are tied.
    pub head: Linear,
    /// `c · tanh(logits / c)`.
    pub softcap: Option<f32>,
}

impl Decoder {
    /// The kinds of rotation that its layers use, with their numbers.
    fn turned(&self) -> impl Iterator<Item = (usize, &Rope)> {
        let is_used =
            |kind: usize| self.layers.iter().any(|layer| layer.attention.rope == Some(kind));
        self.ropes.iter().enumerate().filter(move |(kind, _)| is_used(*kind))
    }

    /// How many key heads every layer has, and their coordinates.
    fn kv_heads(&self) -> Result<[usize; 2]> {
        let all = |layer: &Layer| [layer.attention.kv_heads, layer.attention.head_dim];
        let mut layers = self.layers.iter().map(all);
        let first = layers.next().filter(|first| layers.all(|other| other == *first));
        first.ok_or_else(|| {
            Error::bug("the cache", "layers with heads of different numbers or sizes")
        })
    }
}

/// One layer: `x + post(attention(pre(x)))`, then the same with the feed-forward network.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Before attention.
    pub attention_norm: Norm,
    /// Attention.
    pub attention: Attention,
    /// Behind it, before the sum.
    pub attention_post_norm: Option<Norm>,
    /// Before the feed-forward network.
    pub mlp_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// Behind it, before the sum.
    pub mlp_post_norm: Option<Norm>,
}
