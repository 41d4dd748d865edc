//! Norms.

use super::{Norm, NormKind};
use crate::Result;
use crate::graph::{DataType, ValueId};
use crate::model::emit::{Emitter, Style};
use crate::model::parameters::ParameterId;

/// A norm over coordinates: the last axis, or axis 1 of four where channels come first.
///
/// For the GPU it is taken in FP32 and rounded once. In FP16 the squares are infinite as soon as one
/// coordinate passes 256, and an ε such as BERT's 1e-12 is zero, which leaves a row of equal
/// coordinates `0 · ∞`. The Neural Engine has no FP32: there the norm is one operation, and how wide it
/// sums is the device's affair.
pub(in crate::model) fn norm(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    norm: &Norm,
) -> Result<ValueId> {
    match (norm.kind, e.style(), e.float()) {
        (NormKind::Layer { bias }, Style::Gpu, DataType::Float32) => {
            layer(e, name, x, -1, norm, bias)
        }
        (NormKind::Layer { bias }, Style::Gpu, _) => wide_layer(e, name, x, norm, bias),
        (NormKind::Layer { bias }, Style::Ane, _) => layer(e, name, x, 1, norm, bias),
        (NormKind::Rms { gains_from_one }, Style::Gpu, _) => {
            wide_root(e, name, x, norm, gains_from_one)
        }
        (NormKind::Rms { gains_from_one }, Style::Ane, _) => {
            doubled(e, name, x, norm, gains_from_one)
        }
    }
}

/// A layer norm as one operation.
fn layer(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    axis: i32,
    norm: &Norm,
    bias: ParameterId,
) -> Result<ValueId> {
    let gains = e.weight(norm.weight, &[norm.size])?;
    let offsets = e.weight(bias, &[norm.size])?;
    unit(e, name, x, axis, norm.epsilon, &[("gamma", gains), ("beta", offsets)])
}

/// `(x − mean) / √(var + ε)` in the type that the function computes in.
fn unit(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    axis: i32,
    epsilon: f32,
    scaled: &[(&str, ValueId)],
) -> Result<ValueId> {
    // The least that FP16 can hold keeps a row of equal coordinates from 0 · ∞.
    let least = match e.float() {
        DataType::Float16 => half::f16::MIN_POSITIVE_SUBNORMAL.to_f32(),
        _ => 0.0,
    };
    let (axes, epsilon) = (e.ints(&[axis])?, e.number(epsilon.max(least))?);
    let arguments = [&[("x", x), ("axes", axes), ("epsilon", epsilon)], scaled].concat();
    e.op("layer_norm", name, &arguments)
}

/// A layer norm over the last axis in FP32. The operation takes gains and offsets of the type of `x`
/// only, and constants only.
fn wide_layer(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    norm: &Norm,
    bias: ParameterId,
) -> Result<ValueId> {
    let (float, wide) = (e.float(), DataType::Float32);
    let (gains, axes) = (e.weight(norm.weight, &[norm.size])?, e.ints(&[-1])?);
    let x = e.cast(&format!("{name}_wide"), x, wide)?;
    let epsilon = e.number_in(wide, norm.epsilon)?;
    let arguments = [("x", x), ("axes", axes), ("epsilon", epsilon)];
    let unit = e.op("layer_norm", &format!("{name}_unit"), &arguments)?;
    let gains = e.cast(&format!("{name}_gains"), gains, wide)?;
    let y = e.mul(&format!("{name}_scaled"), unit, gains)?;
    let offsets = e.weight(bias, &[norm.size])?;
    let offsets = e.cast(&format!("{name}_offsets"), offsets, wide)?;
    let y = e.add(&format!("{name}_placed"), y, offsets)?;
    e.cast(name, y, float)
}

/// A root mean square over the last axis in FP32.
fn wide_root(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    norm: &Norm,
    gains_from_one: bool,
) -> Result<ValueId> {
    let (gains, axes) = (e.weight(norm.weight, &[norm.size])?, e.ints(&[-1])?);
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
    match float {
        DataType::Float32 => e.mul(name, unit, gains),
        _ => {
            let wide = e.mul(&format!("{name}_scaled"), unit, gains)?;
            e.cast(name, wide, float)
        }
    }
}

/// A root mean square over axis 1, as the layer norm of `[x, −x]`, whose mean is 0 and whose variance
/// is the mean square: the Neural Engine has a fast kernel for that norm, and none for the bare root.
///
/// Gains stored as what they exceed 1 by are summed with it in FP16, which rounds them once; the sum
/// is constant, so it is formed when the package is compiled.
fn doubled(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    norm: &Norm,
    gains_from_one: bool,
) -> Result<ValueId> {
    let part = |what: &str| format!("{name}_{what}");
    let minus = e.number(-1.0)?;
    let negative = e.mul(&part("negative"), x, minus)?;
    let both = e.concat(&part("doubled"), &[x, negative], 1)?;
    let both = unit(e, &part("doubled_unit"), both, 1, norm.epsilon, &[])?;
    let unit = e.slice(&part("unit"), both, 4, 1, 0..norm.size)?;
    let mut gains = e.weight(norm.weight, &[norm.size, 1, 1])?;
    if gains_from_one {
        let one = e.number(1.0)?;
        gains = e.add(&part("gains_from_one"), gains, one)?;
    }
    e.mul(name, unit, gains)
}

/// `x` in this type; `x` itself where the function computes in it anyway.
fn in_type(e: &mut Emitter<'_>, name: &str, x: ValueId, to: DataType) -> Result<ValueId> {
    if e.float() == DataType::Float32 { Ok(x) } else { e.cast(name, x, to) }
}
