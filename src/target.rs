//! Which operating systems must read a package: this fixes the specification version, the opset
//! and the form of compressed weights.

use std::{fmt, str::FromStr};

/// The oldest system that must read the package, and with it the file's version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// iOS 15, macOS 12: the first ML Programs. Such packages are read; none are written, for nothing
    /// in them can be compressed.
    Ios15,
    /// iOS 16, macOS 13: FP16 inputs and outputs, per-channel INT8, per-tensor tables.
    Ios16,
    /// iOS 17, macOS 14: INT8 activations.
    Ios17,
    /// iOS 18, macOS 15: several functions, INT4, blocks, grouped and vector tables, states.
    #[default]
    Ios18,
    /// iOS 26, macOS 26: INT8 inputs and outputs.
    Ios26,
}

impl Target {
    /// All targets that can be written, oldest first.
    pub const ALL: [Self; 4] = [Self::Ios16, Self::Ios17, Self::Ios18, Self::Ios26];

    /// `Model.specificationVersion`.
    pub fn specification_version(self) -> i32 {
        match self {
            Self::Ios15 => 6,
            Self::Ios16 => 7,
            Self::Ios17 => 8,
            Self::Ios18 => 9,
            Self::Ios26 => 10,
        }
    }

    /// The target of a `Model.specificationVersion`; `None` for versions without ML Programs and for
    /// those that are not known yet.
    pub fn of_specification_version(version: i32) -> Option<Self> {
        let all = [Self::Ios15].into_iter().chain(Self::ALL);
        all.into_iter().find(|target| target.specification_version() == version)
    }

    /// `Function.opset`.
    pub fn opset(self) -> &'static str {
        match self {
            Self::Ios15 => "CoreML5",
            Self::Ios16 => "CoreML6",
            Self::Ios17 => "CoreML7",
            Self::Ios18 => "CoreML8",
            Self::Ios26 => "CoreML9",
        }
    }

    /// The name on the command line, `ios18`, and the macOS name that means the same.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::Ios15 => ["ios15", "macos12"],
            Self::Ios16 => ["ios16", "macos13"],
            Self::Ios17 => ["ios17", "macos14"],
            Self::Ios18 => ["ios18", "macos15"],
            Self::Ios26 => ["ios26", "macos26"],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.names()[0])
    }
}

/// A word that names no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown target `{0}`; use ios16, ios17, ios18 or ios26 (or macos13, macos14, macos15, macos26)"
)]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(word: &str) -> Result<Self, UnknownTarget> {
        let lower = word.to_ascii_lowercase();
        let named = |t: &Self| t.names().contains(&lower.as_str());
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownTarget(word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_target_and_prints_as_the_first() {
        for target in Target::ALL {
            for name in target.names() {
                assert_eq!(name.parse(), Ok(target));
            }
            assert_eq!(target.to_string(), target.names()[0]);
        }
        insta::assert_snapshot!("ios15".parse::<Target>().unwrap_err(), @"unknown target `ios15`; use ios16, ios17, ios18 or ios26 (or macos13, macos14, macos15, macos26)");
    }
}
