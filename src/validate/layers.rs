//! Layers with compressed weights, one by one: which of them is the culprit.

use super::names::stem;
use crate::graph::weight::{Storage, Weight};
use crate::graph::{Constant, Function, Operation, ValueType};
use crate::metrics::Closeness;
use crate::runtime::reference::{Argument, Call, Step, call};
use crate::runtime::{Data, Mode, Tensor, tensor_of};
use crate::{Error, Result};
use std::borrow::Cow;

/// An operation that reads a compressed constant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer<'a> {
    pub(super) function: &'a Function,
    pub(super) operation: &'a Operation,
    /// Which of its arguments is the constant.
    pub(super) argument: usize,
    pub(super) weight: &'a Weight,
}

impl<'a> Layer<'a> {
    /// The layers of a function, in its order.
    pub(super) fn all(function: &'a Function) -> Vec<Self> {
        let of = |operation: &'a Operation| {
            let compressed = |(argument, bound): (usize, &crate::graph::Argument)| {
                let weight = function.value(bound.value).constant.as_ref()?.as_weight()?;
                let dense = matches!(weight.storage, Storage::Dense(_));
                (!dense).then_some(Self { function, operation, argument, weight })
            };
            operation.arguments.iter().enumerate().filter_map(compressed).collect::<Vec<_>>()
        };
        function.operations.iter().flat_map(of).collect()
    }

    /// The name of the constant.
    pub(super) fn value(&self) -> &'a str {
        &self.function.value(self.operation.arguments[self.argument].value).name
    }

    /// The same layer in the source: the operation of the same name, else the one of its kind whose
    /// weight has the same name, else (where both functions have as many of its kind, with weights of
    /// the same shapes) the one in its place.
    pub(super) fn counterpart<'s>(&self, source: &'s Function) -> Option<&'s Operation> {
        let param = self.operation.arguments[self.argument].param;
        let mut operations = alike(source, self.operation).into_iter();
        let same_weight = |o: &&Operation| {
            let weight = o.argument(param).map(|id| stem(&source.value(id).name));
            weight == Some(stem(self.value()))
        };
        let by_name = operations.clone().find(|o| o.name == self.operation.name);
        by_name.or_else(|| operations.find(same_weight)).or_else(|| self.in_place(source, param))
    }

    fn in_place<'s>(&self, source: &'s Function, param: &str) -> Option<&'s Operation> {
        let own: Vec<_> = alike(self.function, self.operation);
        let theirs = alike(source, self.operation);
        let shape = |f: &Function, o: &Operation| f.value(o.argument(param)?).ty.tensor()?.shape();
        let same = |(a, b): (&&Operation, &&Operation)| shape(self.function, a) == shape(source, b);
        let place = own.iter().position(|o| o.name == self.operation.name)?;
        let all = own.len() == theirs.len() && own.iter().zip(&theirs).all(same);
        all.then(|| theirs[place])
    }

    /// The dequantized weight beside the source's; `None` if the source's has another shape.
    ///
    /// # Errors
    /// As [`Weight::dequantize`].
    pub(super) fn compare_weights(&self, source: &Weight) -> Result<Option<Closeness>> {
        if !super::source::same_shape(&self.weight.shape, &source.shape) {
            return Ok(None);
        }
        Ok(Closeness::of(&source.dequantize()?, &self.weight.dequantize()?))
    }

    /// Feeds the layer with what its counterpart in the source was fed with, and adds how near the
    /// results are to the counterpart's.
    ///
    /// # Errors
    /// [`Error::Input`] if it does not take what its counterpart takes.
    pub(super) fn compare_outputs(
        &self,
        source: &Operation,
        step: &Step<'_>,
        mode: Mode,
        sums: &mut Closeness,
    ) -> Result<()> {
        let refused = |why: String| {
            let place = format!("{} `{}`", self.operation.row.name, self.operation.name);
            Error::input(place, why, "compare with the package that it was made from")
        };
        let results = self.evaluate(source, step, mode).map_err(refused)?;
        for (id, result) in source.outputs.iter().zip(&results) {
            let (Some(x), Some(y)) = (step.value(*id).and_then(numbers), numbers(result)) else {
                continue;
            };
            let lengths = || refused(format!("gives {} numbers for {}", y.len(), x.len()));
            sums.merge(&Closeness::of(&x, &y).ok_or_else(lengths)?);
        }
        Ok(())
    }

    fn evaluate(
        &self,
        source: &Operation,
        step: &Step<'_>,
        mode: Mode,
    ) -> std::result::Result<Vec<Tensor>, String> {
        let mut tensors = Vec::new();
        for (place, argument) in self.operation.arguments.iter().enumerate() {
            let value = self.function.value(argument.value);
            tensors.push(match &value.constant {
                Some(Constant::Tensor(weight)) => Some(tensor_of(weight, mode)?),
                Some(Constant::Text(_) | Constant::Labels(_)) => None,
                None => {
                    let earlier = &self.operation.arguments[..place];
                    let nth = earlier.iter().filter(|a| a.param == argument.param).count();
                    let mut bound = source.arguments.iter().filter(|a| a.param == argument.param);
                    let fed = bound.nth(nth).and_then(|bound| step.value(bound.value));
                    let mut fed = fed
                        .ok_or_else(|| format!("`{}` has no counterpart", argument.param))?
                        .clone();
                    if let (ValueType::Tensor(ty), Data::Float(_)) = (&value.ty, &fed.data) {
                        fed.dtype = ty.dtype;
                    }
                    Some(fed)
                }
            });
        }
        let bound =
            self.operation.arguments.iter().zip(&tensors).filter_map(|(argument, tensor)| {
                let constant = &self.function.value(argument.value).constant;
                let bound = match (tensor, constant) {
                    (Some(tensor), _) => Argument::Tensor(tensor),
                    (None, Some(Constant::Text(text))) => Argument::Text(text),
                    (None, Some(Constant::Labels(labels))) => Argument::Labels(labels),
                    (None, _) => return None,
                };
                Some((argument.param, bound))
            });
        call(&Call { row: self.operation.row, arguments: bound.collect(), mode })
    }
}

/// The operations of a function that are of the kind of this one.
fn alike<'f>(function: &'f Function, operation: &Operation) -> Vec<&'f Operation> {
    function.operations.iter().filter(|o| o.row == operation.row).collect()
}

/// The numbers of a tensor, in row-major order; scores in the order of their labels. `None` for a
/// label.
pub(super) fn numbers(tensor: &Tensor) -> Option<Cow<'_, [f32]>> {
    Some(match &tensor.data {
        Data::Float(array) => match array.as_slice() {
            Some(slice) => slice.into(),
            None => array.iter().copied().collect(),
        },
        Data::Int(array) => array.iter().map(|&n| n as f32).collect(),
        Data::Bool(array) => array.iter().map(|&flag| f32::from(u8::from(flag))).collect(),
        Data::Scores(scores) => {
            let mut sorted: Vec<_> = scores.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            sorted.iter().map(|(_, score)| *score as f32).collect()
        }
        Data::Label(_) => return None,
    })
}
