//! A view of weights as they are stored: name, type, shape, and little-endian bytes that may lie
//! at any address.

use crate::Error;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// A floating-point type that can be quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// IEEE 754 half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// IEEE 754 single precision.
    F32,
}

impl FloatType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
        }
    }

    /// The name that safetensors uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
        }
    }
}

/// Weights as stored, row-major, seen as a matrix `[rows, cols]`: `rows` is the first dimension,
/// `cols` the product of the others.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The tensor's name in its checkpoint.
    pub name: &'a str,
    /// The stored type.
    pub dtype: FloatType,
    /// The full shape, `[O, I, …]`.
    pub shape: &'a [usize],
    /// `product(shape)` little-endian elements, at any alignment.
    pub bytes: &'a [u8],
}

impl<'a> Weights<'a> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.bytes()
    }

    /// Whether a dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The first dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The product of all dimensions but the first.
    pub fn cols(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Kernel taps of one input channel: the product of all dimensions after the second.
    pub fn taps(&self) -> usize {
        self.shape.iter().skip(2).product()
    }

    /// The bytes of a range of elements.
    pub fn slice(&self, elements: Range<usize>) -> &'a [u8] {
        let size = self.dtype.bytes();
        &self.bytes[elements.start * size..elements.end * size]
    }

    /// The error for a weight, at its flat index, that FP16 cannot hold: NaN, infinity, or beyond
    /// 65504.
    pub fn unusable(&self, element: usize, value: f32) -> Error {
        let name = self.name;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        let pattern = if name.chars().all(plain) { name.into() } else { regex::escape(name) };
        let (found, remedy) = if value.is_finite() {
            let found = format!("{value} is beyond FP16's largest number, 65504");
            let remedy = format!(
                "keep this tensor in FP32 with --rule '^{pattern}$=float32', or a whole model, which \
                 has one type, with --scheme float32"
            );
            (found, remedy)
        } else {
            let remedy = "repair the checkpoint, or leave this tensor in float with \
                          --non-finite keep";
            (format!("{value} is not a finite number"), remedy.into())
        };
        Error::input(format!("tensor `{name}`, element {element}"), found, remedy)
    }

    /// Decodes a range of elements to f32, exactly; `out` has the range's length.
    pub fn decode(&self, elements: Range<usize>, out: &mut [f32]) {
        decode(self.dtype, self.slice(elements), out);
    }
}

/// Decodes little-endian `bytes` of type `dtype` to f32, exactly.
///
/// # Panics
/// If `out` does not have one element for each element in `bytes`.
pub fn decode(dtype: FloatType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), out.len() * dtype.bytes());
    match dtype {
        FloatType::F16 => {
            // The conversion is vectorised over slices of `f16`; file bytes may be unaligned, so
            // they pass through a small aligned buffer.
            let mut buffer = [half::f16::ZERO; 256];
            for (bytes, out) in bytes.chunks(512).zip(out.chunks_mut(256)) {
                let halves = &mut buffer[..out.len()];
                for (h, b) in halves.iter_mut().zip(bytes.chunks_exact(2)) {
                    *h = half::f16::from_le_bytes([b[0], b[1]]);
                }
                halves.convert_to_f32_slice(out);
            }
        }
        FloatType::BF16 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *x = f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16);
            }
        }
        FloatType::F32 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
    }
}
/// Some rows of the transpose of a matrix `[rows, cols]` of elements of `N` bytes: `[wanted, rows]`.
pub fn transposed<const N: usize>(stored: &[u8], cols: usize, wanted: Range<usize>) -> Vec<u8> {
    let (stored, _) = stored.as_chunks::<N>();
    let lines = stored.chunks_exact(cols.max(1));
    let rows = lines.len();
    let mut out = vec![[0; N]; wanted.len() * rows];
    for (row, line) in lines.enumerate() {
        for (col, &value) in line[wanted.clone()].iter().enumerate() {
            out[col * rows + row] = value;
        }
    }
    out.into_flattened()
}
