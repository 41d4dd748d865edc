//! Whether the files of a checkpoint fit together.

use super::{SourceFile, SourceTensor};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use twolane_formats::safetensors::{Index, shown};

/// The place of each name; a name that two files hold is an error.
pub(super) fn by_name(
    files: &[SourceFile],
    tensors: &[SourceTensor],
) -> Result<HashMap<String, usize>> {
    let mut by_name: HashMap<String, usize> = HashMap::with_capacity(tensors.len());
    for (i, tensor) in tensors.iter().enumerate() {
        if let Some(first) = by_name.insert(tensor.name.clone(), i) {
            let file = |i: usize| files[tensors[i].file].path.display();
            let place = format!("tensor `{}`", shown(&tensor.name));
            let found = format!("it lies in {} and in {}", file(first), file(i));
            let remedy = "remove one of the two files, or download the whole checkpoint again";
            return Err(Error::input(place, found, remedy));
        }
    }
    Ok(by_name)
}

/// Checks that the index says of each tensor in which file it lies, and names no other.
pub(super) fn check_index(
    path: &Path,
    index: &Index,
    files: &[SourceFile],
    tensors: &[SourceTensor],
    by_name: &HashMap<String, usize>,
) -> Result<()> {
    const REMEDY: &str = "download index and shards again, of one revision";
    let fault = |name: &str, found: String| {
        let place = format!("{}, tensor `{}`", path.display(), shown(name));
        Err(Error::input(place, found, REMEDY))
    };
    for (name, shard) in &index.weight_map {
        let Some(&i) = by_name.get(name) else {
            return fault(name, format!("the index says `{shard}`, but no shard holds it"));
        };
        let holder = files[tensors[i].file].path.file_name().unwrap_or_default();
        if holder != OsStr::new(shard) {
            let holder = holder.to_string_lossy();
            return fault(name, format!("the index says `{shard}`, but `{holder}` holds it"));
        }
    }
    let named: HashSet<&str> = index.weight_map.iter().map(|(name, _)| &name[..]).collect();
    match tensors.iter().find(|tensor| !named.contains(&tensor.name[..])) {
        Some(tensor) => {
            let holder = files[tensor.file].path.file_name().unwrap_or_default();
            let holder = holder.to_string_lossy();
            fault(&tensor.name, format!("`{holder}` holds it, but the index does not name it"))
        }
        None => Ok(()),
    }
}
