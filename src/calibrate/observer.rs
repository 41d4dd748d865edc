//! From statistics to a range.

use super::{Moments, Statistics, Symmetry, entropy};
use std::{fmt, str::FromStr};

/// What INT8 codes cover.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Range {
    /// The least number.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

/// How a range is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Observer {
    /// The least and the largest number.
    MinMax,
    /// The mean of the samples' least numbers, and of their largest: what onnxruntime's min-max
    /// calibration calls a moving average.
    MovingAverage,
    /// The smallest |x| that so many percent of all |x| do not exceed; of an asymmetric range each end
    /// loses half of the rest.
    Percentile(f64),
    /// The threshold of least relative entropy, as TensorRT has it; an asymmetric range reaches no
    /// further than the numbers do.
    Entropy,
    /// The least squared error.
    #[default]
    Mse,
}

impl Observer {
    /// The range of what was counted; `None` if there was no finite number. A symmetric one is
    /// `[−T, T]`.
    pub fn range(self, statistics: &Statistics, symmetry: Symmetry) -> Option<Range> {
        let counts = statistics.counts();
        let full = Range { low: counts.first()?.0, high: counts.last()?.0 };
        let within = |most: f64| Range { low: full.low.max(-most), high: full.high.min(most) };
        let range = match self {
            Self::MinMax => full,
            Self::MovingAverage => {
                let (low, high) = statistics.mean_extremes()?;
                Range { low, high }
            }
            Self::Percentile(percent) => percentile(&counts, percent / 100.0, symmetry),
            Self::Entropy => within(entropy::threshold(&counts)),
            Self::Mse => Moments::of(&counts).best(full, symmetry),
        };
        Some(match symmetry {
            Symmetry::Asymmetric => range,
            Symmetry::Symmetric => {
                let most = range.high.max(-range.low);
                Range { low: -most, high: most }
            }
        })
    }
}

/// Quantiles as numpy's `inverted_cdf`: the first number up to which there are so many.
fn percentile(counts: &[(f64, u64)], share: f64, symmetry: Symmetry) -> Range {
    let quantile = |counts: &[(f64, u64)], share: f64| {
        let total: u64 = counts.iter().map(|(_, n)| n).sum();
        let wanted = share * total as f64;
        let mut sum = 0;
        let mut up_to = counts.iter().skip_while(|(_, n)| {
            sum += n;
            (sum as f64) < wanted
        });
        up_to.next().or(counts.last()).map_or(0.0, |(x, _)| *x)
    };
    match symmetry {
        Symmetry::Symmetric => {
            let mut sizes: Vec<(f64, u64)> = counts.iter().map(|&(x, n)| (x.abs(), n)).collect();
            sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
            let most = quantile(&sizes, share);
            Range { low: -most, high: most }
        }
        Symmetry::Asymmetric => {
            let cut = (1.0 - share) / 2.0;
            Range { low: quantile(counts, cut), high: quantile(counts, 1.0 - cut) }
        }
    }
}

impl FromStr for Observer {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let lower = word.to_ascii_lowercase();
        Ok(match lower.as_str() {
            "min-max" => Self::MinMax,
            "moving-average" => Self::MovingAverage,
            "entropy" => Self::Entropy,
            "mse" => Self::Mse,
            _ => {
                let percent = lower.strip_prefix("percentile:").and_then(|p| p.parse().ok());
                let percent = percent.filter(|p| (50.0..=100.0).contains(p));
                Self::Percentile(percent.ok_or_else(|| {
                    format!(
                        "unknown observer `{word}`; use mse, min-max, moving-average, entropy or \
                         percentile:99.99 (50 to 100)"
                    )
                })?)
            }
        })
    }
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.pad("min-max"),
            Self::MovingAverage => f.pad("moving-average"),
            Self::Percentile(percent) => f.pad(&format!("percentile:{percent}")),
            Self::Entropy => f.pad("entropy"),
            Self::Mse => f.pad("mse"),
        }
    }
}
