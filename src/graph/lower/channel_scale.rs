//! Channel scales of palettes become a `mul` behind the operation.
//!
//! `op(x, W · s) = op(x, W) · s` where `s` runs over output channels: this form fits every target,
//! and on the Neural Engine it is Apple's converter's own. A bias moves behind the `mul`. Rows of an
//! embedding are scaled after they are gathered, by their gathered scales.
//!
//! Not before iOS 26: there, and wherever the operation is no linear, convolution, matrix product or
//! gather along rows, the scale stays in the storage.

use crate::Error;
use crate::Result;
use crate::graph::ops::Row;
use crate::graph::weight::{Operand, Storage, Weight};
use crate::graph::{Argument, Constant, Function, Operation, Value, ValueId, names};
use crate::target::Target;
use std::borrow::Cow;

/// The same function, with `mul` operations for the channel scales that can move.
pub(super) fn separate(function: &Function, target: Target) -> Result<Cow<'_, Function>> {
    if target >= Target::Ios26 {
        return Ok(Cow::Borrowed(function));
    }
    let movable: Vec<_> = (0..function.values.len()).map(ValueId).collect();
    let movable: Vec<_> = movable.into_iter().filter(|id| moves(function, *id).is_some()).collect();
    if movable.is_empty() {
        return Ok(Cow::Borrowed(function));
    }
    let mut moving = Separation { function: function.clone() };
    for id in movable {
        moving.weight(id)?;
    }
    Ok(Cow::Owned(moving.function))
}

/// The channel scale of a value, if every reader of it can scale its own output.
fn moves(function: &Function, id: ValueId) -> Option<Operand> {
    let weight = function.value(id).constant.as_ref()?.as_weight()?;
    let Storage::Palette { table, table_scale, channel_scale: Some(scale), .. } = &weight.storage
    else {
        return None;
    };
    // Without its scale the weight must still be of a type that operations take.
    let float = table_scale.as_ref().unwrap_or(table).dtype == scale.dtype;
    let by_row = scale.shape.iter().zip(&weight.shape).skip(1).all(|(&s, _)| s == 1)
        && scale.shape.first() == weight.shape.first();
    let read = |op: &Operation| op.arguments.iter().any(|a| a.value == id);
    let mut readers = function.operations.iter().filter(|op| read(op));
    let all = readers.all(|op| scaled_shape(function, op, id).is_some());
    let leaves = function.outputs.iter().any(|output| output.value == id);
    (float && by_row && all && !leaves).then(|| scale.clone())
}

/// What shape the scales need to multiply the output of `op`, whose weight is `id`; gathered rows
/// keep the scale's own.
fn scaled_shape(function: &Function, op: &Operation, id: ValueId) -> Option<Vec<usize>> {
    let mut bound = op.arguments.iter().filter(|a| a.value == id).map(|a| a.param);
    let (param, None) = (bound.next()?, bound.next()) else { return None };
    let weight = function.value(id).ty.tensor()?.shape()?;
    let channels = *weight.first()?;
    let constant = |param: &str| {
        let argument = op.arguments.iter().find(|a| a.param == param)?;
        function.value(argument.value).constant.as_ref()
    };
    let int = |param: &str| constant(param).map_or(Some(vec![0]), Constant::as_ints);
    match (op.row.name, param) {
        ("linear", "weight") => Some(vec![1, channels]),
        ("conv", "weight") => {
            let mut shape = vec![1; weight.len()];
            shape[1] = channels;
            Some(shape)
        }
        // Experts: the first axis is a batch of matrices.
        ("matmul", "y") if weight.len() >= 3 => {
            let mut shape = vec![1; weight.len()];
            shape[0] = channels;
            Some(shape)
        }
        ("gather", "x") => {
            let rows = int("axis")? == [0] && int("batch_dims")? == [0];
            let mut shape = vec![1; weight.len()];
            shape[0] = channels;
            rows.then_some(shape)
        }
        _ => None,
    }
}

struct Separation {
    function: Function,
}

impl Separation {
    fn add(
        &mut self,
        name: &str,
        ty: crate::graph::ValueType,
        constant: Option<Constant>,
    ) -> ValueId {
        let name = names::free(name, |taken| self.function.find(taken).is_some());
        self.function.values.push(Value { name, ty, constant });
        ValueId(self.function.values.len() - 1)
    }

    fn scale(&mut self, name: &str, operand: Operand) -> ValueId {
        let constant = Constant::from(Weight::dense(operand));
        self.add(name, constant.ty(), Some(constant))
    }

    /// Takes the scale out of the weight `id` and behind each of its readers.
    fn weight(&mut self, id: ValueId) -> Result<()> {
        let scale = moves(&self.function, id).ok_or_else(|| bug("a scale that cannot move"))?;
        let scale_name = format!("{}_channel_scale", self.function.value(id).name);
        let mut operations = Vec::new();
        let all = std::mem::take(&mut self.function.operations);
        let reads =
            |id: ValueId| all.iter().flat_map(|op| &op.arguments).filter(|a| a.value == id).count();
        for op in &all {
            if op.arguments.iter().any(|a| a.value == id) {
                self.reader(op.clone(), id, &scale_name, &scale, &reads, &mut operations)?;
            } else {
                operations.push(op.clone());
            }
        }
        self.function.operations = operations;
        // The value is no longer the weight that bears the name.
        let name = format!("{}_unscaled", self.function.value(id).name);
        let name = names::free(&name, |taken| self.function.find(taken).is_some());
        let value = &mut self.function.values[id.0];
        value.name = name;
        if let Some(Constant::Tensor(weight)) = &mut value.constant
            && let Storage::Palette { channel_scale, .. } = &mut weight.storage
        {
            *channel_scale = None;
        }
        Ok(())
    }

    fn reader(
        &mut self,
        mut op: Operation,
        id: ValueId,
        scale_name: &str,
        scale: &Operand,
        reads: &dyn Fn(ValueId) -> usize,
        operations: &mut Vec<Operation>,
    ) -> Result<()> {
        let shape = scaled_shape(&self.function, &op, id).ok_or_else(|| bug("no shape"))?;
        let [output] = op.outputs[..] else { return Err(bug("several outputs")) };
        let Value { name, ty, .. } = self.function.value(output).clone();
        let bias = op.arguments.iter().position(|a| a.param == "bias");
        let bias = bias.map(|at| op.arguments.remove(at).value);
        let mut factor = self.scale(scale_name, scale.reshaped(shape.clone()));
        if op.row.name == "gather" {
            let mut arguments = op.arguments.clone();
            for argument in arguments.iter_mut().filter(|a| a.param == "x") {
                argument.value = factor;
            }
            factor = self.push(operations, "gather", &format!("{name}_scale"), arguments)?;
        }
        let raw = self.add(&format!("{name}_unscaled"), ty.clone(), None);
        op.name = self.function.value(raw).name.clone();
        op.outputs = vec![raw];
        operations.push(op);
        let Some(bias) = bias else {
            return self.finish(operations, "mul", [raw, factor], output);
        };
        let product = self.add(&format!("{name}_unbiased"), ty, None);
        self.finish(operations, "mul", [raw, factor], product)?;
        let bias = self.reshaped(bias, shape, reads(bias) == 1)?;
        self.finish(operations, "add", [product, bias], output)
    }

    /// A plain constant in another shape: itself, where only one operation reads it, or a copy.
    fn reshaped(&mut self, id: ValueId, shape: Vec<usize>, alone: bool) -> Result<ValueId> {
        let value = self.function.value(id);
        let weight = value.constant.as_ref().and_then(Constant::as_weight);
        let Some(Storage::Dense(values)) = weight.map(|weight| &weight.storage) else {
            return Err(bug("a bias that is not dense"));
        };
        let constant = Constant::from(Weight::dense(values.reshaped(shape)));
        if !alone {
            let name = format!("{}_row", value.name);
            return Ok(self.add(&name, constant.ty(), Some(constant)));
        }
        let value = &mut self.function.values[id.0];
        (value.ty, value.constant) = (constant.ty(), Some(constant));
        Ok(id)
    }

    fn push(
        &mut self,
        operations: &mut Vec<Operation>,
        operation: &str,
        name: &str,
        arguments: Vec<Argument>,
    ) -> Result<ValueId> {
        let row = Row::find(operation).ok_or_else(|| bug("no row"))?;
        let types = self.function.infer(row, &arguments, Target::Ios26).map_err(|why| bug(&why))?;
        let ty = types.into_iter().next().ok_or_else(|| bug("no output"))?;
        let output = self.add(name, ty, None);
        let (name, outputs) = (self.function.value(output).name.clone(), vec![output]);
        operations.push(Operation { name, row, arguments, outputs });
        Ok(output)
    }

    /// `x ∘ y` into a value that exists.
    fn finish(
        &mut self,
        operations: &mut Vec<Operation>,
        operation: &str,
        [x, y]: [ValueId; 2],
        output: ValueId,
    ) -> Result<()> {
        let row = Row::find(operation).ok_or_else(|| bug("no row"))?;
        let arguments = vec![Argument { param: "x", value: x }, Argument { param: "y", value: y }];
        let (name, outputs) = (self.function.value(output).name.clone(), vec![output]);
        operations.push(Operation { name, row, arguments, outputs });
        Ok(())
    }
}

fn bug(why: &str) -> Error {
    Error::bug("separating channel scales", why)
}
