//! Weight matrices and their products with activations.
//!
//! Codes are multiplied as they are: no copy of a compressed weight in floating point is ever made,
//! but for two panels of sixteen rows in scratch space. They are packed once, from where the package
//! is mapped, into the order that dot product instructions read ([layout](crate::layout) `k4`).
//!
//! | module | what it does |
//! |---|---|
//! | `form` | which form a weight takes |
//! | `pack` | codes of packages → panels in lane order |
//! | `coded` | codes in lane order, and what a code means |
//! | `dense` | FP16 and FP32, read where they are mapped |
//! | `float`, `integer` | the products |
//! | `stage` | the output stage of those in integers: codes from sums |
//! | `kernel` | the instructions: portable, AVX2, AVX-VNNI, AVX-512, NEON |
//! | [`probe`] | the limit that products are measured by |
//! | `tiles`, `jobs`, `output` | cutting the work, sharing it, and putting results in place |

mod coded;
mod dense;
mod float;
mod form;
mod integer;
mod jobs;
mod kernel;
mod output;
mod pack;
pub mod probe;
mod stage;
#[cfg(test)]
mod tests;
mod tiles;

pub(super) use jobs::WORTH;
pub use kernel::Kernel;
pub(super) use pack::unpack;
pub use stage::Stage;

use crate::Result;
use crate::graph::weight::Weight;
use form::Form;
use std::ops::Range;

/// A weight `[N, K]` made ready to be multiplied; K runs over all but the first dimension.
///
/// Products in f32 multiply *sums* of codes by scales: they are those of [`Weight::unrounded`]. The
/// order of a sum depends on the shapes only, not on the number of threads.
#[derive(Debug)]
pub struct Matrix {
    form: Form,
    kernel: Kernel,
}

/// Where a product goes: element (i, n) at `i · row_stride + n · col_stride`.
#[derive(Debug)]
pub struct Out<'a, T = f32> {
    /// The elements.
    pub data: &'a mut [T],
    /// Between rows of activations.
    pub row_stride: usize,
    /// Between output channels.
    pub col_stride: usize,
}

/// Activations as 8-bit codes, `x = scale · (code − zero_point)`.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    /// `[M, K]`, row-major.
    pub codes: &'a [i8],
    /// One scale for all.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i8,
}

impl Matrix {
    /// Packs a weight.
    ///
    /// # Errors
    /// As [`Weight::unrounded`].
    pub fn new(weight: &Weight) -> Result<Self> {
        let rows = weight.shape.first().copied().unwrap_or(0);
        Self::rows(weight, 0..rows)
    }

    /// Packs some rows of a weight, such as those of one group of a convolution.
    ///
    /// # Errors
    /// As [`Weight::unrounded`].
    ///
    /// # Panics
    /// If the weight has no such rows.
    pub fn rows(weight: &Weight, rows: Range<usize>) -> Result<Self> {
        Self::with(weight, rows, Kernel::detect())
    }

    /// The same for these instructions.
    ///
    /// # Errors
    /// As [`Weight::unrounded`].
    ///
    /// # Panics
    /// If the weight has no such rows.
    pub fn with(weight: &Weight, rows: Range<usize>, kernel: Kernel) -> Result<Self> {
        let all = weight.shape.first().copied().unwrap_or(0);
        assert!(rows.start <= rows.end && rows.end <= all, "rows {rows:?} of {all}");
        Ok(Self { form: Form::new(weight, rows, kernel)?, kernel })
    }

    /// `[N, K]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.form {
            Form::Dense(dense) => dense.shape,
            Form::Coded(coded) => coded.shape,
        }
    }

    /// Bytes that it holds beside the package.
    pub fn byte_len(&self) -> u64 {
        let bytes = match &self.form {
            Form::Dense(dense) if dense.owned => dense.bytes.len(),
            Form::Dense(_) => 0,
            Form::Coded(coded) => coded.byte_len(),
        };
        bytes as u64
    }

    /// f32 values of scratch space that a product with `m` rows needs on the current thread pool.
    ///
    /// On a larger pool than the one this was asked on, a product uses no more threads than this.
    pub fn scratch_len(&self, m: usize) -> usize {
        let [_, cols] = self.shape();
        let threads = rayon::current_num_threads();
        let float = float::scratch_len(self.shape(), m, threads);
        match &self.form {
            Form::Coded(coded) => {
                let scaled = coded.columns.as_ref().map_or(0, |_| m * cols);
                let integer = coded.integer.as_ref();
                let integer = integer.map_or(0, |_| integer::scratch_len(coded, m, threads));
                integer.max(float + scaled)
            }
            Form::Dense(_) => float,
        }
    }

    /// Whether [`Self::multiply_codes`] computes in integers: codes of 8 bits or fewer with one scale
    /// a channel or tensor, or tables of INT8 entries, and K so small that no sum leaves i32
    /// (65,793 for symmetric weights, 33,025 for others).
    pub fn takes_codes(&self) -> bool {
        matches!(&self.form, Form::Coded(coded) if coded.integer.is_some())
    }

    /// `out[i, n] = Σ_k x[i, k] · w[n, k] + bias[n]`, x `[m, K]` row-major.
    ///
    /// # Panics
    /// If a slice is too short, or if elements of `out` share a place.
    pub fn multiply(
        &self,
        x: &[f32],
        m: usize,
        bias: Option<&[f32]>,
        out: Out<'_>,
        scratch: &mut [f32],
    ) {
        let [rows, cols] = self.shape();
        let x = &x[..m * cols];
        let sink = output::Biased::new(out, [m, rows], bias);
        match &self.form {
            Form::Dense(dense) => float::multiply(self.kernel, dense, x, m, &sink, scratch),
            Form::Coded(coded) => match &coded.columns {
                None => float::multiply(self.kernel, coded, x, m, &sink, scratch),
                Some(factors) => {
                    let (scaled, scratch) = scratch.split_at_mut(m * cols);
                    for (to, from) in scaled.chunks_mut(cols.max(1)).zip(x.chunks(cols.max(1))) {
                        for ((to, from), factor) in to.iter_mut().zip(from).zip(factors) {
                            *to = from * factor;
                        }
                    }
                    float::multiply(self.kernel, coded, scaled, m, &sink, scratch);
                }
            },
        }
    }

    /// The same with activations as codes: exact sums in i32, scaled once at the end.
    ///
    /// # Panics
    /// If a slice is too short, if elements of `out` share a place, or if [`Self::takes_codes`]
    /// does not hold.
    pub fn multiply_codes(
        &self,
        x: Codes<'_>,
        m: usize,
        bias: Option<&[f32]>,
        out: Out<'_>,
        scratch: &mut [f32],
    ) {
        let sink = output::Biased::new(out, [m, self.shape()[0]], bias);
        let coded = self.coded();
        let end = integer::ToNumbers { coded, scale: x.scale, sink };
        integer::multiply(self.kernel, coded, x, m, &end, scratch);
    }

    /// The same with codes as results, as a [`Stage`] makes them of the sums.
    ///
    /// # Panics
    /// As [`Self::multiply_codes`]; if the stage is for another number of channels.
    pub fn requantize(
        &self,
        x: Codes<'_>,
        m: usize,
        stage: &Stage,
        out: Out<'_, i8>,
        scratch: &mut [f32],
    ) {
        let [rows, _] = self.shape();
        assert_eq!(stage.channels(), rows, "channels of the output stage");
        let end = integer::ToCodes { stage, sink: output::Sink::new(out, [m, rows]) };
        integer::multiply(self.kernel, self.coded(), x, m, &end, scratch);
    }

    /// The scales of the channels, where each has one.
    ///
    /// # Panics
    /// If [`Self::takes_codes`] does not hold.
    pub fn channel_scales(&self) -> Vec<f32> {
        let (coded, [rows, _]) = (self.coded(), self.shape());
        (0..rows).map(|row| coded.channel_scale(row)).collect()
    }

    /// # Panics
    /// If [`Self::takes_codes`] does not hold.
    fn coded(&self) -> &coded::Coded {
        match &self.form {
            Form::Coded(coded) if coded.integer.is_some() => coded,
            Form::Coded(_) | Form::Dense(_) => panic!("this weight does not take codes"),
        }
    }
}
