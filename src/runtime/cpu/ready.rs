//! A planned function and its buffers: copy inputs in, run the steps, copy outputs out.

use super::buffers::{Buffer, Buffers, Place};
use super::plan::{Plan, Planned};
use super::steps::Io;
use crate::graph::{DataType, Function, TensorType, ValueId, ValueType};
use crate::runtime::{Data, Memory, Prepared, Tensor, Tensors, reference};
use crate::{Error, Result};
use ndarray::{ArrayD, IxDyn};
use std::collections::BTreeMap;

/// An input, a state or an output.
struct Port {
    name: String,
    id: ValueId,
    dtype: DataType,
    shape: Vec<usize>,
    /// `None` for labels and scores.
    place: Option<Place>,
}

pub(super) struct Ready {
    inputs: Vec<Port>,
    states: Vec<Port>,
    outputs: Vec<Port>,
    steps: Vec<Planned>,
    buffers: Buffers,
    /// Buffers that the running step writes.
    written: Vec<Buffer>,
    scratch: Vec<f32>,
    labels: BTreeMap<ValueId, Tensor>,
    /// Whether a step is worth more than one thread.
    shared: bool,
    memory: Memory,
}

impl Ready {
    pub(super) fn new(function: &Function, plan: Plan) -> Self {
        let port = |id: ValueId, place| {
            let value = function.value(id);
            let ty = value.ty.tensor();
            let dtype = ty.map_or(DataType::String, |ty| ty.dtype);
            let shape = ty.and_then(|ty| ty.shape()).unwrap_or_default();
            Port { name: value.name.clone(), id, dtype, shape, place }
        };
        let (mut inputs, mut states) = (Vec::new(), Vec::new());
        for (feature, place) in function.inputs.iter().zip(&plan.inputs) {
            let state = matches!(function.value(feature.value).ty, ValueType::State(_));
            let ports = if state { &mut states } else { &mut inputs };
            ports.push(port(feature.value, Some(*place)));
        }
        let outputs = function.outputs.iter().zip(&plan.outputs);
        let outputs = outputs.map(|(feature, place)| port(feature.value, *place)).collect();
        let bytes = |buffer: &Buffer| {
            let (kind, len) = buffer.extent();
            (len * kind.size()) as u64
        };
        let all: u64 = plan.buffers.iter().map(bytes).sum();
        let activations = all - plan.constants + (plan.scratch * 4) as u64;
        let widest = plan.steps.iter().map(|step| step.outputs.len()).max().unwrap_or(0);
        Self {
            inputs,
            states,
            outputs,
            steps: plan.steps,
            buffers: Buffers::new(plan.buffers),
            written: Vec::with_capacity(widest),
            scratch: vec![0.0; plan.scratch],
            labels: BTreeMap::new(),
            shared: plan.shared,
            memory: Memory { weights: plan.weights + plan.constants, activations },
        }
    }

    fn copy_inputs(&mut self, inputs: &Tensors) -> Result<()> {
        let mut names = inputs.keys();
        if let Some(name) = names.find(|name| !self.inputs.iter().any(|i| i.name == **name)) {
            let known = self.inputs.iter().map(|input| input.name.as_str());
            return Err(reference::unknown(name, known));
        }
        for Port { name, dtype, shape, place, .. } in &self.inputs {
            let tensor = inputs.get(name);
            let missing = || reference::missing(name, &TensorType::fixed(*dtype, shape));
            let tensor = tensor.ok_or_else(missing)?;
            fits("input", name, tensor, *dtype, shape)?;
            let Some(place) = place else { continue };
            let mut buffer = self.buffers.take(place.slot);
            buffer.copy_input(tensor, place.len);
            self.buffers.put(place.slot, buffer);
        }
        Ok(())
    }

    /// Checks the caller's states and adds those that are missing.
    fn check_states(&self, states: &mut Tensors) -> Result<()> {
        if let Some(name) = states.keys().find(|name| !self.states.iter().any(|s| s.name == **name))
        {
            return Err(Error::Usage(format!("there is no state `{name}`")));
        }
        for Port { name, dtype, shape, .. } in &self.states {
            let Some(tensor) = states.get_mut(name) else {
                let zeros = Tensor::float(*dtype, ArrayD::zeros(IxDyn(shape)));
                states.insert(name.clone(), zeros);
                continue;
            };
            fits("state", name, tensor, *dtype, shape)?;
            if let Data::Float(array) = &mut tensor.data
                && !array.is_standard_layout()
            {
                *array = array.as_standard_layout().into_owned();
            }
        }
        Ok(())
    }

    /// Takes the caller's states in, or gives them back: both are exchanges without a copy.
    fn exchange_states(&mut self, states: &mut Tensors) {
        for Port { name, place, .. } in &self.states {
            let (Some(place), Some(tensor)) = (place, states.get_mut(name)) else { continue };
            let Data::Float(array) = &mut tensor.data else { continue };
            let held = match self.buffers.take(place.slot) {
                Buffer::State(held) => held,
                _ => ArrayD::default(IxDyn(&[0])),
            };
            let given = std::mem::replace(array, held);
            self.buffers.put(place.slot, Buffer::State(given));
        }
    }

    fn run_steps(&mut self) -> Result<()> {
        let Self { steps, buffers, written, scratch, labels, .. } = self;
        for Planned { name, step, outputs } in steps {
            written.clear();
            written.extend(outputs.iter().map(|&slot| buffers.take(slot)));
            let done = step(&mut Io { buffers, outputs: written, scratch, labels });
            for (slot, buffer) in outputs.iter().zip(written.drain(..)) {
                buffers.put(*slot, buffer);
            }
            done.map_err(|why| Error::input(name.as_str(), why, reference::REMEDY))?;
        }
        Ok(())
    }

    fn copy_outputs(&mut self, outputs: &mut Tensors) -> Result<()> {
        for Port { name, id, dtype, shape, place } in &self.outputs {
            let Some(place) = *place else {
                let label = self.labels.remove(id);
                let label = label.ok_or_else(|| Error::bug(name.as_str(), "nothing gave it"))?;
                outputs.insert(name.clone(), label);
                continue;
            };
            match outputs.get_mut(name) {
                Some(to) if to.dtype == *dtype && to.shape() == shape => {
                    self.buffers.copy_to(place, &mut to.data);
                }
                _ => {
                    outputs.insert(name.clone(), self.buffers.tensor(place, *dtype, shape));
                }
            }
        }
        Ok(())
    }
}

fn fits(what: &str, name: &str, tensor: &Tensor, dtype: DataType, shape: &[usize]) -> Result<()> {
    let same = tensor.dtype == dtype && tensor.shape() == shape;
    let labels = matches!(tensor.data, Data::Label(_) | Data::Scores(_));
    if same && !labels {
        return Ok(());
    }
    let want = TensorType::fixed(dtype, shape);
    Err(reference::other(what, name, tensor, &format!("the function takes {want}")))
}

impl Prepared for Ready {
    fn run(&mut self, inputs: &Tensors, states: &mut Tensors, outputs: &mut Tensors) -> Result<()> {
        self.copy_inputs(inputs)?;
        self.check_states(states)?;
        self.exchange_states(states);
        let mut done = Ok(());
        match self.shared {
            // On a thread of the pool, so that steps share their work without waking it each time.
            true => rayon::scope(|_| done = self.run_steps()),
            // Small steps are done before another thread has woken.
            false => done = self.run_steps(),
        }
        // An output may lie in a state, which goes back to the caller last, whatever happened.
        let done = done.and_then(|()| self.copy_outputs(outputs));
        self.exchange_states(states);
        done
    }

    fn memory(&self) -> Memory {
        self.memory
    }
}
