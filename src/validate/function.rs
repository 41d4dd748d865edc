//! One function: its weights, its layers, its outputs.

use super::Options;
use super::agreement;
use super::codes;
use super::finite::not_finite;
use super::golden::{Golden, recorded, retyped};
use super::layers::{Layer, numbers};
use super::names::stem;
use super::outputs::{Compared, class_axis};
use super::source::Counterpart;
use crate::execute::{Engine, Inputs, Ran, run};
use crate::graph::weight::{Storage, Weight};
use crate::graph::{Function, Operation};
use crate::metrics::Closeness;
use crate::report::Validation;
use crate::report::validation::{Figures, LayerCheck};
use crate::runtime::{Mode, Reference};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// One function that is looked at.
pub(super) struct Check<'a> {
    pub(super) options: &'a Options,
    pub(super) name: &'a str,
    pub(super) function: &'a Function,
    pub(super) inputs: &'a Inputs,
    /// Original names by identifier.
    pub(super) original: &'a BTreeMap<String, String>,
    pub(super) golden: Option<&'a Golden>,
}

/// A layer, its counterpart, and what was measured.
struct Measured<'a> {
    layer: Layer<'a>,
    source: Option<&'a Operation>,
    weights: Option<Closeness>,
    outputs: Closeness,
}

impl Check<'_> {
    /// Looks at everything, enters it into `found`, and says which backends could run it.
    ///
    /// # Errors
    /// As the backends.
    pub(super) fn run(
        &self,
        source: Option<Counterpart>,
        found: &mut Validation,
    ) -> Result<Vec<Engine>> {
        let source = source.unwrap_or_default();
        found.findings.extend(source.findings);
        let (absent, rescaled) = (&source.absent, source.rescaled);
        let source = source.function.as_ref();
        let mut layers: Vec<Measured<'_>> = Layer::all(self.function)
            .into_iter()
            .map(|layer| Measured {
                layer,
                source: source
                    .filter(|_| !rescaled && !absent.contains(layer.value()))
                    .and_then(|source| layer.counterpart(source)),
                weights: None,
                outputs: Closeness::default(),
            })
            .collect();
        if rescaled {
            found.unproven.push(format!(
                "layers of {} by themselves: columns of its weights are scaled, and the source's are not; \
                 for their figures compare with a package of --scheme float16 and the same --smooth or \
                 --equalize",
                self.name
            ));
        } else if let Some(source) = source {
            self.compare_weights(source, absent, &mut layers, found)?;
        }
        let expected = self.source_outputs(source, &mut layers)?;
        let runs = self.runs(found)?;
        self.compare_outputs(&expected, &runs, found);
        self.find_not_finite(&expected, &runs, found);
        if self.options.mode == Mode::F32 {
            self.compare_backends(&runs, found)?;
        }
        self.compare_checkpoints(&mut layers)?;
        let overflows = runs.iter().find(|(engine, _)| **engine == Engine::Reference);
        let overflows =
            overflows.filter(|_| self.options.mode == Mode::Ane).map(|(_, r)| &r.overflows);
        found.layers.extend(layers.into_iter().map(|measured| self.report(measured, overflows)));
        Ok(runs.iter().map(|(engine, _)| **engine).collect())
    }

    fn compare_weights(
        &self,
        source: &Function,
        absent: &BTreeSet<String>,
        layers: &mut [Measured<'_>],
        found: &mut Validation,
    ) -> Result<()> {
        for measured in layers.iter_mut().filter(|m| !absent.contains(m.layer.value())) {
            let layer = &measured.layer;
            let param = layer.operation.arguments[layer.argument].param;
            let value = measured.source.and_then(|o| Some(source.value(o.argument(param)?)));
            let weight = value.and_then(|value| value.constant.as_ref()?.as_weight());
            let Some(weight) = weight else {
                let name = self.original_name(layer.value());
                found.findings.push(format!("{}: weight `{name}` has no counterpart", self.name));
                continue;
            };
            measured.weights = layer.compare_weights(weight)?;
            if measured.weights.is_none() {
                let (name, is, was) = (layer.value(), &layer.weight.shape, &weight.shape);
                found.findings.push(format!(
                    "{}: weight `{name}` is {is:?}, and {was:?} in the source",
                    self.name
                ));
                measured.source = None;
            }
        }
        Ok(())
    }

    /// Runs the source in f32, and each layer beside its counterpart; what is known of the outputs of
    /// each step, by name.
    fn source_outputs(
        &self,
        source: Option<&Function>,
        layers: &mut [Measured<'_>],
    ) -> Result<Vec<BTreeMap<String, Vec<f32>>>> {
        let Some(source) = source else {
            let step = |step| {
                let names =
                    self.function.outputs.iter().map(|o| &self.function.value(o.value).name);
                let known = names.filter_map(|name| {
                    let golden = self.golden?;
                    Some((name.clone(), golden.expected(self.name, step, "out", name)?))
                });
                known.collect()
            };
            return Ok((0..self.inputs.steps.len()).map(step).collect());
        };
        let mut states = retyped(&self.inputs.states, source);
        let reference = Reference { mode: Mode::F32 };
        let mut expected = Vec::new();
        for inputs in &self.inputs.steps {
            let mode = self.options.mode;
            let mut observe = |step: &crate::runtime::reference::Step<'_>| {
                for measured in layers.iter_mut() {
                    let counterpart = measured.source.filter(|o| o.name == step.operation.name);
                    if let Some(operation) = counterpart {
                        let sums = &mut measured.outputs;
                        measured.layer.compare_outputs(operation, step, mode, sums)?;
                    }
                }
                Ok(())
            };
            let inputs = retyped(inputs, source);
            let outputs = reference.evaluate(source, &inputs, &mut states, &mut observe)?;
            let plain = |(name, tensor)| Some((name, recorded(&tensor)?));
            expected.push(outputs.into_iter().filter_map(plain).collect());
        }
        Ok(expected)
    }

    /// The quantized function on each backend. One that cannot run it is told as not proven, if
    /// another can.
    fn runs<'o>(&'o self, found: &mut Validation) -> Result<Vec<(&'o Engine, Ran)>> {
        let mut runs = vec![];
        let mut refused = None;
        for engine in &self.options.engines {
            match run(self.function, self.inputs, *engine, self.options.mode) {
                Ok(ran) => runs.push((engine, ran)),
                Err(why @ Error::Input { .. }) => {
                    found.unproven.push(format!("{} on {engine}: {why}", self.name));
                    refused = Some(why);
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(why) if runs.is_empty() => Err(why),
            _ => Ok(runs),
        }
    }

    fn compare_outputs(
        &self,
        expected: &[BTreeMap<String, Vec<f32>>],
        runs: &[(&Engine, Ran)],
        found: &mut Validation,
    ) {
        let Some((_, ran)) = runs.first() else { return };
        for output in &self.function.outputs {
            let name = &self.function.value(output.value).name;
            let mut compared = Compared::default();
            for (expected, got) in expected.iter().zip(&ran.steps) {
                let (Some(expected), Some(got)) = (expected.get(name), got.get(name)) else {
                    continue;
                };
                let axis = class_axis(self.options, self.function, output.value, got.shape());
                if !compared.add(expected, got, axis) {
                    let (is, was) = (got.shape(), expected.len());
                    found.findings.push(format!(
                        "{}: output `{name}` is {is:?}, and the source's has {was} elements",
                        self.name
                    ));
                    break;
                }
            }
            found.outputs.extend(compared.finish(self.name, name));
        }
    }

    /// The backends beside each other; where activations become codes, from the reference's.
    fn compare_backends(&self, runs: &[(&Engine, Ran)], found: &mut Validation) -> Result<()> {
        let own = agreement::checks(self.name, self.function, runs);
        let other = runs.iter().find(|(engine, _)| **engine != Engine::Reference);
        let (true, true, Some((other, _))) =
            (!own.is_empty(), codes::has_codes(self.function), other)
        else {
            found.agreement.extend(own);
            return Ok(());
        };
        let followed = codes::follow(self.function, self.inputs)?;
        let backend = other.backend(Mode::F32);
        let (ran, check) = followed.beside(self.name, self.function, &*backend)?;
        let fed = [(&Engine::Reference, followed.ran), (*other, ran)];
        let mut checks = agreement::checks(self.name, self.function, &fed);
        for (check, own) in checks.iter_mut().zip(own) {
            check.own_codes = Some(own.relative);
        }
        found.agreement.extend(checks);
        found.codes.push(check);
        Ok(())
    }

    /// Outputs that are no longer finite, on the first backend where they are not.
    fn find_not_finite(
        &self,
        expected: &[BTreeMap<String, Vec<f32>>],
        runs: &[(&Engine, Ran)],
        found: &mut Validation,
    ) {
        for output in &self.function.outputs {
            let name = &self.function.value(output.value).name;
            let broken = |(engine, ran): &(&Engine, Ran)| {
                not_finite(self.name, name, **engine, ran, expected)
            };
            found.not_finite.extend(runs.iter().find_map(broken));
        }
    }

    /// The layers' results beside recorded ones, where a golden file has them.
    fn compare_checkpoints(&self, layers: &mut [Measured<'_>]) -> Result<()> {
        let Some(golden) = self.golden else { return Ok(()) };
        let mut states = self.inputs.states.clone();
        let reference = Reference { mode: self.options.mode };
        for (n, inputs) in self.inputs.steps.iter().enumerate() {
            let mut observe = |step: &crate::runtime::reference::Step<'_>| {
                for measured in layers.iter_mut() {
                    let operation = measured.layer.operation;
                    let id =
                        operation.outputs.first().filter(|_| operation.name == step.operation.name);
                    let Some(id) = id else { continue };
                    let name = &self.function.value(*id).name;
                    let expected = golden.expected(self.name, n, "layer", name);
                    let expected = expected.or_else(|| golden.expected(self.name, n, "out", name));
                    if let (Some(x), Some(y)) = (expected, step.value(*id).and_then(numbers)) {
                        measured.outputs.add(&x, &y);
                    }
                }
                Ok(())
            };
            reference.evaluate(self.function, inputs, &mut states, &mut observe)?;
        }
        Ok(())
    }

    fn report(
        &self,
        measured: Measured<'_>,
        overflows: Option<&BTreeMap<String, u64>>,
    ) -> LayerCheck {
        let Measured { layer, source: _, weights, outputs } = measured;
        LayerCheck {
            function: self.name.into(),
            operation: layer.operation.row.name.into(),
            weight: self.original_name(layer.value()).into(),
            shape: layer.weight.shape.clone(),
            stored_as: stored_as(layer.weight),
            bytes: layer.weight.storage.byte_len(),
            weights: weights.as_ref().map(Figures::new),
            outputs: (outputs.elements > 0).then(|| Figures::new(&outputs)),
            overflows: overflows.map(|o| o.get(&layer.operation.name).copied().unwrap_or(0)),
        }
    }

    fn original_name<'n>(&'n self, value: &'n str) -> &'n str {
        self.original.get(value).map_or(stem(value), String::as_str)
    }
}

/// How a weight is stored, in a few words: `int8, 512 scales`.
fn stored_as(weight: &Weight) -> String {
    let count = |n: usize, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    match &weight.storage {
        Storage::Dense(values) => values.dtype.to_string(),
        Storage::Linear { codes, scale, offset } => {
            let asymmetric = if offset.is_some() { ", asymmetric" } else { "" };
            format!("{}, {}{asymmetric}", codes.dtype, count(scale.elements(), "scale"))
        }
        Storage::Palette { indices, table, vector_axis: _, table_scale, channel_scale } => {
            let rank = weight.shape.len();
            let tables: usize = table.shape.iter().take(rank).product();
            let vector = table.shape.last().copied().unwrap_or(1);
            let bits = indices.dtype.bits().unwrap_or(0);
            let mut words = format!("palette-{bits}, {}", count(tables, "table"));
            for (is, word) in [
                (vector > 1, format!(", vectors of {vector}")),
                (table_scale.is_some(), ", int8 entries".into()),
                (channel_scale.is_some(), ", channel scales".into()),
            ] {
                words.push_str(if is { &word } else { "" });
            }
            words
        }
        Storage::Sparse { mask: _, values } => {
            let inner = Weight { shape: weight.shape.clone(), storage: (**values).clone() };
            format!("sparse {}", stored_as(&inner))
        }
    }
}
