//! Remarks as people read them.

use super::{Confidence, Effect, Remark};
use crate::text::{Column, Table, printable, wrapped};
use std::fmt::Write;

/// Rows that are shown; the JSON document has all.
const SHOWN: usize = 24;

impl Effect {
    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Wrong => "wrong result",
            Self::Fails => "fails",
            Self::Placement => "other unit",
            Self::Slower => "slower",
        }
    }
}

impl Confidence {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Documented => "documented",
            Self::Reported => "reported",
            Self::Inferred => "inferred",
        }
    }
}

impl Remark {
    /// `per-block: codes with ...; palette-8 would do (reported: https://...)`.
    pub fn in_words(&self) -> String {
        format!(
            "{}: {}; {} ({}: {})",
            printable(&self.rule),
            printable(&self.about),
            printable(&self.remedy),
            self.confidence.word(),
            printable(&self.source),
        )
    }
}

/// A line a rule, of what goes wrong: the first place and how many there are.
pub fn in_short(remarks: &[Remark], width: Option<usize>) -> String {
    let mut out = String::new();
    let mut told: Vec<&str> = Vec::new();
    for remark in remarks {
        if told.contains(&remark.rule.as_str()) {
            continue;
        }
        told.push(&remark.rule);
        let same = remarks.iter().filter(|other| other.rule == remark.rule);
        let times = same.fold(0usize, |times, other| times.saturating_add(other.times));
        let others = if times > remark.times { " and others" } else { "" };
        let places = match times {
            1 => String::new(),
            times => format!("{others}, {times} places"),
        };
        let line = format!("remark: {}{places}: {}", printable(&remark.at), remark.in_words());
        out.push_str(&wrapped(&line, width, 2));
    }
    out
}

/// A table of the places, and each rule in full, once. Empty without remarks.
pub fn to_text(title: &str, remarks: &[Remark], width: Option<usize>) -> String {
    if remarks.is_empty() {
        return String::new();
    }
    let mut table = Table::new(vec![
        Column::left(title.to_owned()).shrink_to(16),
        Column::right("times"),
        Column::left("effect").optional(),
        Column::left("rule"),
    ]);
    for remark in remarks.iter().take(SHOWN) {
        table.row(vec![
            remark.at.clone(),
            remark.times.to_string(),
            remark.effect.word().into(),
            remark.rule.clone(),
        ]);
    }
    let mut out = table.render(width);
    if remarks.len() > SHOWN {
        let _ = writeln!(out, "and {} more, which --json lists", remarks.len() - SHOWN);
    }
    out.push('\n');
    let mut told: Vec<&str> = Vec::new();
    for remark in remarks.iter().take(SHOWN) {
        if !told.contains(&remark.about.as_str()) {
            told.push(&remark.about);
            out.push_str(&wrapped(&remark.in_words(), width, 2));
        }
    }
    out
}
