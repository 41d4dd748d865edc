//! The way through attention: its values, by rows of the layer before; what it gives, by columns of the one
//! behind.
//!
//! Each head's output is a mean of its values, so a coordinate that is divided in all values is divided
//! in the output. Where query heads share a value head, `group` of them stand one after the other, and
//! one coordinate of values is as many columns of the layer behind.

use super::Repeat;
use crate::graph::{Flow, Operation, ValueId};

/// What `joined`, `[1, T, heads · D]`, comes from through attention over rows: values `[1, S, K · D]`, and
/// how often each of their columns stands among those of `joined`.
pub(super) fn values(flow: &Flow<'_>, joined: ValueId) -> Option<(ValueId, Repeat)> {
    let heads_last = made_by(flow, joined, "reshape")?.argument("x")?;
    let turned = made_by(flow, alone(flow, heads_last)?, "transpose")?;
    let mut found = swapped(flow, turned)?;
    let [heads, dim] = sizes(flow, found, [1, 3])?;
    (last(flow, joined)? == heads * dim).then_some(())?;
    let mut kv_heads = heads;
    if let Some(grouped) = made_by(flow, alone(flow, found)?, "reshape") {
        // `[1, K, group · T, D]`: the same elements in the same order.
        found = grouped.argument("x")?;
        let [of_values, same] = sizes(flow, found, [1, 3])?;
        kv_heads = of_values;
        (same == dim && kv_heads > 0 && heads.is_multiple_of(kv_heads)).then_some(())?;
    }
    let (_, attended) = flow.maker(alone(flow, found)?)?;
    let flag = |param| flow.function.value(attended.argument(param)?).constant.as_ref()?.as_bool();
    let values = match attended.row.name {
        "scaled_dot_product_attention" => attended.argument("value")?,
        "matmul" if !flag("transpose_y").unwrap_or(false) => attended.argument("y")?,
        _ => return None,
    };
    (sizes(flow, values, [1, 3])? == [kv_heads, dim]).then_some(())?;
    let apart = swapped(flow, made_by(flow, alone(flow, values)?, "transpose")?)?;
    let whole = made_by(flow, alone(flow, apart)?, "reshape")?.argument("x")?;
    (last(flow, whole)? == kv_heads * dim && rank(flow, whole)? == 3).then_some(())?;
    let repeat = match heads / kv_heads {
        1 => Repeat::ONCE,
        times => Repeat { block: dim, times },
    };
    Some((alone(flow, whole)?, repeat))
}

/// A value that one operation alone reads.
fn alone(flow: &Flow<'_>, id: ValueId) -> Option<ValueId> {
    flow.only_reader(id).map(|_| id)
}

/// The operation that makes a value, if it is this one.
fn made_by<'f>(flow: &Flow<'f>, id: ValueId, name: &str) -> Option<&'f Operation> {
    flow.maker(id).map(|(_, operation)| operation).filter(|operation| operation.row.name == name)
}

/// What a transpose reads that exchanges the two axes in the middle of four.
fn swapped(flow: &Flow<'_>, transpose: &Operation) -> Option<ValueId> {
    let order = flow.function.value(transpose.argument("perm")?).constant.as_ref()?.as_ints()?;
    matches!(order[..], [0, 2 | -2, 1 | -3, 3 | -1]).then(|| transpose.argument("x"))?
}

fn rank(flow: &Flow<'_>, id: ValueId) -> Option<usize> {
    Some(flow.function.value(id).ty.tensor()?.rank())
}

/// The sizes of two axes of a tensor of rank 4.
fn sizes(flow: &Flow<'_>, id: ValueId, axes: [usize; 2]) -> Option<[usize; 2]> {
    let dims = &flow.function.value(id).ty.tensor()?.dims;
    let [a, b] = axes.map(|axis| dims.get(axis).filter(|_| dims.len() == 4)?.size());
    Some([a?, b?])
}

/// The size of the last axis.
fn last(flow: &Flow<'_>, id: ValueId) -> Option<usize> {
    flow.function.value(id).ty.tensor()?.dims.last()?.size()
}
