//! The words for how a weight is stored.

use crate::graph::weight::{Operand, Storage, Weight};

/// How a weight is stored, in the words of schemes: `float16`, `linear int8, channel`,
/// `palette 4-bit, group 16, vector 2`, `sparse 50 %, linear int8, channel`.
pub fn storage_word(weight: &Weight) -> String {
    word(&weight.storage, &weight.shape)
}

fn word(storage: &Storage, shape: &[usize]) -> String {
    match storage {
        Storage::Dense(values) => match values.dtype {
            crate::graph::DataType::Float16 => "float16".into(),
            crate::graph::DataType::Float32 => "float32".into(),
            other => other.to_string(),
        },
        Storage::Linear { codes, scale, offset } => {
            let asymmetric = if offset.is_some() { ", asymmetric" } else { "" };
            let granularity = granularity(&scale.shape, shape, ["channel", "block"]);
            format!("linear {}, {granularity}{asymmetric}", codes.dtype)
        }
        Storage::Palette { indices, table, table_scale, vector_axis, channel_scale } => {
            let bits = indices.dtype.bits().unwrap_or(0);
            let rank = table.shape.len().saturating_sub(2);
            let groups = granularity(&table.shape[..rank], shape, ["channel", "group"]);
            let vector = match table.shape.last() {
                None | Some(1) => String::new(),
                Some(n) if *vector_axis == 0 => format!(", vector {n}"),
                Some(n) => format!(", vector {n} along axis {vector_axis}"),
            };
            let entries = match table_scale {
                Some(_) => format!(", {} entries", table.dtype),
                None => String::new(),
            };
            let scaled = if channel_scale.is_some() { ", channel-scale" } else { "" };
            format!("palette {bits}-bit, {groups}{vector}{entries}{scaled}")
        }
        Storage::Sparse { mask, values } => {
            format!("sparse {}, {}", zeros(mask, values), word(values, shape))
        }
    }
}

/// How far one scale or table reaches: the `tensor`; a `channel` (of another axis than the first:
/// `channel of axis 1`); or so many elements along each axis that it divides.
fn granularity(groups: &[usize], shape: &[usize], [channel, block]: [&str; 2]) -> String {
    let axes = || groups.iter().zip(shape).enumerate().filter(|(_, (groups, _))| **groups > 1);
    let along = |axis: usize| if axis == 0 { String::new() } else { format!(" of axis {axis}") };
    let size = |(groups, size): (&usize, &usize)| size / groups.max(&1);
    let mut one = axes();
    match (one.next(), one.next()) {
        (None, _) => "tensor".into(),
        (Some((axis, pair)), None) if size(pair) == 1 => format!("{channel}{}", along(axis)),
        (Some((axis, pair)), None) => format!("{block} {}{}", size(pair), along(axis)),
        (Some((0, first)), Some((1, second))) if size(first) == 1 => {
            format!("{block} {}", size(second))
        }
        _ => {
            let sizes: Vec<_> =
                groups.iter().zip(shape).map(|pair| size(pair).to_string()).collect();
            format!("{block} {}", sizes.join("x"))
        }
    }
}

/// The share of zeros that the mask leaves out.
fn zeros(mask: &Operand, values: &Storage) -> String {
    let kept = match values {
        Storage::Dense(kept) | Storage::Linear { codes: kept, .. } => kept.elements(),
        Storage::Palette { indices, .. } => indices.elements(),
        Storage::Sparse { .. } => mask.elements(),
    };
    let all = mask.elements().max(1);
    format!("{:.0} %", 100.0 * (1.0 - kept as f64 / all as f64))
}
