//! `--calibration` of the default command: counts from their file, or counted now on data.

use super::data::{self, Counting};
use super::interrupt;
use super::screen::{self, Bar};
use regex::Regex;
use std::path::Path;
use std::sync::Arc;
use twolane::calibrate::{Calibration, Imatrix};
use twolane::pipeline::output::Transaction;
use twolane::pipeline::{self, is_package};
use twolane::plan::{ModelOptions, Options, Output};
use twolane::scheme::{Float, Scheme};
use twolane::smooth::Smooth;
use twolane::{Error, Result};

/// What a file knows of activations.
pub(super) enum Stored {
    /// Counts of our own.
    Counts(Calibration),
    /// The mean squares of llama.cpp.
    Imatrix(Imatrix),
}

/// The statistics in a file, if `path` is such a file: its content says so, whatever its name.
///
/// # Errors
/// [`Error::Input`] where nothing is there; as [`Calibration::read`] and [`Imatrix::read`].
pub(super) fn stored(path: &Path) -> Result<Option<Stored>> {
    if !path.exists() {
        let place = format!("--calibration {}", path.display());
        return Err(Error::input(place, "there is no such file or folder", "check the path"));
    }
    if Imatrix::is_at(path)? {
        return Imatrix::read(path).map(|imatrix| Some(Stored::Imatrix(imatrix)));
    }
    match Calibration::is_at(path)? {
        true => Calibration::read(path).map(|counts| Some(Stored::Counts(counts))),
        false => Ok(None),
    }
}

/// Counts the activations of `input` in float on `data`, into these options. Where columns are scaled first,
/// and something follows from the activations then, they are counted of the model with its
/// columns scaled, after those that say how.
///
/// A package is fed as it is. Of a checkpoint, and of a package with its columns scaled, the package in FP16
/// that these options make is written beside the output, fed, and removed: also after an error, a signal,
/// and by the next run after a `kill -9`.
///
/// # Errors
/// [`Error::Usage`] for options that data cannot be counted with, before anything is counted; as
/// [`pipeline::prepare()`], [`pipeline::Job::run`] and [`data::count`].
pub(super) fn count(
    input: &Path,
    data: &Path,
    options: &mut Options,
    quiet: bool,
) -> anyhow::Result<()> {
    // What can be refused without the counts is refused before the work.
    let bare = Options {
        activations: None,
        importance: false,
        gptq: None,
        bias_correction: false,
        smooth: None,
        ..options.clone()
    };
    let draft = pipeline::prepare(input, &bare)?;
    let target = draft.plan().options.target;
    options.activations.iter().try_for_each(|how| how.check(target))?;
    interrupt::abandon_on_signal(draft.folder())?;
    let room = Transaction::begin(draft.folder(), options.force)?;
    let every = Regex::new("")?;
    let hessians = options.gptq.map(|_| &every);
    let recounts = !options.counted_for().is_empty();
    if !matches!(options.smooth, Some(Smooth::Equalized)) {
        let hessians = hessians.filter(|_| options.smooth.is_none());
        let counting = Counting { hessians, quiet, ..Counting::default() };
        let counted = match is_package(input) {
            true => data::count(input, data, counting)?,
            false => in_float(input, &bare, data, counting, &room.room("float"))?,
        };
        options.calibration = Some(Arc::new(counted));
    }
    if options.smooth.is_some() && recounts {
        screen::tell("counting again, with columns scaled", quiet);
        let beside = is_package(input).then_some(input);
        let counting = Counting { hessians, quiet, beside, ..Counting::default() };
        let smooth =
            Options { smooth: options.smooth, calibration: options.calibration.clone(), ..bare };
        let counted = in_float(input, &smooth, data, counting, &room.room("smooth"))?;
        options.recalibration = Some(Arc::new(counted));
    }
    Ok(())
}

/// The activations of the same model in FP16, in one package at `place` for the time being: values have the
/// same names in it.
fn in_float(
    input: &Path,
    options: &Options,
    data: &Path,
    counting: Counting<'_>,
    place: &Path,
) -> anyhow::Result<Calibration> {
    let float = Options {
        scheme: Scheme::Float(Float::F16),
        rules: Vec::new(),
        outputs: [Output::Mlpackage].into(),
        golden: 0,
        model: ModelOptions { chunks: 1, ..options.model },
        sha256: false,
        output: Some(place.into()),
        force: false,
        ..options.clone()
    };
    let float = pipeline::prepare(input, &float)?;
    if float.plan().model.is_none() && !is_package(input) {
        let found = "--calibration: the layers of a bare checkpoint read nothing of each other; give a \
                     folder with a config.json that describes the model";
        return Err(Error::Usage(found.into()).into());
    }
    float.run(&Bar::new(counting.quiet))?;
    let counted = data::count(place, data, counting)?;
    let removed = std::fs::remove_dir_all(place);
    removed.map_err(|why| Error::io("remove", place.display().to_string(), why))?;
    Ok(counted)
}
