//! Slices of `x` by index. Of a compressed table only the rows that are asked for are decoded.

use super::{Io, Step};
use crate::graph::DataType;
use crate::graph::weight::{Bytes, Data, Operand, Storage, Weight};
use crate::runtime::cpu::blocks;
use crate::runtime::cpu::buffers::{Buffers, Kind, Place};
use crate::runtime::cpu::matrix::unpack;
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::reference::outside;
use crate::tensor::{FloatType, decode};

/// `gather` without shared batch dimensions; the rest is left to the reference.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    if node.kind() != "gather" || node.int("batch_dims")? != 0 {
        return Ok(None);
    }
    let (x, to) = (node.shape("x")?, outputs[0]);
    let axis = node.axis("axis", x.len())?;
    let indices = planner.argument(node, "indices")?;
    let (size, inner) = (x[axis], x[axis + 1..].iter().product::<usize>());
    let table = node.weight("x").filter(|_| axis == 0).and_then(Table::new);
    if let Some(table) = table {
        return Ok(Some(Box::new(move |io: &mut Io<'_>| {
            let (buffers, out) = (io.buffers, io.outputs[0].floats_mut(to.len));
            check(buffers, indices, size)?;
            blocks::rows(out, inner, 8 * inner, |i, row| {
                table.decode(place(buffers, indices, i, size), row);
            });
            Ok(())
        })));
    }
    let from = planner.argument(node, "x")?;
    Ok(Some(Box::new(move |io: &mut Io<'_>| {
        let (buffers, out) = (io.buffers, &mut io.outputs[0]);
        check(buffers, indices, size)?;
        let row = |i: usize| {
            let (outer, i) = (i / indices.len.max(1), i % indices.len.max(1));
            (outer * size + place(buffers, indices, i, size)) * inner
        };
        match to.kind {
            Kind::Float => copy(buffers.floats(from), out.floats_mut(to.len), inner, row),
            Kind::Int => copy(buffers.ints(from), out.ints_mut(to.len), inner, row),
            Kind::Bool => copy(buffers.bools(from), out.bools_mut(to.len), inner, row),
            Kind::Code => copy(buffers.codes(from), out.codes_mut(to.len), inner, row),
        }
        Ok(())
    })))
}

fn copy<T: Copy + Send + Sync>(
    from: &[T],
    to: &mut [T],
    inner: usize,
    row: impl Fn(usize) -> usize + Sync,
) {
    blocks::rows(to, inner, inner, |i, to| to.copy_from_slice(&from[row(i)..][..to.len()]));
}

fn index(buffers: &Buffers, indices: Place, i: usize) -> i64 {
    match indices.kind {
        Kind::Code => buffers.codes(indices)[i].into(),
        _ => buffers.ints(indices)[i].into(),
    }
}

/// The slice of an index that was checked; one below 0 counts from the end.
fn place(buffers: &Buffers, indices: Place, i: usize, size: usize) -> usize {
    let index = index(buffers, indices, i);
    (if index < 0 { index + size as i64 } else { index }) as usize
}

fn check(buffers: &Buffers, indices: Place, size: usize) -> Found<()> {
    let bound = size as i64;
    let mut all = (0..indices.len).map(|i| index(buffers, indices, i));
    match all.find(|index| !(-bound..bound).contains(index)) {
        Some(index) => Err(outside(index, size)),
        None => Ok(()),
    }
}

/// A weight whose rows can be decoded one by one, where it lies.
struct Table {
    cols: usize,
    values: Elements,
    rest: Rest,
}

/// What turns a stored element into a weight.
enum Rest {
    Dense,
    Linear { scale: Blocks, offset: Option<Blocks> },
    Palette { table: Blocks, entries: usize, scale: Option<Blocks>, channel: Option<Blocks> },
}

/// The most entries of a table.
const ENTRIES: usize = 256;

/// Packed elements.
struct Elements {
    bytes: Bytes,
    dtype: DataType,
}

/// Parameters that are shared by blocks of rows and columns.
struct Blocks {
    values: Elements,
    /// Rows and columns of the weight to a block, and blocks side by side.
    rows: usize,
    cols: usize,
    across: usize,
}

impl Table {
    /// `None` for forms whose rows do not lie together.
    fn new(weight: &Weight) -> Option<Self> {
        weight.check().ok()?;
        let (&rows, inner) = weight.shape.split_first()?;
        let cols: usize = inner.iter().product();
        let matrix = inner.len() == 1;
        let blocks = |operand: &Operand| Blocks::new(operand, rows, cols);
        let optional = |operand: &Option<Operand>| match operand {
            Some(operand) => blocks(operand).map(Some),
            None => Some(None),
        };
        let (values, rest) = match &weight.storage {
            Storage::Dense(values) => (values, Rest::Dense),
            Storage::Linear { codes, scale, offset } if matrix => {
                (codes, Rest::Linear { scale: blocks(scale)?, offset: optional(offset)? })
            }
            Storage::Palette { indices, table, table_scale, channel_scale, .. }
                if matrix && table.shape[2] <= ENTRIES && table.shape[3] == 1 =>
            {
                let entries = table.shape[2];
                let (scale, channel) = (optional(table_scale)?, optional(channel_scale)?);
                (indices, Rest::Palette { table: blocks(table)?, entries, scale, channel })
            }
            Storage::Linear { .. } | Storage::Palette { .. } | Storage::Sparse { .. } => {
                return None;
            }
        };
        let float = matches!(weight.storage.dtype(), DataType::Float16 | DataType::Float32);
        let values = Elements::new(values)?;
        float.then_some(Self { cols, values, rest })
    }

    /// One row: the formulas of [`Weight::unrounded`].
    fn decode(&self, row: usize, to: &mut [f32]) {
        self.values.read(row * self.cols, to);
        match &self.rest {
            Rest::Dense => {}
            Rest::Linear { scale, offset } => {
                if let Some(offset) = offset {
                    offset.each(row, to, |part, offset| part.iter_mut().for_each(|x| *x -= offset));
                }
                scale.multiply(row, to);
            }
            Rest::Palette { table, entries, scale, channel } => {
                for (block, part) in table.parts(row, to) {
                    let mut lut = [0.0; ENTRIES];
                    table.values.read(block * entries, &mut lut[..*entries]);
                    part.iter_mut().for_each(|x| *x = lut[*x as usize]);
                }
                for by in [scale, channel].into_iter().flatten() {
                    by.multiply(row, to);
                }
            }
        }
    }
}

impl Blocks {
    fn new(operand: &Operand, rows: usize, cols: usize) -> Option<Self> {
        let (&down, &across) = (operand.shape.first()?, operand.shape.get(1)?);
        let values = Elements::new(operand)?;
        let size = |all: usize, blocks: usize| (all / blocks.max(1)).max(1);
        Some(Self { values, rows: size(rows, down), cols: size(cols, across), across })
    }

    /// The parts of a row of the weight, each with its block's number.
    fn parts<'a>(
        &self,
        row: usize,
        to: &'a mut [f32],
    ) -> impl Iterator<Item = (usize, &'a mut [f32])> {
        let first = row / self.rows * self.across;
        to.chunks_mut(self.cols).enumerate().map(move |(i, part)| (first + i, part))
    }

    /// The parts of a row, each with its block's parameter.
    fn each(&self, row: usize, to: &mut [f32], change: impl Fn(&mut [f32], f32)) {
        for (block, part) in self.parts(row, to) {
            let mut parameter = [0.0];
            self.values.read(block, &mut parameter);
            change(part, parameter[0]);
        }
    }

    /// Multiplies a row by its blocks' scales.
    fn multiply(&self, row: usize, to: &mut [f32]) {
        self.each(row, to, |part, scale| part.iter_mut().for_each(|x| *x *= scale));
    }
}

impl Elements {
    fn new(operand: &Operand) -> Option<Self> {
        match &operand.data {
            Data::Bytes(bytes) => Some(Self { bytes: bytes.clone(), dtype: operand.dtype }),
            Data::Later(_) => None,
        }
    }

    /// Elements number `from` and on, exactly.
    fn read(&self, from: usize, to: &mut [f32]) {
        let plain = |size: usize| &self.bytes[from * size..][..to.len() * size];
        match self.dtype {
            DataType::Float16 => decode(FloatType::F16, plain(2), to),
            DataType::Float32 => decode(FloatType::F32, plain(4), to),
            dtype => {
                let bits = dtype.bits().unwrap_or(8) as usize;
                let mut codes = [0; 256];
                for (i, to) in to.chunks_mut(codes.len()).enumerate() {
                    let codes = &mut codes[..to.len()];
                    unpack(&self.bytes, bits, from + i * 256, codes);
                    let pairs = to.iter_mut().zip(codes);
                    match dtype {
                        DataType::Int8 => pairs.for_each(|(to, code)| *to = f32::from(*code as i8)),
                        DataType::Int4 => {
                            pairs.for_each(|(to, code)| *to = f32::from((*code << 4) as i8 >> 4));
                        }
                        _ => pairs.for_each(|(to, code)| *to = f32::from(*code)),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Scheme;
    use half::f16;

    #[test]
    fn rows_are_those_of_the_whole_weight() {
        let shape = [8, 32];
        for scheme in [
            "float16",
            "float32",
            "linear-int8",
            "linear-int8,tensor",
            "linear-int4,block:8",
            "linear-int8,asymmetric",
            "palette-8",
            "palette-6",
            "palette-4,group:4",
            "palette-3",
            "palette-4,group:8,axis:1",
            "palette-4,lut-int8",
            "palette-2,channel-scale",
        ] {
            let parsed: Scheme = scheme.parse().expect(scheme);
            let mut weight =
                Weight { shape: shape.to_vec(), storage: Storage::planned(parsed, &shape, 0) };
            fill(&mut weight.storage);
            let table = Table::new(&weight).expect(scheme);
            let want = weight.unrounded().expect(scheme);
            for row in [0, 3, 7] {
                let mut got = [0.0; 32];
                table.decode(row, &mut got);
                assert_eq!(got, want[row * 32..(row + 1) * 32], "{scheme}, row {row}");
            }
        }
    }

    /// Gives every operand some bytes; of floating-point numbers such between 0.5 and 2.
    fn fill(storage: &mut Storage) {
        let operands: Vec<&mut Operand> = match storage {
            Storage::Dense(values) => vec![values],
            Storage::Linear { codes, scale, offset } => {
                [codes, scale].into_iter().chain(offset).collect()
            }
            Storage::Palette { indices, table, table_scale, channel_scale, .. } => {
                [indices, table].into_iter().chain(table_scale).chain(channel_scale).collect()
            }
            Storage::Sparse { .. } => vec![],
        };
        for (n, operand) in operands.into_iter().enumerate() {
            let number = |i: usize| 0.5 + ((i * 37 + n * 11) % 97) as f32 / 64.0;
            let bytes: Vec<u8> = match operand.dtype {
                DataType::Float16 => (0..operand.elements())
                    .flat_map(|i| f16::from_f32(number(i)).to_le_bytes())
                    .collect(),
                DataType::Float32 => {
                    (0..operand.elements()).flat_map(|i| number(i).to_le_bytes()).collect()
                }
                _ => {
                    (0..operand.byte_len()).map(|i| (i as u8).wrapping_mul(73) ^ n as u8).collect()
                }
            };
            operand.data = Data::Bytes(bytes.into());
        }
    }
}
