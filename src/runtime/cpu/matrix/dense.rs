//! Plain weights, read as they are stored: where the package is mapped.

use super::coded::COLUMNS;
use super::float::Panels;
use super::kernel::{ROWS, Simd};
use crate::graph::weight::Bytes;
use std::ops::Range;

/// A row-major matrix of FP16 or FP32.
#[derive(Debug)]
pub(super) struct Dense {
    /// `[N, K]`.
    pub(super) shape: [usize; 2],
    /// Little-endian numbers, at any address.
    pub(super) bytes: Bytes,
    /// FP16, or else FP32.
    pub(super) half: bool,
    /// Whether the bytes are its own, and not the package's.
    pub(super) owned: bool,
}

impl Dense {
    /// The bytes of some columns of a row.
    #[inline(always)]
    fn row(&self, row: usize, cols: Range<usize>) -> &[u8] {
        let size = if self.half { 2 } else { 4 };
        &self.bytes[(row * self.shape[1] + cols.start) * size..][..cols.len() * size]
    }
}

/// Sixteen numbers of a row, or as many as are left, followed by zeros.
#[inline(always)]
fn load<S: Simd>(s: S, half: bool, bytes: &[u8]) -> S::Row {
    if half {
        let mut bits = [0; ROWS];
        for (bits, bytes) in bits.iter_mut().zip(bytes.as_chunks().0) {
            *bits = u16::from_le_bytes(*bytes);
        }
        s.half(&bits)
    } else {
        let mut x = [0.0; ROWS];
        for (x, bytes) in x.iter_mut().zip(bytes.as_chunks().0) {
            *x = f32::from_le_bytes(*bytes);
        }
        s.get(&x)
    }
}

impl Panels for Dense {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn unit(&self) -> f32 {
        1.0
    }

    #[inline(always)]
    fn multiply_one<S: Simd>(&self, s: S, panel: usize, x: &[[f32; COLUMNS]]) -> [f32; ROWS] {
        let [rows, cols] = self.shape;
        let size = if self.half { 2 } else { 4 };
        let first = panel * ROWS;
        let mut out = [0.0; ROWS];
        for (row, out) in (first..rows.min(first + ROWS)).zip(&mut out) {
            let bytes = self.row(row, 0..cols);
            let mut sums = [s.splat(0.0); 4];
            let (quads, rest) = x.split_at(cols / (4 * COLUMNS) * 4);
            let whole = bytes.chunks_exact(4 * COLUMNS * size);
            let left = whole.remainder();
            for (bytes, x) in whole.zip(quads.as_chunks::<4>().0) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let part = &bytes[i * COLUMNS * size..][..COLUMNS * size];
                    *sum = s.fma(*sum, load(s, self.half, part), s.get(&x[i]));
                }
            }
            for (bytes, x) in left.chunks(COLUMNS * size).zip(rest) {
                sums[0] = s.fma(sums[0], load(s, self.half, bytes), s.get(x));
            }
            let mut lanes = [0.0; ROWS];
            s.put(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])), &mut lanes);
            *out = lanes.iter().sum();
        }
        out
    }

    #[inline(always)]
    fn convert<S: Simd>(&self, s: S, panel: usize, units: Range<usize>, out: &mut [[f32; ROWS]]) {
        let [rows, cols] = self.shape;
        let first = panel * ROWS;
        for (unit, out) in units.zip(out.as_chunks_mut::<COLUMNS>().0) {
            let from = unit * COLUMNS;
            let to = cols.min(from + COLUMNS);
            let mut square = [[0.0; COLUMNS]; ROWS];
            for (row, square) in (first..rows.min(first + ROWS)).zip(&mut square) {
                s.put(load(s, self.half, self.row(row, from..to)), square);
            }
            // Four by four, so that both sides are read and written in vectors.
            for (n, rows) in square.as_chunks::<4>().0.iter().enumerate() {
                for (k, columns) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    for i in 0..4 {
                        for j in 0..4 {
                            columns[i][4 * n + j] = rows[j][4 * k + i];
                        }
                    }
                }
            }
        }
    }
}
