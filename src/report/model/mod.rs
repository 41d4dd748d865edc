//! What a package holds: functions, what goes in and out, operations, weights.
//!
//! | module | what it does |
//! |---|---|
//! | [`Model`] | the values, as they stand in the JSON document |
//! | `storage` | the words for how a weight is stored |
//! | `text` | the tables |

mod storage;
#[cfg(test)]
mod tests;
mod text;

pub use storage::storage_word;

use super::Provenance;
use crate::graph::{ColorSpace, Feature, Function, Program, Sizes, ValueType, macs};
use crate::target::Target;
use serde::Serialize;
use std::collections::BTreeMap;

/// Constants of fewer elements are counted together.
const LISTED: usize = 16;

/// What a package holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The target that it was written for.
    pub target: Target,
    /// What it says about itself.
    pub description: String,
    /// Who made it.
    pub author: String,
    /// Its own version.
    pub version: String,
    /// The terms that it is under.
    pub license: String,
    /// The runs of this program that made it, the first one first.
    pub provenance: Vec<Provenance>,
    /// Its functions; the default one first.
    pub functions: Vec<FunctionReport>,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionReport {
    /// Its name.
    pub name: String,
    /// Inputs, states not among them.
    pub inputs: Vec<FeatureReport>,
    /// States.
    pub states: Vec<FeatureReport>,
    /// Outputs.
    pub outputs: Vec<FeatureReport>,
    /// How many operations of each kind.
    pub operations: BTreeMap<&'static str, usize>,
    /// Multiply-accumulates of one call on inputs of default shape; `null` where they are not known.
    pub macs: Option<u64>,
    /// Bytes of all its constants, listed or not.
    pub weight_bytes: u64,
    /// Its constants of 16 elements and more, largest first.
    pub weights: Vec<WeightReport>,
    /// How many smaller constants there are.
    pub small: usize,
    /// Their bytes.
    pub small_bytes: u64,
}

/// An input, a state or an output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureReport {
    /// Its name.
    pub name: String,
    /// Its type: `fp16[1, ?]`.
    pub r#type: String,
    /// The sizes that it takes, in words; empty where they are fixed.
    pub sizes: String,
    /// What each of its elements is where it is left out; empty where it must be given.
    pub default: String,
    /// What it is, in the words of whoever made the package.
    pub about: String,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightReport {
    /// Its name.
    pub name: String,
    /// The shape that operations see.
    pub shape: Vec<usize>,
    /// How it is stored, in words: `linear int8, channel`.
    pub storage: String,
    /// Its bytes in the package.
    pub bytes: u64,
}

impl Model {
    /// The report of a program. `fixed` gives a function with the default shapes of its inputs, where
    /// that can be known: multiply-accumulates are counted in it.
    pub fn new(
        program: &Program,
        target: Target,
        fixed: &dyn Fn(&Function) -> Option<Function>,
    ) -> Self {
        let mut functions: Vec<_> = program.functions.iter().collect();
        functions.sort_by_key(|(name, _)| **name != program.default_function);
        let report = |(name, function): (&String, &Function)| {
            FunctionReport::new(name, function, fixed(function).as_ref())
        };
        Self {
            target,
            description: program.metadata.description.clone(),
            author: program.metadata.author.clone(),
            version: program.metadata.version.clone(),
            license: program.metadata.license.clone(),
            provenance: Provenance::read(&program.metadata.user),
            functions: functions.into_iter().map(report).collect(),
        }
    }
}

impl FunctionReport {
    fn new(name: &str, function: &Function, fixed: Option<&Function>) -> Self {
        let is_state = |f: &&Feature| matches!(function.value(f.value).ty, ValueType::State(_));
        let (states, inputs): (Vec<_>, Vec<_>) = function.inputs.iter().partition(is_state);
        let features = |features: Vec<&Feature>| {
            features.into_iter().map(|feature| FeatureReport::new(function, feature)).collect()
        };
        let mut operations = BTreeMap::new();
        for operation in &function.operations {
            *operations.entry(operation.row.name).or_default() += 1;
        }
        let count = |fixed: &Function| {
            let each = fixed.operations.iter().map(|operation| macs(fixed, operation));
            each.sum::<Option<u64>>()
        };
        let (listed, small): (Vec<_>, Vec<_>) = function
            .weights()
            .partition(|(_, weight)| weight.shape.iter().product::<usize>() >= LISTED);
        let mut weights: Vec<_> = listed
            .into_iter()
            .map(|(value, weight)| WeightReport {
                name: value.name.clone(),
                shape: weight.shape.clone(),
                storage: storage_word(weight),
                bytes: weight.byte_len(),
            })
            .collect();
        weights.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let small_bytes = small.iter().map(|(_, weight)| weight.byte_len()).sum();
        Self {
            name: name.into(),
            inputs: features(inputs),
            states: features(states),
            outputs: features(function.outputs.iter().collect()),
            operations,
            macs: fixed.and_then(count),
            weight_bytes: weights.iter().map(|weight| weight.bytes).sum::<u64>() + small_bytes,
            weights,
            small: small.len(),
            small_bytes,
        }
    }
}

impl FeatureReport {
    fn new(function: &Function, feature: &Feature) -> Self {
        let value = function.value(feature.value);
        Self {
            name: value.name.clone(),
            r#type: match feature.image {
                None => value.ty.to_string(),
                Some(color) => format!("{} image, {}", color_word(color), value.ty),
            },
            sizes: sizes_word(&feature.sizes),
            default: feature.default.map_or_else(String::new, number),
            about: feature.about.clone(),
        }
    }
}

fn color_word(color: ColorSpace) -> &'static str {
    match color {
        ColorSpace::Grayscale => "grayscale",
        ColorSpace::Rgb => "RGB",
        ColorSpace::Bgr => "BGR",
        ColorSpace::GrayscaleFloat16 => "FP16 grayscale",
    }
}

/// The shortest words for a number that is an i32 or an f32, most of the time.
fn number(x: f64) -> String {
    let narrow = x as f32;
    if x.fract() != 0.0 && f64::from(narrow) == x { narrow.to_string() } else { x.to_string() }
}

/// `[1 to 64 (8), 64]`; `[1, 8] or [4, 8]`.
fn sizes_word(sizes: &Sizes) -> String {
    match sizes {
        Sizes::Fixed => String::new(),
        Sizes::Ranges(ranges) => {
            let range = |range: &crate::graph::SizeRange| match range.low == range.high {
                true => range.low.to_string(),
                false => format!("{} to {} ({})", range.low, range.high, range.default),
            };
            format!("[{}]", ranges.iter().map(range).collect::<Vec<_>>().join(", "))
        }
        Sizes::Enumerated(shapes) => {
            let shapes: Vec<_> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
            shapes.join(" or ")
        }
    }
}
