//! Which files a path means.

use super::within;
use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use twolane_formats::safetensors::{Index, MAX_HEADER_BYTES};

/// The largest configuration: real ones have some thousand bytes, with many labels some hundred
/// thousand.
const MOST_CONFIG_BYTES: u64 = 16 << 20;

const INDEX_ENDING: &str = ".safetensors.index.json";

/// The files of a checkpoint, before they are opened.
pub(super) struct Found {
    pub(super) stem: String,
    pub(super) folder: PathBuf,
    /// Sorted by name.
    pub(super) paths: Vec<PathBuf>,
    pub(super) index: Option<FoundIndex>,
}

/// An index, and the bytes it was parsed from.
pub(super) struct FoundIndex {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) index: Index,
}

/// Finds the files of a checkpoint.
pub(super) fn find(path: &Path) -> Result<Found> {
    let about = fs::metadata(path).map_err(|source| unreadable(path, source))?;
    if about.is_dir() {
        return in_folder(path);
    }
    let folder = parent(path);
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
        return by_index(&folder, path);
    }
    let stem = path.file_stem().map_or_else(fallback, lossy);
    Ok(Found { stem, folder, paths: vec![path.into()], index: None })
}

fn in_folder(folder: &Path) -> Result<Found> {
    let listing = Listing::read(folder)?;
    let model = folder.join("model.safetensors.index.json");
    if listing.indexes.contains(&model) {
        return by_index(folder, &model);
    }
    match &listing.indexes[..] {
        [] => {}
        [only] => return by_index(folder, only),
        several => {
            let found = format!("the folder holds {} indexes", several.len());
            let remedy = "give one of the *.safetensors.index.json files";
            return Err(Error::input(folder.display().to_string(), found, remedy));
        }
    }
    let mut paths = listing.shards;
    let model = folder.join("model.safetensors");
    if paths.contains(&model) {
        paths = vec![model];
    }
    if paths.is_empty() {
        let found = "the folder holds no .safetensors file";
        let remedy = "give a folder with model.safetensors or its index, or the file itself";
        return Err(Error::input(folder.display().to_string(), found, remedy));
    }
    check_numbering(folder, &paths)?;
    check_series(folder, &paths)?;
    Ok(Found { stem: folder_name(folder), folder: folder.into(), paths, index: None })
}

fn by_index(folder: &Path, path: &Path) -> Result<Found> {
    let bytes = read_limited(path)?;
    let index = Index::parse(&bytes).map_err(|error| within(path, error))?;
    let named = index.shards();
    for &shard in &named {
        if !folder.join(shard).exists() {
            let found = format!("the index names `{shard}`, which is not in the folder");
            let remedy = "download the missing shard";
            return Err(Error::input(path.display().to_string(), found, remedy));
        }
    }
    for extra in Listing::read(folder)?.shards {
        if !named.iter().any(|&shard| extra.file_name() == Some(OsStr::new(shard))) {
            let found = format!("the index {} does not name this file", path.display());
            let remedy = "move it out of the folder, or add its tensors to the index";
            return Err(Error::input(extra.display().to_string(), found, remedy));
        }
    }
    let paths = named.iter().map(|shard| folder.join(shard)).collect();
    let stem = folder_name(folder);
    let index = Some(FoundIndex { path: path.into(), bytes, index });
    Ok(Found { stem, folder: folder.into(), paths, index })
}

/// The files of a folder that may belong to a checkpoint, each sorted by name.
struct Listing {
    shards: Vec<PathBuf>,
    indexes: Vec<PathBuf>,
}

impl Listing {
    fn read(folder: &Path) -> Result<Self> {
        let fault = |source| unreadable(folder, source);
        let mut listing = Self { shards: Vec::new(), indexes: Vec::new() };
        for entry in fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_name().map(lossy).unwrap_or_default();
            // macOS leaves `._model.safetensors` beside each file on a foreign disk.
            if name.starts_with('.') || path.is_dir() {
                continue;
            }
            if name.ends_with(".safetensors") {
                listing.shards.push(path);
            } else if name.ends_with(INDEX_ENDING) {
                listing.indexes.push(path);
            }
        }
        listing.shards.sort();
        listing.indexes.sort();
        Ok(listing)
    }
}

/// Checks that of files called `STEM-00001-of-00003.safetensors` none is missing, which without an
/// index only their names tell.
fn check_numbering(folder: &Path, paths: &[PathBuf]) -> Result<()> {
    let names: Vec<String> = paths.iter().filter_map(|p| p.file_name()).map(lossy).collect();
    for name in &names {
        let Some((stem, number, total)) = numbering(name) else { continue };
        let (digits, count) = (total.len(), total.parse::<u32>().unwrap_or(0));
        let in_series = names.iter().filter_map(|name| numbering(name));
        let there = in_series.filter(|&(s, _, t)| (s, t) == (stem, total)).count();
        if there as u64 == u64::from(count) && number.parse::<u32>().is_ok_and(|n| n <= count) {
            continue;
        }
        let found = format!("the folder holds {there} of the {count} files of this series");
        let missing = (1..=count)
            .map(|n| format!("{stem}-{n:0digits$}-of-{total}.safetensors"))
            .find(|name| !names.contains(name));
        let remedy = match missing {
            Some(missing) => format!("download {missing}"),
            None => "move the files that do not belong to it out of the folder".into(),
        };
        return Err(Error::input(folder.join(name).display().to_string(), found, remedy));
    }
    Ok(())
}

/// Checks that several files without an index are one checkpoint: shards of one series. Others may be
/// anything, such as the weights of two models.
fn check_series(folder: &Path, paths: &[PathBuf]) -> Result<()> {
    let names: Vec<String> = paths.iter().filter_map(|p| p.file_name()).map(lossy).collect();
    let series = |name: &String| numbering(name).map(|(stem, _, total)| format!("{stem} {total}"));
    let first = names.first().and_then(series);
    if names.len() < 2 || first.is_some() && names.iter().all(|name| series(name) == first) {
        return Ok(());
    }
    let found = format!(
        "the folder holds {} .safetensors files, {} and {} among them, and no index says that they \
         are one checkpoint",
        names.len(),
        names[0],
        names[1]
    );
    let remedy = "give one of the files, or put the model's model.safetensors.index.json there";
    Err(Error::input(folder.display().to_string(), found, remedy))
}

/// Splits `STEM-00001-of-00003.safetensors` into stem, number and total.
fn numbering(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, total) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let is_number = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    (is_number(number) && is_number(total)).then_some((stem, number, total))
}

/// The `config.json` of a folder, if there is one.
pub(super) fn config(folder: &Path) -> Result<Option<(PathBuf, Vec<u8>)>> {
    beside(folder, "config.json")
}

/// A small file of the model's folder, if there is one.
pub(super) fn beside(folder: &Path, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = read_limited(&path)?;
    if bytes.len() as u64 > MOST_CONFIG_BYTES {
        let found = format!("it is larger than {MOST_CONFIG_BYTES} bytes");
        let remedy = format!("give the model's own {name}");
        return Err(Error::input(path.display().to_string(), found, remedy));
    }
    Ok(Some((path, bytes)))
}

/// Reads an index, whose length is limited.
fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let fault = |source| unreadable(path, source);
    let about = fs::metadata(path).map_err(fault)?;
    if !about.is_file() {
        let found = "this is no regular file";
        return Err(Error::input(path.display().to_string(), found, "give an index file"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(fault)?;
    // One byte above the limit is read, so that the parser sees that there is more.
    file.take(MAX_HEADER_BYTES + 1).read_to_end(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        _ => ".".into(),
    }
}

/// A folder's own name, also where the path ends in `.` or `..`.
fn folder_name(folder: &Path) -> String {
    let own = folder.file_name().map(lossy);
    own.or_else(|| fs::canonicalize(folder).ok()?.file_name().map(lossy)).unwrap_or_else(fallback)
}

fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

fn fallback() -> String {
    "model".into()
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        let found = "there is no such file or folder";
        return Error::input(path.display().to_string(), found, "check the path");
    }
    Error::io("read", path.display().to_string(), source)
}
