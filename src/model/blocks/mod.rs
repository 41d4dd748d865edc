//! Blocks that models share: what they are, and the operations that they become.
//!
//! | module | blocks |
//! |---|---|
//! | `linear` | [`Linear`] |
//! | `conv` | [`Conv`], over images |
//! | `norm` | [`Norm`] |
//! | `mlp` | [`Mlp`], [`Activation`] |
//! | `attention` | [`Attention`]: heads, rotation, scores |
//! | `tokens` | hidden values as callers see them |
//!
//! A block takes and returns hidden values: `[1, T, H]`, or `[1, H, 1, T]` in the style of the Neural
//! Engine ([`Style`](super::emit::Style)); a convolution, images `[1, C, height, width]`.

mod attention;
mod conv;
mod linear;
mod mlp;
mod norm;
mod tokens;

pub(super) use attention::{Angles, Around, MASKED, Memory, attention};
pub(super) use conv::conv;
pub(super) use linear::{linear, part};
pub(super) use mlp::{activation, mlp, softcap};
pub(super) use norm::norm;
pub(super) use tokens::{first, hidden, linear_of_one, rows};

use super::parameters::ParameterId;

/// A norm over the hidden axis, or over the coordinates of a head.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// The gains `g`.
    pub weight: ParameterId,
    /// What keeps the root from zero, `ε`.
    pub epsilon: f32,
    /// How many coordinates.
    pub size: usize,
}

/// A kind of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `g · x / √(mean(x²) + ε)`.
    Rms {
        /// Whether gains are stored as what they exceed 1 by: `1 + g` in place of `g`.
        gains_from_one: bool,
    },
    /// `g · (x − mean(x)) / √(var(x) + ε) + b`.
    Layer {
        /// The offsets `b`.
        bias: ParameterId,
    },
}

/// `x · Wᵀ + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: ParameterId,
    /// `[outputs]`.
    pub bias: Option<ParameterId>,
    /// Inputs and outputs.
    pub shape: [usize; 2],
}

/// A convolution.
#[derive(Clone, Debug)]
pub struct Conv {
    /// `[outputs, inputs, height, width]`.
    pub weight: ParameterId,
    /// `[outputs]`.
    pub bias: Option<ParameterId>,
    /// The weight's shape.
    pub shape: [usize; 4],
    /// Down and across.
    pub strides: [usize; 2],
    /// Zeros on each side.
    pub pad: usize,
}

/// Attention of one layer.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, which divide them.
    pub kv_heads: usize,
    /// Coordinates of a head.
    pub head_dim: usize,
    /// Queries, keys and values.
    pub qkv: Qkv,
    /// Back to the hidden axis.
    pub out: Linear,
    /// A norm of each query head.
    pub q_norm: Option<Norm>,
    /// A norm of each key head.
    pub k_norm: Option<Norm>,
    /// What scores are multiplied by.
    pub scale: f32,
    /// `c · tanh(scores / c)`.
    pub softcap: Option<f32>,
    /// How many positions back a token sees, itself included.
    pub window: Option<usize>,
    /// Which of [`super::decoder::Decoder::ropes`].
    pub rope: Option<usize>,
}

impl Attention {
    /// As many key heads as query heads, scores over `√head_dim`, and nothing else.
    pub fn plain(heads: usize, head_dim: usize, qkv: Qkv, out: Linear) -> Self {
        Self {
            heads,
            kv_heads: heads,
            head_dim,
            qkv,
            out,
            q_norm: None,
            k_norm: None,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            window: None,
            rope: None,
        }
    }
}

/// Where queries, keys and values come from.
#[derive(Clone, Debug)]
pub enum Qkv {
    /// Three layers.
    Split([Linear; 3]),
    /// One, with outputs in this order.
    Fused(Linear),
}

/// A feed-forward network.
#[derive(Clone, Debug)]
pub enum Mlp {
    /// `down(activation(gate(x)) · up(x))`.
    Gated {
        /// The gate and its partner.
        gate_up: GateUp,
        /// Back to the hidden axis.
        down: Linear,
        /// Of the gate.
        activation: Activation,
    },
    /// `down(activation(up(x)))`.
    Plain {
        /// To the inner axis.
        up: Linear,
        /// Back.
        down: Linear,
        /// Between the two.
        activation: Activation,
    },
}

/// Where a gate and its partner come from.
#[derive(Clone, Debug)]
pub enum GateUp {
    /// Two layers.
    Split([Linear; 2]),
    /// One, with the outputs of the gate first.
    Fused(Linear),
}

/// An activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x/2 · (1 + erf(x/√2))`.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    GeluSigmoid,
    /// `tanh(x)`.
    Tanh,
}

impl Activation {
    /// Names that [`Activation::find`] knows, for a message.
    pub const KNOWN: &str =
        "silu, relu, tanh, gelu, gelu_new, gelu_pytorch_tanh and quick_gelu are supported";

    /// The activation of this name in Hugging Face's configurations.
    pub fn find(name: &str) -> Option<Self> {
        Some(match name {
            "silu" | "swish" => Self::Silu,
            "relu" => Self::Relu,
            "tanh" => Self::Tanh,
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast"
            | "gelu_accurate" => Self::GeluTanh,
            "quick_gelu" => Self::GeluSigmoid,
            _ => return None,
        })
    }
}
