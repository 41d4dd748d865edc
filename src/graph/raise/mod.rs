//! From the messages of a package to the graph.
//!
//! | module | what it reads |
//! |---|---|
//! | `values` | literals and blobs → operands |
//! | `program` | functions, operations, features → the whole program, with all findings |
//! | `finding` | one thing that is wrong with a package |
//! | `constexpr` | chains of constexpr operations → one weight with its storage |
//!
//! What comes in was written by others: every reference, type and length is checked before use.

mod constexpr;
mod finding;
mod program;
mod values;

pub use finding::Finding;
pub(crate) use finding::listed;
pub use program::{Raised, program};

use super::weight::Bytes;
use super::{Constant, DataType};
use crate::formats::mil;
use crate::{Error, Result};
use constexpr::Chains;
use std::collections::{BTreeMap, BTreeSet};
use values::Files;

/// The constants of a package: function → value → constant. Compressed weights are one value with
/// their storage, whatever chain of operations made them; links of such a chain that nothing else
/// reads are left out.
///
/// `open` gives the bytes of a blob file by the name that values use (`@model_path/weights/…`), and
/// is called once a file; operands are parts of them, not copies.
///
/// # Errors
/// [`Error::Input`] for a program that contradicts itself or its blob files, and for chains that no
/// storage describes; whatever `open` returns.
pub fn constants(
    model: &mil::Model,
    open: &mut dyn FnMut(&str) -> Result<Bytes>,
) -> Result<BTreeMap<String, BTreeMap<String, Constant>>> {
    let mut files = Files::new(open);
    let functions = model.ml_program.iter().flat_map(|program| &program.functions);
    let raised = functions.map(|(name, function)| {
        let mut blocks = function.block_specializations.values();
        let (Some(block), None) = (blocks.next(), blocks.next()) else {
            return Err(malformed(name, "it does not have exactly one block"));
        };
        Ok((name.clone(), block_constants(name, block, &mut files)?))
    });
    raised.collect()
}

fn block_constants(
    function: &str,
    block: &mil::Block,
    files: &mut Files<'_>,
) -> Result<BTreeMap<String, Constant>> {
    let mut chains = Chains::default();
    let mut read: BTreeSet<&str> = block.outputs.iter().map(String::as_str).collect();
    let mut linked = BTreeSet::new();
    for operation in &block.operations {
        let is_link = operation.r#type.starts_with("constexpr_");
        let names = operation.inputs.values().flat_map(|argument| &argument.arguments);
        let names = names.filter_map(|binding| match &binding.binding {
            Some(mil::binding::Binding::Name(name)) => Some(name.as_str()),
            _ => None,
        });
        if is_link {
            linked.extend(names)
        } else {
            read.extend(names)
        }
        let output = operation.outputs.first().map_or("", |output| output.name.as_str());
        let place = format!("{function}/{output}");
        if is_link {
            chains.link(operation, files, &place)?;
        } else if operation.r#type == "const" {
            let value = operation.attributes.get("val");
            let value = value.ok_or_else(|| malformed(&place, "a const without `val`"))?;
            // Lists and dictionaries are no constants of the graph; who needs one says so.
            if value.tensor_type().is_some() {
                chains.constant(output, files.constant(value, &place)?);
            }
        }
    }
    let mut constants = chains.finish();
    constants.retain(|name, _| read.contains(name.as_str()) || !linked.contains(name.as_str()));
    Ok(constants)
}

/// A package that contradicts itself.
fn malformed(place: &str, found: impl Into<String>) -> Error {
    Error::input(format!("package value `{place}`"), found, "fetch or convert the package again")
}

/// The element type of a message's number.
fn data_type(dtype: mil::DataType) -> Option<DataType> {
    Some(match dtype {
        mil::DataType::Bool => DataType::Bool,
        mil::DataType::String => DataType::String,
        mil::DataType::Float16 => DataType::Float16,
        mil::DataType::Float32 => DataType::Float32,
        mil::DataType::Float64 => DataType::Float64,
        mil::DataType::Int4 => DataType::Int4,
        mil::DataType::Int8 => DataType::Int8,
        mil::DataType::Int16 => DataType::Int16,
        mil::DataType::Int32 => DataType::Int32,
        mil::DataType::Int64 => DataType::Int64,
        mil::DataType::UInt1 => DataType::UInt1,
        mil::DataType::UInt2 => DataType::UInt2,
        mil::DataType::UInt3 => DataType::UInt3,
        mil::DataType::UInt4 => DataType::UInt4,
        mil::DataType::UInt6 => DataType::UInt6,
        mil::DataType::UInt8 => DataType::UInt8,
        mil::DataType::UInt16 => DataType::UInt16,
        mil::DataType::UInt32 => DataType::UInt32,
        mil::DataType::UInt64 => DataType::UInt64,
        mil::DataType::BFloat16 | mil::DataType::Float8E4M3FN | mil::DataType::Float8E5M2 => {
            return None;
        }
    })
}
