//! Inputs through functions, beside the same in float.

use super::trial::Shared;
use crate::execute::{Inputs, RowData, Rows, choose, run_on};
use crate::graph::{Function, Program};
use crate::metrics::Closeness;
use crate::model::decoder::ane::Host;
use crate::runtime::{Tensor, Tensors};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Drawn samples of each function.
const DRAWN: usize = 4;

/// Samples of data at most, spread over them.
pub const ROWS: usize = 64;

/// Inputs of functions, and what the model in float makes of them.
pub(super) struct Steps {
    backend: Shared,
    /// By function.
    fed: BTreeMap<String, (Inputs, Vec<Tensors>)>,
    /// Outputs of all functions.
    outputs: usize,
}

impl Steps {
    /// The functions that are run: the one that rows are for, else all that differ in what they
    /// compute: of a model its default function, of layers each.
    ///
    /// # Errors
    /// As [`choose`].
    pub(super) fn functions(program: &Program, one: bool) -> Result<Vec<String>> {
        let is_model = program.metadata.user.contains_key(crate::model::MODEL_TYPE);
        if one || is_model {
            return Ok(vec![choose(program, None)?.0.to_owned()]);
        }
        Ok(program.functions.keys().cloned().collect())
    }

    /// Inputs that follow from names alone.
    ///
    /// # Errors
    /// As [`Inputs::drawn`] and the backend.
    pub(super) fn drawn(
        functions: &BTreeMap<String, Function>,
        host: Option<&Host>,
        backend: Shared,
    ) -> Result<Self> {
        let drawn = |(name, function): (&String, &Function)| {
            Ok((name.clone(), Inputs::drawn(name, function, host, DRAWN)?))
        };
        let inputs = functions.iter().map(drawn).collect::<Result<_>>()?;
        Self::new(functions, inputs, backend)
    }

    /// Rows of samples for the one function.
    ///
    /// # Errors
    /// As [`Rows::open`] and the backend.
    pub(super) fn of_rows(
        functions: &BTreeMap<String, Function>,
        data: &RowData,
        backend: Shared,
    ) -> Result<Self> {
        let name = functions.keys().next().ok_or_else(|| Error::bug("rows", "for no function"))?;
        let tensors = data.tensors(&functions[name])?;
        let rows = Rows::open(&*tensors, functions, name)?;
        if rows.is_empty() {
            return Err(Error::Usage("--data gives no sample; give more of it".into()));
        }
        let (count, wanted) = (rows.len(), rows.len().min(ROWS));
        let chosen: BTreeSet<usize> = (0..wanted).map(|i| i * count / wanted).collect();
        let steps = rows.enumerate().filter(|(i, _)| chosen.contains(i)).map(|(_, row)| row);
        let inputs = Inputs { steps: steps.collect::<Result<_>>()?, states: Tensors::new() };
        Self::new(functions, [(name.clone(), inputs)].into(), backend)
    }

    fn new(
        functions: &BTreeMap<String, Function>,
        inputs: BTreeMap<String, Inputs>,
        backend: Shared,
    ) -> Result<Self> {
        let mut fed = BTreeMap::new();
        let mut outputs = 0;
        for (name, inputs) in inputs {
            let expected = run_on(&backend, &functions[&name], &inputs)?.steps;
            let is_number = |tensor: &&Tensor| tensor.as_float().is_some();
            outputs += expected.first().map_or(0, |step| step.values().filter(is_number).count());
            fed.insert(name, (inputs, expected));
        }
        if outputs == 0 {
            return Err(Error::Usage(
                "--scheme auto: no output is of floating-point numbers that could be compared"
                    .into(),
            ));
        }
        Ok(Self { backend, fed, outputs })
    }

    /// The functions with changed weights: the energy of each output's error for its own, the mean over
    /// all outputs, those of functions that did not change included.
    pub(super) fn divergence(&mut self, changed: &BTreeMap<String, Function>) -> Result<f64> {
        let mut sum = 0.0;
        for (name, function) in changed {
            let Some((inputs, expected)) = self.fed.get(name) else { continue };
            let got = run_on(&self.backend, function, inputs)?.steps;
            let mut outputs: BTreeMap<&str, Closeness> = BTreeMap::new();
            for (expected, got) in expected.iter().zip(&got) {
                for (output, expected) in expected {
                    let got = got.get(output).and_then(numbers);
                    if let Some((expected, got)) = numbers(expected).zip(got) {
                        outputs.entry(output).or_default().add(&expected, &got);
                    }
                }
            }
            sum += outputs.values().map(noise).sum::<f64>();
        }
        Ok(sum / self.outputs as f64)
    }
}

fn numbers(tensor: &Tensor) -> Option<Vec<f32>> {
    Some(tensor.as_float()?.iter().copied().collect())
}

/// The energy of the error for that of the signal; infinite where there is NaN or infinity.
pub(super) fn noise(closeness: &Closeness) -> f64 {
    match (closeness.broken, closeness.noise, closeness.signal) {
        (1.., ..) => f64::INFINITY,
        (0, 0.0, _) => 0.0,
        (0, noise, signal) => noise / signal,
    }
}
