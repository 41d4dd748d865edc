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
    /// How ranges are chosen.
    pub observer: Observer,
    /// Whether 0 is the middle of the codes.
    pub zero: Zero,
    /// Whether products of two activations, as in attention, compute in INT8 as well.
    pub matmul: bool,
    /// Layers that read float, by the name of their weight or of their operation.
    pub float: Vec<Regex>,
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

impl Activations {
    /// Refuses a target whose systems compute in float alone.
    ///
    /// # Errors
    /// [`Error::Usage`], which names the first that would do.
    pub fn check(&self, target: Target) -> Result<(), Error> {
        if target < Target::Ios17 {
            return Err(Error::Usage(format!(
                "--activations {self}: {target} has no INT8 activations; the first target is ios17"
            )));
        }
        Ok(())
    }
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
                    chosen.observer = word.parse().map_err(|_| {
                        format!(
                            "unknown option `{word}`; after int8 come symmetric or asymmetric, matmul, \
                             and mse, min-max, moving-average, entropy or percentile:99.99"
                        )
                    })?;
                }
            }
        }
        Ok(chosen)
    }
}

/// As it is parsed; what stays in float is words of its own.
impl fmt::Display for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { observer, zero, matmul, float: _ } = self;
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
            Observer::Mse => Ok(()),
            other => write!(f, ",{other}"),
        }
    }
}

impl Serialize for Activations {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
