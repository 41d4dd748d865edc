//! The backend between.

use crate::calibrate::{Recorder, watched};
use crate::graph::{Feature, Function};
use crate::runtime::{Backend, Memory, Prepared, Shapes, SharedCpu, Tensor, Tensors, specialize};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard};

/// The CPU backend, whose functions show a recorder what their operations take and give.
///
/// What is watched keeps a buffer of its own until the end of a run: a prepared function takes more
/// memory than it would alone.
#[derive(Debug, Default)]
pub struct Watching {
    recorder: Arc<Mutex<Recorder>>,
    cpu: SharedCpu,
}

impl Watching {
    /// Hears of all that functions prepared from now on compute.
    pub fn recorder(&self) -> Arc<Mutex<Recorder>> {
        Arc::clone(&self.recorder)
    }
}

/// The recorder, for this thread alone.
pub(super) fn locked(recorder: &Mutex<Recorder>) -> Result<MutexGuard<'_, Recorder>> {
    recorder.lock().map_err(|_| Error::bug("the recorder", "a thread that counted has stopped"))
}

impl Backend for Watching {
    fn name(&self) -> &'static str {
        self.cpu.name()
    }

    fn prepare(&self, function: &Function, shapes: &Shapes) -> Result<Box<dyn Prepared>> {
        // What follows from shapes alone is a constant now, and no activation.
        let mut function = specialize(function, shapes)?;
        let mut places = Vec::new();
        for watch in watched(&function) {
            let id = function.find(&watch.name);
            let id = id.ok_or_else(|| Error::bug(&watch.name, "it is no value"))?;
            let is = |feature: &Feature| feature.value == id;
            if !function.inputs.iter().any(is) && !function.outputs.iter().any(is) {
                function.outputs.push(Feature::new(id));
            }
            places.push((locked(&self.recorder)?.expect(&watch)?, watch.name));
        }
        let prepared = self.cpu.prepare(&function, shapes)?;
        Ok(Box::new(Watched { prepared, places, recorder: self.recorder() }))
    }
}

/// A prepared function that shows what it computes.
struct Watched {
    prepared: Box<dyn Prepared>,
    /// Values by their numbers.
    places: Vec<(usize, String)>,
    recorder: Arc<Mutex<Recorder>>,
}

impl Prepared for Watched {
    fn run(&mut self, inputs: &Tensors, states: &mut Tensors, outputs: &mut Tensors) -> Result<()> {
        self.prepared.run(inputs, states, outputs)?;
        let mut seen = Vec::with_capacity(self.places.len());
        for (place, name) in &self.places {
            let tensor = outputs.get(name).or_else(|| inputs.get(name));
            let array = tensor.and_then(Tensor::as_float);
            let elements = array.and_then(|array| Some((array.as_slice()?, array.shape())));
            let (elements, shape) = elements.ok_or_else(|| Error::bug(name, "it is not there"))?;
            seen.push((*place, elements, shape));
        }
        locked(&self.recorder)?.record(seen)
    }

    fn memory(&self) -> Memory {
        self.prepared.memory()
    }
}
