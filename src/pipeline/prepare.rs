//! Input and options → plan, layouts and sinks, from headers alone.

use super::bias::{self, Correction};
use super::files::{self, Files};
use super::golden::Golden;
use super::hash::InputHash;
use super::inputs::{self, Input, Known};
use super::output::{self, OutputFile, REPORT, Transaction};
use super::package::Subject;
use super::run::{self, Task, Tensor, Work};
use super::{Progress, budget, provenance, roles, scan, smoothing, summary, window};
use crate::formats::mlpackage;
use crate::graph::Role;
use crate::model::config::Config;
use crate::model::{Companions, Whole};
use crate::plan::{Header, NonFinite, Options, Output, Plan, policy};
use crate::report::Report;
use crate::scheme::Scheme;
use crate::source::{Constant, Package, Source, SourceTensor};
use crate::target::Target;
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A run that is ready: its plan stands, and not a byte was written.
#[derive(Debug)]
pub struct Job {
    source: Source,
    plan: Plan,
    files: Files,
    folder: PathBuf,
    /// Tensors whose NaN and infinities pass.
    keep: BTreeSet<usize>,
    /// Tensors that must equal another, by name.
    copies: Vec<[String; 2]>,
    /// What guides each tensor's codes.
    known: Vec<Known>,
    /// Layers whose biases make up for their weights.
    corrections: Vec<Correction>,
    /// Elements of a window: what bounds memory. The bytes of the outputs do not depend on it.
    pub(super) window: usize,
}

/// Reads the headers of `input` (a file, a folder, an index of shards), and plans.
///
/// With `--non-finite keep` it also reads all weights once, for which tensors stay in float decides
/// every size.
///
/// # Errors
/// [`Error::Format`] and [`Error::Input`] for an input that breaks its format, [`Error::Io`] where
/// it cannot be read, [`Error::Usage`] for a scheme that the target lacks.
pub fn prepare(input: &Path, options: &Options) -> Result<Job> {
    let mut opened = open(input, options)?;
    let Opened { source, subject, options, warnings, .. } = &mut opened;
    let smoothing = smoothing::smooth(source, subject, options, warnings)?;
    let headers = headers(&opened);
    let Opened { source, subject, options, roles, mut inputs, warnings } = opened;
    let options = &options;
    let mut plan = Plan::new(&headers, options)?;
    plan.warnings.extend(warnings);
    plan.smoothing = smoothing;
    for (planned, tensor) in plan.tensors.iter_mut().zip(source.tensors()) {
        planned.notes.extend(tensor.derivation().map(str::to_owned));
    }
    let mut keep = BTreeSet::new();
    if let Subject::Program { .. } = subject {
        // Constants that stay are none of our business: a mask may hold infinities.
        keep.extend(0..plan.tensors.len());
    }
    if options.non_finite == NonFinite::Keep {
        for (tensor, index, value) in scan::non_finite(&source) {
            plan.leave_in_float(tensor, format!("element {index} is {value}"));
            keep.insert(tensor);
        }
    }
    inputs.resize_with(plan.tensors.len(), BTreeSet::new);
    let mut known = inputs::known(&mut plan, &inputs, &roles)?;
    let corrections = bias::find(&source, &subject, &mut plan, &mut known)?;
    let files = files::lay_out(&source, &mut plan, &subject)?;
    let folder = options.folder(source.stem());
    refuse_input_inside(&source, &folder)?;
    let copies = match &subject {
        Subject::Whole(whole) => whole.copies.clone(),
        Subject::Layers | Subject::Program { .. } => Vec::new(),
    };
    let window = window::WINDOW;
    let mut job = Job { source, plan, files, folder, keep, copies, known, corrections, window };
    let memory = budget::memory(&job.plan, job.source.tensors());
    let columns = |shape: &[usize]| shape.iter().skip(1).product();
    let shapes = job.plan.tensors.iter().map(|tensor| &tensor.shape[..]);
    let guides = job.known.iter().zip(shapes).map(|(known, shape)| known.bytes(columns(shape)));
    let guides = guides.max().unwrap_or(0);
    let golden = job.files.golden.iter().map(Golden::peak_bytes).max().unwrap_or(0);
    // Recording follows when the windows are gone.
    job.plan.peak_memory_bytes =
        memory.peak_bytes().saturating_add(guides).max(memory.fixed_bytes.saturating_add(golden));
    Ok(job)
}

impl Job {
    /// What will be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The folder that will appear.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does it: quantizes every tensor once, writes every output, and gives the folder its name.
    ///
    /// # Errors
    /// [`Error::Usage`] where the output folder exists, [`Error::Input`] at the first weight that
    /// cannot be stored, [`Error::Io`] for a full disk and its like. Then nothing stands under the
    /// folder's name that did not before.
    pub fn run(&self, progress: &dyn Progress) -> Result<Report> {
        let options = &self.plan.options;
        self.check_copies()?;
        let transaction = Transaction::begin(&self.folder, options.force)?;
        self.source.make_derived(|bytes| transaction.scratch(bytes))?;
        let tensors = self.tensors()?;
        let input = self.source.inputs().map(|(_, bytes)| bytes).collect();
        let mut hash = InputHash::new(input, options.sha256);
        let recorded = &self.files.golden;
        let recorded_bytes: u64 =
            recorded.iter().map(|golden| golden.source_bytes(&self.source)).sum();
        let all: u64 = self.source.tensors().iter().map(SourceTensor::byte_len).sum();
        progress.start(all + recorded_bytes);
        let out = self.files.create(&transaction)?;
        let work = Work {
            source: &self.source,
            tensors: &tensors,
            files: &out,
            clip: options.clip,
            window: self.window,
        };
        // The disk writes while the processor computes, so that the last sync has little left.
        let tidy = |finished: Range<usize>| {
            out.iter().for_each(OutputFile::begin_writeback);
            self.source.tensors()[finished].iter().for_each(|tensor| self.source.done(tensor));
        };
        let outcomes = output::behind(tidy, |tidy| run::run(&work, &mut hash, progress, tidy))?;
        bias::write(&self.corrections, &self.source, &outcomes, &self.files.sinks, &out)?;
        if let Some(turned) = &self.files.turned {
            turned.write(&out)?;
        }
        for golden in recorded {
            golden.record(&self.source, &out, progress)?;
        }
        progress.finish();
        let inputs = provenance::inputs(&self.source, hash.into_hashes());
        for package in &self.files.packages {
            let params = |i: usize| outcomes[i].params.as_ref();
            package.write(&transaction, &self.plan, &inputs, params)?;
        }
        self.files.beside.write(&transaction)?;
        let report = summary::report(&self.plan, inputs, outcomes);
        transaction.write(REPORT, report.to_json().as_bytes())?;
        self.files.verify(&out)?;
        transaction.commit()?;
        Ok(report)
    }

    /// Holds tied tensors that stand twice against each other.
    fn check_copies(&self) -> Result<()> {
        for [copy, of] in &self.copies {
            let both = self.source.tensor(copy).zip(self.source.tensor(of));
            let same = |(a, b): (&SourceTensor, &SourceTensor)| {
                (a.dtype, &a.shape) == (b.dtype, &b.shape)
                    && self.source.bytes(a) == self.source.bytes(b)
            };
            if !both.is_some_and(same) {
                return Err(Error::input(
                    copy,
                    format!("config.json ties it to `{of}`, and the two differ"),
                    "set tie_word_embeddings to false if the model has both, or remove the copy",
                ));
            }
        }
        Ok(())
    }

    /// Each tensor's task and sinks, in the plan's order.
    fn tensors(&self) -> Result<Vec<Tensor<'_>>> {
        let kept: BTreeSet<usize> =
            self.files.packages.iter().flat_map(|package| package.small()).collect();
        let planned = self.plan.tensors.iter().zip(self.source.tensors()).enumerate();
        planned
            .map(|(i, (planned, tensor))| {
                let weights = || {
                    self.source
                        .weights(tensor)
                        .ok_or_else(|| Error::bug(&planned.name, "no float type, but a scheme"))
                };
                let task = match planned.scheme {
                    None => Task::Copy(self.source.bytes(tensor)),
                    Some(Scheme::Float(to)) => {
                        Task::Convert { weights: weights()?, to, keep: self.keep.contains(&i) }
                    }
                    Some(scheme @ (Scheme::Linear(_) | Scheme::Palette(_))) => {
                        Task::Quantize(weights()?, scheme)
                    }
                };
                Ok(Tensor {
                    task,
                    extent: run::extent(planned),
                    codes: files::code_matrix(planned),
                    sinks: self.files.sinks[i].clone(),
                    keep_params: kept.contains(&i),
                    known: &self.known[i],
                })
            })
            .collect()
    }
}

/// An input, and what its package is to hold.
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) subject: Subject,
    pub(super) options: Options,
    /// What a program does with each tensor; empty for bare tensors.
    pub(super) roles: Vec<Option<Role>>,
    /// What it multiplies each with; empty for bare tensors.
    pub(super) inputs: Vec<BTreeSet<Input>>,
    warnings: Vec<String>,
}

/// What the headers say of the tensors.
pub(super) fn headers(opened: &Opened) -> Vec<Header> {
    let Opened { source, subject, roles, .. } = opened;
    let keeps_type = matches!(subject, Subject::Program { .. });
    let mut roles = roles.iter().cloned();
    let header = |tensor| header(source, tensor, roles.next().flatten(), keeps_type);
    source.tensors().iter().map(header).collect()
}

/// Opens a checkpoint or a package.
pub(super) fn open(input: &Path, options: &Options) -> Result<Opened> {
    let mut options = options.clone();
    if is_package(input) {
        let package = Package::open(input)?;
        if options.keep_target {
            options.target = package.target.max(Target::Ios16);
        }
        refuse_older_target(&package, options.target)?;
        let (mut source, mut constants) = Source::of_package(&package)?;
        let warnings = leave_compressed(&mut source, &mut constants, &options)?;
        let roles = constants.iter().map(|constant| Some(constant.role.clone())).collect();
        let inputs = constants.iter().map(|constant| inputs_of(&package, constant)).collect();
        let subject = Subject::Program { program: package.program, constants };
        return Ok(Opened { source, subject, options, roles, inputs, warnings });
    }
    if options.requantize {
        let found = format!("--requantize is for packages, and {} is none", input.display());
        return Err(Error::Usage(found));
    }
    let mut source = Source::open(input)?;
    let mut warnings = Vec::new();
    let whole = whole(&mut source, &options, &mut warnings)?;
    if options.outputs.contains(&Output::Mlpackage) {
        source.read_terms()?;
    }
    let Some(whole) = whole else {
        let (roles, inputs) = (vec![], vec![]);
        return Ok(Opened { source, subject: Subject::Layers, options, roles, inputs, warnings });
    };
    source.derive(&whole.parameters)?;
    let (roles, inputs) = roles::of(&whole, &source, &options)?;
    let subject = Subject::Whole(Box::new(whole));
    Ok(Opened { source, subject, options, roles, inputs, warnings })
}

/// What a package multiplies a constant with.
fn inputs_of(package: &Package, constant: &Constant) -> BTreeSet<Input> {
    let mut found = BTreeSet::new();
    for (function, place) in &constant.places {
        let Some(function) = package.program.functions.get(function) else { continue };
        inputs::each(function, |weight, input| {
            if weight == *place {
                found.insert(input);
            }
        });
    }
    found
}

/// Leaves out of a package's constants those that are compressed and shall stay so: all of them, unless
/// `--requantize` and the policy choose them. Says so.
///
/// # Errors
/// [`Error::Usage`] where nothing is left.
fn leave_compressed(
    source: &mut Source,
    constants: &mut Vec<Constant>,
    options: &Options,
) -> Result<Vec<String>> {
    let all = source.tensors().iter().zip(constants.iter());
    let stays = all.map(|(tensor, constant)| {
        let header = header(source, tensor, Some(constant.role.clone()), true);
        constant.compressed && !(options.requantize && policy::asks(&header, options))
    });
    let stays: Vec<bool> = stays.collect();
    source.retain(|place| !stays[place]);
    let mut stay = stays.iter();
    constants.retain(|_| stay.next() == Some(&false));
    let count = stays.iter().filter(|stays| **stays).count();
    let are = if count == 1 { "weight is" } else { "weights are" };
    let told = match options.requantize {
        _ if count == 0 => None,
        false => Some(format!(
            "{count} {are} compressed already, and left so; --requantize compresses anew"
        )),
        true => Some(format!(
            "{count} {are} compressed already, and left so: neither a rule nor the default chooses"
        )),
    };
    if constants.is_empty() {
        let why = told.map_or_else(String::new, |told| format!(": {told}"));
        return Err(Error::Usage(format!(
            "{} holds no floating-point weight that could be compressed{why}",
            source.stem()
        )));
    }
    Ok(told.into_iter().collect())
}

/// Refuses a target that lacks what a package's operations need.
fn refuse_older_target(package: &Package, target: Target) -> Result<()> {
    let functions = package.program.functions.values();
    let found = functions.flat_map(|function| function.check(target)).next();
    match found {
        Some(finding) if target < package.target => Err(Error::Usage(format!(
            "--target {target}: the package is for {} and needs it: {finding}; leave --target out",
            package.target
        ))),
        _ => Ok(()),
    }
}

/// Whether a path is an .mlpackage, or an output folder with one, rather than a checkpoint.
pub fn is_package(path: &Path) -> bool {
    let named = path.extension().is_some_and(|ending| ending == "mlpackage");
    let is_output = || path.join(REPORT).is_file() && Package::is_in(path);
    path.is_dir() && (named || path.join(mlpackage::MANIFEST_PATH).is_file() || is_output())
}

/// The model that a `config.json` beside the weights describes, unless its layers alone are wanted. What
/// it makes of the weights is in every output.
fn whole(
    source: &mut Source,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Option<Whole>> {
    let Some((path, bytes)) = source.config() else { return Ok(None) };
    if options.model.layer_package {
        if options.outputs.contains(&Output::Mlpackage) {
            warnings.extend(transposed(bytes));
        }
        return Ok(None);
    }
    let read = RefCell::new(Vec::new());
    let config = Config::parse(&path.display().to_string(), bytes)?;
    let beside = Companions::read(&config, &|name| {
        let found = source.beside(name)?;
        read.borrow_mut().extend(found.clone());
        Ok(found.map(|(path, bytes)| (path.display().to_string(), bytes)))
    })?;
    let tensors = source.tensors().iter().map(|t| (t.name.as_str(), t.shape.as_slice()));
    let whole = Whole::describe(&config, beside, tensors, options.model.context)?;
    if whole.is_none() {
        if !options.outputs.contains(&Output::Mlpackage) {
            return Ok(None);
        }
        let named = config.model_type().unwrap_or("none");
        warnings.push(format!(
            "config.json: the model type `{named}` is not known; the package holds one function for \
             each weight matrix"
        ));
        return Ok(None);
    }
    source.add_inputs(read.into_inner());
    Ok(whole)
}

/// What to know of a checkpoint whose layers are written alone and store their weights by input.
fn transposed(config: &[u8]) -> Option<String> {
    let config = Config::parse("config.json", config).ok()?;
    (config.model_type() == Some("gpt2")).then(|| {
        "GPT-2 stores the weights of c_attn, c_proj and c_fc as [inputs, outputs]: their functions \
         multiply by the transpose of what the model does; without --layer-package they are turned"
            .into()
    })
}

/// Exchanging a folder that holds the input would remove the input.
fn refuse_input_inside(source: &Source, folder: &Path) -> Result<()> {
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    // A file may be a link to elsewhere, as in the cache of a hub.
    let files = source.inputs().map(|(path, _)| path);
    let mut places = files.chain([source.folder()]).filter_map(|path| path.canonicalize().ok());
    if places.any(|place| place.starts_with(&folder)) {
        return Err(Error::Usage(format!(
            "the input lies in the output folder {}; choose another with --output",
            folder.display()
        )));
    }
    Ok(())
}

fn header(source: &Source, tensor: &SourceTensor, role: Option<Role>, keeps_type: bool) -> Header {
    let file = source.files()[tensor.file].path();
    Header {
        name: tensor.name.clone(),
        file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        dtype: tensor.stored_dtype(),
        shape: tensor.shape.clone(),
        bytes: tensor.stored_bytes(),
        role,
        keeps_type,
    }
}
