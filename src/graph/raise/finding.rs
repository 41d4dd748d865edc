//! Findings as they come, and why a value cannot be read.

use crate::formats;
use crate::graph::Finding;
use crate::text::printable;
use crate::{Error, Result};

/// How many findings are kept: a hostile package must not fill the memory with what is wrong with it.
const KEPT: usize = 10_000;
/// Characters of a finding, and of a name in it, that are kept.
const LONGEST: usize = 1000;
const LONGEST_NAME: usize = 100;

/// Findings as they come.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    more: usize,
}

impl Findings {
    /// One more. Control characters are replaced, and what is too long is cut.
    pub(super) fn add(&mut self, function: &str, operation: &str, param: &str, found: &str) {
        if self.kept.len() == KEPT {
            self.more += 1;
            return;
        }
        self.kept.push(Finding {
            function: cut(function, LONGEST_NAME),
            operation: cut(operation, 2 * LONGEST_NAME),
            param: cut(param, LONGEST_NAME),
            found: cut(found, LONGEST),
        });
    }

    /// All of them.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        if self.more > 0 {
            let found = format!("{} more findings are left out", self.more);
            self.kept.push(Finding { found, ..Finding::default() });
        }
        self.kept
    }
}

/// A name of the package in backticks, fit to be printed.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", cut(name, LONGEST_NAME))
}

/// Names in backticks, with commas between.
pub(super) fn quoted_all<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => printable(&text[..end]).into_owned() + "…",
        None => printable(text).into_owned(),
    }
}

/// What was read, or why it cannot be.
pub(super) type Read<T> = std::result::Result<T, Stop>;

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) enum Stop {
    /// For this reason, at this parameter (or at none).
    Found {
        /// The parameter.
        param: String,
        /// What stands there, and what should.
        found: String,
    },
    /// It follows from what has been found before.
    Known,
    /// The machine's fault: nothing can be read any further.
    Fatal(Error),
}

impl Stop {
    /// The same, at a parameter.
    pub(super) fn at(self, place: &str) -> Self {
        match self {
            Self::Found { param, found } if param.is_empty() => {
                Self::Found { param: place.into(), found }
            }
            other => other,
        }
    }
}

/// A finding about the value that is being read.
pub(super) fn wrong(found: impl Into<String>) -> Stop {
    Stop::Found { param: String::new(), found: found.into() }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Input { .. }
            | Error::Format(
                formats::Error::Malformed { .. } | formats::Error::Unsupported { .. },
            ) => wrong(error.to_string()),
            other => Self::Fatal(other),
        }
    }
}

/// What was read; `None` where a finding stands instead, which `found` is told of.
pub(super) fn settle<T>(read: Read<T>, found: impl FnOnce(&str, &str)) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Found { param, found: what }) => {
            found(&param, &what);
            Ok(None)
        }
        Err(Stop::Known) => Ok(None),
        Err(Stop::Fatal(error)) => Err(error),
    }
}
