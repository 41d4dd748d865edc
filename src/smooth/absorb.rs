//! What takes a division up.

use crate::graph::{Flow, Operation, ValueId};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// What would be divided in place of a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Absorbed {
    /// Constants, whose first axis (of a vector, the only one) is that of the channels, each with whether
    /// the size of the value follows from it: a weight or a gain, no offset.
    pub(super) constants: Vec<(ValueId, bool)>,
    /// The operations, by name, that read them so.
    pub(super) readers: BTreeSet<String>,
}

/// Where the channels of a value lie: so many axes before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) from_end: usize,
    pub(super) count: usize,
}

/// What would have to be divided for `id` to be; `None` where something in its way reads or mixes it
/// otherwise. `id` itself may be read by anyone who knows of the division.
pub(super) fn absorb(flow: &Flow<'_>, id: ValueId, channels: Channels) -> Option<Absorbed> {
    let mut absorbed = Absorbed::default();
    into(flow, id, channels, &mut absorbed)?;
    Some(absorbed)
}

fn into(flow: &Flow<'_>, id: ValueId, channels: Channels, absorbed: &mut Absorbed) -> Option<()> {
    let (_, operation) = flow.maker(id)?;
    // What stands before `id` is read by this operation alone.
    let before = |param: &str| {
        let x = operation.argument(param)?;
        flow.only_reader(x).map(|_| x)
    };
    let rank = |id: ValueId| Some(flow.function.value(id).ty.tensor()?.rank());
    match operation.row.name {
        "cast" | "relu" | "leaky_relu" | "prelu" | "identity" => {
            into(flow, before("x")?, channels, absorbed)
        }
        // Along the spatial axes alone.
        "max_pool" | "avg_pool" | "l2_pool" if rank(id)? == channels.from_end + 2 => {
            into(flow, before("x")?, channels, absorbed)
        }
        "reduce_mean" => {
            let x = before("x")?;
            let from_end = before_mean(flow, operation, rank(x)?, channels.from_end)?;
            into(flow, x, Channels { from_end, ..channels }, absorbed)
        }
        // `[.., C, 1, 1]` as `[.., C]`.
        "reshape" | "squeeze" if channels.from_end == 0 => {
            let x = before("x")?;
            let dims = &flow.function.value(x).ty.tensor()?.dims;
            let from_end = dims.iter().rev().position(|dim| dim.size() != Some(1))?;
            let is_last = dims[dims.len() - 1 - from_end].size() == Some(channels.count);
            is_last.then(|| into(flow, x, Channels { from_end, ..channels }, absorbed))?
        }
        "layer_norm" => {
            let axes = flow.function.value(operation.argument("axes")?).constant.as_ref()?;
            let rank = rank(operation.argument("x")?)? as i64;
            let axis = rank - 1 - channels.from_end as i64;
            let along = axes.as_ints()?.iter().all(|&a| a == axis || a + rank == axis);
            along.then_some(())?;
            norm(flow, operation, channels, absorbed)
        }
        "batch_norm" if rank(id)? == channels.from_end + 2 => {
            norm(flow, operation, channels, absorbed)
        }
        "linear" | "conv" => {
            let weight = operation.argument("weight")?;
            let shape = flow.function.value(weight).ty.tensor()?.shape()?;
            let is_rows = shape.first() == Some(&channels.count)
                && channels.from_end
                    == if operation.row.name == "conv" { shape.len() - 2 } else { 0 };
            flow.function.value(weight).constant.as_ref().filter(|_| is_rows)?;
            absorbed.constants.push((weight, true));
            absorbed.readers.insert(operation.name.clone());
            offset(flow, operation, "bias", channels, absorbed)
        }
        "add" | "sub" => {
            let [x, y] = ["x", "y"].map(|param| operation.argument(param));
            take(flow, operation, y?, false, channels, absorbed)?;
            flow.only_reader(x?)?;
            into(flow, x?, channels, absorbed)
        }
        "mul" => {
            for side in ["y", "x"] {
                let mut tried = absorbed.clone();
                let id = operation.argument(side)?;
                let taken = take(flow, operation, id, true, channels, &mut tried).or_else(|| {
                    flow.only_reader(id)?;
                    into(flow, id, channels, &mut tried)
                });
                if taken.is_some() {
                    *absorbed = tried;
                    return Some(());
                }
            }
            None
        }
        _ => None,
    }
}

/// How far from the end channels lie, before a mean over axes that are not theirs.
fn before_mean(
    flow: &Flow<'_>,
    operation: &Operation,
    rank: usize,
    from_end: usize,
) -> Option<usize> {
    let constant = |param| flow.function.value(operation.argument(param)?).constant.as_ref();
    let axes = constant("axes")?.as_ints()?.into_iter();
    let axes = axes.map(|axis| if axis < 0 { axis + rank as i64 } else { axis });
    let mut behind: Vec<usize> = axes.map(|axis| (rank as i64 - 1 - axis) as usize).collect();
    behind.sort();
    let keeps = constant("keep_dims").and_then(|keep| keep.as_bool()).unwrap_or(false);
    let mut before = from_end;
    for axis in behind {
        match axis.cmp(&before) {
            Ordering::Equal if keeps => return None,
            Ordering::Less | Ordering::Equal if !keeps => before += 1,
            _ => {}
        }
    }
    Some(before)
}

/// Takes what a norm multiplies by and adds; one that multiplies by nothing has nothing to take.
fn norm(
    flow: &Flow<'_>,
    operation: &Operation,
    channels: Channels,
    absorbed: &mut Absorbed,
) -> Option<()> {
    take(flow, operation, operation.argument("gamma")?, true, channels, absorbed)?;
    offset(flow, operation, "beta", channels, absorbed)
}

/// Takes what an operation adds, if it adds anything.
fn offset(
    flow: &Flow<'_>,
    operation: &Operation,
    param: &str,
    channels: Channels,
    absorbed: &mut Absorbed,
) -> Option<()> {
    match operation.argument(param) {
        Some(id) => take(flow, operation, id, false, channels, absorbed),
        None => Some(()),
    }
}

/// Takes a constant with one element a channel, or what is cast from one for this operation alone.
fn take(
    flow: &Flow<'_>,
    operation: &Operation,
    id: ValueId,
    is_gain: bool,
    channels: Channels,
    absorbed: &mut Absorbed,
) -> Option<()> {
    let shape = flow.function.value(id).ty.tensor()?.shape()?;
    let mut real = shape.iter().rev().enumerate().filter(|(_, size)| **size != 1);
    let of_norm = matches!(operation.row.name, "layer_norm" | "batch_norm" | "linear" | "conv");
    let fits = match (real.next(), real.next()) {
        (Some((from_end, &size)), None) => {
            size == channels.count && (of_norm || from_end == channels.from_end)
        }
        _ => false,
    };
    if !fits {
        return None;
    }
    if flow.function.value(id).constant.is_some() {
        absorbed.constants.push((id, is_gain));
        absorbed.readers.insert(operation.name.clone());
        return Some(());
    }
    let (_, cast) = flow.maker(id)?;
    let x = cast.argument("x").filter(|_| cast.row.name == "cast")?;
    flow.only_reader(id)?;
    flow.function.value(x).constant.as_ref()?;
    absorbed.constants.push((x, is_gain));
    absorbed.readers.insert(cast.name.clone());
    Some(())
}
