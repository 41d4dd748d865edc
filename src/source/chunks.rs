//! A model in chunks: several packages in one folder, and the list that names them in their order.

use super::Package;
use crate::model::decoder::Chunk;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The list, beside the packages.
pub(crate) const FILE: &str = "chunks.json";

/// The largest list that is read.
const MOST_BYTES: u64 = 16 << 20;

/// One package of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its name, in the folder of the list.
    pub(crate) package: String,
    /// Its place, as its metadata say it, too.
    #[serde(flatten)]
    pub(crate) chunk: Chunk,
}

#[derive(Serialize, Deserialize)]
struct List {
    chunks: Vec<Listed>,
}

/// The list as a file.
pub(crate) fn to_json(chunks: &[Listed]) -> String {
    let list = List { chunks: chunks.to_vec() };
    serde_json::to_string_pretty(&list).expect("names and numbers are JSON") + "\n"
}

impl Package {
    /// Whether this is a folder with the packages of a model in chunks.
    pub fn is_in_chunks(path: &Path) -> bool {
        path.join(FILE).is_file()
    }

    /// Opens the packages that `path` means, in the order in which they run: an .mlpackage, or a folder
    /// that holds one, or those of a model in chunks.
    ///
    /// # Errors
    /// As [`Package::open`]; [`Error::Input`] for chunks that are not all there, or not of one model.
    pub fn open_all(path: &Path) -> Result<Vec<Self>> {
        let list = path.join(FILE);
        if !Self::is_in_chunks(path) {
            let package = Self::open(path)?;
            let Some(chunk) = Chunk::of(&package.program)? else { return Ok(vec![package]) };
            return Err(Error::input(
                package.dir.display().to_string(),
                format!("it is chunk {} of {} of a model", chunk.number, chunk.of),
                "name the folder that holds all of them, with their chunks.json",
            ));
        }
        let shown = list.display().to_string();
        let wrong = |found: String| Error::input(&shown, found, "convert the model again");
        let about = fs::metadata(&list).map_err(|why| Error::io("read", &shown, why))?;
        if about.len() > MOST_BYTES {
            return Err(wrong(format!("it is larger than {MOST_BYTES} bytes")));
        }
        let text = fs::read(&list).map_err(|why| Error::io("read", &shown, why))?;
        let List { chunks } =
            serde_json::from_slice(&text).map_err(|why| wrong(format!("it is no list: {why}")))?;
        if chunks.is_empty() {
            return Err(wrong("it names no package".into()));
        }
        let mut packages = Vec::with_capacity(chunks.len());
        for (place, Listed { package: name, chunk }) in chunks.iter().enumerate() {
            let is_plain = Path::new(name).file_name().is_some_and(|own| own == name.as_str());
            if !is_plain {
                return Err(wrong(format!("`{name}` is no package beside it")));
            }
            if (chunk.number, chunk.of) != (place + 1, chunks.len()) {
                let (number, of) = (chunk.number, chunk.of);
                return Err(wrong(format!(
                    "`{name}` is chunk {number} of {of} in place {}",
                    place + 1
                )));
            }
            let package = Self::open(&path.join(name))?;
            if Chunk::of(&package.program)?.as_ref() != Some(chunk) {
                return Err(wrong(format!("`{name}` says something else of itself")));
            }
            packages.push(package);
        }
        Ok(packages)
    }
}
