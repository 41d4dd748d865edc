//! `REGEX=SCHEME` and `op:TYPE=SCHEME`: from the command line, and from a file.

use super::Header;
use crate::graph::ops::Row;
use crate::scheme::Scheme;
use crate::{Error, Result};
use regex::Regex;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::fmt;

/// What a rule is about.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Tensors whose name it matches anywhere.
    Name(Regex),
    /// Tensors that operations of this type take as their weight, in a package or a whole model.
    Operation(String),
}

impl Pattern {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let Some(operation) = text.strip_prefix("op:") else {
            return pattern_of_names(text).map(Self::Name);
        };
        match Row::find(operation) {
            Some(row) => Ok(Self::Operation(row.name.into())),
            None => Err(format!(
                "there is no operation `{operation}`; conv, linear, matmul and gather take weights"
            )),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => f.write_str(pattern.as_str()),
            Self::Operation(operation) => write!(f, "op:{operation}"),
        }
    }
}

/// A rule: tensors that the pattern matches get the scheme.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which tensors.
    pub pattern: Pattern,
    /// The scheme.
    pub scheme: Scheme,
    /// Where it was written: `None` for the command line, `FILE:LINE` for a file.
    pub place: Option<String>,
}

impl Rule {
    /// Reads `REGEX=SCHEME`, split at the last `=`: a pattern may hold one, a scheme never does.
    ///
    /// # Errors
    /// [`Error::Usage`] for a missing `=`, a broken pattern or an unknown scheme.
    pub fn parse(text: &str) -> Result<Self> {
        let usage = |why: String| Error::Usage(format!("--rule '{text}': {why}"));
        let Some((pattern, scheme)) = text.rsplit_once('=') else {
            return Err(usage(
                "there is no `=`; write REGEX=SCHEME, such as 'mlp=palette-4'".into(),
            ));
        };
        Self::new(pattern, scheme, None).map_err(usage)
    }

    /// The rule for the one tensor of this name.
    pub fn of_name(name: &str, scheme: Scheme) -> Self {
        Self { pattern: Pattern::Name(whole_name(name)), scheme, place: None }
    }

    /// Reads a file of rules, in TOML:
    ///
    /// ```toml
    /// [[rule]]
    /// match = "lm_head|embed"
    /// scheme = "palette-8"
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] with `file` and line for anything that is not such a rule.
    pub fn from_toml(text: &str, file: &str) -> Result<Vec<Self>> {
        let parsed: RulesFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            let why = error.message().trim_end().replace('\n', "; ");
            Error::Usage(format!("{file}:{line}: {why}; a rule is [[rule]] with match and scheme"))
        })?;
        let rule = |written: toml::Spanned<RuleInFile>| {
            let place = format!("{file}:{}", line_at(text, written.span().start));
            let RuleInFile { pattern, scheme } = written.into_inner();
            Self::new(&pattern, &scheme, Some(place.clone()))
                .map_err(|why| Error::Usage(format!("{place}: {why}")))
        };
        parsed.rule.into_iter().map(rule).collect()
    }

    fn new(
        pattern: &str,
        scheme: &str,
        place: Option<String>,
    ) -> std::result::Result<Self, String> {
        if pattern.is_empty() {
            return Err("the pattern is empty; `.` matches every name".into());
        }
        let scheme = scheme.parse().map_err(|e: crate::scheme::ParseError| e.to_string())?;
        Ok(Self { pattern: Pattern::parse(pattern)?, scheme, place })
    }

    /// Whether it is about this tensor.
    pub fn matches(&self, header: &Header) -> bool {
        match &self.pattern {
            Pattern::Name(pattern) => pattern.is_match(&header.name),
            Pattern::Operation(operation) => {
                header.role.as_ref().is_some_and(|role| role.operations.contains(operation))
            }
        }
    }
}

/// A pattern that matches this name alone.
pub fn whole_name(name: &str) -> Regex {
    let pattern = Regex::new(&format!("^{}$", regex::escape(name)));
    pattern.expect("an escaped name is a pattern")
}

/// A pattern of tensor names, unanchored.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn pattern_of_names(pattern: &str) -> std::result::Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        // The last line of the regex crate's drawing says what is wrong.
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("`{pattern}` is not a regular expression: {why}")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default)]
    rule: Vec<toml::Spanned<RuleInFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleInFile {
    #[serde(rename = "match")]
    pattern: String,
    scheme: String,
}

/// The 1-based line of a byte offset.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

impl fmt::Display for Rule {
    /// `--rule 'REGEX=SCHEME'`, or the place in a file and the pattern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            None => write!(f, "--rule '{}={}'", self.pattern, self.scheme),
            Some(place) => write!(f, "{place} '{}={}'", self.pattern, self.scheme),
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let mut rule = to.serialize_struct("Rule", 2)?;
        rule.serialize_field("match", &self.pattern.to_string())?;
        rule.serialize_field("scheme", &self.scheme)?;
        rule.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_splits_at_the_last_equals_sign_and_never_at_commas() {
        #[rustfmt::skip]
        let cases: &[(&str, &str, &str)] = &[
            ("mlp=palette-4",                        "mlp",        "palette-4"),
            ("a{1,2}=linear-int4,block:32",          "a{1,2}",     "linear-int4,block:32"),
            ("x=y=float16",                          "x=y",        "float16"),
            ("^l\\.[0-9]+\\.w$=palette-6,group:16",  "^l\\.[0-9]+\\.w$", "palette-6,group:16"),
        ];
        for (text, pattern, scheme) in cases {
            let rule = Rule::parse(text).expect(text);
            assert_eq!(
                (rule.pattern.to_string().as_str(), rule.scheme.to_string().as_str()),
                (*pattern, *scheme)
            );
        }
    }

    #[test]
    fn a_broken_rule_is_refused_with_what_would_do() {
        let told: Vec<String> = ["mlp", "=float16", "(=float16", "mlp=palette-5", "mlp="]
            .iter()
            .map(|text| Rule::parse(text).expect_err(text).to_string())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        --rule 'mlp': there is no `=`; write REGEX=SCHEME, such as 'mlp=palette-4'
        --rule '=float16': the pattern is empty; `.` matches every name
        --rule '(=float16': `(` is not a regular expression: unclosed group
        --rule 'mlp=palette-5': no index type has 5 bits; use palette-6 (or palette-4)
        --rule 'mlp=': unknown scheme ``; schemes are linear-int8, linear-int4, palette-8, -6, -4, -3, -2, -1, float16 and float32, with options such as linear-int4,block:32
        ");
    }

    #[test]
    fn a_file_of_rules_keeps_their_order_and_lines() {
        let text = "# comment\n[[rule]]\nmatch = \"head\"\nscheme = \"float16\"\n\n[[rule]]\nmatch = \".\"\nscheme = \"palette-4,group:16\"\n";
        let rules = Rule::from_toml(text, "r.toml").unwrap();
        let told: Vec<String> = rules.iter().map(Rule::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        r.toml:2 'head=float16'
        r.toml:6 '.=palette-4,group:16'
        ");
        assert!(Rule::from_toml("", "r.toml").unwrap().is_empty());
    }

    #[test]
    fn a_broken_file_of_rules_is_refused_with_its_place() {
        #[rustfmt::skip]
        let files = [
            "[[rule]]\nmatch = \"a\"\nscheme = \"float16\"\nbits = 4\n",
            "[[rules]]\n",
            "[[rule]]\nmatch = \"a\"\n",
            "\n\n[[rule]]\nmatch = \"(\"\nscheme = \"float16\"\n",
            "[[rule]]\nmatch = 3\nscheme = \"float16\"\n",
            "[[rule]\n",
            "[[rule]]\nmatch = \"a\"\nscheme = \"linear-int5\"\n",
        ];
        let told: Vec<String> =
            files.iter().map(|f| Rule::from_toml(f, "r.toml").expect_err(f).to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        r.toml:4: unknown field `bits`, expected `match` or `scheme`; a rule is [[rule]] with match and scheme
        r.toml:1: unknown field `rules`, expected `rule`; a rule is [[rule]] with match and scheme
        r.toml:1: missing field `scheme`; a rule is [[rule]] with match and scheme
        r.toml:3: `(` is not a regular expression: unclosed group
        r.toml:2: invalid type: integer `3`, expected a string; a rule is [[rule]] with match and scheme
        r.toml:1: unclosed array table, expected `]`; a rule is [[rule]] with match and scheme
        r.toml:1: unknown linear scheme `linear-int5`; use linear-int8 or linear-int4 (3, 6 and other widths exist as palettes, such as palette-6)
        ");
    }
}
