//! Attention over `[1, H, 1, T]`.
//!
//! Heads are channels, `[1, heads, D, T]`, which no number has to move for. Each key head meets its
//! query heads in a product of its own, and the keys `[1, 1, D, S]` are read as they lie in the cache.

use super::{Around, shares};
use crate::Result;
use crate::graph::ValueId;
use crate::model::blocks::{Attention, Norm, norm};
use crate::model::emit::Emitter;

/// What the queries of all heads find, `[1, heads · D, 1, T]`.
pub(super) fn attend(
    e: &mut Emitter<'_>,
    around: &Around,
    [q, k, v]: [ValueId; 3],
    of: &Attention,
) -> Result<ValueId> {
    let (heads, kv_heads, dim) = (of.heads, of.kv_heads, of.head_dim);
    let group = heads / kv_heads;
    let mask = around.mask(of.window)?;
    let mut found = Vec::with_capacity(kv_heads);
    for head in 0..kv_heads {
        let q = head_part(e, "q_of_head", q, heads, head * group..(head + 1) * group)?;
        let k = head_part(e, "k_of_head", k, kv_heads, head..head + 1)?;
        let v = head_part(e, "v_of_head", v, kv_heads, head..head + 1)?;
        let shares = shares(e, q, k, "transpose_x", mask, of)?;
        let yes = e.flag(true)?;
        let arguments = [("x", v), ("y", shares), ("transpose_y", yes)];
        found.push(e.op("matmul", "attended", &arguments)?);
    }
    let y = if found.len() == 1 { found[0] } else { e.concat("heads", &found, 1)? };
    e.reshape("joined", y, &[1, (heads * dim) as i32, 1, -1])
}

/// `[1, heads · D, 1, T]` as `[1, heads, D, T]`, each head normed.
pub(super) fn split(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    heads: usize,
    dim: usize,
    of: Option<&Norm>,
) -> Result<ValueId> {
    let (heads, dim) = (heads as i32, dim as i32);
    let x = match of {
        None => x,
        Some(of) => {
            // Coordinates on axis 1, as all norms have them.
            let x = e.reshape(&format!("{name}_apart"), x, &[heads, dim, 1, -1])?;
            norm(e, &format!("{name}_norm"), x, of)?
        }
    };
    e.reshape(&format!("{name}_heads"), x, &[1, heads, dim, -1])
}

/// Some heads of `[1, heads, ..]`; all of them are what is there.
fn head_part(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    heads: usize,
    part: std::ops::Range<usize>,
) -> Result<ValueId> {
    if part.len() == heads { Ok(x) } else { e.slice(name, x, 4, 1, part) }
}
