//! Plan before data: which scheme each tensor gets, and every size, from headers alone.
//!
//! | module | what it does |
//! |---|---|
//! | [`Options`] | everything that words on the command line can choose, resolved |
//! | [`Rule`] | `REGEX=SCHEME` or `op:TYPE=SCHEME`, from the command line or a file |
//! | [`policy`] | the table that chooses: first match wins, and the plan says which did |
//! | [`fit`] | a scheme's blocks, groups and vectors against a shape, with every fallback said |
//! | [`Plan`] | the outcome, printed by `--dry-run` and obeyed by the run |
//! | [`memory`] | the estimate of peak memory |
//! | `table` | the plan as people read it |
//! | `words` | options in the words of the command line |

pub mod fit;
pub mod memory;
mod options;
pub mod policy;
mod rules;
mod table;
mod words;

pub use options::{
    FeatureNames, Kv, ModelOptions, NonFinite, Options, Output, PrefillLogits, Unit, UnknownWord,
};
pub use policy::Chosen;
pub use rules::{Rule, pattern_of_names, whole_name};
pub use twolane_formats::metal_blob::Lanes;

use crate::Result;
use crate::advice::Remark;
use crate::chips::forecast::Load;
use crate::graph::Role;
use crate::graph::weight::Storage;
use crate::int8_path::InPackage;
use crate::scheme::{Float, Scheme};
use crate::smooth::Step;
use crate::tensor::FloatType;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a header says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensor's name.
    pub name: String,
    /// The file that holds it, as messages name it.
    pub file: String,
    /// The stored type, in safetensors' words: `F16`, `I64`, ...
    pub dtype: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// Stored bytes.
    pub bytes: u64,
    /// What a program does with it; `None` where none is known that takes it.
    pub role: Option<Role>,
    /// Whether it keeps its type where it stays in float, as a package's constant does.
    pub keeps_type: bool,
}

impl Header {
    /// The stored type, if it is one that can be quantized.
    pub fn float(&self) -> Option<FloatType> {
        [FloatType::F16, FloatType::BF16, FloatType::F32]
            .into_iter()
            .find(|t| t.name() == self.dtype)
    }

    /// The number of elements, saturating: a checked header's shape does not overflow.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |n, &d| n.saturating_mul(d as u64))
    }
}

/// What will be done, before any data is read.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The tensors, in the order of their headers.
    pub tensors: Vec<PlannedTensor>,
    /// The outputs with their exact sizes; filled by the pipeline from the prepared layouts.
    pub outputs: Vec<PlannedOutput>,
    /// An estimate of the peak of anonymous memory; see [`memory`].
    pub peak_memory_bytes: u64,
    /// The model that the package holds, in words; none for a layer package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Columns that are scaled, in layers and in what makes their inputs.
    #[serde(skip)]
    pub smoothing: Vec<Step>,
    /// Which multiplications of each package run in INT8; filled with the outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub int8_path: Vec<InPackage>,
    /// What a call of each function reads and multiplies, by its name; of the chunks of a model together.
    #[serde(skip)]
    pub loads: BTreeMap<String, Load>,
    /// What is known to go wrong with such packages; filled with the outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// What the user should know: rules that matched nothing, layers that were left out, ...
    pub warnings: Vec<String>,
    /// The options that this plan follows.
    pub options: Options,
}

/// What will become of one tensor.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTensor {
    /// The tensor's name.
    pub name: String,
    /// The file that holds it.
    pub file: String,
    /// The stored type, in safetensors' words.
    pub dtype: String,
    /// The shape, `[O, I, …]`.
    pub shape: Vec<usize>,
    /// How it will be stored. `None`: not a float type that can be quantized; copied byte for byte
    /// where the output can hold it.
    pub scheme: Option<Scheme>,
    /// The scheme that was asked for, if a rule or the default asked for one.
    pub requested: Option<Scheme>,
    /// Which row of the policy chose.
    pub rule: Chosen,
    /// Every difference between `requested` and `scheme`, and why a tensor stays in float.
    pub notes: Vec<String>,
    /// The number of elements.
    pub elements: u64,
    /// Bytes in the input.
    pub bytes_before: u64,
    /// Bytes of codes and parameters, without any container's alignment or padding.
    pub bytes_after: u64,
    /// What it is stored as where it stays in float.
    #[serde(skip)]
    pub float: Float,
    /// The stored operands, all of them [`Data::Later`](crate::graph::weight::Data::Later), keyed by
    /// the tensor's place in the plan. `None` where `scheme` is.
    #[serde(skip)]
    pub storage: Option<Storage>,
}

impl PlannedTensor {
    /// Stored bits a weight, parameters included; `None` for an empty tensor.
    pub fn bits_per_weight(&self) -> Option<f64> {
        (self.elements > 0).then(|| self.bytes_after as f64 * 8.0 / self.elements as f64)
    }

    /// Whether codes will be made.
    pub fn is_quantized(&self) -> bool {
        matches!(self.scheme, Some(Scheme::Linear(_) | Scheme::Palette(_)))
    }
}

/// One file or folder that will be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedOutput {
    /// Which output it belongs to.
    pub kind: Output,
    /// Its path inside the output folder.
    pub path: String,
    /// Its exact size.
    pub bytes: u64,
}

impl Plan {
    /// Leaves a tensor in float after all, for a reason that only its data shows.
    pub fn leave_in_float(&mut self, tensor: usize, why: String) {
        let planned = &mut self.tensors[tensor];
        let scheme = match planned.scheme {
            Some(Scheme::Float(_)) | None => return planned.notes.push(why),
            Some(Scheme::Linear(_) | Scheme::Palette(_)) => Scheme::Float(planned.float),
        };
        let storage = Storage::planned(scheme, &planned.shape, tensor);
        planned.bytes_after = storage.byte_len();
        planned.storage = Some(storage);
        planned.scheme = Some(scheme);
        planned.notes.push(format!("left in {scheme}: {why}"));
    }

    /// Plans for these headers: every scheme and every tensor's bytes. The outputs' sizes and the
    /// memory follow from the layouts, which the pipeline prepares.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) for a scheme that the target lacks, where an
    /// .mlpackage is asked for.
    pub fn new(headers: &[Header], options: &Options) -> Result<Self> {
        let (tensors, warnings) = policy::apply(headers, options)?;
        Ok(Self {
            tensors,
            outputs: vec![],
            peak_memory_bytes: 0,
            model: None,
            smoothing: vec![],
            int8_path: vec![],
            loads: BTreeMap::new(),
            remarks: vec![],
            warnings,
            options: options.clone(),
        })
    }
}
