//! How much memory a run will take, from the plan alone.

use super::files;
use super::run::{self, STRIP};
use super::window::{self, Extent};
use crate::plan::memory::Memory;
use crate::plan::{Plan, PlannedTensor};
use crate::scheme::{LinearGranularity, PaletteGranularity, Scheme};
use crate::source::SourceTensor;
use crate::tensor::FloatType;

/// The program itself, its allocator and its stacks.
const PROGRAM: u64 = 8 << 20;

/// Headers, plan, report and messages of one tensor.
const TENSOR: u64 = 8 << 10;

/// What a run of this plan holds at once; `tensors` are those of the source, in the same order.
pub(super) fn memory(plan: &Plan, tensors: &[SourceTensor]) -> Memory {
    let extents: Vec<Extent> = plan.tensors.iter().map(run::extent).collect();
    let code_len = |t: usize| {
        let [rows, cols] = files::code_matrix(&plan.tensors[t]);
        (rows * cols) as u64
    };
    let fits = plan.tensors.iter().zip(tensors).map(|(p, t)| fit_bytes(p, t.float_type()));
    let params =
        |t: usize| plan.tensors[t].bytes_after.saturating_sub(packed(plan, t, code_len(t)));
    let (mut window_bytes, mut params_bytes) = (0, 0);
    for window in window::windows(&extents, window::WINDOW) {
        let share = |r: &window::Rows| {
            code_len(r.tensor) * r.rows.len() as u64 / extents[r.tensor].rows.max(1) as u64
        };
        window_bytes = window_bytes.max(window.iter().map(share).sum());
        params_bytes = params_bytes.max(window.iter().map(|r| 2 * params(r.tensor)).sum());
    }
    let piece = |e: &Extent| (e.piece_rows().min(e.rows.max(1)) * e.cols) as u64;
    let largest = extents.iter().map(piece).max().unwrap_or(0);
    Memory {
        fixed_bytes: PROGRAM + TENSOR * tensors.len() as u64,
        window_bytes,
        params_bytes,
        fit_bytes: fits.max().unwrap_or(0),
        threads: rayon::current_num_threads() as u64,
        // f32, FP16 and its bytes, packed codes.
        thread_bytes: largest * (4 + 2 + 2 + 1) + STRIP as u64,
    }
}

/// Bytes of a tensor's codes as they are stored.
fn packed(plan: &Plan, tensor: usize, codes: u64) -> u64 {
    match plan.tensors[tensor].scheme {
        Some(Scheme::Linear(linear)) => (codes * u64::from(linear.bits.bits())).div_ceil(8),
        Some(Scheme::Palette(palette)) => (codes * u64::from(palette.bits)).div_ceil(8),
        Some(Scheme::Float(_)) | None => plan.tensors[tensor].bytes_after,
    }
}

/// What a quantizer holds while it looks at a whole tensor or group, at the most: a histogram of
/// 65,536 values with their sums and the solver's rows (32 bytes each), a million sorted values, or
/// a sample of vectors.
fn fit_bytes(planned: &PlannedTensor, float: Option<FloatType>) -> u64 {
    match planned.scheme {
        Some(Scheme::Linear(linear)) => match linear.granularity {
            LinearGranularity::Tensor => 65_536 * 16,
            LinearGranularity::Channel { .. } | LinearGranularity::Block { .. } => 0,
        },
        Some(Scheme::Palette(palette)) => {
            if palette.vector > 1 {
                (1 << 18) * u64::from(palette.vector) * 8
            } else if float == Some(FloatType::F32) || palette.channel_scale {
                (1 << 20) * 32
            } else {
                match palette.granularity {
                    PaletteGranularity::Tensor => 65_536 * 48,
                    PaletteGranularity::Group { .. } => 65_536 * 32,
                }
            }
        }
        Some(Scheme::Float(_)) | None => 0,
    }
}
