//! Samples as the rows of tensors.

use super::convert::{Stored, check_pixels, convert};
use super::{draw, key};
use crate::graph::{Dim, Feature, Function, Program, ValueType};
use crate::runtime::{Shapes, Tensors};
use crate::source::{Source, SourceTensor};
use crate::{Error, Result};

/// Tensors `[N, ..]` of a file for the inputs `[B, ..]` of a function: `N / B` samples, `B` rows each,
/// read as they are asked for. Where the function takes any number of rows, `B` is 1.
///
/// Names are as for `quantize run` ([`key`]), without steps and states; numbers become the declared
/// types, and an input that may be left out its default value.
#[derive(Debug)]
pub struct Rows<'a> {
    file: &'a Source,
    function: &'a Function,
    inputs: Vec<Input<'a>>,
    samples: usize,
}

/// An input and what is stored for it.
#[derive(Debug)]
struct Input<'a> {
    name: &'a str,
    feature: &'a Feature,
    /// `None`: its default value.
    tensor: Option<&'a SourceTensor>,
    /// The shape of one sample.
    shape: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// Finds the tensors of each input of the function `name`.
    ///
    /// # Errors
    /// [`Error::Input`] for an input that is missing, given twice or has no rows, and for numbers of
    /// rows that do not fit together.
    pub fn open(file: &'a Source, program: &'a Program, name: &str) -> Result<Self> {
        let function = &program.functions[name];
        let is_function = |word: &str| program.functions.contains_key(word);
        let mut inputs = Vec::new();
        let mut samples: Option<usize> = None;
        for feature in &function.inputs {
            let value = function.value(feature.value);
            let ValueType::Tensor(ty) = &value.ty else { continue };
            let place = format!("{}, input `{}`", file.stem(), value.name);
            let wrong = |found: String, remedy: &str| Error::input(&place, found, remedy);
            let of_this = |tensor: &&SourceTensor| {
                let key = key::parse(&tensor.name, &is_function);
                key.is_some_and(|key| {
                    let here = key.function.is_none_or(|meant| meant == name);
                    here && key.name == value.name && key.step.is_none() && !key.is_state
                })
            };
            let mut found = file.tensors().iter().filter(of_this);
            let input = match (found.next(), found.next()) {
                (Some(_), Some(_)) => {
                    return Err(wrong("it is given twice".into(), "leave one of them out"));
                }
                (None, _) if feature.default.is_some() => {
                    Input { name: &value.name, feature, tensor: None, shape: Vec::new() }
                }
                (None, _) => {
                    let remedy = "add a tensor of this name, its samples along the first axis";
                    return Err(wrong("there is no tensor for it".into(), remedy));
                }
                (Some(tensor), None) => {
                    let batch = match ty.dims.first() {
                        Some(Dim::Fixed(batch)) => (*batch).max(1),
                        _ => 1,
                    };
                    let rows = tensor.shape.first().copied().unwrap_or(0);
                    let count = rows / batch;
                    let others = samples.replace(count).filter(|&others| others != count);
                    if rows == 0 || rows % batch != 0 || others.is_some() {
                        let found = match others {
                            Some(n) => format!("{count} samples beside {n} of another input"),
                            None => format!("{rows} rows for samples of {batch}"),
                        };
                        return Err(wrong(found, "give as many rows for each input"));
                    }
                    let shape = [&[batch], &tensor.shape[1..]].concat();
                    Input { name: &value.name, feature, tensor: Some(tensor), shape }
                }
            };
            inputs.push(input);
        }
        Ok(Self { file, function, inputs, samples: samples.unwrap_or(0) })
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// The shapes of one sample; those of inputs that are left out follow from their types.
    pub fn shapes(&self) -> Shapes {
        let given = self.inputs.iter().filter(|input| input.tensor.is_some());
        given.map(|input| (input.name.to_owned(), input.shape.clone())).collect()
    }

    /// A sample.
    ///
    /// # Errors
    /// [`Error::Input`] for what does not fit what the function declares.
    pub fn get(&self, sample: usize) -> Result<Tensors> {
        let one = |Input { name, feature, tensor, shape }: &Input<'_>| {
            let place = || format!("{}, input `{name}`", self.file.stem());
            let wrong = |why: String| {
                let remedy = "store it as what the function declares, samples along the first axis";
                Error::input(place(), format!("in sample {sample}, it {why}"), remedy)
            };
            let tensor = match tensor {
                None => draw::left_out(self.function, feature, None).map_err(wrong)?,
                Some(tensor) => {
                    let bytes = self.file.bytes(tensor);
                    let size = bytes.len() / self.samples;
                    let bytes = bytes.get(sample * size..(sample + 1) * size);
                    let bytes = bytes.ok_or_else(|| Error::bug(place(), "no such sample"))?;
                    let stored = Stored { dtype: tensor.dtype, shape, bytes };
                    let converted = convert(stored, self.function, feature).map_err(wrong)?;
                    check_pixels(&converted, feature.image).map_err(wrong)?;
                    Some(converted)
                }
            };
            let tensor = tensor.ok_or_else(|| Error::bug(place(), "it has no default"))?;
            Ok(((*name).to_owned(), tensor))
        };
        self.inputs.iter().map(one).collect()
    }
}
