//! From a specialized function to steps over buffers.
//!
//! Each value gets a place: the first elements of a buffer that others use before and after. Views
//! lie where their source lies; a state is the caller's own array; `slice_update` works in place
//! where nothing reads its operand later.

use super::blocks;
use super::buffers::{Buffer, Kind, Place};
use super::node::{Found, Node, has_elements, shape};
use super::packed::Packed;
use super::schedule::{Item, schedule};
use super::steps::layer::Input;
use super::steps::{self, Step, movement};
use crate::graph::{Function, ValueId, ValueType, macs};
use crate::runtime::Mode;
use crate::runtime::constant::tensor_of;
use crate::{Error, Result};

/// A step with the buffers that it writes.
pub(super) struct Planned {
    /// What errors call it.
    pub name: String,
    pub step: Step,
    pub outputs: Vec<usize>,
}

/// What is left when everything is planned.
pub(super) struct Plan {
    pub steps: Vec<Planned>,
    pub buffers: Vec<Buffer>,
    /// Elements of scratch space that steps share.
    pub scratch: usize,
    /// Bytes of weights in a form of their own.
    pub weights: u64,
    /// Bytes of constants among the buffers.
    pub constants: u64,
    /// Whether a step is worth more than one thread.
    pub shared: bool,
    /// Where inputs, states and outputs lie, in the function's order.
    pub inputs: Vec<Place>,
    pub outputs: Vec<Option<Place>>,
}

/// What steps are built with.
pub(super) struct Planner<'a> {
    function: &'a Function,
    /// What other functions hold.
    pub(super) packed: &'a Packed,
    /// By value; of views, their source's.
    roots: Vec<ValueId>,
    /// By root: the last item that reads it.
    last: Vec<usize>,
    places: Vec<Option<Place>>,
    slots: Vec<Slot>,
    scratch: usize,
    weights: u64,
}

struct Slot {
    kind: Kind,
    len: usize,
    /// Constants stay; values come and go.
    content: Option<Buffer>,
    free: bool,
    state: bool,
}

/// Plans a specialized function, which takes from `packed` what others hold already.
///
/// # Errors
/// [`Error::Input`] for an operation that cannot be run, by name.
pub(super) fn plan(function: &Function, packed: &Packed) -> Result<Plan> {
    let items = schedule(function);
    let mut planner = Planner::new(function, packed, &items);
    let inputs = planner.place_inputs()?;
    let mut steps = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let operation = &function.operations[item.operations()[0]];
        let name = format!("{} `{}`", operation.row.name, operation.name);
        let built = planner.item(i, &items).map_err(|why| {
            Error::input(&name, why, "convert the model without it, or with other parameters")
        })?;
        steps.extend(built.map(|(step, outputs)| Planned { name, step, outputs }));
        planner.free_dead(i);
    }
    let output = |planner: &mut Planner<'_>, id: ValueId| match has_elements(function.value(id)) {
        true => planner.operand(id).map(Some),
        false => Ok(None),
    };
    let outputs = function.outputs.iter().map(|feature| {
        let name = &function.value(feature.value).name;
        output(&mut planner, feature.value)
            .map_err(|why| Error::input(format!("output `{name}`"), why, "leave it out"))
    });
    let outputs = outputs.collect::<Result<_>>()?;
    let Planner { slots, scratch, weights, .. } = planner;
    let constants: usize =
        slots.iter().filter(|slot| slot.content.is_some()).map(|s| s.len * s.kind.size()).sum();
    let buffers = slots.into_iter().map(|slot| match slot.content {
        Some(content) => content,
        None if slot.state => Buffer::default(),
        None => Buffer::new(slot.kind, slot.len),
    });
    let buffers = buffers.collect();
    let constants = constants as u64;
    let shared = items.iter().any(|item| is_worth_threads(function, item));
    Ok(Plan { steps, buffers, scratch, weights, constants, shared, inputs, outputs })
}

/// Whether an item is worth more than one thread, by the elements of what it reads and writes,
/// constants aside, and by its products.
fn is_worth_threads(function: &Function, item: &Item) -> bool {
    let elements = |id: &ValueId| {
        let value = function.value(*id);
        let sizes = shape(value).ok().filter(|_| value.constant.is_none());
        sizes.map_or(0, |sizes| sizes.iter().product::<usize>() as u64)
    };
    let (mut all, mut products) = (0u64, 0u64);
    for operation in item.operations().iter().map(|&op| &function.operations[op]) {
        let read = operation.arguments.iter().map(|argument| elements(&argument.value));
        let moved = read.chain(operation.outputs.iter().map(elements));
        all = moved.fold(all, u64::saturating_add);
        products = products.saturating_add(macs(function, operation).unwrap_or(0));
    }
    blocks::is_worth(all, products)
}

impl<'a> Planner<'a> {
    fn new(function: &'a Function, packed: &'a Packed, items: &[Item]) -> Self {
        let mut roots: Vec<ValueId> = (0..function.values.len()).map(ValueId).collect();
        for operation in &function.operations {
            if let Some(source) = movement::viewed(Node { function, operation }) {
                roots[operation.outputs[0].0] = roots[source.0];
            }
        }
        let mut last = vec![0; roots.len()];
        for (i, item) in items.iter().enumerate() {
            let outputs = item.operations().iter().flat_map(|&op| &function.operations[op].outputs);
            for id in item.reads(function).iter().chain(outputs) {
                last[roots[id.0].0] = i;
            }
        }
        for output in &function.outputs {
            last[roots[output.value.0].0] = items.len();
        }
        let places = vec![None; roots.len()];
        let (slots, scratch, weights) = (Vec::new(), 0, 0);
        Self { function, packed, roots, last, places, slots, scratch, weights }
    }

    /// Inputs lie in buffers of their own; a state in the caller's.
    fn place_inputs(&mut self) -> Result<Vec<Place>> {
        let function = self.function;
        let place = |feature: &crate::graph::Feature| {
            let value = function.value(feature.value);
            let state = matches!(value.ty, ValueType::State(_));
            let place = self.reserve(feature.value).map_err(|why| {
                Error::input(format!("input `{}`", value.name), why, "use another type")
            })?;
            if state && place.kind != Kind::Float {
                let found = "is a state of integers, and only FP16 and FP32 are known";
                return Err(Error::input(format!("state `{}`", value.name), found, "use FP16"));
            }
            self.slots[place.slot].state = state;
            Ok(place)
        };
        function.inputs.iter().map(place).collect()
    }

    /// A place of its own for a value.
    fn reserve(&mut self, id: ValueId) -> Found<Place> {
        let value = self.function.value(id);
        let shape = shape(value)?;
        let kind = value.ty.tensor().and_then(|ty| Kind::of(ty.dtype));
        let kind = kind.ok_or_else(|| format!("`{}` is {}", value.name, value.ty))?;
        let len = shape.iter().product();
        let slot = self.slot(kind, len);
        let place = Place { kind, slot, len };
        self.places[id.0] = Some(place);
        Ok(place)
    }

    /// The free buffer that fits best, made longer if none is long enough.
    fn slot(&mut self, kind: Kind, len: usize) -> usize {
        let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.free && slot.kind == kind);
        let best = free.min_by_key(|(_, slot)| (slot.len < len, slot.len.abs_diff(len)));
        let best = best.map(|(i, _)| i).unwrap_or_else(|| {
            let slot = Slot { kind, len: 0, content: None, free: true, state: false };
            self.slots.push(slot);
            self.slots.len() - 1
        });
        let slot = &mut self.slots[best];
        (slot.free, slot.len) = (false, slot.len.max(len));
        best
    }

    /// Gives the buffers back of values that nothing reads after item `i`.
    fn free_dead(&mut self, i: usize) {
        let lives = |id: usize| self.roots[id].0 == id && self.last[id] > i;
        let living: Vec<usize> = (0..self.places.len())
            .filter(|&id| lives(id))
            .filter_map(|id| self.places[id].map(|place| place.slot))
            .collect();
        for id in (0..self.places.len()).filter(|&id| self.last[id] == i) {
            let Some(place) = self.places[id] else { continue };
            let slot = &mut self.slots[place.slot];
            slot.free |= slot.content.is_none() && !slot.state && !living.contains(&place.slot);
        }
    }

    /// Where a value lies. A constant is decoded into a buffer of its own at the first call.
    pub(super) fn operand(&mut self, id: ValueId) -> Found<Place> {
        let root = self.roots[id.0];
        if let Some(place) = self.places[root.0] {
            return Ok(place);
        }
        let value = self.function.value(root);
        let weight = value.constant.as_ref().and_then(|constant| constant.as_weight());
        let weight = weight.ok_or_else(|| format!("`{}` is {}", value.name, value.ty))?;
        let content =
            tensor_of(weight, Mode::F32).map_err(|why| format!("`{}`: {why}", value.name))?;
        let content =
            Buffer::of(&content).ok_or_else(|| format!("`{}` is no tensor", value.name))?;
        let place = self.keep(content);
        self.places[root.0] = Some(place);
        Ok(place)
    }

    /// Keeps a constant in a buffer of its own.
    fn keep(&mut self, content: Buffer) -> Place {
        let (kind, len) = content.extent();
        self.slots.push(Slot { kind, len, content: Some(content), free: false, state: false });
        Place { kind, slot: self.slots.len() - 1, len }
    }

    /// Keeps numbers that were computed while planning.
    pub(super) fn numbers(&mut self, numbers: Vec<f32>) -> Place {
        self.keep(Buffer::Float(numbers))
    }

    /// Where the value of a parameter lies.
    pub(super) fn argument(&mut self, node: Node<'_>, name: &str) -> Found<Place> {
        self.operand(node.id(name)?)
    }

    /// Where it lies, if something is bound.
    pub(super) fn optional(&mut self, node: Node<'_>, name: &str) -> Found<Option<Place>> {
        node.operation.argument(name).map(|id| self.operand(id)).transpose()
    }

    /// Makes sure that steps get so much scratch space.
    pub(super) fn needs_scratch(&mut self, len: usize) {
        self.scratch = self.scratch.max(len);
    }

    /// Counts bytes of a weight in a form of its own.
    pub(super) fn holds(&mut self, bytes: u64) {
        self.weights += bytes;
    }

    /// Whether an item after this one reads the value, or it is an output.
    pub(super) fn is_read_after(&self, id: ValueId, i: usize) -> bool {
        self.last[self.roots[id.0].0] > i
    }

    /// The step of an item and the buffers that it writes; `None` if there is nothing to do.
    fn item(&mut self, i: usize, items: &[Item]) -> Found<Option<(Step, Vec<usize>)>> {
        let function = self.function;
        let node = |op: usize| Node { function, operation: &function.operations[op] };
        match &items[i] {
            Item::Chain(operations) => {
                let nodes: Vec<_> = operations.iter().map(|&op| node(op)).collect();
                let outputs = operations.iter().flat_map(|&op| &function.operations[op].outputs);
                let kept = outputs.copied().filter(|&id| self.is_read_after(id, i));
                let kept: Vec<_> = kept.collect();
                let places = kept.iter().map(|&id| self.reserve(id)).collect::<Found<Vec<_>>>()?;
                let step = steps::elementwise::build(self, &nodes, &kept, &places)?;
                Ok(Some((step, slots(&places))))
            }
            Item::Coded { operations, dequantize } => {
                let nodes: Vec<_> = operations.iter().map(|&op| node(op)).collect();
                let (layer, then) = nodes.split_first().ok_or("is no layer")?;
                let outputs = self.reserve_outputs(*then.last().unwrap_or(layer))?;
                let x = Input::of(self, node(*dequantize))?;
                let step = match layer.kind() {
                    "avg_pool" => steps::pool::averaged(*layer, x, then, outputs[0])?,
                    _ => steps::layer::coded(self, *layer, x, then, outputs[0])?,
                };
                Ok(Some((step, slots(&outputs))))
            }
            Item::Table(operations) => {
                let nodes: Vec<_> = operations.iter().map(|&op| node(op)).collect();
                let last = nodes.last().ok_or("is no table")?;
                let outputs = self.reserve_outputs(*last)?;
                Ok(Some((steps::table::build(self, &nodes, outputs[0])?, slots(&outputs))))
            }
            Item::One(op) => self.one(node(*op), i, items),
        }
    }

    fn one(
        &mut self,
        node: Node<'a>,
        i: usize,
        items: &[Item],
    ) -> Found<Option<(Step, Vec<usize>)>> {
        let outputs = &node.operation.outputs;
        match node.kind() {
            "read_state" => {
                let (state, read) = (node.id("input")?, outputs[0]);
                let place = self.operand(state)?;
                let next = self.next_write(state, i, items);
                if next.is_none_or(|next| self.last[self.roots[read.0].0] <= next) {
                    self.places[read.0] = Some(place);
                    return Ok(None);
                }
                let to = self.reserve(read)?;
                Ok(Some((steps::copy(place), vec![to.slot])))
            }
            "write_state" => {
                let (from, to) = (self.argument(node, "data")?, self.argument(node, "input")?);
                Ok((from.slot != to.slot).then(|| (steps::copy(from), vec![to.slot])))
            }
            _ if self.roots[outputs[0].0] != outputs[0] => self.operand(outputs[0]).map(|_| None),
            "slice_update" => {
                let from = self.argument(node, "x")?;
                if self.is_in_place(node, from, i, items)? {
                    self.places[outputs[0].0] = Some(from);
                    let step = movement::update(self, node, None)?;
                    return Ok(Some((step, vec![from.slot])));
                }
                let to = self.reserve(outputs[0])?;
                Ok(Some((movement::update(self, node, Some(from))?, vec![to.slot])))
            }
            _ => {
                let places = self.reserve_outputs(node)?;
                let step = steps::build(self, node, &places)?;
                Ok(Some((step, slots(&places))))
            }
        }
    }

    /// Places for the results that have elements.
    fn reserve_outputs(&mut self, node: Node<'_>) -> Found<Vec<Place>> {
        let outputs = node.operation.outputs.iter();
        outputs.filter(|id| has_elements(node.value(**id))).map(|&id| self.reserve(id)).collect()
    }

    /// The next item that writes a state.
    fn next_write(&self, state: ValueId, after: usize, items: &[Item]) -> Option<usize> {
        let writes = |item: &Item| self.touches(item, "write_state", state);
        items.iter().skip(after + 1).position(writes).map(|i| i + after + 1)
    }

    fn touches(&self, item: &Item, kind: &str, state: ValueId) -> bool {
        let operation = &self.function.operations[item.operations()[0]];
        operation.row.name == kind && operation.argument("input") == Some(state)
    }

    /// Whether `slice_update` may write into its operand: nobody reads that later, and if it is a
    /// state, the next that happens to the state is that the result is written to it.
    fn is_in_place(&self, node: Node<'_>, from: Place, i: usize, items: &[Item]) -> Found<bool> {
        let (x, result) = (self.roots[node.id("x")?.0], node.operation.outputs[0]);
        let slot = &self.slots[from.slot];
        let lives = |id: usize| self.roots[id].0 == id && self.last[id] > i;
        let read_later = (0..self.places.len())
            .any(|id| lives(id) && self.places[id].is_some_and(|place| place.slot == from.slot));
        let read_now = node.operation.arguments.iter().filter(|a| a.param != "x");
        let read_now = read_now.map(|argument| self.places[self.roots[argument.value.0].0]);
        if slot.content.is_some() || read_now.flatten().any(|place| place.slot == from.slot) {
            return Ok(false);
        }
        if !slot.state {
            return Ok(!read_later);
        }
        let inputs = self.function.inputs.iter().map(|input| input.value);
        let Some(state) = inputs.clone().find(|id| self.places[id.0] == Some(from)) else {
            return Ok(false);
        };
        // The state itself lives for ever; what was read from it must not.
        let read_later = (0..self.places.len()).any(|id| {
            let other = id != state.0 && id != x.0 && lives(id);
            other && self.places[id].is_some_and(|place| place.slot == from.slot)
        });
        let next = items.iter().skip(i + 1).find(|item| {
            self.touches(item, "read_state", state) || self.touches(item, "write_state", state)
        });
        let stored = next.is_some_and(|item| {
            let operation = &self.function.operations[item.operations()[0]];
            let data = operation.argument("data");
            data.is_some_and(|data| self.roots[data.0] == result)
        });
        let write = self.next_write(state, i, items);
        let rewritten = write.and_then(|write| self.next_write(state, write, items));
        let outlives = rewritten.is_some_and(|rewritten| self.last[result.0] > rewritten);
        Ok(stored && !read_later && !outlives && self.last[x.0] <= i)
    }
}

fn slots(places: &[Place]) -> Vec<usize> {
    places.iter().map(|place| place.slot).collect()
}
