//! The mix that holds the budget.

use super::path::{Path, path};
use super::{Budget, Evaluator, Metric, Subject};
use crate::scheme::Scheme;
use crate::{Error, Result};

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The candidate of each weight.
    pub candidates: Vec<usize>,
    /// Why each.
    pub why: Vec<String>,
    /// Stored bits a weight, over all tensors.
    pub bits: f64,
    /// How far the model moves, all weights together, on all data.
    pub divergence: f64,
    /// What the divergences of the weights alone add up to.
    pub predicted: f64,
}

/// Chooses for weights whose candidates move the model so far. Every plan that is taken was run.
///
/// Along the path the divergence falls, so that the smallest plan that is near enough is found by
/// halving; should it rise somewhere, what is found still holds the limit.
///
/// # Errors
/// [`Error::Usage`] for a budget that no mix holds; as [`Evaluator::together`].
pub fn choose(
    subject: &Subject,
    divergences: &[Vec<f64>],
    budget: Budget,
    metric: Metric,
    evaluator: &mut dyn Evaluator,
) -> Result<Choice> {
    let path = path(&subject.weights, divergences);
    let bytes = |chosen: &[usize]| -> u64 {
        chosen.iter().zip(&subject.weights).map(|(&c, weight)| weight.candidates[c].1).sum()
    };
    let schemes = |chosen: &[usize]| -> Vec<Scheme> {
        chosen.iter().zip(&subject.weights).map(|(&c, weight)| weight.candidates[c].0).collect()
    };
    let (candidates, divergence) = if let Budget::Bits(bits) = budget {
        let least = bytes(&path.start);
        let Some(more) = subject.room(bits).checked_sub(least) else {
            return Err(Error::Usage(format!(
                "{budget}: the smallest plan of these candidates takes {:.3} bits a weight; allow more, \
                 or add a smaller --candidate",
                subject.bits(least)
            )));
        };
        let chosen = path.within(more);
        let divergence = evaluator.together(&schemes(&chosen))?;
        (chosen, divergence)
    } else {
        smallest(&path, budget, metric, &mut |chosen| evaluator.together(&schemes(chosen)))?
    };
    let predicted = candidates.iter().zip(divergences).map(|(&c, of)| of[c]).sum();
    let bits = subject.bits(bytes(&candidates));
    let why = reasons(subject, &path, &candidates);
    Ok(Choice { candidates, why, bits, divergence, predicted })
}

/// The smallest plan of the path whose divergence holds the limit, and that divergence.
fn smallest(
    path: &Path,
    budget: Budget,
    metric: Metric,
    run: &mut dyn FnMut(&[usize]) -> Result<f64>,
) -> Result<(Vec<usize>, f64)> {
    let limit = budget.limit();
    let first = run(&path.start)?;
    if first <= limit {
        return Ok((path.start.clone(), first));
    }
    // Too far after `low` steps, near enough after `high`.
    let (mut low, mut high) = (0, path.steps.len());
    let mut reached = if high == 0 { first } else { run(&path.after(high))? };
    if reached > limit {
        return Err(Error::Usage(format!(
            "{budget}: the nearest plan of these candidates has {}; allow more, or add a --candidate \
             that is nearer to the model in float",
            metric.told(reached)
        )));
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        let divergence = run(&path.after(middle))?;
        if divergence <= limit {
            (high, reached) = (middle, divergence);
        } else {
            low = middle;
        }
    }
    Ok((path.after(high), reached))
}

/// Why each weight has its candidate: what the step to the next one would have been worth, beside the
/// least that a step was worth that was taken.
fn reasons(subject: &Subject, path: &Path, chosen: &[usize]) -> Vec<String> {
    // Steps of a weight come in the order of its hull: those up to its candidate were taken.
    let mut at = path.start.clone();
    let mut least = f64::INFINITY;
    let mut next = vec![None; chosen.len()];
    for step in &path.steps {
        if at[step.weight] == chosen[step.weight] {
            next[step.weight].get_or_insert(step);
        } else {
            at[step.weight] = step.to;
            least = least.min(step.rate());
        }
    }
    let per_kib = |rate: f64| rate * 1024.0;
    let reason = |(weight, step): (usize, &Option<&super::path::Step>)| {
        let weight = &subject.weights[weight];
        match step {
            None if weight.candidates.len() == 1 => "the only candidate".to_owned(),
            None => "no candidate is nearer".to_owned(),
            Some(step) => {
                let taken = match least.is_finite() {
                    true => format!("steps taken gain {:.2e} or more", per_kib(least)),
                    false => "no step was taken".to_owned(),
                };
                let to = weight.candidates[step.to].0;
                format!(
                    "{to} takes {} bytes more and gains {:.2e} a KiB; {taken}",
                    step.bytes,
                    per_kib(step.rate())
                )
            }
        }
    };
    next.iter().enumerate().map(reason).collect()
}
