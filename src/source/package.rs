//! An .mlpackage as a program.

use crate::formats::{mil, mlpackage};
use crate::graph::weight::Bytes;
use crate::graph::{Finding, Program, raise};
use crate::map::Map;
use crate::target::Target;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// An opened package.
#[derive(Clone, Debug)]
pub struct Package {
    /// The .mlpackage folder.
    pub dir: PathBuf,
    /// What it holds; weights stay in the mapped blob file.
    pub program: Program,
    /// The target that it was written for.
    pub target: Target,
    /// The files that weights lie in, by path, mapped.
    pub blobs: Vec<(PathBuf, Bytes)>,
    /// Its `model.mlmodel`.
    pub model: PathBuf,
}

impl Package {
    /// Opens `path`: an .mlpackage, or a folder that holds exactly one.
    ///
    /// # Errors
    /// As [`raise::program`] and [`mlpackage::Package::open`], with the package's path;
    /// [`Error::Input`] for a folder with none or several.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = locate(path)?;
        let within = |error: Error| match error {
            Error::Format(error) => super::within(&dir, error),
            Error::Findings { findings, .. } => {
                Error::Findings { place: dir.display().to_string(), findings }
            }
            other => other,
        };
        let package = mlpackage::Package::open(&dir).map_err(|error| within(error.into()))?;
        let model = package.model_bytes().map_err(|error| within(error.into()))?;
        let unknown = mil::unknown_fields(&model);
        let model = mil::Model::parse(&model).map_err(|error| within(error.into()))?;
        let model_path = package.model_path().to_owned();
        let mut blobs = Vec::new();
        let mut open = |name: &str| {
            let file = package.open_blob_file(name)?;
            let bytes = Bytes::new(Map::of(&file, name)?);
            blobs.push((package.blob_path(name)?, bytes.clone()));
            Ok(bytes)
        };
        let raised = raise::program(&model, &mut open);
        let raised = raise::beside(unknown_fields(unknown), raised).map_err(within)?;
        Ok(Self { program: raised.program, target: raised.target, dir, blobs, model: model_path })
    }
}

/// Fields that would be passed over in silence.
fn unknown_fields(fields: Vec<String>) -> Vec<Finding> {
    let found = |field| format!("model.mlmodel has a field that the format does not know: {field}");
    fields.into_iter().map(|field| Finding { found: found(field), ..Finding::default() }).collect()
}

/// What would do, where a path leads to no package.
const NAME_A_PACKAGE: &str = "name an .mlpackage, or an output folder of quantize";

impl Package {
    /// Whether a path leads to a package, or to a folder with one.
    pub fn is_in(path: &Path) -> bool {
        locate(path).is_ok()
    }
}

/// The package that `path` means.
fn locate(path: &Path) -> Result<PathBuf> {
    if path.join(mlpackage::MANIFEST_PATH).is_file() {
        return Ok(path.to_owned());
    }
    let shown = path.display().to_string();
    let is_package = |path: &PathBuf| path.extension().is_some_and(|e| e == "mlpackage");
    if !path.is_dir() || is_package(&path.to_owned()) {
        let found = match (path.exists(), path.is_dir()) {
            (false, _) => "there is no such file or folder",
            (true, false) => "this is a file, and a package is a folder",
            (true, true) => "there is no Manifest.json in it",
        };
        return Err(Error::input(shown, found, NAME_A_PACKAGE));
    }
    let unreadable = |source| Error::io("read", &shown, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_package(&path) {
            found.push(path);
        }
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([package]) => Ok(package),
        Err(found) => {
            let (found, remedy) = match found.len() {
                0 => ("there is no package in it".into(), NAME_A_PACKAGE),
                n => (format!("there are {n} packages in it"), "name the one that is meant"),
            };
            Err(Error::input(shown, found, remedy))
        }
    }
}
