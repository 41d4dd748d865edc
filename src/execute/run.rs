//! Steps through a backend.

use super::Inputs;
use crate::graph::{Function, Program};
use crate::runtime::{Backend, Mode, Prepared, Reference, Shapes, SharedCpu, Tensors};
use crate::text::listed;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Who evaluates, by the word on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// The definition.
    Reference,
    /// The same numbers, fast.
    Cpu,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Reference, Self::Cpu];

    /// The backend; the mode is the reference's.
    pub fn backend(self, mode: Mode) -> Box<dyn Backend> {
        match self {
            Self::Reference => Box::new(Reference { mode }),
            Self::Cpu => Box::new(SharedCpu::default()),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.backend(Mode::F32).name())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        let named = |engine: &Self| engine.to_string().eq_ignore_ascii_case(word);
        let found = Self::ALL.into_iter().find(named);
        found.ok_or_else(|| format!("unknown backend `{word}`; use reference or cpu"))
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// The outputs of each step.
    pub steps: Vec<Tensors>,
    /// What the states hold after the last.
    pub states: Tensors,
    /// In [`Mode::Ane`]: operations with sums whose partial sums passed the accumulator's limit, and
    /// how many.
    pub overflows: BTreeMap<String, u64>,
}

/// The function of this name; without one, the default.
///
/// # Errors
/// [`Error::Usage`] for a name that the program lacks, and for a program without functions.
pub fn choose<'p>(program: &'p Program, name: Option<&str>) -> Result<(&'p str, &'p Function)> {
    let default = Some(program.default_function.as_str()).filter(|name| !name.is_empty());
    let found = match name.or(default) {
        Some(name) => program.functions.get_key_value(name),
        None => program.functions.first_key_value(),
    };
    let (name, function) = found.ok_or_else(|| {
        let asked = name.unwrap_or(&program.default_function);
        let known = listed(program.functions.keys().map(String::as_str));
        Error::Usage(format!("there is no function `{asked}`; there are {known}"))
    })?;
    Ok((name, function))
}

/// Runs all steps, states carried from one to the next.
///
/// # Errors
/// As [`Backend::prepare`] and [`Prepared::run`].
pub fn run(function: &Function, inputs: &Inputs, engine: Engine, mode: Mode) -> Result<Ran> {
    let mut ran = Ran { states: inputs.states.clone(), ..Ran::default() };
    if engine == Engine::Cpu {
        return run_on(&SharedCpu::default(), function, inputs);
    }
    for step in &inputs.steps {
        let overflows = &mut ran.overflows;
        let outputs =
            Reference { mode }.evaluate(function, step, &mut ran.states, &mut |seen| {
                if seen.overflows > 0 {
                    *overflows.entry(seen.operation.name.clone()).or_default() += seen.overflows;
                }
                Ok(())
            })?;
        ran.steps.push(outputs);
    }
    Ok(ran)
}

/// The same on a backend that prepares functions.
///
/// # Errors
/// As [`Backend::prepare`] and [`Prepared::run`].
pub(crate) fn run_on(backend: &dyn Backend, function: &Function, inputs: &Inputs) -> Result<Ran> {
    let mut ran = Ran { states: inputs.states.clone(), ..Ran::default() };
    // Shapes may change from step to step; one preparation is held at a time.
    let mut ready: Option<(Shapes, Box<dyn Prepared>)> = None;
    for step in &inputs.steps {
        let shapes = shapes(step);
        if ready.as_ref().is_none_or(|(of, _)| *of != shapes) {
            drop(ready.take());
            let prepared = backend.prepare(function, &shapes)?;
            ready = Some((shapes, prepared));
        }
        let (_, prepared) = ready.as_mut().expect("prepared above");
        let mut outputs = Tensors::new();
        prepared.run(step, &mut ran.states, &mut outputs)?;
        ran.steps.push(outputs);
    }
    Ok(ran)
}

/// The shapes of tensors.
pub(crate) fn shapes(tensors: &Tensors) -> Shapes {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect()
}
