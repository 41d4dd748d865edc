//! Scaled dot-product attention.

use super::arguments::{Arguments, Inferred, one, require};
use super::dims::{broadcast, may_equal};
use super::domain::{FLOAT, MASK};
use super::{Default, Param, Row};
use crate::target::Target;

pub(super) static ROWS: &[Row] = &[Row::new(
    "scaled_dot_product_attention",
    &[
        Param::tensor("query", FLOAT),
        Param::tensor("key", FLOAT),
        Param::tensor("value", FLOAT),
        Param::tensor("attn_mask", MASK).or(Default::Absent),
    ],
    attention,
)
.since(Target::Ios18)];

/// `softmax(q · kᵀ / √E + mask) · v`: q `[.., L, E]`, k `[.., S, E]`, v `[.., S, V]` → `[.., L, V]`.
/// The batches are equal, they do not broadcast; a mask of flags lets through where it is set.
fn attention(args: &Arguments<'_>) -> Inferred {
    let (query, key, value) = (args.tensor("query")?, args.tensor("key")?, args.tensor("value")?);
    let shapes = || format!("`query` is {query}, `key` {key} and `value` {value}");
    let rank = query.rank();
    require(rank >= 3 && key.rank() == rank && value.rank() == rank, shapes)?;
    let (batch, [length, inside]) = query.dims.split_at(rank - 2) else {
        return Err(shapes());
    };
    let [sequence, inside_key] = key.dims[rank - 2..] else { return Err(shapes()) };
    let [sequence_value, out] = value.dims[rank - 2..] else { return Err(shapes()) };
    let fits = may_equal(batch, &key.dims[..rank - 2])
        && may_equal(batch, &value.dims[..rank - 2])
        && inside.may_equal(inside_key)
        && sequence.may_equal(sequence_value);
    require(fits, shapes)?;
    if let Some(mask) = args.optional("attn_mask") {
        let scores = [batch, &[*length, sequence]].concat();
        let last = mask.dims.last().is_some_and(|last| last.may_equal(sequence));
        let whole = broadcast(&mask.dims, &scores).is_some_and(|dims| dims.len() == rank);
        require(last && whole, || format!("`attn_mask` is {mask}; {}", shapes()))?;
    }
    one(query.dtype, [batch, &[*length, out]].concat())
}
