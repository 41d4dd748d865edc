//! Operations of a model, one after the other: names, constants and weights.

use super::parameters::{Parameter, ParameterId};
use crate::graph::weight::{Operand, Storage, Weight};
use crate::graph::{Builder, Constant, DataType, Sizes, TensorType, ValueId, names};
use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::collections::{BTreeMap, HashMap};

/// The weights of a model as a program holds them.
#[derive(Clone, Debug)]
pub struct Weights {
    parameters: Vec<Parameter>,
    storages: Vec<Storage>,
    identifiers: Vec<String>,
}

impl Weights {
    /// Parameters with their storages, in the same order.
    pub fn new(parameters: Vec<Parameter>, storages: Vec<Storage>) -> Self {
        let mapped = names::identifiers(parameters.iter().map(|p| p.name.as_str()), []);
        let identifiers = parameters.iter().map(|p| mapped[&p.name].clone()).collect();
        Self { parameters, storages, identifiers }
    }

    /// Bytes of a parameter as it is stored.
    pub fn byte_len(&self, id: ParameterId) -> u64 {
        self.storages[id.0].byte_len()
    }

    /// Each identifier with the name in the checkpoint.
    pub fn names(&self) -> BTreeMap<String, String> {
        let pairs = self.identifiers.iter().zip(&self.parameters);
        pairs.map(|(identifier, parameter)| (identifier.clone(), parameter.name.clone())).collect()
    }
}

/// Which hardware the operations of a function suit. An architecture does not know: only blocks do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// GPU and CPU: hidden values `[1, T, C]`, linear layers, fused attention.
    #[default]
    Gpu,
    /// The Neural Engine: hidden values `[1, C, 1, T]` of fixed shape, 1x1 convolutions, attention by key
    /// head; see [`mod@super::decoder::ane`].
    Ane,
}

/// Builds one function of a model. Names are made free, so that blocks need not know each other.
#[derive(Debug)]
pub struct Emitter<'w> {
    builder: Builder,
    weights: &'w Weights,
    /// The type that the function computes in.
    float: DataType,
    style: Style,
    /// What stands before names: the layer.
    scope: String,
    /// Constants by what they hold.
    constants: HashMap<String, ValueId>,
    /// The parameters behind values, by their names.
    named: BTreeMap<String, String>,
}

impl<'w> Emitter<'w> {
    /// An empty function over these weights, computing in FP16 or FP32.
    pub fn new(weights: &'w Weights, float: DataType) -> Self {
        Self {
            builder: Builder::new(),
            weights,
            float,
            style: Style::Gpu,
            scope: String::new(),
            constants: HashMap::new(),
            named: BTreeMap::new(),
        }
    }

    /// The same in this style.
    pub fn with_style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// Which hardware the operations suit.
    pub fn style(&self) -> Style {
        self.style
    }

    /// The type that the function computes in.
    pub fn float(&self) -> DataType {
        self.float
    }

    /// The builder, for inputs, states and outputs.
    pub fn builder(&mut self) -> &mut Builder {
        &mut self.builder
    }

    /// The name in the checkpoint of each weight so far. One that is seen in two shapes is two values.
    pub fn named_weights(&self) -> &BTreeMap<String, String> {
        &self.named
    }

    /// Ends the function.
    pub fn finish(self) -> crate::graph::Function {
        self.builder.finish()
    }

    /// Puts this before the names that follow.
    pub fn enter(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// An operation with one output, named after the scope and `name`.
    pub fn op(
        &mut self,
        operation: &str,
        name: &str,
        arguments: &[(&str, ValueId)],
    ) -> Result<ValueId> {
        let name = self.name(name);
        self.builder.op(operation, &name, arguments)
    }

    /// An operation whose one output the caller sees under this very name.
    pub fn named(
        &mut self,
        operation: &str,
        name: &str,
        arguments: &[(&str, ValueId)],
    ) -> Result<ValueId> {
        self.builder.op(operation, name, arguments)
    }

    /// An operation without outputs.
    pub fn effect(
        &mut self,
        operation: &str,
        name: &str,
        arguments: &[(&str, ValueId)],
    ) -> Result<()> {
        let name = self.name(name);
        self.builder.effect(operation, &name, arguments)
    }

    fn name(&self, name: &str) -> String {
        let whole =
            if self.scope.is_empty() { name.into() } else { format!("{}_{name}", self.scope) };
        self.builder.free(&names::sanitize(&whole))
    }

    fn once(
        &mut self,
        key: String,
        name: &str,
        constant: impl FnOnce() -> Constant,
    ) -> Result<ValueId> {
        if let Some(&known) = self.constants.get(&key) {
            return Ok(known);
        }
        let name = self.builder.free(name);
        let value = self.builder.constant(&name, constant())?;
        self.constants.insert(key, value);
        Ok(value)
    }

    /// An INT32 vector.
    pub fn ints(&mut self, values: &[i32]) -> Result<ValueId> {
        self.once(format!("ints {values:?}"), "ints", || Constant::ints(values))
    }

    /// An INT32 scalar.
    pub fn int(&mut self, value: i32) -> Result<ValueId> {
        self.once(format!("int {value}"), "int", || Constant::int(value))
    }

    /// A flag.
    pub fn flag(&mut self, value: bool) -> Result<ValueId> {
        self.once(format!("flag {value}"), "flag", || Constant::bool(value))
    }

    /// A word.
    pub fn word(&mut self, word: &str) -> Result<ValueId> {
        self.once(format!("word {word}"), "word", || Constant::text(word))
    }

    /// A scalar of the type that the function computes in.
    pub fn number(&mut self, value: f32) -> Result<ValueId> {
        let float = self.float;
        self.number_in(float, value)
    }

    /// A scalar of FP16 or FP32.
    pub fn number_in(&mut self, dtype: DataType, value: f32) -> Result<ValueId> {
        let constant = dense(dtype, &[], &[value])?;
        self.once(format!("{dtype} {:x}", value.to_bits()), "number", || constant)
    }

    /// A table of the type that the function computes in, rounded once; known by its name from then
    /// on.
    pub fn table(
        &mut self,
        name: &str,
        shape: &[usize],
        values: impl FnOnce() -> Vec<f32>,
    ) -> Result<ValueId> {
        let key = format!("table {name}");
        if let Some(&known) = self.constants.get(&key) {
            return Ok(known);
        }
        let constant = dense(self.float, shape, &values())?;
        self.once(key, name, || constant)
    }

    /// A parameter seen in `shape`, which is its own but for axes of one element.
    pub fn weight(&mut self, id: ParameterId, shape: &[usize]) -> Result<ValueId> {
        let weights = self.weights;
        let parameter = &weights.parameters[id.0];
        let key = format!("{id:?} {shape:?}");
        if let Some(&known) = self.constants.get(&key) {
            return Ok(known);
        }
        let storage = weights.storages[id.0].with_axes(&parameter.shape, shape);
        let storage = storage.ok_or_else(|| {
            Error::bug(&parameter.name, format!("{:?} is no {shape:?}", parameter.shape))
        })?;
        let name = self.builder.free(&weights.identifiers[id.0]);
        self.named.insert(name.clone(), parameter.name.clone());
        let weight = Weight { shape: shape.to_vec(), storage };
        let value = self.builder.constant(&name, weight)?;
        self.constants.insert(key, value);
        Ok(value)
    }

    /// `x + y`.
    pub fn add(&mut self, name: &str, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.op("add", name, &[("x", x), ("y", y)])
    }

    /// `x · y`.
    pub fn mul(&mut self, name: &str, x: ValueId, y: ValueId) -> Result<ValueId> {
        self.op("mul", name, &[("x", x), ("y", y)])
    }

    /// `x` in another shape; −1 stands for what is left.
    pub fn reshape(&mut self, name: &str, x: ValueId, shape: &[i32]) -> Result<ValueId> {
        let shape = self.ints(shape)?;
        self.op("reshape", name, &[("x", x), ("shape", shape)])
    }

    /// `x` with its axes in another order.
    pub fn transpose(&mut self, name: &str, x: ValueId, perm: &[i32]) -> Result<ValueId> {
        let perm = self.ints(perm)?;
        self.op("transpose", name, &[("x", x), ("perm", perm)])
    }

    /// The same numbers in another type.
    pub fn cast(&mut self, name: &str, x: ValueId, to: DataType) -> Result<ValueId> {
        let dtype = self.word(&to.to_string())?;
        self.op("cast", name, &[("x", x), ("dtype", dtype)])
    }

    /// `from..to` of one axis of `x`, which has `rank` axes; all else stays.
    pub fn slice(
        &mut self,
        name: &str,
        x: ValueId,
        rank: usize,
        axis: usize,
        range: std::ops::Range<usize>,
    ) -> Result<ValueId> {
        let at = |value: usize| {
            let mut all = vec![0; rank];
            all[axis] = value as i32;
            all
        };
        let (begin, end) = (self.ints(&at(range.start))?, self.ints(&at(range.end))?);
        let open: Vec<bool> = (0..rank).map(|a| a != axis).collect();
        let mask = self.flags(&open)?;
        let arguments =
            [("x", x), ("begin", begin), ("end", end), ("begin_mask", mask), ("end_mask", mask)];
        self.op("slice_by_index", name, &arguments)
    }

    /// A row of flags.
    pub fn flags(&mut self, values: &[bool]) -> Result<ValueId> {
        let bytes: Vec<u8> = values.iter().map(|&v| v.into()).collect();
        let operand = Operand::new(DataType::Bool, &[values.len()], bytes);
        self.once(format!("flags {values:?}"), "flags", || Weight::dense(operand).into())
    }

    /// Values one behind the other along `axis`.
    pub fn concat(&mut self, name: &str, values: &[ValueId], axis: i32) -> Result<ValueId> {
        let axis = self.int(axis)?;
        let mut arguments: Vec<(&str, ValueId)> = values.iter().map(|&v| ("values", v)).collect();
        arguments.push(("axis", axis));
        self.op("concat", name, &arguments)
    }

    /// Rows of a table, by INT32 indices.
    pub fn gather(&mut self, name: &str, table: ValueId, rows: ValueId) -> Result<ValueId> {
        let axis = self.int(0)?;
        self.op("gather", name, &[("x", table), ("indices", rows), ("axis", axis)])
    }

    /// One dimension of a value, as INT32 `[1]`.
    pub fn dimension(&mut self, name: &str, x: ValueId, axis: usize) -> Result<ValueId> {
        let shape = self.op("shape", &format!("{name}_shape"), &[("x", x)])?;
        self.slice(&format!("{name}_count"), shape, 1, 0, axis..axis + 1)
    }

    /// The whole numbers from one INT32 `[1]` value up to another, which is not among them.
    pub fn range(&mut self, name: &str, start: ValueId, end: ValueId) -> Result<ValueId> {
        let axes = self.ints(&[0])?;
        let start =
            self.op("squeeze", &format!("{name}_start"), &[("x", start), ("axes", axes)])?;
        let end = self.op("squeeze", &format!("{name}_end"), &[("x", end), ("axes", axes)])?;
        let step = self.int(1)?;
        self.op("range_1d", name, &[("start", start), ("end", end), ("step", step)])
    }

    /// An input.
    pub fn input(
        &mut self,
        name: &str,
        ty: TensorType,
        sizes: Sizes,
        about: &str,
    ) -> Result<ValueId> {
        let value = self.builder.input(name, ty, sizes)?;
        self.builder.about(about);
        Ok(value)
    }
}

/// Numbers as a constant of FP16, rounded to nearest, or FP32.
fn dense(dtype: DataType, shape: &[usize], values: &[f32]) -> Result<Constant> {
    let bytes: Vec<u8> = match dtype {
        DataType::Float16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            halves.iter().flat_map(|h| h.to_le_bytes()).collect()
        }
        DataType::Float32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        other => return Err(Error::bug("a constant", format!("numbers in {other}"))),
    };
    Ok(Weight::dense(Operand::new(dtype, shape, bytes)).into())
}
