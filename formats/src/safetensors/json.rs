//! What the header's and the index's readers share: where a JSON reader stands, and what it found
//! wrong there.
//!
//! Serde carries only a message out of a visitor. So a visitor notes its finding in the [`Trail`]
//! that it was lent, stops the reader with any error, and [`Trail::error`] joins the finding with
//! the byte at which the reader stopped.

use crate::Error;
use serde::de::{self, DeserializeSeed, Deserializer, Visitor};
use std::fmt;

/// At most this many characters of a name are printed.
const SHOWN_CHARS: usize = 120;

/// A name from a file as it may be printed: control characters escaped, long names cut.
pub fn shown(name: &str) -> String {
    cut(name.chars().flat_map(char::escape_debug), SHOWN_CHARS)
}

/// At most `most` characters, and `…` where there are more.
fn cut(mut chars: impl Iterator<Item = char>, most: usize) -> String {
    let mut text: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

/// Where a reader is in its document.
#[derive(Default)]
pub(super) struct Trail {
    /// The tensor or map that is being read.
    pub(super) within: Option<String>,
    /// The field of it.
    pub(super) field: Option<&'static str>,
    fault: Option<Fault>,
}

struct Fault {
    found: String,
    remedy: Remedy,
}

enum Remedy {
    Repair(&'static str),
    Supported(String),
}

/// What to do about a file that its writer got wrong.
pub(super) const REWRITE: &str =
    "the program that wrote it has a fault: save it again with another";

impl Trail {
    /// Notes a finding that breaks the format, and gives the error that stops the reader.
    pub(super) fn malformed<E: de::Error>(
        &mut self,
        found: impl Into<String>,
        remedy: &'static str,
    ) -> E {
        self.fault = Some(Fault { found: found.into(), remedy: Remedy::Repair(remedy) });
        E::custom("noted in the trail")
    }

    /// Notes a finding that is sound but not supported.
    pub(super) fn unsupported<E: de::Error>(&mut self, found: impl Into<String>, can: String) -> E {
        self.fault = Some(Fault { found: found.into(), remedy: Remedy::Supported(can) });
        E::custom("noted in the trail")
    }

    /// The error of a reader that stopped in `text`, whose first byte is byte `start` of the file.
    pub(super) fn error(
        self,
        format: &'static str,
        text: &str,
        start: u64,
        stopped: &serde_json::Error,
    ) -> Error {
        let byte = start + position(text, stopped) as u64;
        let mut place = format!("byte {byte}");
        if let Some(within) = &self.within {
            place += &format!(", {within}");
        }
        if let Some(field) = self.field {
            place += &format!(", `{field}`");
        }
        match self.fault {
            Some(Fault { found, remedy: Remedy::Repair(remedy) }) => {
                Error::Malformed { format, place, found, remedy }
            }
            Some(Fault { found, remedy: Remedy::Supported(can) }) => {
                Error::Unsupported { place, found, can }
            }
            // Not JSON, or a value of another kind: the parser's own words.
            None => {
                let words = stopped.to_string();
                let suffix = format!(" at line {} column {}", stopped.line(), stopped.column());
                let words = words.strip_suffix(&suffix).unwrap_or(&words);
                let remedy = if stopped.is_data() {
                    REWRITE
                } else {
                    "the file is damaged: download it again"
                };
                Error::Malformed { format, place, found: plain(words), remedy }
            }
        }
    }
}

/// [`shown`] for a parser's sentence: its own quotes stay as they are.
fn plain(words: &str) -> String {
    cut(words.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }), 2 * SHOWN_CHARS)
}

/// The byte of `text` at which a JSON reader stopped; serde_json tells line and column, both from
/// one, the column in bytes.
fn position(text: &str, stopped: &serde_json::Error) -> usize {
    if stopped.is_eof() {
        return text.len();
    }
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take(stopped.line().saturating_sub(1)).map(str::len).sum();
    before + stopped.column().saturating_sub(1)
}

/// A whole number of 0 to 2⁶⁴ − 1, with its own words for all that is not.
pub(super) struct Number<'t>(pub(super) &'t mut Trail);

impl<'de> DeserializeSeed<'de> for Number<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        Err(self.0.malformed(format!("{value} is negative"), REWRITE))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
        let found = format!("{value:?} is not a whole number below 2^64");
        Err(self.0.malformed(found, REWRITE))
    }
}
