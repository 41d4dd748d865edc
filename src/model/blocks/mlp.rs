//! Feed-forward networks and activations.

use super::{Activation, GateUp, Mlp, linear, part};
use crate::Result;
use crate::graph::ValueId;
use crate::model::emit::Emitter;

/// A feed-forward network.
pub(in crate::model) fn mlp(e: &mut Emitter<'_>, x: ValueId, mlp: &Mlp) -> Result<ValueId> {
    match mlp {
        Mlp::Plain { up, down, activation } => {
            let up = linear(e, "mlp_up", x, up)?;
            let active = self::activation(e, "mlp_active", up, *activation)?;
            linear(e, "mlp_down", active, down)
        }
        Mlp::Gated { gate_up, down, activation } => {
            let [gate, up] = match gate_up {
                GateUp::Split([gate, up]) => {
                    [linear(e, "mlp_gate", x, gate)?, linear(e, "mlp_up", x, up)?]
                }
                GateUp::Fused(both) => {
                    let inner = both.shape[1] / 2;
                    let both = linear(e, "mlp_gate_up", x, both)?;
                    [
                        part(e, "mlp_gate", both, 0..inner)?,
                        part(e, "mlp_up", both, inner..2 * inner)?,
                    ]
                }
            };
            let active = self::activation(e, "mlp_active", gate, *activation)?;
            let gated = e.mul("mlp_gated", active, up)?;
            linear(e, "mlp_down", gated, down)
        }
    }
}

/// An activation.
pub(in crate::model) fn activation(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    which: Activation,
) -> Result<ValueId> {
    let mode = match which {
        Activation::Tanh => return e.op("tanh", name, &[("x", x)]),
        Activation::Silu => return e.op("silu", name, &[("x", x)]),
        Activation::Relu => return e.op("relu", name, &[("x", x)]),
        Activation::Gelu => "EXACT",
        Activation::GeluTanh => "TANH_APPROXIMATION",
        Activation::GeluSigmoid => "SIGMOID_APPROXIMATION",
    };
    let mode = e.word(mode)?;
    e.op("gelu", name, &[("x", x), ("mode", mode)])
}

/// `c · tanh(x / c)`.
pub(in crate::model) fn softcap(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    cap: f32,
) -> Result<ValueId> {
    let shrink = e.number(1.0 / cap)?;
    let small = e.mul(&format!("{name}_small"), x, shrink)?;
    let bounded = e.op("tanh", &format!("{name}_tanh"), &[("x", small)])?;
    let cap = e.number(cap)?;
    e.mul(name, bounded, cap)
}
