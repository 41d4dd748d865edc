//! What a run of a function gave, as people read it and as machines do.

use super::text::figure;
use crate::text::{Column, Table, listed, printable, shape};
use serde::Serialize;
use std::fmt::Write;

/// Labels of a classifier that are shown.
const TOP: usize = 5;

/// What a run of a function gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outputs {
    /// The package, without its folder.
    pub package: String,
    /// The function.
    pub function: String,
    /// The package's other functions, where nobody said which was meant.
    pub other_functions: Vec<String>,
    /// Who evaluated, and how values were rounded.
    pub backend: String,
    /// Where the inputs came from.
    pub inputs: String,
    /// The outputs of each step.
    pub steps: Vec<Vec<Output>>,
    /// What states hold after the last.
    pub states: Vec<Output>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its element type; `label` and `scores` for what a classifier says.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its shape; empty for a label or scores.
    pub shape: Vec<usize>,
    /// What stands in it.
    #[serde(flatten)]
    pub content: Content,
}

/// What stands in an output.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Numbers; `null` for figures that are not finite or do not exist.
    Numbers {
        /// The smallest.
        min: Option<f64>,
        /// The largest.
        max: Option<f64>,
        /// The mean.
        mean: Option<f64>,
        /// How many are NaN or infinite.
        not_finite: u64,
        /// The first few.
        first: Vec<Option<f64>>,
    },
    /// A classifier's answer.
    Label {
        /// The best label.
        label: String,
    },
    /// What a classifier says of each label, the best first.
    Scores {
        /// Label and score.
        scores: Vec<(String, f64)>,
    },
}

impl Content {
    /// Of so many numbers.
    pub fn numbers(values: impl ExactSizeIterator<Item = f64> + Clone, first: usize) -> Self {
        let finite = values.clone().filter(|x| x.is_finite());
        let count = finite.clone().count();
        let some = |x: f64| (count > 0 && x.is_finite()).then_some(x);
        Self::Numbers {
            min: some(finite.clone().fold(f64::INFINITY, f64::min)),
            max: some(finite.clone().fold(f64::NEG_INFINITY, f64::max)),
            mean: some(finite.sum::<f64>() / count.max(1) as f64),
            not_finite: (values.len() - count) as u64,
            first: values.take(first).map(|x| x.is_finite().then_some(x)).collect(),
        }
    }
}

impl Outputs {
    /// A table of outputs and states.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let mut out = format!(
            "{}, function {}, on {}\ninputs: {}\n",
            printable(&self.package),
            printable(&self.function),
            self.backend,
            printable(&self.inputs)
        );
        if !self.other_functions.is_empty() {
            let others = listed(self.other_functions.iter().map(String::as_str));
            let _ = writeln!(out, "not run: {others}; --function NAME chooses one");
        }
        out.push('\n');
        let mut table = Table::new(vec![
            Column::left("output").shrink_to(16),
            Column::left("type"),
            Column::right("min"),
            Column::right("max"),
            Column::right("mean"),
            Column::left("first").cut_to(12),
        ]);
        for (n, step) in self.steps.iter().enumerate() {
            for output in step {
                let name = match self.steps.len() {
                    1 => output.name.clone(),
                    _ => format!("step{n}.{}", output.name),
                };
                table.row(row(name, output));
            }
        }
        for state in &self.states {
            table.row(row(format!("final.{}", state.name), state));
        }
        out.push_str(&table.render(width));
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {}", printable(warning));
        }
        out
    }
}

fn row(name: String, output: &Output) -> Vec<String> {
    let some = |x: &Option<f64>| x.map_or("–".into(), figure);
    let (figures, first) = match &output.content {
        Content::Numbers { min, max, mean, not_finite, first } => {
            let mut shown = first.iter().map(some).collect::<Vec<_>>().join(" ");
            if output.shape.iter().product::<usize>() > first.len() {
                shown.push_str(" …");
            }
            if *not_finite > 0 {
                shown = format!("{not_finite} not finite; {shown}");
            }
            ([some(min), some(max), some(mean)], shown)
        }
        Content::Label { label } => ([(); 3].map(|()| String::new()), label.clone()),
        Content::Scores { scores } => {
            let top =
                scores.iter().take(TOP).map(|(label, score)| format!("{label} {}", figure(*score)));
            ([(); 3].map(|()| String::new()), top.collect::<Vec<_>>().join(", "))
        }
    };
    let ty = match output.content {
        Content::Numbers { .. } => format!("{}{}", output.ty, shape(&output.shape)),
        Content::Label { .. } | Content::Scores { .. } => output.ty.clone(),
    };
    let [min, max, mean] = figures;
    vec![name, ty, min, max, mean, first]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_table() {
        let output = |name: &str, ty: &str, shape: &[usize], content| Output {
            name: name.into(),
            ty: ty.into(),
            shape: shape.to_vec(),
            content,
        };
        let numbers = [0.5, -2.0, f64::INFINITY, 1e-7, 12345.0];
        let scores = vec![("seven".to_string(), 0.75), ("nine".into(), 0.25)];
        let outputs = Outputs {
            package: "m.mlpackage".into(),
            function: "main".into(),
            other_functions: vec!["decode".into()],
            backend: "cpu".into(),
            inputs: "drawn".into(),
            steps: vec![vec![
                output("y", "fp16", &[1, 5], Content::numbers(numbers.into_iter(), 3)),
                output("empty", "fp16", &[0], Content::numbers([].into_iter(), 3)),
                output("label", "label", &[], Content::Label { label: "seven".into() }),
                output("probs", "scores", &[], Content::Scores { scores }),
            ]],
            states: vec![output("k", "fp16", &[1], Content::numbers([1.0].into_iter(), 3))],
            warnings: vec!["beware".into()],
        };
        insta::assert_snapshot!(outputs.to_text(None), @r"
        m.mlpackage, function main, on cpu
        inputs: drawn
        not run: decode; --function NAME chooses one

        output   type           min      max   mean  first
        y        fp16[1, 5]  -2.000  1.234e4   3086  1 not finite; 0.5000 -2.000 – …
        empty    fp16[0]          –        –      –
        label    label                               seven
        probs    scores                              seven 0.7500, nine 0.2500
        final.k  fp16[1]      1.000    1.000  1.000  1.000
        warning: beware
        ");
        let json = serde_json::to_value(&outputs).unwrap();
        assert_eq!(json["steps"][0][0]["not_finite"], 1);
        assert_eq!(json["steps"][0][0]["type"], "fp16");
        assert!(json["steps"][0][1]["min"].is_null());
    }
}
