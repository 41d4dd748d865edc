//! The time of work on a unit of a chip: whichever takes longer, reading bytes or multiplying.
//!
//! `time = max(bytes / B, operations / R)`, B the unit's bandwidth and R its rate, a multiply-accumulate
//! being two operations. Decoding reads each weight and all keys and values once a token, so bytes
//! decide; a prompt of many tokens reads them once in all, so that operations do.
//!
//! Source: Williams, Waterman, Patterson 2009, "Roofline".

use super::Chip;
use serde::Serialize;

/// What of its specified DRAM bandwidth a GPU reaches, where no one measured it: 100 of 120 GB/s on M4
/// (arXiv 2502.05317).
pub(super) const REACHED: f64 = 0.83;

/// A unit of a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// The Neural Engine.
    Ane,
    /// The GPU.
    Gpu,
    /// The CPU with its matrix units.
    Cpu,
}

/// In what a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// An operand is float: weights of any storage beside FP16 activations.
    Float,
    /// Both operands are INT8.
    Int8,
}

/// What a unit does at most; `None` is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Roof {
    /// Bytes of weights, keys and values a second.
    pub bytes: Option<f64>,
    /// Operations a second.
    pub operations: Option<f64>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Work {
    /// Bytes that are read.
    pub bytes: f64,
    /// Operations, two a multiply-accumulate.
    pub operations: f64,
}

/// How long work takes at least.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Time {
    /// Seconds.
    pub seconds: f64,
    /// What it waits for.
    pub bound: Bound,
}

/// What work waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Bytes.
    Bandwidth,
    /// Operations.
    Arithmetic,
    /// What a call costs, however small.
    Call,
}

impl Chip {
    /// What a unit does at most. A GPU without a path for INT8 multiplies in float; of the other units,
    /// a rate that nobody measured is unknown.
    pub fn roof(&self, unit: Unit, arithmetic: Arithmetic) -> Roof {
        let value = |figure: Option<super::Figure>| figure.map(|figure| figure.value);
        let (gbps, tops) = match unit {
            Unit::Ane => (
                value(self.ane_weight_gbps),
                match arithmetic {
                    Arithmetic::Float => self.ane_fp16_tops,
                    Arithmetic::Int8 => self.ane_int8_tops,
                },
            ),
            Unit::Gpu => (
                Some(value(self.gpu_gbps).unwrap_or(self.dram_gbps.value * REACHED)),
                match arithmetic {
                    Arithmetic::Float => self.gpu_fp16_tflops,
                    Arithmetic::Int8 => self.gpu_int8_tops.or(self.gpu_fp16_tflops),
                },
            ),
            Unit::Cpu => (
                value(self.cpu_gbps),
                match arithmetic {
                    Arithmetic::Float => self.cpu_fp16_tflops,
                    Arithmetic::Int8 => self.cpu_int8_tops,
                },
            ),
        };
        Roof { bytes: gbps.map(|gbps| gbps * 1e9), operations: value(tops).map(|tops| tops * 1e12) }
    }
}

impl Work {
    /// A weight of so many elements, stored in `bits` bits each (scales included), times `positions`
    /// rows of activations: it is read once for all of them.
    pub fn of_weight(elements: f64, bits: f64, positions: f64) -> Self {
        Self { bytes: elements * bits / 8.0, operations: 2.0 * elements * positions }
    }

    /// Both, one after the other.
    pub fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, operations: self.operations + other.operations }
    }
}

impl Roof {
    /// How long work takes at least; `None` where the roof that it needs is unknown.
    pub fn time(&self, work: Work) -> Option<Time> {
        let took = |amount: f64, rate: Option<f64>| match rate {
            _ if amount <= 0.0 => Some(0.0),
            Some(rate) if rate > 0.0 => Some(amount / rate),
            Some(_) | None => None,
        };
        let (read, multiplied) =
            (took(work.bytes, self.bytes)?, took(work.operations, self.operations)?);
        Some(match read >= multiplied {
            true => Time { seconds: read, bound: Bound::Bandwidth },
            false => Time { seconds: multiplied, bound: Bound::Arithmetic },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of Llama-3.1-8B that are read for a token: its layers and its head.
    const WEIGHTS: f64 = 7.505e9;

    /// Keys and values at a context of 4,096 tokens: 32 layers, 8 heads of 128, FP16.
    const CACHE: Work = Work { bytes: 2.0 * 32.0 * 8.0 * 128.0 * 2.0 * 4096.0, operations: 0.0 };

    #[test]
    fn decoding_waits_for_bytes() {
        #[rustfmt::skip]
        let cases: &[(f64, f64, f64)] = &[
            // GB/s, bits a weight, tokens a second.
            (120.0, 16.0, 7.7), (120.0, 8.0, 14.9), (120.0, 4.5, 25.2), (100.0, 8.0, 12.4),
            (546.0, 8.0, 67.9), (614.0, 8.0, 76.4), (288.0, 8.0, 35.8), (150.0, 8.0, 18.7),
        ];
        for &(gbps, bits, tokens) in cases {
            let roof = Roof { bytes: Some(gbps * 1e9), operations: Some(4e12) };
            let time = roof.time(Work::of_weight(WEIGHTS, bits, 1.0).and(CACHE)).unwrap();
            assert_eq!(time.bound, Bound::Bandwidth);
            assert!((1.0 / time.seconds - tokens).abs() < 0.06, "{gbps} {bits}: {time:?}");
        }
    }

    #[test]
    fn a_prompt_waits_for_operations_and_int8_halves_them_where_the_chip_does() {
        let m4 = Chip::find("M4").unwrap();
        // 512 tokens: 7.22e12 operations.
        let prompt = Work { bytes: 0.0, operations: 7.22e12 };
        for (unit, arithmetic, seconds) in [
            (Unit::Ane, Arithmetic::Float, 0.388),
            (Unit::Ane, Arithmetic::Int8, 0.206),
            (Unit::Gpu, Arithmetic::Float, 1.79),
            (Unit::Gpu, Arithmetic::Int8, 1.79),
            (Unit::Cpu, Arithmetic::Int8, 1.54),
        ] {
            let time = m4.roof(unit, arithmetic).time(prompt).unwrap();
            assert_eq!(time.bound, Bound::Arithmetic);
            assert!((time.seconds - seconds).abs() < 0.005, "{unit:?} {arithmetic:?}: {time:?}");
        }
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let m2 = Chip::find("M2").unwrap();
        assert_eq!(m2.roof(Unit::Ane, Arithmetic::Int8).time(CACHE), None);
        assert!(m2.roof(Unit::Gpu, Arithmetic::Float).time(CACHE).is_some());
    }
}
