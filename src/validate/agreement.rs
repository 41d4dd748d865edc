//! Backends beside each other.
//!
//! A backend that computes in f32 is the reference in mode f32 but for the order of its sums: both take
//! a compressed weight as the codes, scales and tables that are stored, and round nothing to FP16. So
//! their difference says whether a backend reads a package rightly, whatever FP16 would cost a device,
//! which `--mode f16` and `ane` show beside the source.
//!
//! Where activations become codes on the way, roundings of f32 decide ties, and what follows magnifies
//! them: there both go on from the reference's codes, see [`super::codes`].

use super::golden::recorded;
use crate::execute::{Engine, Ran};
use crate::graph::Function;
use crate::metrics::Closeness;
use crate::report::validation::AgreementCheck;
use crate::runtime::Tensors;

/// The outputs of the first backend beside those of each other one, over all steps.
pub(super) fn checks(
    name: &str,
    function: &Function,
    runs: &[(&Engine, Ran)],
) -> Vec<AgreementCheck> {
    let Some(((first, one), others)) = runs.split_first() else { return vec![] };
    let mut checks = vec![];
    for (second, other) in others {
        for output in &function.outputs {
            let output = &function.value(output.value).name;
            let mut sums = Closeness::default();
            for (one, other) in one.steps.iter().zip(&other.steps) {
                let numbers = |t: &Tensors| t.get(output).and_then(recorded);
                if let (Some(x), Some(y)) = (numbers(one), numbers(other)) {
                    sums.add(&x, &y);
                    sums.broken += x.len().abs_diff(y.len()) as u64;
                }
            }
            checks.push(AgreementCheck {
                function: name.into(),
                output: output.clone(),
                between: [first.to_string(), second.to_string()],
                elements: sums.elements,
                relative: sums.relative(),
                own_codes: None,
            });
        }
    }
    checks
}
