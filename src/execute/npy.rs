//! The header of numpy's .npy arrays.
//!
//! Source: numpy's `numpy.lib.format`, versions 1.0 to 3.0.

use crate::formats::safetensors::Dtype;
use crate::text::printable;
use std::io::Read;

/// The longest header: numpy refuses to read far shorter ones.
const MOST_HEADER_BYTES: usize = 1 << 16;

/// The header of an array: type, shape, and its length in bytes.
///
/// `\x93NUMPY`, major and minor version, the length of what follows (U16, from 2.0 on U32), and the literal
/// of a Python dictionary with `descr`, `fortran_order` and `shape`.
///
/// # Errors
/// A sentence on what is no such header, or of an array that cannot be read.
pub(super) fn header(reader: &mut impl Read) -> Result<(Dtype, Vec<usize>, u64), String> {
    let mut take = |bytes: &mut [u8]| {
        reader.read_exact(bytes).map_err(|_| "it ends within the header".to_owned())
    };
    let mut start = [0; 8];
    take(&mut start)?;
    let (magic, version) = (&start[..6], start[6]);
    if magic != b"\x93NUMPY" || !(1..=3).contains(&version) {
        return Err("it does not begin as an array of .npy 1.0, 2.0 or 3.0 does".into());
    }
    let (before, len) = match version {
        1 => {
            let mut len = [0; 2];
            take(&mut len)?;
            (10, usize::from(u16::from_le_bytes(len)))
        }
        _ => {
            let mut len = [0; 4];
            take(&mut len)?;
            (12, u32::from_le_bytes(len) as usize)
        }
    };
    if len > MOST_HEADER_BYTES {
        return Err(format!("its header of {len} bytes is larger than {MOST_HEADER_BYTES}"));
    }
    let mut text = vec![0; len];
    take(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| "its header is no text")?;
    let (dtype, shape) = dictionary(&text)?;
    Ok((dtype, shape, (before + len) as u64))
}

/// Type and shape from the literal.
fn dictionary(text: &str) -> Result<(Dtype, Vec<usize>), String> {
    let odd = || format!("its header is `{}`", printable(text.trim()));
    // After a key's colon; numpy writes these three keys alone, and neither value holds such a word.
    let after = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}':")).ok_or_else(odd)?;
        Ok::<&str, String>(rest.trim_start())
    };
    let descr = after("descr")?;
    let word = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let word = word.ok_or_else(|| format!("{}; fields have no place here", odd()))?.0;
    let dtype = match word {
        "<f2" => Dtype::F16,
        "<f4" => Dtype::F32,
        "<f8" => Dtype::F64,
        "|i1" | "<i1" => Dtype::I8,
        "<i2" => Dtype::I16,
        "<i4" => Dtype::I32,
        "<i8" => Dtype::I64,
        "|u1" | "<u1" => Dtype::U8,
        "<u2" => Dtype::U16,
        "<u4" => Dtype::U32,
        "|b1" => Dtype::BOOL,
        other => {
            return Err(format!(
                "its type is `{}`; f2, f4, f8, i1 to i8, u1 to u4 and b1, little-endian, can be read",
                printable(other)
            ));
        }
    };
    if !after("fortran_order")?.starts_with("False") {
        return Err("it is in Fortran order; save numpy.ascontiguousarray of it".into());
    }
    let inner = after("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let inner = inner.ok_or_else(odd)?.0;
    let dims = inner.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let dims: Option<Vec<usize>> = dims.map(|dim| dim.parse().ok()).collect();
    Ok((dtype, dims.ok_or_else(odd)?))
}
