//! Golden vectors of a run: each function of the package, with the source's own weights.

use super::Progress;
use super::files::Files;
use super::output::OutputFile;
use crate::graph::weight::{Data, Weight};
use crate::graph::{Function, Program, Value};
use crate::plan::{Output, Plan};
use crate::source::Source;
use crate::validate::{golden, widened};
use crate::{Error, Result};

/// What is recorded, and where.
#[derive(Debug)]
pub(super) struct Golden {
    plan: golden::Plan,
    program: Program,
    /// Which file of the run.
    file: usize,
}

/// Adds `STEM.golden.safetensors` to the files: `program` is the package's, its weights still to come.
///
/// # Errors
/// As [`golden::Plan::new`].
pub(super) fn add(files: &mut Files, stem: &str, plan: &Plan, program: Program) -> Result<Golden> {
    let planned = golden::Plan::new(&program, plan.options.golden)?;
    let prelude = vec![(0, planned.layout.header.clone().into())];
    let path = format!("{stem}{}", golden::ENDING);
    let file = files.add(Output::Golden, path, planned.layout.file_len, prelude);
    Ok(Golden { plan: planned, program, file })
}

impl Golden {
    /// The most bytes held at once.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.plan.peak_bytes
    }

    /// Bytes of the source that are read, once more.
    pub(super) fn source_bytes(&self, source: &Source) -> u64 {
        self.program.functions.values().map(|function| read_bytes(source, function)).sum()
    }

    /// Records function after function.
    ///
    /// # Errors
    /// As [`golden::Plan::record`]; [`Error::Io`].
    pub(super) fn record(
        &self,
        source: &Source,
        files: &[OutputFile],
        progress: &dyn Progress,
    ) -> Result<()> {
        for (name, function) in &self.program.functions {
            let mut lookup = |value: &Value, weight: &Weight| {
                let Some(place) = place(weight) else { return Ok(None) };
                let tensor = &source.tensors()[place];
                let weights = source
                    .weights(tensor)
                    .ok_or_else(|| Error::bug(&value.name, "its source is no weight"))?;
                let mut values = vec![0.0; weights.len()];
                weights.decode(0..weights.len(), &mut values);
                source.done(tensor);
                Ok(Some(values))
            };
            let wide = widened(function, &mut lookup)?;
            let mut write = |at: u64, bytes: &[u8]| files[self.file].write_at(bytes, at);
            self.plan.record(name, function, &wide, &mut write)?;
            progress.advance(read_bytes(source, function));
        }
        Ok(())
    }
}

/// The tensor of the plan whose bytes a weight waits for.
fn place(weight: &Weight) -> Option<usize> {
    let operands = weight.storage.operands();
    operands.into_iter().find_map(|(_, operand)| match operand.data {
        Data::Later(slot) => Some(slot.tensor),
        Data::Bytes(_) => None,
    })
}

fn read_bytes(source: &Source, function: &Function) -> u64 {
    let places = function.weights().filter_map(|(_, weight)| place(weight));
    places.map(|place| source.tensors()[place].byte_len()).sum()
}
