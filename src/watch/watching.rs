//! The backend between.

use super::tokens;
use crate::calibrate::{Recorder, watched};
use crate::embed::MASK;
use crate::graph::{DataType, Feature, Function, ValueId};
use crate::runtime::{Backend, Memory, Prepared, Shapes, SharedCpu, Tensor, Tensors, specialize};
use crate::{Error, Result};
use ndarray::{ArrayD, Axis};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// The CPU backend, whose functions show a recorder what their operations take and give.
///
/// What is watched keeps a buffer of its own until the end of a run: a prepared function takes more
/// memory than it would alone.
///
/// Where a function takes an `attention_mask` `[B, T]`, places of tokens that it masks are not shown; the
/// rows of a batch must have one mask for that.
#[derive(Debug, Default)]
pub struct Watching {
    recorder: Arc<Mutex<Recorder>>,
    padded: Arc<Mutex<BTreeSet<String>>>,
    cpu: SharedCpu,
}

impl Watching {
    /// Hears of all that functions prepared from now on compute.
    pub fn recorder(&self) -> Arc<Mutex<Recorder>> {
        Arc::clone(&self.recorder)
    }

    /// The names of values that were shown with their padding: it is not known where they have it.
    pub fn padded(&self) -> Arc<Mutex<BTreeSet<String>>> {
        Arc::clone(&self.padded)
    }
}

/// The inputs of tokens, `[B, T]` as the mask is; none without a mask.
fn of_tokens(function: &Function) -> Vec<ValueId> {
    let of = |id: ValueId| function.value(id).ty.tensor().filter(|ty| ty.dtype == DataType::Int32);
    let inputs = || function.inputs.iter().map(|feature| feature.value);
    let mask = inputs().find(|&id| function.value(id).name == MASK).and_then(of);
    let Some(mask) = mask.filter(|ty| ty.rank() == 2) else { return Vec::new() };
    inputs().filter(|&id| of(id).is_some_and(|ty| ty.dims == mask.dims)).collect()
}

/// The recorder, or what else is shared, for this thread alone.
pub(super) fn locked<T>(recorder: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    recorder.lock().map_err(|_| Error::bug("the recorder", "a thread that counted has stopped"))
}

impl Backend for Watching {
    fn name(&self) -> &'static str {
        self.cpu.name()
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        // What follows from shapes alone is a constant now, and no activation.
        let mut function = specialize(function, shapes)?;
        let axes = tokens::axes(&function, &of_tokens(&function));
        let mut places = Vec::new();
        for watch in watched(&function) {
            let id = function.find(&watch.name);
            let id = id.ok_or_else(|| Error::bug(&watch.name, "it is no value"))?;
            let is = |feature: &Feature| feature.value == id;
            if !function.inputs.iter().any(is) && !function.outputs.iter().any(is) {
                function.outputs.push(Feature::new(id));
            }
            let axes = axes.get(&id).cloned().unwrap_or(Some(BTreeSet::new()));
            let number = locked(&self.recorder)?.expect(&watch)?;
            places.push(Place { number, name: watch.name, axes });
        }
        let prepared = self.cpu.prepare(&function, shapes)?;
        let (recorder, padded) = (self.recorder(), self.padded());
        Ok(Box::new(Watched { prepared, places, recorder, padded }))
    }
}

/// A prepared function that shows what it computes.
struct Watched {
    prepared: Box<dyn Prepared>,
    places: Vec<Place>,
    recorder: Arc<Mutex<Recorder>>,
    padded: Arc<Mutex<BTreeSet<String>>>,
}

/// A value that is watched.
struct Place {
    /// Its number.
    number: usize,
    name: String,
    /// Where its places are tokens.
    axes: tokens::Axes,
}

/// Which tokens a mask leaves.
enum Live {
    All,
    /// These alone.
    Some(Vec<usize>),
    /// Others in each row of the batch.
    Mixed,
}

impl Live {
    fn of(inputs: &Tensors) -> Self {
        let mask = inputs.get(MASK).and_then(Tensor::as_int).filter(|mask| mask.ndim() == 2);
        let Some(mask) = mask.filter(|mask| mask.iter().any(|&bit| bit == 0)) else {
            return Self::All;
        };
        let mut rows = mask.outer_iter();
        let first = rows.next();
        if rows.any(|row| first.as_ref() != Some(&row)) {
            return Self::Mixed;
        }
        let live = first.iter().flatten().enumerate().filter(|(_, bit)| **bit != 0);
        Self::Some(live.map(|(place, _)| place).collect())
    }
}

impl Prepared for Watched {
    fn run(&mut self, inputs: &Tensors, states: &mut Tensors, outputs: &mut Tensors) -> Result<()> {
        self.prepared.run(inputs, states, outputs)?;
        let live = Live::of(inputs);
        // What is left without padding; it lives until all is counted.
        let mut cut: Vec<Option<ArrayD<f32>>> = Vec::with_capacity(self.places.len());
        for Place { name, axes, .. } in &self.places {
            let without = match (&live, axes) {
                (Live::All, _) => None,
                (_, Some(axes)) if axes.is_empty() => None,
                (Live::Some(live), Some(axes)) => {
                    let mut array = floats(name, inputs, outputs)?.clone();
                    axes.iter().for_each(|&axis| array = array.select(Axis(axis), live));
                    Some(array.as_standard_layout().into_owned())
                }
                (Live::Mixed, _) | (_, None) => {
                    locked(&self.padded)?.insert(name.clone());
                    None
                }
            };
            cut.push(without);
        }
        let mut seen = Vec::with_capacity(self.places.len());
        for (Place { number, name, .. }, cut) in self.places.iter().zip(&cut) {
            let array = match cut {
                Some(array) => array,
                None => floats(name, inputs, outputs)?,
            };
            let elements = array.as_slice().ok_or_else(|| Error::bug(name, "it lies in pieces"))?;
            seen.push((*number, elements, array.shape()));
        }
        locked(&self.recorder)?.record(seen)
    }

    fn memory(&self) -> Memory {
        self.prepared.memory()
    }
}

/// A value that was watched.
fn floats<'t>(name: &str, inputs: &'t Tensors, outputs: &'t Tensors) -> Result<&'t ArrayD<f32>> {
    let tensor = outputs.get(name).or_else(|| inputs.get(name));
    tensor.and_then(Tensor::as_float).ok_or_else(|| Error::bug(name, "it is not there"))
}
