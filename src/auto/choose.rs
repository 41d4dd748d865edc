//! The mix that holds the budget.

use super::path::{Path, path};
use super::reasons::reasons;
use super::{Budget, Evaluator, Metric, Price, Subject, Time};
use crate::{Error, Result};

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The variant of each weight.
    pub variants: Vec<usize>,
    /// Why each.
    pub why: Vec<String>,
    /// What all tensors cost.
    pub price: Price,
    /// Stored bits a weight, over all tensors.
    pub bits: f64,
    /// How far the model moves, all weights together, on all data.
    pub divergence: f64,
    /// What the divergences of the weights alone add up to.
    pub predicted: f64,
}

/// Seconds that a byte counts where the time of a call is limited, so that of equally fast and near plans
/// the smaller is taken: a ten-thousandth of what reading it takes.
const BYTE: f64 = 1e-15;

/// What the budget is after: bytes where they are limited, or where no chip is chosen for; else time.
///
/// Where time is not limited, it is that of a call and of reading the weights once more: a prompt and a
/// token behind it. Of forms that multiply as fast the smaller is then the cheaper, where by the call
/// alone float would come for nothing.
fn cost(price: Price, budget: Budget) -> f64 {
    match (budget, price.time) {
        (Budget::Bits(_), _) | (_, None) => price.bytes as f64,
        (Budget::Time(_), Some(time)) => time.call + BYTE * price.bytes as f64,
        (Budget::Kl(_) | Budget::Sqnr(_), Some(time)) => time.call + time.reading,
    }
}

/// Chooses for weights whose variants move the model so far. Every plan that is taken was run.
///
/// Along the path the divergence falls, so that the cheapest plan that is near enough is found by
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
    let of_each = |weight: &super::Weight| -> Vec<f64> {
        weight.variants.iter().map(|variant| cost(variant.price, budget)).collect()
    };
    let costs: Vec<Vec<f64>> = subject.weights.iter().map(of_each).collect();
    let divergences = &no_nearer_than_float(subject, divergences);
    let path = path(&costs, divergences);
    let mut run = |chosen: &[usize]| evaluator.together(&subject.forms(chosen));
    let (variants, divergence) = match room(subject, &path, budget)? {
        Some(room) => {
            let chosen = path.within(room);
            let divergence = run(&chosen)?;
            (chosen, divergence)
        }
        None => cheapest(&path, budget, metric, &mut run)?,
    };
    let predicted = variants.iter().zip(divergences).map(|(&c, of)| of[c]).sum();
    let price = subject.price(&variants);
    let bits = subject.bits(price.bytes);
    let by_time = price.time.is_some() && !matches!(budget, Budget::Bits(_));
    let why = reasons(subject, &path, &variants, by_time);
    Ok(Choice { variants, why, price, bits, divergence, predicted })
}

/// Rounding a layer's input takes no divergence off: an INT8 variant counts no less than the same weight
/// beside float, whatever a few tokens said, so that it is never taken for nothing.
fn no_nearer_than_float(subject: &Subject, divergences: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |(weight, known): (&super::Weight, &Vec<f64>)| -> Vec<f64> {
        let floor = |variant: &super::Variant| {
            let twin = super::Form::float(variant.form.scheme);
            let place = weight.variants.iter().position(|other| other.form == twin);
            place.map_or(0.0, |place| known[place])
        };
        weight.variants.iter().zip(known).map(|(variant, own)| own.max(floor(variant))).collect()
    };
    subject.weights.iter().zip(divergences).map(of).collect()
}

/// What the limit of a cost leaves beyond the path's start; `None` where no cost is limited.
fn room(subject: &Subject, path: &Path, budget: Budget) -> Result<Option<f64>> {
    let least = subject.price(&path.start);
    let (limit, taken, words) = match budget {
        Budget::Kl(_) | Budget::Sqnr(_) => return Ok(None),
        Budget::Bits(bits) => {
            let limit = (bits * subject.elements as f64 / 8.0).floor();
            let words = format!(
                "smallest plan of these candidates takes {:.3} bits a weight",
                subject.bits(least.bytes)
            );
            (limit, least.bytes as f64, words)
        }
        Budget::Time(ms) => {
            let Some(Time { call, .. }) = least.time else {
                let why = "time is a chip's; add --chip NAME";
                return Err(Error::Usage(format!("{budget}: {why}")));
            };
            let words = format!("fastest plan of these candidates takes {:.4} ms", call * 1e3);
            (ms / 1e3, cost(least, budget), words)
        }
    };
    if taken > limit {
        let found = format!("the {words}; allow more, or add a --candidate that takes less");
        return Err(Error::Usage(format!("{budget}: {found}")));
    }
    Ok(Some(limit - taken))
}

/// The cheapest plan of the path whose divergence holds the limit, and that divergence.
fn cheapest(
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
