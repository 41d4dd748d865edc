//! Which form a weight takes.

use super::coded::{COLUMNS, Coded, Meaning, Numbers, Tables};
use super::dense::Dense;
use super::kernel::{Kernel, ROWS};
use super::pack::{Change, Stream};
use crate::graph::DataType;
use crate::graph::weight::{Bytes, Data, Operand, Storage, Weight};
use crate::{Error, Result};
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// A weight ready to be multiplied.
#[derive(Debug)]
pub(super) enum Form {
    /// Numbers, row by row.
    Dense(Dense),
    /// Codes in lane order.
    Coded(Coded),
}

impl Form {
    /// Some rows of a weight. Sparse weights, tables of vectors, and parameters that vary within sixteen
    /// columns, are decompressed.
    pub(super) fn new(weight: &Weight, rows: Range<usize>, kernel: Kernel) -> Result<Self> {
        weight.check().map_err(|why| Error::bug("Matrix", why))?;
        let late = |(_, o): &(_, &Operand)| matches!(o.data, Data::Later(_));
        if weight.storage.operands().iter().any(late) {
            return Err(Error::bug("Matrix", "the bytes are not here yet"));
        }
        if let Storage::Dense(values) = &weight.storage {
            return Self::dense(weight, values, rows);
        }
        let plan = Plan::new(weight, rows.clone());
        let coded = match &weight.storage {
            Storage::Linear { codes, scale, offset } => {
                plan.linear(codes, scale, offset.as_ref(), kernel)
            }
            Storage::Palette { indices, table, table_scale, vector_axis: _, channel_scale } => {
                let scales = [table_scale.as_ref(), channel_scale.as_ref()];
                plan.palette(indices, table, scales, kernel)
            }
            Storage::Dense(_) | Storage::Sparse { .. } => None,
        };
        match coded {
            Some(coded) => Ok(Self::Coded(coded)),
            None => Self::decompressed(weight, rows),
        }
    }

    fn dense(weight: &Weight, values: &Operand, rows: Range<usize>) -> Result<Self> {
        let size = match values.dtype {
            DataType::Float16 => 2,
            DataType::Float32 => 4,
            dtype => {
                let why = format!("{dtype} is no floating-point weight");
                return Err(Error::bug("Matrix", why));
            }
        };
        let cols = weight.shape.iter().skip(1).product();
        let part = rows.start * cols * size..rows.end * cols * size;
        let bytes = bytes(values).slice(part).expect("checked: all bytes are here");
        let shape = [rows.len(), cols];
        Ok(Self::Dense(Dense { shape, bytes, half: size == 2, owned: false }))
    }

    fn decompressed(weight: &Weight, rows: Range<usize>) -> Result<Self> {
        let cols: usize = weight.shape.iter().skip(1).product();
        let values = weight.unrounded()?;
        let values = &values[rows.start * cols..rows.end * cols];
        let half = values.iter().all(|&x| f16::from_f32(x).to_f32().to_bits() == x.to_bits());
        let bytes: Vec<u8> = if half {
            values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
        let shape = [rows.len(), cols];
        Ok(Self::Dense(Dense { shape, bytes: bytes.into(), half, owned: true }))
    }
}

fn bytes(operand: &Operand) -> &Bytes {
    match &operand.data {
        Data::Bytes(bytes) => bytes,
        Data::Later(_) => unreachable!("checked: the bytes are here"),
    }
}

/// A floating-point parameter, or a table's entry.
fn number(operand: &Operand, i: usize) -> f32 {
    let bytes = bytes(operand);
    match operand.dtype {
        DataType::Float16 => f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32(),
        DataType::Int8 => f32::from(bytes[i] as i8),
        DataType::UInt8 => f32::from(bytes[i]),
        _ => f32::from_le_bytes(*bytes[4 * i..].first_chunk().expect("checked: all bytes")),
    }
}

/// How parameters of this shape group a weight: the number of groups of rows, and of runs of
/// columns. `None` if they vary along the kernel's taps.
fn grid(shape: &[usize]) -> Option<[usize; 2]> {
    let taps = shape.get(2..).unwrap_or_default();
    let rows = *shape.first()?;
    taps.iter().all(|&d| d == 1).then(|| [rows, shape.get(1).copied().unwrap_or(1)])
}

/// The shape of a matrix in the making.
struct Plan {
    rows: Range<usize>,
    all_rows: usize,
    cols: usize,
}

impl Plan {
    fn new(weight: &Weight, rows: Range<usize>) -> Self {
        let cols = weight.shape.iter().skip(1).product();
        Self { rows, all_rows: weight.shape.first().copied().unwrap_or(0), cols }
    }

    /// Units of a segment where columns fall into `count` runs; `None` if those are not whole units.
    fn run(&self, count: usize) -> Option<usize> {
        let columns = self.cols / count.max(1);
        (count == 1 || columns.is_multiple_of(COLUMNS)).then(|| columns.div_ceil(COLUMNS).max(1))
    }

    /// `[panels, segments, 16]` from parameters that are grouped so, with `value(i)` the i-th.
    fn spread<T: Copy + Default + Send>(
        &self,
        [row_groups, runs]: [usize; 2],
        segments: usize,
        value: impl Fn(usize) -> T + Sync,
    ) -> Vec<T> {
        let per_group = self.all_rows / row_groups.max(1);
        let mut out = vec![T::default(); self.rows.len().div_ceil(ROWS) * segments * ROWS];
        let panels = out.par_chunks_mut((segments * ROWS).max(1)).enumerate();
        panels.with_min_len(16).for_each(|(panel, out)| {
            let from = self.rows.start + panel * ROWS;
            for (lane, n) in (from..self.rows.end.min(from + ROWS)).enumerate() {
                let first = n / per_group * runs;
                for (segment, out) in out[lane..].iter_mut().step_by(ROWS).enumerate() {
                    *out = value(first + if runs > 1 { segment } else { 0 });
                }
            }
        });
        out
    }

    /// Scales in their own precision.
    fn scales(&self, scale: &Operand, grid: [usize; 2], segments: usize) -> Numbers {
        let raw = bytes(scale);
        match scale.dtype {
            DataType::Float16 => Numbers::Half(
                self.spread(grid, segments, |i| u16::from_le_bytes([raw[2 * i], raw[2 * i + 1]])),
            ),
            _ => Numbers::Single(self.spread(grid, segments, |i| number(scale, i))),
        }
    }

    fn stream<'a>(&self, codes: &'a Operand, change: Change<'a>) -> Stream<'a> {
        let bits = codes.dtype.bits().expect("codes are numbers") as usize;
        Stream { bytes: bytes(codes), bits, cols: self.cols, rows: self.rows.clone(), change }
    }

    /// `scale · (codes − offset)`.
    fn linear(
        &self,
        codes: &Operand,
        scale: &Operand,
        offset: Option<&Operand>,
        kernel: Kernel,
    ) -> Option<Coded> {
        use DataType::{Int4, Int8, UInt4, UInt8};
        let (bits, unsigned) = match codes.dtype {
            Int8 => (8, false),
            UInt8 => (8, true),
            Int4 => (4, false),
            UInt4 => (4, true),
            _ => return None,
        };
        let grid = grid(&scale.shape)?;
        // Scales of columns alone become factors of the activations.
        let by_column = grid[0] == 1 && grid[1] > 1 && offset.is_none();
        let columns = by_column.then(|| {
            let run = self.cols / grid[1];
            (0..self.cols).map(|k| number(scale, k / run)).collect()
        });
        let run = self.run(if by_column { 1 } else { grid[1] })?;
        let segments = self.cols.div_ceil(COLUMNS).div_ceil(run);
        // Unsigned bytes are stored 128 less, and so is what is subtracted from them.
        let turned = if bits == 8 && unsigned { 128 } else { 0 };
        let offset = match offset {
            None if turned == 0 => None,
            None => Some(self.spread([1, 1], segments, |_| -128)),
            Some(offset) => {
                let raw = bytes(offset);
                let nibble = |i: usize| raw[i / 2] >> (i % 2 * 4) & 15;
                Some(match offset.dtype {
                    Int8 if turned == 0 => self.spread(grid, segments, |i| raw[i] as i8),
                    UInt8 if turned == 128 => {
                        self.spread(grid, segments, |i| (raw[i] ^ 0x80) as i8)
                    }
                    Int4 => self.spread(grid, segments, |i| (nibble(i) << 4) as i8 >> 4),
                    UInt4 => self.spread(grid, segments, |i| nibble(i) as i8),
                    _ => return None,
                })
            }
        };
        let change = if turned == 128 { Change::Turn } else { Change::None };
        let meaning = match bits {
            8 => Meaning::Itself,
            _ => {
                let integer =
                    |code: u8| if unsigned { code } else { ((code << 4) as i8 >> 4) as u8 };
                Meaning::Integers(Tables {
                    entries: (0..16).map(integer).collect(),
                    size: 16,
                    start: vec![0; self.rows.len().next_multiple_of(ROWS)],
                    by_segment: false,
                })
            }
        };
        let coded = Coded {
            shape: [self.rows.len(), self.cols],
            bits,
            plane: self.stream(codes, change).pack(bits),
            run,
            meaning,
            offset,
            scale: (!by_column).then(|| self.scales(scale, grid, segments)),
            columns,
            integer: None,
        };
        Some(coded.with_sums(kernel))
    }

    /// `table[group, index]`, times the scales of tables and of channels.
    fn palette(
        &self,
        indices: &Operand,
        table: &Operand,
        [table_scale, channel_scale]: [Option<&Operand>; 2],
        kernel: Kernel,
    ) -> Option<Coded> {
        let rank = table.shape.len() - 2;
        let (entries, vector) = (table.shape[rank], table.shape[rank + 1]);
        let groups = grid(&table.shape[..rank])?;
        let channels = channel_scale.map_or(Some([1, 1]), |scale| grid(&scale.shape))?;
        if vector != 1 || channels[1] != 1 {
            return None;
        }
        let run = self.run(groups[1])?;
        let segments = self.cols.div_ceil(COLUMNS).div_ceil(run);
        let start = |size: usize| -> Option<Vec<u32>> {
            let first = |group: usize| u32::try_from(group * groups[1] * size);
            first(groups[0]).ok()?;
            let per_group = self.all_rows / groups[0];
            let mut all = vec![0; self.rows.len().next_multiple_of(ROWS)];
            for (start, n) in all.iter_mut().zip(self.rows.clone()) {
                *start = first(n / per_group).expect("less than the last");
            }
            // Rows that pad share the table of the last.
            let last = all[self.rows.len().saturating_sub(1)..].first().copied().unwrap_or(0);
            all[self.rows.len()..].fill(last);
            Some(all)
        };
        let stored = match indices.dtype.bits()? {
            bits @ (6 | 8) => bits as usize,
            _ => 4,
        };
        let size = entries.max(16);
        let starts = start(size)?;
        let shared = starts.chunks(ROWS).all(|rows| rows.iter().all(|&start| start == rows[0]));
        let by_segment = groups[1] > 1;
        let integers = table.dtype == DataType::Int8 && table_scale.or(channel_scale).is_some();
        let shape = [self.rows.len(), self.cols];
        let made = |bits, plane, meaning, scale| Coded {
            shape,
            bits,
            plane,
            run,
            meaning,
            offset: None,
            scale,
            columns: None,
            integer: None,
        };
        if integers {
            let scale = match (table_scale, channel_scale) {
                (Some(scale), None) => self.scales(scale, groups, segments),
                (None, Some(scale)) => self.scales(scale, channels, segments),
                (table, channel) => {
                    let of = |operand: Option<&Operand>, grid| match operand {
                        Some(operand) => self.spread(grid, segments, |i| number(operand, i)),
                        None => self.spread([1, 1], segments, |_| 1.0),
                    };
                    let (tables, channels) = (of(table, groups), of(channel, channels));
                    Numbers::Single(tables.iter().zip(&channels).map(|(a, b)| a * b).collect())
                }
            };
            let raw = bytes(table);
            let (bits, plane, meaning) = if stored == 4 && shared {
                let mut all = vec![0; raw.len() / entries * size];
                for (to, from) in all.chunks_exact_mut(size).zip(raw.chunks_exact(entries)) {
                    to[..entries].copy_from_slice(from);
                }
                let tables = Tables { entries: all, size, start: starts, by_segment };
                (4, self.stream(indices, Change::None).pack(4), Meaning::Integers(tables))
            } else {
                // The entries take the place of their indices.
                let per_group = self.all_rows / groups[0];
                let columns = self.cols / groups[1];
                let entry = |row: usize, column: usize| {
                    let group = row / per_group * groups[1] + column / columns;
                    &raw[group * entries..][..entries]
                };
                (8, self.stream(indices, Change::LookUp(&entry)).pack(8), Meaning::Itself)
            };
            return Some(made(bits, plane, meaning, Some(scale)).with_sums(kernel));
        }
        let tables = table.elements() / entries;
        let mut all = vec![0.0; tables * size];
        for (group, out) in all.chunks_exact_mut(size).enumerate() {
            let scale = table_scale.map_or(1.0, |scale| number(scale, group));
            for (i, out) in out[..entries].iter_mut().enumerate() {
                *out = number(table, group * entries + i) * scale;
            }
        }
        all.resize(all.len() + 256, 0.0);
        let half = |&x: &f32| f16::from_f32(x);
        let exact = all.iter().all(|x| half(x).to_f32().to_bits() == x.to_bits());
        let meaning = if shared && stored != 4 && exact {
            let entries = all.iter().map(|x| half(x).to_bits()).collect();
            Meaning::Halves(Tables { entries, size, start: starts, by_segment })
        } else {
            let tables = Tables { entries: all, size, start: starts, by_segment };
            if shared && stored == 4 { Meaning::Sixteen(tables) } else { Meaning::Numbers(tables) }
        };
        let plane = self.stream(indices, Change::None).pack(stored);
        let scale = channel_scale.map(|scale| self.scales(scale, channels, segments));
        Some(made(stored, plane, meaning, scale))
    }
}

impl Coded {
    /// Readies it for products of integers, if its parameters allow them: one scale a row, and sums
    /// that fit i32 whatever the codes.
    fn with_sums(mut self, kernel: Kernel) -> Self {
        let [_, cols] = self.shape;
        let largest = if self.offset.is_some() { 255 } else { 128 };
        let fits = cols.next_multiple_of(COLUMNS).checked_mul(largest * 255);
        let fits = fits.is_some_and(|sum| sum <= i32::MAX as usize);
        if fits && self.segments() <= 1 && self.columns.is_none() {
            self.integer = Some(self.sum_rows(kernel));
        }
        self
    }
}
