//! Attention: heads, rotation, cache, scores.
//!
//! | module | hidden values |
//! |---|---|
//! | `rows` | `[1, T, H]`: all heads in one product, fused where the target has it |
//! | `channels` | `[1, H, 1, T]`: one product for each key head, no transpose |

mod channels;
mod rows;

use super::{Attention, Norm, Qkv, linear, part, softcap};
use crate::graph::ValueId;
use crate::model::emit::{Emitter, Style};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// What hidden scores get added in masks that the graph makes: far below any score, and finite in
/// FP16 also behind a score of −35,000.
pub(in crate::model) const MASKED: f32 = -30_000.0;

/// Cosines and sines of the tokens' positions: `[T, pairs]`, or `[1, 1, pairs, T]` where channels come
/// first.
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
    pub(in crate::model) angles: BTreeMap<usize, Angles>,
    /// What is added to scores, by window: `[1, 1, T, S]`, or `[1, 1, 1, S]`. Without any, every token
    /// sees all.
    pub(in crate::model) masks: BTreeMap<Option<usize>, ValueId>,
    /// Whether every mask has one row, which serves all queries.
    pub(in crate::model) one_row: bool,
    /// Whether the target has fused attention.
    pub(in crate::model) fused: bool,
}

impl Around {
    /// The mask of layers with this window.
    fn mask(&self, window: Option<usize>) -> Result<Option<ValueId>> {
        match self.masks.get(&window) {
            None if self.masks.is_empty() && window.is_none() => Ok(None),
            None => Err(Error::bug("attention", format!("no mask for the window {window:?}"))),
            mask => Ok(mask.copied()),
        }
    }
}

/// Keys and values of earlier tokens.
pub(in crate::model) trait Memory: std::fmt::Debug {
    /// Takes the keys and values of a layer's new tokens, `[1, K, T, D]` each, and returns those of all
    /// that it attends to, `[1, K, S, D]`; where channels come first, `[1, K, D, T]` and
    /// `[1, K, D, S]`.
    fn exchange(
        &mut self,
        e: &mut Emitter<'_>,
        layer: usize,
        keys: ValueId,
        values: ValueId,
    ) -> Result<[ValueId; 2]>;

    /// Stores, behind the last layer, what is not stored yet.
    fn finish(&mut self, e: &mut Emitter<'_>) -> Result<()>;
}

/// Attention of layer number `layer` over hidden values.
pub(in crate::model) fn attention(
    e: &mut Emitter<'_>,
    around: &Around,
    memory: Option<&mut dyn Memory>,
    layer: usize,
    x: ValueId,
    of: &Attention,
) -> Result<ValueId> {
    let projected = project(e, x, of)?;
    let [q, k, v] = heads(e, around, projected, of)?;
    let [k, v] = match memory {
        None => [k, v],
        Some(memory) => memory.exchange(e, layer, k, v)?,
    };
    let y = match e.style() {
        Style::Gpu => rows::attend(e, around, [q, k, v], of)?,
        Style::Ane => channels::attend(e, around, [q, k, v], of)?,
    };
    linear(e, "o", y, &of.out)
}

/// Queries, keys and values by heads, normed and turned: `[1, heads, T, D]`, or `[1, heads, D, T]` where
/// channels come first.
fn heads(
    e: &mut Emitter<'_>,
    around: &Around,
    [q, k, v]: [ValueId; 3],
    of: &Attention,
) -> Result<[ValueId; 3]> {
    let (heads, kv_heads, dim) = (of.heads, of.kv_heads, of.head_dim);
    // Coordinates of a head lie along this axis.
    let (axis, split) = match e.style() {
        Style::Gpu => (3, rows::split as Split),
        Style::Ane => (2, channels::split as Split),
    };
    let q = split(e, "q", q, heads, dim, of.q_norm.as_ref())?;
    let k = split(e, "k", k, kv_heads, dim, of.k_norm.as_ref())?;
    let v = split(e, "v", v, kv_heads, dim, None)?;
    let Some(kind) = of.rope else { return Ok([q, k, v]) };
    let angles = around.angles.get(&kind).copied();
    let angles = angles.ok_or_else(|| Error::bug("attention", format!("no angles {kind}")))?;
    let q = rotate(e, "q_rope", q, angles, axis, dim)?;
    Ok([q, rotate(e, "k_rope", k, angles, axis, dim)?, v])
}

/// Hidden values by heads of so many coordinates, each normed.
type Split = fn(&mut Emitter<'_>, &str, ValueId, usize, usize, Option<&Norm>) -> Result<ValueId>;

/// Queries, keys and values: hidden values of `heads · D` coordinates each.
fn project(e: &mut Emitter<'_>, x: ValueId, of: &Attention) -> Result<[ValueId; 3]> {
    match &of.qkv {
        Qkv::Split([q, k, v]) => {
            Ok([linear(e, "q", x, q)?, linear(e, "k", x, k)?, linear(e, "v", x, v)?])
        }
        Qkv::Fused(all) => {
            let y = linear(e, "qkv", x, all)?;
            let (q, kv) = (of.heads * of.head_dim, of.kv_heads * of.head_dim);
            Ok([
                part(e, "q", y, 0..q)?,
                part(e, "k", y, q..q + kv)?,
                part(e, "v", y, q + kv..q + 2 * kv)?,
            ])
        }
    }
}

/// Turns the pairs `(i, i + d/2)` of the first coordinates of each head, which lie along `axis` of
/// four.
fn rotate(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    angles: Angles,
    axis: usize,
    dim: usize,
) -> Result<ValueId> {
    let (half, (cos, sin)) = (angles.pairs, (angles.cos, angles.sin));
    let part = |what: &str| format!("{name}_{what}");
    let first = e.slice(&part("first"), x, 4, axis, 0..half)?;
    let second = e.slice(&part("second"), x, 4, axis, half..2 * half)?;
    let (a, b) = (e.mul(&part("a"), first, cos)?, e.mul(&part("b"), second, sin)?);
    let (c, d) = (e.mul(&part("c"), second, cos)?, e.mul(&part("d"), first, sin)?);
    let turned_first = e.op("sub", &part("turned_first"), &[("x", a), ("y", b)])?;
    let turned_second = e.add(&part("turned_second"), c, d)?;
    let mut parts = vec![turned_first, turned_second];
    if 2 * half < dim {
        parts.push(e.slice(&part("rest"), x, 4, axis, 2 * half..dim)?);
    }
    e.concat(name, &parts, axis as i32)
}

/// `softmax(cap(q · kᵀ · scale) + mask)` over the last axis; `transposed` is which of the two,
/// `transpose_x` or `transpose_y`, has its coordinates where the product does not want them.
fn shares(
    e: &mut Emitter<'_>,
    q: ValueId,
    k: ValueId,
    transposed: &str,
    mask: Option<ValueId>,
    of: &Attention,
) -> Result<ValueId> {
    let scale = e.number(of.scale)?;
    // The smaller factor comes first: q · kᵀ of whole queries may pass 65504.
    let early = of.scale <= 1.0;
    let q = if early { e.mul("q_scaled", q, scale)? } else { q };
    let yes = e.flag(true)?;
    let mut scores = e.op("matmul", "scores", &[("x", q), ("y", k), (transposed, yes)])?;
    if !early {
        scores = e.mul("scores_scaled", scores, scale)?;
    }
    if let Some(cap) = of.softcap {
        scores = softcap(e, "scores_capped", scores, cap)?;
    }
    let masked = match mask {
        None => scores,
        Some(mask) => e.add("scores_masked", scores, mask)?,
    };
    let last = e.int(-1)?;
    e.op("softmax", "shares", &[("x", masked), ("axis", last)])
}
