//! SQNR against the range, on a sample.

use super::columns::{gather, of_channel};
use super::tensor::extent;
use super::{Grid, Ranger};
use crate::metrics::sqnr_db;
use crate::quantize::Importance;
use crate::quantize::grid::Codes;
use crate::quantize::importance::shares;
use crate::quantize::kernel::Kernel;
use crate::quantize::kernel::search::RowNoise;
use crate::quantize::{ClipCurve, ClipPoint};
use crate::scheme::Clip;
use crate::tensor::Weights;

/// Shares of the absolute maximum.
const FACTORS: [f64; 18] = [
    1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2,
    0.15,
];

/// Weights of a sample, unless a single row or channel has more.
const SAMPLE: usize = 1 << 16;

/// What the sample is cut into, and which grids were chosen for it.
pub(in crate::quantize) enum Sampled {
    /// Rows, each in segments of this many weights with a grid of their own.
    Rows { segment: usize },
    /// Rows, all with this grid.
    Tensor(Grid),
    /// Input channels.
    Columns,
}

/// Measures shrunk ranges, and the chosen ones, on evenly spaced rows or input channels: plain SQNR, also
/// where importances chose.
pub(in crate::quantize) fn curve(
    kernel: Kernel,
    weights: &Weights,
    codes: Codes,
    clip: Clip,
    importance: Option<&Importance>,
    sampled: Sampled,
) -> ClipCurve {
    let (cols, dtype) = (weights.cols(), weights.dtype);
    let (lines, length) = match sampled {
        Sampled::Rows { .. } | Sampled::Tensor(_) => (weights.rows(), cols),
        Sampled::Columns => (weights.shape[1], weights.rows() * weights.taps()),
    };
    let segment = match sampled {
        Sampled::Rows { segment } => segment,
        Sampled::Tensor(_) | Sampled::Columns => length,
    };
    let whole = match sampled {
        Sampled::Tensor(_) => {
            let (low, high) = extent(kernel, weights);
            Some(if codes.asymmetric { (low, high) } else { (-high.max(-low), high.max(-low)) })
        }
        Sampled::Rows { .. } | Sampled::Columns => None,
    };
    let taken = (SAMPLE / length).clamp(1, lines);
    let mut signal = 0.0;
    let mut noise = [0.0; FACTORS.len()];
    let mut chosen_noise = 0.0;
    let mut chosen_factors = Vec::new();
    let mut cover = Ranger::new(kernel, dtype, codes, Clip::None, length, segment);
    let mut choose = Ranger::new(kernel, dtype, codes, clip, length, segment);
    let mut values = vec![0.0; length];
    for i in 0..taken {
        let line = i * lines / taken;
        let gathered;
        let bytes = match sampled {
            Sampled::Rows { .. } | Sampled::Tensor(_) => {
                weights.slice(line * cols..(line + 1) * cols)
            }
            Sampled::Columns => {
                gathered = gather(weights, line..line + 1);
                &gathered
            }
        };
        // Where a weight is not finite, encoding has said so.
        if cover.look(bytes, &[]).is_none() {
            continue;
        }
        crate::tensor::decode(dtype, bytes, &mut values);
        signal += values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let row_noise = |scale: &[f32], zero: &[f32]| {
            kernel.run(RowNoise { dtype, bytes, segment, codes, scale, zero, importance: &[] })
        };
        if let Sampled::Tensor(grid) = sampled {
            chosen_noise += row_noise(&[grid.scale], &[grid.zero]);
        } else {
            let importance = match sampled {
                Sampled::Columns => of_channel(weights, importance, line),
                Sampled::Rows { .. } | Sampled::Tensor(_) => {
                    importance.map(|i| shares(i.row(line)).collect()).unwrap_or_default()
                }
            };
            let _ = choose.look(bytes, &importance);
            chosen_noise += row_noise(&choose.scale, &choose.zero);
            let shares = choose.scale.iter().zip(&cover.scale).map(|(c, w)| f64::from(c / w));
            chosen_factors.extend(shares);
        }
        let (mut scale, mut zero) = (cover.scale.clone(), cover.zero.clone());
        for (noise, factor) in noise.iter_mut().zip(FACTORS) {
            for j in 0..scale.len() {
                let (low, high) = whole.unwrap_or_else(|| cover.extent(j));
                let factor = factor as f32;
                let grid = Grid::covering(codes, low * factor, high * factor);
                (scale[j], zero[j]) = (grid.scale, grid.zero);
            }
            *noise += row_noise(&scale, &zero);
        }
    }
    if let (Sampled::Tensor(grid), Some((low, high))) = (&sampled, whole) {
        let cover = Grid::covering(codes, low, high);
        chosen_factors.push(f64::from(grid.scale / cover.scale));
    }
    chosen_factors.sort_by(f64::total_cmp);
    let median = chosen_factors.get(chosen_factors.len() / 2).copied().unwrap_or(1.0);
    let points = FACTORS.iter().zip(noise);
    let point = |(&factor, noise)| ClipPoint { factor, sqnr_db: sqnr_db(signal, noise) };
    ClipCurve {
        points: points.map(point).collect(),
        chosen: ClipPoint { factor: median, sqnr_db: sqnr_db(signal, chosen_noise) },
    }
}
