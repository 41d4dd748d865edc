//! The plain formulas of CoreML's constexpr operations: what a storage means.
//!
//! Every product is formed in f32, where INT8 × FP16 is exact. A package declares that it is rounded
//! once to the type of the operand that scales, half to even: [`Weight::dequantize`] gives that, bit
//! for bit what coremltools' `decompress_weights` returns. What a processor multiplies that scales
//! sums of codes is the product itself: [`Weight::unrounded`].

use super::check::set_bits;
use super::{Data, Operand, Storage, Weight};
use crate::graph::DataType;
use crate::{Error, Result};
use half::f16;
use std::ops::Range;

impl Weight {
    /// The weights, row-major, each exactly a value of [`Storage::dtype`].
    ///
    /// Takes four bytes a weight, and as much again while it works.
    ///
    /// # Errors
    /// As [`Weight::dequantize_rows`].
    pub fn dequantize(&self) -> Result<Vec<f32>> {
        self.dequantize_rows(0..self.rows())
    }

    /// Rows: the first dimension; a scalar is one row.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// How many rows one code fills: several where vectors run along the first axis.
    pub fn rows_per_code(&self) -> usize {
        let codes = match &self.storage {
            Storage::Sparse { values, .. } => values,
            storage => storage,
        };
        match codes {
            Storage::Palette { table, vector_axis: 0, .. } => {
                table.shape.last().map_or(1, |&v| v.max(1))
            }
            Storage::Palette { .. } | Storage::Dense(_) | Storage::Linear { .. } => 1,
            // Sparse weights do not nest.
            Storage::Sparse { .. } => 1,
        }
    }

    /// Some rows of [`Weight::dequantize`], which begin and end with a whole code.
    ///
    /// # Errors
    /// [`Error::Bug`] if the operands do not fit each other, are no floating-point weight, or are
    /// not here yet, and for rows that there are not.
    pub fn dequantize_rows(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        self.decode(rows, Rounding::Declared)
    }

    /// The weights without the rounding of products to FP16: `scale · (code − offset)` in f32. Of plain
    /// values, and of entries of a table that nothing scales, both are the same.
    ///
    /// # Errors
    /// As [`Self::dequantize`].
    pub fn unrounded(&self) -> Result<Vec<f32>> {
        self.decode(0..self.rows(), Rounding::None)
    }

    fn decode(&self, rows: Range<usize>, rounding: Rounding) -> Result<Vec<f32>> {
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
        let unit = self.rows_per_code();
        let cut = [rows.start, rows.end].iter().any(|row| row % unit != 0);
        if rows.start > rows.end || rows.end > self.rows() || cut {
            return Err(bug(format!("rows {rows:?} of {}, {unit} a code", self.rows())));
        }
        let part = Part { shape: &self.shape, rows, rounding };
        let mut weights = match &self.storage {
            Storage::Sparse { mask, values } => values_of(values, &part, Some(mask)),
            storage => values_of(storage, &part, None),
        };
        rounding.round(dtype, &mut weights);
        Ok(weights)
    }
}

/// What becomes of products.
#[derive(Clone, Copy)]
enum Rounding {
    /// They are rounded to the type of what scales them.
    Declared,
    /// They stay what they are in f32.
    None,
}

impl Rounding {
    fn round(self, dtype: DataType, values: &mut [f32]) {
        match (self, dtype) {
            (Self::Declared, DataType::Float16) => {
                values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
            }
            (Self::Declared | Self::None, _) => {}
        }
    }
}

/// Some rows of a tensor.
struct Part<'s> {
    shape: &'s [usize],
    rows: Range<usize>,
    rounding: Rounding,
}

impl Part<'_> {
    /// Elements of a row.
    fn row(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The places of its elements among those of all rows.
    fn places(&self) -> Range<usize> {
        self.rows.start * self.row()..self.rows.end * self.row()
    }

    /// The rows of `blocks`, whose every dimension divides that of the shape, that these rows lie in.
    fn block_rows(&self, blocks: &[usize]) -> Range<usize> {
        match (self.shape.first(), blocks.first()) {
            (Some(&all), Some(&rows)) if !self.rows.is_empty() => {
                let size = all / rows;
                self.rows.start / size..(self.rows.end - 1) / size + 1
            }
            (None, None) => 0..1,
            _ => 0..0,
        }
    }

    /// Calls `visit` with each element's place in these rows, row-major, and its block's place in
    /// their [block rows](Self::block_rows).
    fn each_block(&self, blocks: &[usize], mut visit: impl FnMut(usize, usize)) {
        if self.shape.contains(&0) {
            return;
        }
        let block_row: usize = blocks.iter().skip(1).product();
        let before = self.block_rows(blocks).start * block_row;
        let mut at = vec![0; self.shape.len()];
        if let Some(first) = at.first_mut() {
            *first = self.rows.start;
        }
        for i in 0..self.places().len() {
            let dims = at.iter().zip(self.shape).zip(blocks);
            visit(i, dims.fold(0, |block, ((a, d), b)| block * b + a / (d / b)) - before);
            for (a, d) in at.iter_mut().zip(self.shape).rev() {
                *a += 1;
                if *a < *d {
                    break;
                }
                *a = 0;
            }
        }
    }

    /// Multiplies by blockwise scales, and rounds.
    fn multiply(&self, values: &mut [f32], scale: &Operand) {
        let factors = self.blocks_of(scale, 1);
        self.each_block(&scale.shape, |i, block| values[i] *= factors[block]);
        self.rounding.round(scale.dtype, values);
    }

    /// The elements of an operand that has `each` of them for each block, of these rows.
    fn blocks_of(&self, operand: &Operand, each: usize) -> Vec<f32> {
        let blocks = &operand.shape[..self.shape.len()];
        let row = blocks.iter().skip(1).product::<usize>() * each;
        let rows = self.block_rows(blocks);
        elements(operand, rows.start * row..rows.end * row)
    }
}

/// The weights of `storage`, which is not sparse itself; `mask` says which of its codes are stored.
fn values_of(storage: &Storage, part: &Part, mask: Option<&Operand>) -> Vec<f32> {
    match storage {
        Storage::Dense(values) => codes_of(values, part.places(), mask).0,
        Storage::Linear { codes, scale, offset } => {
            let (mut weights, mask) = codes_of(codes, part.places(), mask);
            if let Some(offset) = offset {
                let offsets = part.blocks_of(offset, 1);
                part.each_block(&offset.shape, |i, block| weights[i] -= offsets[block]);
            }
            part.multiply(&mut weights, scale);
            clear(&mut weights, mask, 1, 1);
            weights
        }
        Storage::Palette { indices, table, table_scale, vector_axis, channel_scale } => {
            let rank = part.shape.len();
            let (groups, vector) = (&table.shape[..rank], table.shape[rank + 1]);
            let entries = table.shape[rank];
            let mut coded = part.shape.to_vec();
            coded[*vector_axis] /= vector;
            let rows = match *vector_axis {
                0 => part.rows.start / vector..part.rows.end / vector,
                _ => part.rows.clone(),
            };
            let coded = Part { shape: &coded, rows, ..*part };
            let mut values = coded.blocks_of(table, entries * vector);
            if let Some(scale) = table_scale {
                let rows = coded.block_rows(groups);
                let tables = Part { shape: &table.shape, rows, ..*part };
                tables.multiply(&mut values, scale);
            }
            let inner: usize = coded.shape[vector_axis + 1..].iter().product();
            let (codes, mask) = codes_of(indices, coded.places(), mask);
            let mut weights = vec![0.0; codes.len() * vector];
            coded.each_block(groups, |i, group| {
                let entry = (group * entries + codes[i] as usize) * vector;
                for (v, &value) in values[entry..entry + vector].iter().enumerate() {
                    weights[vector_place(i, v, vector, inner)] = value;
                }
            });
            if let Some(scale) = channel_scale {
                part.multiply(&mut weights, scale);
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

/// The codes at these places: the next of those that are stored wherever the mask is set, zero
/// elsewhere; and what the mask says there.
fn codes_of(
    codes: &Operand,
    places: Range<usize>,
    mask: Option<&Operand>,
) -> (Vec<f32>, Option<Vec<bool>>) {
    let Some(mask) = mask else { return (elements(codes, places), None) };
    let first = set_bits(bytes_of(mask), places.start);
    let mask: Vec<bool> = elements(mask, places).iter().map(|&bit| bit != 0.0).collect();
    let kept = mask.iter().filter(|set| **set).count();
    let mut next = elements(codes, first..first + kept).into_iter();
    let pick = |&set: &bool| if set { next.next().expect("checked: one value a bit") } else { 0.0 };
    (mask.iter().map(pick).collect(), Some(mask))
}

/// Clears the weights of codes that the mask leaves out.
fn clear(weights: &mut [f32], mask: Option<Vec<bool>>, vector: usize, inner: usize) {
    for (i, _) in mask.unwrap_or_default().iter().enumerate().filter(|(_, set)| !**set) {
        for v in 0..vector {
            weights[vector_place(i, v, vector, inner)] = 0.0;
        }
    }
}

fn bytes_of(operand: &Operand) -> &[u8] {
    let Data::Bytes(bytes) = &operand.data else { unreachable!("checked: the bytes are here") };
    bytes
}

/// Some elements of an operand whose bytes are here, exactly.
fn elements(operand: &Operand, range: Range<usize>) -> Vec<f32> {
    use DataType::*;
    let bytes = bytes_of(operand);
    let packed = |bits: usize| {
        let code = move |i: usize| {
            let (byte, shift) = (i * bits / 8, i * bits % 8);
            let next = bytes.get(byte + 1).copied().unwrap_or(0);
            (u16::from_le_bytes([bytes[byte], next]) >> shift) & ((1 << bits) - 1)
        };
        range.clone().map(code)
    };
    match operand.dtype {
        UInt1 => packed(1).map(f32::from).collect(),
        UInt2 => packed(2).map(f32::from).collect(),
        UInt3 => packed(3).map(f32::from).collect(),
        UInt4 => packed(4).map(f32::from).collect(),
        UInt6 => packed(6).map(f32::from).collect(),
        Int4 => packed(4).map(|code| f32::from((code as i16) << 12 >> 12)).collect(),
        UInt8 => bytes[range].iter().map(|&b| f32::from(b)).collect(),
        Int8 => bytes[range].iter().map(|&b| f32::from(b as i8)).collect(),
        Float16 => {
            let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
            bytes[2 * range.start..2 * range.end].chunks_exact(2).map(half).collect()
        }
        Float32 => {
            let single = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            bytes[4 * range.start..4 * range.end].chunks_exact(4).map(single).collect()
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
            let unit = weight.rows_per_code();
            let rows = (0..weight.rows()).step_by(unit);
            let parts = rows.flat_map(|row| weight.dequantize_rows(row..row + unit).expect(name));
            assert_eq!(parts.collect::<Vec<_>>(), want, "{name}, by rows");
            assert!(weight.dequantize_rows(0..weight.rows() + 1).is_err(), "{name}");
        }
        let single = codes(Float32, &[1], &0.1f32.to_le_bytes());
        assert_eq!(Weight::dense(single).dequantize().unwrap(), [0.1]);
    }

    #[test]
    fn unrounded_products_are_exact_in_f32() {
        let tenth = f16::from_f32(0.1).to_f32();
        let (scale, int8) = (halves(&[1, 1], &[0.1]), codes(Int8, &[1, 1], &[127]));
        let linear = Storage::Linear { codes: int8, scale, offset: None };
        let weight = Weight { shape: vec![1, 1], storage: linear };
        assert_eq!(weight.unrounded().unwrap(), [127.0 * tenth]);
        assert_eq!(weight.dequantize().unwrap(), [12.695_312_5]);
        let table = Storage::Palette {
            indices: codes(UInt1, &[2, 1], &[0b10]),
            table: codes(Int8, &[1, 1, 2, 1], &[2, 253]),
            table_scale: Some(halves(&[1, 1, 1, 1], &[0.1])),
            vector_axis: 0,
            channel_scale: Some(halves(&[2, 1], &[0.1, 0.1])),
        };
        let weight = Weight { shape: vec![2, 1], storage: table };
        assert_eq!(weight.unrounded().unwrap(), [2.0 * tenth * tenth, -3.0 * tenth * tenth]);
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
