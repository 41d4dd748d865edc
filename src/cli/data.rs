//! Data for a model: which samples a path makes for a package, and their activations, counted.

use super::embed::Treatment;
use super::{screen, tokenizer};
use regex::Regex;
use std::path::Path;
use twolane::calibrate::Calibration;
use twolane::embed::Encoder;
use twolane::execute::RowData;
use twolane::generate::widest;
use twolane::pipeline::Progress;
use twolane::runtime::Cpu;
use twolane::source::Package;
use twolane::text::listed;
use twolane::validate::Text;
use twolane::watch::{Counted, Samples, calibrate};
use twolane::{Error, Result};

/// What would do where there is no tokenizer.
pub(super) const INSTEAD: &str = ", or give a .safetensors or .npz file of inputs";

/// How data are counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Counting<'a> {
    /// The function that takes rows.
    pub(super) function: Option<&'a str>,
    /// The values whose readers' Hessians are gathered.
    pub(super) hessians: Option<&'a Regex>,
    /// Whether progress is not shown.
    pub(super) quiet: bool,
    /// Where the tokenizer lies, if not with the package.
    pub(super) beside: Option<&'a Path>,
}

/// The activations of the package at `place` on the data at `data`: rows of a .safetensors or .npz
/// file; the images of a folder; of any other file, text, in windows for a language model and in lines
/// for an encoder.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Input`] for data that the package cannot be fed with; as
/// [`calibrate`].
pub(super) fn count(place: &Path, data: &Path, counting: Counting<'_>) -> Result<Calibration> {
    let Counting { function, hessians, quiet, beside } = counting;
    let package = Package::open(place)?;
    let beside = beside.unwrap_or(place);
    let bar = screen::Bar::counting(quiet);
    if let Some(rows) = RowData::open(data, tokenizer::folder_of(beside))? {
        let (name, hash) = (rows.name(), rows.hash().to_hex());
        let counted =
            calibrate(&package, Samples::Rows(&rows, function), (name, &hash), hessians, &bar)?;
        return Ok(told(counted, quiet));
    }
    if function.is_some() {
        let found = "--function chooses who takes images, or rows of a .safetensors or .npz file; a text is fed to \
                     the functions that take texts";
        return Err(Error::Usage(found.into()));
    }
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let text = screen::read_text(data)?;
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let tokenizer = tokenizer::beside(beside, INSTEAD)?;
    if widest(&package.program).is_some() {
        let (begin, ids) = tokenizer::encode_open(&tokenizer, &text)?;
        let text = Text { begin, ids };
        let counted = calibrate(&package, Samples::Windows(&text), (&name, &hash), hessians, &bar)?;
        return Ok(told(counted, quiet));
    }
    let functions = package.program.functions.values();
    let context = Encoder::open(functions, Box::new(Cpu))?.context();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    bar.start(lines.len() as u64);
    let treatment = Treatment::of(&package);
    let mut texts = lines.iter().map(|line| {
        let (ids, _) = tokenizer::encode_up_to(&tokenizer, &treatment.treated(line), context)?;
        Ok(ids)
    });
    let counted = calibrate(&package, Samples::Texts(&mut texts), (&name, &hash), hessians, &bar)?;
    Ok(told(counted, quiet))
}

/// The counts; says which of them hold padding.
fn told(counted: Counted, quiet: bool) -> Calibration {
    let Counted { calibration, padded } = counted;
    if !padded.is_empty() && !quiet {
        eprintln!(
            "counted with the padding of texts, for it is not known where they have it: {}",
            listed(padded.iter().map(String::as_str))
        );
    }
    calibration
}
