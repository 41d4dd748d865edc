//! The way back from `report.json`, which anybody may have made.

use super::{ErrorReport, FORM, Report};
use crate::metrics::ErrorHistogram;
use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The largest file that is read: a checkpoint of 18,000 matrices makes about 60 MB.
const MOST_BYTES: u64 = 1 << 29;

/// The most points of a clip curve.
const MOST_POINTS: usize = 4096;

const REMEDY: &str = "run quantize again to make a new one";

/// Where the report of `path` is: an output folder, something in it (`STEM.mlpackage`,
/// `STEM.metal`), or the report itself.
///
/// # Errors
/// [`Error::Input`] if there is none.
pub fn locate(path: &Path) -> Result<PathBuf> {
    let file = match path.extension().and_then(|e| e.to_str()) {
        Some("json") if !path.is_dir() => path.to_path_buf(),
        Some("mlpackage" | "metal") if path.is_dir() && !path.join("report.json").exists() => {
            // `x.mlpackage` has no parent of its own; `./x.mlpackage` is the same file.
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
            folder.unwrap_or(Path::new(".")).join("report.json")
        }
        _ => path.join("report.json"),
    };
    if file.is_file() {
        return Ok(file);
    }
    let found = match (path.exists(), path.is_dir()) {
        (false, _) => "there is no such file or folder",
        (true, true) => "there is no report.json in it",
        (true, false) => {
            "it is no report; `quantize --dry-run` shows what would become of a checkpoint"
        }
    };
    Err(Error::input(
        path.display().to_string(),
        found,
        "name an output folder of quantize, the .mlpackage in it, or its report.json",
    ))
}

impl Report {
    /// Reads the report of `path`; see [`locate`].
    ///
    /// # Errors
    /// [`Error::Input`] if there is none or it is malformed; [`Error::Io`] if it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let file = locate(path)?;
        let place = file.display().to_string();
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::InvalidData => Error::input(&place, "it is not UTF-8", REMEDY),
            _ => Error::io("read", &place, source),
        };
        let mut text = String::new();
        let limited = File::open(&file).map_err(failed)?.take(MOST_BYTES + 1);
        std::io::BufReader::new(limited).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(Error::input(
                place,
                format!("it is larger than {MOST_BYTES} bytes"),
                REMEDY,
            ));
        }
        Self::from_json(&text, &place)
    }

    /// Reads a report from its text; `place` names it in errors.
    ///
    /// # Errors
    /// [`Error::Input`] with line and column, or with the tensor whose measures make no sense.
    pub fn from_json(text: &str, place: &str) -> Result<Self> {
        // The form first: a newer one may break any rule that follows.
        #[derive(serde::Deserialize)]
        struct Form {
            form: u32,
        }
        let form = serde_json::from_str::<Form>(text).map_err(|e| malformed(place, &e))?.form;
        if form > FORM {
            let found = format!("its form is {form}, and this version reads form {FORM}");
            return Err(Error::input(place, found, "use the version of quantize that wrote it"));
        }
        let report: Self = serde_json::from_str(text).map_err(|e| malformed(place, &e))?;
        for tensor in &report.tensors {
            if let Some(why) = tensor.error.as_ref().and_then(unsound) {
                let name = crate::text::printable(&tensor.name);
                return Err(Error::input(format!("{place}, tensor `{name}`"), why, REMEDY));
            }
        }
        Ok(report)
    }
}

fn malformed(place: &str, error: &serde_json::Error) -> Error {
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    let place = match error.line() {
        0 => place.to_string(),
        line => format!("{place}, line {line}, column {}", error.column()),
    };
    Error::input(place, format!("not a report: {}", crate::text::printable(why)), REMEDY)
}

fn unsound(error: &ErrorReport) -> Option<String> {
    let bins = error.histogram.bins.len();
    if bins != ErrorHistogram::BINS {
        return Some(format!("its histogram has {bins} bins, not {}", ErrorHistogram::BINS));
    }
    let points = error.clip_curve.as_ref().map_or(0, |curve| curve.points.len());
    (points > MOST_POINTS)
        .then(|| format!("its clip curve has {points} points, more than {MOST_POINTS}"))
}
