//! The plan's file: TOML, for people and for the next run.
//!
//! It holds every measurement, so that a run that was interrupted goes on, and one with another budget
//! measures nothing; and the scheme of every weight, which may be edited: whoever replays the plan
//! takes `scheme` and `activations`, and looks at nothing else.

use super::{Input, Measured};
use crate::plan::{Rule, whole_name};
use crate::scheme::Scheme;
use crate::{Error, Result};
use regex::Regex;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

/// The largest plan: a hundred thousand weights with as many candidates as anyone tries.
const MOST_BYTES: u64 = 1 << 28;

/// What was measured and chosen.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// BLAKE3 of the model's files.
    pub model: String,
    /// BLAKE3 of what it was measured on.
    pub data: String,
    /// What else the measurements follow from: the metric, and how codes are chosen.
    pub measured: String,
    /// Whose time was chosen by, in words; empty where it was bytes.
    #[serde(default)]
    pub chip: String,
    /// The budget, in the words of the command line; empty until something is chosen.
    #[serde(default)]
    pub budget: String,
    /// What the plan reaches, in words.
    #[serde(default)]
    pub reached: String,
    /// The weights.
    #[serde(default, rename = "tensor")]
    pub rows: Vec<Row>,
}

/// One weight.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The scheme that was chosen; none yet while measurements are under way.
    #[serde(default)]
    pub scheme: Option<String>,
    /// What layers multiply it with; without it, what the command line says.
    #[serde(default)]
    pub activations: Option<Input>,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// What it could become.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

/// One thing that a weight could become.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The scheme, fitted to the weight's shape.
    pub scheme: String,
    /// What layers would multiply it with.
    #[serde(default)]
    pub activations: Input,
    /// Bytes of codes and parameters.
    pub bytes: u64,
    /// Its share of a call's time, in microseconds, where a chip was chosen for.
    #[serde(default)]
    pub us: Option<f64>,
    /// How far the model moves with this weight alone stored so.
    pub divergence: f64,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is not there, too large, or no plan; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let remedy = "give a file that `quantize --scheme auto` wrote";
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    Error::input(&place, "there is no such file", remedy)
                }
                std::io::ErrorKind::InvalidData => Error::input(&place, "it is not UTF-8", remedy),
                _ => Error::io("read", &place, error),
            })?;
        if text.len() as u64 > MOST_BYTES {
            return Err(Error::input(&place, "it is too large for a plan", remedy));
        }
        Self::parse(&text, &place)
    }

    /// Reads the text of a plan in `file`.
    ///
    /// # Errors
    /// [`Error::Input`] with the line of what is no plan.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count();
            let why = error.message().trim_end().replace('\n', "; ");
            Error::input(format!("{file}:{line}"), why, "a plan is what --scheme auto writes")
        })
    }

    /// Its text.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# What `quantize --scheme auto` measured and chose. To have it otherwise, edit `scheme` and\n\
             # convert with `--plan` and this file. `divergence` is how far the model moves with this\n\
             # weight alone stored so.\n",
        );
        if self.rows.iter().any(|row| row.activations.is_some()) {
            text.push_str(
                "# `activations` is what layers multiply the weight with: int8, which takes a scheme of\n\
                 # INT8 codes or of a palette with INT8 entries, or float.\n",
            );
        }
        if !self.chip.is_empty() {
            text.push_str("# `us` is the weight's share of a call's time, in microseconds.\n");
        }
        let mut line = |words: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = text.write_fmt(words);
            text.push('\n');
        };
        for (key, value) in [
            ("model", &self.model),
            ("data", &self.data),
            ("measured", &self.measured),
            ("chip", &self.chip),
            ("budget", &self.budget),
            ("reached", &self.reached),
        ] {
            if key != "chip" || !value.is_empty() {
                line(format_args!("{key} = {}", quoted(value)));
            }
        }
        for row in &self.rows {
            line(format_args!("\n[[tensor]]\nname = {}", quoted(&row.name)));
            if let Some(scheme) = &row.scheme {
                line(format_args!("scheme = {}", quoted(scheme)));
                if let Some(input) = row.activations {
                    line(format_args!("activations = {}", quoted(input.name())));
                }
                line(format_args!("why = {}", quoted(&row.why)));
            }
            line(format_args!("candidates = ["));
            for Candidate { scheme, activations, bytes, us, divergence } in &row.candidates {
                let scheme = quoted(scheme);
                let input = match activations {
                    Input::Float => "",
                    Input::Int8 => ", activations = \"int8\"",
                };
                let us = us.map_or_else(String::new, |us| format!(", us = {us:.4}"));
                // `{:?}` is the shortest text that reads as the same number.
                line(format_args!(
                    "    {{ scheme = {scheme}{input}, bytes = {bytes}{us}, divergence = {divergence:?} }},"
                ));
            }
            line(format_args!("]"));
        }
        text
    }

    /// Its measurements.
    pub fn known(&self) -> Measured {
        let of_row = |row: &Row| {
            let name = row.name.clone();
            let known = row.candidates.clone().into_iter();
            known
                .map(move |c| ((name.clone(), c.scheme, c.activations), c.divergence))
                .collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(of_row).collect()
    }

    /// Whether layers multiply some weight with INT8 activations.
    pub fn has_int8(&self) -> bool {
        self.rows.iter().any(|row| row.activations == Some(Input::Int8))
    }

    /// The names of weights that meet activations in float, as patterns of whole names.
    pub fn in_float(&self) -> impl Iterator<Item = Regex> {
        let rows = self.rows.iter().filter(|row| row.activations == Some(Input::Float));
        rows.map(|row| whole_name(&row.name))
    }

    /// Its choices, as rules for whole names; `file` is where it stands.
    ///
    /// # Errors
    /// [`Error::Usage`] for a weight without a scheme, or with one that there is not.
    pub fn rules(&self, file: &str) -> Result<Vec<Rule>> {
        let rule = |row: &Row| {
            let place = format!("{file}, `{}`", row.name);
            let Some(scheme) = &row.scheme else {
                return Err(Error::Usage(format!(
                    "{place}: it has no scheme yet; let `quantize --scheme auto` finish, or add one"
                )));
            };
            let scheme: Scheme = scheme.parse().map_err(|why: crate::scheme::ParseError| {
                Error::Usage(format!("{place}: {why}"))
            })?;
            Ok(Rule::of_name(&row.name, scheme))
        };
        self.rows.iter().map(rule).collect()
    }
}

/// A TOML string: JSON's escapes are TOML's, but for DEL, which JSON leaves alone.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
