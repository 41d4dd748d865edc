//! Encoders: what an architecture says of itself, and how that becomes a function.
//!
//! | module | what it builds |
//! |---|---|
//! | [`Encoder`] | the description that each architecture fills in |
//! | `build` | the function of a package: inputs, embeddings, layers, outputs |
//! | `sentence` | what sentence-transformers puts behind a model: pooling, normalization |
//! | `pool` | the operations of that |
//!
//! | input | type | |
//! |---|---|---|
//! | `input_ids` | INT32 `[1, T]` | T from 1 to the context |
//! | `attention_mask` | INT32 `[1, T]` | 1 for a token, 0 for padding |
//! | `token_type_ids` | INT32 `[1, T]` | only of a classifier with several token types, which tells pairs of texts apart; every other model takes type 0, Hugging Face's default |
//!
//! | output | type | of |
//! |---|---|---|
//! | `sentence_embedding` | FP32 `[1, D]` | folders of sentence-transformers, which have no other |
//! | `last_hidden_state` | `[1, T, H]` | every other model |
//! | `pooler_output` | `[1, H]` | checkpoints with a pooler |
//! | `logits` | `[1, labels]` | classifiers of texts |

mod build;
mod pool;
mod sentence;
#[cfg(test)]
mod tests;

pub use build::{Options, build};
pub use sentence::{Pooling, Sentence};

use super::blocks::{Activation, Attention, Linear, Mlp, Norm};
use super::parameters::ParameterId;

/// An encoder-only transformer whose norms follow the sums.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Tokens that it knows.
    pub vocabulary: usize,
    /// Coordinates of the residual stream.
    pub hidden: usize,
    /// The longest text that it has positions for, in tokens.
    pub longest: usize,
    /// `[vocabulary, hidden]`.
    pub words: ParameterId,
    /// Learned positions.
    pub positions: Positions,
    /// Learned types of tokens.
    pub types: Option<Types>,
    /// The norm of the embeddings.
    pub norm: Norm,
    /// From the first to the last.
    pub layers: Vec<Layer>,
    /// `pooler_output`, from the first token.
    pub pooler: Option<Dense>,
    /// `logits` of the whole text.
    pub classifier: Option<Classifier>,
    /// What becomes of the tokens in a folder of sentence-transformers.
    pub sentence: Option<Sentence>,
}

impl Encoder {
    /// The longest text that it is used for, in tokens: sentence-transformers cuts texts to a length of
    /// its own.
    pub fn usual(&self) -> usize {
        let cut = self.sentence.as_ref().and_then(|sentence| sentence.longest);
        cut.map_or(self.longest, |cut| cut.min(self.longest))
    }
}

/// Learned positions.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    /// `[rows, hidden]`.
    pub table: ParameterId,
    /// Rows of the table.
    pub rows: usize,
    /// The id of padding, where positions count the ids that are none and begin behind this number, which
    /// padding itself has; else token t has position t.
    pub padding: Option<usize>,
}

/// Learned types of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Types {
    /// `[rows, hidden]`.
    pub table: ParameterId,
    /// Rows of the table.
    pub rows: usize,
    /// Whether the caller gives them; else all tokens are of type 0.
    pub given: bool,
}

/// One layer: `norm(x + attention(x))`, then the same with the feed-forward network.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Attention.
    pub attention: Attention,
    /// Behind the first sum.
    pub attention_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// Behind the second sum.
    pub mlp_norm: Norm,
}

/// `activation(x · Wᵀ + b)`.
#[derive(Clone, Debug)]
pub struct Dense {
    /// The layer.
    pub linear: Linear,
    /// Behind it.
    pub activation: Activation,
}

/// `logits` of a text.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// From the first token; without, `pooler_output` takes its place.
    pub inner: Option<Dense>,
    /// To the labels.
    pub out: Linear,
    /// What the labels are called.
    pub labels: Vec<String>,
}
