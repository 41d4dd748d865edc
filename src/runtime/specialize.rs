//! Fixing shapes: the function that is left when every size is known.

use super::constant::{constant_of, tensor_of};
use super::reference::{self, Argument, Call, Mode};
use crate::graph::TensorType;
use crate::graph::ops::Bound;
use crate::graph::weight::{Data, Storage};
use crate::graph::{Constant, Dim, Feature, Function, Operation, Sizes, Value, ValueId, ValueType};
use crate::target::Target;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Shapes of inputs by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Elements above which a constant is left where it is: folding is for shapes, masks and tables of
/// angles, not for weights.
const FOLDED: usize = 1 << 20;

/// The function for inputs of these shapes (inputs that are left out take their default): every
/// dimension of every value is fixed, what follows from shapes and small constants alone is a
/// constant, and operations that nothing reads are gone. Values keep their identities.
///
/// FP16 results that FP16 does not hold exactly are not folded: the mathematics of the program
/// rounds nothing in between, and a constant would.
///
/// # Errors
/// [`Error::Usage`] for a shape that an input does not take; [`Error::Input`] for an operation whose
/// output's shape depends on data, or that does not take these shapes.
pub fn specialize(function: &Function, shapes: &Shapes) -> Result<Function> {
    let mut fixed = function.clone();
    let known: Vec<&str> =
        function.inputs.iter().map(|f| function.value(f.value).name.as_str()).collect();
    if let Some(name) = shapes.keys().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        return Err(Error::Usage(format!("there is no input `{name}`; the inputs are {known}")));
    }
    for feature in &mut fixed.inputs {
        fix_input(feature, &mut fixed.values[feature.value.0], shapes)?;
    }
    for operation in &fixed.operations {
        fix_operation(operation, &mut fixed.values)?;
    }
    for output in &mut fixed.outputs {
        output.sizes = Sizes::Fixed;
    }
    drop_dead(&mut fixed);
    Ok(fixed)
}

/// Gives an input the shape that is asked for, or its default.
fn fix_input(feature: &mut Feature, value: &mut Value, shapes: &Shapes) -> Result<()> {
    let name = &value.name;
    let (ValueType::Tensor(ty) | ValueType::State(ty)) = &mut value.ty else { return Ok(()) };
    let usage = |found: String| Error::Usage(format!("input `{name}` is {ty}; {found}"));
    let asked = shapes.get(name).cloned();
    let shape = match (asked, &feature.sizes) {
        (Some(asked), _) => asked,
        (None, Sizes::Enumerated(all)) if !all.is_empty() => all[0].clone(),
        (None, Sizes::Ranges(ranges)) => ranges.iter().map(|range| range.default).collect(),
        (None, _) => ty.shape().ok_or_else(|| usage("give its shape".into()))?,
    };
    let declared = shape.len() == ty.rank()
        && ty.dims.iter().zip(&shape).all(|(dim, &size)| dim.may_equal(Dim::Fixed(size)));
    if !declared {
        return Err(usage(format!("it does not take {shape:?}")));
    }
    match &feature.sizes {
        Sizes::Enumerated(all) if !all.is_empty() && !all.contains(&shape) => {
            return Err(usage(format!("it takes {all:?}, not {shape:?}")));
        }
        Sizes::Ranges(ranges) => {
            let mut sizes = ranges.iter().zip(&shape).enumerate();
            if let Some((axis, (range, size))) =
                sizes.find(|(_, (r, s))| !(r.low..=r.high).contains(s))
            {
                let (low, high) = (range.low, range.high);
                return Err(usage(format!("dimension {axis} takes {low} to {high}, not {size}")));
            }
        }
        Sizes::Fixed | Sizes::Enumerated(_) => {}
    }
    reference::elements(&shape).map_err(usage)?;
    *ty = TensorType::fixed(ty.dtype, &shape);
    feature.sizes = Sizes::Fixed;
    Ok(())
}

/// Gives the results of an operation fixed types, and their content where it is known.
fn fix_operation(operation: &Operation, values: &mut [Value]) -> Result<()> {
    let place = format!("{} `{}`", operation.row.name, operation.name);
    let bound: Vec<_> = operation
        .arguments
        .iter()
        .map(|argument| {
            let Value { ty, constant, .. } = &values[argument.value.0];
            Bound { param: argument.param, ty, constant: constant.as_ref() }
        })
        .collect();
    // Which types an older opset lacks was checked when the package was read.
    let inferred = operation.row.infer(&bound, Target::Ios26).map_err(|why| {
        Error::input(
            &place,
            format!("does not take these shapes: {why}"),
            "give other input shapes",
        )
    })?;
    if inferred.len() != operation.outputs.len() {
        return Err(Error::bug(&place, format!("returns {} values", inferred.len())));
    }
    for (ty, id) in inferred.into_iter().zip(&operation.outputs) {
        let value = &mut values[id.0];
        value.ty = joined(ty, &value.ty);
    }
    let known = known_shape(operation, values).or_else(|| folded(operation, values));
    if let Some(constants) = known {
        for (constant, id) in constants.into_iter().zip(&operation.outputs) {
            let value = &mut values[id.0];
            value.ty = constant.ty();
            value.constant = Some(constant);
        }
    }
    for id in &operation.outputs {
        let Value { name, ty, .. } = &values[id.0];
        let Some(ty) = ty.tensor() else { continue };
        let remedy = "convert the model with fixed shapes there";
        let Some(shape) = ty.shape() else {
            let found = format!("the shape of `{name}`, {ty}, depends on data");
            return Err(Error::input(&place, found, remedy));
        };
        if let Err(why) = reference::elements(&shape) {
            let found = format!("`{name}`, {ty}: {why}");
            return Err(Error::input(&place, found, "give smaller input shapes"));
        }
    }
    Ok(())
}

/// The inferred type, with what only the program's own declaration fixes.
fn joined(inferred: ValueType, declared: &ValueType) -> ValueType {
    let ValueType::Tensor(mut ty) = inferred else { return inferred };
    if let Some(declared) = declared.tensor().filter(|declared| declared.rank() == ty.rank()) {
        for (dim, declared) in ty.dims.iter_mut().zip(&declared.dims) {
            if *dim == Dim::Flexible {
                *dim = *declared;
            }
        }
    }
    ty.into()
}

/// Whether a tensor of this shape is small enough to be folded.
fn is_small(shape: &[usize]) -> bool {
    reference::elements(shape).is_ok_and(|count| count <= FOLDED)
}

/// What `shape` returns: it is known from its argument's type alone.
fn known_shape(operation: &Operation, values: &[Value]) -> Option<Vec<Constant>> {
    let id = operation.argument("x").filter(|_| operation.row.name == "shape")?;
    let shape = values[id.0].ty.tensor()?.shape()?;
    let dtype = values[operation.outputs[0].0].ty.tensor()?.dtype;
    let sizes: Option<Vec<i32>> = shape.iter().map(|&size| i32::try_from(size).ok()).collect();
    let sizes = ndarray::Array1::from_vec(sizes?).into_dyn();
    Some(vec![constant_of(&super::Tensor::int(dtype, sizes))?])
}

/// What an operation on small constants returns; `None` if it is no such operation, or if its
/// results are no constants.
fn folded(operation: &Operation, values: &[Value]) -> Option<Vec<Constant>> {
    let small = |ty: &TensorType| match ty.shape() {
        Some(shape) => is_small(&shape),
        // What is only known from content is no larger than the content.
        None => true,
    };
    let outputs = operation.outputs.iter().map(|id| &values[id.0].ty);
    let fit = outputs.clone().all(|ty| ty.tensor().is_some_and(small));
    if !fit || operation.outputs.is_empty() || operation.arguments.is_empty() {
        return None;
    }
    // A tensor stands for each argument; words and labels stand for themselves.
    let mut tensors = Vec::with_capacity(operation.arguments.len());
    for argument in &operation.arguments {
        tensors.push(match values[argument.value.0].constant.as_ref()? {
            Constant::Tensor(weight) => {
                let plain = matches!(&weight.storage, Storage::Dense(operand) if matches!(operand.data, Data::Bytes(_)));
                if !plain || !is_small(&weight.shape) {
                    return None;
                }
                Some(tensor_of(weight, Mode::F32).ok()?)
            }
            Constant::Text(_) | Constant::Labels(_) => None,
        });
    }
    let mut arguments = Vec::with_capacity(tensors.len());
    for (argument, tensor) in operation.arguments.iter().zip(&tensors) {
        let bound = match (tensor, values[argument.value.0].constant.as_ref()?) {
            (Some(tensor), _) => Argument::Tensor(tensor),
            (None, Constant::Text(text)) => Argument::Text(text),
            (None, Constant::Labels(labels)) => Argument::Labels(labels),
            (None, Constant::Tensor(_)) => return None,
        };
        arguments.push((argument.param, bound));
    }
    let results = reference::call(&Call { row: operation.row, arguments, mode: Mode::F32 }).ok()?;
    results.iter().map(constant_of).collect()
}

/// Keeps the operations that an output or a state depends on.
pub(super) fn drop_dead(function: &mut Function) {
    let Function { outputs, operations, values, .. } = function;
    let mut read = vec![false; values.len()];
    for output in outputs {
        read[output.value.0] = true;
    }
    let mut kept: Vec<bool> = Vec::with_capacity(operations.len());
    for operation in operations.iter().rev() {
        let wanted = |id: &ValueId| read[id.0] && values[id.0].constant.is_none();
        let keep = operation.outputs.is_empty() || operation.outputs.iter().any(wanted);
        if keep {
            operation.arguments.iter().for_each(|argument| read[argument.value.0] = true);
        }
        kept.push(keep);
    }
    operations.retain(|_| kept.pop() == Some(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::DataType::{Float16, Float32};
    use crate::graph::weight::{Operand, Weight};
    use crate::graph::{Builder, SizeRange};

    fn zeros(shape: &[usize]) -> Constant {
        let bytes = vec![0; 2 * shape.iter().product::<usize>()];
        Weight::dense(Operand::new(Float16, shape, bytes)).into()
    }

    /// `y = x · W + x0`, of which a second product is read by nobody.
    fn flexible(sizes: Sizes) -> Function {
        let mut b = Builder::new();
        let x = b.input("x", TensorType::new(Float16, vec![Dim::Flexible, Dim::Fixed(8)]), sizes);
        let x = x.unwrap();
        let w = b.constant("w", zeros(&[3, 8])).unwrap();
        let y = b.op("linear", "y", &[("x", x), ("weight", w)]).unwrap();
        b.op("mul", "unread", &[("x", y), ("y", y)]).unwrap();
        b.output(y, "");
        b.finish()
    }

    fn ranges() -> Sizes {
        let fixed = SizeRange { low: 8, default: 8, high: 8 };
        Sizes::Ranges(vec![SizeRange { low: 1, default: 5, high: 64 }, fixed])
    }

    #[test]
    fn every_shape_follows_from_the_inputs() {
        type Case<'a> =
            (&'a str, Sizes, Option<&'a [usize]>, std::result::Result<[usize; 2], &'a str>);
        let enumerated = Sizes::Enumerated(vec![vec![4, 8], vec![16, 8]]);
        #[rustfmt::skip]
        let cases: Vec<Case<'_>> = vec![
            ("the default of a range", ranges(), None, Ok([5, 3])),
            ("a size of the range", ranges(), Some(&[64, 8]), Ok([64, 3])),
            ("beyond it", ranges(), Some(&[65, 8]), Err("input `x` is fp16[?, 8]; dimension 0 takes 1 to 64, not 65")),
            ("another rank", ranges(), Some(&[8]), Err("input `x` is fp16[?, 8]; it does not take [8]")),
            ("a size that is fixed", ranges(), Some(&[5, 9]), Err("input `x` is fp16[?, 8]; it does not take [5, 9]")),
            ("the first of a list", enumerated.clone(), None, Ok([4, 3])),
            ("another of it", enumerated.clone(), Some(&[16, 8]), Ok([16, 3])),
            ("none of it", enumerated, Some(&[5, 8]), Err("input `x` is fp16[?, 8]; it takes [[4, 8], [16, 8]], not [5, 8]")),
            ("no default", Sizes::Fixed, None, Err("input `x` is fp16[?, 8]; give its shape")),
        ];
        for (name, sizes, asked, want) in cases {
            let shapes = asked.map(|shape| ("x".to_owned(), shape.to_vec())).into_iter().collect();
            match (specialize(&flexible(sizes), &shapes), want) {
                (Ok(fixed), Ok(want)) => {
                    let ty = &fixed.value(fixed.outputs[0].value).ty;
                    assert_eq!(*ty, TensorType::fixed(Float16, &want).into(), "{name}");
                    assert_eq!(fixed.operations.len(), 1, "{name}: what nothing reads is gone");
                }
                (Err(why), Err(want)) => assert_eq!(why.to_string(), want, "{name}"),
                (got, want) => panic!("{name}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn shapes_that_nothing_can_hold_and_inputs_that_are_not_there_are_usage_errors() {
        let mut sizes = ranges();
        if let Sizes::Ranges(ranges) = &mut sizes {
            ranges[0].high = usize::MAX;
        }
        let ask = |name: &str, rows| [(name.to_owned(), vec![rows, 8])].into();
        let why = specialize(&flexible(sizes), &ask("x", 1 << 40)).unwrap_err();
        assert!(why.to_string().contains("above the limit of 2^30 elements"), "{why}");
        let why = specialize(&flexible(ranges()), &ask("z", 4)).unwrap_err();
        assert_eq!(why.to_string(), "there is no input `z`; the inputs are x");
    }

    #[test]
    fn an_operation_that_does_not_take_the_shapes_is_named() {
        let mut b = Builder::new();
        let flexible = || TensorType::new(Float32, vec![Dim::Flexible]);
        let (x, y) =
            (b.input("x", flexible(), Sizes::Fixed), b.input("y", flexible(), Sizes::Fixed));
        let sum = b.op("add", "sum", &[("x", x.unwrap()), ("y", y.unwrap())]).unwrap();
        b.output(sum, "");
        let shapes = [("x".to_owned(), vec![3]), ("y".to_owned(), vec![4])].into();
        let why = specialize(&b.finish(), &shapes).unwrap_err().to_string();
        assert!(why.starts_with("add `sum`: does not take these shapes: "), "{why}");
    }

    fn half(value: f32) -> Constant {
        let bytes = half::f16::from_f32(value).to_le_bytes().to_vec();
        Weight::dense(Operand::new(Float16, &[], bytes)).into()
    }

    #[test]
    fn what_follows_from_shapes_and_constants_is_a_constant() {
        let mut b = Builder::new();
        let flexible = TensorType::new(Float16, vec![Dim::Flexible, Dim::Fixed(8)]);
        let x = b.input("x", flexible, ranges()).unwrap();
        let sizes = b.op("shape", "sizes", &[("x", x)]).unwrap();
        let (first, axis) = (b.constant("first", Constant::ints(&[0])), Constant::int(0));
        let rows = b.op("gather", "rows", &[("x", sizes), ("indices", first.unwrap())]).unwrap();
        let rest = b.constant("rest", Constant::ints(&[2, -1])).unwrap();
        let axis = b.constant("axis", axis).unwrap();
        let values = [("values", rows), ("values", rest), ("axis", axis)];
        let shape = b.op("concat", "shape", &values).unwrap();
        let y = b.op("reshape", "y", &[("x", x), ("shape", shape)]).unwrap();
        // A half times a half is an FP16 number, a tenth of a tenth is not.
        let [exact, inexact] = [0.5, 0.1].map(|value| {
            let factor = b.constant(&b.free("factor"), half(value)).unwrap();
            b.op("mul", &b.free("square"), &[("x", factor), ("y", factor)]).unwrap()
        });
        let y = b.op("mul", "z", &[("x", y), ("y", exact)]).unwrap();
        let y = b.op("mul", "u", &[("x", y), ("y", inexact)]).unwrap();
        b.output(y, "");
        let fixed = specialize(&b.finish(), &Shapes::new()).unwrap();
        let left: Vec<_> = fixed.operations.iter().map(|op| op.name.as_str()).collect();
        assert_eq!(left, ["y", "square_2", "z", "u"]);
        assert_eq!(fixed.value(shape).constant.as_ref().unwrap().as_ints().unwrap(), [5, 2, -1]);
        assert_eq!(fixed.value(exact).constant, Some(half(0.25)));
        assert_eq!(fixed.value(y).ty, TensorType::fixed(Float16, &[5, 2, 4]).into());
    }

    #[test]
    fn a_shape_that_depends_on_data_names_its_operation() {
        let mut b = Builder::new();
        let x = b.input("x", TensorType::fixed(Float32, &[4]), Sizes::Fixed).unwrap();
        let places = b.op("non_zero", "places", &[("x", x)]).unwrap();
        b.output(places, "");
        let why = specialize(&b.finish(), &Shapes::new()).unwrap_err().to_string();
        let want = "non_zero `places`: the shape of `places`, int32[?, 1], depends on data";
        assert!(why.starts_with(want), "{why}");
    }
}
