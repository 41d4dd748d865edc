//! From the messages of a package to the graph.
//!
//! | module | what it reads |
//! |---|---|
//! | `program` | the whole program, and what holds of it as a whole |
//! | `function` | a function: inputs, operations, outputs, and which name stands for what |
//! | `operation` | one operation: parameters, and the types of its outputs |
//! | `feature` | the description: sizes, images, labels; held against the function |
//! | `constexpr` | chains of constexpr operations → one weight with its storage |
//! | `form` | how each constexpr operation is written for each target |
//! | `values` | literals and blobs → constants |
//! | `types` | types |
//! | `finding` | findings as they come, and why a value cannot be read |
//!
//! What comes in was written by others: every reference, type and length is checked before use. What
//! is wrong does not end the search, so that all of it is found at once: a value that cannot be read
//! has the type that it declares, and what only follows from a finding is none.

mod constexpr;
mod feature;
mod finding;
mod form;
mod function;
mod operation;
mod program;
mod types;
mod values;

pub use super::finding::Finding;
pub(crate) use super::finding::listed;
pub(crate) use program::beside;
pub use program::{Raised, program};

use super::Constant;
use super::weight::Bytes;
use crate::formats::mil;
use crate::target::Target;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The constants of a package: function → value → constant, whatever operations read them.
///
/// # Errors
/// [`Error::Input`] for the first that cannot be read; whatever `open` returns.
pub fn constants(
    model: &mil::Model,
    open: &mut dyn FnMut(&str) -> Result<Bytes>,
) -> Result<BTreeMap<String, BTreeMap<String, Constant>>> {
    let target = Target::of_specification_version(model.specification_version);
    let mut files = values::Files::new(open, target.unwrap_or_default());
    let functions = model.ml_program.iter().flat_map(|program| &program.functions);
    let mut all = BTreeMap::new();
    for (name, function) in functions {
        let mut chains = constexpr::Chains::default();
        let blocks = function.block_specializations.values();
        for operation in blocks.flat_map(|block| &block.operations) {
            let read = if operation.r#type == "const" {
                function::value_of(operation).and_then(|(output, value)| {
                    chains.constant(&output.name, files.constant(value)?);
                    Ok(())
                })
            } else if operation.r#type.starts_with("constexpr_") {
                chains.link(operation, &mut files)
            } else {
                Ok(())
            };
            if let Err(stop) = read {
                return Err(match stop {
                    finding::Stop::Fatal(error) => error,
                    finding::Stop::Found { found, .. } => {
                        Error::input(name, found, "convert again")
                    }
                    finding::Stop::Known => {
                        Error::input(name, "it has a bad constant", "convert again")
                    }
                });
            }
        }
        // Links of a chain that nothing else reads are no constants of their own.
        let names = |links: bool| {
            let operations = function.block_specializations.values().flat_map(|b| &b.operations);
            operations
                .filter(move |op| op.r#type.starts_with("constexpr_") == links)
                .flat_map(|op| op.inputs.values().flat_map(|argument| &argument.arguments))
                .filter_map(|binding| match &binding.binding {
                    Some(mil::binding::Binding::Name(name)) => Some(name.as_str()),
                    _ => None,
                })
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (linked, read) = (names(true), names(false));
        let mut constants = chains.finish();
        constants.retain(|name, _| !linked.contains(name.as_str()) || read.contains(name.as_str()));
        all.insert(name.clone(), constants);
    }
    Ok(all)
}
