//! The functions in f32, some weights replaced by what their codes stand for.

use super::Data;
use super::steps::Steps;
use super::subject::Found;
use super::text::Texts;
use crate::auto::{Evaluator, Form, Metric};
use crate::graph::weight::{self, Bytes, Operand, Weight};
use crate::graph::{DataType, Function, Program, Value, ValueId};
use crate::model::decoder::ane::Host;
use crate::plan::Options;
use crate::quantize::guided;
use crate::runtime::{Backend, Prepared, Shapes, SharedCpu};
use crate::scheme::{Clip, Scheme};
use crate::source::SourceTensor;
use crate::tensor::{FloatType, Weights};
use crate::validate::widened;
use crate::{Error, Result};
use half::f16;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The model, run with weights stored in many ways.
pub(super) struct Trial<'f> {
    found: &'f Found,
    clip: Clip,
    /// The functions in float, by name.
    functions: BTreeMap<String, Function>,
    /// Where each tensor stands in each function.
    places: BTreeMap<String, Vec<(usize, ValueId)>>,
    fed: Fed,
}

/// What is fed, and what the model in float makes of it.
enum Fed {
    Texts(Box<Texts>),
    Steps(Steps),
}

impl<'f> Trial<'f> {
    /// Makes the functions and runs them in float.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text without a language model; as the evaluation.
    pub(super) fn new(
        found: &'f Found,
        options: &Options,
        data: &Data,
        metric: Metric,
    ) -> Result<Self> {
        let (source, program) = (&found.opened.source, &found.program);
        let mut functions = BTreeMap::new();
        let mut places: BTreeMap<String, Vec<(usize, ValueId)>> = BTreeMap::new();
        // A tensor that several functions hold is one piece of bytes, so that it is packed once.
        let names = match data {
            Data::Text(_) => vec![Texts::function(program)?],
            _ => Steps::functions(program, matches!(data, Data::Rows(_)))?,
        };
        for name in names {
            let function = &program.functions[&name];
            let mut lookup = |_: &Value, weight: &Weight| {
                let Some(at) = place(weight) else { return Ok(None) };
                Ok(source.values(&source.tensors()[at]))
            };
            functions.insert(name.clone(), widened(function, &mut lookup)?);
            places.insert(name, tensors(function));
        }
        let backend = Shared::default();
        let host = Host::of(program)?;
        let fed = match data {
            Data::Text(text) => {
                let function = functions.values().next();
                let function = function.ok_or_else(|| Error::bug("a text", "for no function"))?;
                let texts = Texts::new(function, host, text, metric, backend)?;
                Fed::Texts(Box::new(texts))
            }
            Data::Rows(data) => Fed::Steps(Steps::of_rows(&functions, data, backend)?),
            Data::Drawn => Fed::Steps(Steps::drawn(&functions, host.as_ref(), backend)?),
        };
        Ok(Self { found, clip: options.clip, functions, places, fed })
    }

    /// What a tensor's codes stand for, in f32; what is left in float is rounded to its type.
    fn decoded(&self, tensor: usize, scheme: Scheme) -> Result<Bytes> {
        let source = &self.found.opened.source;
        let of: &SourceTensor = &source.tensors()[tensor];
        let values = source.values(of).ok_or_else(|| Error::bug(&of.name, "it is no weight"))?;
        let bytes =
            |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let values = match scheme {
            Scheme::Float(crate::scheme::Float::F32) => values,
            Scheme::Float(crate::scheme::Float::F16) => {
                values.into_iter().map(|x| f16::from_f32(x).to_f32()).collect()
            }
            Scheme::Linear(_) | Scheme::Palette(_) => {
                let known = self.found.known(tensor, scheme);
                let guide = known.map(|known| known.guide(&of.name, &of.shape)).transpose()?;
                let stored = bytes(&values);
                let weights = Weights {
                    name: &of.name,
                    dtype: FloatType::F32,
                    shape: &of.shape,
                    bytes: &stored,
                };
                guided(weights, scheme, self.clip, guide.unwrap_or_default())?.values()
            }
        };
        Ok(bytes(&values).into())
    }

    /// The functions that hold these tensors, with them so; with `products` in INT8 where that is asked
    /// for.
    fn with(
        &self,
        forms: &BTreeMap<usize, Form>,
        products: bool,
    ) -> Result<BTreeMap<String, Function>> {
        let sources = self.found.opened.source.tensors();
        let mut decoded: BTreeMap<usize, Bytes> = BTreeMap::new();
        let mut changed = BTreeMap::new();
        for (name, function) in &self.functions {
            let places = &self.places[name];
            let here: Vec<_> =
                places.iter().filter(|(tensor, _)| forms.contains_key(tensor)).collect();
            if here.is_empty() {
                continue;
            }
            let mut function = function.clone();
            if let Some(pairs) = &self.found.pairs {
                pairs.put(&mut function, places, forms, sources, products);
            }
            for &&(tensor, id) in &here {
                let bytes = match decoded.get(&tensor) {
                    Some(bytes) => bytes.clone(),
                    None => self.decoded(tensor, forms[&tensor].scheme)?,
                };
                decoded.insert(tensor, bytes.clone());
                let constant = &mut function.values[id.0].constant;
                let weight = constant.as_ref().and_then(|constant| constant.as_weight());
                let weight = weight.ok_or_else(|| Error::bug(name, "a weight has gone"))?;
                let dense = Operand::new(DataType::Float32, &weight.shape, bytes);
                *constant = Some(Weight::dense(dense).into());
            }
            changed.insert(name.clone(), function);
        }
        Ok(changed)
    }
}

impl Evaluator for Trial<'_> {
    fn alone(&mut self, weight: usize, form: Form) -> Result<f64> {
        let tensor = self.found.tensors[weight][0];
        let changed = self.with(&[(tensor, form)].into(), false)?;
        match &mut self.fed {
            Fed::Texts(texts) => texts.sample(&changed),
            Fed::Steps(steps) => steps.divergence(&changed),
        }
    }

    fn together(&mut self, forms: &[Form]) -> Result<f64> {
        let own = self.found.tensors.iter().map(|tensors| tensors[0]);
        let mut all: BTreeMap<usize, Form> = own.zip(forms.iter().copied()).collect();
        all.extend(self.found.others());
        let changed = self.with(&all, true)?;
        match &mut self.fed {
            Fed::Texts(texts) => texts.all(&changed),
            Fed::Steps(steps) => steps.divergence(&changed),
        }
    }
}

/// The tensor of the source that a weight waits for.
fn place(weight: &Weight) -> Option<usize> {
    let operands = weight.storage.operands();
    operands.into_iter().find_map(|(_, operand)| match operand.data {
        weight::Data::Later(slot) => Some(slot.tensor),
        weight::Data::Bytes(_) => None,
    })
}

/// The tensors that a function's weights wait for, and where.
fn tensors(function: &Function) -> Vec<(usize, ValueId)> {
    let values = function.values.iter().enumerate();
    let found = values.filter_map(|(id, value)| {
        Some((place(value.constant.as_ref()?.as_weight()?)?, ValueId(id)))
    });
    found.collect()
}

/// The tensors that a program's weights wait for.
pub(super) fn places(program: &Program) -> BTreeSet<usize> {
    program.functions.values().flat_map(tensors).map(|(tensor, _)| tensor).collect()
}

/// The CPU, its packed weights shared by all who hold a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<SharedCpu>);

impl Backend for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        self.0.prepare(function, shapes)
    }
}
