//! The .mlpackage of a run: a layer package, lowered, and its place among the files.

use super::bytes::param_bytes;
use super::files::{Files, bits, float_of};
use super::golden;
use super::output::Transaction;
use super::sink::{Content, Sink};
use crate::formats::mlpackage::{
    MANIFEST_PATH, MODEL_PATH, Manifest, WEIGHT_BIN_PATH, WEIGHTS_PATH,
};
use crate::graph::weight::{Data, Part, Slot};
use crate::graph::{Lowered, lower};
use crate::model::{self, Layer, layer_package};
use crate::plan::{Output, Plan};
use crate::quantize::Params;
use crate::{Error, Result};

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

/// Adds `STEM.mlpackage` to the files: its blobs become sinks.
///
/// # Errors
/// As [`layer_package()`] and [`lower()`].
pub(super) fn add(files: &mut Files, stem: &str, plan: &mut Plan) -> Result<()> {
    // Tensors that are only copied have no storage that a package could hold.
    let (places, layers): (Vec<usize>, Vec<Layer>) = plan
        .tensors
        .iter()
        .enumerate()
        .filter_map(|(i, t)| {
            let storage = t.storage.clone()?;
            Some((i, Layer { name: t.name.clone(), shape: t.shape.clone(), storage }))
        })
        .unzip();
    for tensor in plan.tensors.iter_mut().filter(|t| t.storage.is_none()) {
        let why = format!("{} is no type of a weight there", tensor.dtype);
        tensor.notes.push(format!("not in the .mlpackage: {why}"));
    }
    let options =
        model::Options { layers: plan.options.layers.clone(), ..model::Options::default() };
    let package = layer_package(&layers, plan.options.target, &options)?;
    plan.warnings.extend(package.notes);
    for (&place, outcome) in places.iter().zip(package.outcomes) {
        if let model::Outcome::Left { why } = outcome {
            plan.tensors[place].notes.push(format!("not in the .mlpackage: {why}"));
        }
    }
    let lowered = lower(&package.program, plan.options.target)?;

    let folder = format!("{stem}.mlpackage");
    let model = lowered.model.to_bytes();
    let manifest = Manifest::new(blake3::hash(&model).as_bytes()).to_json().into_bytes();
    let path = format!("{folder}/{MANIFEST_PATH}");
    files.add(Output::Mlpackage, path, manifest.len() as u64, vec![(0, manifest)]);
    let path = format!("{folder}/{MODEL_PATH}");
    let bytes = model.len() as u64;
    files.announce(Output::Mlpackage, path.clone(), bytes);
    if !lowered.plan.is_empty() {
        let mut prelude = vec![(0, lowered.plan.header().to_vec())];
        prelude.extend(lowered.plan.records().map(|(at, record)| (at, record.to_vec())));
        for blob in &lowered.blobs {
            if let Data::Bytes(known) = &blob.data {
                let known: &[u8] = known.as_ref();
                prelude.push((blob.entry.data_offset, known.to_vec()));
            }
        }
        let path = format!("{folder}/{WEIGHT_BIN_PATH}");
        let file = files.add(Output::Mlpackage, path, lowered.plan.byte_len(), prelude);
        for &place in &places {
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
    files.package = Some(Package { lowered, path, bytes, weights });
    if plan.options.outputs.contains(&Output::Golden) {
        files.golden = Some(golden::add(files, stem, plan, package.program)?);
    }
    Ok(())
}

impl Package {
    /// The tensors whose parameters the model itself holds.
    pub(super) fn small(&self) -> impl Iterator<Item = usize> + '_ {
        self.lowered.small().map(|slot| slot.tensor)
    }

    /// Writes the model, its smallest parameters filled in.
    ///
    /// # Errors
    /// [`Error::Bug`] where the parameters of a tensor are missing or the size is not the planned
    /// one; [`Error::Io`].
    pub(super) fn write<'p>(
        &self,
        transaction: &Transaction,
        plan: &Plan,
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
        let model = lowered.model.to_bytes();
        if model.len() as u64 != self.bytes {
            return Err(Error::bug(&self.path, "its size is not the planned one"));
        }
        transaction.create_dir(&self.weights)?;
        transaction.write(&self.path, &model)
    }
}
