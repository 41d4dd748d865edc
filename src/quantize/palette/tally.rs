//! Error statistics of encoded lines, weight by weight.

use super::shape::{Line, Shape};
use super::table::Table;
use crate::metrics::{Stats, sample_stride};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Statistics being gathered, with scratch that lines share.
pub(super) struct Tally {
    stats: Stats,
    shape: Shape,
    stride: usize,
    decoded: Vec<f32>,
    halves: Vec<f16>,
    errors: Vec<f32>,
}

impl Tally {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            stats: Stats::default(),
            shape: *shape,
            stride: sample_stride(shape.rows * shape.cols),
            decoded: Vec::new(),
            halves: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Adds a line that starts at `row`, its indices, and its tables in order.
    pub(super) fn add<'t>(
        &mut self,
        line: &Line,
        codes: &[u8],
        tables: impl Iterator<Item = &'t Table>,
        row: usize,
    ) {
        let (v, run, points) = (self.shape.vector, self.shape.run(), codes.len());
        self.decoded.resize(points * v, 0.0);
        for (j, (run_codes, table)) in codes.chunks_exact(run).zip(tables).enumerate() {
            for d in 0..v {
                let out = &mut self.decoded[d * points + j * run..][..run];
                for (out, &code) in out.iter_mut().zip(run_codes) {
                    *out = table.values[usize::from(code) * v + d].to_f32() * line.scale[d];
                }
            }
        }
        // Products with a channel's scale are rounded as every reader rounds them.
        self.halves.resize(points * v, f16::ZERO);
        self.halves.convert_from_f32_slice(&self.decoded);
        self.halves.convert_to_f32_slice(&mut self.decoded);
        let stats = &mut self.stats;
        stats.weights += line.x.len() as u64;
        self.errors.clear();
        for (&x, &decoded) in line.x.iter().zip(&self.decoded) {
            let (x, decoded) = (f64::from(x), f64::from(decoded));
            let e = x - decoded;
            stats.signal += x * x;
            stats.noise += e * e;
            stats.decoded += decoded * decoded;
            stats.max_error = stats.max_error.max(e.abs());
            self.errors.push(e as f32);
        }
        if row.is_multiple_of(self.stride) {
            stats.counted += line.x.len() as u64;
            stats.errors.add_all(&self.errors);
            codes.iter().for_each(|&code| stats.add_code(code, 1));
        }
    }

    pub(super) fn finish(self) -> Stats {
        self.stats
    }
}
