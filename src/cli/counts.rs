//! `--calibration` of the default command: counts from their file, or counted now on data.

use super::data::{self, Counting};
use super::interrupt;
use super::screen::Bar;
use regex::Regex;
use std::path::Path;
use twolane::calibrate::Calibration;
use twolane::pipeline::output::Transaction;
use twolane::pipeline::{self, is_package};
use twolane::plan::{ModelOptions, Options, Output};
use twolane::scheme::{Float, Scheme};
use twolane::{Error, Result};

/// The statistics in a file, if `path` is such a file: its metadata say so, whatever its name.
///
/// # Errors
/// [`Error::Input`] where nothing is there; as [`Calibration::read`].
pub(super) fn stored(path: &Path) -> Result<Option<Calibration>> {
    if !path.exists() {
        let place = format!("--calibration {}", path.display());
        return Err(Error::input(place, "there is no such file or folder", "check the path"));
    }
    match Calibration::is_at(path)? {
        true => Calibration::read(path).map(Some),
        false => Ok(None),
    }
}

/// Counts the activations of `input` in float on `data`. A package is fed as it is. Of a checkpoint, the
/// package in FP16 that these options make is written beside the output, fed, and removed: also
/// after an error, a signal, and by the next run after a `kill -9`.
///
/// # Errors
/// [`Error::Usage`] for options that data cannot be counted with, before anything is counted; as
/// [`pipeline::prepare()`], [`pipeline::Job::run`] and [`data::count`].
pub(super) fn counted(
    input: &Path,
    data: &Path,
    options: &Options,
    quiet: bool,
) -> anyhow::Result<Calibration> {
    let every = Regex::new("")?;
    let hessians = options.gptq.map(|_| &every);
    let counting = Counting { function: None, hessians, quiet };
    // What can be refused without the counts is refused before the work.
    let draft = Options { activations: None, importance: false, gptq: None, ..options.clone() };
    let draft = pipeline::prepare(input, &draft)?;
    let target = draft.plan().options.target;
    options.activations.iter().try_for_each(|how| how.check(target))?;
    if is_package(input) {
        return Ok(data::count(input, data, counting)?);
    }
    interrupt::abandon_on_signal(draft.folder())?;
    let room = Transaction::begin(draft.folder(), options.force)?;
    let place = room.room("float");
    let float = pipeline::prepare(input, &in_float(options, &place))?;
    if float.plan().model.is_none() {
        let found = "--calibration: the layers of a bare checkpoint read nothing of each other; give a \
                     folder with a config.json that describes the model";
        return Err(Error::Usage(found.into()).into());
    }
    float.run(&Bar::new(quiet))?;
    Ok(data::count(&place, data, counting)?)
}

/// The same model in FP16, in one package: values have the same names in it.
fn in_float(options: &Options, output: &Path) -> Options {
    Options {
        scheme: Scheme::Float(Float::F16),
        rules: Vec::new(),
        activations: None,
        calibration: None,
        importance: false,
        gptq: None,
        outputs: [Output::Mlpackage].into(),
        golden: 0,
        model: ModelOptions { chunks: 1, ..options.model },
        sha256: false,
        output: Some(output.into()),
        force: false,
        ..options.clone()
    }
}
