//! What a plan must hold.

use std::fmt;

/// What a plan must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// At most so many stored bits a weight, over all tensors (`--target-bpw`): the nearest such plan.
    Bits(f64),
    /// At most so many milliseconds of a call on the chosen chip (`--max-ms`): the nearest such plan.
    Time(f64),
    /// A mean Kullback-Leibler divergence of at most so many nats (`--max-kl`): the cheapest such plan.
    Kl(f64),
    /// An SQNR of the outputs of at least so many dB (`--min-sqnr`): the cheapest such plan.
    Sqnr(f64),
}

/// How far a model moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Mean Kullback-Leibler divergence of predicted tokens, in nats.
    Kl,
    /// Energy of the outputs' error for the energy of the outputs: `10^(−SQNR / 10)`, the mean over
    /// outputs.
    Noise,
}

impl Metric {
    /// The word in a plan's file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kl => "kl",
            Self::Noise => "noise",
        }
    }

    /// A divergence as people read it.
    pub fn told(self, divergence: f64) -> String {
        match self {
            Self::Kl => format!("KL {divergence:.3e} nats"),
            Self::Noise if divergence == 0.0 => "no error".into(),
            Self::Noise => format!("SQNR {:.2} dB", -10.0 * divergence.log10()),
        }
    }
}

impl Budget {
    /// The largest divergence that holds it; infinite where the cost is what is limited.
    pub fn limit(self) -> f64 {
        match self {
            Self::Bits(_) | Self::Time(_) => f64::INFINITY,
            Self::Kl(nats) => nats,
            Self::Sqnr(db) => 10f64.powf(-db / 10.0),
        }
    }

    /// What is measured for it: of a language model on a text, KL unless an SQNR is asked for.
    pub fn metric(self, on_text: bool) -> Metric {
        match self {
            Self::Kl(_) => Metric::Kl,
            Self::Sqnr(_) => Metric::Noise,
            Self::Bits(_) | Self::Time(_) if on_text => Metric::Kl,
            Self::Bits(_) | Self::Time(_) => Metric::Noise,
        }
    }
}

impl fmt::Display for Budget {
    /// The words of the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits(bits) => write!(f, "--target-bpw {bits}"),
            Self::Time(ms) => write!(f, "--max-ms {ms}"),
            Self::Kl(nats) => write!(f, "--max-kl {nats}"),
            Self::Sqnr(db) => write!(f, "--min-sqnr {db}"),
        }
    }
}
