//! Norms.

use super::{Norm, NormKind};
use crate::Result;
use crate::graph::{DataType, ValueId};
use crate::model::emit::Emitter;

/// A norm over the last axis.
///
/// It is taken in FP32 and rounded once. In FP16 the squares are infinite as soon as one coordinate passes
/// 256, and an ε such as BERT's 1e-12 is zero, which leaves a row of equal coordinates `0 · ∞`.
pub(in crate::model) fn norm(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    norm: &Norm,
) -> Result<ValueId> {
    let gains = e.weight(norm.weight, &[norm.size])?;
    let axes = e.ints(&[-1])?;
    match norm.kind {
        NormKind::Layer if e.float() == DataType::Float32 => {
            let epsilon = e.number(norm.epsilon)?;
            let mut arguments =
                vec![("x", x), ("axes", axes), ("gamma", gains), ("epsilon", epsilon)];
            if let Some(bias) = norm.bias {
                arguments.push(("beta", e.weight(bias, &[norm.size])?));
            }
            e.op("layer_norm", name, &arguments)
        }
        NormKind::Layer => {
            // The operation takes gains and offsets of the type of `x` only, and constants only.
            let (float, wide) = (e.float(), DataType::Float32);
            let x = e.cast(&format!("{name}_wide"), x, wide)?;
            let epsilon = e.number_in(wide, norm.epsilon)?;
            let arguments = [("x", x), ("axes", axes), ("epsilon", epsilon)];
            let unit = e.op("layer_norm", &format!("{name}_unit"), &arguments)?;
            let gains = e.cast(&format!("{name}_gains"), gains, wide)?;
            let mut y = e.mul(&format!("{name}_scaled"), unit, gains)?;
            if let Some(bias) = norm.bias {
                let bias = e.weight(bias, &[norm.size])?;
                let bias = e.cast(&format!("{name}_offsets"), bias, wide)?;
                y = e.add(&format!("{name}_placed"), y, bias)?;
            }
            e.cast(name, y, float)
        }
        NormKind::Rms { gains_from_one } => {
            let float = e.float();
            let wide = in_type(e, &format!("{name}_wide"), x, DataType::Float32)?;
            let squares = e.mul(&format!("{name}_squares"), wide, wide)?;
            let keep = e.flag(true)?;
            let arguments = [("x", squares), ("axes", axes), ("keep_dims", keep)];
            let mean = e.op("reduce_mean", &format!("{name}_mean"), &arguments)?;
            let epsilon = e.number_in(DataType::Float32, norm.epsilon)?;
            let arguments = [("x", mean), ("epsilon", epsilon)];
            let root = e.op("rsqrt", &format!("{name}_rsqrt"), &arguments)?;
            let unit = e.mul(&format!("{name}_unit"), wide, root)?;
            let mut gains = in_type(e, &format!("{name}_gains"), gains, DataType::Float32)?;
            if gains_from_one {
                let one = e.number_in(DataType::Float32, 1.0)?;
                gains = e.add(&format!("{name}_gains_from_one"), gains, one)?;
            }
            let y = match float {
                DataType::Float32 => e.mul(name, unit, gains)?,
                _ => {
                    let wide = e.mul(&format!("{name}_scaled"), unit, gains)?;
                    e.cast(name, wide, float)?
                }
            };
            match norm.bias {
                None => Ok(y),
                Some(bias) => {
                    let bias = e.weight(bias, &[norm.size])?;
                    e.add(&format!("{name}_biased"), y, bias)
                }
            }
        }
    }
}

/// `x` in this type; `x` itself where the function computes in it anyway.
fn in_type(e: &mut Emitter<'_>, name: &str, x: ValueId, to: DataType) -> Result<ValueId> {
    if e.float() == DataType::Float32 { Ok(x) } else { e.cast(name, x, to) }
}
