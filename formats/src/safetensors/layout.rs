//! A file whose header is known before its bytes.

use super::{Dtype, MAX_HEADER_BYTES, shown};
use crate::{Error, Result};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

/// Header, offsets and length of a safetensors file; its tensors' bytes are written by others, in
/// any order.
///
/// Tensors of wider elements lie first, those of one width in the order given, and the data starts
/// at a multiple of eight: each tensor is aligned to its elements although the format allows no
/// gaps. The same list gives the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The file's first bytes: the header's length, the header, and spaces to a multiple of eight.
    pub header: Vec<u8>,
    /// The byte of the file at which each tensor begins, in the order in which they were given.
    pub offsets: Vec<u64>,
    /// The length of the whole file in bytes.
    pub file_len: u64,
}

/// One value of the header's object.
#[derive(Serialize)]
struct Info<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: [u64; 2],
}

impl Layout {
    /// Lays out `tensors` (name, type, shape) and `metadata`, which is left out if it is empty.
    ///
    /// # Errors
    /// [`Error::Bug`] for a name given twice or called `__metadata__`, for a length beyond 2⁶⁴, and
    /// for sub-byte elements that end within a byte; [`Error::Unsupported`] if the header would be
    /// longer than the format allows.
    pub fn new(
        tensors: &[(String, Dtype, Vec<usize>)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut names = HashSet::new();
        for (name, ..) in tensors {
            if name == "__metadata__" || !names.insert(name) {
                return Err(bug(name, "the header cannot hold this name a second time"));
            }
        }
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&i| Reverse(tensors[i].1.bitsize()));

        let mut json = vec![b'{'];
        if !metadata.is_empty() {
            put(&mut json, "__metadata__", metadata)?;
        }
        let mut offsets = vec![0; tensors.len()];
        let mut end = 0u64;
        for i in order {
            let (name, dtype, shape) = &tensors[i];
            let begin = end;
            offsets[i] = begin;
            end = byte_len(*dtype, shape)
                .and_then(|length| begin.checked_add(length))
                .ok_or_else(|| bug(name, "its shape and type give no length in bytes"))?;
            put(&mut json, name, &Info { dtype: *dtype, shape, data_offsets: [begin, end] })?;
        }
        json.push(b'}');
        json.resize(json.len().next_multiple_of(8), b' ');

        let length = json.len() as u64;
        if length > MAX_HEADER_BYTES {
            return Err(Error::Unsupported {
                place: "header to be written".into(),
                found: format!("names, shapes and metadata take {length} bytes"),
                can: format!("the format allows {MAX_HEADER_BYTES}"),
            });
        }
        let data_start = 8 + length;
        let file_len = data_start.checked_add(end);
        let file_len = file_len.ok_or_else(|| bug("the file", "its length is beyond 2^64"))?;
        for offset in &mut offsets {
            *offset += data_start;
        }
        let header = [&length.to_le_bytes(), json.as_slice()].concat();
        Ok(Self { header, offsets, file_len })
    }
}

/// Appends `"name":value` to an object that was begun, after a comma if it is not the first.
fn put(json: &mut Vec<u8>, name: &str, value: &impl Serialize) -> Result<()> {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    let unwritable = |error: serde_json::Error| bug(name, &error.to_string());
    serde_json::to_writer(&mut *json, name).map_err(unwritable)?;
    json.push(b':');
    serde_json::to_writer(json, value).map_err(unwritable)
}

/// `None` beyond 2⁶⁴ bits, or where the last element ends within a byte.
fn byte_len(dtype: Dtype, shape: &[usize]) -> Option<u64> {
    let elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim as u64))?;
    let bits = elements.checked_mul(dtype.bitsize() as u64)?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn bug(name: &str, why: &str) -> Error {
    Error::Bug { place: format!("safetensors tensor `{}`", shown(name)), why: why.into() }
}
