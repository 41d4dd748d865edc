//! One operation after the other.

use super::call::counted;
use super::{Argument, Call, Mode, Tensor, Tensors, inputs, round};
use crate::graph::{Constant, Dim, Function, Operation, Value, ValueId, ValueType};
use crate::runtime::constant::tensor_of;
use crate::runtime::{Data, Memory, Prepared, Shapes};
use crate::{Error, Result};

/// What helps against data that an operation does not take.
pub(in crate::runtime) const REMEDY: &str = "give other inputs, or convert the model again";

/// What an observer sees after each operation.
#[derive(Debug)]
pub struct Step<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// The function's values that this or a later operation reads: inputs, states, constants,
    /// results.
    pub values: &'a [Option<Tensor>],
    /// In [`Mode::Ane`]: outputs whose partial sums passed the accumulator's limit.
    pub overflows: u64,
}

impl Step<'_> {
    /// A value that is known by now.
    pub fn value(&self, id: ValueId) -> Option<&Tensor> {
        self.values.get(id.0)?.as_ref()
    }
}

/// A function made ready: constants are decoded, and it is known when each value is read last.
///
/// Shapes are what the inputs have: nothing needs to be specialized.
#[derive(Debug)]
pub struct Evaluator {
    mode: Mode,
    function: Function,
    shapes: Shapes,
    /// The constants, and while it runs everything else.
    values: Vec<Option<Tensor>>,
    /// For each operation, the values that nobody reads after it.
    done: Vec<Vec<ValueId>>,
    memory: Memory,
}

impl Evaluator {
    /// Makes a function ready for inputs of any shape that it takes; of `shapes` where they are
    /// given.
    ///
    /// # Errors
    /// [`Error::Usage`] for shapes that the function does not take; [`Error::Input`] for constants
    /// that cannot be computed with.
    pub fn new(function: &Function, shapes: &Shapes, mode: Mode) -> Result<Self> {
        inputs::shapes(function, shapes)?;
        let values: Result<Vec<_>> =
            function.values.iter().map(|value| decoded(value, mode)).collect();
        let mut values = values?;
        values.iter_mut().flatten().for_each(|tensor| round::edge(mode, tensor));
        let weights = values.iter().flatten().map(bytes).sum();
        Ok(Self {
            mode,
            shapes: shapes.clone(),
            done: last_reads(function),
            function: function.clone(),
            values,
            memory: Memory { weights, activations: 0 },
        })
    }

    /// Runs once, showing each operation's results to `observe`. States are replaced when all went
    /// well.
    ///
    /// # Errors
    /// As [`Prepared::run`]; whatever `observe` returns.
    pub fn run(
        &mut self,
        inputs: &Tensors,
        states: &mut Tensors,
        observe: &mut dyn FnMut(&Step<'_>) -> Result<()>,
    ) -> Result<Tensors> {
        let outputs = self.steps(inputs, states, observe);
        for (value, tensor) in self.function.values.iter().zip(&mut self.values) {
            if value.constant.is_none() {
                *tensor = None;
            }
        }
        outputs
    }

    fn steps(
        &mut self,
        inputs: &Tensors,
        states: &mut Tensors,
        observe: &mut dyn FnMut(&Step<'_>) -> Result<()>,
    ) -> Result<Tensors> {
        self.enter(inputs, states)?;
        let mut written = vec![];
        let mut alive = self.alive();
        self.memory.activations = self.memory.activations.max(alive);
        for (operation, done) in self.function.operations.iter().zip(&self.done) {
            let (results, overflows) =
                evaluate(&self.function, operation, &self.values, self.mode)?;
            let targets = match operation.row.name {
                "write_state" => {
                    let state = operation.argument("input");
                    written.extend(state);
                    state.into_iter().collect()
                }
                _ => operation.outputs.clone(),
            };
            for (id, tensor) in targets.into_iter().zip(results) {
                alive += bytes(&tensor);
                let before = self.values[id.0].replace(tensor);
                alive -= before.as_ref().map_or(0, bytes);
            }
            self.memory.activations = self.memory.activations.max(alive);
            observe(&Step { operation, values: &self.values, overflows })?;
            for id in done {
                alive -= self.values[id.0].take().as_ref().map_or(0, bytes);
            }
        }
        let outputs = self.outputs()?;
        for id in written {
            if let Some(tensor) = &self.values[id.0] {
                states.insert(self.function.value(id).name.clone(), tensor.clone());
            }
        }
        Ok(outputs)
    }

    /// Puts inputs and states in their places.
    fn enter(&mut self, given: &Tensors, states: &Tensors) -> Result<()> {
        let function = &self.function;
        let mut tensors = inputs::inputs(function, given, &self.shapes)?.into_iter();
        for input in &function.inputs {
            let value = function.value(input.value);
            let tensor = match &value.ty {
                ValueType::State(ty) => {
                    Some(inputs::state(&value.name, ty, states.get(&value.name))?)
                }
                _ => tensors.next(),
            };
            self.values[input.value.0] = tensor.map(|mut tensor| {
                round::edge(self.mode, &mut tensor);
                tensor
            });
        }
        Ok(())
    }

    fn outputs(&self) -> Result<Tensors> {
        let outputs = self.function.outputs.iter().map(|output| {
            let name = &self.function.value(output.value).name;
            let tensor = self.values[output.value.0].clone();
            let missing = || Error::bug(format!("output `{name}`"), "no operation returned it");
            Ok((name.clone(), tensor.ok_or_else(missing)?))
        });
        outputs.collect()
    }

    fn alive(&self) -> u64 {
        let values = self.function.values.iter().zip(&self.values);
        values
            .filter(|(value, _)| value.constant.is_none())
            .filter_map(|(_, t)| t.as_ref())
            .map(bytes)
            .sum()
    }
}

impl Prepared for Evaluator {
    fn run(&mut self, inputs: &Tensors, states: &mut Tensors, outputs: &mut Tensors) -> Result<()> {
        *outputs = Evaluator::run(self, inputs, states, &mut |_| Ok(()))?;
        Ok(())
    }

    fn memory(&self) -> Memory {
        self.memory
    }
}

/// What operations see of a constant; `None` for words and labels, which are no tensors.
fn decoded(value: &Value, mode: Mode) -> Result<Option<Tensor>> {
    let Some(Constant::Tensor(weight)) = &value.constant else { return Ok(None) };
    let fault = |why| {
        let remedy = "convert the model with numbers of up to 32 bits";
        Error::input(format!("constant `{}`", value.name), why, remedy)
    };
    tensor_of(weight, mode).map(Some).map_err(fault)
}

/// The results of an operation on the function's values, checked against the declared types.
fn evaluate(
    function: &Function,
    operation: &Operation,
    values: &[Option<Tensor>],
    mode: Mode,
) -> Result<(Vec<Tensor>, u64)> {
    let place = || format!("{} `{}`", operation.row.name, operation.name);
    let arguments = operation.arguments.iter().map(|argument| {
        let value = function.value(argument.value);
        let bound = match (&values[argument.value.0], &value.constant) {
            (Some(tensor), _) => Argument::Tensor(tensor),
            (None, Some(Constant::Text(text))) => Argument::Text(text),
            (None, Some(Constant::Labels(labels))) => Argument::Labels(labels),
            (None, _) => {
                let why = format!("`{}` is read before it is defined", value.name);
                return Err(Error::bug(place(), why));
            }
        };
        Ok((argument.param, bound))
    });
    let arguments = arguments.collect::<Result<_>>()?;
    let fault = |why: String| Error::input(place(), why, REMEDY);
    let (results, overflows) =
        counted(&Call { row: operation.row, arguments, mode }).map_err(fault)?;
    let declared = operation.outputs.iter().map(|id| &function.value(*id).ty);
    for (ty, result) in declared.zip(&results) {
        if !is_of(result, ty) {
            return Err(fault(format!("it is declared {ty} and returns {}", result.ty())));
        }
    }
    if operation.outputs.len() > results.len() {
        let why =
            format!("{} outputs are declared, not {}", operation.outputs.len(), results.len());
        return Err(fault(why));
    }
    Ok((results, overflows))
}

fn is_of(tensor: &Tensor, ty: &ValueType) -> bool {
    match (ty, &tensor.data) {
        (ValueType::Scores(_), Data::Scores(_)) => true,
        (ValueType::Tensor(ty) | ValueType::State(ty), _) => {
            let shape = tensor.shape();
            let same = |(&dim, &size): (&Dim, &usize)| dim.may_equal(Dim::Fixed(size));
            tensor.dtype == ty.dtype
                && shape.len() == ty.rank()
                && ty.dims.iter().zip(shape).all(same)
        }
        _ => false,
    }
}

/// For each operation, the values that nobody reads after it: results without a reader among them.
/// Constants stay, as do outputs, and states, which a caller carries on.
fn last_reads(function: &Function) -> Vec<Vec<ValueId>> {
    let mut seen: Vec<bool> = function
        .values
        .iter()
        .map(|value| value.constant.is_some() || matches!(value.ty, ValueType::State(_)))
        .collect();
    function.outputs.iter().for_each(|output| seen[output.value.0] = true);
    let mut done: Vec<Vec<ValueId>> = function
        .operations
        .iter()
        .rev()
        .map(|operation| {
            let read = operation.arguments.iter().map(|argument| argument.value);
            let touched = read.chain(operation.outputs.iter().copied());
            touched.filter(|id| !std::mem::replace(&mut seen[id.0], true)).collect()
        })
        .collect();
    done.reverse();
    done
}

/// What a tensor takes in memory.
fn bytes(tensor: &Tensor) -> u64 {
    let bytes = match &tensor.data {
        Data::Float(array) => array.len() * 4,
        Data::Int(array) => array.len() * 4,
        Data::Bool(array) => array.len(),
        Data::Label(_) => 0,
        Data::Scores(scores) => size_of_val(&scores[..]),
    };
    bytes as u64
}
