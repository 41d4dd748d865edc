//! Classifiers.

use super::{Arguments, Data, Tensor};
use crate::graph::{DataType, Labels};
use crate::runtime::Label;

/// The label of the largest probability, the first of equals, and every label with its probability.
pub(in super::super) fn classify(arguments: &Arguments<'_>) -> Result<Vec<Tensor>, String> {
    let probabilities = arguments.float("probabilities")?;
    let labels = match arguments.labels("classes")? {
        Labels::Texts(texts) => texts.iter().cloned().map(Label::Text).collect::<Vec<_>>(),
        Labels::Ints(ints) => ints.iter().copied().map(Label::Int).collect(),
    };
    if labels.len() != probabilities.len() {
        return Err(format!("{} probabilities for {} labels", probabilities.len(), labels.len()));
    }
    let scores: Vec<(Label, f64)> =
        labels.into_iter().zip(probabilities.iter().map(|&p| p.into())).collect();
    let mut rest = scores.iter();
    let first = rest.next().ok_or("there are no labels")?;
    let best = rest.fold(first, |best, next| if next.1 > best.1 { next } else { best });
    let label = Data::Label(best.0.clone());
    let dtype = arguments.labels("classes")?.dtype();
    Ok(vec![
        Tensor { dtype, data: label },
        Tensor { dtype: DataType::Float64, data: Data::Scores(scores) },
    ])
}
