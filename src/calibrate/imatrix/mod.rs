//! llama.cpp's importance matrices: `Σx²` of each input column, by weight, as `llama-imatrix` writes them.
//!
//! GGUF with `general.type` `imatrix`. Of each weight `W`:
//!
//! | tensor, FP32 | what it holds |
//! |---|---|
//! | `W.in_sum2` `[matrices, columns]` | `Σx²` of the input's columns, over the tokens; a matrix for each expert |
//! | `W.counts` `[matrices, 1]` | how many tokens; none for an expert that was never chosen |
//! | `W.in_sum` (newer versions) | `Σx`; not used |
//!
//! `E[x²] = in_sum2 / counts`. Source: `tools/imatrix/imatrix.cpp` of llama.cpp.

mod names;
#[cfg(test)]
mod tests;

use crate::formats::gguf::{self, Reader, Tensor, Value};
use crate::map::Map;
use crate::text::listed;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// An importance matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Imatrix {
    /// The file's name.
    pub file: String,
    /// The file's BLAKE3, in hexadecimal.
    pub blake3: String,
    /// The texts that it was computed on, as it names them.
    pub datasets: Vec<String>,
    /// By llama.cpp's names of weights.
    #[serde(skip)]
    entries: BTreeMap<String, Entry>,
}

/// The input of one weight.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// `[matrices, columns]`.
    sums: Vec<f32>,
    /// `[matrices]`.
    counts: Vec<f32>,
}

/// The mean squares of an input's columns, and who has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Energies<'i> {
    /// The weight, in llama.cpp's words.
    pub name: &'i str,
    /// `E[x²]` of each column.
    pub columns: Vec<f64>,
}

impl Imatrix {
    /// Whether a file is one, also in the format that came before GGUF.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_at(path: &Path) -> Result<bool> {
        if !path.is_file() {
            return Ok(false);
        }
        let failed = |why| Error::io("read", path.display().to_string(), why);
        let mut head = Vec::new();
        File::open(path).and_then(|file| file.take(16).read_to_end(&mut head)).map_err(failed)?;
        Ok(head.starts_with(&gguf::MAGIC) || is_legacy(&head))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Format`] for a broken GGUF; [`Error::Input`] for one that is no importance matrix, the
    /// older format, and sums or counts that none are; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(map.bytes(), &file)
    }

    /// Reads a file's bytes; `file` names it.
    fn parse(bytes: &[u8], file: &str) -> Result<Self> {
        let wrong = |found: String, remedy: &str| Error::input(file, found, remedy);
        if is_legacy(bytes) {
            let remedy = format!("convert it: llama-imatrix --in-file {file} -o imatrix.gguf");
            return Err(wrong("it is an imatrix of the older format".into(), &remedy));
        }
        let reader = Reader::open(bytes)?;
        let kind = reader.text("general.type");
        if kind != Some("imatrix") {
            let found = match kind {
                Some(kind) => format!("it is a GGUF of type `{}`", crate::text::printable(kind)),
                None => "it is a GGUF that does not say what it holds".into(),
            };
            return Err(wrong(found, "give the file that llama-imatrix wrote"));
        }
        let broken = |found: String| wrong(found, "compute it again with llama-imatrix");
        let numbers = |tensor: &Tensor<'_>| -> Result<Vec<f32>> {
            let name = tensor.name;
            let found = reader.floats(tensor);
            let numbers = found.ok_or_else(|| broken(format!("`{name}` is not FP32")))?;
            let numbers: Vec<f32> = numbers.collect();
            match numbers.iter().find(|x| !x.is_finite() || **x < 0.0) {
                None => Ok(numbers),
                Some(x) => Err(broken(format!("`{name}` holds {x}"))),
            }
        };
        let tensors: BTreeMap<&str, &Tensor<'_>> =
            reader.tensors.iter().map(|tensor| (tensor.name, tensor)).collect();
        let mut entries = BTreeMap::new();
        for (name, sums) in &tensors {
            let Some(weight) = name.strip_suffix(".in_sum2") else { continue };
            let counts = tensors.get(format!("{weight}.counts").as_str());
            let counts = counts.ok_or_else(|| broken(format!("`{weight}` has no counts")))?;
            let entry = Entry { sums: numbers(sums)?, counts: numbers(counts)? };
            let Entry { sums, counts } = &entry;
            if counts.is_empty() || sums.is_empty() || !sums.len().is_multiple_of(counts.len()) {
                let found = format!("`{weight}` has {} sums, {} counts", sums.len(), counts.len());
                return Err(broken(found));
            }
            entries.insert(weight.to_owned(), entry);
        }
        if entries.is_empty() {
            return Err(broken("it has no sums".into()));
        }
        let datasets = match reader.metadata.get("imatrix.datasets") {
            Some(Value::List(list)) => list.values().filter_map(text).collect(),
            _ => Vec::new(),
        };
        let blake3 = blake3::Hasher::new().update_rayon(bytes).finalize().to_hex().to_string();
        Ok(Self { file: file.into(), blake3, datasets, entries })
    }

    /// What a checkpoint's weight is multiplied with, by its name in the checkpoint.
    ///
    /// # Errors
    /// Why it is not known, in words.
    pub fn energies(&self, tensor: &str) -> std::result::Result<Energies<'_>, String> {
        let place = names::place(tensor).ok_or("llama.cpp's name for it is not known")?;
        let found = place.names.iter().find_map(|name| self.entries.get_key_value(name));
        let Some((name, Entry { sums, counts })) = found else {
            return Err(format!("not in the imatrix: {}", place.names[0]));
        };
        let matrix = place.expert.unwrap_or(0);
        let (Some(&count), true) =
            (counts.get(matrix), place.expert.is_some() || counts.len() == 1)
        else {
            return Err(format!("{name} has {} matrices in the imatrix", counts.len()));
        };
        if count == 0.0 {
            return Err(format!("{name}: no token came to it in the imatrix"));
        }
        let columns = sums.len() / counts.len();
        let sums = &sums[matrix * columns..(matrix + 1) * columns];
        let mean = |&sum: &f32| f64::from(sum) / f64::from(count);
        Ok(Energies { name, columns: sums.iter().map(mean).collect() })
    }

    /// Some of the weights that it knows, in words.
    pub fn some_names(&self) -> String {
        listed(self.entries.keys().take(3).map(String::as_str))
    }
}

fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}

/// Whether a file begins as those before GGUF: an i32 number of entries, then each one's name behind its
/// i32 length.
fn is_legacy(bytes: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(i32::from_le_bytes(bytes.try_into().ok()?))
    };
    let name = bytes.get(8..12);
    let known = [&b"blk."[..], b"outp"].map(Some).contains(&name);
    known && number(0).is_some_and(|n| n > 0) && number(4).is_some_and(|n| (4..=256).contains(&n))
}
