//! What stands beside the weights of a whole model and goes with its package: the tokenizer, the chat
//! template, the configurations.

use super::files::Files;
use super::output::Transaction;
use crate::plan::Output;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Names that programs for a model look for.
const NAMES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Files that are copied.
#[derive(Debug, Default)]
pub(super) struct Beside(Vec<(PathBuf, String)>);

/// Finds the files that go with a model, `more` of them by their names in its folder, and announces
/// them with the output of this kind.
///
/// # Errors
/// [`Error::Io`] where one cannot be looked at.
pub(super) fn add(
    files: &mut Files,
    kind: Output,
    folder: &Path,
    more: &[String],
) -> Result<Beside> {
    let mut found = Vec::new();
    for name in NAMES.iter().copied().chain(more.iter().map(String::as_str)) {
        let path = folder.join(name);
        if path.is_file() {
            let about = fs::metadata(&path)
                .map_err(|source| Error::io("read", path.display().to_string(), source))?;
            files.announce(kind, name.into(), about.len());
            found.push((path, name.to_owned()));
        }
    }
    Ok(Beside(found))
}

impl Beside {
    /// Copies them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, transaction: &Transaction) -> Result<()> {
        for (path, name) in &self.0 {
            let bytes = fs::read(path)
                .map_err(|source| Error::io("read", path.display().to_string(), source))?;
            transaction.write(name, &bytes)?;
        }
        Ok(())
    }
}
