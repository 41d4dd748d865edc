//! What a validation found: JSON for machines, tables for people, a verdict for scripts.
//!
//! | module | what it does |
//! |---|---|
//! | [`Validation`] | the values, as they stand in the file |
//! | [`CodesCheck`] | codes of activations, and how they are counted |
//! | `gate` | thresholds → failures |
//! | `text` | the tables |

mod codes;
mod gate;
mod text;

pub use codes::CodesCheck;
pub use gate::Limits;

use super::finite;
use crate::metrics::{Closeness, Divergence};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;

/// The name of the file in the output folder that keeps a validation.
pub const FILE: &str = "validation.json";

/// The version of the file's own form.
const FORM: u32 = 1;

/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 28;

/// What a validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The form of this document.
    pub form: u32,
    /// The program: `twolane`.
    pub tool: String,
    /// The program's version.
    pub version: String,
    /// The package, without its folder.
    pub package: String,
    /// What it was compared with: a package, a checkpoint or a golden file, without its folder.
    pub against: Option<String>,
    /// Where the inputs came from.
    pub inputs: String,
    /// Compressed layers, in the order of the program.
    pub layers: Vec<LayerCheck>,
    /// Outputs beside the source's.
    pub outputs: Vec<OutputCheck>,
    /// Outputs that are no longer finite.
    #[serde(default)]
    pub not_finite: Vec<NotFinite>,
    /// Outputs of one backend beside those of another.
    pub agreement: Vec<AgreementCheck>,
    /// Codes of activations, of one backend beside the reference's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<CodesCheck>,
    /// A text through both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextCheck>,
    /// How fast.
    pub speed: Vec<Speed>,
    /// What this machine does at the best, measured in the same process.
    pub probe: Option<Probe>,
    /// The most memory that the process held before the probe, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// What does not fit together.
    pub findings: Vec<String>,
    /// What was not looked at, and what would do.
    pub unproven: Vec<String>,
    /// The thresholds that do not hold; empty: passed.
    pub failed: Vec<String>,
}

/// How near `y` is to `x`: see [`Closeness`] for each formula.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Elements that were compared.
    pub elements: u64,
    /// `null` without a signal, where nothing differs, and where an element is broken.
    pub sqnr_db: Option<f64>,
    /// Cosine of the angle between x and y.
    #[serde(with = "finite")]
    pub cosine: f64,
    /// max |x − y|.
    #[serde(with = "finite")]
    pub max_abs: f64,
    /// max |x|.
    #[serde(with = "finite")]
    pub largest: f64,
    /// Σx².
    #[serde(with = "finite")]
    pub signal: f64,
    /// Σ(x − y)².
    #[serde(with = "finite")]
    pub noise: f64,
    /// Elements that are finite on one side only.
    pub broken: u64,
}

/// Distributions over classes, before and after, one a row: of an output `[…, classes]` every position
/// of every step is a row. See [`Divergence`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// Positions of all steps.
    pub rows: u64,
    /// Mean of KL(source ‖ quantized), in nats.
    #[serde(with = "finite")]
    pub kl_mean: f64,
    /// Its 99th percentile.
    #[serde(with = "finite")]
    pub kl_p99: f64,
    /// Its largest; `null` where a row has no distribution.
    #[serde(with = "finite")]
    pub kl_max: f64,
    /// The share of rows whose likeliest class is the same, 0 to 1.
    #[serde(with = "finite")]
    pub top1: f64,
}

/// One operation with a compressed weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerCheck {
    /// The function.
    pub function: String,
    /// The operation's type.
    pub operation: String,
    /// The weight's name in the checkpoint where it is known, else in the program.
    pub weight: String,
    /// The weight's shape, `[O, I, …]`.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub stored_as: String,
    /// Bytes of codes and parameters.
    pub bytes: u64,
    /// The dequantized weight beside the source's.
    pub weights: Option<Figures>,
    /// The layer's output beside the source's, both fed with the source's activations; from a golden
    /// file, fed with what the layers before made of the recorded inputs.
    pub outputs: Option<Figures>,
    /// In mode `ane`: sums whose partial sums passed the accumulator's limit.
    pub overflows: Option<u64>,
}

/// One output beside the source's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputCheck {
    /// The function.
    pub function: String,
    /// The output.
    pub output: String,
    /// Over all samples.
    pub figures: Figures,
    /// For distributions over classes.
    pub classes: Option<Classes>,
}

/// NaNs and infinities of an output that its source does not have in the same places, or of which no
/// source is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotFinite {
    /// The function.
    pub function: String,
    /// The output.
    pub output: String,
    /// The backend.
    pub backend: String,
    /// How many.
    pub count: u64,
    /// Of so many elements, over all steps.
    pub elements: u64,
    /// The first step that has one, from 0.
    pub step: u64,
    /// The index of the first in that step's output.
    pub index: Vec<usize>,
    /// What stands there: `NaN`, `inf` or `-inf`.
    pub value: String,
}

/// One output of one backend beside another's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgreementCheck {
    /// The function.
    pub function: String,
    /// The output.
    pub output: String,
    /// The two backends.
    pub between: [String; 2],
    /// Elements that were compared, over all steps.
    #[serde(default)]
    pub elements: u64,
    /// max |x − y| / max |x|; `null`: broken. Where activations become codes on the way, both go on from the
    /// reference's codes.
    #[serde(with = "finite")]
    pub relative: f64,
    /// The same where each goes on from its own codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_codes: Option<f64>,
}

/// A text through the quantized model and its source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextCheck {
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Windows that do not overlap.
    pub windows: u64,
    /// Tokens of a whole one.
    pub window: u64,
    /// The most tokens whose logits one call gave: 1 where prompts return the last one's alone. 0 in
    /// documents that do not say.
    #[serde(default)]
    pub at_once: u64,
    /// How well the quantized model predicts them.
    pub quantized: Perplexity,
    /// How well the source does.
    pub source: Option<Perplexity>,
    /// How far predictions move.
    pub classes: Option<Classes>,
}

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// Mean negative log-likelihood of a token, in nats.
    #[serde(with = "finite")]
    pub nll: f64,
    /// `exp(nll)`.
    #[serde(with = "finite")]
    pub perplexity: f64,
    /// Standard error of the perplexity.
    #[serde(with = "finite")]
    pub error: f64,
}

impl TextCheck {
    /// The quantized model's perplexity over the source's.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.quantized.perplexity / self.source?.perplexity)
    }
}

/// How fast a backend runs a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// The function.
    pub function: String,
    /// The backend.
    pub backend: String,
    /// Timed runs, after warm-up.
    pub runs: u64,
    /// Median time of a run, in milliseconds.
    pub median_ms: f64,
    /// Its 5th percentile.
    pub p5_ms: f64,
    /// Its 95th percentile.
    pub p95_ms: f64,
    /// What is counted: `tokens` (integers that choose rows) or `items` (the first dimension of the first
    /// input).
    pub unit: String,
    /// Of those, in one run.
    pub units: u64,
    /// Of those, in a second.
    pub units_per_second: f64,
    /// Bytes that must be read and written: stored weights, inputs, outputs, states.
    pub bytes_moved: u64,
    /// GB (10⁹ bytes) of those a second.
    pub gb_per_second: f64,
    /// Multiplications with an addition.
    pub macs: u64,
    /// Billions of those a second.
    pub gmac_per_second: f64,
    /// Bytes that the backend holds beside the package.
    pub held_bytes: u64,
}

/// What this machine does at the best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Threads that worked.
    pub threads: u64,
    /// GB a second read from memory.
    pub gb_per_second: f64,
    /// Billions of f32 multiply-adds a second, in products of matrices that lie in the cache.
    pub gmac_per_second: f64,
    /// Billions of INT8 multiply-adds a second, of the dot product instructions alone; 0 in documents that do
    /// not say.
    #[serde(default)]
    pub int8_gmac_per_second: f64,
}

impl Figures {
    /// The measures of these sums.
    pub fn new(sums: &Closeness) -> Self {
        Self {
            elements: sums.elements,
            sqnr_db: sums.sqnr_db().filter(|db| db.is_finite()),
            cosine: sums.cosine(),
            max_abs: sums.max_abs,
            largest: sums.largest,
            signal: sums.signal,
            noise: sums.noise,
            broken: sums.broken,
        }
    }

    /// SQNR for sorting: what is broken, or noise without a signal, first; what is exact last.
    pub fn rank_db(&self) -> f64 {
        match self.sqnr_db {
            Some(db) => db,
            None if self.broken > 0 || self.noise > 0.0 => f64::NEG_INFINITY,
            None => f64::INFINITY,
        }
    }
}

impl Classes {
    /// The measures of these rows.
    pub fn new(rows: &Divergence) -> Self {
        Self {
            rows: rows.len() as u64,
            kl_mean: rows.mean(),
            kl_p99: rows.quantile(0.99),
            kl_max: rows.quantile(1.0),
            top1: rows.top1(),
        }
    }
}

impl LayerCheck {
    /// For sorting: the output's SQNR, else the weight's.
    fn rank_db(&self) -> f64 {
        let figures = self.outputs.or(self.weights);
        figures.map_or(f64::INFINITY, |figures| figures.rank_db())
    }
}

impl Validation {
    /// A validation that has found nothing yet.
    pub fn new(package: String, inputs: String) -> Self {
        Self {
            form: FORM,
            tool: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            package,
            against: None,
            inputs,
            layers: vec![],
            outputs: vec![],
            not_finite: vec![],
            agreement: vec![],
            codes: vec![],
            text: None,
            speed: vec![],
            probe: None,
            peak_memory_bytes: None,
            findings: vec![],
            unproven: vec![],
            failed: vec![],
        }
    }

    /// Reads the validation that is kept beside a report.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none; else as [`Self::read`].
    pub fn read_beside(report: &Path) -> Result<Self> {
        let file = report.with_file_name(FILE);
        if !file.is_file() {
            return Err(Error::Usage(format!(
                "there is no {}; `quantize validate --save` writes it",
                file.display()
            )));
        }
        Self::read(&file)
    }

    /// Reads a validation that was kept.
    ///
    /// # Errors
    /// [`Error::Input`] if it is malformed or of a newer version; [`Error::Io`] if it cannot be read.
    pub fn read(file: &Path) -> Result<Self> {
        let place = file.display().to_string();
        let remedy = "run `quantize validate --save` again";
        let failed = |error| Error::io("read", &place, error);
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(Error::input(
                place,
                format!("it is larger than {MOST_BYTES} bytes"),
                remedy,
            ));
        }
        let read: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::input(&place, format!("not a validation: {error}"), remedy))?;
        match read.form {
            0..=FORM => Ok(read),
            form => {
                let found = format!("its form is {form}, and this version reads form {FORM}");
                Err(Error::input(place, found, "use the version of quantize that wrote it"))
            }
        }
    }

    /// The document: indented JSON with a line feed at its end.
    ///
    /// # Panics
    /// Never: every value has a form in JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings, numbers and maps");
        text.push('\n');
        text
    }

    /// Layers, the least SQNR of outputs (else of weights) first.
    pub fn worst_layers(&self) -> Vec<&LayerCheck> {
        let mut layers: Vec<_> = self.layers.iter().collect();
        layers.sort_by(|a, b| a.rank_db().total_cmp(&b.rank_db()));
        layers
    }

    /// Outputs, the least SQNR first.
    pub fn worst_outputs(&self) -> Vec<&OutputCheck> {
        let mut outputs: Vec<_> = self.outputs.iter().collect();
        outputs.sort_by(|a, b| a.figures.rank_db().total_cmp(&b.figures.rank_db()));
        outputs
    }
}

#[cfg(test)]
mod tests;
