//! Linear codes chosen with errors fed back.

use super::{Layout, Linear, add};
use crate::Result;
use crate::metrics::Stats;
use crate::quantize::grid::Grid;
use crate::quantize::kernel::encode::{DecodeRow, Grids, Sums};
use crate::quantize::{Feedback, Params};
use half::f16;
use std::ops::Range;

impl Linear<'_> {
    /// As [`Linear::encode_with`], all rows at once.
    pub(super) fn encode_fed(
        &self,
        feedback: &Feedback,
        rows: Range<usize>,
        codes: &mut [u8],
        stats: Option<&mut Stats>,
    ) -> Result<Params> {
        let cols = self.weights.cols();
        let mut params = Params::default();
        let (mut scale, mut zero) = (Vec::new(), Vec::new());
        let mut look = self.look();
        for row in rows.clone() {
            let (grids, _) = look.at(row)?;
            scale.extend_from_slice(grids.scale);
            zero.extend_from_slice(grids.zero);
        }
        let grids = |row: usize| match self.layout {
            Layout::Rows { segment } => {
                let own = row * (cols / segment)..(row + 1) * (cols / segment);
                Grids { segment, scale: &scale[own.clone()], zero: &zero[own] }
            }
            Layout::Tensor { .. } | Layout::Columns { .. } => self.layout.grids(cols).0,
        };
        if let Layout::Rows { .. } = self.layout {
            self.push(&mut params, &scale, &zero);
        }

        let mut x = vec![0.0; codes.len()];
        self.weights.decode(rows.start * cols..rows.end * cols, &mut x);
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        let (low, high) = (f64::from(self.codes.min), f64::from(self.codes.max));
        let pick = |row: usize, col: usize, x: f64| {
            let Grid { scale, zero } = at(grids(row), col);
            let (scale, zero) = (f64::from(scale), f64::from(zero));
            let steps = (x / scale).round_ties_even().clamp(low - zero, high - zero);
            ((steps + zero) as i8 as u8, f16::from_f64(steps * scale).to_f64())
        };
        let output = feedback.assign(self.weights.rows(), rows.start, &x, &pick, codes);

        if let Some(stats) = stats {
            for (i, codes) in codes.chunks_exact(cols).enumerate() {
                add(stats, self.measured(&x[i * cols..(i + 1) * cols], grids(i), codes), cols);
                self.sample(stats, rows.start + i, grids(i), codes);
            }
            stats.output = [0, 1].map(|i| stats.output[i] + output[i]);
        }
        Ok(params)
    }

    /// The error sums of a row's codes.
    fn measured(&self, x: &[f64], grids: Grids, codes: &[u8]) -> Sums {
        let mut scratch = vec![0.0; x.len()];
        let mut decoded = vec![f16::ZERO; x.len()];
        self.kernel.run(DecodeRow { grids, codes, scratch: &mut scratch, out: &mut decoded });
        let mut sums = Sums::default();
        for (col, (&x, decoded)) in x.iter().zip(&decoded).enumerate() {
            let decoded = decoded.to_f64();
            let energy = (x - decoded).powi(2);
            sums.signal += x * x;
            sums.noise += energy;
            sums.decoded += decoded * decoded;
            sums.largest = sums.largest.max((x - decoded).abs() as f32);
            if at(grids, col).clips(self.codes, x as f32, x as f32) {
                sums.clipped += 1.0;
                sums.clipped_energy += energy;
            }
        }
        sums
    }
}

/// The grid of a column.
fn at(grids: Grids<'_>, col: usize) -> Grid {
    let place = col.checked_div(grids.segment).unwrap_or(col);
    Grid { scale: grids.scale[place], zero: grids.zero[place] }
}
