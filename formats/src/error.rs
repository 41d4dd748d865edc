//! One error for every format, sorted by whose fault it is.

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine's: a full disk, a missing right, a file that went away.
    #[error("cannot read or write {what}")]
    Io {
        /// The file or directory.
        what: String,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The file's: it breaks its own format.
    #[error("malformed {format}, {place}: {found}; {remedy}")]
    Malformed {
        /// Which format, in the words users know: `safetensors`, `weight.bin`, `.mlpackage`.
        format: &'static str,
        /// Where: a byte offset, a tensor's name, a field's path.
        place: String,
        /// What was found, and what the format wants there.
        found: String,
        /// What would do: a fresh download, another option.
        remedy: &'static str,
    },
    /// Nobody's: a sound file that this version cannot take.
    #[error("{place}: {found}; {can}")]
    Unsupported {
        /// Where: a tensor, an operation.
        place: String,
        /// What is not supported.
        found: String,
        /// What is.
        can: String,
    },
    /// Ours: a writer was given what it must never be given. Please report.
    #[error("bug in twolane, {place}: {why}; please report it")]
    Bug {
        /// Which tensor or plane was being written.
        place: String,
        /// The promise that did not hold.
        why: String,
    },
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;
