//! The toolkit's error, sorted by whose fault it is; the command line turns the kind into an exit
//! code.

use twolane_formats as formats;

/// What went wrong. Every message gives the place, the finding, and what would do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The user's words: a scheme that the target lacks, an output that exists. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The input's: weights that cannot be used as asked. Exit code 3.
    #[error("{place}: {found}; {remedy}")]
    Input {
        /// Which file, which tensor, which element.
        place: String,
        /// What stands there.
        found: String,
        /// What would do.
        remedy: String,
    },
    /// A program that does not hold together: everything that is wrong with it. Exit code 3.
    #[error("{place}: {}", crate::graph::raise::listed(findings))]
    Findings {
        /// Which package.
        place: String,
        /// What is wrong, in the order of the program.
        findings: Vec<crate::graph::raise::Finding>,
    },
    /// A file that breaks its format, a machine that cannot write, or a bug in a writer.
    #[error(transparent)]
    Format(#[from] formats::Error),
    /// The machine's: a full disk, a missing right. Exit code 4.
    #[error("cannot {doing} {what}")]
    Io {
        /// `read`, `write`, `sync`, ...
        doing: &'static str,
        /// The file or directory.
        what: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// Ours: a promise between two parts of this program did not hold. Exit code 70.
    #[error("bug in twolane, {place}: {why}; please report it")]
    Bug {
        /// Where.
        place: String,
        /// Which promise.
        why: String,
    },
}

impl Error {
    /// A finding in the input, with its place and its remedy.
    pub fn input(
        place: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Input { place: place.into(), found: found.into(), remedy: remedy.into() }
    }

    /// A broken promise between two parts of this program.
    pub fn bug(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Bug { place: place.into(), why: why.into() }
    }

    /// A failed system call.
    pub fn io(doing: &'static str, what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing, what: what.into(), source }
    }
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;
