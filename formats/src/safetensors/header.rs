//! A header, read and checked in full: what passes can be sliced without another thought.

use super::json::{REWRITE, shown};
use super::wire::{self, RawEntry};
use super::{Dtype, FORMAT};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// The format's limit for a header, in bytes.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

const AGAIN: &str = "the file is cut short or damaged: download it again";
const NOT_SAFETENSORS: &str = "give a .safetensors file";

/// What a file says about its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The free `__metadata__` strings.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by offset; empty ones at one offset in the header's order.
    pub tensors: Vec<Entry>,
    /// The byte of the file at which offsets begin to count.
    pub data_start: u64,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The tensor's name, any text.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape; a scalar has none.
    pub shape: Vec<usize>,
    /// Its bytes, counted from [`Header::data_start`].
    pub data_offsets: Range<u64>,
}

impl Header {
    /// Reads the header of a whole file.
    ///
    /// # Errors
    /// As [`Header::parse_prefix`].
    pub fn parse(file: &[u8]) -> Result<Self> {
        Self::parse_prefix(file, file.len() as u64)
    }

    /// Reads the header from a file's first bytes: at least [`Header::data_start`] of them, or all.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the first thing that breaks the format; [`Error::Unsupported`] for
    /// an element type that is not known; [`Error::Bug`] if `prefix` ends within the header.
    pub fn parse_prefix(prefix: &[u8], file_len: u64) -> Result<Self> {
        let data_start = Self::data_start(prefix, file_len)?;
        let header = usize::try_from(data_start).ok().and_then(|end| prefix.get(8..end));
        let header = header.ok_or_else(|| Error::Bug {
            place: "header".into(),
            why: format!("{} bytes were given of {data_start}", prefix.len()),
        })?;
        let text = std::str::from_utf8(header).map_err(|error| {
            let place = 8 + error.valid_up_to();
            malformed(format!("byte {place}"), "the header is not UTF-8 text", AGAIN)
        })?;
        if !text.starts_with('{') {
            let found = match text.chars().next() {
                Some(first) => {
                    format!("the header starts with `{}`, not `{{`", first.escape_debug())
                }
                None => "the header is empty".into(),
            };
            return Err(malformed("byte 8", found, NOT_SAFETENSORS));
        }
        let raw = wire::read(text, 8)?;
        let data_len = file_len - data_start;
        let mut tensors = Vec::with_capacity(raw.entries.len());
        for entry in raw.entries {
            tensors.push(Entry::check(entry, data_len)?);
        }
        // Stable, and the same order as the `safetensors` crate's.
        tensors.sort_by_key(|t| (t.data_offsets.start, t.data_offsets.end));
        check_cover(&tensors, data_len)?;
        Ok(Self { metadata: raw.metadata, tensors, data_start })
    }

    /// The length of the header with the eight bytes before it, from a file's first eight bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the file cannot hold such a header.
    pub fn data_start(prefix: &[u8], file_len: u64) -> Result<u64> {
        let Some(&length) = prefix.first_chunk::<8>() else {
            let found = format!("the file has {file_len} bytes; a header's length takes 8");
            return Err(malformed("byte 0", found, AGAIN));
        };
        let length = u64::from_le_bytes(length);
        let end =
            length.checked_add(8).filter(|&end| length <= MAX_HEADER_BYTES && end <= file_len);
        end.ok_or_else(|| {
            if let Some((found, remedy)) = other_format(prefix) {
                return malformed("byte 0", found, remedy);
            }
            let (found, remedy) = if length > MAX_HEADER_BYTES {
                let found =
                    format!("a header of {length} bytes is above the limit of {MAX_HEADER_BYTES}");
                (found, NOT_SAFETENSORS)
            } else {
                (format!("a header of {length} bytes does not fit in a file of {file_len}"), AGAIN)
            };
            malformed("byte 0", found, remedy)
        })
    }
}

/// Files that people give by mistake; read as a length, their first bytes are absurd.
fn other_format(prefix: &[u8]) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str = "save the weights as .safetensors first";
    let table: [(&[u8], &str, &str); 7] = [
        (b"version ", "this is a Git LFS pointer, not the weights", "run `git lfs pull`"),
        (b"PK\x03\x04", "this is a zip archive, as PyTorch and NumPy write them", CONVERT),
        (b"\x80\x02", "this is a Python pickle", CONVERT),
        (b"GGUF", "this is a GGUF file", CONVERT),
        (b"\x89HDF", "this is an HDF5 file", CONVERT),
        (b"{", "this is JSON text without a header's length", NOT_SAFETENSORS),
        (b"<", "this is a web page or XML", "download the file itself, not its page"),
    ];
    let row = table.into_iter().find(|(magic, ..)| prefix.starts_with(magic));
    row.map(|(_, found, remedy)| (found, remedy))
}

impl Entry {
    /// Checks what one entry says by itself: its offsets and the length that its shape asks for.
    fn check(raw: RawEntry, data_len: u64) -> Result<Self> {
        let RawEntry { name, dtype, shape, begin, end } = raw;
        let fault = |found: String, remedy| Err(malformed(tensor(&name), found, remedy));
        let Some(length) = end.checked_sub(begin) else {
            return fault(format!("its bytes begin at {begin} and end before, at {end}"), REWRITE);
        };
        if end > data_len {
            let found = format!("its bytes end at {end} of the data, which has {data_len}");
            return fault(found, AGAIN);
        }
        // Zeros are left out at first: a tensor with one is empty, but nobody who multiplies some
        // of its dimensions shall overflow either.
        let dims = shape.iter().map(|&dim| dim.max(1));
        let most = dims
            .chain([dtype.bitsize() as u64])
            .try_fold(1u64, |product, factor| product.checked_mul(factor));
        let Some(most) = most else {
            let found = format!("shape {} of {dtype} has 2^64 bits or more", list(&shape));
            return fault(found, REWRITE);
        };
        let bits = if shape.contains(&0) { 0 } else { most };
        if !bits.is_multiple_of(8) {
            let found = format!("shape {} of {dtype} ends within a byte", list(&shape));
            return fault(found, REWRITE);
        }
        if bits / 8 != length {
            let found = format!(
                "shape {} of {dtype} takes {} bytes, the offsets give it {length}",
                list(&shape),
                bits / 8
            );
            return fault(found, REWRITE);
        }
        let Ok(shape) = shape.iter().map(|&dim| usize::try_from(dim)).collect() else {
            return fault(
                format!("shape {} is beyond this machine's words", list(&shape)),
                REWRITE,
            );
        };
        Ok(Self { name, dtype, shape, data_offsets: begin..end })
    }
}

/// Checks that tensors, sorted by offset, cover the data exactly.
fn check_cover(tensors: &[Entry], data_len: u64) -> Result<()> {
    let mut covered = 0;
    let mut before: Option<&Entry> = None;
    for entry in tensors {
        let begin = entry.data_offsets.start;
        let found = match before {
            Some(other) if begin < covered => format!(
                "its bytes begin at {begin} of the data, within tensor `{}`, which ends at {covered}",
                shown(&other.name)
            ),
            _ if begin > covered => {
                format!("bytes {covered} to {begin} of the data before it belong to no tensor")
            }
            _ => {
                covered = entry.data_offsets.end;
                before = Some(entry);
                continue;
            }
        };
        return Err(malformed(tensor(&entry.name), found, REWRITE));
    }
    if covered < data_len {
        let found = format!("{} bytes behind the last tensor belong to none", data_len - covered);
        return Err(malformed(format!("byte {covered} of the data"), found, AGAIN));
    }
    Ok(())
}

fn malformed(place: impl Into<String>, found: impl Into<String>, remedy: &'static str) -> Error {
    Error::Malformed { format: FORMAT, place: place.into(), found: found.into(), remedy }
}

fn tensor(name: &str) -> String {
    format!("tensor `{}`", shown(name))
}

/// A shape in brackets, its end left out where it is absurdly long.
fn list(shape: &[u64]) -> String {
    let mut dims: Vec<String> = shape.iter().take(8).map(u64::to_string).collect();
    if shape.len() > 8 {
        dims.push("…".into());
    }
    format!("[{}]", dims.join(", "))
}
