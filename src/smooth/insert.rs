//! The multiplications, put into a function.

use super::Step;
use crate::graph::ops::Row;
use crate::graph::weight::{Operand, Weight};
use crate::graph::{
    Argument, Constant, DataType, Flow, Function, Operation, Value, ValueId, names,
};
use half::f16;

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
        let by = define(function, &format!("{name}_smoothing"), factors.ty(), Some(factors));
        let divided = define(function, &format!("{name}_smoothed"), ty.clone(), None);
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
