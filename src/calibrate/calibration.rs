//! All values of one model.

use super::statistics::MOST;
use super::{Hessian, Statistics};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was counted of one model on some data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The model.
    pub model: Model,
    /// The data, by hash.
    pub data: Vec<Data>,
    /// By the values' names.
    pub values: BTreeMap<String, Entry>,
}

/// Which model was watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The package's name.
    pub package: String,
    /// BLAKE3 of its program and weights, in hexadecimal: what tells models apart.
    pub blake3: String,
    /// The function that was run; of a language model, whose functions are one model, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// What it was run on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// BLAKE3 of the file, in hexadecimal.
    pub blake3: String,
    /// Its name.
    pub file: String,
    /// Texts, windows of a text, or rows.
    pub samples: u64,
}

/// One value: what stands around it, and its counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The operation that makes it; of an input `input`.
    pub made_by: String,
    /// The operations that read it.
    pub read_by: Vec<String>,
    /// The axis of its columns.
    pub axis: Option<usize>,
    /// Its counts.
    pub statistics: Statistics,
    /// Of the layers that read it, one for each way of reading; none unless asked for.
    pub hessians: Vec<Hessian>,
}

impl Calibration {
    /// Adds what was counted on other data. The order of merging changes nothing. After an error, a part
    /// may have been added.
    ///
    /// # Errors
    /// [`Error::Usage`] for counts of another model, and for the same data twice, which would count
    /// double; [`Error::Input`] for values that do not fit together.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let (ours, theirs) = (&self.model, &other.model);
        if (&ours.blake3, &ours.function) != (&theirs.blake3, &theirs.function) {
            return Err(Error::Usage(format!(
                "statistics of different models cannot be merged: {ours} and {theirs}"
            )));
        }
        let twice = other.data.iter().find(|d| self.data.iter().any(|o| o.blake3 == d.blake3));
        if let Some(twice) = twice {
            return Err(Error::Usage(format!(
                "`{}` is counted in both, and would count double; leave one of them out",
                twice.file
            )));
        }
        for (name, theirs) in other.values {
            match self.values.entry(name) {
                std::collections::btree_map::Entry::Vacant(new) => drop(new.insert(theirs)),
                std::collections::btree_map::Entry::Occupied(mut ours) => {
                    let entry = ours.get_mut();
                    let counted = |entry: &Entry| entry.statistics.numbers() > 0;
                    let one_alone = entry.hessians.is_empty() != theirs.hessians.is_empty();
                    if one_alone && counted(entry) && counted(&theirs) {
                        return Err(Error::Usage(format!(
                            "`{}` has a Hessian in one file alone, and that of a part would pass for \
                             that of the whole; calibrate both with --hessians, or both without",
                            ours.key()
                        )));
                    }
                    if entry.merge(&theirs).is_none() {
                        return Err(Error::input(
                            format!("value `{}`", ours.key()),
                            "its columns differ in the two files, or its sums are beyond all bounds",
                            "calibrate again",
                        ));
                    }
                }
            }
        }
        self.data.extend(other.data);
        self.data.sort();
        if samples(&self.data).is_none() {
            let remedy = "merge fewer files";
            return Err(Error::input("the data", "they have too many samples", remedy));
        }
        // Two names of one package: the same on every way of merging.
        self.model.package = other.model.package.min(std::mem::take(&mut self.model.package));
        Ok(())
    }
}

impl Entry {
    /// Adds the counts of other data; `None` for other columns and for sums beyond bounds.
    fn merge(&mut self, other: &Self) -> Option<()> {
        (self.axis == other.axis).then_some(())?;
        self.statistics.merge(&other.statistics)?;
        // A part in which the value has no number has no Hessian either.
        if self.hessians.is_empty() {
            self.hessians.clone_from(&other.hessians);
            return Some(());
        }
        let windows = |entry: &Self| entry.hessians.iter().map(|h| h.window.clone()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = (windows(self), windows(other));
        (ours == theirs || theirs.is_empty()).then_some(())?;
        let mut pairs = self.hessians.iter_mut().zip(&other.hessians);
        pairs.try_for_each(|(ours, theirs)| ours.merge(theirs))
    }
}

/// All samples; `None` for more than [`MOST`].
pub(super) fn samples(data: &[Data]) -> Option<u64> {
    let sum = data.iter().try_fold(0u64, |sum, data| sum.checked_add(data.samples));
    sum.filter(|&sum| sum <= MOST)
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { package, blake3, function } = self;
        let hash: String = blake3.chars().take(12).collect();
        match function {
            Some(function) => write!(f, "function `{function}` of {package} ({hash})"),
            None => write!(f, "{package} ({hash})"),
        }
    }
}
