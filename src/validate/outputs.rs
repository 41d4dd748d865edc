//! Outputs beside the source's, and which of them are distributions.

use super::Options;
use super::layers::numbers;
use crate::graph::{Function, ValueId};
use crate::metrics::{Closeness, Divergence, Rows};
use crate::report::validation::{Classes, Figures, OutputCheck};
use crate::runtime::Tensor;

/// One output over all steps.
#[derive(Default)]
pub(super) struct Compared {
    figures: Closeness,
    classes: Divergence,
}

impl Compared {
    /// Adds one step; false if the two have different numbers of elements. Labels have no numbers.
    pub(super) fn add(&mut self, expected: &[f32], got: &Tensor, classes: Option<Rows>) -> bool {
        let Some(numbers) = numbers(got) else { return true };
        let Some(figures) = Closeness::of(expected, &numbers) else { return false };
        self.figures.merge(&figures);
        // Scores have no shape: they are one row.
        let last = got.shape().last().copied().unwrap_or(numbers.len());
        if let Some(rows) = classes.filter(|_| last >= 2) {
            self.classes.add(rows, last, expected, &numbers);
        }
        true
    }

    /// What came of it; `None` if nothing was compared.
    pub(super) fn finish(self, function: &str, output: &str) -> Option<OutputCheck> {
        (self.figures.elements > 0).then(|| OutputCheck {
            function: function.into(),
            output: output.into(),
            figures: Figures::new(&self.figures),
            classes: (!self.classes.is_empty()).then(|| Classes::new(&self.classes)),
        })
    }
}

/// Whether an output is a distribution over classes (its last dimension), and in which form: one that
/// `--logits` names, whose name holds `logit` or `prob`, that `softmax` or `classify` makes.
pub(super) fn rows(
    options: &Options,
    function: &Function,
    output: ValueId,
    expected: &[f32],
    shape: &[usize],
) -> Option<Rows> {
    let name = function.value(output).name.as_str();
    let named = options.logits.iter().any(|logits| logits == name);
    let lower = name.to_ascii_lowercase();
    let told = lower.contains("logit") || lower.contains("prob");
    let made = function.operations.iter().any(|operation| {
        ["softmax", "classify"].contains(&operation.row.name) && operation.outputs.contains(&output)
    });
    let classes = shape.last().copied().unwrap_or(expected.len());
    (named || told || made).then(|| Rows::guess(expected, classes))
}
