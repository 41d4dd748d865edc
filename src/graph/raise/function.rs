//! A function: inputs, operations, outputs, and which name stands for what.

use super::constexpr::{Chains, declares};
use super::finding::{Findings, Read, Stop, quoted, quoted_all, settle, wrong};
use super::types::value_type;
use super::values::Files;
use crate::Result;
use crate::formats::mil;
use crate::graph::{Constant, Feature, Function, Value, ValueId, ValueType, names};
use crate::target::Target;
use std::collections::{HashMap, HashSet};

/// What the description says of a function.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    pub(super) input: &'a [mil::FeatureDescription],
    pub(super) output: &'a [mil::FeatureDescription],
    pub(super) state: &'a [mil::FeatureDescription],
    pub(super) label: &'a str,
    pub(super) probabilities: &'a str,
}

impl<'a> Described<'a> {
    /// Of the one function of a model.
    pub(super) fn model(model: &'a mil::ModelDescription) -> Self {
        Self {
            input: &model.input,
            output: &model.output,
            state: &model.state,
            label: &model.predicted_feature_name,
            probabilities: &model.predicted_probabilities_name,
        }
    }

    /// Of one of several.
    pub(super) fn function(function: &'a mil::FunctionDescription) -> Self {
        Self {
            input: &function.input,
            output: &function.output,
            state: &function.state,
            label: &function.predicted_feature_name,
            probabilities: &function.predicted_probabilities_name,
        }
    }
}

/// Reads a function and everything that is wrong with it.
///
/// # Errors
/// Only those that are no findings.
pub(super) fn raise(
    name: &str,
    message: &mil::Function,
    described: Option<&Described<'_>>,
    target: Target,
    files: &mut Files<'_>,
    findings: &mut Findings,
) -> Result<Function> {
    let mut scope = Scope::new(name, target, files, findings);
    if !names::is_identifier(name) {
        scope.found(&not_an_identifier(name));
    }
    let block = scope.block(message);
    let operations = block.map_or(&[][..], |block| &block.operations);
    scope.names = message.inputs.iter().map(|input| input.name.as_str()).collect();
    scope.names.extend(operations.iter().flat_map(|op| &op.outputs).map(|o| o.name.as_str()));
    for input in &message.inputs {
        scope.input(input);
    }
    for operation in operations {
        scope.current = Some(operation);
        match operation.r#type.as_str() {
            "const" => scope.constant(operation)?,
            link if link.starts_with("constexpr_") => scope.link(operation)?,
            _ => scope.operation(operation)?,
        }
    }
    scope.current = None;
    if let Some(block) = block {
        scope.outputs(&block.outputs);
    }
    if let Some(described) = described {
        scope.describe(described);
    }
    Ok(scope.function)
}

fn not_an_identifier(name: &str) -> String {
    let would = quoted(&names::sanitize(name));
    format!("{} is no identifier; {would} would be", quoted(name))
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    Value(ValueId),
    /// A constant or a part of one; a value from its first reader on.
    Constant,
    /// What a finding stands for.
    Broken,
}

/// A function being read.
pub(super) struct Scope<'a, 'f> {
    name: &'a str,
    pub(super) target: Target,
    pub(super) files: &'a mut Files<'f>,
    findings: &'a mut Findings,
    pub(super) function: Function,
    entries: HashMap<&'a str, Entry>,
    chains: Chains<'a>,
    /// All names, of what stands further down too.
    names: HashSet<&'a str>,
    /// Names that were made up, each with the number it was given last.
    made: HashMap<String, usize>,
    /// The operation that is being read.
    current: Option<&'a mil::Operation>,
}

impl<'a, 'f> Scope<'a, 'f> {
    fn new(
        name: &'a str,
        target: Target,
        files: &'a mut Files<'f>,
        findings: &'a mut Findings,
    ) -> Self {
        let (function, entries, chains, names, made) = Default::default();
        Self {
            name,
            target,
            files,
            findings,
            function,
            entries,
            chains,
            names,
            made,
            current: None,
        }
    }

    /// A finding about the current operation, or about the function as a whole.
    pub(super) fn found(&mut self, found: &str) {
        self.found_at("", found);
    }

    /// A finding about a parameter of the current operation.
    pub(super) fn found_at(&mut self, param: &str, found: &str) {
        let operation = self.current.map(label).unwrap_or_default();
        self.findings.add(self.name, &operation, param, found);
    }

    /// A finding about an input, a state or an output.
    pub(super) fn found_of(&mut self, kind: &str, feature: &str, found: &str) {
        self.findings.add(self.name, &format!("{kind} {}", quoted(feature)), "", found);
    }

    /// What was read, or nothing and a finding.
    pub(super) fn settle<T>(&mut self, read: Read<T>) -> Result<Option<T>> {
        settle(read, |param, found| self.found_at(param, found))
    }

    /// The block of the function's opset.
    fn block<'m>(&mut self, message: &'m mil::Function) -> Option<&'m mil::Block> {
        let opset = self.target.opset();
        if message.opset != opset {
            let (is, target) = (quoted(&message.opset), self.target);
            self.found(&format!("its opset is {is}; that of {target} is `{opset}`"));
        }
        let blocks = &message.block_specializations;
        if blocks.len() != 1 || !blocks.contains_key(&message.opset) {
            let are = quoted_all(blocks.keys().map(String::as_str));
            self.found(&format!("it has blocks for [{are}], and must have one, for its opset"));
        }
        let block = blocks.get(&message.opset).or_else(|| blocks.values().next())?;
        if !block.inputs.is_empty() {
            self.found("its block has inputs of its own, which only loops have");
        }
        if !message.attributes.is_empty() || !block.attributes.is_empty() {
            self.found("it has attributes; functions have none");
        }
        Some(block)
    }

    fn input(&mut self, input: &'a mil::NamedValueType) {
        let name = input.name.as_str();
        if !names::is_identifier(name) {
            self.found_of("input", name, &not_an_identifier(name));
        }
        let entry = match value_type(input.r#type.as_ref()) {
            Ok(ty @ (ValueType::Tensor(_) | ValueType::State(_))) => {
                if matches!(ty, ValueType::State(_)) && self.target < Target::Ios18 {
                    let found = format!("states need ios18, the package is for {}", self.target);
                    self.found_of("input", name, &found);
                }
                let value = self.value(name, ty, None);
                self.function.inputs.push(Feature::new(value));
                Entry::Value(value)
            }
            Ok(ty) => {
                self.found_of("input", name, &format!("it is {ty}; inputs are tensors or states"));
                Entry::Broken
            }
            Err(Stop::Found { found, .. }) => {
                self.found_of("input", name, &found);
                Entry::Broken
            }
            Err(Stop::Known | Stop::Fatal(_)) => Entry::Broken,
        };
        self.define(name, entry);
    }

    /// A value without a name in the scope.
    pub(super) fn value(
        &mut self,
        name: &str,
        ty: ValueType,
        constant: Option<Constant>,
    ) -> ValueId {
        self.function.values.push(Value { name: name.into(), ty, constant });
        ValueId(self.function.values.len() - 1)
    }

    /// A name that stands for something from here on.
    fn define(&mut self, name: &'a str, entry: Entry) {
        if self.entries.contains_key(name) {
            self.found(&format!("{} is defined twice", quoted(name)));
        } else {
            self.entries.insert(name, entry);
        }
    }

    /// An output of the current operation.
    pub(super) fn output(&mut self, output: &'a mil::NamedValueType, entry: Entry) {
        if !names::is_identifier(&output.name) {
            self.found(&not_an_identifier(&output.name));
        }
        self.define(&output.name, entry);
    }

    /// A name for a value that has none: `name`, or with the first free number behind it.
    pub(super) fn free(&mut self, name: &str) -> String {
        let taken = |name: &str| self.names.contains(name) || self.made.contains_key(name);
        if !taken(name) {
            self.made.insert(name.into(), 1);
            return name.into();
        }
        let mut number = self.made.get(name).copied().unwrap_or(1);
        let free = loop {
            number += 1;
            let numbered = format!("{name}_{number}");
            if !taken(&numbered) {
                break numbered;
            }
        };
        self.made.insert(name.into(), number);
        self.made.insert(free.clone(), 1);
        free
    }

    /// The value that a name stands for; nothing where a finding stands instead.
    pub(super) fn read(&mut self, name: &'a str, param: &str) -> Option<ValueId> {
        match self.entries.get(name) {
            Some(Entry::Value(id)) => Some(*id),
            Some(Entry::Broken) => None,
            Some(Entry::Constant) => {
                let Some(constant) = self.chains.get(name).cloned() else {
                    let part =
                        "is a part of a compressed weight, which only constexpr operations read";
                    self.found_at(param, &format!("{} {part}", quoted(name)));
                    return None;
                };
                let id = self.value(name, constant.ty(), Some(constant));
                self.entries.insert(name, Entry::Value(id));
                Some(id)
            }
            None => {
                let why = match self.names.contains(name) {
                    true => "is defined further down, or by what it depends on",
                    false => "is not defined",
                };
                self.found_at(param, &format!("{} {why}", quoted(name)));
                None
            }
        }
    }

    /// Whether a finding stands for this name.
    pub(super) fn is_broken(&self, name: &str) -> bool {
        matches!(self.entries.get(name), Some(Entry::Broken))
    }

    fn constant(&mut self, operation: &'a mil::Operation) -> Result<()> {
        let read = value_of(operation).and_then(|(output, value)| {
            let constant = self.files.constant(value).map_err(|stop| stop.at("val"))?;
            declares(output, &constant)?;
            Ok((output, constant))
        });
        match self.settle(read)? {
            Some((output, constant)) => {
                self.chains.constant(&output.name, constant);
                self.output(output, Entry::Constant);
            }
            None => self.broken(&operation.outputs),
        }
        Ok(())
    }

    fn link(&mut self, operation: &'a mil::Operation) -> Result<()> {
        let misfits = super::form::check(operation, self.target);
        for (param, found) in &misfits {
            self.found_at(param, found);
        }
        let linked = match misfits.is_empty() {
            true => self.chains.link(operation, self.files),
            false => Err(Stop::Known),
        };
        match self.settle(linked)? {
            Some(()) => {
                for output in &operation.outputs {
                    self.output(output, Entry::Constant);
                }
            }
            None => self.broken(&operation.outputs),
        }
        Ok(())
    }

    fn broken(&mut self, outputs: &'a [mil::NamedValueType]) {
        for output in outputs {
            self.chains.broken(&output.name);
            self.output(output, Entry::Broken);
        }
    }

    fn outputs(&mut self, outputs: &'a [String]) {
        if outputs.is_empty() {
            self.found("it has no outputs");
        }
        let mut seen = HashSet::new();
        for name in outputs {
            if !seen.insert(name) {
                self.found_of("output", name, "it is returned twice");
                continue;
            }
            if !self.names.contains(name.as_str()) {
                self.found_of("output", name, "nothing defines it");
                self.entries.insert(name, Entry::Broken);
            } else if let Some(value) = self.read(name, "") {
                self.function.outputs.push(Feature::new(value));
            }
        }
    }
}

/// What an operation is called in findings.
fn label(operation: &mil::Operation) -> String {
    let kind = &operation.r#type;
    match operation.outputs.first() {
        Some(output) => format!("{kind} {}", quoted(&output.name)),
        None => {
            let name = operation.attributes.get("name").and_then(mil::Value::as_string);
            name.map_or_else(|| kind.clone(), |name| format!("{kind} {}", quoted(name)))
        }
    }
}

/// The output and the value of a const.
fn value_of(operation: &mil::Operation) -> Read<(&mil::NamedValueType, &mil::Value)> {
    let mut attributes = operation.attributes.keys().map(String::as_str);
    if let Some(other) = attributes.find(|name| !["name", "val"].contains(name)) {
        return Err(wrong(format!("it has an attribute {}", quoted(other))));
    }
    if let Some(input) = operation.inputs.keys().next() {
        return Err(wrong(format!("it has a parameter {}; a const has none", quoted(input))));
    }
    let [output] = &operation.outputs[..] else {
        return Err(wrong(format!("it has {} outputs, not one", operation.outputs.len())));
    };
    let value = operation.attributes.get("val");
    Ok((output, value.ok_or_else(|| wrong("it has no attribute `val`"))?))
}
