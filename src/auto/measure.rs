//! Each weight alone, nothing twice.

use super::{Evaluator, Form, Input, Subject};
use crate::Result;
use crate::progress::Progress;
use crate::scheme::Scheme;
use std::collections::BTreeMap;

/// Divergences by a weight's name, the words of a scheme, and what the weight meets.
pub type Measured = BTreeMap<(String, String, Input), f64>;

/// Measures what `known` lacks: for each weight, in order, the divergence of each variant. FP16 is
/// what the others are compared with, and costs nothing. After each weight `save` gets all that is
/// known, so that an interrupted run goes on where it was.
///
/// # Errors
/// As [`Evaluator::alone`] and `save`.
pub fn measure(
    subject: &Subject,
    evaluator: &mut dyn Evaluator,
    known: &mut Measured,
    save: &mut dyn FnMut(&Measured) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>> {
    let key = |weight: &super::Weight, form: Form| {
        (weight.name.clone(), form.scheme.to_string(), form.input)
    };
    let cost =
        |weight: &super::Weight| weight.elements.saturating_mul(weight.variants.len() as u64);
    progress.start(subject.weights.iter().map(cost).sum());
    let mut all = Vec::with_capacity(subject.weights.len());
    for (place, weight) in subject.weights.iter().enumerate() {
        let mut of_this = Vec::with_capacity(weight.variants.len());
        let mut is_new = false;
        for &super::Variant { form, .. } in &weight.variants {
            let divergence = match (form.scheme, known.get(&key(weight, form))) {
                (Scheme::Float(_), _) => 0.0,
                (_, Some(known)) => *known,
                (_, None) => {
                    let divergence = evaluator.alone(place, form)?;
                    // What has no distance from the model is as far as can be.
                    let divergence = if divergence.is_nan() { f64::INFINITY } else { divergence };
                    known.insert(key(weight, form), divergence);
                    is_new = true;
                    divergence
                }
            };
            of_this.push(divergence);
            progress.advance(weight.elements);
        }
        all.push(of_this);
        if is_new {
            save(known)?;
        }
    }
    progress.finish();
    Ok(all)
}
