//! One value of a model: the weights around it.

use super::absorb::{Absorbed, Channels, absorb};
use super::{Model, Repeat, Scaled, attention};
use crate::graph::{Flow, Operation, ValueId};
use std::collections::BTreeSet;

/// A value by whose channels weights can be scaled.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    /// How many.
    pub(super) channels: usize,
    /// How the value itself has them.
    pub(super) repeat: Repeat,
    /// The layers that read it.
    pub(super) layers: BTreeSet<String>,
    /// Their weights.
    pub(super) columns: BTreeSet<Scaled>,
    /// What can be divided in its place; `None` if something of it cannot be.
    pub(super) rows: Option<Rows>,
}

/// What is divided in the place of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// All of it.
    pub(super) scaled: BTreeSet<Scaled>,
    /// Those of them that the value's size follows from, offsets left out.
    pub(super) gains: BTreeSet<Scaled>,
}

/// What is around a value in one function.
struct Around {
    channels: usize,
    repeat: Repeat,
    layers: BTreeSet<String>,
    columns: BTreeSet<Scaled>,
    rows: Option<Rows>,
    readers: BTreeSet<String>,
}

/// The place of a value in all functions; `None` where they do not agree on it, and where one of its
/// weights is read by something else.
pub(super) fn find(model: &Model<'_>, flows: &[Flow<'_>], name: &str) -> Option<Place> {
    let mut all: Vec<Around> = Vec::new();
    for (flow, (function, number)) in flows.iter().zip(&model.functions) {
        let Some(id) = function.find(name) else { continue };
        all.push(around(flow, id, number)?);
    }
    let (first, rest) = all.split_first()?;
    let same = |a: &Around, b: &Around| {
        (a.channels, a.repeat, &a.layers, &a.columns)
            == (b.channels, b.repeat, &b.layers, &b.columns)
    };
    if !rest.iter().all(|other| same(first, other)) {
        return None;
    }
    let rows = first.rows.as_ref();
    let rows = rows.filter(|_| rest.iter().all(|other| other.rows.as_ref() == rows)).cloned();
    let mut readers = first.layers.clone();
    if rows.is_some() {
        all.iter().for_each(|around| readers.extend(around.readers.iter().cloned()));
    }
    let divided = rows.iter().flat_map(|rows| &rows.scaled);
    let scaled: BTreeSet<Scaled> = first.columns.iter().chain(divided).copied().collect();
    // A weight in two places of one step would be scaled once for both.
    let weights: BTreeSet<usize> = scaled.iter().map(|scaled| scaled.weight).collect();
    let is_read = flows.iter().zip(&model.functions).any(|(flow, (_, number))| {
        flow.function.operations.iter().any(|operation| {
            let read = operation.arguments.iter().filter_map(|a| number(a.value));
            !readers.contains(&operation.name) && read.into_iter().any(|w| weights.contains(&w))
        })
    });
    let is_shared = first.repeat != Repeat::ONCE;
    if is_read || weights.len() != scaled.len() || (rows.is_none() && is_shared) {
        return None;
    }
    let Around { channels, repeat, layers, columns, .. } = all.swap_remove(0);
    Some(Place { name: name.to_owned(), channels, repeat, layers, columns, rows })
}

/// Who reads a value, and who could be divided in its place; `None` where no layer reads it.
fn around(
    flow: &Flow<'_>,
    id: ValueId,
    number: &dyn Fn(ValueId) -> Option<usize>,
) -> Option<Around> {
    let shape = &flow.function.value(id).ty.tensor()?.dims;
    let rank = shape.len();
    let (mut layers, mut columns, mut others) = (BTreeSet::new(), BTreeSet::new(), false);
    let mut along = None;
    for (_, operation) in flow.readers(id) {
        let reading = reading(flow, operation, id, rank);
        let weight = reading.and_then(|reading| number(reading.weight));
        match (reading, weight) {
            (Some(Reading { channels, axis, repeat, .. }), Some(weight))
                if along.is_none_or(|other| other == channels) =>
            {
                along = Some(channels);
                columns.insert(Scaled { weight, axis, divided: false, repeat });
                layers.insert(operation.name.clone());
            }
            _ => others = true,
        }
    }
    let mut channels = along?;
    let mut repeat = Repeat::ONCE;
    let mut absorbed = None;
    if !others && !flow.is_output(id) {
        absorbed = absorb(flow, id, channels);
        if let (None, Some((values, shared))) = (&absorbed, attention::values(flow, id)) {
            let of_values = Channels { count: channels.count / shared.times, ..channels };
            absorbed = absorb(flow, values, of_values);
            if absorbed.is_some() {
                (channels, repeat) = (of_values, shared);
                columns = columns.into_iter().map(|c| Scaled { repeat, ..c }).collect();
            }
        }
    }
    let rows = absorbed.as_ref().and_then(|absorbed| rows(flow, absorbed, number));
    let readers = absorbed.map(|absorbed| absorbed.readers).unwrap_or_default();
    Some(Around { channels: channels.count, repeat, layers, columns, rows, readers })
}

/// How a layer reads a value.
#[derive(Clone, Copy)]
struct Reading {
    channels: Channels,
    weight: ValueId,
    /// The weight's axis that has the channels.
    axis: usize,
    repeat: Repeat,
}

/// How an operation reads a value of this rank; `None` for what is no layer, and for a convolution in
/// groups of several channels: its weight has them along no axis.
fn reading(flow: &Flow<'_>, operation: &Operation, id: ValueId, rank: usize) -> Option<Reading> {
    let weight = operation.argument("weight").filter(|_| operation.argument("x") == Some(id))?;
    let shape = flow.function.value(weight).ty.tensor()?.shape()?;
    let (&[rows, columns], from_end) = (
        shape.first_chunk()?,
        match operation.row.name {
            "linear" => 0,
            "conv" => rank.checked_sub(2)?,
            _ => return None,
        },
    );
    let groups = operation.argument("groups").filter(|_| operation.row.name == "conv");
    let groups = match groups {
        None => 1,
        Some(groups) => {
            *flow.function.value(groups).constant.as_ref()?.as_ints()?.first()? as usize
        }
    };
    let channels = |count| Channels { from_end, count };
    match (groups, columns) {
        (1, _) => {
            let (channels, repeat) = (channels(columns), Repeat::ONCE);
            Some(Reading { channels, weight, axis: 1, repeat })
        }
        // Depthwise: each channel has rows of its own.
        (_, 1) if rows.is_multiple_of(groups) => {
            let (channels, repeat) = (channels(groups), Repeat { block: 1, times: rows / groups });
            Some(Reading { channels, weight, axis: 0, repeat })
        }
        _ => None,
    }
}

/// What is divided, by number; `None` if something of it cannot be.
fn rows(
    flow: &Flow<'_>,
    absorbed: &Absorbed,
    number: &dyn Fn(ValueId) -> Option<usize>,
) -> Option<Rows> {
    let mut rows = Rows::default();
    for &(id, is_gain) in &absorbed.constants {
        let shape = flow.function.value(id).ty.tensor()?.shape()?;
        // A weight's rows are its outputs; a vector may have axes of one element.
        let axis = match shape.iter().filter(|size| **size != 1).count() {
            0 | 1 => shape.iter().position(|size| *size != 1)?,
            _ => 0,
        };
        let weight = number(id)?;
        let scaled = Scaled { weight, axis, divided: true, repeat: Repeat::ONCE };
        rows.scaled.insert(scaled);
        if is_gain {
            rows.gains.insert(scaled);
        }
    }
    Some(rows)
}
