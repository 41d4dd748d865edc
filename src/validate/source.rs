//! What a package is compared with: another package, or the checkpoint that it came from.

use super::names::stem;
use crate::activations;
use crate::formats::mlpackage;
use crate::graph::weight::{Operand, Storage, Weight};
use crate::graph::{Constant, DataType, Function, Program, Value, ValueType, names};
use crate::model::config::Config;
use crate::model::{CONTEXT, Companions, MODEL_TYPE, Whole};
use crate::report::Provenance;
use crate::smooth;
use crate::source::{Package, Source};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a package is compared with.
#[derive(Debug)]
pub(super) enum Against {
    /// The package before it was compressed.
    Package(Box<Package>),
    /// The weights, by the identifiers that a program gives their names; `None` where two names
    /// have one identifier.
    Checkpoint(Box<Source>, BTreeMap<String, Option<usize>>),
}

/// A function as the source has it.
#[derive(Debug, Default)]
pub(super) struct Counterpart {
    /// The source's function; `None` if it has none of this name.
    pub(super) function: Option<Function>,
    /// What does not fit together.
    pub(super) findings: Vec<String>,
    /// Compressed weights that the source does not have: in `function` they stand for themselves.
    pub(super) absent: BTreeSet<String>,
    /// What the source gave: the function, or as many weights.
    pub(super) taken: usize,
    /// Columns of the package's weights are scaled, and those of the source are not: functions give the
    /// same, and single layers do not.
    pub(super) rescaled: bool,
}

impl Against {
    /// Opens a package, an output folder that holds one, or a checkpoint. Of a checkpoint, weights are
    /// derived as they were for `program`, if that is a whole model.
    ///
    /// # Errors
    /// As [`Package::open`], [`Source::open`] and [`Whole::describe`].
    pub(super) fn open(path: &Path, program: &Program) -> Result<Self> {
        let is_package = |path: &Path| path.join(mlpackage::MANIFEST_PATH).is_file();
        let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
        let holds_one = || inside.map(|entry| entry.path()).any(|path| is_package(&path));
        if is_package(path) || path.extension().is_some_and(|e| e == "mlpackage") || holds_one() {
            return Ok(Self::Package(Box::new(Package::open(path)?)));
        }
        let mut source = Source::open(path)?;
        if program.metadata.user.contains_key(MODEL_TYPE)
            && let Some(whole) = whole(&source, program)?
        {
            source.derive(&whole.parameters)?;
        }
        let mut by_identifier = BTreeMap::new();
        for (place, tensor) in source.tensors().iter().enumerate() {
            let taken = by_identifier.entry(names::sanitize(&tensor.name));
            taken.and_modify(|one| *one = None).or_insert(Some(place));
        }
        Ok(Self::Checkpoint(Box::new(source), by_identifier))
    }

    /// The source's function for a function of `program`.
    ///
    /// Of a checkpoint, it is the same function with the checkpoint's weights in place of those that
    /// are compressed (and of those that the program's metadata name, and of all where some are scaled),
    /// in f32 throughout, and without rounding or scaling of activations.
    ///
    /// # Errors
    /// As [`widened`].
    pub(super) fn counterpart(
        &self,
        program: &Program,
        name: &str,
        function: &Function,
    ) -> Result<Counterpart> {
        let scalings = |program: &Program| {
            let runs = Provenance::read(&program.metadata.user);
            runs.into_iter().filter(Provenance::is_rescaled).count()
        };
        match self {
            Self::Package(package) => {
                let rescaled = scalings(program) != scalings(&package.program);
                let functions = &package.program.functions;
                // Compressing may rename the only function.
                let only = functions.len() == 1 && program.functions.len() == 1;
                let found = functions.get(name).or(functions.values().next().filter(|_| only));
                let missing = || format!("function `{name}` is not in the source");
                let findings = if found.is_none() { vec![missing()] } else { vec![] };
                let (function, taken) = (found.cloned(), usize::from(found.is_some()));
                Ok(Counterpart { function, findings, absent: BTreeSet::new(), taken, rescaled })
            }
            Self::Checkpoint(source, by_identifier) => {
                let rescaled = scalings(program) > 0;
                let (mut findings, mut absent, mut taken) = (vec![], BTreeSet::new(), 0);
                let mut lookup = |value: &Value, weight: &Weight| {
                    let named = program.metadata.user.get(&value.name);
                    let compressed = !matches!(weight.storage, Storage::Dense(_));
                    let tensor = match named {
                        Some(original) => source.tensor(original),
                        // Scaled weights are of no use beside the source's own.
                        None if !compressed && !rescaled => return Ok(None),
                        None => by_identifier
                            .get(stem(&value.name))
                            .and_then(|place| Some(&source.tensors()[(*place)?])),
                    };
                    let found = tensor.and_then(|t| Some((t, source.values(t)?)));
                    let Some((tensor, values)) = found else {
                        if compressed {
                            let why = "is not in the source, or not of a float type";
                            findings.push(format!("{name}: weight `{}` {why}", value.name));
                            absent.insert(value.name.clone());
                        }
                        return Ok(None);
                    };
                    if !same_shape(&tensor.shape, &weight.shape) {
                        findings.push(format!(
                            "{name}: weight `{}` is {:?}, and {:?} in the source",
                            value.name, weight.shape, tensor.shape
                        ));
                        absent.insert(value.name.clone());
                        return Ok(None);
                    }
                    taken += 1;
                    Ok(Some(values))
                };
                let mut function = widened(function, &mut lookup)?;
                activations::strip(&mut function);
                smooth::strip(&mut function);
                Ok(Counterpart { function: Some(function), findings, absent, taken, rescaled })
            }
        }
    }
}

/// The model that a checkpoint's configuration describes, in the context of a package.
fn whole(source: &Source, program: &Program) -> Result<Option<Whole>> {
    let Some((path, bytes)) = source.config() else { return Ok(None) };
    let config = Config::parse(&path.display().to_string(), bytes)?;
    let beside = Companions::read(&config, &|name| {
        let found = source.beside(name)?;
        Ok(found.map(|(path, bytes)| (path.display().to_string(), bytes)))
    })?;
    let tensors = source.tensors().iter().map(|t| (t.name.as_str(), t.shape.as_slice()));
    let context = program.metadata.user.get(CONTEXT).and_then(|words| words.parse().ok());
    Whole::describe(&config, beside, tensors, context)
}

/// Whether two shapes are the same but for dimensions of 1: a linear layer may be a convolution.
pub(super) fn same_shape(a: &[usize], b: &[usize]) -> bool {
    let real = |shape: &[usize]| shape.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
    real(a) == real(b)
}

/// The values of a weight elsewhere; `None` for one that is not there.
type Lookup<'a> = dyn FnMut(&Value, &Weight) -> Result<Option<Vec<f32>>> + 'a;

/// The function in f32 throughout, its floating-point constants dense: those that `lookup` knows with
/// its values, the others with their own.
///
/// # Errors
/// As [`Weight::dequantize`]; whatever `lookup` returns.
pub(crate) fn widened(function: &Function, lookup: &mut Lookup<'_>) -> Result<Function> {
    let mut wide = function.clone();
    for value in &mut wide.values {
        if let Some(Constant::Tensor(weight)) = &value.constant
            && matches!(weight.storage.dtype(), DataType::Float16 | DataType::Float32)
        {
            let values = match lookup(value, weight)? {
                Some(values) => values,
                None => weight.unrounded()?,
            };
            if values.len() != weight.shape.iter().product::<usize>() {
                return Err(Error::bug(&value.name, "a source of another size"));
            }
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let dense = Operand::new(DataType::Float32, &weight.shape, bytes);
            value.constant = Some(Weight::dense(dense).into());
        }
        if let ValueType::Tensor(ty) | ValueType::State(ty) = &mut value.ty
            && ty.dtype == DataType::Float16
        {
            ty.dtype = DataType::Float32;
        }
    }
    // Words that choose a type, such as that of a cast.
    for operation in &wide.operations {
        for argument in operation.arguments.iter().filter(|a| a.param.ends_with("dtype")) {
            let constant = &mut wide.values[argument.value.0].constant;
            if constant.as_ref().and_then(Constant::as_text) == Some("fp16") {
                *constant = Some(Constant::text("fp32"));
            }
        }
    }
    Ok(wide)
}
