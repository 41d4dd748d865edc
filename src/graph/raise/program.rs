//! The whole program, and what holds of it as a whole.

use super::finding::{Findings, quoted, quoted_all};
use super::function;
use super::function::Described;
use super::values::Files;
use crate::formats::mil;
use crate::graph::weight::Bytes;
use crate::graph::{Finding, Metadata, Program};
use crate::target::Target;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A package as a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// The program; its weights are parts of the blob files, not copies.
    pub program: Program,
    /// The target that it was written for.
    pub target: Target,
}

/// Reads a model and checks all of it.
///
/// `open` gives the bytes of a blob file by the name that values use (`@model_path/weights/…`), and
/// is called once a file; operands are parts of them, not copies. Compressed weights are one value
/// with their storage, whatever chain of operations made them. Constants that nothing reads are
/// checked and left out.
///
/// # Errors
/// [`Error::Findings`] with everything that is wrong; [`Error::Input`] for a specification version
/// without ML Programs; [`Error::Io`] from `open`.
pub fn program(model: &mil::Model, open: &mut dyn FnMut(&str) -> Result<Bytes>) -> Result<Raised> {
    let version = model.specification_version;
    let target = Target::of_specification_version(version).ok_or_else(|| {
        let found = format!("its specification version is {version}");
        Error::input("model.mlmodel", found, "6 to 10 have ML Programs that can be read")
    })?;
    let Some(message) = &model.ml_program else {
        let found = "it holds no ML Program";
        return Err(Error::input(
            "model.mlmodel",
            found,
            "convert with `convert_to=\"mlprogram\"`",
        ));
    };
    let mut findings = Findings::default();
    let whole = |findings: &mut Findings, found: &str| findings.add("", "", "", found);
    if message.version != 1 {
        let version = message.version;
        whole(&mut findings, &format!("the program's version is {version}, and must be 1"));
    }
    if !message.doc_string.is_empty() {
        whole(&mut findings, "the program's docString is set, which Core ML refuses");
    }
    for name in message.attributes.keys().filter(|name| *name != "buildInfo") {
        let found =
            format!("the program has an attribute {}; only `buildInfo` is known", quoted(name));
        whole(&mut findings, &found);
    }
    if model.is_updatable {
        whole(&mut findings, "isUpdatable is set, and ML Programs cannot be updated");
    }
    let empty = mil::ModelDescription::default();
    let description = model.description.as_ref().unwrap_or(&empty);
    let described = functions(description, message, target, &mut findings);
    let mut files = Files::new(open, target);
    let mut program = Program {
        default_function: description.default_function_name.clone(),
        metadata: metadata(description.metadata.as_ref()),
        ..Program::default()
    };
    for (name, message) in &message.functions {
        let about = described.get(name.as_str());
        let function = function::raise(name, message, about, target, &mut files, &mut findings)?;
        program.functions.insert(name.clone(), function);
    }
    match findings.finish() {
        findings if findings.is_empty() => Ok(Raised { program, target }),
        findings => Err(Error::Findings { place: "model.mlmodel".into(), findings }),
    }
}

/// The description of each function, held against the functions that there are.
fn functions<'a>(
    description: &'a mil::ModelDescription,
    program: &'a mil::Program,
    target: Target,
    findings: &mut Findings,
) -> BTreeMap<&'a str, Described<'a>> {
    let mut wrong = |found: String| findings.add("", "", "", &found);
    let names: BTreeSet<&str> = program.functions.keys().map(String::as_str).collect();
    let default = &description.default_function_name;
    if !description.training_input.is_empty() {
        wrong("it has training inputs, and ML Programs cannot be trained".into());
    }
    if description.functions.is_empty() {
        if names.iter().ne(["main"].iter()) {
            let are = quoted_all(names.iter().copied());
            wrong(format!("without described functions there is one, `main`, and not: {are}"));
        }
        if !default.is_empty() {
            let default = quoted(default);
            wrong(format!("{default} is its default function, and no functions are described"));
        }
        return [("main", Described::model(description))].into();
    }
    if target < Target::Ios18 {
        wrong(format!("functions are described; packages for {target} have `main` alone"));
    }
    if !(description.input.is_empty()
        && description.output.is_empty()
        && description.state.is_empty())
    {
        wrong(
            "inputs, outputs or states are described beside functions that have their own".into(),
        );
    }
    if !names.contains(default.as_str()) {
        let (default, are) = (quoted(default), quoted_all(names.iter().copied()));
        wrong(format!("the default function {default} is none of its functions: {are}"));
    }
    let mut described = BTreeMap::new();
    for function in &description.functions {
        let name = function.name.as_str();
        if !names.contains(name) {
            wrong(format!("the function {} is described and does not exist", quoted(name)));
        }
        if described.insert(name, Described::function(function)).is_some() {
            wrong(format!("the function {} is described twice", quoted(name)));
        }
    }
    for name in names.iter().filter(|name| !described.contains_key(*name)) {
        wrong(format!("the function {} is not described", quoted(name)));
    }
    described
}

fn metadata(metadata: Option<&mil::Metadata>) -> Metadata {
    let Some(metadata) = metadata.cloned() else { return Metadata::default() };
    Metadata {
        description: metadata.short_description,
        version: metadata.version_string,
        author: metadata.author,
        license: metadata.license,
        user: metadata.user_defined,
    }
}

/// What was raised, or its findings behind those that were made before.
pub(crate) fn beside(mut before: Vec<Finding>, raised: Result<Raised>) -> Result<Raised> {
    let place = "model.mlmodel".into();
    match raised {
        Ok(raised) if before.is_empty() => Ok(raised),
        Ok(_) => Err(Error::Findings { place, findings: before }),
        Err(Error::Findings { place, findings }) => {
            before.extend(findings);
            Err(Error::Findings { place, findings: before })
        }
        Err(other) => Err(other),
    }
}
