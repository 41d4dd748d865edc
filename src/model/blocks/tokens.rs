//! Hidden values as callers see them, `[1, T, H]`, and as a style computes with them.

use super::{Linear, linear};
use crate::Result;
use crate::graph::ValueId;
use crate::model::emit::{Emitter, Style};

/// Rows `[1, T, H]` as the style has hidden values.
pub(in crate::model) fn hidden(
    e: &mut Emitter<'_>,
    name: &str,
    rows: ValueId,
    size: usize,
) -> Result<ValueId> {
    match e.style() {
        Style::Gpu => Ok(rows),
        Style::Ane => {
            let columns = e.transpose(&format!("{name}_channels"), rows, &[0, 2, 1])?;
            e.reshape(&format!("{name}_hidden"), columns, &[1, size as i32, 1, -1])
        }
    }
}

/// Hidden values as rows `[1, T, H]`; those of the Neural Engine under this very name.
pub(in crate::model) fn rows(
    e: &mut Emitter<'_>,
    name: &str,
    hidden: ValueId,
    size: usize,
) -> Result<ValueId> {
    match e.style() {
        Style::Gpu => Ok(hidden),
        Style::Ane => {
            let columns = e.reshape(&format!("{name}_columns"), hidden, &[1, size as i32, -1])?;
            let perm = e.ints(&[0, 2, 1])?;
            e.named("transpose", name, &[("x", columns), ("perm", perm)])
        }
    }
}

/// The first token of hidden values, `[1, H]`.
pub(in crate::model) fn first(
    e: &mut Emitter<'_>,
    hidden: ValueId,
    size: usize,
) -> Result<ValueId> {
    let token = match e.style() {
        Style::Gpu => e.slice("first_token", hidden, 3, 1, 0..1)?,
        Style::Ane => e.slice("first_token", hidden, 4, 3, 0..1)?,
    };
    e.reshape("first", token, &[1, size as i32])
}

/// `x · Wᵀ + b` of one vector: `[1, inputs]` to `[1, outputs]` in every style.
pub(in crate::model) fn linear_of_one(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    layer: &Linear,
) -> Result<ValueId> {
    if e.style() == Style::Gpu {
        return linear(e, name, x, layer);
    }
    let [inputs, outputs] = layer.shape.map(|size| size as i32);
    let x = e.reshape(&format!("{name}_from"), x, &[1, inputs, 1, 1])?;
    let y = linear(e, &format!("{name}_channels"), x, layer)?;
    e.reshape(name, y, &[1, outputs])
}
