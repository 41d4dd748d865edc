//! Why INT8 ends, in words that teach.

use std::borrow::Cow;

/// Why an operation computes in float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No activation of the function is quantized.
    NoActivations,
    /// This activation is not quantized; it comes from this operation, or from an input.
    FloatActivation {
        /// `layer_norm`.
        from: String,
    },
    /// The result of an INT8 product goes into the next one without a pair between.
    NoPairBetween {
        /// The operation whose result it is.
        from: String,
    },
    /// A pair stands there, but what it returns is moved before the product reads it.
    MovedInput {
        /// `transpose`.
        by: String,
    },
    /// An INT8 product's result is moved in float before it becomes codes.
    MovedResult,
    /// The activation's codes have a scale for each channel.
    ActivationScales,
    /// The weight is stored in float.
    FloatWeight,
    /// The weight is what another operation computes.
    ComputedWeight,
    /// The palette's entries are float.
    FloatTable,
    /// Codes of fewer than 8 bits.
    NarrowCodes {
        /// `int4`.
        dtype: String,
    },
    /// A scale for each block of inputs.
    BlockScales,
    /// A scale for each input.
    InputScales,
    /// The weight has zero points.
    ZeroPoints,
    /// The weight is sparse.
    Sparse,
    /// Attention as one operation.
    FusedAttention,
    /// Only some operands of an `add`, `concat` or the like are INT8.
    OneSided,
    /// Operands are results of INT8 operations, read in float: no pair stands on any.
    FloatOperands,
    /// All operands are INT8, with different scales.
    UnequalScales,
    /// `softmax`.
    Softmax,
    /// A norm.
    Norm,
    /// A sum, mean or extreme over an axis.
    Reduction,
    /// A product of activations, element by element.
    Gate,
    /// States hold float.
    State,
    /// A function of one number that is not fused behind a product.
    Nonlinearity,
    /// Any other operation: it has no INT8 form.
    Unsupported,
}

impl Reason {
    /// A short name that stays the same.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoActivations => "activations-in-float",
            Self::FloatActivation { .. } => "float-activation",
            Self::NoPairBetween { .. } => "no-pair-between",
            Self::MovedInput { .. } => "moved-input",
            Self::MovedResult => "moved-result",
            Self::ActivationScales => "activation-scales",
            Self::FloatWeight => "float-weight",
            Self::ComputedWeight => "computed-weight",
            Self::FloatTable => "float-table",
            Self::NarrowCodes { .. } => "narrow-codes",
            Self::BlockScales => "block-scales",
            Self::InputScales => "input-scales",
            Self::ZeroPoints => "zero-points",
            Self::Sparse => "sparse",
            Self::FusedAttention => "fused-attention",
            Self::OneSided => "one-sided",
            Self::FloatOperands => "float-operands",
            Self::UnequalScales => "unequal-scales",
            Self::Softmax => "softmax",
            Self::Norm => "norm",
            Self::Reduction => "reduction",
            Self::Gate => "gate",
            Self::State => "state",
            Self::Nonlinearity => "nonlinearity",
            Self::Unsupported => "unsupported",
        }
    }

    /// The reason, and what would do where something would.
    #[rustfmt::skip]
    pub fn why(&self) -> Cow<'static, str> {
        match self {
            Self::NoActivations =>
                "no activation is quantized: codes are expanded to FP16 and the chip multiplies in \
                 FP16, however the weight is stored; calibrate, and quantize activations too".into(),
            Self::FloatActivation { from } => format!(
                "its activation comes in float from {from}: one FP16 operand makes the whole product \
                 FP16; a pair of quantize and dequantize in front would do").into(),
            Self::NoPairBetween { from } => format!(
                "takes the result of `{from}` without a pair between: that result is written in FP16, \
                 and this product computes in FP16").into(),
            Self::MovedInput { by } => format!(
                "{by} stands between the pair and the product, which the compiler looks for side by \
                 side; repeat the pair behind it").into(),
            Self::MovedResult =>
                "moves an INT8 product's result in FP16 before it is quantized; a pair right behind \
                 the product would let bytes move".into(),
            Self::ActivationScales =>
                "its activation has a scale for each channel; the hardware takes one a tensor".into(),
            Self::FloatWeight =>
                "its weight is stored in float; linear-int8, or a palette with lut-int8, makes it \
                 INT8".into(),
            Self::ComputedWeight =>
                "both operands are computed, and not both are INT8; a pair in front of each would \
                 do".into(),
            Self::FloatTable =>
                "the entries of its palette are FP16, and so is the arithmetic; lut-int8 stores INT8 \
                 entries".into(),
            Self::NarrowCodes { dtype } => format!(
                "its codes are {dtype}: the hardware multiplies 8-bit operands, and has no form that \
                 widens linear codes on the way; palette-4,lut-int8 keeps 4 bits").into(),
            Self::BlockScales =>
                "a scale for each block of inputs cannot be taken out of the sum over inputs; one a \
                 channel can".into(),
            Self::InputScales =>
                "a scale for each input cannot be taken out of the sum over inputs; one for each output \
                 channel can".into(),
            Self::ZeroPoints =>
                "zero points of its weight add a term for every activation, and the hardware has no \
                 stream for it; symmetric codes have none".into(),
            Self::Sparse =>
                "its weight is stored as a mask and values; that INT8 arithmetic takes this form is \
                 documented nowhere".into(),
            Self::FusedAttention =>
                "attention as one operation holds a softmax, and both of its products are float; as \
                 separate products, each can have its pairs".into(),
            Self::OneSided =>
                "only a part of its operands is INT8, so that it computes in float; pairs on all of \
                 them would do".into(),
            Self::FloatOperands =>
                "reads results of INT8 operations in float, without pairs, and computes in float; pairs \
                 on all of its operands would do, and pay where an INT8 layer follows".into(),
            Self::UnequalScales =>
                "its operands are INT8 with different scales, so that one is rescaled in float; one \
                 shared scale would do".into(),
            Self::Softmax =>
                "exponentials and their sum need more range than 8 bits; INT8 starts anew \
                 behind it".into(),
            Self::Norm =>
                "squares summed over all channels need more range than 8 bits; INT8 starts anew \
                 behind it".into(),
            Self::Reduction =>
                "reduces over an axis in float; INT8 starts anew behind it".into(),
            Self::Gate =>
                "multiplies activations with each other, element by element, which has no INT8 form; \
                 INT8 starts anew behind it".into(),
            Self::State =>
                "states hold FP16, so that what is written is expanded first".into(),
            Self::Nonlinearity =>
                "a function of single numbers, but not between a product and its pair: with a pair \
                 right behind, it is a table of 256 entries".into(),
            Self::Unsupported =>
                "has no INT8 form, so that it computes in float".into(),
        }
    }

    /// Why an operation of this type, which is none of those that INT8 passes through, ends it.
    pub(super) fn of_kind(kind: &str) -> Self {
        match kind {
            "softmax" => Self::Softmax,
            "layer_norm" | "instance_norm" | "batch_norm" | "l2_norm" | "local_response_norm" => {
                Self::Norm
            }
            _ if kind.starts_with("reduce_") || matches!(kind, "cumsum" | "topk" | "argsort") => {
                Self::Reduction
            }
            "mul" | "real_div" | "sub" | "maximum" | "minimum" | "pow" => Self::Gate,
            "write_state" | "read_state" => Self::State,
            _ => Self::Unsupported,
        }
    }
}
