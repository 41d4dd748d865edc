//! The table of the tensors that were left as they are: in plans and in reports.

use super::{Column, Table, shape, size};
use std::collections::HashMap;

/// A tensor that is not quantized.
#[derive(Clone, Debug)]
pub struct Left<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// The input's type.
    pub dtype: &'a str,
    /// The tensor's shape.
    pub shape: &'a [usize],
    /// The scheme that stores it, or `copied`.
    pub stored_as: String,
    /// What chose that.
    pub rule: String,
    /// Bytes in the input.
    pub before: u64,
    /// Bytes stored.
    pub after: u64,
    /// Why.
    pub notes: &'a [String],
}

/// From this many tensors on, those that differ only in numbers of their names share a row.
const ALIKE: usize = 3;

/// One row for each tensor, or for three and more whose names differ only in numbers and that are
/// stored alike for the same reason: a network repeats its norms and biases in every layer.
pub fn left(tensors: &[Left<'_>]) -> Table {
    let mut table = Table::new(vec![
        Column::left("not quantized").shrink_to(24),
        Column::left("type").optional(),
        Column::left("shape").optional(),
        Column::left("stored as"),
        Column::left("chosen by").cut_to(8).optional(),
        Column::right("before").optional(),
        Column::right("after"),
        Column::left("why").cut_to(24),
    ]);
    for group in groups(tensors) {
        let (first, rest) = (group[0], &group[1..]);
        let sum = |of: fn(&Left<'_>) -> u64| {
            size(group.iter().map(|tensor| of(tensor)).fold(0, u64::saturating_add))
        };
        let name = match group.len() {
            1 => first.name.to_string(),
            n => format!("{} ×{n}", pattern(first.name)),
        };
        let shapes = match rest.iter().all(|tensor| tensor.shape == first.shape) {
            true => shape(first.shape),
            false => "several".into(),
        };
        table.row(vec![
            name,
            first.dtype.into(),
            shapes,
            first.stored_as.clone(),
            first.rule.clone(),
            sum(|tensor| tensor.before),
            sum(|tensor| tensor.after),
            why(first),
        ]);
    }
    table
}

/// The tensors of each row, rows in the order of their first tensors.
fn groups<'a, 'b>(tensors: &'b [Left<'a>]) -> Vec<Vec<&'b Left<'a>>> {
    let key = |t: &'b Left<'a>| (pattern(t.name), t.dtype, &t.stored_as, &t.rule, t.notes);
    let mut alike: HashMap<_, Vec<&Left<'_>>> = HashMap::new();
    for tensor in tensors {
        alike.entry(key(tensor)).or_default().push(tensor);
    }
    let mut rows = vec![];
    for tensor in tensors {
        let key = key(tensor);
        match alike.get(&key) {
            Some(group) if group.len() < ALIKE => rows.push(vec![tensor]),
            Some(_) => rows.extend(alike.remove(&key)),
            // In the row of the first tensor of its group.
            None => {}
        }
    }
    rows
}

/// A name with `*` for each number in it.
fn pattern(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c.is_ascii_digit() {
            false => out.push(c),
            true if out.ends_with('*') => {}
            true => out.push('*'),
        }
    }
    out
}

/// The notes, without what another column of the same row says.
fn why(tensor: &Left<'_>) -> String {
    let said = format!("left in {}: ", tensor.stored_as);
    let notes = tensor.notes.iter().map(|note| note.strip_prefix(&said).unwrap_or(note));
    notes.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_repeat_share_a_row_and_others_do_not() {
        let norm = ["left in float16: rank 1: codes need rows and columns".to_string()];
        let small = ["left in float16: 432 elements, fewer than 2048".to_string()];
        let tensor = |name, shape, notes| Left {
            name,
            dtype: "F32",
            shape,
            stored_as: "float16".into(),
            rule: "rank < 2".into(),
            before: 1024,
            after: 512,
            notes,
        };
        let tensors = [
            tensor("bn1.bias", &[16][..], &norm[..]),
            tensor("layer1.0.bn1.bias", &[16], &norm),
            tensor("layer1.0.bn1.weight", &[16], &norm),
            tensor("conv1.weight", &[16, 3, 3, 3], &small),
            tensor("layer1.0.bn2.bias", &[16], &norm),
            tensor("layer10.0.bn1.bias", &[32], &norm),
            tensor("layer2.0.bn1.weight", &[32], &norm),
        ];
        insta::assert_snapshot!(left(&tensors).render(None), @r"
        not quantized         type  shape          stored as  chosen by   before    after  why
        bn1.bias              F32   [16]           float16    rank < 2   1.0 KiB    512 B  rank 1: codes need rows and columns
        layer*.*.bn*.bias ×3  F32   several        float16    rank < 2   3.0 KiB  1.5 KiB  rank 1: codes need rows and columns
        layer1.0.bn1.weight   F32   [16]           float16    rank < 2   1.0 KiB    512 B  rank 1: codes need rows and columns
        conv1.weight          F32   [16, 3, 3, 3]  float16    rank < 2   1.0 KiB    512 B  432 elements, fewer than 2048
        layer2.0.bn1.weight   F32   [32]           float16    rank < 2   1.0 KiB    512 B  rank 1: codes need rows and columns
        ");
    }
}
