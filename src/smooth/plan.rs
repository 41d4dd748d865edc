//! What would be done, for a model's functions.

use super::absorb::{Absorbed, Channels, absorb};
use super::factors::{choose, spread};
use crate::calibrate::{Calibration, watched};
use crate::graph::{Flow, Function, ValueId};
use std::collections::BTreeSet;

/// How much larger than the median the largest column must be for a multiplication to be put in.
const WORTH: f64 = 4.0;

/// Functions that share weights.
pub struct Model<'m> {
    /// Each with what a weight of it is called among all weights; `None` for one that cannot be changed.
    #[allow(clippy::type_complexity)] // A name and a function.
    pub functions: Vec<(&'m Function, Box<dyn Fn(ValueId) -> Option<usize> + 'm>)>,
    /// The values of a weight, and its shape.
    #[allow(clippy::type_complexity)] // As it is called.
    pub values: &'m dyn Fn(usize) -> Option<(Vec<usize>, Vec<f32>)>,
}

/// One value and the columns of the layers that read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The value, by name.
    pub value: String,
    /// The layers that read it divided, by name.
    pub layers: BTreeSet<String>,
    /// What it is divided by, a power of two for each column.
    pub factors: Vec<f32>,
    /// Weights whose columns are multiplied, and weights whose rows are divided, by number.
    pub scaled: BTreeSet<Scaled>,
    /// Whether a multiplication must be put in behind the value.
    pub inserted: bool,
}

/// A weight that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scaled {
    /// Which.
    pub weight: usize,
    /// Its axis that has the factors.
    pub axis: usize,
    /// Whether it is divided by them.
    pub divided: bool,
}

/// The steps that `alpha` (0 to 1) asks for, by the values' order in the functions. Nothing is planned for
/// a weight that anything else reads as well.
pub fn plan(model: &Model<'_>, calibration: &Calibration, alpha: f64) -> Vec<Step> {
    let flows: Vec<Flow<'_>> = model.functions.iter().map(|(f, _)| Flow::new(f)).collect();
    let mut names: Vec<String> = Vec::new();
    for (function, _) in &model.functions {
        let columns = watched(function).into_iter().filter(|watch| watch.axis.is_some());
        names.extend(columns.map(|watch| watch.name));
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.iter().filter_map(|name| step(model, &flows, name, calibration, alpha)).collect()
}

/// Everything that reads one value, in one function.
struct Around {
    layers: BTreeSet<String>,
    columns: BTreeSet<Scaled>,
    /// What would take the division up, and who reads that.
    rows: Option<BTreeSet<Scaled>>,
    readers: BTreeSet<String>,
}

fn step(
    model: &Model<'_>,
    flows: &[Flow<'_>],
    name: &str,
    calibration: &Calibration,
    alpha: f64,
) -> Option<Step> {
    let squares = calibration.values.get(name)?.statistics.squares();
    let activations: Vec<f64> = squares.iter().map(|sum| sum.sqrt()).collect();
    let mut all: Vec<Around> = Vec::new();
    for (flow, (function, number)) in flows.iter().zip(&model.functions) {
        let Some(id) = function.find(name) else { continue };
        all.push(around(flow, id, activations.len(), number)?);
    }
    let (first, rest) = all.split_first()?;
    if rest.iter().any(|other| (&other.layers, &other.columns) != (&first.layers, &first.columns)) {
        return None;
    }
    let folded = first
        .rows
        .clone()
        .filter(|rows| rest.iter().all(|other| other.rows.as_ref() == Some(rows)));
    let mut readers = first.layers.clone();
    if folded.is_some() {
        all.iter().for_each(|around| readers.extend(around.readers.iter().cloned()));
    }
    let scaled: BTreeSet<Scaled> =
        first.columns.iter().chain(folded.iter().flatten()).copied().collect();
    // A weight in two places of one step would be scaled once for both.
    let weights: BTreeSet<usize> = scaled.iter().map(|scaled| scaled.weight).collect();
    let others = |flow: &Flow<'_>, number: &dyn Fn(ValueId) -> Option<usize>| {
        flow.function.operations.iter().any(|operation| {
            let read = operation.arguments.iter().filter_map(|a| number(a.value));
            !readers.contains(&operation.name) && read.into_iter().any(|w| weights.contains(&w))
        })
    };
    let is_read =
        flows.iter().zip(&model.functions).any(|(flow, (_, number))| others(flow, number));
    if is_read || weights.len() != scaled.len() {
        return None;
    }
    let columns = column_squares(model, &first.columns, activations.len())?;
    let columns: Vec<f64> = columns.iter().map(|sum| sum.sqrt()).collect();
    let factors = choose(&activations, &columns, alpha);
    let worst = spread(&activations).max(spread(&columns));
    let idle = factors.iter().all(|&factor| factor == 1.0);
    if idle || (folded.is_none() && worst < WORTH) {
        return None;
    }
    let (value, layers) = (name.to_owned(), first.layers.clone());
    Some(Step { value, layers, factors, scaled, inserted: folded.is_none() })
}

/// Who reads a value, and who could be divided in its place; `None` where no layer reads it.
fn around(
    flow: &Flow<'_>,
    id: ValueId,
    count: usize,
    number: &dyn Fn(ValueId) -> Option<usize>,
) -> Option<Around> {
    let rank = flow.function.value(id).ty.tensor()?.rank();
    let (mut layers, mut columns, mut others) = (BTreeSet::new(), BTreeSet::new(), false);
    let mut from_end = None;
    for (_, operation) in flow.readers(id) {
        let of = match operation.row.name {
            "linear" => Some(0),
            "conv" => Some(rank - 2),
            _ => None,
        };
        let weight = operation.argument("weight").filter(|_| operation.argument("x") == Some(id));
        let shape = weight.and_then(|id| flow.function.value(id).ty.tensor()?.shape());
        // A convolution in groups has its columns more than once.
        let fits = shape.is_some_and(|shape| shape.len() > 1 && shape[1] == count);
        match (of, weight.and_then(number)) {
            (Some(of), Some(weight)) if fits && from_end.is_none_or(|other| other == of) => {
                from_end = Some(of);
                columns.insert(Scaled { weight, axis: 1, divided: false });
                layers.insert(operation.name.clone());
            }
            _ => others = true,
        }
    }
    let channels = Channels { from_end: from_end?, count };
    let absorbed = absorb(flow, id, channels).filter(|_| !others && !flow.is_output(id));
    let rows = absorbed.as_ref().and_then(|absorbed| rows(flow, absorbed, number));
    let readers = absorbed.map(|absorbed| absorbed.readers).unwrap_or_default();
    Some(Around { layers, columns, rows, readers })
}

/// What is divided, by number; `None` if something of it cannot be.
fn rows(
    flow: &Flow<'_>,
    absorbed: &Absorbed,
    number: &dyn Fn(ValueId) -> Option<usize>,
) -> Option<BTreeSet<Scaled>> {
    let scaled = absorbed.constants.iter().map(|&id| {
        let shape = flow.function.value(id).ty.tensor()?.shape()?;
        // A weight's rows are its outputs; a vector may have axes of one element.
        let axis = match shape.iter().filter(|size| **size != 1).count() {
            0 | 1 => shape.iter().position(|size| *size != 1)?,
            _ => 0,
        };
        Some(Scaled { weight: number(id)?, axis, divided: true })
    });
    scaled.collect()
}

/// Sums of squares of the columns of all these weights together.
fn column_squares(model: &Model<'_>, of: &BTreeSet<Scaled>, count: usize) -> Option<Vec<f64>> {
    let mut sums = vec![0.0; count];
    for scaled in of {
        let (shape, values) = (model.values)(scaled.weight)?;
        let inner: usize = shape.iter().skip(2).product();
        for (at, &w) in values.iter().enumerate() {
            sums[at / inner.max(1) % count] += f64::from(w) * f64::from(w);
        }
    }
    Some(sums)
}
