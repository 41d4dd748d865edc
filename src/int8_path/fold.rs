//! Equal findings of repeated layers as one: `layers_*_attn_softmax`, 6 times.

use super::Break;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Breaks of equal reason and type, at operations whose names differ by their numbers alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// The operations' name, with `*` for each number that differs.
    pub operations: String,
    /// Their type: `softmax`.
    pub kind: String,
    /// How many there are.
    pub times: usize,
    /// The reason's short name.
    pub reason: String,
    /// The reason in a sentence, of the first of them.
    pub why: String,
    /// Their multiply-accumulates that are not INT8 for this reason.
    pub macs: u64,
}

/// Folds breaks; those that cost the most multiply-accumulates come first, then the most frequent,
/// then in the order in which they run.
pub fn fold(breaks: &[Break]) -> Vec<Folded> {
    let mut groups: BTreeMap<_, (usize, Vec<&Break>)> = BTreeMap::new();
    for (place, found) in breaks.iter().enumerate() {
        let key = (&found.reason, &found.kind, without_numbers(&found.operation));
        groups.entry(key).or_insert((place, vec![])).1.push(found);
    }
    let mut folded: Vec<(usize, Folded)> = groups
        .into_values()
        .map(|(place, group)| {
            let names: Vec<&str> = group.iter().map(|found| found.operation.as_str()).collect();
            let macs = group.iter().fold(0u64, |sum, found| sum.saturating_add(found.macs));
            let operations = pattern(&names);
            let (times, Break { kind, reason, why, .. }) = (group.len(), group[0].clone());
            (place, Folded { operations, kind, times, reason, why, macs })
        })
        .collect();
    folded.sort_by(|(p, a), (q, b)| b.macs.cmp(&a.macs).then(b.times.cmp(&a.times)).then(p.cmp(q)));
    folded.into_iter().map(|(_, folded)| folded).collect()
}

/// What names that differ by their numbers alone have in common.
pub(crate) fn without_numbers(name: &str) -> Vec<String> {
    parts(name).map(|part| if is_number(part) { "*" } else { part }.to_owned()).collect()
}

/// One name for several that differ by their numbers alone: `*` stands where they do.
pub(crate) fn pattern(names: &[&str]) -> String {
    let mut lists: Vec<_> = names.iter().map(|name| parts(name)).collect();
    let Some((first, rest)) = lists.split_first_mut() else { return String::new() };
    let mut out = String::new();
    for part in first {
        let same = rest.iter_mut().fold(true, |same, other| (other.next() == Some(part)) & same);
        out.push_str(if same { part } else { "*" });
    }
    out
}

/// A name cut into runs of digits and of anything else.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

fn is_number(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_digit())
}
