//! What a whole model does with each tensor of its checkpoint, which its graph alone knows.

use super::inputs::{self, Input};
use super::package::{Subject, computes_in};
use crate::graph::weight::{Data, Storage};
use crate::graph::{DataType, Function, Program, Role, ValueId};
use crate::model::Whole;
use crate::model::parameters::Parameter;
use crate::plan::Options;
use crate::scheme::{Float, Scheme};
use crate::source::Source;
use crate::{Error, Result};
use std::collections::{BTreeSet, HashMap};

/// By tensor.
type Roles = (Vec<Option<Role>>, Vec<BTreeSet<Input>>);

/// What the model does with each of the source's tensors, in their order; `None` for one that it does
/// without; and what it multiplies it with. A tied weight that stands twice has one role.
///
/// # Errors
/// As [`Whole::program`].
pub(super) fn of(whole: &Whole, source: &Source, options: &Options) -> Result<Roles> {
    let places = places(source);
    let mut roles: Vec<Option<Role>> = vec![None; places.len()];
    let mut fed: Vec<BTreeSet<Input>> = vec![BTreeSet::new(); places.len()];
    let programs = in_float(whole, source, options)?;
    for function in programs.iter().flat_map(|program| program.functions.values()) {
        for (id, role) in function.roles() {
            if let Some(tensor) = tensor_of(function, id) {
                roles[tensor].get_or_insert_default().extend(role);
            }
        }
        inputs::each(function, |id, input| {
            if let Some(tensor) = tensor_of(function, id) {
                fed[tensor].insert(input);
            }
        });
    }
    for [copy, of] in &whole.copies {
        if let (Some(&copy), Some(&of)) = (places.get(copy.as_str()), places.get(of.as_str())) {
            roles[copy] = roles[of].clone();
            fed[copy] = fed[of].clone();
        }
    }
    Ok((roles, fed))
}

/// A function, and what tensor each of its constants is.
pub(super) type Numbered<'f> = (&'f Function, Box<dyn Fn(ValueId) -> Option<usize> + 'f>);

/// What `then` makes of the functions of a model or a package, in float, whose constants it may choose anew:
/// none of a package's that is compressed already. `None` for bare layers.
///
/// # Errors
/// As [`Whole::program`].
pub(super) fn with_functions<T>(
    subject: &Subject,
    source: &Source,
    options: &Options,
    then: impl FnOnce(Vec<Numbered<'_>>) -> T,
) -> Result<Option<T>> {
    match subject {
        Subject::Layers => Ok(None),
        Subject::Whole(whole) => {
            let programs = in_float(whole, source, options)?;
            let functions = programs.iter().flat_map(|program| program.functions.values());
            let number = |function| -> Numbered<'_> {
                (function, Box::new(move |id| tensor_of(function, id)))
            };
            Ok(Some(then(functions.map(number).collect())))
        }
        Subject::Program { program, constants } => {
            let mut places: HashMap<(&str, ValueId), usize> = HashMap::new();
            for (place, constant) in constants.iter().enumerate().filter(|(_, c)| !c.compressed) {
                let stands = constant.places.iter();
                places.extend(stands.map(|(name, id)| ((name.as_str(), *id), place)));
            }
            let number = |(name, function)| -> Numbered<'_> {
                let (name, places): (&String, _) = (name, &places);
                (function, Box::new(move |id| places.get(&(name.as_str(), id)).copied()))
            };
            Ok(Some(then(program.functions.iter().map(number).collect())))
        }
    }
}

/// The source's tensor that a constant of a planned function waits for.
pub(super) fn tensor_of(function: &Function, id: ValueId) -> Option<usize> {
    let weight = function.value(id).constant.as_ref()?.as_weight()?;
    weight.storage.operands().into_iter().find_map(|(_, operand)| match operand.data {
        Data::Later(slot) => Some(slot.tensor),
        Data::Bytes(_) => None,
    })
}

fn places(source: &Source) -> HashMap<&str, usize> {
    let places = source.tensors().iter().enumerate();
    places.map(|(place, tensor)| (tensor.name.as_str(), place)).collect()
}

/// The model with every weight in float, to come from the source.
///
/// # Errors
/// As [`Whole::program`].
pub(super) fn in_float(whole: &Whole, source: &Source, options: &Options) -> Result<Vec<Program>> {
    let places = places(source);
    let float = match computes_in(options) {
        DataType::Float32 => Float::F32,
        _ => Float::F16,
    };
    let storage = |parameter: &Parameter| {
        let place = places.get(parameter.name.as_str());
        let place = place.ok_or_else(|| Error::bug(&parameter.name, "no tensor of the source"))?;
        Ok(Storage::planned(Scheme::Float(float), &parameter.shape, *place))
    };
    let storages = whole.parameters.iter().map(storage).collect::<Result<_>>()?;
    Ok(whole.program(storages, options, computes_in(options))?.programs)
}
