//! Attention: heads, rotation, cache, scores.
//!
//! Query heads that share a key head stand below each other, `[1, K, (H/K)·T, D]` beside keys
//! `[1, K, S, D]`: keys and values, which decoding reads from memory for every token, are never
//! copied for each query head.

use super::{Attention, Norm, Qkv, linear, softcap};
use crate::graph::ValueId;
use crate::model::emit::Emitter;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// What hidden scores get added in masks that the graph makes: far below any score, and finite in
/// FP16 also behind a score of −35,000.
pub(in crate::model) const MASKED: f32 = -30_000.0;

/// Cosines and sines of the tokens' positions, `[T, pairs]` each.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Angles {
    pub(in crate::model) cos: ValueId,
    pub(in crate::model) sin: ValueId,
    pub(in crate::model) pairs: usize,
}

/// What the layers of a function share.
#[derive(Debug, Default)]
pub(in crate::model) struct Around {
    /// By kind of rotation.
    pub(in crate::model) angles: Vec<Angles>,
    /// What is added to scores, by window: `[1, 1, T, S]`, or `[1, 1, 1, S]`.
    pub(in crate::model) masks: BTreeMap<Option<usize>, ValueId>,
    /// Whether every mask has one row, which serves all queries.
    pub(in crate::model) one_row: bool,
    /// Whether the target has fused attention.
    pub(in crate::model) fused: bool,
}

impl Around {
    /// The mask of layers with this window.
    fn mask(&self, window: Option<usize>) -> Result<ValueId> {
        let mask = self.masks.get(&window).copied();
        mask.ok_or_else(|| Error::bug("attention", format!("no mask for the window {window:?}")))
    }
}

/// Keys and values of earlier tokens.
pub(in crate::model) trait Memory {
    /// Takes the keys and values of a layer's new tokens, `[1, K, T, D]` each, and returns those of all
    /// that it attends to, `[1, K, S, D]`.
    fn exchange(
        &self,
        e: &mut Emitter<'_>,
        layer: usize,
        keys: ValueId,
        values: ValueId,
    ) -> Result<[ValueId; 2]>;
}

/// Attention of layer number `layer` over hidden values `[1, T, H]`.
pub(in crate::model) fn attention(
    e: &mut Emitter<'_>,
    around: &Around,
    memory: Option<&dyn Memory>,
    layer: usize,
    x: ValueId,
    of: &Attention,
) -> Result<ValueId> {
    let (heads, kv_heads, dim) = (of.heads, of.kv_heads, of.head_dim);
    let [q, k, v] = project(e, x, of)?;
    let q = split(e, "q", q, heads, dim, of.q_norm.as_ref())?;
    let k = split(e, "k", k, kv_heads, dim, of.k_norm.as_ref())?;
    let v = split(e, "v", v, kv_heads, dim, None)?;
    let [q, k] = match of.rope {
        None => [q, k],
        Some(kind) => {
            [rotate(e, "q_rope", q, around, kind, dim)?, rotate(e, "k_rope", k, around, kind, dim)?]
        }
    };
    let [k, v] = match memory {
        None => [k, v],
        Some(memory) => memory.exchange(e, layer, k, v)?,
    };
    let group = heads / kv_heads;
    let mask = mask(e, around, of.window, group)?;
    let (kv, d) = (kv_heads as i32, dim as i32);
    let q = if group == 1 { q } else { e.reshape("q_grouped", q, &[1, kv, -1, d])? };
    let usual = (of.scale * (dim as f32).sqrt() - 1.0).abs() < 1e-6;
    let y = if around.fused && usual && of.softcap.is_none() {
        let arguments = [("query", q), ("key", k), ("value", v), ("attn_mask", mask)];
        e.op("scaled_dot_product_attention", "attended", &arguments)?
    } else {
        scores(e, q, k, v, mask, of)?
    };
    let (h, width) = (heads as i32, (heads * dim) as i32);
    let y = if group == 1 { y } else { e.reshape("heads", y, &[1, h, -1, d])? };
    let y = e.transpose("heads_last", y, &[0, 2, 1, 3])?;
    let y = e.reshape("joined", y, &[1, -1, width])?;
    linear(e, "o", y, &of.out)
}

/// Queries, keys and values, `[1, T, heads · D]` each.
fn project(e: &mut Emitter<'_>, x: ValueId, of: &Attention) -> Result<[ValueId; 3]> {
    match &of.qkv {
        Qkv::Split([q, k, v]) => {
            Ok([linear(e, "q", x, q)?, linear(e, "k", x, k)?, linear(e, "v", x, v)?])
        }
        Qkv::Fused(all) => {
            let y = linear(e, "qkv", x, all)?;
            let (q, kv) = (of.heads * of.head_dim, of.kv_heads * of.head_dim);
            Ok([
                e.slice("q", y, 3, 2, 0..q)?,
                e.slice("k", y, 3, 2, q..q + kv)?,
                e.slice("v", y, 3, 2, q + kv..q + 2 * kv)?,
            ])
        }
    }
}

/// `[1, T, heads · D]` as `[1, heads, T, D]`, each head normed.
fn split(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    heads: usize,
    dim: usize,
    norm: Option<&Norm>,
) -> Result<ValueId> {
    let x = e.reshape(&format!("{name}_heads"), x, &[1, -1, heads as i32, dim as i32])?;
    let x = match norm {
        None => x,
        Some(norm) => super::norm(e, &format!("{name}_norm"), x, norm)?,
    };
    e.transpose(&format!("{name}_heads_first"), x, &[0, 2, 1, 3])
}

/// Turns the pairs `(i, i + d/2)` of the first coordinates of each head.
fn rotate(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    around: &Around,
    kind: usize,
    dim: usize,
) -> Result<ValueId> {
    let angles = &around.angles[kind];
    let (half, (cos, sin)) = (angles.pairs, (angles.cos, angles.sin));
    let part = |what: &str| format!("{name}_{what}");
    let first = e.slice(&part("first"), x, 4, 3, 0..half)?;
    let second = e.slice(&part("second"), x, 4, 3, half..2 * half)?;
    let (a, b) = (e.mul(&part("a"), first, cos)?, e.mul(&part("b"), second, sin)?);
    let (c, d) = (e.mul(&part("c"), second, cos)?, e.mul(&part("d"), first, sin)?);
    let turned_first = e.op("sub", &part("turned_first"), &[("x", a), ("y", b)])?;
    let turned_second = e.add(&part("turned_second"), c, d)?;
    let mut parts = vec![turned_first, turned_second];
    if 2 * half < dim {
        parts.push(e.slice(&part("rest"), x, 4, 3, 2 * half..dim)?);
    }
    e.concat(name, &parts, -1)
}

/// What is added to scores `[1, K, group · T, S]`: the mask, once for each query head of a group.
fn mask(
    e: &mut Emitter<'_>,
    around: &Around,
    window: Option<usize>,
    group: usize,
) -> Result<ValueId> {
    let mask = around.mask(window)?;
    if group == 1 || around.one_row {
        return Ok(mask);
    }
    let reps = e.ints(&[1, 1, group as i32, 1])?;
    e.op("tile", "mask_grouped", &[("x", mask), ("reps", reps)])
}

/// `softmax(cap(q · kᵀ · scale) + mask) · v`.
fn scores(
    e: &mut Emitter<'_>,
    q: ValueId,
    k: ValueId,
    v: ValueId,
    mask: ValueId,
    of: &Attention,
) -> Result<ValueId> {
    let scale = e.number(of.scale)?;
    // The smaller factor comes first: q · kᵀ of whole queries may pass 65504.
    let early = of.scale <= 1.0;
    let q = if early { e.mul("q_scaled", q, scale)? } else { q };
    let transpose = e.flag(true)?;
    let mut scores = e.op("matmul", "scores", &[("x", q), ("y", k), ("transpose_y", transpose)])?;
    if !early {
        scores = e.mul("scores_scaled", scores, scale)?;
    }
    if let Some(cap) = of.softcap {
        scores = softcap(e, "scores_capped", scores, cap)?;
    }
    let masked = e.add("scores_masked", scores, mask)?;
    let last = e.int(-1)?;
    let shares = e.op("softmax", "shares", &[("x", masked), ("axis", last)])?;
    e.op("matmul", "attended", &[("x", shares), ("y", v)])
}
