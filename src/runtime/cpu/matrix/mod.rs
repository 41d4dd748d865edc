//! Weight matrices and their products with activations.

use crate::Result;
use crate::graph::weight::Weight;

/// A weight `[N, K]` made ready to be multiplied; K runs over all but the first dimension.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    values: Vec<f32>,
}

/// Where a product goes: element (i, n) at `i · row_stride + n · col_stride`.
#[derive(Debug)]
pub struct Out<'a> {
    /// The elements.
    pub data: &'a mut [f32],
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
    /// As [`Weight::dequantize`].
    pub fn new(weight: &Weight) -> Result<Self> {
        let rows = weight.shape[0];
        let values = weight.dequantize()?;
        Ok(Self { rows, cols: values.len() / rows.max(1), values })
    }

    /// `[N, K]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    /// Bytes that it holds beside the package.
    pub fn byte_len(&self) -> u64 {
        (self.values.len() * 4) as u64
    }

    /// f32 values of scratch space that a product with `m` rows needs.
    pub fn scratch_len(&self, _m: usize) -> usize {
        0
    }

    /// Whether [`Self::multiply_codes`] computes in integers: codes of 8 bits or fewer with one scale
    /// a channel or tensor, or tables of INT8 entries.
    pub fn takes_codes(&self) -> bool {
        true
    }

    /// `out[i, n] = Σ_k x[i, k] · w[n, k] + bias[n]`, x `[m, K]` row-major.
    ///
    /// # Panics
    /// If a slice is too short.
    pub fn multiply(
        &self,
        x: &[f32],
        m: usize,
        bias: Option<&[f32]>,
        out: Out<'_>,
        _scratch: &mut [f32],
    ) {
        for (i, x) in x.chunks_exact(self.cols.max(1)).take(m).enumerate() {
            for (n, w) in self.values.chunks_exact(self.cols.max(1)).enumerate() {
                let sum: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                let bias = bias.map_or(0.0, |bias| bias[n]);
                out.data[i * out.row_stride + n * out.col_stride] = sum + bias;
            }
        }
    }

    /// The same with activations as codes: exact sums in i32, scaled once at the end.
    ///
    /// # Panics
    /// If a slice is too short, or [`Self::takes_codes`] does not hold.
    pub fn multiply_codes(
        &self,
        x: Codes<'_>,
        m: usize,
        bias: Option<&[f32]>,
        out: Out<'_>,
        scratch: &mut [f32],
    ) {
        let value = |code: &i8| x.scale * f32::from(i16::from(*code) - i16::from(x.zero_point));
        let values: Vec<f32> = x.codes.iter().map(value).collect();
        self.multiply(&values, m, bias, out, scratch);
    }
}
