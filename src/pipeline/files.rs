//! The files of a run: what each holds from the start, and which parts of which tensors go where.

use super::beside::{self, Beside};
use super::dense::{self, Turned};
use super::golden::Golden;
use super::output::{OutputFile, Transaction};
use super::package::{self, Package, Subject};
use super::sink::{Content, Sink};
use crate::formats::metal_blob;
use crate::graph::weight::{Bytes, Operand, Part, Storage};
use crate::layout::{self, Lanes};
use crate::model::MODEL_TYPE;
use crate::plan::{Output, Plan, PlannedOutput, PlannedTensor};
use crate::scheme::{Float, Scheme};
use crate::source::Source;
use crate::{Error, Result};

/// The files of a run and the sinks of every tensor.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<PlannedFile>,
    /// Files that are written whole at the end, with their sizes.
    announced: Vec<PlannedOutput>,
    /// The package, if one is written; of a model in chunks those, in the order in which they run.
    pub(super) packages: Vec<Package>,
    /// What goes with a whole model.
    pub(super) beside: Beside,
    /// What is turned when all is written.
    pub(super) turned: Option<Turned>,
    /// What is recorded of each, if that is asked for.
    pub(super) golden: Vec<Golden>,
    /// For each tensor of the plan, the places that want a part of it.
    pub(super) sinks: Vec<Vec<Sink>>,
}

/// One file: its size, and the bytes that stand before any tensor is read.
#[derive(Debug)]
struct PlannedFile {
    output: Output,
    /// Its path in the output folder; `None` for one that is gone when the run ends.
    path: Option<String>,
    bytes: u64,
    prelude: Vec<(u64, Bytes)>,
}

impl Files {
    /// Adds a file that sinks write to; returns its number.
    pub(super) fn add(
        &mut self,
        output: Output,
        path: String,
        bytes: u64,
        prelude: Vec<(u64, Bytes)>,
    ) -> usize {
        self.files.push(PlannedFile { output, path: Some(path), bytes, prelude });
        self.files.len() - 1
    }

    /// Adds a file that no one sees; returns its number.
    pub(super) fn add_unnamed(&mut self, output: Output, bytes: u64) -> usize {
        self.files.push(PlannedFile { output, path: None, bytes, prelude: Vec::new() });
        self.files.len() - 1
    }

    /// Announces a file that is written whole at the end.
    pub(super) fn announce(&mut self, kind: Output, path: String, bytes: u64) {
        self.announced.push(PlannedOutput { kind, path, bytes });
    }

    /// The files with their sizes, for the plan.
    fn outputs(&self) -> Vec<PlannedOutput> {
        let planned = |f: &PlannedFile| {
            let path = f.path.clone()?;
            Some(PlannedOutput { kind: f.output, path, bytes: f.bytes })
        };
        let planned = self.files.iter().filter_map(planned);
        let mut outputs: Vec<_> = planned.chain(self.announced.iter().cloned()).collect();
        outputs.sort_by_key(|output| output.kind);
        outputs
    }

    /// Creates the files at their full size and writes what stands before any tensor is read.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub(super) fn create(&self, transaction: &Transaction) -> Result<Vec<OutputFile>> {
        let create = |planned: &PlannedFile| {
            let file = match &planned.path {
                Some(path) => transaction.create(path, planned.bytes)?,
                None => transaction.unnamed(planned.bytes)?,
            };
            for (offset, bytes) in &planned.prelude {
                file.write_at(bytes, *offset)?;
            }
            Ok(file)
        };
        self.files.iter().map(create).collect()
    }

    /// Holds the files against the plan.
    ///
    /// # Errors
    /// [`Error::Bug`] for a file of another size than planned.
    pub(super) fn verify(&self, files: &[OutputFile]) -> Result<()> {
        for (planned, file) in self.files.iter().zip(files) {
            let len = file.current_len()?;
            if len != planned.bytes {
                let why = format!("{len} bytes were written, {} planned", planned.bytes);
                let path = planned.path.as_deref().unwrap_or("an unnamed file");
                return Err(Error::bug(path, why));
            }
        }
        Ok(())
    }
}

/// Lays out every output that the options ask for, and enters their sizes into the plan.
///
/// # Errors
/// As the formats' layouts.
pub(super) fn lay_out(source: &Source, plan: &mut Plan, subject: &Subject) -> Result<Files> {
    let mut files = Files { sinks: vec![vec![]; plan.tensors.len()], ..Files::default() };
    let stem = source.stem();
    for output in plan.options.outputs.clone() {
        match output {
            Output::Mlpackage => package::add(&mut files, source, plan, subject)?,
            Output::Metal => add_metal(&mut files, stem, source, plan)?,
            Output::Dense => {
                let whole = matches!(subject, Subject::Whole(_));
                dense::add(&mut files, if whole { "model" } else { stem }, source, plan)?;
            }
            // With the package, whose functions are recorded.
            Output::Golden => require_package(plan)?,
        }
    }
    let more = match subject {
        Subject::Whole(whole) => Some(whole.files()),
        // A whole model keeps its tokenizer when it is compressed.
        Subject::Program { program, .. } => {
            program.metadata.user.contains_key(MODEL_TYPE).then_some(&[][..])
        }
        Subject::Layers => None,
    };
    if let Some(more) = more {
        let kind = plan.options.outputs.first().copied().unwrap_or(Output::Mlpackage);
        files.beside = beside::add(&mut files, kind, source.folder(), more)?;
    }
    plan.outputs = files.outputs();
    Ok(files)
}

fn require_package(plan: &Plan) -> Result<()> {
    match plan.options.outputs.contains(&Output::Mlpackage) {
        true => Ok(()),
        false => Err(Error::Usage(
            "--golden records the functions of the .mlpackage; add mlpackage to --to".into(),
        )),
    }
}

/// `STEM.metal/weights.safetensors`: every tensor, codes in the lanes that the options choose.
fn add_metal(files: &mut Files, stem: &str, source: &Source, plan: &Plan) -> Result<()> {
    let lanes = plan.options.lanes;
    let weight = |(planned, tensor): (&PlannedTensor, &crate::source::SourceTensor)| {
        let encoding = match planned.scheme {
            Some(scheme) => layout::encoding(scheme, lanes),
            None => metal_blob::Encoding::Raw { dtype: tensor.dtype },
        };
        metal_blob::Weight { name: planned.name.clone(), shape: planned.shape.clone(), encoding }
    };
    let weights = plan.tensors.iter().zip(source.tensors()).map(weight).collect();
    let blob = metal_blob::Plan::new(weights)?;
    let path = format!("{stem}.metal/weights.safetensors");
    let prelude = vec![(0, blob.header().to_vec().into())];
    let file = files.add(Output::Metal, path, blob.file_len(), prelude);
    for (i, planned) in plan.tensors.iter().enumerate() {
        let mut add = |part: metal_blob::Part, content: Content| {
            if let Some(plane) = blob.plane(i, part) {
                files.sinks[i].push(Sink { file, offset: plane.offset, content });
            }
        };
        let Some(storage) = &planned.storage else {
            add(metal_blob::Part::Values, Content::Raw);
            continue;
        };
        for (part, operand) in storage.operands() {
            let content = match part {
                Part::Dense => Content::Values(float_of(planned)?),
                Part::Codes if lanes == Lanes::Row => Content::Codes { bits: bits(operand) },
                Part::Codes => Content::Lanes(lanes),
                Part::Scale | Part::Offset => {
                    let blocks = operand.shape.iter().skip(1).product();
                    Content::Transposed { part, blocks }
                }
                Part::Table | Part::TableScale | Part::ChannelScale => {
                    Content::Params { part, bits: 8 }
                }
            };
            add(layout::part(part), content);
        }
    }
    Ok(())
}

/// The floating-point type of a tensor that stays in float.
pub(super) fn float_of(planned: &PlannedTensor) -> Result<Float> {
    match planned.scheme {
        Some(Scheme::Float(float)) => Ok(float),
        Some(Scheme::Linear(_) | Scheme::Palette(_)) | None => {
            Err(Error::bug(&planned.name, "values without a float scheme"))
        }
    }
}

/// The width of an operand's elements.
pub(super) fn bits(operand: &Operand) -> u8 {
    operand.dtype.bits().unwrap_or(8) as u8
}

/// The matrix `[rows, cols]` of a tensor's codes; no rows for a tensor without codes.
pub(super) fn code_matrix(planned: &PlannedTensor) -> [usize; 2] {
    match &planned.storage {
        Some(Storage::Linear { codes, .. } | Storage::Palette { indices: codes, .. }) => {
            [codes.shape[0], codes.shape.iter().skip(1).product()]
        }
        Some(_) | None => [0, 0],
    }
}
