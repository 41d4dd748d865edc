//! What a function is fed.

use super::convert::{Stored, convert};
use super::{draw, key};
use crate::graph::{Function, Program, ValueType};
use crate::runtime::Tensors;
use crate::source::Source;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The most steps of one run.
const MOST_STEPS: usize = 1 << 16;

/// Steps of tensors by the names of inputs, and states to begin with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// One map a step.
    pub steps: Vec<Tensors>,
    /// What states hold before the first step; those that are missing are zero.
    pub states: Tensors,
}

impl Inputs {
    /// Draws `steps` steps for a function of this name; see [`draw()`].
    ///
    /// # Errors
    /// As [`draw()`].
    pub fn drawn(name: &str, function: &Function, steps: usize) -> Result<Self> {
        let step = |step| draw(function, &format!("{name}/{step}"));
        Ok(Self { steps: (0..steps).map(step).collect::<Result<_>>()?, states: Tensors::new() })
    }

    /// Takes the inputs of `function` from a file, whose names say what they are for: see [`key`].
    /// Numbers become the declared types. Without `steps`, there are as many as the file has.
    ///
    /// # Errors
    /// [`Error::Usage`] for more steps than the file has; [`Error::Input`] for an input that is
    /// missing, given twice, or does not fit what the function declares.
    pub fn read(
        file: &Source,
        program: &Program,
        name: &str,
        steps: Option<usize>,
    ) -> Result<Self> {
        let function = &program.functions[name];
        let place = |key: &str| format!("{}, `{key}`", file.stem());
        let features: BTreeMap<&str, _> =
            function.inputs.iter().map(|f| (function.value(f.value).name.as_str(), f)).collect();
        // By step (None: every one) and input.
        let mut given: BTreeMap<Option<usize>, Tensors> = BTreeMap::new();
        let mut states = Tensors::new();
        for tensor in file.tensors() {
            let is_function = |word: &str| program.functions.contains_key(word);
            let Some(key) = key::parse(&tensor.name, &is_function) else { continue };
            let Some(feature) = features.get(key.name) else { continue };
            let is_state = matches!(function.value(feature.value).ty, ValueType::State(_));
            if key.function.is_some_and(|meant| meant != name) || is_state != key.is_state {
                continue;
            }
            let (dtype, shape) = (tensor.dtype, tensor.shape.as_slice());
            let stored = Stored { dtype, shape, bytes: file.bytes(tensor) };
            let converted = convert(stored, function, feature).map_err(|why| {
                let remedy = format!("store it as what function `{name}` declares");
                Error::input(place(&tensor.name), format!("input `{}` {why}", key.name), remedy)
            })?;
            let group = match is_state {
                true => &mut states,
                false => given.entry(key.step).or_default(),
            };
            if group.insert(key.name.into(), converted).is_some() {
                let found = format!("input `{}` is given twice", key.name);
                return Err(Error::input(place(&tensor.name), found, "leave one of them out"));
            }
        }
        let common = given.remove(&None).unwrap_or_default();
        let in_file = given.keys().next_back().map_or(0, |last| last.map_or(0, |last| last + 1));
        let count = match (steps, in_file) {
            (None, n) => n.max(1),
            (Some(asked), n) if n == 0 || asked <= n => asked,
            (Some(asked), n) => {
                return Err(Error::Usage(format!(
                    "--steps {asked}: {} has inputs of {n} steps",
                    file.stem()
                )));
            }
        };
        if count > MOST_STEPS {
            return Err(Error::Usage(format!("{count} steps are more than {MOST_STEPS}")));
        }
        let step = |step: usize| {
            let mut tensors = common.clone();
            for (input, tensor) in given.get(&Some(step)).into_iter().flatten() {
                if tensors.insert(input.clone(), tensor.clone()).is_some() {
                    let found = format!("input `{input}` is given with and without a step");
                    return Err(Error::input(file.stem(), found, "leave one of them out"));
                }
            }
            for (input, _) in features.iter().filter(|(input, f)| {
                let tensor = matches!(function.value(f.value).ty, ValueType::Tensor(_));
                tensor && !tensors.contains_key(**input)
            }) {
                let found = match count {
                    1 => format!("input `{input}` of function `{name}` is missing"),
                    _ => format!("input `{input}` of function `{name}` is missing in step {step}"),
                };
                let remedy = format!("add a tensor `{input}` or `in.{input}`");
                return Err(Error::input(file.stem(), found, remedy));
            }
            Ok(tensors)
        };
        Ok(Self { steps: (0..count).map(step).collect::<Result<_>>()?, states })
    }
}
