//! The tables of an INT8 path.

use super::{ByClass, Class, Folded, InPackage, Int8Path, Shares, Summary};
use crate::text::{Column, Table, bar, grouped, printable, wrapped};
use std::fmt::Write;

/// Characters of a whole bar.
const BAR: usize = 24;

/// Rows of breaks that are shown; the JSON document has all.
const SHOWN: usize = 24;

/// Breaks that a report's own text names.
const NAMED: usize = 3;

/// Functions whose shares a report's own text gives.
const FUNCTIONS: usize = 4;

impl Int8Path {
    /// Shares and breaks for a terminal of `width` columns; `name` is the function's, or what several
    /// have in common.
    pub fn to_text(&self, name: &str, width: Option<usize>) -> String {
        let total = self.shares.all.total();
        let mut out = format!(
            "{}: {}, {} MACs\n",
            printable(name),
            count(self.products.len(), "product"),
            grouped(total),
        );
        if self.products.is_empty() {
            out.push_str("nothing is multiplied here\n");
            return out;
        }
        if self.shares.unknown > 0 {
            let _ = writeln!(out, "{} of them of unknown size", self.shares.unknown);
        }
        out.push('\n');
        out.push_str(&self.shares.to_text(width));
        let folded = super::fold(&self.breaks);
        if folded.is_empty() {
            out.push_str("\nno chain of INT8 values ends in float\n");
            return out;
        }
        out.push('\n');
        out.push_str(&breaks(&folded, total, width));
        out
    }
}

impl Shares {
    /// One line a class that occurs, and the sum.
    fn to_text(self, width: Option<usize>) -> String {
        let mut table = Table::new(vec![
            Column::left("class"),
            Column::left("arithmetic").optional(),
            Column::right("all MACs"),
            Column::left("").optional(),
            Column::right("with weights"),
        ]);
        for class in Class::ALL.into_iter().filter(|class| self.all.of(*class) > 0) {
            table.row(vec![
                class.name().into(),
                class.about().into(),
                percent(self.all.share(class)),
                bar(self.all.share(class).unwrap_or(0.0), BAR),
                percent(self.weights.share(class)),
            ]);
        }
        table.row(vec![
            "INT8 in all".into(),
            "both operands INT8".into(),
            percent(self.all.int8_share()),
            bar(self.all.int8_share().unwrap_or(0.0), BAR),
            percent(self.weights.int8_share()),
        ]);
        table.render(width)
    }

    /// `95.2 % of MACs in INT8, 98.1 % of those with weights`; `None` where nothing is multiplied.
    pub fn in_words(&self) -> Option<String> {
        let all = self.all.int8_share()?;
        let weights = self.weights.int8_share();
        let weights =
            weights.map(|share| format!(", {} of those with weights", percent(Some(share))));
        Some(format!("{} of MACs in INT8{}", percent(Some(all)), weights.unwrap_or_default()))
    }
}

impl ByClass {
    /// The classes that occur, the largest first: `W8A16 97.0 %, float 3.0 %`.
    pub fn in_words(&self) -> String {
        let mut classes = Class::ALL.map(|class| (self.of(class), class));
        classes.sort_by_key(|(macs, class)| (u64::MAX - macs, *class));
        let classes = classes.iter().filter(|(macs, _)| *macs > 0);
        let words =
            classes.map(|(_, class)| format!("{} {}", class.name(), percent(self.share(*class))));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl InPackage {
    /// A line or two a function: shares, and where INT8 ends.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let mut out = String::new();
        for function in self.functions.iter().take(FUNCTIONS) {
            out.push_str(&wrapped(&function.in_words(), width, 2));
        }
        if self.functions.len() > FUNCTIONS {
            let more = self.functions.len() - FUNCTIONS;
            let _ = writeln!(out, "and {}; quantize inspect --int8-path", count(more, "function"));
        }
        out
    }
}

impl Summary {
    /// `INT8 path of main: 95.2 % of MACs (...); float at layers_*_softmax (softmax, 6 times)`. Where nothing
    /// is INT8, no break is named: every layer would be one.
    fn in_words(&self) -> String {
        let name = printable(&self.function);
        let Some(share) = self.int8_share else {
            return format!("INT8 path of {name}: nothing is multiplied");
        };
        let mut out = format!(
            "INT8 path of {name}: {} of MACs ({})",
            percent(Some(share)),
            self.shares.all.in_words()
        );
        if share == 0.0 {
            return out;
        }
        let named = self.breaks.iter().take(NAMED).map(|found| {
            let times = match found.times {
                1 => String::new(),
                times => format!(", {times} times"),
            };
            format!("{} ({}{times})", printable(&found.operations), printable(&found.reason))
        });
        let mut named: Vec<String> = named.collect();
        if self.breaks.len() > NAMED {
            named.push(format!("and {} more", self.breaks.len() - NAMED));
        }
        if !named.is_empty() {
            let _ = write!(out, "; float at {}", named.join(", "));
        }
        out
    }
}

/// Where INT8 ends, and each reason in full, once.
fn breaks(folded: &[Folded], total: u64, width: Option<usize>) -> String {
    let mut table = Table::new(vec![
        Column::left("where INT8 ends").shrink_to(16),
        Column::left("type").shrink_to(8).optional(),
        Column::right("times"),
        Column::right("MACs"),
        Column::left("reason"),
    ]);
    for found in folded.iter().take(SHOWN) {
        table.row(vec![
            found.operations.clone(),
            found.kind.clone(),
            found.times.to_string(),
            match found.macs {
                0 => String::new(),
                macs => percent((total > 0).then(|| macs as f64 / total as f64)),
            },
            found.reason.clone(),
        ]);
    }
    let mut out = table.render(width);
    if folded.len() > SHOWN {
        let _ = writeln!(out, "and {} more, which --json lists", folded.len() - SHOWN);
    }
    out.push('\n');
    let mut told: Vec<&str> = Vec::new();
    for found in folded.iter().take(SHOWN) {
        if told.contains(&found.why.as_str()) {
            continue;
        }
        told.push(&found.why);
        let line = format!("{}: {}", found.reason, printable(&found.why));
        out.push_str(&wrapped(&line, width, 2));
    }
    out
}

/// `1 product`, `3 products`.
pub(super) fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{} {what}s", grouped(n as u64)),
    }
}

/// `95.2 %`; nothing where there is no share.
pub(super) fn percent(share: Option<f64>) -> String {
    match share {
        None => String::new(),
        // What rounds to all but is not all must not say so.
        Some(share) if share < 1.0 && share > 0.9995 => ">99.9 %".into(),
        Some(share) if share > 0.0 && share < 0.0005 => "<0.1 %".into(),
        Some(share) => format!("{:.1} %", share * 100.0),
    }
}
