//! What a user chooses.

use crate::Error;
use crate::calibrate::Observer;
use crate::target::Target;
use regex::Regex;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// How activations are quantized: `int8` and options behind commas on the command line.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    /// How ranges are chosen, if not as [`Self::ranges`] does.
    pub observer: Option<Observer>,
    /// Whether 0 is the middle of the codes.
    pub zero: Zero,
    /// Whether products of two activations, as in attention, compute in INT8 as well.
    pub matmul: bool,
    /// Layers that read float, by the name of their weight or of their operation.
    pub float: Vec<Regex>,
    /// Where pairs stand: a word of its own on the command line.
    pub pairs: Pairs,
    /// Whether a plan chose which layers read float: then it may be all of them.
    pub planned: bool,
}

impl Activations {
    /// How ranges are chosen and where the codes' zero is: what was asked for, or else what goes with
    /// the pairs. coremltools takes the extremes, symmetric.
    pub fn ranges(&self) -> (Observer, Zero) {
        let (observer, zero) = match (self.pairs, self.zero) {
            (Pairs::Chains, zero) => (Observer::Mse, zero),
            (Pairs::Coremltools, Zero::Auto) => (Observer::MinMax, Zero::Symmetric),
            (Pairs::Coremltools, zero) => (Observer::MinMax, zero),
        };
        (self.observer.unwrap_or(observer), zero)
    }

    /// Refuses what has no meaning: a target whose systems compute in float alone, and products of
    /// activations where coremltools' pairs are wanted, which stand around none.
    ///
    /// # Errors
    /// [`Error::Usage`], which names what would do.
    pub fn check(&self, target: Target) -> Result<(), Error> {
        let usage = |why: String| Err(Error::Usage(format!("--activations {self}: {why}")));
        if target < Target::Ios17 {
            return usage(format!("{target} has no INT8 activations; the first target is ios17"));
        }
        if self.matmul && self.pairs == Pairs::Coremltools {
            return usage("--pairs coremltools has none around matmul; leave the word out".into());
        }
        Ok(())
    }
}

/// Where pairs of `quantize` and `dequantize` stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// Before layers that multiply in INT8, and where they keep a chain of such layers in INT8.
    #[default]
    Chains,
    /// Where the activation quantization of coremltools 9.0 puts them, whatever the weights are.
    Coremltools,
}

impl FromStr for Pairs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "chains" => Ok(Self::Chains),
            "coremltools" => Ok(Self::Coremltools),
            _ => Err(format!("pairs stand as in chains or coremltools, not `{text}`")),
        }
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chains => "chains",
            Self::Coremltools => "coremltools",
        })
    }
}

/// Where the codes' zero is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zero {
    /// In the middle, unless the range lies so much to one side that a zero point gains 3 dB.
    #[default]
    Auto,
    /// In the middle.
    Symmetric,
    /// Where the range puts it.
    Asymmetric,
}

impl FromStr for Activations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',').map(str::trim);
        let first = words.next().unwrap_or_default().to_ascii_lowercase();
        if first != "int8" {
            return Err(format!("activations become int8, not `{first}`"));
        }
        let mut chosen = Self::default();
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "auto" => chosen.zero = Zero::Auto,
                "symmetric" => chosen.zero = Zero::Symmetric,
                "asymmetric" => chosen.zero = Zero::Asymmetric,
                "matmul" => chosen.matmul = true,
                _ => {
                    let observer = word.parse().map_err(|_| {
                        format!(
                            "unknown option `{word}`; after int8 come symmetric or asymmetric, matmul, \
                             and mse, min-max, moving-average, entropy or percentile:99.99"
                        )
                    })?;
                    chosen.observer = Some(observer);
                }
            }
        }
        Ok(chosen)
    }
}

/// As it is parsed; what stays in float, and where pairs stand, are words of their own.
impl fmt::Display for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { observer, zero, matmul, float: _, pairs: _, planned: _ } = self;
        f.write_str("int8")?;
        match zero {
            Zero::Auto => {}
            Zero::Symmetric => f.write_str(",symmetric")?,
            Zero::Asymmetric => f.write_str(",asymmetric")?,
        }
        if *matmul {
            f.write_str(",matmul")?;
        }
        match observer {
            None => Ok(()),
            Some(observer) => write!(f, ",{observer}"),
        }
    }
}

impl Serialize for Activations {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
