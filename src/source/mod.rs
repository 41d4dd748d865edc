//! Checkpoints: one safetensors file, a folder of shards, or an index of them, mapped and checked.
//!
//! [`Source::open`] reads and checks every header and how the shards fit together; weights are not
//! touched until somebody asks for a tensor's [`bytes`](Source::bytes). What opens is whole: every
//! tensor lies in exactly one file, inside that file, with the length that its shape asks for.
//!
//! | path | files |
//! |---|---|
//! | a file | that file |
//! | a folder | those that its index names (`model.safetensors.index.json`, else the only `*.safetensors.index.json`); without an index `model.safetensors`; without that every `*.safetensors` |
//! | `*.json` | those that this index names |
//!
//! | module | what it does |
//! |---|---|
//! | `chunks` | a model in several packages, and the list of them |
//! | `constants` | the floating-point constants of a package as a checkpoint |
//! | `derived` | tensors that a model wants otherwise than they are stored |
//! | `find` | which files a path means |
//! | `package` | an .mlpackage as a program |
//! | `shards` | whether those files fit together |
//! | `terms` | who made a model and under which terms, where its folder says so |

pub(crate) mod chunks;
mod constants;
mod derived;
mod find;
mod package;
mod shards;
mod terms;
#[cfg(test)]
mod tests;

pub use constants::Constant;
pub use package::Package;
pub use terms::Terms;

use crate::map::Map;
use crate::tensor::{FloatType, Weights};
use crate::{Error, Result};
use derived::Derived;
use find::{Found, FoundIndex};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use twolane_formats::safetensors::{Dtype, Header};

/// An open checkpoint.
#[derive(Debug)]
pub struct Source {
    stem: String,
    folder: PathBuf,
    files: Vec<SourceFile>,
    tensors: Vec<SourceTensor>,
    by_name: HashMap<String, usize>,
    /// The index that named the files, or the model of a package: its path and its bytes.
    index: Option<(PathBuf, Vec<u8>)>,
    /// The `config.json` beside the files, if there is one.
    config: Option<(PathBuf, Vec<u8>)>,
    /// Other small files of the folder that were read for the model, by path.
    beside: Vec<(PathBuf, Vec<u8>)>,
    /// What is stated of the model.
    terms: Terms,
    /// The bytes of derived tensors, once they are made.
    made: OnceLock<Map>,
}

/// One file of a checkpoint.
#[derive(Debug)]
pub struct SourceFile {
    path: PathBuf,
    map: Map,
    metadata: BTreeMap<String, String>,
}

/// One tensor of a checkpoint: where it lies, and as what.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTensor {
    /// Its name, unique in the checkpoint.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape; a scalar has none.
    pub shape: Vec<usize>,
    /// Its file, an index into [`Source::files`].
    pub file: usize,
    /// Its bytes, counted from the start of that file. They may lie at any alignment. Those of a
    /// derived tensor are what it is made from.
    pub range: Range<usize>,
    derived: Option<Derived>,
}

impl Source {
    /// Opens a checkpoint: a safetensors file, a folder, or an index.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that breaks the format, with its path; [`Error::Input`] for
    /// files that do not fit together: a shard that is missing or not in the index, a tensor in two
    /// shards, in another shard than the index says, in none, or not in the index;
    /// [`Error::Io`] if the system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let Found { stem, folder, paths, index } = find::find(path.as_ref())?;
        let mut files = Vec::with_capacity(paths.len());
        let mut tensors = Vec::new();
        for (file, path) in paths.into_iter().enumerate() {
            let map = Map::open(&path)?;
            let header = Header::parse(map.bytes()).map_err(|error| within(&path, error))?;
            for entry in header.tensors {
                let offsets = entry.data_offsets;
                let start = header.data_start + offsets.start;
                // Within the map, whose length is a `usize`.
                let range = start as usize..(start + (offsets.end - offsets.start)) as usize;
                let (name, dtype, shape) = (entry.name, entry.dtype, entry.shape);
                tensors.push(SourceTensor { name, dtype, shape, file, range, derived: None });
            }
            files.push(SourceFile { path, map, metadata: header.metadata });
        }
        let by_name = shards::by_name(&files, &tensors)?;
        if let Some(FoundIndex { path, index, .. }) = &index {
            shards::check_index(path, index, &files, &tensors, &by_name)?;
        }
        let index = index.map(|found| (found.path, found.bytes));
        let config = find::config(&folder)?;
        let made = OnceLock::new();
        let (beside, terms) = (Vec::new(), Terms::default());
        Ok(Self { stem, folder, files, tensors, by_name, index, config, beside, terms, made })
    }

    /// The name for outputs: a file's name without its ending; a folder's name, also for an index
    /// in it.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The folder in which the files lie, and a `config.json` may.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files, sorted by name.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The `config.json` beside the files, if there is one: its path and its bytes.
    pub fn config(&self) -> Option<(&Path, &[u8])> {
        self.config.as_ref().map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
    }

    /// A small file beside the files, such as another configuration, if there is one: its path and its
    /// bytes.
    ///
    /// # Errors
    /// [`Error::Input`] for one that is large, [`Error::Io`] if the system refuses.
    pub fn beside(&self, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>> {
        find::beside(&self.folder, name)
    }

    /// Counts small files [beside](Source::beside) the weights among the inputs.
    pub fn add_inputs(&mut self, read: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) {
        self.beside.extend(read);
    }

    /// Every file that was read, with its bytes: [`Source::files`] in their order, then the index, then
    /// the configuration, then what else was read of the folder.
    pub fn inputs(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        let files = self.files.iter().map(|file| (file.path(), file.bytes()));
        let index = self.index.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice()));
        let beside = self.beside.iter().map(|(path, bytes)| (path.as_path(), bytes.as_slice()));
        files.chain(index).chain(self.config()).chain(beside)
    }

    /// An input's name in the folder, the same wherever the folder lies.
    pub fn name_of(&self, input: &Path) -> String {
        let name = input.strip_prefix(&self.folder).ok();
        let name = name.or_else(|| input.file_name().map(Path::new)).unwrap_or(input);
        name.to_string_lossy().into_owned()
    }

    /// All tensors, by file and by offset within it. The order depends on the files alone.
    pub fn tensors(&self) -> &[SourceTensor] {
        &self.tensors
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&SourceTensor> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// A tensor's bytes, as stored.
    ///
    /// # Panics
    /// If the tensor is not of this checkpoint and does not fit into it, and for a derived one that is
    /// not made yet.
    pub fn bytes(&self, tensor: &SourceTensor) -> &[u8] {
        self.standing(tensor).expect("derived tensors are made before they are read")
    }

    /// The bytes that stand in a file.
    fn standing(&self, tensor: &SourceTensor) -> Option<&[u8]> {
        match &tensor.derived {
            None => Some(&self.files[tensor.file].bytes()[tensor.range.clone()]),
            Some(derived) => Some(&self.made.get()?.bytes()[derived.at.clone()]),
        }
    }

    /// A tensor as weights, if its elements are F16, BF16 or F32 and stand in a file.
    ///
    /// # Panics
    /// If the tensor is not of this checkpoint and does not fit into it.
    pub fn weights<'a>(&'a self, tensor: &'a SourceTensor) -> Option<Weights<'a>> {
        let dtype = tensor.float_type()?;
        let (name, shape) = (tensor.name.as_str(), tensor.shape.as_slice());
        Some(Weights { name, dtype, shape, bytes: self.standing(tensor)? })
    }

    /// Tells the system that a tensor will be read soon. Only a hint.
    pub fn will_need(&self, tensor: &SourceTensor) {
        self.files[tensor.file].map.will_need(tensor.range.clone());
    }

    /// Tells the system that a tensor was read for the last time, so that its pages no longer count
    /// as memory of this process. Only a hint: its bytes stay readable.
    pub fn done(&self, tensor: &SourceTensor) {
        self.files[tensor.file].map.done(tensor.range.clone());
        if let (Some(derived), Some(made)) = (&tensor.derived, self.made.get()) {
            made.done(derived.at.clone());
        }
    }
}

impl SourceFile {
    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file, header included: what is hashed.
    pub fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    /// The header's free `__metadata__` strings.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

impl SourceTensor {
    /// The length of its bytes.
    pub fn byte_len(&self) -> u64 {
        match (&self.derived, self.float_type()) {
            (Some(_), Some(float)) => self.elements() * float.bytes() as u64,
            _ => self.range.len() as u64,
        }
    }

    /// The number of its elements.
    pub fn elements(&self) -> u64 {
        // The header's check found that the product does not overflow.
        self.shape.iter().map(|&dim| dim as u64).product()
    }

    /// Its type, if that can be quantized.
    pub fn float_type(&self) -> Option<FloatType> {
        match self.dtype {
            Dtype::F16 => Some(FloatType::F16),
            Dtype::BF16 => Some(FloatType::BF16),
            Dtype::F32 => Some(FloatType::F32),
            _ => None,
        }
    }
}

/// Puts a file's path before the place of an error in it.
fn within(path: &Path, error: twolane_formats::Error) -> Error {
    use twolane_formats::Error as Format;
    let join = |place: String| format!("{}, {place}", path.display());
    Error::Format(match error {
        Format::Malformed { format, place, found, remedy } => {
            Format::Malformed { format, place: join(place), found, remedy }
        }
        Format::Unsupported { place, found, can } => {
            Format::Unsupported { place: join(place), found, can }
        }
        other => other,
    })
}
