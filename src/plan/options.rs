//! Everything that words can choose, resolved: only these values reach the pipeline.

use super::Rule;
use crate::activations::Activations;
use crate::calibrate::{Calibration, Imatrix};
use crate::formats::metal_blob::Lanes;
use crate::quantize::Order;
use crate::scheme::{Clip, Float, Linear, LinearBits, LinearGranularity, Scheme};
use crate::smooth::Smooth;
use crate::target::Target;
use regex::Regex;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, str::FromStr};

/// The options of a run. Its serialized form goes into plans and reports, and leaves out what does
/// not change the bytes of an output: where it is written, and over what.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The scheme of every tensor that no rule chose for.
    pub scheme: Scheme,
    /// Rules in the order they are tried: the command line's, then the file's.
    pub rules: Vec<Rule>,
    /// Tensors with fewer elements stay in float, unless a rule chose for them.
    pub min_elements: u64,
    /// How ranges of linear codes are chosen.
    pub clip: Clip,
    /// The oldest system that must read the package.
    pub target: Target,
    /// Whether a package that is compressed keeps the target that it has.
    #[serde(skip)]
    pub keep_target: bool,
    /// Whether weights of a package that are compressed already are compressed anew.
    #[serde(skip_serializing_if = "is_false")]
    pub requantize: bool,
    /// What a NaN or infinity among the weights does.
    pub non_finite: NonFinite,
    /// What to write.
    pub outputs: BTreeSet<Output>,
    /// The order of codes in the Metal blob.
    pub lanes: Lanes,
    /// How a model that `config.json` describes becomes functions.
    pub model: ModelOptions,
    /// Which matrices become functions of the layer package; all, if absent.
    #[serde(serialize_with = "as_pattern", skip_serializing_if = "Option::is_none")]
    pub layers: Option<Regex>,
    /// What was counted of the activations of the model as it is.
    #[serde(serialize_with = "as_data", skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Arc<Calibration>>,
    /// The same once columns have been made alike, by [`Options::smooth`].
    #[serde(serialize_with = "as_data", skip_serializing_if = "Option::is_none")]
    pub recalibration: Option<Arc<Calibration>>,
    /// What llama.cpp measured of them, in place of a calibration.
    #[serde(serialize_with = "as_itself", skip_serializing_if = "Option::is_none")]
    pub imatrix: Option<Arc<Imatrix>>,
    /// Whether errors of weights count by the energy of their inputs.
    #[serde(skip_serializing_if = "is_false")]
    pub importance: bool,
    /// Whether GPTQ chooses codes, and in which order it takes columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gptq: Option<Order>,
    /// Whether biases make up for what rounded weights shift their outputs by on average.
    #[serde(skip_serializing_if = "is_false")]
    pub bias_correction: bool,
    /// How columns of unlike size are made alike; they stay, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smooth: Option<Smooth>,
    /// How activations are quantized; they stay in float, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations: Option<Activations>,
    /// Recorded inputs of each function, where [`Output::Golden`] is written.
    #[serde(skip_serializing_if = "is_zero")]
    pub golden: usize,
    /// Whether the report gives SHA-256 beside BLAKE3.
    pub sha256: bool,
    /// The output folder; `./STEM-SCHEME` if absent.
    #[serde(skip)]
    pub output: Option<PathBuf>,
    /// Whether an output folder of ours that exists is exchanged for the new one.
    #[serde(skip)]
    pub force: bool,
}

impl Default for Options {
    /// `linear-int8` by channel, `--clip mse`, ios18, an .mlpackage and a Metal blob in `k2`.
    fn default() -> Self {
        Self {
            scheme: Scheme::Linear(Linear {
                bits: LinearBits::Int8,
                asymmetric: false,
                granularity: LinearGranularity::Channel { axis: 0 },
            }),
            rules: vec![],
            min_elements: 2048,
            clip: Clip::Mse,
            target: Target::default(),
            keep_target: true,
            requantize: false,
            non_finite: NonFinite::Error,
            outputs: BTreeSet::from([Output::Mlpackage, Output::Metal]),
            lanes: Lanes::default(),
            model: ModelOptions::default(),
            layers: None,
            calibration: None,
            recalibration: None,
            imatrix: None,
            importance: false,
            gptq: None,
            bias_correction: false,
            smooth: None,
            activations: None,
            golden: 0,
            sha256: false,
            output: None,
            force: false,
        }
    }
}

impl Options {
    /// The output folder of a checkpoint: the one that was named, or `./STEM-SCHEME`, in letters
    /// that every file system takes: `model-linear-int4-block32`.
    pub fn folder(&self, stem: &str) -> PathBuf {
        let scheme = self.scheme.to_string().replace(',', "-").replace(':', "");
        self.output.clone().unwrap_or_else(|| format!("{stem}-{scheme}").into())
    }

    /// What is known of the activations of the model that is quantized: none where only those of the model
    /// before were counted.
    pub fn counts(&self) -> Option<&Arc<Calibration>> {
        match self.smooth {
            None => self.calibration.as_ref(),
            Some(_) => self.recalibration.as_ref(),
        }
    }

    /// The words for what follows from [`Options::counts`] and is asked for.
    pub fn counted_for(&self) -> Vec<String> {
        let activations = self.activations.iter().map(|how| format!("--activations {how}"));
        let importance = self.importance.then(|| "--importance".to_owned());
        let gptq = self.gptq.map(|_| "--gptq".to_owned());
        let biases = self.bias_correction.then(|| "--bias-correction".to_owned());
        activations.chain(importance).chain(gptq).chain(biases).collect()
    }

    /// What tensors become that no scheme quantizes: FP16, or FP32 where `--scheme` is `float32`.
    pub(super) fn float(&self) -> Float {
        match self.scheme {
            Scheme::Float(float) => float,
            Scheme::Linear(_) | Scheme::Palette(_) => Float::F16,
        }
    }
}

/// How a model that `config.json` describes becomes functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ModelOptions {
    /// Whether its layers alone are written, as if there were no `config.json`.
    pub layer_package: bool,
    /// The longest text, in tokens; without it what the model was trained for, at most
    /// [`ModelOptions::LONGEST`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Tokens of one call of `prefill`; without it [`ModelOptions::CHUNK`], or half of a shorter context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_chunk: Option<usize>,
    /// The hardware that a model's operations suit.
    pub unit: Unit,
    /// Where keys and values of earlier tokens are kept; what unit and target allow, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv: Option<Kv>,
    /// Whether the likeliest next tokens are an output of a language model, too.
    #[serde(skip_serializing_if = "is_false")]
    pub argmax: bool,
    /// Whose logits a prompt's steps return; where there are such steps the last token's, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_logits: Option<PrefillLogits>,
    /// What a language model's features are called.
    #[serde(skip_serializing_if = "FeatureNames::is_default")]
    pub names: FeatureNames,
    /// Packages of a language model, which run one after the other.
    #[serde(skip_serializing_if = "is_one")]
    pub chunks: usize,
}

impl ModelOptions {
    /// The longest text that is not asked for.
    pub const LONGEST: usize = 2048;
    /// The tokens of one call of `prefill` that are not asked for.
    pub const CHUNK: usize = 64;
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            layer_package: false,
            context: None,
            prefill_chunk: None,
            unit: Unit::Gpu,
            kv: None,
            argmax: false,
            prefill_logits: None,
            names: FeatureNames::default(),
            chunks: 1,
        }
    }
}

fn as_pattern<S: Serializer>(pattern: &Option<Regex>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_some(&pattern.as_ref().map(Regex::as_str))
}

/// What it was counted on.
fn as_data<S: Serializer>(of: &Option<Arc<Calibration>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(of.iter().flat_map(|calibration| &calibration.data))
}

fn as_itself<S: Serializer>(of: &Option<Arc<Imatrix>>, to: S) -> Result<S::Ok, S::Error> {
    of.as_deref().serialize(to)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_one(n: &usize) -> bool {
    *n == 1
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// A word that names none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{word}`; use {choices}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    choices: &'static str,
}

/// An enum of plain words: parsing, printing and serializing from one table.
macro_rules! words {
    ($type:ident, $what:literal, $choices:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// All choices.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word on the command line and in files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let word = text.trim().to_ascii_lowercase();
                Self::ALL.iter().copied().find(|choice| choice.name() == word).ok_or(UnknownWord {
                    what: $what,
                    word: text.into(),
                    choices: $choices,
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }
    };
}

/// One output of a run (`--to`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Output {
    /// `STEM.mlpackage`: the CoreML package.
    Mlpackage,
    /// `STEM.metal/`: the blob that Metal maps.
    Metal,
    /// `STEM.dequantized.safetensors`, of a whole model `model.dequantized.safetensors`: FP16 values in
    /// the original names and shapes.
    Dense,
    /// `STEM.golden.safetensors`: inputs, and what the source's weights make of them.
    Golden,
}
words!(
    Output,
    "output",
    "mlpackage, metal, dense or golden",
    Mlpackage = "mlpackage",
    Metal = "metal",
    Dense = "dense",
    Golden = "golden"
);

/// The hardware that a model's operations suit (`--unit`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unit {
    /// The Neural Engine.
    Ane,
    /// The GPU.
    #[default]
    Gpu,
    /// The CPU; its operations are the GPU's.
    Cpu,
}
words!(Order, "order of columns", "energy or natural", Energy = "energy", Natural = "natural");

words!(Unit, "unit", "ane, gpu or cpu", Ane = "ane", Gpu = "gpu", Cpu = "cpu");

/// Where keys and values of earlier tokens are kept (`--kv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kv {
    /// In states of the package, from ios18 on.
    State,
    /// With the caller: inputs and outputs.
    Io,
}
words!(Kv, "place of keys and values", "state or io", State = "state", Io = "io");

/// Whose logits a step of several tokens returns (`--prefill-logits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrefillLogits {
    /// The last token's.
    Last,
    /// Every token's.
    All,
}
words!(PrefillLogits, "choice of logits", "last or all", Last = "last", All = "all");

/// What a language model's features are called, and how it is fed (`--names`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FeatureNames {
    /// As in Hugging Face's transformers.
    #[default]
    Transformers,
    /// As its Swift runtime, swift-transformers, wants them.
    SwiftTransformers,
}
words!(
    FeatureNames,
    "names",
    "transformers or swift-transformers",
    Transformers = "transformers",
    SwiftTransformers = "swift-transformers"
);

impl FeatureNames {
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a NaN or infinity among the weights does (`--non-finite`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NonFinite {
    /// It ends the run, with the tensor's name and the index.
    #[default]
    Error,
    /// Its tensor stays in float, and the report says so.
    Keep,
}
words!(
    NonFinite,
    "treatment of non-finite weights",
    "error or keep",
    Error = "error",
    Keep = "keep"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_prints_as_it_was_written() {
        for &output in Output::ALL {
            assert_eq!(output.name().parse(), Ok(output));
        }
        for &choice in NonFinite::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        insta::assert_snapshot!("onnx".parse::<Output>().unwrap_err(), @"unknown output `onnx`; use mlpackage, metal, dense or golden");
    }

    #[test]
    fn the_folder_says_the_scheme_in_plain_letters() {
        let of = |scheme: &str| {
            let options = Options { scheme: scheme.parse().unwrap(), ..Options::default() };
            options.folder("m").to_string_lossy().into_owned()
        };
        assert_eq!(of("linear-int8"), "m-linear-int8");
        assert_eq!(of("palette-4,group:16,vector:2"), "m-palette-4-group16-vector2");
        let named = Options { output: Some("out".into()), ..Options::default() };
        assert_eq!(named.folder("m"), PathBuf::from("out"));
    }

    #[test]
    fn the_echo_of_the_options_holds_what_changes_bytes_and_no_path() {
        let options = Options {
            output: Some("/somewhere".into()),
            layers: Some(Regex::new("q_proj").unwrap()),
            rules: vec![Rule::parse("head=float16").unwrap()],
            ..Options::default()
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&options).unwrap(), @r#"
        {
          "scheme": "linear-int8",
          "rules": [
            {
              "match": "head",
              "scheme": "float16"
            }
          ],
          "min_elements": 2048,
          "clip": "mse",
          "target": "ios18",
          "non_finite": "error",
          "outputs": [
            "mlpackage",
            "metal"
          ],
          "lanes": "k2",
          "model": {
            "layer_package": false,
            "unit": "gpu"
          },
          "layers": "q_proj",
          "sha256": false
        }
        "#);
    }
}
