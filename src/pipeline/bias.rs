//! Bias correction: what quantized weights shift a layer's output by, on average, is taken from its bias.
//!
//! `E[W x] − E[Ŵ x] = (W − Ŵ) E[x]` (Nagel et al. 2019, arXiv:1906.04721, section 4.2; Finkelstein et al. 2019,
//! arXiv:1906.03193), `E[x]` as it was counted of the model in float. Where nothing is rounded the correction
//! is zero. It is exact for a linear layer; of a convolution with padding it takes every tap to see
//! the mean input. A layer without a bias gets none.

use super::inputs::Known;
use super::output::OutputFile;
use super::package::Subject;
use super::roles;
use super::run::Outcome;
use super::sink::{Content, Sink};
use crate::calibrate::{Calibration, Feed};
use crate::plan::{Options, Plan};
use crate::quantize::{Params, Quantizer};
use crate::scheme::Float;
use crate::source::Source;
use crate::tensor::Weights;
use crate::text::listed;
use crate::{Error, Result};
use half::f16;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// A layer whose bias makes up for its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction {
    weight: usize,
    bias: usize,
}

/// The mean input of each column of a weight `[O, I, *taps]`, seen as a matrix.
#[derive(Debug)]
pub(super) struct Means {
    /// `[groups, I · taps]`.
    columns: Vec<f64>,
    cols: usize,
    /// Rows of a group of a convolution: all of them where there is one group.
    rows: usize,
}

impl Means {
    /// From the mean of each input channel; all taps of one see it. `None` where they do not fit the shape.
    fn new(means: &[f64], shape: &[usize]) -> Option<Self> {
        let &[outputs, inputs, ref taps @ ..] = shape else { return None };
        let taps: usize = taps.iter().product();
        let groups =
            means.len().checked_div(inputs).filter(|groups| groups * inputs == means.len())?;
        let rows = outputs.checked_div(groups).filter(|rows| rows * groups == outputs)?;
        let columns = means.iter().flat_map(|&mean| std::iter::repeat_n(mean, taps)).collect();
        Some(Self { columns, cols: inputs * taps, rows })
    }

    /// `Σ (w − ŵ) E[x]` of each of these rows, which have just been encoded.
    ///
    /// # Errors
    /// As [`Quantizer::decode`].
    pub(super) fn shift(
        &self,
        weights: Weights<'_>,
        quantizer: &Quantizer<'_>,
        rows: &Range<usize>,
        codes: &[u8],
        params: &Params,
    ) -> Result<Vec<f64>> {
        let cols = self.cols;
        let mut exact = vec![0.0; rows.len() * cols];
        weights.decode(rows.start * cols..rows.end * cols, &mut exact);
        let mut decoded = vec![f16::ZERO; exact.len()];
        quantizer.decode(rows.clone(), codes, params, &mut decoded)?;
        let lines = exact.chunks(cols).zip(decoded.chunks(cols)).zip(rows.clone());
        let shift = lines.map(|((exact, decoded), row)| {
            let means = &self.columns[row / self.rows * cols..][..cols];
            let terms = exact.iter().zip(decoded).zip(means);
            terms.map(|((w, q), mean)| (f64::from(*w) - q.to_f64()) * mean).sum()
        });
        Ok(shift.collect())
    }
}

/// The layers that are corrected; the mean inputs of their weights go to `known`, and what is done to the
/// notes of their biases. Of a weight or a bias that another layer reads as well, neither changes.
///
/// # Errors
/// [`Error::Usage`] where a calibration is missing, is of another model or form, and where there is no layer
/// to correct.
pub(super) fn find(
    source: &Source,
    subject: &Subject,
    plan: &mut Plan,
    known: &mut [Known],
) -> Result<Vec<Correction>> {
    if !plan.options.bias_correction {
        return Ok(vec![]);
    }
    let usage = |why: &str| Err(Error::Usage(format!("--bias-correction: {why}")));
    let Some(calibration) = plan.options.counts().cloned() else {
        return usage("what inputs are on average comes from data; add --calibration");
    };
    let layers = layers(source, subject, &plan.options)?;
    let mut corrections = Vec::new();
    let mut old = BTreeSet::new();
    for (weight, Layer { bias, inputs }) in layers {
        if !plan.tensors[weight].is_quantized() || plan.tensors[bias].is_quantized() {
            continue;
        }
        let names = || listed(inputs.iter().map(String::as_str));
        match means(&calibration, &inputs) {
            Ok(Some(means)) => {
                let shape = &plan.tensors[weight].shape;
                let means = Means::new(&means, shape).ok_or_else(|| {
                    let place = format!("tensor `{}`", plan.tensors[weight].name);
                    let found = "the columns that were counted of its input are not its own";
                    Error::input(place, found, "calibrate this model again")
                })?;
                known[weight].means = Some(Arc::new(means));
                let note = format!(
                    "less what rounding `{}` adds to its outputs on average, by E[x] of {}",
                    plan.tensors[weight].name,
                    names()
                );
                plan.tensors[bias].notes.push(note);
                corrections.push(Correction { weight, bias });
            }
            Ok(None) => {
                let note = format!("not corrected: not counted in the calibration: {}", names());
                plan.tensors[bias].notes.push(note);
            }
            Err(Uncounted) => old.extend(inputs),
        }
    }
    match (corrections.is_empty(), old.is_empty()) {
        (false, _) => Ok(corrections),
        (true, false) => usage(
            "the calibration is of an older form, without the sums of columns; run `quantize calibrate` \
             again",
        ),
        (true, true) => usage(
            "no layer that was calibrated has both a weight that is quantized and a bias; leave it out",
        ),
    }
}

/// A value has columns whose sums were not counted.
struct Uncounted;

/// The mean of each column of these values together; `None` if none of them was counted.
fn means(
    calibration: &Calibration,
    inputs: &BTreeSet<String>,
) -> std::result::Result<Option<Vec<f64>>, Uncounted> {
    let mut all: Vec<f64> = Vec::new();
    let mut count = 0.0;
    for name in inputs {
        let Some(entry) = calibration.values.get(name) else { return Ok(None) };
        if entry.statistics.squares().is_empty() {
            return Ok(None);
        }
        let (sums, numbers) = entry.statistics.sums().ok_or(Uncounted)?;
        all.resize(sums.len().max(all.len()), 0.0);
        all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
        count += numbers;
    }
    all.iter_mut().for_each(|sum| *sum /= count);
    Ok((count > 0.0).then_some(all))
}

/// What stands around a weight.
struct Layer {
    bias: usize,
    inputs: BTreeSet<String>,
}

/// The layers whose weight and bias are constants that no other layer reads, by weight.
fn layers(source: &Source, subject: &Subject, options: &Options) -> Result<BTreeMap<usize, Layer>> {
    let found = roles::with_functions(subject, source, options, |functions| {
        let mut layers: BTreeMap<usize, Layer> = BTreeMap::new();
        // Who reads each tensor: of a weight its bias, and of a bias its weight, if it has one.
        let mut partners: BTreeMap<usize, BTreeSet<Option<usize>>> = BTreeMap::new();
        for (function, number) in &functions {
            for operation in &function.operations {
                let feed = Feed::of(function, operation).filter(|feed| !feed.turned);
                let bias = operation.argument("bias").and_then(number);
                let weight = feed.as_ref().and_then(|feed| number(feed.weight));
                for read in operation.arguments.iter().filter_map(|a| number(a.value)) {
                    let partner = match () {
                        () if Some(read) == weight => bias,
                        () if Some(read) == bias => weight,
                        () => None,
                    };
                    partners.entry(read).or_default().insert(partner);
                }
                if let (Some(feed), Some(weight), Some(bias)) = (feed, weight, bias) {
                    let new = || Layer { bias, inputs: BTreeSet::new() };
                    let layer = layers.entry(weight).or_insert_with(new);
                    layer.inputs.insert(function.value(feed.value).name.clone());
                }
            }
        }
        let alone = |tensor: usize, other: usize| partners[&tensor].iter().eq([&Some(other)]);
        layers.retain(|&weight, layer| alone(weight, layer.bias) && alone(layer.bias, weight));
        layers
    });
    Ok(found?.unwrap_or_default())
}

/// Writes the biases anew, wherever they went: all weights have been encoded.
///
/// # Errors
/// [`Error::Bug`] for a bias that has no values; [`Error::Io`].
pub(super) fn write(
    corrections: &[Correction],
    source: &Source,
    outcomes: &[Outcome],
    sinks: &[Vec<Sink>],
    files: &[OutputFile],
) -> Result<()> {
    for &Correction { weight, bias } in corrections {
        let tensor = &source.tensors()[bias];
        let exact = source.values(tensor);
        let shift = &outcomes[weight].shift;
        let exact = exact.filter(|exact| exact.len() == shift.len());
        let exact = exact.ok_or_else(|| Error::bug(&tensor.name, "no bias of that weight"))?;
        let corrected = exact.iter().zip(shift).map(|(&b, shift)| (f64::from(b) + shift) as f32);
        let corrected: Vec<f32> = corrected.collect();
        for sink in &sinks[bias] {
            let bytes: Vec<u8> = match sink.content {
                Content::Values(Float::F16) => {
                    corrected.iter().flat_map(|&b| f16::from_f32(b).to_le_bytes()).collect()
                }
                Content::Values(Float::F32) => {
                    corrected.iter().flat_map(|b| b.to_le_bytes()).collect()
                }
                _ => return Err(Error::bug(&tensor.name, "a bias has only sinks of values")),
            };
            files[sink.file].write_at(&bytes, sink.offset)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Clip;
    use crate::tensor::FloatType;

    /// What is taken from each row of a weight, encoded in two pieces.
    fn shift(values: &[f32], shape: &[usize], scheme: &str, means: &[f64]) -> Vec<f64> {
        let bytes: Vec<u8> = values.iter().flat_map(|w| w.to_le_bytes()).collect();
        let weights = Weights { name: "w", dtype: FloatType::F32, shape, bytes: &bytes };
        let quantizer = Quantizer::new(weights, scheme.parse().unwrap(), Clip::Mse).unwrap();
        let means = Means::new(means, shape).unwrap();
        let mut all = Vec::new();
        for rows in [0..2, 2..shape[0]] {
            let mut codes = vec![0; quantizer.code_len(rows.len())];
            let encoded = quantizer.encode(rows.clone(), &mut codes).unwrap();
            let shift = means.shift(weights, &quantizer, &rows, &codes, &encoded.params);
            all.extend(shift.unwrap());
        }
        all
    }

    #[test]
    fn what_is_not_rounded_shifts_nothing() {
        let values: Vec<f32> = (0..24).map(|i| (i % 8) as f32 * 0.25 - 1.0).collect();
        let means = [0.7, -3.1, 100.0];
        assert_eq!(shift(&values, &[4, 3, 2], "palette-4", &means), [0.0; 4]);
        let rounded = shift(&values, &[4, 3, 2], "linear-int4", &means);
        assert!(rounded.iter().any(|shift| shift.abs() > 1e-3), "{rounded:?}");
    }

    #[test]
    fn each_group_of_a_convolution_has_means_of_its_own() {
        let values: Vec<f32> = (0..24).map(|i| ((i * 29) % 17) as f32 * 0.1 - 0.8).collect();
        // Two groups of one channel: rows 0 and 1 read the first.
        let shape = [4, 1, 6];
        let both = shift(&values, &shape, "linear-int4", &[1.0, 2.0]);
        let ones = shift(&values, &shape, "linear-int4", &[1.0, 1.0]);
        assert!(ones.iter().any(|shift| *shift != 0.0));
        let expected: Vec<f64> =
            ones.iter().enumerate().map(|(row, shift)| shift * [1.0, 2.0][row / 2]).collect();
        assert_eq!(both, expected);
        assert!(Means::new(&[1.0; 3], &shape).is_none());
        assert!(Means::new(&[], &shape).is_none());
        assert!(Means::new(&[1.0], &[0, 0]).is_none());
    }
}
