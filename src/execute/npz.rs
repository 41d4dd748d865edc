//! numpy's .npz: a zip of .npy arrays, stored or deflated.
//!
//! Source: PKWARE's APPNOTE, 4.3 and 4.4.

use super::{RowFile, npy};
use crate::formats::safetensors::Dtype;
use crate::map::Map;
use crate::{Error, Result};
use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// Bytes that a deflated byte gives at the most.
const MOST_DEFLATED: u64 = 1032;

/// An open .npz file: headers are read, arrays are not.
#[derive(Debug)]
pub struct Npz {
    stem: String,
    map: Map,
    arrays: Vec<Array>,
}

#[derive(Debug)]
struct Array {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    member: Member,
    /// Bytes of the member before the elements.
    header: u64,
}

/// A file of the zip.
#[derive(Debug)]
struct Member {
    bytes: Range<usize>,
    is_deflated: bool,
    len: u64,
    crc: u32,
}

impl Npz {
    /// Opens a file, and reads the headers of its arrays.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no zip of .npy arrays in C order with numbers of at most 64 bits or
    /// flags, little-endian; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let shown = path.display().to_string();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (stem, arrays) = (name, arrays(map.bytes(), &shown)?);
        Ok(Self { stem, map, arrays })
    }

    /// The whole file: what is hashed.
    pub fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }
}

impl RowFile for Npz {
    fn stem(&self) -> &str {
        &self.stem
    }

    fn tensors(&self) -> Vec<(&str, Dtype, &[usize])> {
        self.arrays.iter().map(|a| (a.name.as_str(), a.dtype, a.shape.as_slice())).collect()
    }

    fn read(&self, place: usize) -> Result<Box<dyn Read + '_>> {
        let Array { name, member, header, .. } = &self.arrays[place];
        let mut reader = member.read(self.map.bytes());
        let skipped = io::copy(&mut reader.by_ref().take(*header), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == *header => Ok(Box::new(reader)),
            _ => Err(broken(&format!("{}, array `{name}`", self.stem), "its data are broken")),
        }
    }
}

fn broken(place: &str, found: impl Into<String>) -> Error {
    Error::input(place, found, "give a file that numpy's savez or savez_compressed wrote")
}

/// The arrays of a file.
fn arrays(file: &[u8], place: &str) -> Result<Vec<Array>> {
    let not_zip = |why| broken(place, format!("it is no .npz: {why}"));
    let mut zip = ZipArchive::new(Cursor::new(file)).map_err(not_zip)?;
    let mut arrays = Vec::new();
    for number in 0..zip.len() {
        let found = zip.by_index_raw(number).map_err(not_zip)?;
        let name = found.name().map_err(not_zip)?.into_owned();
        let place = format!("{place}, `{name}`");
        let Some(key) = name.strip_suffix(".npy") else {
            return Err(broken(&place, "it is no .npy array"));
        };
        let is_deflated = match found.compression() {
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            other => return Err(broken(&place, format!("it is compressed by {other}"))),
        };
        if found.encrypted() {
            return Err(broken(&place, "it is encrypted"));
        }
        let (start, packed, len) = (found.data_start(), found.compressed_size(), found.size());
        let range = start.and_then(|start| {
            let range =
                usize::try_from(start).ok()?..usize::try_from(start.checked_add(packed)?).ok()?;
            file.get(range.clone()).map(|_| range)
        });
        let bytes = range.ok_or_else(|| broken(&place, "it does not lie in the file"))?;
        let possible = if is_deflated { packed.saturating_mul(MOST_DEFLATED) } else { packed };
        if len > possible || (!is_deflated && len != packed) {
            return Err(broken(
                &place,
                format!("{packed} bytes cannot hold the {len} that it says"),
            ));
        }
        let member = Member { bytes, is_deflated, len, crc: found.crc32() };
        let mut reader = member.read(file);
        let (dtype, shape, header) = npy::header(&mut reader).map_err(|why| broken(&place, why))?;
        let elements =
            shape.iter().try_fold(dtype.bitsize() as u64 / 8, |n, &dim| n.checked_mul(dim as u64));
        if elements.and_then(|bytes| bytes.checked_add(header)) != Some(member.len) {
            let found = format!("{shape:?} of {dtype:?} is not what {} bytes hold", member.len);
            return Err(broken(&place, found));
        }
        arrays.push(Array { name: key.to_owned(), dtype, shape, member, header });
    }
    Ok(arrays)
}

impl Member {
    fn read<'f>(&self, file: &'f [u8]) -> Checked<Box<dyn Read + 'f>> {
        let bytes = &file[self.bytes.clone()];
        let inner: Box<dyn Read> = match self.is_deflated {
            true => Box::new(DeflateDecoder::new(bytes)),
            false => Box::new(bytes),
        };
        Checked { inner: CrcReader::new(inner), rest: self.len, crc: self.crc }
    }
}

/// Reads as many bytes as a member has; with the last one, that they are the member's.
struct Checked<R: Read> {
    inner: CrcReader<R>,
    rest: u64,
    crc: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        self.rest -= read as u64;
        let wrong = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        match read {
            0 => wrong("its data end early"),
            _ if self.rest == 0 && self.inner.crc().sum() != self.crc => {
                wrong("its checksum is wrong")
            }
            _ => Ok(read),
        }
    }
}

#[cfg(test)]
#[path = "npz_tests.rs"]
mod tests;
