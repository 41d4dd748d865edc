//! The promises of a blob that its header cannot break by itself: where planes lie, and what their
//! padding and parameters hold.

use super::encoding::Encoding;
use super::reader::{REWRITE, Reader, malformed, weight};
use super::{Dtype, LARGE, Lanes, PAGE, Part, Plane, SMALL_ALIGN};
use crate::Result;
use half::f16;

/// Checks alignment, order and gaps of planes that cover the file from the end of the header.
pub(super) fn placement(planes: &[Plane], file_len: u64) -> Result<()> {
    let data_start = planes.first().map_or(file_len, |plane| plane.offset);
    if !data_start.is_multiple_of(PAGE) {
        let found = format!("the data starts at {data_start}, not on a page of {PAGE}");
        return Err(malformed("header", found, REWRITE));
    }
    let mut end = data_start;
    let mut gap: Option<&Plane> = None;
    let mut last: Option<&Plane> = None;
    for plane in planes {
        let fault = |found: String| Err(malformed(weight(&plane.name), found, REWRITE));
        if plane.holds.is_none() {
            if !is_pad(plane) {
                return fault("no weight claims it, and it is no `__pad.N` of U8".into());
            }
            if let Some(gap) = gap {
                return fault(format!("a second gap follows `{}`", gap.name));
            }
            gap = Some(plane);
            continue;
        }
        let large = |p: &Plane| p.len >= LARGE;
        let align = match last {
            // A large plane, and the first of the run of small ones, lie on a page.
            Some(last) if !large(plane) && !large(last) => SMALL_ALIGN,
            _ => PAGE,
        };
        let start = end.next_multiple_of(align);
        if plane.offset != start {
            return fault(format!("it starts at {}, and should at {start}", plane.offset));
        }
        if gap.is_some() != (start > end) {
            return fault("an empty gap stands before it".into());
        }
        if let Some(last) = last {
            if large(plane) && !large(last) {
                return fault("a plane of 64 KiB or more lies behind a smaller one".into());
            }
            if large(plane) == large(last) && plane.holds < last.holds {
                return fault(format!("it lies behind `{}`, out of order", last.name));
            }
        }
        end = start + plane.len;
        gap = None;
        last = Some(plane);
    }
    // Whatever follows the last plane is at most one gap.
    let want = end.next_multiple_of(PAGE);
    if file_len != want || gap.is_some() != (want > end) {
        let found = format!("the last plane ends at {end}, the file at {file_len}, not at {want}");
        return Err(malformed("end of file", found, REWRITE));
    }
    Ok(())
}

/// Whether a tensor is named and typed as a gap.
fn is_pad(plane: &Plane) -> bool {
    let number = plane.name.strip_prefix("__pad.").unwrap_or_default();
    let plain = number.parse::<u64>().is_ok_and(|n| n.to_string() == number);
    plain && plane.dtype == Dtype::U8 && plane.shape == [plane.len as usize]
}

/// Checks what gaps, padding, codes and parameters hold.
pub(super) fn contents(reader: &Reader<'_>) -> Result<()> {
    for plane in reader.planes() {
        let bytes = reader.bytes(plane);
        let fault = |found: String| Err(malformed(weight(&plane.name), found, REWRITE));
        let Some((index, part)) = plane.holds else {
            if let Some(at) = bytes.iter().position(|&b| b != 0) {
                return fault(format!("byte {at} of the gap is {}, not 0", bytes[at]));
            }
            continue;
        };
        let owner = &reader.weights()[index];
        match part {
            Part::Codes => {
                if let Some(found) = codes(&owner.encoding, &owner.shape, bytes) {
                    return fault(found);
                }
            }
            Part::Scale | Part::TableScale | Part::ChannelScale | Part::Table
                if plane.dtype == Dtype::F16 =>
            {
                let mut halves = bytes.as_chunks::<2>().0.iter();
                if let Some(at) = halves.position(|&b| !f16::from_le_bytes(b).is_finite()) {
                    return fault(format!("element {at} is not finite"));
                }
            }
            Part::Offset => {
                let (bits, signed) = code_type(&owner.encoding);
                if let Some(at) = bytes.iter().position(|&b| !in_range(b, bits, signed)) {
                    return fault(format!("offset {at} does not fit in {bits} bits"));
                }
            }
            Part::Values | Part::Scale | Part::Table | Part::TableScale | Part::ChannelScale => {}
        }
    }
    Ok(())
}

/// Bits and signedness of a code.
pub(super) fn code_type(encoding: &Encoding) -> (u8, bool) {
    match encoding {
        Encoding::Linear(linear) => (linear.bits, linear.signed),
        Encoding::Palette(palette) => (palette.bits, false),
        Encoding::Float { .. } | Encoding::Raw { .. } => (8, false),
    }
}

/// The order of a weight's codes.
pub(super) fn lanes_of(encoding: &Encoding) -> Lanes {
    match encoding {
        Encoding::Linear(linear) => linear.lanes,
        Encoding::Palette(palette) => palette.lanes,
        Encoding::Float { .. } | Encoding::Raw { .. } => Lanes::Row,
    }
}

/// Whether a code that takes a byte of its own is one of `bits` bits.
fn in_range(code: u8, bits: u8, signed: bool) -> bool {
    let half = 1i16 << (bits - 1);
    if signed { (-half..half).contains(&i16::from(code as i8)) } else { i16::from(code) < 2 * half }
}

/// What is wrong with a plane of codes, if anything is.
fn codes(encoding: &Encoding, shape: &[usize], plane: &[u8]) -> Option<String> {
    let [rows, cols] = encoding.code_matrix(shape).ok()??;
    let (bits, signed) = code_type(encoding);
    let lanes = lanes_of(encoding);
    if lanes == Lanes::Row && bits < 8 {
        // Up to 7 bits behind the last code; the plane is there, so its bits can be counted.
        let used = (rows * cols) as u128 * u128::from(bits) % 8;
        let unused = plane.last().filter(|_| used > 0).map_or(0, |last| last >> used);
        return (unused != 0).then(|| "the unused bits of the last byte are not 0".into());
    }
    if bits < 8
        && let Some(at) = plane.iter().position(|&code| !in_range(code, bits, signed))
    {
        return Some(format!("code {at} of the plane is {}, beyond {bits} bits", plane[at]));
    }
    // Padding lies in the last group alone: beyond the last column, or beyond the last row.
    let [gn, gk] = lanes.group();
    let columns = (cols..cols.next_multiple_of(gk)).flat_map(|k| (0..rows).map(move |n| (n, k)));
    let below = (rows..rows.next_multiple_of(gn)).flat_map(|n| (0..cols).map(move |k| (n, k)));
    let mut padding = columns.chain(below);
    let (n, k) = padding.find(|&(n, k)| plane[lanes.position(rows, cols, n, k)] != 0)?;
    Some(format!("padding at ({n}, {k}) of a [{rows}, {cols}] matrix is not 0"))
}
