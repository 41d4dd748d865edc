//! Operations that are rare enough to be left to the reference. Each run copies their arguments,
//! and allocates.

use super::{Io, Step};
use crate::graph::{Constant, DataType, Labels, ValueId};
use crate::runtime::constant::tensor_of;
use crate::runtime::cpu::buffers::Place;
use crate::runtime::cpu::node::{Found, Node, shape};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::reference::{self, Argument, Call, Mode};
use crate::runtime::{Data, Tensor};
use std::collections::BTreeMap;

/// Where an argument comes from at each run.
enum Source {
    Place(Place, DataType, Vec<usize>),
    Constant(Tensor),
    Text(String),
    Labels(Labels),
}

/// One operation as the reference does it, on values and on its constants.
pub(super) fn evaluate(node: Node<'_>, values: &BTreeMap<ValueId, Tensor>) -> Found<Vec<Tensor>> {
    let constants = node.operation.arguments.iter().map(|argument| {
        let weight = node.value(argument.value).constant.as_ref().and_then(Constant::as_weight);
        weight.map(|weight| tensor_of(weight, Mode::F32)).transpose()
    });
    let constants = constants.collect::<Result<Vec<_>, _>>()?;
    let mut arguments = Vec::with_capacity(constants.len());
    for (argument, tensor) in node.operation.arguments.iter().zip(&constants) {
        let value = node.value(argument.value);
        let bound = match (tensor.as_ref().or(values.get(&argument.value)), &value.constant) {
            (Some(tensor), _) => Argument::Tensor(tensor),
            (None, Some(Constant::Text(text))) => Argument::Text(text),
            (None, Some(Constant::Labels(labels))) => Argument::Labels(labels),
            (None, _) => return Err(format!("`{}` is not known", value.name)),
        };
        arguments.push((argument.param, bound));
    }
    reference::call(&Call { row: node.operation.row, arguments, mode: Mode::F32 })
}

pub(super) fn build(planner: &mut Planner<'_>, node: Node<'_>, outputs: &[Place]) -> Found<Step> {
    let mut sources = Vec::with_capacity(node.operation.arguments.len());
    for argument in &node.operation.arguments {
        let value = node.value(argument.value);
        let source = match &value.constant {
            Some(Constant::Text(text)) => Source::Text(text.clone()),
            Some(Constant::Labels(labels)) => Source::Labels(labels.clone()),
            Some(Constant::Tensor(weight)) => Source::Constant(tensor_of(weight, Mode::F32)?),
            None => {
                let ty = value.ty.tensor().ok_or_else(|| format!("cannot read {}", value.ty))?;
                Source::Place(planner.operand(argument.value)?, ty.dtype, shape(value)?)
            }
        };
        sources.push((argument.param, source));
    }
    let row = node.operation.row;
    let ids: Vec<ValueId> = node.operation.outputs.clone();
    let places: Vec<Place> = outputs.to_vec();
    Ok(Box::new(move |io: &mut Io<'_>| {
        let read: Vec<Option<Tensor>> = sources
            .iter()
            .map(|(_, source)| match source {
                Source::Place(place, dtype, shape) => {
                    Some(io.buffers.tensor(*place, *dtype, shape))
                }
                Source::Constant(_) | Source::Text(_) | Source::Labels(_) => None,
            })
            .collect();
        let mut arguments = Vec::with_capacity(sources.len());
        for ((param, source), read) in sources.iter().zip(&read) {
            let argument = match (source, read) {
                (_, Some(tensor)) | (Source::Constant(tensor), None) => Argument::Tensor(tensor),
                (Source::Text(text), None) => Argument::Text(text),
                (Source::Labels(labels), None) => Argument::Labels(labels),
                (Source::Place(..), None) => return Err(format!("`{param}` was not read")),
            };
            arguments.push((*param, argument));
        }
        let results = reference::call(&Call { row, arguments, mode: Mode::F32 })?;
        let mut next = 0;
        for (id, tensor) in ids.iter().zip(results) {
            if matches!(tensor.data, Data::Label(_) | Data::Scores(_)) {
                io.labels.insert(*id, tensor);
                continue;
            }
            let place = places.get(next).ok_or("it returns more than was planned")?;
            let count: usize = tensor.shape().iter().product();
            if count != place.len {
                return Err(format!("it returns {}, not {} elements", tensor.ty(), place.len));
            }
            io.outputs[next].copy_exact(&tensor, place.len);
            next += 1;
        }
        Ok(())
    }))
}
