//! The tensors of a checkpoint, as an architecture asks for them.

use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A tensor that a model computes with.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in the checkpoint; that of a folded bias is made up.
    pub name: String,
    /// Its shape, as the model wants it.
    pub shape: Vec<usize>,
    /// How it comes from what the checkpoint holds.
    pub derivation: Derivation,
}

/// How a parameter comes from the tensors of a checkpoint.
///
/// With a batch norm of gain `g`, bias `b`, mean `m`, variance `v` behind a convolution of weight
/// `W`, each of output channel `c`: `g (W x − m) / √(v + ε) + b = (f W) x + (b − f m)` for
/// `f = g / √(v + ε)`.
#[derive(Clone, Debug, PartialEq)]
pub enum Derivation {
    /// As it stands.
    Stored,
    /// Stored as `[inputs, outputs]` (the layer Conv1D of GPT-2), wanted as `[outputs, inputs]`.
    Transposed,
    /// A convolution's weight with the norm behind it folded in: `f W`.
    FoldedWeight(BatchNorm),
    /// What is left of that norm: `b − f m`.
    FoldedBias(BatchNorm),
}

/// A batch norm as it is stored: `NAME.weight`, `NAME.bias`, `NAME.running_mean`, `NAME.running_var`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// What stands before the names of its tensors.
    pub name: String,
    /// What keeps the root from zero.
    pub epsilon: f64,
}

impl BatchNorm {
    /// The names of its gain, bias, mean and variance.
    pub fn tensors(&self) -> [String; 4] {
        ["weight", "bias", "running_mean", "running_var"]
            .map(|part| format!("{}.{part}", self.name))
    }
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
    places: HashMap<String, usize>,
    findings: Vec<String>,
    copies: Vec<[String; 2]>,
}

impl<'a> Checkpoint<'a> {
    /// A checkpoint of these tensors.
    pub fn new(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Self {
        Self {
            shapes: tensors.into_iter().collect(),
            prefix: String::new(),
            known: BTreeSet::new(),
            parameters: Vec::new(),
            places: HashMap::new(),
            findings: Vec::new(),
            copies: Vec::new(),
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
        self.check(name, shape);
        self.add(name, shape, Derivation::Stored)
    }

    /// The tensor of this name behind the prefix, stored as `[inputs, outputs]`; the parameter is
    /// `[outputs, inputs]`.
    pub fn take_transposed(&mut self, name: &str, [inputs, outputs]: [usize; 2]) -> ParameterId {
        let name = format!("{}{name}", self.prefix);
        self.check(&name, &[inputs, outputs]);
        self.add(&name, &[outputs, inputs], Derivation::Transposed)
    }

    /// The weight, of this shape, and the bias of the convolution `NAME.weight` with the batch norm
    /// behind it folded in; both names follow the prefix.
    pub fn take_folded(
        &mut self,
        name: &str,
        norm: &str,
        epsilon: f64,
        shape: &[usize],
    ) -> [ParameterId; 2] {
        let outputs = &shape[..1];
        let name = format!("{}{name}", self.prefix);
        let norm = BatchNorm { name: format!("{}{norm}", self.prefix), epsilon };
        let weight = format!("{name}.weight");
        self.check(&weight, shape);
        norm.tensors().iter().for_each(|part| self.check(part, outputs));
        // A count of training steps.
        self.pass_over_whole(&format!("{}.num_batches_tracked", norm.name));
        let bias = format!("{name}.bias");
        if self.has_whole(&bias) {
            let found = "is there; a convolution in front of a batch norm has none";
            self.known.insert(bias.clone());
            self.findings.push(format!("`{bias}` {found}"));
        }
        [
            self.add(&weight, shape, Derivation::FoldedWeight(norm.clone())),
            self.add(&bias, outputs, Derivation::FoldedBias(norm)),
        ]
    }

    /// Notes what speaks against a tensor of this whole name and shape.
    fn check(&mut self, name: &str, shape: &[usize]) {
        self.known.insert(name.to_owned());
        match self.shapes.get(name) {
            None => self.findings.push(format!("`{name}` {shape:?} is missing")),
            Some(&is) if is != shape => {
                self.findings.push(format!("`{name}` is {is:?}; config.json makes it {shape:?}"));
            }
            Some(_) => {}
        }
    }

    /// The place of a parameter, which may have been asked for before.
    fn add(&mut self, name: &str, shape: &[usize], derivation: Derivation) -> ParameterId {
        let parameters = &mut self.parameters;
        let place = *self.places.entry(name.to_owned()).or_insert_with(|| {
            let (name, shape) = (name.to_owned(), shape.to_vec());
            parameters.push(Parameter { name, shape, derivation });
            parameters.len() - 1
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

    /// A second copy, under this whole name, of a parameter that is tied to it. Whoever reads the data
    /// must find them equal: of two different ones, programs take the one or the other.
    pub fn pass_over_copy(&mut self, name: &str, of: ParameterId) {
        self.pass_over_whole(name);
        if self.has_whole(name) {
            self.copies.push([name.to_owned(), self.parameters[of.0].name.clone()]);
        }
    }

    /// Names of copies, each with the name of what it is a copy of.
    pub fn copies(&self) -> &[[String; 2]] {
        &self.copies
    }

    /// Every tensor whose whole name begins so may stand there and changes nothing: a head that the model
    /// is used without.
    pub fn pass_over_all(&mut self, start: &str) {
        let names = self.shapes.keys().filter(|name| name.starts_with(start));
        self.known.extend(names.map(|name| (*name).to_owned()));
    }

    /// The parameters that were asked for so far, missing ones included.
    #[cfg(test)]
    pub(super) fn asked(&self) -> &[Parameter] {
        &self.parameters
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
