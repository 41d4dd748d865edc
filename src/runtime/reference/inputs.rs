//! Whether what a caller gives is what a function declares.

use super::call::standard;
use super::{Tensor, Tensors, round};
use crate::graph::{DataType, Dim, Feature, Function, Sizes, TensorType, ValueType};
use crate::runtime::{Data, Shapes};
use crate::{Error, Result};
use ndarray::ArrayD;

/// The tensors of the inputs, in the function's order: checked, in row-major order, FP16 rounded.
///
/// `fixed` holds shapes that were promised.
///
/// # Errors
/// [`Error::Usage`] for an input that is missing, unknown, or of another type or shape.
pub(super) fn inputs(function: &Function, given: &Tensors, fixed: &Shapes) -> Result<Vec<Tensor>> {
    let declared = || function.inputs.iter().filter_map(|input| tensor_input(function, input));
    if let Some(name) = given.keys().find(|name| declared().all(|(known, ..)| known != *name)) {
        return Err(unknown(name, declared().map(|(known, ..)| known)));
    }
    let inputs: Result<Vec<_>> = declared()
        .map(|(name, ty, sizes)| {
            let found = given.get(name);
            let tensor = found.ok_or_else(|| missing(name, ty))?;
            let wrong = |why: String| other("input", name, tensor, &why);
            fits(tensor, ty, sizes).map_err(wrong)?;
            if let Some(shape) = fixed.get(name).filter(|shape| *shape != tensor.shape()) {
                return Err(wrong(format!("the function was prepared for {shape:?}")));
            }
            let mut tensor = tensor.clone();
            standard(&mut tensor.data);
            round::entry(&mut tensor);
            Ok(tensor)
        })
        .collect();
    let inputs = inputs?;
    same_choice(declared().zip(&inputs).map(|((name, _, sizes), tensor)| (name, sizes, tensor)))?;
    Ok(inputs)
}

/// An input that the function does not have.
pub(in crate::runtime) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "no inputs".into() } else { known.join(", ") };
    Error::Usage(format!("there is no input `{name}`; the function takes {known}"))
}

/// An input that is not given.
pub(in crate::runtime) fn missing(name: &str, ty: &TensorType) -> Error {
    Error::Usage(format!("input `{name}` is missing; the function takes {ty} there"))
}

/// An input or a state that is not what the function takes.
pub(in crate::runtime) fn other(what: &str, name: &str, tensor: &Tensor, why: &str) -> Error {
    Error::Usage(format!("{what} `{name}` is {}; {why}", tensor.ty()))
}

/// Checks the promised shapes.
///
/// # Errors
/// [`Error::Usage`] for a shape that no input takes.
pub(super) fn shapes(function: &Function, shapes: &Shapes) -> Result<()> {
    for (name, shape) in shapes {
        let mut features = function.inputs.iter();
        let feature = features.find(|f| function.value(f.value).name == *name);
        let Some(feature) = feature else {
            return Err(Error::Usage(format!("there is no input `{name}`")));
        };
        let Some(ty) = function.value(feature.value).ty.tensor() else { continue };
        shape_fits(shape, ty, &feature.sizes)
            .map_err(|why| Error::Usage(format!("input `{name}` as {shape:?}: {why}")))?;
    }
    Ok(())
}

/// What a state holds when the function starts: zeros, or what the caller carried here.
///
/// # Errors
/// [`Error::Usage`] for a state of another type or shape; [`Error::Input`] for one without a shape.
pub(super) fn state(name: &str, ty: &TensorType, carried: Option<&Tensor>) -> Result<Tensor> {
    if let Some(tensor) = carried {
        fits(tensor, ty, &Sizes::Fixed).map_err(|why| other("state", name, tensor, &why))?;
        let mut tensor = tensor.clone();
        standard(&mut tensor.data);
        return Ok(tensor);
    }
    let unsized_ = || {
        let found = format!("it is {ty}; a state has a fixed shape");
        Error::input(format!("state `{name}`"), found, "convert the model with a fixed one")
    };
    let shape = ty.shape().ok_or_else(unsized_)?;
    let too_large = |why| Error::input(format!("state `{name}`"), why, "use a shorter context");
    super::shape::elements(&shape).map_err(too_large)?;
    Ok(match ty.dtype {
        DataType::Float16 | DataType::Float32 => Tensor::float(ty.dtype, ArrayD::zeros(shape)),
        DataType::Bool => Tensor::bool(ArrayD::from_elem(shape, false)),
        _ => Tensor::int(ty.dtype, ArrayD::zeros(shape)),
    })
}

/// Name, type and sizes of an input that is a tensor and no state.
fn tensor_input<'a>(
    function: &'a Function,
    input: &'a Feature,
) -> Option<(&'a str, &'a TensorType, &'a Sizes)> {
    let value = function.value(input.value);
    match &value.ty {
        ValueType::Tensor(ty) => Some((&value.name, ty, &input.sizes)),
        _ => None,
    }
}

/// What does not fit, as a sentence.
type Fits = std::result::Result<(), String>;

fn fits(tensor: &Tensor, ty: &TensorType, sizes: &Sizes) -> Fits {
    let holds = match &tensor.data {
        Data::Float(_) => matches!(tensor.dtype, DataType::Float16 | DataType::Float32),
        Data::Bool(_) => tensor.dtype == DataType::Bool,
        Data::Int(_) => matches!(
            tensor.dtype,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 | DataType::Int32
        ),
        Data::Label(_) | Data::Scores(_) => false,
    };
    if tensor.dtype != ty.dtype || !holds {
        return Err(format!("the function takes {ty}"));
    }
    shape_fits(tensor.shape(), ty, sizes)
}

fn shape_fits(shape: &[usize], ty: &TensorType, sizes: &Sizes) -> Fits {
    let same = |(&size, &dim): (&usize, &Dim)| dim.may_equal(Dim::Fixed(size));
    if shape.len() != ty.rank() || !shape.iter().zip(&ty.dims).all(same) {
        return Err(format!("the function takes {ty}"));
    }
    match sizes {
        Sizes::Fixed => Ok(()),
        Sizes::Ranges(ranges) => {
            for (axis, (size, range)) in shape.iter().zip(ranges).enumerate() {
                if !(range.low..=range.high).contains(size) {
                    let (low, high) = (range.low, range.high);
                    return Err(format!("dimension {axis} takes {low} to {high}, not {size}"));
                }
            }
            Ok(())
        }
        Sizes::Enumerated(shapes) if shapes.iter().any(|known| known == shape) => Ok(()),
        Sizes::Enumerated(shapes) => Err(format!("the function takes one of {shapes:?}")),
    }
}

/// Inputs with enumerated shapes are matched by their place in the lists: one choice for all.
fn same_choice<'a>(
    inputs: impl Iterator<Item = (&'a str, &'a Sizes, &'a Tensor)> + Clone,
) -> Result<()> {
    let listed = inputs.filter_map(|(name, sizes, tensor)| match sizes {
        Sizes::Enumerated(shapes) => Some((name, shapes, tensor.shape())),
        _ => None,
    });
    let Some((first, choices, shape)) = listed.clone().next() else { return Ok(()) };
    for (name, shapes, other) in listed.skip(1) {
        let together = |(a, b): (&Vec<usize>, &Vec<usize>)| a == shape && b == other;
        if !choices.iter().zip(shapes).any(together) {
            return Err(Error::Usage(format!(
                "input `{name}` is {other:?} beside `{first}` of {shape:?}; their shapes are chosen together: {choices:?} beside {shapes:?}"
            )));
        }
    }
    Ok(())
}
