//! What a run did: `report.json`, and the tables and plots made of it.
//!
//! The file says nothing of time or place: the same input and options give the same bytes. Numbers
//! that have no finite value (the SQNR of a tensor that is stored exactly, or that is all zeros)
//! are `null`.
//!
//! | module | what it does |
//! |---|---|
//! | [`Report`] | the values, as they stand in the file |
//! | `read` | the way back from a file that anybody may have made |
//! | `text` | the table, worst first; one tensor with its plots; CSV |
//! | [`model`] | what a package holds |
//! | [`provenance`] | where it comes from, as its metadata says |
//! | [`validation`] | what a validation found |
//! | [`outputs`] | what a run of a function gave |

pub mod model;
pub mod outputs;
pub mod provenance;
mod read;
mod text;
pub mod validation;

pub use model::Model;
pub use outputs::Outputs;
pub use provenance::Provenance;
pub use read::locate;
pub use validation::Validation;

use crate::advice::Remark;
use crate::int8_path::InPackage;
use crate::metrics::{self, Stats};
use crate::scheme::{Linear, LinearBits, Scheme};
use serde::{Deserialize, Serialize};

/// The version of the file's own form; a reader refuses a newer one.
pub const FORM: u32 = 1;

/// How many names `totals.worst` lists.
const WORST: usize = 5;

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The form of this file: [`FORM`].
    pub form: u32,
    /// The program: `twolane`.
    pub tool: String,
    /// The program's version.
    pub version: String,
    /// The options that the run followed, as the plan echoes them.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// The files that were read.
    pub inputs: Vec<InputFile>,
    /// The files that were written, this one excepted.
    pub outputs: Vec<OutputFile>,
    /// Sums over all tensors.
    pub totals: Totals,
    /// Which multiplications of each package run in INT8, and where INT8 ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub int8_path: Vec<InPackage>,
    /// What is known to go wrong with such packages, each with its source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The tensors, in the order of the plan.
    pub tensors: Vec<TensorReport>,
}

/// One file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// The file's name in the input's folder, `1_Pooling/config.json`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3 hash, in hexadecimal digits.
    pub blake3: String,
    /// Its SHA-256 hash, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// One file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Which output it belongs to: `mlpackage`, `metal`, `dense`.
    pub kind: String,
    /// Its path inside the output folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// One tensor: what became of it, and at which cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorReport {
    /// The tensor's name.
    pub name: String,
    /// The stored type, in safetensors' words.
    pub dtype: String,
    /// The shape, `[O, I, …]`.
    pub shape: Vec<usize>,
    /// How it is stored now; `null` where it was copied.
    pub scheme: Option<Scheme>,
    /// The scheme that was asked for.
    pub requested: Option<Scheme>,
    /// Which row of the policy chose.
    pub rule: String,
    /// Fallbacks, and why a tensor stayed in float.
    pub notes: Vec<String>,
    /// The number of elements.
    pub elements: u64,
    /// Bytes in the input.
    pub bytes_before: u64,
    /// Bytes of codes and parameters, without any container's alignment.
    pub bytes_after: u64,
    /// What quantizing cost; `null` where there are no codes.
    pub error: Option<ErrorReport>,
}

/// How far the quantized weights `x̂` are from the weights `x`; see [`Stats`] for each formula.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// 10 · log₁₀(Σx² / Σ(x − x̂)²); `null` without a signal or without noise.
    pub sqnr_db: Option<f64>,
    /// Σx².
    #[serde(with = "finite")]
    pub signal: f64,
    /// Σ(x − x̂)².
    #[serde(with = "finite")]
    pub noise: f64,
    /// √(mean (x − x̂)²).
    #[serde(with = "finite")]
    pub rmse: f64,
    /// max |x − x̂|.
    #[serde(with = "finite")]
    pub max_abs: f64,
    /// The cosine of the angle between x and x̂.
    #[serde(with = "finite")]
    pub cosine: f64,
    /// The share of weights beyond the range of the codes, 0 to 1.
    #[serde(with = "finite")]
    pub clipped_share: f64,
    /// The energy that clipping lost, as a share of Σx².
    #[serde(with = "finite")]
    pub clipped_energy_share: f64,
    /// How the codes are used.
    pub codes: CodeUsage,
    /// The distribution of x − x̂.
    pub histogram: Histogram,
    /// SQNR against the range of linear codes, on a sample; `null` for palettes.
    pub clip_curve: Option<ClipCurve>,
    /// Σ e H eᵀ over rows, the squared error of the layer's output on the calibration's data, where GPTQ
    /// chose the codes: by rounding alone, and as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_error: Option<[f64; 2]>,
}

/// How the codes of a tensor are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeUsage {
    /// Codes that the scheme has.
    pub possible: u32,
    /// Codes that occur among the counted weights.
    pub used: u32,
    /// Entropy of the counted codes: the bits a code that an ideal coder would need.
    #[serde(with = "finite")]
    pub entropy_bits: f64,
    /// Weights that were counted here and in the histogram: all, or a sample of the rows.
    pub counted: u64,
}

/// A histogram of signed errors: equal bins over `[−range, range)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The bins cover `[−range, range)`.
    #[serde(with = "finite")]
    pub range: f64,
    /// 64 counts, from the most negative errors to the most positive.
    pub bins: Vec<u64>,
}

/// SQNR against the range of the codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipCurve {
    /// From the absolute maximum downwards.
    pub points: Vec<ClipPoint>,
    /// What `--clip` chose.
    pub chosen: ClipPoint,
}

/// One range of a [`ClipCurve`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipPoint {
    /// The range's share of the absolute maximum, in (0, 1].
    #[serde(with = "finite")]
    pub factor: f64,
    /// SQNR in dB.
    pub sqnr_db: Option<f64>,
}

/// Sums over all tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Tensors in the input.
    pub tensors: u64,
    /// Tensors that were quantized.
    pub quantized: u64,
    /// Tensors that stayed in float.
    pub float: u64,
    /// Tensors that were copied.
    pub copied: u64,
    /// Bytes of all tensors in the input.
    pub bytes_before: u64,
    /// Bytes of all codes and parameters.
    pub bytes_after: u64,
    /// Stored bits a weight over all tensors that were not copied.
    pub bits_per_weight: Option<f64>,
    /// Bytes of all files written, this one excepted.
    pub output_bytes: u64,
    /// SQNR of all quantized tensors as one.
    pub sqnr_db: Option<f64>,
    /// The quantized tensors with the lowest SQNR, lowest first; five at most.
    pub worst: Vec<String>,
}

/// What a report is made of; its totals follow.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The options that the run followed.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// The files that were read.
    pub inputs: Vec<InputFile>,
    /// The files that were written.
    pub outputs: Vec<OutputFile>,
    /// The tensors, in the order of the plan.
    pub tensors: Vec<TensorReport>,
    /// The INT8 path of each package.
    pub int8_path: Vec<InPackage>,
    /// What is known to go wrong.
    pub remarks: Vec<Remark>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Report {
    /// The report of this version of the program.
    pub fn new(parts: Parts) -> Self {
        let totals = Totals::of(&parts.tensors, &parts.outputs);
        let Parts { options, inputs, outputs, tensors, int8_path, remarks, warnings } = parts;
        Self {
            form: FORM,
            tool: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            options,
            inputs,
            outputs,
            totals,
            int8_path,
            remarks,
            warnings,
            tensors,
        }
    }

    /// The file: indented JSON with a line feed at its end.
    ///
    /// # Panics
    /// Never: every value has a form in JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings, numbers and maps");
        text.push('\n');
        text
    }

    /// The tensors that were quantized, lowest SQNR first, equal ones by name.
    pub fn worst_first(&self) -> Vec<(&TensorReport, &ErrorReport)> {
        worst_first(&self.tensors)
    }

    /// The quantized tensors whose SQNR is below `db`, lowest first.
    pub fn below(&self, db: f64) -> Vec<&TensorReport> {
        let low = self.worst_first().into_iter().filter(|(_, error)| error.rank_db() < db);
        low.map(|(tensor, _)| tensor).collect()
    }

    /// The quantized tensors whose cosine with their source is below `cosine`, in the plan's order.
    pub fn apart(&self, cosine: f64) -> Vec<&TensorReport> {
        let measured = self.tensors.iter().filter_map(|t| Some((t, t.error.as_ref()?)));
        let reaches = |error: &ErrorReport| error.cosine >= cosine; // NaN reaches nothing.
        let low = measured.filter(|(_, error)| !reaches(error));
        low.map(|(tensor, _)| tensor).collect()
    }
}

fn worst_first(tensors: &[TensorReport]) -> Vec<(&TensorReport, &ErrorReport)> {
    let mut measured: Vec<_> =
        tensors.iter().filter_map(|t| Some((t, t.error.as_ref()?))).collect();
    measured.sort_by(|(t, a), (u, b)| {
        a.rank_db().total_cmp(&b.rank_db()).then_with(|| t.name.cmp(&u.name))
    });
    measured
}

impl TensorReport {
    /// Stored bits a weight; `None` for an empty tensor.
    pub fn bits_per_weight(&self) -> Option<f64> {
        (self.elements > 0).then(|| self.bytes_after as f64 * 8.0 / self.elements as f64)
    }
}

impl ErrorReport {
    /// The measures of a tensor that was quantized to `scheme`.
    pub fn new(scheme: Scheme, stats: &Stats, clip_curve: Option<ClipCurve>) -> Self {
        Self {
            sqnr_db: stats.sqnr_db().filter(|db| db.is_finite()),
            signal: stats.signal,
            noise: stats.noise,
            rmse: stats.rmse(),
            max_abs: stats.max_error,
            cosine: stats.cosine(),
            clipped_share: stats.clipped_share(),
            clipped_energy_share: stats.clipped_energy_share(),
            codes: CodeUsage {
                possible: possible_codes(scheme),
                used: stats.used_codes() as u32,
                entropy_bits: stats.code_entropy_bits(),
                counted: stats.counted,
            },
            histogram: Histogram {
                range: stats.errors.range(),
                bins: stats.errors.bins().to_vec(),
            },
            clip_curve,
            output_error: Some(stats.output).filter(|output| output[0] > 0.0),
        }
    }

    /// SQNR for sorting: weights that did not change come last, noise without a signal first.
    fn rank_db(&self) -> f64 {
        match self.sqnr_db {
            Some(db) => db,
            None if self.noise > 0.0 => f64::NEG_INFINITY,
            None => f64::INFINITY,
        }
    }
}

impl ClipPoint {
    /// A point; an SQNR that is not finite has no place in the file.
    pub fn new(factor: f64, sqnr_db: Option<f64>) -> Self {
        Self { factor, sqnr_db: sqnr_db.filter(|db| db.is_finite()) }
    }
}

/// The number of codes that a scheme has: −127…127 symmetric, −128…127 asymmetric, 2^bits indices.
fn possible_codes(scheme: Scheme) -> u32 {
    match scheme {
        Scheme::Float(_) => 0,
        Scheme::Linear(Linear { bits: LinearBits::Int8, asymmetric, .. }) => {
            255 + u32::from(asymmetric)
        }
        Scheme::Linear(Linear { bits: LinearBits::Int4, asymmetric, .. }) => {
            15 + u32::from(asymmetric)
        }
        Scheme::Palette(palette) => 1 << palette.bits,
    }
}

impl Totals {
    fn of(tensors: &[TensorReport], outputs: &[OutputFile]) -> Self {
        let mut totals = Self { tensors: tensors.len() as u64, ..Self::default() };
        let (mut elements, mut stored) = (0u64, 0u64);
        let (mut signal, mut noise) = (0.0, 0.0);
        for tensor in tensors {
            let count = match tensor.scheme {
                None => &mut totals.copied,
                Some(Scheme::Float(_)) => &mut totals.float,
                Some(Scheme::Linear(_) | Scheme::Palette(_)) => &mut totals.quantized,
            };
            *count += 1;
            totals.bytes_before = totals.bytes_before.saturating_add(tensor.bytes_before);
            totals.bytes_after = totals.bytes_after.saturating_add(tensor.bytes_after);
            if tensor.scheme.is_some() {
                elements = elements.saturating_add(tensor.elements);
                stored = stored.saturating_add(tensor.bytes_after);
            }
            if let Some(error) = &tensor.error {
                signal += error.signal;
                noise += error.noise;
            }
        }
        totals.bits_per_weight = (elements > 0).then(|| stored as f64 * 8.0 / elements as f64);
        totals.output_bytes = outputs.iter().fold(0, |sum, o| o.bytes.saturating_add(sum));
        totals.sqnr_db = metrics::sqnr_db(signal, noise).filter(|db| db.is_finite());
        totals.worst = worst_first(tensors)
            .iter()
            .take(WORST)
            .map(|(tensor, _)| tensor.name.clone())
            .collect();
        totals
    }
}

/// JSON has no NaN and no infinity: they are written as `null`, which is read as NaN.
mod finite {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
        if x.is_finite() { to.serialize_f64(*x) } else { to.serialize_none() }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests;
