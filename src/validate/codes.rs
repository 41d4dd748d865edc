//! Codes of activations: another backend's beside the reference's.
//!
//! ```text
//! … ──▶ quantize ──▶ compared with the reference's
//!
//!       the reference's codes ──▶ dequantize ──▶ …
//! ```
//!
//! A number that lies within some roundings of f32 of a tie becomes one of two neighbouring codes, by
//! backend. What follows then differs by a step, and layer after layer makes more of it: in a
//! transformer of six layers, one such code is enough for outputs that part by a tenth. So the function
//! is cut at every `quantize`: what reads its codes gets the reference's, and states begin each step
//! as the reference's do. Nothing adds up, and each difference is of the operations between two cuts.
//!
//! How far a code is from right is told in its own steps: the distance of the reference's number from it,
//! beyond the half that rounding takes.

use super::golden::recorded;
use crate::execute::{Inputs, Ran, run_on};
use crate::graph::{Feature, Function, Operation, Value, ValueId};
use crate::report::validation::CodesCheck;
use crate::runtime::reference::Step;
use crate::runtime::{Backend, Mode, Reference, Tensor, Tensors};
use crate::{Error, Result};

/// Whether activations become codes on the way.
pub(super) fn has_codes(function: &Function) -> bool {
    function.operations.iter().any(is_quantize)
}

fn is_quantize(operation: &Operation) -> bool {
    operation.row.name == "quantize"
}

/// What the reference makes of some inputs.
pub(super) struct Followed {
    /// The outputs of each step.
    pub(super) ran: Ran,
    /// The inputs of the function, cut; what states hold when each step begins.
    steps: Vec<(Tensors, Tensors)>,
    /// By step and `quantize`: the numbers that codes are rounded from.
    numbers: Vec<Vec<Vec<f64>>>,
}

/// Follows the reference through a function.
///
/// # Errors
/// As [`Reference::evaluate`].
pub(super) fn follow(function: &Function, inputs: &Inputs) -> Result<Followed> {
    let mut states = inputs.states.clone();
    let (mut ran, mut steps, mut numbers) = (Ran::default(), vec![], vec![]);
    for step in &inputs.steps {
        let (mut fed, mut here, before) = (step.clone(), vec![], states.clone());
        let mut observe = |seen: &Step<'_>| {
            if is_quantize(seen.operation) {
                let (codes, exact) = quantized(seen)?;
                fed.insert(given(function, seen.operation), codes);
                here.push(exact);
            }
            Ok(())
        };
        let reference = Reference { mode: Mode::F32 };
        ran.steps.push(reference.evaluate(function, step, &mut states, &mut observe)?);
        steps.push((fed, before));
        numbers.push(here);
    }
    Ok(Followed { ran, steps, numbers })
}

/// The codes of a `quantize`, and the numbers that they are rounded from: x / scale + zero point, no
/// further out than codes are, and of what is no number its code.
fn quantized(seen: &Step<'_>) -> Result<(Tensor, Vec<f64>)> {
    let operation = seen.operation;
    let missing = || Error::bug(&operation.name, "it quantizes nothing");
    let tensor = |param| operation.argument(param).and_then(|id| seen.value(id));
    let codes = seen.value(operation.outputs[0]).ok_or_else(missing)?;
    let (low, high) = codes.dtype.range().ok_or_else(missing)?;
    let x = tensor("input").and_then(recorded).ok_or_else(missing)?;
    let scale = tensor("scale").and_then(recorded).ok_or_else(missing)?;
    let zero = tensor("zero_point").and_then(recorded).unwrap_or_else(|| vec![0.0; scale.len()]);
    let all = recorded(codes).ok_or_else(missing)?;
    // One scale, or as many as there are along the axis.
    let axis = tensor("axis").and_then(recorded).map_or(0, |axis| axis[0] as i64);
    let axis = axis.rem_euclid(codes.shape().len().max(1) as i64) as usize;
    let inner: usize = codes.shape().iter().skip(axis + 1).product();
    let number = |(i, (&x, &code)): (usize, (&f32, &f32))| {
        let at = i / inner.max(1) % scale.len();
        let number = f64::from(x) / f64::from(scale[at]) + f64::from(zero[at]);
        if number.is_nan() { f64::from(code) } else { number.clamp(low as f64, high as f64) }
    };
    Ok((codes.clone(), x.iter().zip(&all).enumerate().map(number).collect()))
}

/// What the codes of a `quantize` are called where they are given: no identifier, so no other value's
/// name.
fn given(function: &Function, quantize: &Operation) -> String {
    format!("{} as the reference has it", function.value(quantize.outputs[0]).name)
}

/// The function with its codes as outputs, and what reads them reading inputs.
fn cut(function: &Function) -> Function {
    let mut cut = function.clone();
    for quantize in function.operations.iter().filter(|operation| is_quantize(operation)) {
        let (codes, fed) = (quantize.outputs[0], ValueId(cut.values.len()));
        let ty = function.value(codes).ty.clone();
        cut.values.push(Value { name: given(function, quantize), ty, constant: None });
        cut.inputs.push(Feature::new(fed));
        let arguments = cut.operations.iter_mut().flat_map(|operation| &mut operation.arguments);
        arguments.filter(|argument| argument.value == codes).for_each(|a| a.value = fed);
        if !cut.outputs.iter().any(|output| output.value == codes) {
            cut.outputs.push(Feature::new(codes));
        }
    }
    cut
}

impl Followed {
    /// The outputs of a backend that is fed with the reference's codes, and its own codes beside those.
    ///
    /// # Errors
    /// As the backend.
    pub(super) fn beside(
        &self,
        name: &str,
        function: &Function,
        backend: &dyn Backend,
    ) -> Result<(Ran, CodesCheck)> {
        let quantizes: Vec<_> = function.operations.iter().filter(|o| is_quantize(o)).collect();
        let mut check = CodesCheck::new(name, [Reference::default().name(), backend.name()]);
        check.edges = quantizes.len() as u64;
        let (function, mut ran) = (cut(function), Ran::default());
        for ((fed, states), numbers) in self.steps.iter().zip(&self.numbers) {
            let inputs = Inputs { steps: vec![fed.clone()], states: states.clone() };
            let step = run_on(backend, &function, &inputs)?.steps.pop().unwrap_or_default();
            for (quantize, numbers) in quantizes.iter().zip(numbers) {
                let codes = |named: &Tensors, name: &str| named.get(name).and_then(recorded);
                let theirs = codes(fed, &given(&function, quantize)).unwrap_or_default();
                let codes = codes(&step, &function.value(quantize.outputs[0]).name);
                let codes = codes.unwrap_or_default();
                check.add(&quantize.name, numbers, &theirs, &codes);
            }
            ran.steps.push(step);
        }
        Ok((ran, check))
    }
}
