//! One thing that is wrong with a package or a function.

use std::fmt;

/// How many findings a message lists.
const LISTED: usize = 20;

/// One thing that is wrong with a package. Places that do not apply are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The function.
    pub function: String,
    /// The operation's type and name, as in ``linear `fc1` ``; or the input, state or output, as in
    /// ``input `x` ``.
    pub operation: String,
    /// The parameter.
    pub param: String,
    /// What stands there, and what should.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in [&self.function, &self.operation, &self.param] {
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
        }
        f.write_str(&self.found)
    }
}

/// The findings, one a line, and how many more there are.
pub(crate) fn listed(findings: &[Finding]) -> String {
    let lines = findings.iter().take(LISTED).map(|finding| format!("\n  {finding}"));
    let all = match findings.len() {
        1 => "1 finding".to_owned(),
        n => format!("{n} findings"),
    };
    let more = match findings.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    lines.fold(all, |text, line| text + &line) + &more
}
