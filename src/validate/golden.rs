//! Golden vectors: what a model with its source weights makes of known inputs, kept beside the
//! package, so that the proof travels with it. `docs/golden.md` specifies the file.
//!
//! | item | what it does |
//! |---|---|
//! | [`Plan`] | names, types, shapes and offsets, before any weight is read |
//! | [`Plan::record`] | one function: inputs, layer checkpoints, outputs |
//! | `Golden` | a file, read back |

use super::layers::numbers;
use crate::execute::{Inputs, Plain};
use crate::formats::safetensors::{Dtype, Layout};
use crate::generate::Script;
use crate::graph::{DataType, Function, Operation, Program, ValueId, ValueType};
use crate::model::decoder::ane::Host;
use crate::runtime::{Data, Mode, Reference, Shapes, Tensor, Tensors, specialize};
use crate::source::Source;
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file's own form, in its metadata under `form`.
const FORM: &str = "twolane-golden 1";

/// The ending of a golden file; the package's stem stands before it.
pub const ENDING: &str = ".golden.safetensors";

/// The operations whose results are checkpoints.
const LAYERS: [&str; 5] = ["linear", "conv", "conv_transpose", "matmul", "gather"];

/// A golden file before its numbers are known.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: usize,
    host: Option<Host>,
    /// Header and length.
    pub layout: Layout,
    /// Where each tensor begins, by key.
    offsets: BTreeMap<String, u64>,
    /// The most bytes that recording one function holds: its weights and values in f32.
    pub peak_bytes: u64,
}

impl Plan {
    /// Lays out the file for `steps` drawn inputs of each function.
    ///
    /// # Errors
    /// [`Error::Usage`] for a function with a shape that depends on data, or with an output that no
    /// tensor of the file can hold; as [`Host::of`].
    pub fn new(program: &Program, steps: usize) -> Result<Self> {
        let host = Host::of(program)?;
        let mut tensors = Vec::new();
        let mut peak_bytes = 0u64;
        for (name, function) in &program.functions {
            let elements = |shape: &[usize]| shape.iter().map(|&d| d as u64).product::<u64>();
            let weights: u64 = function.weights().map(|(_, w)| elements(&w.shape)).sum();
            let script = Script::of(function, host.as_ref());
            let mut known: Option<(Shapes, Function)> = None;
            for step in 0..steps {
                let shapes = Inputs::sampled_shapes(function, script.as_ref(), step);
                let fixed = match known.take().filter(|(of, _)| *of == shapes) {
                    Some((_, fixed)) => fixed,
                    None => specialize(function, &shapes)
                        .map_err(|why| Error::Usage(format!("--golden: {name}: {why}")))?,
                };
                for (role, id) in features(function) {
                    let value = fixed.value(id);
                    let ValueType::Tensor(ty) = &value.ty else { continue };
                    let unfit =
                        || Error::Usage(format!("--golden: {name}, {} is {ty}", value.name));
                    let shape = ty.shape().ok_or_else(unfit)?;
                    let dtype = stored_type(ty.dtype, role == "in").ok_or_else(unfit)?;
                    tensors.push((key(name, step, role, &value.name), dtype, shape));
                }
                let values = fixed.values.iter().filter(|value| value.constant.is_none());
                let values = values.filter_map(|value| value.ty.tensor()?.shape());
                let values: u64 = values.map(|shape| elements(&shape)).sum();
                // Dense weights as bytes, as decoded numbers, and once more while they are decoded.
                peak_bytes = peak_bytes.max(weights * 4 * 3 + values * 4 * 2);
                known = Some((shapes, fixed));
            }
        }
        let metadata =
            BTreeMap::from([("form".into(), FORM.into()), ("tool".into(), "twolane".into())]);
        let layout = Layout::new(&tensors, &metadata)?;
        let keys = tensors.into_iter().map(|(key, ..)| key);
        let offsets = keys.zip(layout.offsets.iter().copied()).collect();
        Ok(Self { steps, host, layout, offsets, peak_bytes })
    }

    /// Draws the inputs of a function of this name, evaluates `source`, which is `declared` with the
    /// source's weights in f32, and hands every tensor to `write`, with its offset.
    ///
    /// # Errors
    /// As [`Reference::evaluate`]; [`Error::Bug`] for a tensor that was not planned; whatever `write`
    /// returns.
    pub fn record(
        &self,
        name: &str,
        declared: &Function,
        source: &Function,
        write: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let script = Script::of(declared, self.host.as_ref());
        let inputs = Inputs::sampled(name, declared, script.as_ref(), self.steps)?;
        let (mut states, mut carried) = (Tensors::new(), Tensors::new());
        for (step, mut drawn) in inputs.steps.into_iter().enumerate() {
            drawn.append(&mut carried);
            let mut put = |role: &str, feature: &str, tensor: &Tensor| {
                let key = key(name, step, role, feature);
                let unplanned = || Error::bug(&key, "this tensor was not planned");
                let offset = *self.offsets.get(&key).ok_or_else(unplanned)?;
                write(offset, &bytes(tensor, role == "in").ok_or_else(unplanned)?)
            };
            for (feature, tensor) in &drawn {
                put("in", feature, tensor)?;
            }
            let wide = retyped(&drawn, source);
            let marked: Vec<&str> = checkpoints(source).map(|o| o.name.as_str()).collect();
            let mut observe = |seen: &crate::runtime::reference::Step<'_>| {
                if !marked.contains(&seen.operation.name.as_str()) {
                    return Ok(());
                }
                let id = seen.operation.outputs[0];
                match seen.value(id) {
                    Some(tensor) => put("layer", &source.value(id).name, tensor),
                    None => Ok(()),
                }
            };
            let reference = Reference { mode: Mode::F32 };
            let outputs = reference.evaluate(source, &wide, &mut states, &mut observe)?;
            for (feature, tensor) in &outputs {
                if !matches!(tensor.data, Data::Label(_) | Data::Scores(_)) {
                    put("out", feature, tensor)?;
                }
            }
            carried = script.iter().flat_map(|s| s.carried(step + 1, &outputs)).collect();
        }
        Ok(())
    }
}

/// What is recorded of a function, each with its role.
fn features(function: &Function) -> impl Iterator<Item = (&'static str, ValueId)> {
    let inputs = function.inputs.iter().map(|input| ("in", input.value));
    let layers = checkpoints(function).map(|o| ("layer", o.outputs[0]));
    inputs.chain(layers).chain(function.outputs.iter().map(|output| ("out", output.value)))
}

/// The operations of layers whose result is no output of the function: that one is recorded anyway.
fn checkpoints(function: &Function) -> impl Iterator<Item = &Operation> {
    function.operations.iter().filter(|operation| {
        let weighted = || {
            let constant = |a: &crate::graph::Argument| {
                let constant = function.value(a.value).constant.as_ref();
                constant.and_then(|c| c.as_weight()).is_some_and(|weight| weight.shape.len() > 1)
            };
            operation.arguments.iter().any(constant)
        };
        let is_output = |id| function.outputs.iter().any(|output| output.value == id);
        LAYERS.contains(&operation.row.name)
            && operation.outputs.first().is_some_and(|id| !is_output(*id))
            && weighted()
    })
}

fn key(function: &str, step: usize, role: &str, feature: &str) -> String {
    format!("{function}.step{step}.{role}.{feature}")
}

/// Inputs in the declared type, exactly; what is computed in F32.
fn stored_type(dtype: DataType, is_input: bool) -> Option<Dtype> {
    Some(match dtype {
        DataType::Float16 if is_input => Dtype::F16,
        DataType::Float16 | DataType::Float32 => Dtype::F32,
        DataType::Bool => Dtype::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 | DataType::Int32 => {
            Dtype::I32
        }
        _ => return None,
    })
}

fn bytes(tensor: &Tensor, is_input: bool) -> Option<Vec<u8>> {
    match &tensor.data {
        Data::Float(array) if is_input && tensor.dtype == DataType::Float16 => {
            Some(array.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect())
        }
        _ => Plain::of(tensor).map(|plain| plain.bytes),
    }
}

/// Tensors as the inputs of another program: floating-point numbers in the type that it declares.
pub(super) fn retyped(tensors: &Tensors, function: &Function) -> Tensors {
    let mut retyped = tensors.clone();
    for input in &function.inputs {
        let value = function.value(input.value);
        if let (Some(tensor), ValueType::Tensor(ty)) = (retyped.get_mut(&value.name), &value.ty)
            && matches!(tensor.data, Data::Float(_))
        {
            tensor.dtype = ty.dtype;
        }
    }
    retyped
}

/// A golden file, read back.
#[derive(Debug)]
pub(super) struct Golden {
    pub(super) path: PathBuf,
    file: Source,
}

impl Golden {
    /// Opens a golden file.
    ///
    /// # Errors
    /// As [`Source::open`]; [`Error::Input`] for another safetensors file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = Source::open(path)?;
        let form = file.files()[0].metadata().get("form");
        if form.map(String::as_str) != Some(FORM) {
            let found = "its metadata do not say that it is a golden file of this version";
            let remedy = "make one with `quantize --golden N`, or give the file with --inputs";
            return Err(Error::input(path.display().to_string(), found, remedy));
        }
        Ok(Self { path: path.into(), file })
    }

    /// The golden file beside a package, if there is one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn beside(package: &Path) -> Result<Option<Self>> {
        let stem = package.file_stem().unwrap_or_default().to_string_lossy();
        let path = package.with_file_name(format!("{stem}{ENDING}"));
        path.is_file().then(|| Self::open(&path)).transpose()
    }

    /// The recorded inputs of a function; `None` if there are none.
    ///
    /// # Errors
    /// As [`Inputs::read`].
    pub(super) fn inputs(&self, program: &Program, name: &str) -> Result<Option<Inputs>> {
        let start = format!("{name}.step0.");
        let known = self.file.tensors().iter().any(|tensor| tensor.name.starts_with(&start));
        known.then(|| Inputs::read(&self.file, program, name, None)).transpose()
    }

    /// The recorded numbers of an output (`out`) or a checkpoint (`layer`).
    pub(super) fn expected(
        &self,
        function: &str,
        step: usize,
        role: &str,
        feature: &str,
    ) -> Option<Vec<f32>> {
        let tensor = self.file.tensor(&key(function, step, role, feature))?;
        let bytes = self.file.bytes(tensor);
        let whole = |b: &[u8; 4]| i32::from_le_bytes(*b) as f32;
        Some(match (self.file.weights(tensor), tensor.dtype) {
            (Some(Weights { dtype, .. }), _) => {
                let mut values = vec![0.0; bytes.len() / dtype.bytes()];
                crate::tensor::decode(dtype, bytes, &mut values);
                values
            }
            (None, Dtype::I32) => bytes.as_chunks().0.iter().map(whole).collect(),
            (None, Dtype::BOOL) => bytes.iter().map(|&b| f32::from(b)).collect(),
            (None, _) => return None,
        })
    }
}

/// Whether numbers of a tensor can be compared with recorded ones.
pub(super) fn recorded(tensor: &Tensor) -> Option<Vec<f32>> {
    numbers(tensor).map(|numbers| numbers.into_owned())
}
