//! The multiplications, put into a function and taken out again.

use super::Step;
use crate::graph::ops::Row;
use crate::graph::weight::{Operand, Weight};
use crate::graph::{
    Argument, Constant, DataType, Flow, Function, Operation, Value, ValueId, names,
};
use half::f16;
use std::collections::BTreeMap;

/// What the factors of a value are called, behind its name.
const FACTORS: &str = "_smoothing";

/// What it is called divided by them.
const DIVIDED: &str = "_smoothed";

/// Puts in what the steps could not hide: behind each such value a `mul` by `1/s`, which its layers
/// read. A step of another function changes nothing.
pub fn insert(function: &mut Function, steps: &[Step]) {
    for step in steps.iter().filter(|step| step.inserted) {
        let Some(id) = function.find(&step.value) else { continue };
        let place = Flow::new(function).maker(id).map_or(0, |(place, _)| place + 1);
        let Value { name, ty, .. } = function.value(id).clone();
        let Some(tensor) = ty.tensor() else { continue };
        let conv = function
            .operations
            .iter()
            .any(|o| step.layers.contains(&o.name) && o.row.name == "conv");
        let mut shape = vec![step.factors.len()];
        if conv {
            shape.extend(vec![1; tensor.rank() - 2]);
        }
        let inverse = step.factors.iter().map(|factor| 1.0 / factor);
        let bytes: Vec<u8> = match tensor.dtype {
            DataType::Float16 => inverse.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
            _ => inverse.flat_map(f32::to_le_bytes).collect(),
        };
        let factors = Weight::dense(Operand::new(tensor.dtype, &shape, bytes));
        let factors: Constant = factors.into();
        let by = define(function, &format!("{name}{FACTORS}"), factors.ty(), Some(factors));
        let divided = define(function, &format!("{name}{DIVIDED}"), ty.clone(), None);
        for operation in function.operations.iter_mut().filter(|o| step.layers.contains(&o.name)) {
            for argument in &mut operation.arguments {
                if argument.value == id && argument.param == "x" {
                    argument.value = divided;
                }
            }
        }
        let arguments =
            vec![Argument { param: "x", value: id }, Argument { param: "y", value: by }];
        let row = Row::find("mul").expect("a row of the table");
        let name = function.value(divided).name.clone();
        let outputs = vec![divided];
        function.operations.insert(place, Operation { name, row, arguments, outputs });
    }
}

/// Takes out what [`insert`] put in, by its names: layers read the values themselves, as they do where no
/// weight is scaled.
pub fn strip(function: &mut Function) {
    let undone = |operation: &Operation| {
        let (x, by) = (operation.argument("x")?, function.value(operation.argument("y")?));
        let divided = *operation.outputs.first()?;
        let name = &function.value(x).name;
        let is = |other: &str, ending| {
            other.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(ending))
        };
        let inserted = operation.row.name == "mul"
            && by.constant.is_some()
            && is(&by.name, FACTORS)
            && is(&function.value(divided).name, DIVIDED);
        inserted.then_some((divided, x))
    };
    let undone: BTreeMap<ValueId, ValueId> =
        function.operations.iter().filter_map(undone).collect();
    function.operations.retain(|o| !o.outputs.iter().any(|id| undone.contains_key(id)));
    for argument in function.operations.iter_mut().flat_map(|o| &mut o.arguments) {
        argument.value = undone.get(&argument.value).copied().unwrap_or(argument.value);
    }
}

fn define(
    function: &mut Function,
    name: &str,
    ty: crate::graph::ValueType,
    constant: Option<Constant>,
) -> ValueId {
    let name = names::free(name, |taken| function.find(taken).is_some());
    function.values.push(Value { name, ty, constant });
    ValueId(function.values.len() - 1)
}
