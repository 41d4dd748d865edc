//! The plain formulas of CoreML's constexpr operations: what a storage means.
//!
//! Every product is formed in f32, where INT8 × FP16 is exact, and rounded once to the type of the
//! operand that scales, half to even: bit for bit what coremltools' `decompress_weights` returns.

use super::{Data, Operand, Storage, Weight};
use crate::graph::DataType;
use crate::{Error, Result};
use half::f16;

impl Weight {
    /// The weights, row-major, each exactly a value of [`Storage::dtype`].
    ///
    /// Takes four bytes a weight, and as much again while it works.
    ///
    /// # Errors
    /// [`Error::Bug`] if the operands do not fit each other, are no floating-point weight, or are
    /// not here yet.
    pub fn dequantize(&self) -> Result<Vec<f32>> {
        let bug = |why: String| Error::bug("Weight::dequantize", why);
        self.check().map_err(bug)?;
        let dtype = self.storage.dtype();
        if !matches!(dtype, DataType::Float16 | DataType::Float32) {
            return Err(bug(format!("{dtype} is no floating-point weight")));
        }
        let late = |(_, o): &(_, &Operand)| matches!(o.data, Data::Later(_));
        if self.storage.operands().iter().any(late) {
            return Err(bug("the bytes are not here yet".into()));
        }
        let mut weights = match &self.storage {
            Storage::Sparse { mask, values } => {
                let mask: Vec<bool> = elements(mask).iter().map(|&bit| bit != 0.0).collect();
                values_of(values, &self.shape, Some(&mask))
            }
            storage => values_of(storage, &self.shape, None),
        };
        round(dtype, &mut weights);
        Ok(weights)
    }
}

/// The weights of `storage`, which is not sparse itself; `mask` says which of its codes are stored.
fn values_of(storage: &Storage, shape: &[usize], mask: Option<&[bool]>) -> Vec<f32> {
    match storage {
        Storage::Dense(values) => spread(elements(values), mask),
        Storage::Linear { codes, scale, offset } => {
            let mut weights = spread(elements(codes), mask);
            if let Some(offset) = offset {
                let offset = elements(offset);
                each_block(shape, &scale.shape, |i, block| weights[i] -= offset[block]);
            }
            multiply(&mut weights, shape, scale);
            clear(&mut weights, mask, 1, 1);
            weights
        }
        Storage::Palette { indices, table, table_scale, vector_axis, channel_scale } => {
            let rank = shape.len();
            let (groups, vector) = (&table.shape[..rank], table.shape[rank + 1]);
            let entries = table.shape[rank];
            let mut values = elements(table);
            if let Some(scale) = table_scale {
                multiply(&mut values, &table.shape, scale);
            }
            let codes = spread(elements(indices), mask);
            let mut coded = shape.to_vec();
            coded[*vector_axis] /= vector;
            let inner: usize = coded[vector_axis + 1..].iter().product();
            let mut weights = vec![0.0; codes.len() * vector];
            each_block(&coded, groups, |i, group| {
                let entry = (group * entries + codes[i] as usize) * vector;
                for (v, &value) in values[entry..entry + vector].iter().enumerate() {
                    weights[vector_place(i, v, vector, inner)] = value;
                }
            });
            if let Some(scale) = channel_scale {
                multiply(&mut weights, shape, scale);
            }
            clear(&mut weights, mask, vector, inner);
            weights
        }
        Storage::Sparse { .. } => unreachable!("checked: sparse weights do not nest"),
    }
}

/// Where element `v` of the vector of code `i` stands: vectors run along an axis that has `inner`
/// elements behind it.
fn vector_place(i: usize, v: usize, vector: usize, inner: usize) -> usize {
    ((i / inner) * vector + v) * inner + i % inner
}

/// Puts the next of `values` wherever the mask is set, zero elsewhere.
fn spread(values: Vec<f32>, mask: Option<&[bool]>) -> Vec<f32> {
    let Some(mask) = mask else { return values };
    let mut next = values.into_iter();
    let pick = |&set: &bool| if set { next.next().expect("checked: one value a bit") } else { 0.0 };
    mask.iter().map(pick).collect()
}

/// Clears the weights of codes that the mask leaves out.
fn clear(weights: &mut [f32], mask: Option<&[bool]>, vector: usize, inner: usize) {
    for (i, _) in mask.unwrap_or_default().iter().enumerate().filter(|(_, set)| !**set) {
        for v in 0..vector {
            weights[vector_place(i, v, vector, inner)] = 0.0;
        }
    }
}

/// Multiplies by blockwise scales and rounds to their type.
fn multiply(values: &mut [f32], shape: &[usize], scale: &Operand) {
    let factors = elements(scale);
    each_block(shape, &scale.shape, |i, block| values[i] *= factors[block]);
    round(scale.dtype, values);
}

fn round(dtype: DataType, values: &mut [f32]) {
    if dtype == DataType::Float16 {
        for value in values {
            *value = f16::from_f32(*value).to_f32();
        }
    }
}

/// Calls `visit` with each element's place in `shape`, row-major, and its block's place in `blocks`,
/// whose every dimension divides that of `shape`.
fn each_block(shape: &[usize], blocks: &[usize], mut visit: impl FnMut(usize, usize)) {
    if shape.contains(&0) {
        return;
    }
    let mut at = vec![0; shape.len()];
    for i in 0..shape.iter().product() {
        let dims = at.iter().zip(shape).zip(blocks);
        visit(i, dims.fold(0, |block, ((a, d), b)| block * b + a / (d / b)));
        for (a, d) in at.iter_mut().zip(shape).rev() {
            *a += 1;
            if *a < *d {
                break;
            }
            *a = 0;
        }
    }
}

/// The elements of an operand whose bytes are here, exactly.
fn elements(operand: &Operand) -> Vec<f32> {
    use DataType::*;
    let Data::Bytes(bytes) = &operand.data else { unreachable!("checked: the bytes are here") };
    let packed = |bits: usize| {
        let code = move |i: usize| {
            let (byte, shift) = (i * bits / 8, i * bits % 8);
            let next = bytes.get(byte + 1).copied().unwrap_or(0);
            (u16::from_le_bytes([bytes[byte], next]) >> shift) & ((1 << bits) - 1)
        };
        (0..operand.elements()).map(code)
    };
    match operand.dtype {
        UInt1 => packed(1).map(f32::from).collect(),
        UInt2 => packed(2).map(f32::from).collect(),
        UInt3 => packed(3).map(f32::from).collect(),
        UInt4 => packed(4).map(f32::from).collect(),
        UInt6 => packed(6).map(f32::from).collect(),
        Int4 => packed(4).map(|code| f32::from((code as i16) << 12 >> 12)).collect(),
        UInt8 => bytes.iter().map(|&b| f32::from(b)).collect(),
        Int8 => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
        Float16 => {
            let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
            bytes.chunks_exact(2).map(half).collect()
        }
        Float32 => {
            let single = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            bytes.chunks_exact(4).map(single).collect()
        }
        Bool | String | Float64 | Int16 | Int32 | Int64 | UInt16 | UInt32 | UInt64 => {
            unreachable!("checked: no operand of a floating-point weight")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::{Float16, Float32, Int4, Int8, UInt1, UInt2, UInt8};

    fn halves(shape: &[usize], values: &[f32]) -> Operand {
        let bytes: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        Operand::new(Float16, shape, bytes)
    }

    fn codes(dtype: DataType, shape: &[usize], bytes: &[u8]) -> Operand {
        Operand::new(dtype, shape, bytes.to_vec())
    }

    fn palette(indices: Operand, table: Operand, vector_axis: usize) -> Storage {
        Storage::Palette { indices, table, table_scale: None, vector_axis, channel_scale: None }
    }

    #[test]
    fn each_storage_means_its_formula() {
        let int8 = codes(Int8, &[2, 2], &[1, 254, 127, 129]);
        // 0 1 2 3, two bits each.
        let indices = codes(UInt2, &[2, 2], &[0b11_10_01_00]);
        let table = halves(&[1, 1, 4, 1], &[0.5, -1.0, 2.0, 8.0]);
        let mask = codes(UInt1, &[2, 2], &[0b1010]);
        #[rustfmt::skip]
        let cases: Vec<(&str, Storage, [usize; 2], &[f32])> = vec![
            ("values stand for themselves",
             Storage::Dense(halves(&[1, 2], &[1.0, -2.5])), [1, 2], &[1.0, -2.5]),
            ("one scale a row",
             Storage::Linear { codes: int8.clone(), scale: halves(&[2, 1], &[0.5, 2.0]), offset: None },
             [2, 2], &[0.5, -1.0, 254.0, -254.0]),
            ("the offset comes off before the scale",
             Storage::Linear { codes: int8.clone(), scale: halves(&[1, 2], &[1.0, 0.5]), offset: Some(codes(Int8, &[1, 2], &[1, 255])) },
             [2, 2], &[0.0, -0.5, 126.0, -63.0]),
            ("a product is rounded once to half precision",
             Storage::Linear { codes: codes(Int8, &[1, 1], &[127]), scale: halves(&[1, 1], &[0.099975586]), offset: None },
             [1, 1], &[12.6953125]),
            ("int4 is two's complement, low nibble first",
             Storage::Linear { codes: codes(Int4, &[1, 3], &[0x87, 0x0f]), scale: halves(&[1, 1], &[1.0]), offset: None },
             [1, 3], &[7.0, -8.0, -1.0]),
            ("an index picks from its table",
             palette(indices.clone(), table.clone(), 0), [2, 2], &[0.5, -1.0, 2.0, 8.0]),
            ("each row has its own table",
             palette(codes(UInt1, &[2, 2], &[0b0110]), halves(&[2, 1, 2, 1], &[1.0, 2.0, 3.0, 4.0]), 0),
             [2, 2], &[1.0, 2.0, 4.0, 3.0]),
            ("a vector fills successive rows",
             palette(codes(UInt1, &[1, 2], &[0b10]), halves(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), 0),
             [2, 2], &[1.0, 3.0, 2.0, 4.0]),
            ("or successive columns",
             palette(codes(UInt1, &[2, 1], &[0b10]), halves(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), 1),
             [2, 2], &[1.0, 2.0, 3.0, 4.0]),
            ("codes of a table have a scale, and channels another",
             Storage::Palette {
                 indices: codes(UInt1, &[2, 1], &[0b10]),
                 table: codes(Int8, &[1, 1, 2, 1], &[2, 253]),
                 table_scale: Some(halves(&[1, 1, 1, 1], &[0.5])),
                 vector_axis: 0,
                 channel_scale: Some(halves(&[2, 1], &[10.0, 100.0])),
             },
             [2, 1], &[10.0, -150.0]),
            ("a mask leaves zeros",
             Storage::Sparse { mask: mask.clone(), values: Box::new(Storage::Dense(halves(&[2], &[5.0, 6.0]))) },
             [2, 2], &[0.0, 5.0, 0.0, 6.0]),
            ("also where code 0 is no zero",
             Storage::Sparse { mask: mask.clone(), values: Box::new(Storage::Linear {
                 codes: codes(Int8, &[2], &[3, 4]), scale: halves(&[2, 1], &[1.0, 10.0]),
                 offset: Some(codes(Int8, &[2, 1], &[1, 2])) }) },
             [2, 2], &[0.0, 2.0, 0.0, 20.0]),
            ("a mask of indices leaves out whole vectors",
             Storage::Sparse { mask: codes(UInt1, &[1, 2], &[0b10]), values: Box::new(
                 palette(codes(UInt1, &[1], &[1]), halves(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), 0)) },
             [2, 2], &[0.0, 3.0, 0.0, 4.0]),
            ("nothing at all",
             Storage::Dense(halves(&[0, 4], &[])), [0, 4], &[]),
        ];
        for (name, storage, shape, want) in cases {
            let weight = Weight { shape: shape.to_vec(), storage };
            assert_eq!(weight.dequantize().expect(name), want, "{name}");
        }
        let single = codes(Float32, &[1], &0.1f32.to_le_bytes());
        assert_eq!(Weight::dense(single).dequantize().unwrap(), [0.1]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let codes8 = codes(Int8, &[2, 4], &[0; 8]);
        let linear =
            |scale: Operand, offset| Storage::Linear { codes: codes8.clone(), scale, offset };
        let table = |entries: usize| halves(&[1, 1, entries, 1], &vec![0.0; entries]);
        let indices = || codes(UInt2, &[2, 4], &[0; 2]);
        #[rustfmt::skip]
        let cases = [
            (Storage::Dense(halves(&[4, 2], &[0.0; 8])),           "values: is [4, 2], not [2, 4]"),
            (Storage::Dense(codes(Float16, &[2, 4], &[0; 15])),    "Dense: 15 bytes instead of 16 for [2, 4] of fp16"),
            (Storage::Dense(codes(Float16, &[usize::MAX, 2], &[])), "Dense: [18446744073709551615, 2] of fp16 overflows"),
            (linear(halves(&[2], &[0.0; 2]), None),                "scale: [2] does not divide [2, 4]"),
            (linear(halves(&[2, 3], &[0.0; 6]), None),             "scale: [2, 3] does not divide [2, 4]"),
            (linear(halves(&[0, 1], &[]), None),                   "scale: [0, 1] does not divide [2, 4]"),
            (linear(codes(Int8, &[1, 1], &[1]), None),             "scale: cannot be int8"),
            (linear(halves(&[2, 1], &[0.0; 2]), Some(codes(Int8, &[1, 1], &[0]))), "offset: is [1, 1] beside scales [2, 1]"),
            (palette(indices(), table(8), 0),                      "table: 8 entries beside uint2 indices"),
            (palette(indices(), table(5), 0),                      "table: 5 entries beside uint2 indices"),
            (palette(indices(), halves(&[4, 1], &[0.0; 4]), 0),    "table: has rank 2, not 4"),
            (palette(indices(), table(4), 2),                      "there is no vector axis 2"),
            (palette(indices(), halves(&[1, 1, 4, 0], &[]), 0),    "vectors of 0 do not divide the 2 of axis 0"),
            (palette(codes(UInt8, &[2, 4], &[0; 8]), table(4), 0), "table: 4 entries beside uint8 indices"),
            (Storage::Sparse { mask: codes(UInt1, &[2, 4], &[7]), values: Box::new(Storage::Dense(halves(&[2], &[0.0; 2]))) },
             "values: is [2] beside a mask that keeps 3"),
        ];
        for (storage, want) in cases {
            let weight = Weight { shape: vec![2, 4], storage };
            assert_eq!(weight.check().unwrap_err(), want);
            assert!(weight.dequantize().is_err(), "{want}");
        }
    }
}
