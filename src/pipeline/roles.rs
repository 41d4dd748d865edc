//! What a whole model does with each tensor of its checkpoint, which its graph alone knows.

use super::inputs::{self, Input};
use super::package::computes_in;
use crate::graph::weight::{Data, Storage};
use crate::graph::{DataType, Role, ValueId};
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
    let places = source.tensors().iter().enumerate();
    let places: HashMap<&str, usize> = places.map(|(i, t)| (t.name.as_str(), i)).collect();
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
    let programs = whole.program(storages, options, computes_in(options))?.programs;
    let mut roles: Vec<Option<Role>> = vec![None; places.len()];
    let mut fed: Vec<BTreeSet<Input>> = vec![BTreeSet::new(); places.len()];
    for function in programs.iter().flat_map(|program| program.functions.values()) {
        let tensors = |id: ValueId| {
            let constant = function.value(id).constant.as_ref();
            let weight = constant.and_then(|constant| constant.as_weight());
            let operands = weight.into_iter().flat_map(|weight| weight.storage.operands());
            operands.filter_map(|(_, operand)| match operand.data {
                Data::Later(slot) => Some(slot.tensor),
                Data::Bytes(_) => None,
            })
        };
        for (id, role) in function.roles() {
            tensors(id).for_each(|at| roles[at].get_or_insert_default().extend(role.clone()));
        }
        inputs::each(function, |id, input| {
            for at in tensors(id) {
                fed[at].insert(input.clone());
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
