//! Quantizing an array in memory: the library's shortest way in.

use super::{Guide, Params, Quantizer};
use crate::metrics::Stats;
use crate::scheme::{Clip, Scheme};
use crate::tensor::{FloatType, Weights};
use crate::{Error, Result};
use ndarray::{ArrayD, ArrayViewD};

/// A quantized array.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// One byte a code, in row order; a signed code as its two's complement byte.
    pub codes: Vec<u8>,
    /// What decodes them.
    pub params: Params,
    /// How far the decoded weights are from the array.
    pub stats: Stats,
    scheme: Scheme,
    shape: Vec<usize>,
}

/// Rows that are encoded together.
const PIECE: usize = 64;

/// Quantizes an array `[O, I, …]` of FP32 weights.
///
/// # Errors
/// [`Error::Input`] at the first weight that is not finite or is beyond FP16's range, and for an
/// array that is empty or of fewer than two dimensions.
pub fn array(weights: ArrayViewD<f32>, scheme: Scheme, clip: Clip) -> Result<Quantized> {
    let shape = weights.shape().to_vec();
    if shape.len() < 2 || weights.is_empty() {
        let found = format!("shape {shape:?}");
        return Err(Error::input("the array", found, "give [O, I, …] with at least one weight"));
    }
    let bytes: Vec<u8> = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
    let weights = Weights { name: "array", dtype: FloatType::F32, shape: &shape, bytes: &bytes };
    guided(weights, scheme, clip, Guide::default())
}

/// Quantizes stored weights, whose inputs are known.
///
/// # Errors
/// As [`Quantizer::guided`] and [`Quantizer::encode`].
pub(crate) fn guided(
    weights: Weights<'_>,
    scheme: Scheme,
    clip: Clip,
    guide: Guide,
) -> Result<Quantized> {
    in_pieces(weights, scheme, clip, guide, PIECE)
}

/// Like [`guided`], in pieces of `step` rows or a few more, which change no code.
///
/// # Errors
/// As there.
pub(super) fn in_pieces(
    weights: Weights<'_>,
    scheme: Scheme,
    clip: Clip,
    guide: Guide,
    step: usize,
) -> Result<Quantized> {
    let shape = weights.shape.to_vec();
    let quantizer = Quantizer::guided(weights, scheme, clip, guide)?;
    let step = step.next_multiple_of(quantizer.granule_rows());
    let mut codes = vec![0; quantizer.code_len(weights.rows())];
    let mut params = quantizer.shared();
    let mut stats = Stats::default();
    for start in (0..weights.rows()).step_by(step) {
        let end = weights.rows().min(start + step);
        let at = quantizer.code_len(start)..quantizer.code_len(end);
        let encoded = quantizer.encode(start..end, &mut codes[at])?;
        params.append(&encoded.params);
        stats.merge(&encoded.stats);
    }
    Ok(Quantized { codes, params, stats, scheme, shape })
}

impl Quantized {
    /// The array that the codes decode to.
    pub fn dequantize(&self) -> ArrayD<f32> {
        ArrayD::from_shape_vec(self.shape.clone(), self.values()).expect("as many codes as weights")
    }

    /// The same numbers, in row order.
    pub(crate) fn values(&self) -> Vec<f32> {
        let values = super::dequantize(self.scheme, &self.shape, &self.codes, &self.params);
        values.into_iter().map(f32::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{Linear, LinearBits, LinearGranularity};

    fn int8() -> Scheme {
        let granularity = LinearGranularity::Channel { axis: 0 };
        Scheme::Linear(Linear { bits: LinearBits::Int8, asymmetric: false, granularity })
    }

    #[test]
    fn an_array_comes_back_within_half_a_step_and_the_rounding_to_fp16() {
        let weights =
            ArrayD::from_shape_fn(vec![70, 9], |i| (i[0] as f32 - 30.0) * 0.1 + i[1] as f32);
        let quantized = array(weights.view(), int8(), Clip::None).unwrap();
        let scale = |row: usize| quantized.params.scale[row].to_f32();
        for (place, x) in weights.indexed_iter() {
            let d = quantized.dequantize()[place.clone()];
            // Half a step of the grid, then half a unit in the last place of FP16's 11 bits.
            let bound = 0.5 * scale(place[0]) + d.abs() * 2f32.powi(-11);
            assert!((x - d).abs() <= bound * 1.000_01, "{x} {d}");
        }
        // A view that is not in row order is read in its own order.
        let turned = array(weights.t(), int8(), Clip::None).unwrap();
        assert_eq!(turned.dequantize().shape(), [9, 70]);
        assert!((turned.dequantize()[[2, 60]] - weights[[60, 2]]).abs() < 0.1);
    }

    #[test]
    fn a_vector_is_refused() {
        let error = array(ArrayD::zeros(vec![3]).view(), int8(), Clip::None).unwrap_err();
        insta::assert_snapshot!(error, @"the array: shape [3]; give [O, I, …] with at least one weight");
    }
}
