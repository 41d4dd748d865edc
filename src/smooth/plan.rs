//! What would be done, for a model's functions.

use super::factors::{self, choose, spread};
use super::magnitudes::Weights;
use super::place::{self, Place};
use super::{Smooth, Step};
use crate::calibrate::{Calibration, watched};
use crate::graph::{Flow, Function, ValueId};
use std::collections::BTreeSet;

/// How much larger than the median the largest column must be for a multiplication to be put in.
const WORTH: f64 = 4.0;

/// Times that all pairs of layers are equalized, at the most: what one pair changes is the next one's
/// before.
const SWEEPS: usize = 8;

/// Functions that share weights.
pub struct Model<'m> {
    /// Each with what a weight of it is called among all weights; `None` for one that cannot be changed.
    #[allow(clippy::type_complexity)] // A name and a function.
    pub functions: Vec<(&'m Function, Box<dyn Fn(ValueId) -> Option<usize> + 'm>)>,
    /// The values of a weight, and its shape.
    #[allow(clippy::type_complexity)] // As it is called.
    pub values: &'m dyn Fn(usize) -> Option<(Vec<usize>, Vec<f32>)>,
}

/// The steps that are asked for, by the values' order in the functions. Nothing is planned for a weight
/// that anything else reads as well, and nothing for [`Smooth::Measured`] without a calibration.
pub fn plan(model: &Model<'_>, smooth: Smooth, calibration: Option<&Calibration>) -> Vec<Step> {
    let flows: Vec<Flow<'_>> = model.functions.iter().map(|(f, _)| Flow::new(f)).collect();
    let mut names: Vec<String> = Vec::new();
    for (function, _) in &model.functions {
        let columns = watched(function).into_iter().filter(|watch| watch.axis.is_some());
        names.extend(columns.map(|watch| watch.name));
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let places = names.iter().filter_map(|name| place::find(model, &flows, name));
    let places: Vec<Place> = places.collect();
    let mut weights = Weights::new(model);
    match (smooth, calibration) {
        (Smooth::Measured(alpha), Some(calibration)) => {
            let step = |place| {
                let step = measured(place, &weights, calibration, alpha)?;
                weights.apply(&step);
                Some(step)
            };
            places.into_iter().filter_map(step).collect()
        }
        (Smooth::Measured(_), None) => vec![],
        (Smooth::Equalized, _) => equalized(places, &mut weights),
    }
}

fn measured(
    place: Place,
    weights: &Weights<'_>,
    calibration: &Calibration,
    alpha: f64,
) -> Option<Step> {
    let squares = calibration.values.get(&place.name)?.statistics.squares();
    if squares.len() != place.channels * place.repeat.times {
        return None;
    }
    let mut activations = vec![0.0; place.channels];
    for (column, sum) in squares.iter().enumerate() {
        activations[place.repeat.channel(column)] += sum;
    }
    activations.iter_mut().for_each(|sum| *sum = sum.sqrt());
    let energy = |sum: f64, w: f64| sum + w * w;
    let columns = weights.fold(place.columns.iter().copied(), place.channels, energy)?;
    let columns: Vec<f64> = columns.iter().map(|sum| sum.sqrt()).collect();
    let factors = choose(&activations, &columns, alpha);
    let worst = spread(&activations).max(spread(&columns));
    if place.rows.is_none() && worst < WORTH {
        return None;
    }
    Some(step_of(place, factors)).filter(has_effect)
}

/// All pairs in turn, until none changes.
fn equalized(places: Vec<Place>, weights: &mut Weights<'_>) -> Vec<Step> {
    let folded = places.into_iter().filter(|place| place.rows.is_some());
    let new = |place: Place| {
        let factors = vec![1.0; place.channels];
        (place.rows.iter().flat_map(|rows| rows.gains.clone()).collect(), step_of(place, factors))
    };
    let mut pairs: Vec<(Vec<_>, Step)> = folded.map(new).collect();
    for _ in 0..SWEEPS {
        let mut changed = false;
        for (gains, step) in &mut pairs {
            let most = |most: f64, w: f64| most.max(w.abs());
            let columns = step.scaled.iter().copied().filter(|scaled| !scaled.divided);
            let count = step.factors.len();
            let both = (
                weights.fold(gains.iter().copied(), count, most),
                weights.fold(columns, count, most),
            );
            let (Some(rows), Some(columns)) = both else { continue };
            let more = factors::within(&step.factors, &choose(&rows, &columns, 0.5));
            changed |= more.iter().any(|&factor| factor != 1.0);
            step.factors.iter_mut().zip(&more).for_each(|(all, more)| *all *= more);
            weights.apply(&Step { factors: more, ..step.clone() });
        }
        if !changed {
            break;
        }
    }
    pairs.into_iter().map(|(_, step)| step).filter(has_effect).collect()
}

fn step_of(place: Place, factors: Vec<f32>) -> Step {
    let Place { name: value, layers, mut columns, rows, .. } = place;
    let inserted = rows.is_none();
    columns.extend(rows.into_iter().flat_map(|rows| rows.scaled));
    Step { value, layers, factors, scaled: columns, inserted }
}

fn has_effect(step: &Step) -> bool {
    step.factors.iter().any(|&factor| factor != 1.0)
}
