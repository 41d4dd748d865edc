//! Tensors that are wanted otherwise than a checkpoint or a package holds them: transposed, with a
//! batch norm folded in, or decoded from codes.
//!
//! A derived tensor has its shape and type from the start; its bytes are made from stored ones, a few
//! rows at a time. A run makes all of them once, in one file that is mapped, so that everything behind
//! the source sees ordinary weights, and no tensor is held in memory. Folding is computed in f64 and
//! rounded once, to F32; transposing copies.

use super::{Source, SourceTensor};
use crate::graph::weight::Weight;
use crate::map::Map;
use crate::model::parameters::{BatchNorm, Derivation, Parameter};
use crate::tensor::{FloatType, Weights, decode, transposed};
use crate::{Error, Result};
use half::f16;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use twolane_formats::safetensors::Dtype;

/// Rows of a transpose that are made at once, at the most: as many streams as a core's cache follows.
const ROWS: usize = 32;

/// Bytes that are made at once, at the most, but for a single row.
const BLOCK: usize = 4 << 20;

/// Bytes that are decoded at once, at the most, but for a single row: codes and values take several
/// times as much on the way.
const DECODED: usize = 512 << 10;

/// How a derived tensor is made of stored ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Derived {
    recipe: Recipe,
    /// What is done to that.
    scalings: Vec<Scaling>,
    /// The type of the stored tensor in whose place it stands.
    from: FloatType,
    /// Its bytes in the file of all derived tensors.
    pub(super) at: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Recipe {
    /// As it stands.
    Stored,
    /// `[inputs, outputs]` turned.
    Transposed,
    /// Each row times its factor.
    Weight(Norm),
    /// What is left of the norm.
    Bias(Norm),
    /// What the codes of a compressed weight stand for.
    Decoded(Box<Weight>),
}

/// A factor for each place along an axis, to be multiplied by.
#[derive(Clone, Debug, PartialEq)]
struct Scaling {
    axis: usize,
    factors: Vec<f32>,
}

/// Gain, bias, mean and variance.
#[derive(Clone, Debug, PartialEq)]
struct Norm {
    parts: Box<[SourceTensor; 4]>,
    epsilon: f64,
}

impl Derived {
    /// A compressed weight, to be decoded.
    pub(super) fn decoded(weight: Weight, from: FloatType) -> Self {
        let recipe = Recipe::Decoded(Box::new(weight));
        Self { recipe, scalings: vec![], from, at: 0..0 }
    }

    /// What happened to the stored tensor, for people.
    fn words(&self) -> &'static str {
        match self.recipe {
            Recipe::Stored => "scaled by powers of two to make columns alike",
            Recipe::Transposed => "transposed from Conv1D",
            Recipe::Weight(_) => "the batch norm behind it is folded in",
            Recipe::Bias(_) => "what is left of the batch norm",
            Recipe::Decoded(_) => {
                "compressed before: errors are beside what its codes stand for, not beside the original"
            }
        }
    }

    /// Rows that are made at once, of this many bytes each.
    fn step(&self, row_bytes: usize) -> usize {
        let of = |block: usize| (block / row_bytes.max(1)).max(1);
        match &self.recipe {
            Recipe::Decoded(weight) => of(DECODED).next_multiple_of(weight.rows_per_code()),
            Recipe::Stored | Recipe::Transposed | Recipe::Weight(_) | Recipe::Bias(_) => {
                of(BLOCK).min(ROWS)
            }
        }
    }
}

impl SourceTensor {
    /// The type of its bytes in the checkpoint, in safetensors' words.
    pub fn stored_dtype(&self) -> String {
        let own = || self.dtype.to_string();
        self.derived.as_ref().map_or_else(own, |derived| derived.from.name().into())
    }

    /// Bytes in the input that it is made of, but for what several share.
    pub fn stored_bytes(&self) -> u64 {
        match self.derived.as_ref().map(|derived| &derived.recipe) {
            Some(Recipe::Decoded(weight)) => weight.byte_len(),
            _ => self.range.len() as u64,
        }
    }

    /// The name, in the checkpoint, of the tensor whose place it takes.
    pub fn stored_name(&self) -> &str {
        match self.derived.as_ref().map(|derived| &derived.recipe) {
            Some(Recipe::Bias(norm)) => &norm.parts[1].name,
            _ => &self.name,
        }
    }

    /// Whether the checkpoint holds its transpose.
    pub fn is_turned(&self) -> bool {
        matches!(&self.derived, Some(Derived { recipe: Recipe::Transposed, .. }))
    }

    /// Of what is left of a norm: the norm's other tensors, by name, each with the value that all its
    /// elements have in a norm that only adds its bias, `1 (x − 0) / √((1 − ε) + ε) + b`.
    pub fn neutral(&self) -> Vec<(&str, f32)> {
        let Some(Derived { recipe: Recipe::Bias(norm), .. }) = &self.derived else {
            return Vec::new();
        };
        let [gain, _, mean, variance] = &*norm.parts;
        let one = (1.0 - norm.epsilon) as f32;
        vec![(&gain.name, 1.0), (&mean.name, 0.0), (&variance.name, one)]
    }

    /// What was done to what the checkpoint holds, for people; `None` for a tensor as it stands.
    pub fn derivation(&self) -> Option<&'static str> {
        self.derived.as_ref().map(Derived::words)
    }
}

impl Source {
    /// Puts derived tensors in the places of those that they come from, as these parameters of a
    /// model say. Norms that are folded in disappear. No weight is read.
    ///
    /// # Errors
    /// [`Error::Input`] for a tensor that is not of a float type; [`Error::Bug`] for parameters of
    /// another checkpoint.
    pub fn derive(&mut self, parameters: &[Parameter]) -> Result<()> {
        let mut replaced: HashMap<usize, SourceTensor> = HashMap::new();
        let mut consumed = HashSet::new();
        for parameter in parameters {
            let ((place, from), recipe) = match &parameter.derivation {
                Derivation::Stored => continue,
                Derivation::Transposed => (self.place(&parameter.name)?, Recipe::Transposed),
                Derivation::FoldedWeight(norm) => {
                    let (places, norm) = self.norm(norm)?;
                    consumed.extend(places.map(|(place, _)| place));
                    (self.place(&parameter.name)?, Recipe::Weight(norm))
                }
                Derivation::FoldedBias(norm) => {
                    let (places, norm) = self.norm(norm)?;
                    (places[1], Recipe::Bias(norm))
                }
            };
            let stored = &self.tensors[place];
            if stored.elements() != parameter.shape.iter().map(|&d| d as u64).product::<u64>() {
                return Err(Error::bug(&parameter.name, "another number of elements"));
            }
            let dtype = if recipe == Recipe::Transposed { stored.dtype } else { Dtype::F32 };
            let derived = Some(Derived { recipe, scalings: vec![], from, at: 0..0 });
            let (name, shape) = (parameter.name.clone(), parameter.shape.clone());
            let tensor = SourceTensor { name, dtype, shape, derived, ..stored.clone() };
            replaced.insert(place, tensor);
        }
        let tensors = std::mem::take(&mut self.tensors).into_iter().enumerate();
        let now = tensors.filter_map(|(place, tensor)| {
            let stays = (!consumed.contains(&place)).then_some(tensor);
            replaced.remove(&place).or(stays)
        });
        self.tensors = now.collect();
        self.settle();
        Ok(())
    }

    /// Multiplies a tensor by a factor for each place along an axis, beside what is done to it already. No
    /// weight is read.
    ///
    /// # Errors
    /// [`Error::Bug`] for a tensor that is not of a float type, and for factors that do not fit.
    pub fn scale(&mut self, place: usize, axis: usize, factors: Vec<f32>) -> Result<()> {
        let tensor = &mut self.tensors[place];
        let from = tensor.float_type().filter(|_| tensor.shape.get(axis) == Some(&factors.len()));
        let from = from.ok_or_else(|| Error::bug(&tensor.name, "it cannot be scaled so"))?;
        let as_it_stands = || Derived { recipe: Recipe::Stored, scalings: vec![], from, at: 0..0 };
        tensor.derived.get_or_insert_with(as_it_stands).scalings.push(Scaling { axis, factors });
        self.settle();
        Ok(())
    }

    /// Keeps these tensors, by their places, and forgets the others.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let tensors = std::mem::take(&mut self.tensors).into_iter().enumerate();
        self.tensors = tensors.filter(|(place, _)| keep(*place)).map(|(_, t)| t).collect();
        self.settle();
    }

    /// Gives derived tensors their places in the file of all of them, and finds names anew.
    pub(super) fn settle(&mut self) {
        let mut end = 0;
        for tensor in &mut self.tensors {
            let bytes = tensor.byte_len() as usize;
            if let Some(derived) = &mut tensor.derived {
                derived.at = end..end + bytes;
                end = derived.at.end;
            }
        }
        let names = self.tensors.iter().enumerate();
        self.by_name = names.map(|(place, tensor)| (tensor.name.clone(), place)).collect();
    }

    /// The place of a tensor of a float type, and that type.
    fn place(&self, name: &str) -> Result<(usize, FloatType)> {
        let place = self.by_name.get(name).copied();
        let place = place.ok_or_else(|| Error::bug(name, "a parameter of another checkpoint"))?;
        let tensor = &self.tensors[place];
        let float = tensor.float_type().ok_or_else(|| {
            let found = format!("it is {}", tensor.dtype);
            Error::input(name, found, "weights of a model are F16, BF16 or F32")
        })?;
        Ok((place, float))
    }

    /// The places and types of a norm's tensors, and what they are.
    fn norm(&self, norm: &BatchNorm) -> Result<([(usize, FloatType); 4], Norm)> {
        let [gain, bias, mean, variance] = norm.tensors().map(|name| self.place(&name));
        let places = [gain?, bias?, mean?, variance?];
        let parts = Box::new(places.map(|(place, _)| self.tensors[place].clone()));
        Ok((places, Norm { parts, epsilon: norm.epsilon }))
    }

    /// Makes the bytes of all derived tensors, in a file of so many bytes that `create` gives, and maps
    /// it; once. Nothing is asked for where no tensor is derived.
    ///
    /// # Errors
    /// Of `create`; [`Error::Io`].
    pub fn make_derived(&self, create: impl FnOnce(u64) -> Result<File>) -> Result<()> {
        const SHOWN: &str = "the file of derived weights";
        let all = self.tensors.iter().filter_map(|t| Some((t, t.derived.as_ref()?)));
        let all: Vec<(&SourceTensor, &Derived)> = all.collect();
        let bytes = all.last().map_or(0, |(_, derived)| derived.at.end);
        if bytes == 0 || self.made.get().is_some() {
            return Ok(());
        }
        let file = create(bytes as u64)?;
        for (tensor, derived) in all {
            let rows = tensor.shape.first().copied().unwrap_or(1);
            let row_bytes = derived.at.len() / rows.max(1);
            let step = derived.step(row_bytes);
            (0..rows.div_ceil(step)).into_par_iter().try_for_each(|block| {
                let rows = block * step..rows.min((block + 1) * step);
                let at = derived.at.start + rows.start * row_bytes;
                let write = file.write_all_at(&self.make(tensor, derived, rows)?, at as u64);
                write.map_err(|source| Error::io("write", SHOWN, source))
            })?;
            self.files[tensor.file].map.done(tensor.range.clone());
        }
        // Another thread may have been faster; its bytes are the same.
        let _ = self.made.set(Map::of(&file, SHOWN)?);
        Ok(())
    }

    /// All values of a tensor of a float type, whether its bytes stand in a file or are made now.
    pub fn values(&self, tensor: &SourceTensor) -> Option<Vec<f32>> {
        let dtype = tensor.float_type()?;
        let mut values = vec![0.0; tensor.elements() as usize];
        match (&tensor.derived, self.weights(tensor)) {
            (_, Some(weights)) => weights.decode(0..values.len(), &mut values),
            (Some(derived), None) => {
                let rows = tensor.shape.first().copied().unwrap_or(1);
                decode(dtype, &self.make(tensor, derived, 0..rows).ok()?, &mut values);
            }
            (None, None) => return None,
        }
        Some(values)
    }

    /// Some rows of a derived tensor.
    ///
    /// # Errors
    /// [`Error::Bug`] for codes that do not hold together.
    fn make(
        &self,
        tensor: &SourceTensor,
        derived: &Derived,
        rows: Range<usize>,
    ) -> Result<Vec<u8>> {
        let (name, shape, dtype) = (tensor.name.as_str(), tensor.shape.as_slice(), derived.from);
        let bytes = &self.files[tensor.file].bytes()[tensor.range.clone()];
        let stored = Weights { name, dtype, shape, bytes };
        let first = rows.start;
        let made = match &derived.recipe {
            Recipe::Stored => {
                let row = bytes.len() / shape.first().copied().unwrap_or(1).max(1);
                bytes[rows.start * row..rows.end * row].to_vec()
            }
            Recipe::Transposed => match dtype.bytes() {
                2 => transposed::<2>(bytes, stored.rows(), rows),
                _ => transposed::<4>(bytes, stored.rows(), rows),
            },
            Recipe::Weight(norm) => {
                let cols = stored.cols();
                let factors = self.factors(norm, &rows);
                let values = elements(stored, rows.start * cols..rows.end * cols);
                let lines = values.chunks(cols.max(1)).zip(factors);
                let scaled =
                    lines.flat_map(|(line, f)| line.iter().map(move |&w| f64::from(w) * f));
                scaled.flat_map(|w| (w as f32).to_le_bytes()).collect()
            }
            Recipe::Bias(norm) => {
                let [_, bias, mean, _] = &*norm.parts;
                let (bias, mean) = (self.part(bias, &rows), self.part(mean, &rows));
                let rest = bias.into_iter().zip(mean).zip(self.factors(norm, &rows));
                let rest = rest.map(|((b, m), f)| f64::from(b) - f * f64::from(m));
                rest.flat_map(|b| (b as f32).to_le_bytes()).collect()
            }
            Recipe::Decoded(weight) => {
                let values = weight.dequantize_rows(rows)?.into_iter();
                match dtype.bytes() {
                    // They are values of FP16.
                    2 => values.flat_map(|w| f16::from_f32(w).to_le_bytes()).collect(),
                    _ => values.flat_map(f32::to_le_bytes).collect(),
                }
            }
        };
        scaled(tensor, &derived.scalings, first, made)
    }

    /// `g / √(v + ε)` of some channels.
    fn factors(&self, norm: &Norm, channels: &Range<usize>) -> Vec<f64> {
        let [gain, _, _, variance] = &*norm.parts;
        let pairs = self.part(gain, channels).into_iter().zip(self.part(variance, channels));
        pairs.map(|(g, v)| f64::from(g) / (f64::from(v) + norm.epsilon).sqrt()).collect()
    }

    fn part(&self, part: &SourceTensor, channels: &Range<usize>) -> Vec<f32> {
        elements(self.weights(part).expect("a norm is of a float type"), channels.clone())
    }
}

/// Bytes of a tensor from this row on, times its factors.
///
/// # Errors
/// [`Error::Input`] for an element that its type cannot hold then.
fn scaled(
    tensor: &SourceTensor,
    scalings: &[Scaling],
    row: usize,
    bytes: Vec<u8>,
) -> Result<Vec<u8>> {
    let Some(dtype) = tensor.float_type().filter(|_| !scalings.is_empty()) else {
        return Ok(bytes);
    };
    let (name, shape) = (tensor.name.as_str(), tensor.shape.as_slice());
    let cols: usize = shape.iter().skip(1).product();
    let mut values = vec![0.0; bytes.len() / dtype.bytes()];
    decode(dtype, &bytes, &mut values);
    for Scaling { axis, factors } in scalings {
        let inner: usize = shape[axis + 1..].iter().product();
        for (at, value) in values.iter_mut().enumerate() {
            *value *= factors[(row * cols + at) / inner.max(1) % factors.len()];
        }
    }
    let mut scaled = Vec::with_capacity(bytes.len());
    for value in values {
        match dtype {
            FloatType::F16 => scaled.extend(f16::from_f32(value).to_le_bytes()),
            FloatType::BF16 => scaled.extend(half::bf16::from_f32(value).to_le_bytes()),
            FloatType::F32 => scaled.extend(value.to_le_bytes()),
        }
    }
    if !all_finite(dtype, &scaled) && all_finite(dtype, &bytes) {
        let found =
            format!("a weight beyond the range of {} once columns are scaled", dtype.name());
        return Err(Error::input(
            name,
            found,
            "convert with --scheme float32, or leave --smooth or --equalize out",
        ));
    }
    Ok(scaled)
}

fn all_finite(dtype: FloatType, bytes: &[u8]) -> bool {
    let mut values = vec![0.0; bytes.len() / dtype.bytes()];
    decode(dtype, bytes, &mut values);
    values.iter().all(|value| value.is_finite())
}

fn elements(weights: Weights<'_>, range: Range<usize>) -> Vec<f32> {
    let mut values = vec![0.0; range.len()];
    weights.decode(range, &mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use twolane_formats::safetensors::Layout;

    /// A checkpoint of these tensors, each counting up from a number in steps of 1/8.
    fn source(tensors: &[(&str, Dtype, &[usize], f32)]) -> Source {
        let dir = tempfile::tempdir().unwrap();
        let listed = tensors.iter().map(|(name, dtype, shape, _)| {
            let name: String = (*name).into();
            (name, *dtype, shape.to_vec())
        });
        let listed: Vec<_> = listed.collect();
        let layout = Layout::new(&listed, &BTreeMap::new()).unwrap();
        let mut bytes = layout.header;
        bytes.resize(layout.file_len as usize, 0);
        for ((_, dtype, shape, first), offset) in tensors.iter().zip(layout.offsets) {
            for i in 0..shape.iter().product() {
                let value = first + i as f32 / 8.0;
                let (size, value) = match dtype {
                    Dtype::F16 => (2, f16::from_f32(value).to_le_bytes().to_vec()),
                    _ => (4, value.to_le_bytes().to_vec()),
                };
                bytes[offset as usize + i * size..][..size].copy_from_slice(&value);
            }
        }
        let path = dir.path().join("model.safetensors");
        fs::write(&path, bytes).unwrap();
        Source::open(path).unwrap()
    }

    fn parameter(name: &str, shape: &[usize], derivation: Derivation) -> Parameter {
        Parameter { name: name.into(), shape: shape.into(), derivation }
    }

    /// What a tensor holds, made at once and made in the file of a run.
    fn both(source: &Source, name: &str) -> [Vec<f32>; 2] {
        let tensor = source.tensor(name).unwrap();
        let before = source.values(tensor).unwrap();
        source.make_derived(|_| Ok(tempfile::tempfile().unwrap())).unwrap();
        let weights = source.weights(tensor).unwrap();
        [before, elements(weights, 0..weights.len())]
    }

    #[test]
    fn a_matrix_is_turned_whatever_its_type_and_size() {
        for (dtype, [inputs, outputs]) in [(Dtype::F16, [3, 101]), (Dtype::F32, [70, 33])] {
            let mut source =
                source(&[("a", Dtype::F32, &[2], 0.0), ("w", dtype, &[inputs, outputs], 1.0)]);
            source.derive(&[parameter("w", &[outputs, inputs], Derivation::Transposed)]).unwrap();
            assert_eq!(source.weights(source.tensor("w").unwrap()).map(|w| w.len()), None);
            let turned = |at: usize| 1.0 + (at % inputs * outputs + at / inputs) as f32 / 8.0;
            let want: Vec<f32> = (0..inputs * outputs).map(turned).collect();
            assert_eq!(both(&source, "w"), [want.clone(), want]);
        }
    }

    #[test]
    fn a_norm_is_folded_in_f64_and_disappears() {
        let names = ["n.weight", "n.bias", "n.running_mean", "n.running_var"];
        let starts = [0.5, -1.0, 2.0, 0.25];
        let channels = 40;
        let mut tensors = vec![("c.weight", Dtype::F16, &[40, 2, 1, 1][..], -3.0)];
        tensors
            .extend(names.iter().zip(starts).map(|(&n, first)| (n, Dtype::F32, &[40][..], first)));
        tensors.push(("z", Dtype::F32, &[1], 0.0));
        let mut source = source(&tensors);
        let norm = BatchNorm { name: "n".into(), epsilon: 1e-5 };
        let folded = [
            parameter("c.weight", &[channels, 2, 1, 1], Derivation::FoldedWeight(norm.clone())),
            parameter("c.bias", &[channels], Derivation::FoldedBias(norm)),
        ];
        source.derive(&folded).unwrap();
        let mut sorted: Vec<&str> = source.tensors().iter().map(|t| t.name.as_str()).collect();
        sorted.sort_unstable();
        assert_eq!(sorted, ["c.bias", "c.weight", "z"]);
        let of = |part: usize, channel: usize| f64::from(starts[part]) + channel as f64 / 8.0;
        let factor = |channel| of(0, channel) / (of(3, channel) + 1e-5).sqrt();
        let weight = |at: usize| (factor(at / 2) * (at as f64 / 8.0 - 3.0)) as f32;
        let want: Vec<f32> = (0..2 * channels).map(weight).collect();
        assert_eq!(both(&source, "c.weight"), [want.clone(), want]);
        let bias = |channel| (of(1, channel) - factor(channel) * of(2, channel)) as f32;
        let want: Vec<f32> = (0..channels).map(bias).collect();
        assert_eq!(both(&source, "c.bias"), [want.clone(), want]);
    }

    #[test]
    fn integers_are_not_turned() {
        let mut source = source(&[("w", Dtype::I32, &[2, 3], 0.0)]);
        let refused = source.derive(&[parameter("w", &[3, 2], Derivation::Transposed)]);
        insta::assert_snapshot!(refused.unwrap_err(), @"w: it is I32; weights of a model are F16, BF16 or F32");
    }
}
