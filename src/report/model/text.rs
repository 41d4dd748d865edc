//! The tables of a model.

use super::{FeatureReport, FunctionReport, Model};
use crate::report::{InputFile, Provenance};
use crate::text::{Column, Table, exact_size, grouped, printable, shape, size};
use std::fmt::Write;

impl Model {
    /// What it holds, function by function, for a terminal of `width` columns.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let [ios, macos] = self.target.names();
        let mut out = match self.functions.len() {
            1 => format!("ML Program for {ios} ({macos})\n"),
            n => format!("ML Program for {ios} ({macos}), {n} functions\n"),
        };
        let texts = [
            ("", &self.description),
            ("author: ", &self.author),
            ("version: ", &self.version),
            ("license: ", &self.license),
        ];
        for (what, text) in texts {
            if !text.is_empty() {
                let _ = writeln!(out, "{what}{}", printable(text));
            }
        }
        for run in &self.provenance {
            out.push_str(&run.to_text());
        }
        for function in &self.functions {
            out.push('\n');
            out.push_str(&function.to_text(width));
        }
        out
    }

    /// The JSON document, indented, with a line feed at its end.
    ///
    /// # Panics
    /// Never: every value has a form in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings, numbers and maps") + "\n"
    }
}

impl Provenance {
    /// `by twolane 0.1.0: --scheme ...`, and the files below.
    fn to_text(&self) -> String {
        let mut out = format!("by {}: {}\n", printable(&self.version), printable(&self.options));
        for InputFile { name, bytes, blake3, sha256 } in &self.sources {
            let (name, blake3) = (printable(name), printable(blake3));
            let _ = writeln!(out, "  from {name}, {} bytes, blake3 {blake3}", grouped(*bytes));
            if let Some(sha256) = sha256 {
                let _ = writeln!(out, "    sha256 {}", printable(sha256));
            }
        }
        out
    }
}

impl FunctionReport {
    fn to_text(&self, width: Option<usize>) -> String {
        let macs = match self.macs {
            Some(macs) => format!("{} MACs", grouped(macs)),
            None => "MACs not known".into(),
        };
        let count: usize = self.operations.values().sum();
        let weights = exact_size(self.weight_bytes);
        let operations = match count {
            1 => "1 operation".into(),
            n => format!("{} operations", grouped(n as u64)),
        };
        let mut out = format!(
            "function {}: {operations}, {macs}, {weights} of constants\n\n",
            printable(&self.name),
        );
        let mut columns = vec![
            Column::left(""),
            Column::left("name").shrink_to(16),
            Column::left("type").shrink_to(16),
            Column::left("sizes (default)").cut_to(12),
            Column::left("about").cut_to(12).optional(),
        ];
        let optional = self.inputs.iter().any(|input| !input.default.is_empty());
        if optional {
            columns.push(Column::right("if left out"));
        }
        let mut features = Table::new(columns);
        let lists = [("input", &self.inputs), ("state", &self.states), ("output", &self.outputs)];
        for (kind, list) in lists {
            for FeatureReport { name, r#type, sizes, default, about } in list {
                let cells = [kind, name, r#type, sizes, about, default];
                let shown = if optional { 6 } else { 5 };
                features.row(cells[..shown].iter().map(|cell| cell.to_string()).collect());
            }
        }
        out.push_str(&features.render(width));
        let kinds = self.operations.iter().map(|(kind, count)| format!("{kind} {count}"));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "\noperations: {}", if kinds.is_empty() { "none" } else { &kinds });
        if !self.weights.is_empty() {
            let mut table = Table::new(vec![
                Column::left("constant").shrink_to(32),
                Column::left("shape").optional(),
                Column::left("stored as").cut_to(16),
                Column::right("size"),
            ]);
            for weight in &self.weights {
                let (name, storage) = (weight.name.clone(), weight.storage.clone());
                table.row(vec![name, shape(&weight.shape), storage, size(weight.bytes)]);
            }
            out.push('\n');
            out.push_str(&table.render(width));
        }
        if self.small > 0 {
            let small = grouped(self.small as u64);
            let _ =
                writeln!(out, "and {small} of fewer than 16 elements, {}", size(self.small_bytes));
        }
        out
    }
}
