//! The .mlpackage of a run: a whole model or its layers, lowered, and its place among the files.

use super::activations;
use super::bytes::param_bytes;
use super::files::{Files, bits, float_of};
use super::golden;
use super::output::Transaction;
use super::provenance;
use super::sink::{Content, Sink};
use crate::advice::{Effect, Topic, advise};
use crate::chips::forecast::Load;
use crate::formats::mlpackage::{
    MANIFEST_PATH, MODEL_PATH, Manifest, WEIGHT_BIN_PATH, WEIGHTS_PATH,
};
use crate::graph::weight::{Bytes, Data, Part, Slot, Weight};
use crate::graph::{DataType, Function, Lowered, Program, lower};
use crate::int8_path::{FunctionPath, InPackage};
use crate::model::decoder::Chunk;
use crate::model::parameters::Parameter;
use crate::model::{self, Layer, Whole, layer_package};
use crate::plan::{Options, Output, Plan, Unit};
use crate::quantize::Params;
use crate::report::InputFile;
use crate::report::provenance::{SOURCES, sources_text};
use crate::runtime::{Shapes, specialize};
use crate::scheme::{Float, Scheme};
use crate::smooth;
use crate::source::chunks::{self, Listed};
use crate::source::{Constant, Source};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// How a package's folder is called.
const ENDING: &str = "mlpackage";

/// A package whose model still lacks its smallest parameters.
#[derive(Debug)]
pub(super) struct Package {
    lowered: Lowered,
    /// `model.mlmodel`, relative to the output folder, and its planned size.
    path: String,
    bytes: u64,
    /// `weights/`, relative to the output folder.
    weights: String,
}

/// What a package is to hold.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// A function for each weight matrix.
    Layers,
    /// The model that `config.json` describes.
    Whole(Box<Whole>),
    /// What the package held that is compressed, with its constants in the order of the source's
    /// tensors.
    Program {
        /// Its program.
        program: Program,
        /// Its constants.
        constants: Vec<Constant>,
    },
}

/// Adds `STEM.mlpackage` to the files, with the whole model or with its layers: its blobs become
/// sinks. A model in chunks becomes `STEM-chunk1of2.mlpackage` and so on, with a list of them.
///
/// # Errors
/// As [`layer_package()`], [`Whole::program`] and [`lower()`]; [`Error::Usage`] for chunks of what is no
/// language model.
pub(super) fn add(
    files: &mut Files,
    source: &Source,
    plan: &mut Plan,
    subject: &Subject,
) -> Result<()> {
    let places: Vec<usize> =
        (0..plan.tensors.len()).filter(|&i| plan.tensors[i].storage.is_some()).collect();
    let chunks = plan.options.model.chunks;
    if chunks > 1 && !matches!(subject, Subject::Whole(_)) {
        return Err(Error::Usage(format!(
            "--chunks {chunks}: a language model is split by its layers, and this input is none that \
             a config.json describes; leave it out"
        )));
    }
    let mut programs = programs(plan, subject, &places)?;
    for function in programs.iter_mut().flat_map(|program| program.functions.values_mut()) {
        smooth::insert(function, &plan.smoothing);
    }
    // What is recorded is what the model computes before anything is quantized.
    let golden = plan.options.outputs.contains(&Output::Golden);
    let mut recorded = if golden { programs.clone() } else { vec![] }.into_iter();
    activations::pair(&mut programs, plan, subject)?;
    let in_chunks = programs.len() > 1;
    let mut listed = Vec::new();
    for mut program in programs {
        provenance::enter(&mut program.metadata, source, plan, subject);
        // One that is compressed is called as it was, whatever it is a part of.
        let chunk = if in_chunks { Chunk::of(&program)? } else { None };
        let stem = match chunk {
            None => source.stem().to_owned(),
            Some(chunk) => {
                let stem = format!("{}-chunk{}of{}", source.stem(), chunk.number, chunk.of);
                let package = format!("{stem}.{ENDING}");
                listed.push(Listed { package, chunk });
                stem
            }
        };
        look_at(plan, &stem, &program, matches!(subject, Subject::Whole(_)));
        add_program(files, &stem, plan, &places, &program)?;
        if let Some(program) = recorded.next() {
            let golden = golden::add(files, &stem, plan, program)?;
            files.golden.push(golden);
        }
    }
    if !listed.is_empty() {
        let list = chunks::to_json(&listed).into_bytes();
        files.add(
            Output::Mlpackage,
            chunks::FILE.into(),
            list.len() as u64,
            vec![(0, list.into())],
        );
    }
    Ok(())
}

/// Enters into the plan what a program shows of itself without its weights: its INT8 path, and what is
/// known to go wrong with such programs. What other units would do in the Neural Engine's place is
/// said of models that are for it.
fn look_at(plan: &mut Plan, stem: &str, program: &Program, whole: bool) {
    let fixed = |function: &Function| specialize(function, &Shapes::new()).ok();
    let paths = FunctionPath::of_program(program, &fixed);
    for (name, load) in Load::of_program(program, &fixed) {
        let before = plan.loads.remove(&name).unwrap_or_default();
        plan.loads.insert(name, before.and(load));
    }
    plan.int8_path.push(InPackage {
        package: format!("{stem}.{ENDING}"),
        functions: paths.iter().map(FunctionPath::summary).collect(),
    });
    let mildest = match plan.options.model.unit {
        Unit::Ane if whole => Effect::Placement,
        Unit::Ane | Unit::Gpu | Unit::Cpu => Effect::Fails,
    };
    let mut remarks = advise(Topic::Threads, program, plan.options.target, None, &fixed, true);
    remarks.retain(|remark| remark.effect <= mildest && !plan.remarks.contains(remark));
    plan.remarks.append(&mut remarks);
}

/// What a package is to hold, its weights stored as planned and still to come; `places` are the tensors
/// that have a storage.
///
/// # Errors
/// As [`layer_package()`] and [`Whole::program`].
pub(super) fn programs(
    plan: &mut Plan,
    subject: &Subject,
    places: &[usize],
) -> Result<Vec<Program>> {
    Ok(match subject {
        Subject::Layers => vec![layer_program(plan, places)?],
        Subject::Whole(whole) => model_programs(plan, whole)?,
        Subject::Program { program, constants } => {
            vec![compressed_program(plan, program, constants)]
        }
    })
}

/// Adds one package to the files.
fn add_program(
    files: &mut Files,
    stem: &str,
    plan: &Plan,
    places: &[usize],
    program: &Program,
) -> Result<()> {
    let lowered = lower(program, plan.options.target)?;
    let folder = format!("{stem}.{ENDING}");
    let model = lowered.model.to_bytes();
    let manifest = Manifest::new(blake3::hash(&model).as_bytes()).to_json().into_bytes();
    let path = format!("{folder}/{MANIFEST_PATH}");
    files.add(Output::Mlpackage, path, manifest.len() as u64, vec![(0, manifest.into())]);
    let path = format!("{folder}/{MODEL_PATH}");
    let bytes = model.len() as u64;
    files.announce(Output::Mlpackage, path.clone(), bytes);
    if !lowered.plan.is_empty() {
        let mut prelude: Vec<(u64, Bytes)> = vec![(0, lowered.plan.header().to_vec().into())];
        prelude.extend(lowered.plan.records().map(|(at, record)| (at, record.to_vec().into())));
        for blob in &lowered.blobs {
            if let Data::Bytes(known) = &blob.data {
                prelude.push((blob.entry.data_offset, known.clone()));
            }
        }
        let path = format!("{folder}/{WEIGHT_BIN_PATH}");
        let file = files.add(Output::Mlpackage, path, lowered.plan.byte_len(), prelude);
        for &place in places {
            let storage = plan.tensors[place].storage.as_ref().expect("filtered above");
            for (part, operand) in storage.operands() {
                let Some(entry) = lowered.blob(Slot { tensor: place, part }) else { continue };
                let content = match part {
                    Part::Dense => Content::Values(float_of(&plan.tensors[place])?),
                    Part::Codes => Content::Codes { bits: bits(operand) },
                    Part::Scale
                    | Part::Offset
                    | Part::Table
                    | Part::TableScale
                    | Part::ChannelScale => Content::Params { part, bits: bits(operand) },
                };
                files.sinks[place].push(Sink { file, offset: entry.data_offset, content });
            }
        }
    }
    let weights = format!("{folder}/{WEIGHTS_PATH}");
    files.packages.push(Package { lowered, path, bytes, weights });
    Ok(())
}

/// The program of a package, its constants stored as planned; all else stays as it is.
fn compressed_program(plan: &mut Plan, program: &Program, constants: &[Constant]) -> Program {
    let mut program = program.clone();
    for (tensor, constant) in plan.tensors.iter().zip(constants) {
        let Some(storage) = &tensor.storage else { continue };
        for (function, id) in &constant.places {
            let Some(function) = program.functions.get_mut(function) else { continue };
            let weight = Weight { shape: tensor.shape.clone(), storage: storage.clone() };
            function.values[id.0].constant = Some(weight.into());
        }
    }
    program
}

/// The layer package of the tensors at these places.
fn layer_program(plan: &mut Plan, places: &[usize]) -> Result<Program> {
    for tensor in plan.tensors.iter_mut().filter(|t| t.storage.is_none()) {
        // Tensors that are only copied have no storage that a package could hold.
        let why = format!("{} is no type of a weight there", tensor.dtype);
        tensor.notes.push(format!("not in the .mlpackage: {why}"));
    }
    let layers = places.iter().map(|&place| {
        let tensor = &plan.tensors[place];
        let storage = tensor.storage.clone().expect("these places have one");
        Layer { name: tensor.name.clone(), shape: tensor.shape.clone(), storage }
    });
    let layers: Vec<Layer> = layers.collect();
    let options =
        model::Options { layers: plan.options.layers.clone(), ..model::Options::default() };
    let package = layer_package(&layers, plan.options.target, &options)?;
    plan.warnings.extend(package.notes);
    for (&place, outcome) in places.iter().zip(package.outcomes) {
        if let model::Outcome::Left { why } = outcome {
            plan.tensors[place].notes.push(format!("not in the .mlpackage: {why}"));
        }
    }
    Ok(package.program)
}

/// The type that a whole model computes in.
pub(super) fn computes_in(options: &Options) -> DataType {
    match options.scheme {
        Scheme::Float(Float::F32) => DataType::Float32,
        Scheme::Float(Float::F16) | Scheme::Linear(_) | Scheme::Palette(_) => DataType::Float16,
    }
}

/// The whole model, its weights stored as planned; in chunks, if that is asked for.
fn model_programs(plan: &mut Plan, whole: &Whole) -> Result<Vec<Program>> {
    let by_name: HashMap<&str, usize> =
        plan.tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.as_str(), i)).collect();
    let float = computes_in(&plan.options);
    let storage = |parameter: &Parameter| {
        let tensor = &plan.tensors[by_name[parameter.name.as_str()]];
        let Some(storage) = tensor.storage.clone() else {
            let found = format!("it is {}", tensor.dtype);
            return Err(Error::input(
                &tensor.name,
                found,
                "weights of a model are F16, BF16 or F32",
            ));
        };
        if storage.dtype() != float {
            return Err(Error::Usage(format!(
                "`{}` becomes {} in a model that computes in {float}, and all of a model has one type; \
                 choose --scheme float32 and no other in a rule, or write layers alone with \
                 --layer-package",
                tensor.name,
                storage.dtype()
            )));
        }
        Ok(storage)
    };
    let storages = whole.parameters.iter().map(storage).collect::<Result<Vec<_>>>()?;
    let built = whole.program(storages, &plan.options, float)?;
    let used: HashSet<&str> = whole.parameters.iter().map(|p| p.name.as_str()).collect();
    for tensor in plan.tensors.iter_mut().filter(|t| !used.contains(t.name.as_str())) {
        tensor.notes.push("not in the .mlpackage: the model does without it".into());
    }
    plan.model = Some(built.words);
    plan.warnings.extend(built.notes);
    Ok(built.programs)
}

impl Package {
    /// The tensors whose parameters the model itself holds.
    pub(super) fn small(&self) -> impl Iterator<Item = usize> + '_ {
        self.lowered.small().map(|slot| slot.tensor)
    }

    /// Writes the model, its smallest parameters and what is now known of the inputs filled in.
    ///
    /// # Errors
    /// [`Error::Bug`] where the parameters of a tensor are missing or the size is not the planned
    /// one; [`Error::Io`].
    pub(super) fn write<'p>(
        &self,
        transaction: &Transaction,
        plan: &Plan,
        inputs: &[InputFile],
        params: impl Fn(usize) -> Option<&'p Params>,
    ) -> Result<()> {
        let mut lowered = self.lowered.clone();
        for slot in self.lowered.small() {
            let planned = &plan.tensors[slot.tensor];
            let operands = planned.storage.iter().flat_map(|storage| storage.operands());
            let operand = operands.into_iter().find(|(part, _)| *part == slot.part);
            let (Some((part, operand)), Some(params)) = (operand, params(slot.tensor)) else {
                return Err(Error::bug(&planned.name, "its parameters were not kept"));
            };
            lowered.fill(slot, &param_bytes(params, part, bits(operand))?)?;
        }
        let metadata = lowered.model.description.as_mut().and_then(|d| d.metadata.as_mut());
        let metadata = metadata.ok_or_else(|| Error::bug(&self.path, "it has no metadata"))?;
        metadata.user_defined.insert(SOURCES.into(), sources_text(inputs));
        let model = lowered.model.to_bytes();
        if model.len() as u64 != self.bytes {
            return Err(Error::bug(&self.path, "its size is not the planned one"));
        }
        transaction.create_dir(&self.weights)?;
        transaction.write(&self.path, &model)
    }
}
