//! Linear INT8 and INT4.
use super::{ClipCurve, ClipPoint, Encoded, Params};
use crate::scheme::{self, Clip};
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use std::ops::Range;

/// A tensor being quantized linearly.
pub struct Linear<'a> {
    w: Weights<'a>,
}

impl<'a> Linear<'a> {
    /// Prepares.
    pub fn new(w: Weights<'a>, _scheme: scheme::Linear, _clip: Clip) -> Result<Self> {
        Ok(Self { w })
    }

    pub(super) fn granule_rows(&self) -> usize {
        1
    }

    pub(super) fn code_len(&self, rows: usize) -> usize {
        rows * self.w.cols()
    }

    pub(super) fn shared(&self) -> Params {
        Params::default()
    }

    pub(super) fn encode(&self, _rows: Range<usize>, _codes: &mut [u8]) -> Result<Encoded> {
        Err(Error::bug(self.w.name, "being built"))
    }

    pub(super) fn decode(
        &self,
        _rows: Range<usize>,
        _codes: &[u8],
        _params: &Params,
        _out: &mut [f16],
    ) -> Result<()> {
        Err(Error::bug(self.w.name, "being built"))
    }

    pub(super) fn clip_curve(&self) -> ClipCurve {
        ClipCurve { points: Vec::new(), chosen: ClipPoint { factor: 1.0, sqnr_db: None } }
    }
}

pub(super) fn dequantize(
    _scheme: scheme::Linear,
    _shape: &[usize],
    _codes: &[u8],
    _params: &Params,
) -> Vec<f16> {
    Vec::new()
}
