//! From tokens to one vector.
//!
//! All of it is computed in FP32: sums over hundreds of tokens and squares over hundreds of coordinates
//! lose too much in FP16, and cost nothing beside the layers.

use super::{Pooling, Sentence};
use crate::Result;
use crate::graph::{DataType, ValueId};
use crate::model::emit::Emitter;

/// What is pooled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    /// Hidden values `[1, T, H]`.
    pub(super) x: ValueId,
    /// 1 for a token, 0 for padding: INT32 `[1, T]`.
    pub(super) mask: ValueId,
    /// T, INT32 `[1]`.
    pub(super) count: ValueId,
}

/// The embedding of a text, `[1, D]` in FP32.
pub(super) fn embedding(
    e: &mut Emitter<'_>,
    name: &str,
    tokens: &Tokens,
    hidden: usize,
    sentence: &Sentence,
) -> Result<ValueId> {
    let x = match e.float() {
        DataType::Float32 => tokens.x,
        _ => e.cast("tokens_wide", tokens.x, DataType::Float32)?,
    };
    let tokens = Tokens { x, ..*tokens };
    let one = |e: &mut Emitter<'_>, pooling| pooled(e, &tokens, hidden, pooling);
    let pooled = match &sentence.pooling[..] {
        [pooling] => one(e, *pooling)?,
        several => {
            let parts = several.iter().map(|pooling| one(e, *pooling));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            e.concat("pooled", &parts, 1)?
        }
    };
    if !sentence.normalize {
        return e.named("identity", name, &[("x", pooled)]);
    }
    let (axes, keep) = (e.ints(&[1])?, e.flag(true)?);
    let arguments = [("x", pooled), ("axes", axes), ("keep_dims", keep)];
    let length = e.op("reduce_l2_norm", "length", &arguments)?;
    let length = at_least(e, "length_some", length, 1e-12)?;
    e.named("real_div", name, &[("x", pooled), ("y", length)])
}

/// One way to pool, `[1, H]`.
fn pooled(
    e: &mut Emitter<'_>,
    tokens: &Tokens,
    hidden: usize,
    pooling: Pooling,
) -> Result<ValueId> {
    let Tokens { x, mask, .. } = *tokens;
    match pooling {
        Pooling::First => {
            let first = e.slice("first_token", x, 3, 1, 0..1)?;
            e.reshape("pooled_first", first, &[1, hidden as i32])
        }
        Pooling::Last => {
            let places = places(e, tokens)?;
            let shown = e.mul("places_shown", places, mask)?;
            let last = reduce(e, "reduce_max", "last_place", shown)?;
            let last = e.reshape("last_row", last, &[1])?;
            let axis = e.int(1)?;
            let token = [("x", x), ("indices", last), ("axis", axis)];
            let token = e.op("gather", "last_token", &token)?;
            e.reshape("pooled_last", token, &[1, hidden as i32])
        }
        Pooling::Max => {
            let shown = e.cast("shown_wide", mask, DataType::Float32)?;
            let (one, far) = (number(e, 1.0)?, number(e, 1e9)?);
            let padding = e.op("sub", "shown_less", &[("x", shown), ("y", one)])?;
            let far = e.mul("padding_far", padding, far)?;
            let far = e.reshape("padding_rows", far, &[1, -1, 1])?;
            let x = e.add("tokens_shown", x, far)?;
            reduce(e, "reduce_max", "pooled_max", x)
        }
        Pooling::Mean => {
            let weights = e.cast("shown_wide", mask, DataType::Float32)?;
            weighted(e, "mean", x, weights, false)
        }
        Pooling::MeanBySqrt => {
            let weights = e.cast("shown_wide", mask, DataType::Float32)?;
            weighted(e, "mean_sqrt", x, weights, true)
        }
        Pooling::WeightedMean => {
            let (places, one) = (places(e, tokens)?, e.int(1)?);
            let ranks = e.add("ranks", places, one)?;
            let weights = e.mul("ranks_shown", ranks, mask)?;
            let weights = e.cast("ranks_wide", weights, DataType::Float32)?;
            weighted(e, "mean_weighted", x, weights, false)
        }
    }
}

/// `Σ w·x / Σ w`, or `Σ w·x / √Σ w`.
fn weighted(
    e: &mut Emitter<'_>,
    name: &str,
    x: ValueId,
    weights: ValueId,
    root: bool,
) -> Result<ValueId> {
    let part = |what: &str| format!("{name}_{what}");
    let total = reduce(e, "reduce_sum", &part("total"), weights)?;
    let total = e.reshape(&part("total_row"), total, &[1, 1])?;
    let mut total = at_least(e, &part("total_some"), total, 1e-9)?;
    if root {
        total = e.op("sqrt", &part("root"), &[("x", total)])?;
    }
    let weights = e.reshape(&part("rows"), weights, &[1, -1, 1])?;
    let x = e.mul(&part("tokens"), x, weights)?;
    let sum = reduce(e, "reduce_sum", &part("sum"), x)?;
    e.op("real_div", &format!("pooled_{name}"), &[("x", sum), ("y", total)])
}

/// A reduction over the tokens, which are axis 1.
fn reduce(e: &mut Emitter<'_>, operation: &str, name: &str, x: ValueId) -> Result<ValueId> {
    let (axes, keep) = (e.ints(&[1])?, e.flag(false)?);
    e.op(operation, name, &[("x", x), ("axes", axes), ("keep_dims", keep)])
}

/// 0, 1, … for the tokens: INT32 `[1, T]`.
fn places(e: &mut Emitter<'_>, tokens: &Tokens) -> Result<ValueId> {
    let zero = e.ints(&[0])?;
    let places = e.range("places", zero, tokens.count)?;
    e.reshape("places_row", places, &[1, -1])
}

fn at_least(e: &mut Emitter<'_>, name: &str, x: ValueId, least: f32) -> Result<ValueId> {
    let least = number(e, least)?;
    e.op("maximum", name, &[("x", x), ("y", least)])
}

fn number(e: &mut Emitter<'_>, value: f32) -> Result<ValueId> {
    e.number_in(DataType::Float32, value)
}
