//! From a program to the messages of a package and the plan of its `weight.bin`.
//!
//! | module | what it decides |
//! |---|---|
//! | `support` | which target first has a form for a scheme |
//! | `channel_scale` | channel scales of palettes become a `mul` behind the operation before iOS 26 |
//! | `constexpr` | storage × target → constexpr operations |
//! | `blobs` | what stands in `weight.bin`, where, and what is shared |
//! | `describe` | what callers see: inputs, outputs, states, functions, texts |
//!
//! Nothing here needs a weight's bytes: operands that come later ([`Data::Later`]) get their place
//! from type and shape, and whoever makes them writes them there.

mod blobs;
mod channel_scale;
mod constexpr;
mod describe;
mod support;
#[cfg(test)]
mod tests;

pub use blobs::Blob;
pub use support::supports;

use super::weight::{Data, Slot, Storage, Weight};
use super::{Constant, DataType, Function, Labels, Program, TensorType, Value, ValueId, ValueType};
use crate::formats::{mil, weight_blob};
use crate::target::Target;
use crate::{Error, Result};
use blobs::{Blobs, Parameter, Place};
use constexpr::Param;
use std::collections::{BTreeMap, BTreeSet};

/// A package in all but bytes.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The content of `model.mlmodel`. Its encoded length does not change any more; small parameters
    /// that come later are zero until [`Lowered::fill`] sets them.
    pub model: mil::Model,
    /// Header and metadata of `weight.bin`, and its length.
    pub plan: weight_blob::Plan,
    /// What goes where in `weight.bin`, in the order of the file.
    pub blobs: Vec<Blob>,
    /// Which of `blobs` holds an operand that comes later.
    by_slot: BTreeMap<Slot, usize>,
    /// Where in `model` the parameters stand that come later and are too small for a blob.
    small: BTreeMap<Slot, Vec<Place>>,
}

impl Lowered {
    /// The operands that stand in `model` itself and come later: each must be given to
    /// [`Lowered::fill`] before `model` is written.
    pub fn small(&self) -> impl Iterator<Item = Slot> + '_ {
        self.small.keys().copied()
    }

    /// The blob of an operand that comes later; `None` where it is [small](Self::small), or not in
    /// the package.
    pub fn blob(&self, slot: Slot) -> Option<&weight_blob::Entry> {
        self.by_slot.get(&slot).map(|&index| &self.blobs[index].entry)
    }

    /// Sets an operand that stands in `model`.
    ///
    /// # Errors
    /// [`Error::Bug`] for one that does not, or has another length.
    pub fn fill(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        let bug = |why: &str| Error::bug(format!("model.mlmodel, {slot:?}"), why);
        let places = self.small.get(&slot).ok_or_else(|| bug("no operand of the model"))?;
        for place in places {
            let stored = place.find(&mut self.model).ok_or_else(|| bug("its place is gone"))?;
            if stored.len() != bytes.len() {
                return Err(bug("another length than planned"));
            }
            stored.copy_from_slice(bytes);
        }
        Ok(())
    }
}

/// Lowers a program for a target.
///
/// Functions take their place in `weight.bin` in the order of the tensors they hold, so that a file
/// that is read from front to back is written from front to back.
///
/// # Errors
/// [`Error::Usage`] for a storage, an operation or several functions that the target lacks;
/// [`Error::Bug`] for a program that does not hold together.
pub fn lower(program: &Program, target: Target) -> Result<Lowered> {
    if target < Target::Ios16 {
        return Err(Error::Usage(format!(
            "packages for {target} are read and not written; the first target to write is ios16"
        )));
    }
    if !program.is_single() && target < Target::Ios18 {
        return Err(Error::Usage(format!(
            "{target} has no packages with several functions: ios18 is the first target that has"
        )));
    }
    let mut blobs = Blobs::new(target);
    let mut functions: Vec<_> = program.functions.iter().collect();
    functions.sort_by_key(|(_, function)| first_tensor(function));
    let mut lowered = BTreeMap::new();
    for (name, function) in functions {
        if let Some(finding) = function.check(target).first() {
            return Err(Error::bug(format!("function `{name}`"), finding.to_string()));
        }
        let function = channel_scale::separate(function, target)?;
        lowered.insert(name.clone(), Lowering::new(name, &function, target, &mut blobs).run()?);
    }
    let ml_program = mil::Program { version: 1, functions: lowered, ..Default::default() };
    let model = mil::Model {
        specification_version: target.specification_version(),
        description: Some(describe::description(program)?),
        ml_program: Some(ml_program),
        ..Default::default()
    };
    let Blobs { plan, blobs, small, .. } = blobs;
    let by_slot = blobs.iter().enumerate().filter_map(|(index, blob)| match blob.data {
        Data::Later(slot) => Some((slot, index)),
        Data::Bytes(_) => None,
    });
    let by_slot = by_slot.collect();
    Ok(Lowered { model, plan, blobs, by_slot, small })
}

/// The first tensor of the plan that a function holds; functions without one come last.
fn first_tensor(function: &Function) -> usize {
    let operands = function.weights().flat_map(|(_, weight)| weight.storage.operands());
    let slots = operands.filter_map(|(_, operand)| match operand.data {
        Data::Later(slot) => Some(slot.tensor),
        Data::Bytes(_) => None,
    });
    slots.min().unwrap_or(usize::MAX)
}

/// One function being lowered.
struct Lowering<'a> {
    name: &'a str,
    function: &'a Function,
    target: Target,
    blobs: &'a mut Blobs,
    /// Names of values, ours among them.
    names: BTreeSet<String>,
    written: BTreeSet<ValueId>,
    operations: Vec<mil::Operation>,
}

impl<'a> Lowering<'a> {
    fn new(name: &'a str, function: &'a Function, target: Target, blobs: &'a mut Blobs) -> Self {
        let names = function.values.iter().map(|value| value.name.clone()).collect();
        let (written, operations) = Default::default();
        Self { name, function, target, blobs, names, written, operations }
    }

    fn run(mut self) -> Result<mil::Function> {
        let function = self.function;
        for operation in &function.operations {
            for argument in &operation.arguments {
                self.constant(argument.value)?;
            }
            let mut lowered = mil::Operation::new(operation.row.name, &operation.name);
            for argument in &operation.arguments {
                // A parameter of several values stands once for each.
                let bound = lowered.inputs.entry(argument.param.into()).or_default();
                bound.arguments.push(binding(function.value(argument.value)));
            }
            for &id in &operation.outputs {
                let Value { name, ty, .. } = function.value(id);
                lowered = lowered.output(name, value_type(ty));
            }
            self.operations.push(lowered);
        }
        for output in &function.outputs {
            let value = function.value(output.value);
            if matches!(value.ty, ValueType::Labels(..)) {
                return Err(Error::bug(&value.name, "labels are no output"));
            }
            self.constant(output.value)?;
        }
        let typed = |value: &Value| mil::NamedValueType::new(&value.name, value_type(&value.ty));
        let block = mil::Block {
            outputs: function
                .outputs
                .iter()
                .map(|o| function.value(o.value).name.clone())
                .collect(),
            operations: self.operations,
            ..Default::default()
        };
        let opset = self.target.opset().to_owned();
        Ok(mil::Function {
            inputs: function.inputs.iter().map(|i| typed(function.value(i.value))).collect(),
            opset: opset.clone(),
            block_specializations: [(opset, block)].into(),
            ..Default::default()
        })
    }

    /// Writes a constant before its first reader.
    fn constant(&mut self, id: ValueId) -> Result<()> {
        let Value { name, constant: Some(constant), .. } = self.function.value(id) else {
            return Ok(());
        };
        if !self.written.insert(id) {
            return Ok(());
        }
        match constant {
            // A list is a literal of the operation that reads it.
            Constant::Labels(_) => {}
            Constant::Text(text) => {
                let value = mil::Value::string(text);
                self.operations.push(mil::Operation::constant(name, value));
            }
            Constant::Tensor(weight) => match &weight.storage {
                Storage::Dense(operand) => {
                    let place = self.place("val", Parameter::Attribute);
                    let value = self.blobs.value(operand, place)?;
                    self.operations.push(mil::Operation::constant(name, value));
                }
                Storage::Linear { .. } | Storage::Palette { .. } | Storage::Sparse { .. } => {
                    self.compressed(name, weight)?;
                }
            },
        }
        Ok(())
    }

    fn compressed(&mut self, name: &str, weight: &Weight) -> Result<()> {
        let names = &mut self.names;
        let mut free = |wanted: &str| {
            let name = super::names::free(wanted, |taken| names.contains(taken));
            names.insert(name.clone());
            name
        };
        for step in constexpr::steps(name, weight, self.target, &mut free)? {
            let own_name = step.outputs.first().map_or(name, |(name, _)| name);
            let mut operation = mil::Operation::new(step.kind, own_name);
            let kind = match self.target {
                Target::Ios15 | Target::Ios16 | Target::Ios17 => Parameter::Attribute,
                Target::Ios18 | Target::Ios26 => Parameter::Input,
            };
            for (param, bound) in step.params {
                operation = match (bound, kind) {
                    (Param::Name(name), _) => operation.input(param, mil::Argument::name(name)),
                    (Param::Literal(operand), kind) => {
                        let place = self.place(param, kind);
                        let value = self.blobs.value(&operand, place)?;
                        match kind {
                            Parameter::Attribute => operation.attribute(param, value),
                            Parameter::Input => operation.input(param, mil::Argument::value(value)),
                        }
                    }
                };
            }
            for (name, ty) in &step.outputs {
                operation = operation.output(name, tensor_type(ty));
            }
            self.operations.push(operation);
        }
        Ok(())
    }

    /// The place of a parameter of the operation that is being written.
    fn place(&self, param: &str, kind: Parameter) -> Place {
        Place {
            function: self.name.into(),
            operation: self.operations.len(),
            param: param.into(),
            kind,
        }
    }
}

/// What binds a parameter to a value: its name, or the list that it is.
fn binding(value: &Value) -> mil::Binding {
    use mil::binding::Binding;
    let binding = match &value.constant {
        Some(Constant::Labels(labels)) => Binding::Value(list(labels)),
        _ => Binding::Name(value.name.clone()),
    };
    mil::Binding { binding: Some(binding) }
}

fn list(labels: &Labels) -> mil::Value {
    let int = |&int: &i64| {
        let values = mil::tensor_value::LongInts { values: vec![int] };
        mil::Value::tensor(mil::DataType::Int64, &[], values.into())
    };
    let members = match labels {
        Labels::Texts(texts) => texts.iter().map(mil::Value::string).collect(),
        Labels::Ints(ints) => ints.iter().map(int).collect(),
    };
    mil::Value::list(data_type(labels.dtype()), members)
}

fn value_type(ty: &ValueType) -> mil::ValueType {
    match ty {
        ValueType::Labels(label, count) => mil::ValueType::list(data_type(*label), *count as u64),
        ValueType::Scores(label) => {
            mil::ValueType::dictionary(data_type(*label), mil::DataType::Float64)
        }
        ValueType::Tensor(tensor) => tensor_type(tensor).into(),
        ValueType::State(tensor) => {
            let wrapped_type = Some(Box::new(tensor_type(tensor).into()));
            let state = mil::StateType { wrapped_type };
            mil::ValueType { r#type: Some(mil::value_type::Type::State(state)) }
        }
    }
}

fn tensor_type(ty: &TensorType) -> mil::TensorType {
    let dimension = |dim: &super::Dim| match *dim {
        super::Dim::Fixed(size) => mil::Dimension::fixed(size as u64),
        super::Dim::Flexible => mil::Dimension::flexible(),
    };
    mil::TensorType::new(data_type(ty.dtype), ty.dims.iter().map(dimension).collect())
}

/// The same element type among the messages.
fn data_type(dtype: DataType) -> mil::DataType {
    match dtype {
        DataType::Bool => mil::DataType::Bool,
        DataType::String => mil::DataType::String,
        DataType::Float16 => mil::DataType::Float16,
        DataType::Float32 => mil::DataType::Float32,
        DataType::Float64 => mil::DataType::Float64,
        DataType::Int4 => mil::DataType::Int4,
        DataType::Int8 => mil::DataType::Int8,
        DataType::Int16 => mil::DataType::Int16,
        DataType::Int32 => mil::DataType::Int32,
        DataType::Int64 => mil::DataType::Int64,
        DataType::UInt1 => mil::DataType::UInt1,
        DataType::UInt2 => mil::DataType::UInt2,
        DataType::UInt3 => mil::DataType::UInt3,
        DataType::UInt4 => mil::DataType::UInt4,
        DataType::UInt6 => mil::DataType::UInt6,
        DataType::UInt8 => mil::DataType::UInt8,
        DataType::UInt16 => mil::DataType::UInt16,
        DataType::UInt32 => mil::DataType::UInt32,
        DataType::UInt64 => mil::DataType::UInt64,
    }
}
