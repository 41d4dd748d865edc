//! How fast a backend runs a function.

use crate::Result;
use crate::execute::shapes;
use crate::graph::weight::{Storage, Weight};
use crate::graph::{DataType, Function, ValueType};
use crate::metrics::quantile;
use crate::report::validation::Speed;
use crate::runtime::{Backend, Data, Tensor, Tensors, specialize};
use std::time::{Duration, Instant};

/// Time that all timed runs together may take.
const ALL: Duration = Duration::from_secs(8);

/// The least and the most for one function on one backend.
const ONE: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(1500)];

/// The least and the most timed runs.
const RUNS: [usize; 2] = [5, 1000];

/// The time that each of so many measurements may take.
pub(super) fn budget(measurements: usize) -> Duration {
    (ALL / u32::try_from(measurements.max(1)).unwrap_or(u32::MAX)).clamp(ONE[0], ONE[1])
}

/// Times runs of a function on the same inputs: warm-up for a tenth of the budget, then until it is
/// spent.
///
/// # Errors
/// As [`Backend::prepare`] and [`crate::runtime::Prepared::run`].
pub(super) fn measure(
    backend: &dyn Backend,
    name: &str,
    function: &Function,
    inputs: &Tensors,
    budget: Duration,
) -> Result<Speed> {
    let shapes = shapes(inputs);
    let mut prepared = backend.prepare(function, &shapes)?;
    let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
    let begin = Instant::now();
    loop {
        prepared.run(inputs, &mut states, &mut outputs)?;
        if begin.elapsed() >= budget / 10 {
            break;
        }
    }
    let mut seconds = Vec::new();
    let begin = Instant::now();
    while seconds.len() < RUNS[0] || (begin.elapsed() < budget && seconds.len() < RUNS[1]) {
        let start = Instant::now();
        prepared.run(inputs, &mut states, &mut outputs)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = quantile(&seconds, 0.5);
    // Where a shape depends on data, what is fixed is counted.
    let fixed = specialize(function, &shapes).unwrap_or_else(|_| function.clone());
    let macs = fixed.operations.iter().filter_map(|o| crate::graph::macs(&fixed, o)).sum::<u64>();
    let tensors = inputs.values().chain(outputs.values()).map(byte_len).sum::<u64>();
    // A state is read and written.
    let carried = 2 * states.values().map(byte_len).sum::<u64>();
    let bytes_moved = weight_bytes(&fixed) + tensors + carried;
    let (unit, units) = units(function, inputs);
    let rate = |count: f64| if median > 0.0 { count / median } else { 0.0 };
    Ok(Speed {
        function: name.into(),
        backend: backend.name().into(),
        runs: seconds.len() as u64,
        median_ms: median * 1e3,
        p5_ms: quantile(&seconds, 0.05) * 1e3,
        p95_ms: quantile(&seconds, 0.95) * 1e3,
        unit: unit.into(),
        units,
        units_per_second: rate(units as f64),
        bytes_moved,
        gb_per_second: rate(bytes_moved as f64) / 1e9,
        macs,
        gmac_per_second: rate(macs as f64) / 1e9,
        held_bytes: prepared.memory().weights + prepared.memory().activations,
    })
}

/// Bytes that an array takes as the package declares it.
fn byte_len(tensor: &Tensor) -> u64 {
    let elements = tensor.shape().iter().product::<usize>() as u64;
    match &tensor.data {
        Data::Scores(scores) => scores.len() as u64 * 8,
        Data::Label(_) => 0,
        Data::Float(_) | Data::Int(_) | Data::Bool(_) => {
            elements * u64::from(tensor.dtype.bits().unwrap_or(32)) / 8
        }
    }
}

/// Stored bytes of the weights that one run reads: of a table from which rows are gathered, only
/// those rows.
fn weight_bytes(function: &Function) -> u64 {
    let mut whole = vec![false; function.values.len()];
    let mut gathered = 0u64;
    for operation in &function.operations {
        for argument in &operation.arguments {
            let value = function.value(argument.value);
            let Some(weight) = value.constant.as_ref().and_then(|c| c.as_weight()) else {
                continue;
            };
            if operation.row.name != "gather" || argument.param != "x" {
                whole[argument.value.0] = true;
                continue;
            }
            let elements =
                |id| function.value(id).ty.tensor()?.shape().map(|s| s.iter().product::<usize>());
            let rows = operation.outputs.first().and_then(|id| elements(*id)).unwrap_or(0);
            let all = weight.shape.iter().product::<usize>().max(1);
            gathered += (stored(weight) as f64 * rows as f64 / all as f64) as u64;
        }
    }
    let used = function.values.iter().zip(whole).filter(|(_, whole)| *whole);
    let weights = used.filter_map(|(value, _)| value.constant.as_ref()?.as_weight());
    weights.map(stored).sum::<u64>() + gathered
}

fn stored(weight: &Weight) -> u64 {
    let mask = match &weight.storage {
        Storage::Sparse { mask, .. } => mask.byte_len(),
        Storage::Dense(_) | Storage::Linear { .. } | Storage::Palette { .. } => 0,
    };
    weight.storage.byte_len() + mask
}

/// What a run works through: tokens where an input holds integers that choose rows, else the first
/// dimension of the first input.
fn units(function: &Function, inputs: &Tensors) -> (&'static str, u64) {
    let tensors = || {
        let names = function.inputs.iter().map(|input| function.value(input.value));
        names
            .filter(|value| matches!(value.ty, ValueType::Tensor(_)))
            .filter_map(|value| inputs.get(&value.name))
    };
    let ids = |tensor: &&Tensor| tensor.dtype == DataType::Int32 && !tensor.shape().is_empty();
    match tensors().find(ids) {
        Some(ids) => ("tokens", ids.shape().iter().product::<usize>() as u64),
        None => {
            let first = tensors().next().and_then(|tensor| tensor.shape().first().copied());
            ("items", first.unwrap_or(1) as u64)
        }
    }
}
