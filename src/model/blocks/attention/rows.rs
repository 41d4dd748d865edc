//! Attention over `[1, T, H]`.
//!
//! Query heads that share a key head stand below each other, `[1, K, (H/K)·T, D]` beside keys
//! `[1, K, S, D]`: keys and values, which decoding reads from memory for every token, are never
//! copied for each query head.

use super::{Around, shares};
use crate::Result;
use crate::graph::ValueId;
use crate::model::blocks::{Attention, Norm, norm};
use crate::model::emit::Emitter;

/// What the queries of all heads find, `[1, T, heads · D]`.
pub(super) fn attend(
    e: &mut Emitter<'_>,
    around: &Around,
    [q, k, v]: [ValueId; 3],
    of: &Attention,
) -> Result<ValueId> {
    let (heads, kv_heads, dim) = (of.heads, of.kv_heads, of.head_dim);
    let group = heads / kv_heads;
    let mask = mask(e, around, of.window, group)?;
    let (kv, d) = (kv_heads as i32, dim as i32);
    let q = if group == 1 { q } else { e.reshape("q_grouped", q, &[1, kv, -1, d])? };
    let usual = (of.scale * (dim as f32).sqrt() - 1.0).abs() < 1e-6;
    let y = if around.fused && usual && of.softcap.is_none() {
        let mut arguments = vec![("query", q), ("key", k), ("value", v)];
        arguments.extend(mask.map(|mask| ("attn_mask", mask)));
        e.op("scaled_dot_product_attention", "attended", &arguments)?
    } else {
        let shares = shares(e, q, k, "transpose_y", mask, of)?;
        e.op("matmul", "attended", &[("x", shares), ("y", v)])?
    };
    let (h, width) = (heads as i32, (heads * dim) as i32);
    let y = if group == 1 { y } else { e.reshape("heads", y, &[1, h, -1, d])? };
    let y = e.transpose("heads_last", y, &[0, 2, 1, 3])?;
    e.reshape("joined", y, &[1, -1, width])
}

/// `[1, T, heads · D]` as `[1, heads, T, D]`, each head normed.
pub(super) fn split(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    heads: usize,
    dim: usize,
    of: Option<&Norm>,
) -> Result<ValueId> {
    let x = e.reshape(&format!("{name}_heads"), x, &[1, -1, heads as i32, dim as i32])?;
    let x = match of {
        None => x,
        Some(of) => norm(e, &format!("{name}_norm"), x, of)?,
    };
    e.transpose(&format!("{name}_heads_first"), x, &[0, 2, 1, 3])
}

/// What is added to scores `[1, K, group · T, S]`: the mask, once for each query head of a group.
fn mask(
    e: &mut Emitter<'_>,
    around: &Around,
    window: Option<usize>,
    group: usize,
) -> Result<Option<ValueId>> {
    let Some(mask) = around.mask(window)? else { return Ok(None) };
    if group == 1 || around.one_row {
        return Ok(Some(mask));
    }
    let reps = e.ints(&[1, 1, group as i32, 1])?;
    e.op("tile", "mask_grouped", &[("x", mask), ("reps", reps)]).map(Some)
}
