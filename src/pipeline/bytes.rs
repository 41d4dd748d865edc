//! Codes, parameters and values as the bytes of a file.

use crate::formats::bits;
use crate::graph::weight::Part;
use crate::layout::transpose_params;
use crate::quantize::Params;
use crate::scheme::Float;
use crate::tensor::{FloatType, Weights};
use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// Codes, one byte each, as a stream of `width` bits each; `buffer` is used unless they stand
/// already.
///
/// # Errors
/// [`Error::Format`] for a width that has no stream.
pub(super) fn pack<'b>(codes: &'b [u8], width: u8, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
    if width == 8 {
        return Ok(codes);
    }
    buffer.clear();
    buffer.resize(bits::packed_len(codes.len(), width), 0);
    // A negative code fills its byte with copies of its sign. A chunk ends on a whole byte.
    const CHUNK: usize = 4096;
    let mask = (1 << width) - 1;
    let mut masked = [0; CHUNK];
    for (codes, out) in codes.chunks(CHUNK).zip(buffer.chunks_mut(CHUNK * usize::from(width) / 8)) {
        let masked = &mut masked[..codes.len()];
        for (to, from) in masked.iter_mut().zip(codes) {
            *to = from & mask;
        }
        bits::pack_into(masked, width, out)?;
    }
    Ok(buffer)
}

/// FP16 values as little-endian bytes.
pub(super) fn halves<'b>(values: &[f16], buffer: &'b mut Vec<u8>) -> &'b [u8] {
    buffer.clear();
    buffer.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    buffer
}

/// The bytes of one part of a tensor's parameters, row-major; INT4 zero points are packed where
/// `width` is 4, and FP16 numbers are widened to FP32 where it is 32.
///
/// # Errors
/// [`Error::Bug`] for values and codes, which are no parameters.
pub(super) fn param_bytes(params: &Params, part: Part, width: u8) -> Result<Vec<u8>> {
    let of_halves = |values: &[f16]| match width {
        // Beside weights of FP32.
        32 => Ok(values.iter().flat_map(|v| v.to_f32().to_le_bytes()).collect()),
        _ => Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
    };
    let of_codes = |codes: &[i8]| {
        let codes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
        let mut buffer = Vec::new();
        pack(&codes, width, &mut buffer).map(<[u8]>::to_vec)
    };
    match part {
        Part::Scale => of_halves(&params.scale),
        Part::Offset => of_codes(&params.offset),
        Part::Table if params.table.is_empty() => of_codes(&params.table_codes),
        Part::Table => of_halves(&params.table),
        Part::TableScale => of_halves(&params.table_scale),
        Part::ChannelScale => of_halves(&params.channel_scale),
        Part::Dense | Part::Codes => Err(Error::bug(format!("{part:?}"), "it is no parameter")),
    }
}

/// Linear scales or zero points `[N, blocks]` as the bytes of `[blocks, N]`.
///
/// # Errors
/// As [`param_bytes`].
pub(super) fn transposed_bytes(params: &Params, part: Part, blocks: usize) -> Result<Vec<u8>> {
    let turned = if part == Part::Offset {
        let offset = transpose_params(&params.offset, params.offset.len() / blocks, blocks);
        Params { offset, ..Params::default() }
    } else {
        let scale = transpose_params(&params.scale, params.scale.len() / blocks, blocks);
        Params { scale, ..Params::default() }
    };
    param_bytes(&turned, part, 8)
}

/// Stored weights as FP16 or FP32 bytes in `out`. FP16 is rounded to nearest, ties to even.
///
/// # Errors
/// [`Error::Input`] at the first value that is not finite, unless `keep`, and at the first finite
/// one beyond 65504, the largest number of FP16.
pub(super) fn convert(
    weights: Weights,
    elements: Range<usize>,
    to: Float,
    keep: bool,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    let mut values = vec![0.0; elements.len()];
    weights.decode(elements.clone(), &mut values);
    if let Some(i) = values.iter().position(|v| !v.is_finite())
        && !keep
    {
        return Err(weights.unusable(elements.start + i, values[i]));
    }
    match (to, weights.dtype) {
        (Float::F16, FloatType::F16) | (Float::F32, FloatType::F32) => {
            out.extend_from_slice(weights.slice(elements));
        }
        (Float::F16, FloatType::BF16 | FloatType::F32) => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(&values);
            let largest = f16::MAX.to_f32();
            if let Some(i) = values.iter().position(|v| v.is_finite() && v.abs() > largest) {
                return Err(weights.unusable(elements.start + i, values[i]));
            }
            out.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
        }
        (Float::F32, FloatType::F16 | FloatType::BF16) => {
            out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
    }
    Ok(())
}
