//! Equal findings of repeated layers as one.

use super::{Confidence, Effect, Found, Rule};
use crate::int8_path::{pattern, without_numbers};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a rule found, at places whose names differ by their numbers alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The rule's short name: `odd-channels`.
    pub rule: String,
    /// What follows.
    pub effect: Effect,
    /// Where: names with `*` for each number that differs.
    pub at: String,
    /// How many places these are.
    pub times: usize,
    /// What is the case there.
    pub about: String,
    /// What would do.
    pub remedy: String,
    /// Who says so.
    pub source: String,
    /// How it is known.
    pub confidence: Confidence,
}

/// Folds what rules found; the gravest first, then in the order of rules and places. A place that
/// several functions share counts once.
pub(super) fn fold(found: Vec<(&Rule, Found)>) -> Vec<Remark> {
    let mut groups: BTreeMap<_, (usize, &Rule, Found, BTreeSet<String>)> = BTreeMap::new();
    for (place, (rule, found)) in found.into_iter().enumerate() {
        let shape = without_numbers(&found.at);
        let key = (rule.effect, rule.id, found.about.clone(), found.remedy.clone(), shape);
        let at = found.at.clone();
        groups.entry(key).or_insert_with(|| (place, rule, found, BTreeSet::new())).3.insert(at);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|(place, rule, ..)| (rule.effect, *place));
    let remark = |(_, rule, found, places): (usize, &Rule, Found, BTreeSet<String>)| {
        let names: Vec<&str> = places.iter().map(String::as_str).collect();
        Remark {
            rule: rule.id.to_owned(),
            effect: rule.effect,
            at: pattern(&names),
            times: places.len(),
            about: found.about,
            remedy: found.remedy,
            source: rule.source.to_owned(),
            confidence: rule.confidence,
        }
    };
    groups.into_iter().map(remark).collect()
}
