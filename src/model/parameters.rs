//! The tensors of a checkpoint, as an architecture asks for them.

use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A tensor that a model computes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
}

/// A parameter, by its place among those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// Hands out the tensors of a checkpoint, and remembers which were missing, of another shape, or
/// never asked for: a weight left over may be one that changes the model.
#[derive(Debug)]
pub struct Checkpoint<'a> {
    shapes: BTreeMap<&'a str, &'a [usize]>,
    prefix: String,
    known: BTreeSet<String>,
    parameters: Vec<Parameter>,
    findings: Vec<String>,
}

impl<'a> Checkpoint<'a> {
    /// A checkpoint of these tensors.
    pub fn new(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Self {
        Self {
            shapes: tensors.into_iter().collect(),
            prefix: String::new(),
            known: BTreeSet::new(),
            parameters: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Finds what stands before `anchor` (the whole of a name but for one of `prefixes`) and puts it before every
    /// name from now on: the same weights are saved with or without their head.
    pub fn find_prefix(&mut self, anchor: &str, prefixes: &[&str]) {
        let found =
            prefixes.iter().find(|p| self.shapes.contains_key(format!("{p}{anchor}").as_str()));
        self.prefix = found.or(prefixes.first()).map_or_else(String::new, |p| (*p).to_owned());
    }

    /// Whether there is such a tensor, behind the prefix.
    pub fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(format!("{}{name}", self.prefix).as_str())
    }

    /// The tensor of this name behind the prefix, which must have this shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> ParameterId {
        self.take_whole(&format!("{}{name}", self.prefix), shape)
    }

    /// The tensor of this whole name, which must have this shape.
    pub fn take_whole(&mut self, name: &str, shape: &[usize]) -> ParameterId {
        self.known.insert(name.to_owned());
        match self.shapes.get(name) {
            None => self.findings.push(format!("`{name}` {shape:?} is missing")),
            Some(&is) if is != shape => {
                self.findings.push(format!("`{name}` is {is:?}; config.json makes it {shape:?}"));
            }
            Some(_) => {}
        }
        let same = |p: &Parameter| p.name == name;
        let place = self.parameters.iter().position(same).unwrap_or_else(|| {
            self.parameters.push(Parameter { name: name.to_owned(), shape: shape.to_vec() });
            self.parameters.len() - 1
        });
        ParameterId(place)
    }

    /// Whether there is a tensor of this whole name.
    pub fn has_whole(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    /// A tensor that may stand in a checkpoint and changes nothing: a table that the model computes
    /// itself, or a second copy of a tied weight.
    pub fn pass_over(&mut self, name: &str) {
        self.pass_over_whole(&format!("{}{name}", self.prefix));
    }

    /// The same for a whole name.
    pub fn pass_over_whole(&mut self, name: &str) {
        self.known.insert(name.to_owned());
    }

    /// The parameters, in the order in which they were asked for.
    ///
    /// # Errors
    /// [`Error::Input`] with every tensor that is missing, has another shape, or is left over.
    pub fn finish(mut self, place: &str) -> Result<Vec<Parameter>> {
        let left = self.shapes.iter().filter(|(name, _)| !self.known.contains(**name));
        let left: Vec<String> =
            left.map(|(name, shape)| format!("`{name}` {shape:?} is left over")).collect();
        self.findings.extend(left);
        if self.findings.is_empty() {
            return Ok(self.parameters);
        }
        let found = format!("weights and config.json do not fit: {}", self.findings.join("; "));
        let remedy = "give the checkpoint and the config.json of one model, or write the layers alone with --layer-package";
        Err(Error::input(place, found, remedy))
    }
}
