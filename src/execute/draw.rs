//! Inputs that depend on names alone: the same on any machine, in any version.

use crate::graph::{
    DataType, Dim, Feature, Function, Operation, Sizes, TensorType, ValueId, ValueType,
};
use crate::runtime::{Shapes, Tensor, Tensors};
use crate::{Error, Result};
use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::collections::BTreeSet;

/// The most elements of one drawn tensor.
const MOST_ELEMENTS: usize = 1 << 28;

/// Operations that hand the numbers of these parameters on, and none but them.
const PASSES: &[(&str, &[&str])] = &[
    ("cast", &["x"]),
    ("concat", &["values"]),
    ("expand_dims", &["x"]),
    ("identity", &["x"]),
    ("reshape", &["x"]),
    ("select", &["a", "b"]),
    ("slice_by_index", &["x"]),
    ("slice_by_size", &["x"]),
    ("squeeze", &["x"]),
    ("stack", &["values"]),
    ("tile", &["x"]),
    ("transpose", &["x"]),
];

/// Draws every input that is a tensor, in the shape that `shapes` gives it, else in its default one.
///
/// | declared | drawn |
/// |---|---|
/// | FP16, FP32 | sums of twelve uniform numbers less six: nearly standard normal, rounded to the type |
/// | image | whole numbers from 0 to 255 |
/// | optional | its default value |
/// | integers called `attention_mask` | 1: every token is one |
/// | other integers | uniform over the rows of the table that they choose from (`gather`, `one_hot`); 0 where none is found |
/// | flags | true or false |
///
/// `seed` tells functions apart, and samples.
///
/// # Errors
/// [`Error::Input`] for an input that is too large to draw, or of no type that can be.
pub fn draw(function: &Function, seed: &str, shapes: &Shapes) -> Result<Tensors> {
    let inputs = function.inputs.iter().filter_map(|feature| {
        let value = function.value(feature.value);
        matches!(value.ty, ValueType::Tensor(_)).then_some((value.name.clone(), feature))
    });
    inputs
        .map(|(name, feature)| {
            let (seed, shape) = (format!("{seed}/{name}"), shapes.get(&name));
            let tensor = one(function, feature, &seed, shape).map_err(|why| {
                let remedy = "give inputs with --inputs FILE";
                Error::input(format!("input `{name}`"), format!("cannot be drawn: {why}"), remedy)
            })?;
            Ok((name, tensor))
        })
        .collect()
}

fn one(
    function: &Function,
    feature: &Feature,
    seed: &str,
    shape: Option<&Vec<usize>>,
) -> std::result::Result<Tensor, String> {
    if let Some(default) = left_out(function, feature, shape)? {
        return Ok(default);
    }
    let (ty, shape, elements) = sized(function, feature, shape)?;
    let mut numbers = Numbers::new(seed);
    let is_mask = function.value(feature.value).name == "attention_mask";
    Ok(match ty.dtype {
        dtype @ (DataType::Float16 | DataType::Float32) => {
            let draw = || match (feature.image, dtype) {
                (Some(_), _) => numbers.below(256) as f32,
                (None, DataType::Float16) => f16::from_f32(numbers.normal()).to_f32(),
                (None, _) => numbers.normal(),
            };
            Tensor::float(dtype, array(&shape, elements, draw)?)
        }
        DataType::Bool => Tensor::bool(array(&shape, elements, || numbers.below(2) == 1)?),
        dtype @ (DataType::Int8
        | DataType::UInt8
        | DataType::Int16
        | DataType::UInt16
        | DataType::Int32) => {
            if is_mask {
                return Ok(Tensor::int(dtype, array(&shape, elements, || 1)?));
            }
            // Every type holds the numbers below 128.
            let bits = dtype.bits().ok_or("it has no width")?.min(31) - 1;
            let rows = rows(function, feature.value).unwrap_or(1).clamp(1, 1 << bits.max(7));
            Tensor::int(dtype, array(&shape, elements, || numbers.below(rows as u64) as i32)?)
        }
        dtype => return Err(format!("it is {dtype}")),
    })
}

/// What an optional input holds where it is left out, in this shape or its default one; `None` for one
/// that must be given.
///
/// # Errors
/// A sentence on a type or a size that no tensor has.
pub(super) fn left_out(
    function: &Function,
    feature: &Feature,
    shape: Option<&Vec<usize>>,
) -> std::result::Result<Option<Tensor>, String> {
    let Some(default) = feature.default else { return Ok(None) };
    let (ty, shape, elements) = sized(function, feature, shape)?;
    Ok(Some(match ty.dtype {
        DataType::Float16 => {
            let value = f16::from_f64(default).to_f32();
            Tensor::float(ty.dtype, array(&shape, elements, || value)?)
        }
        DataType::Float32 => Tensor::float(ty.dtype, array(&shape, elements, || default as f32)?),
        DataType::Int8 | DataType::Int32 => {
            Tensor::int(ty.dtype, array(&shape, elements, || default as i32)?)
        }
        dtype => return Err(format!("it is {dtype} with a default value")),
    }))
}

/// The type of an input, this shape or its default one, and the number of elements of that.
fn sized<'f>(
    function: &'f Function,
    feature: &Feature,
    shape: Option<&Vec<usize>>,
) -> std::result::Result<(&'f TensorType, Vec<usize>, usize), String> {
    let ty = function.value(feature.value).ty.tensor().ok_or("it is no tensor")?;
    let shape = shape.cloned().or_else(|| default_shape(&ty.dims, &feature.sizes));
    let shape = shape.ok_or("it has no default shape")?;
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let elements = elements
        .filter(|&n| n <= MOST_ELEMENTS)
        .ok_or_else(|| format!("{shape:?} has more than {MOST_ELEMENTS} elements"))?;
    Ok((ty, shape, elements))
}

fn array<T>(
    shape: &[usize],
    elements: usize,
    draw: impl FnMut() -> T,
) -> std::result::Result<ArrayD<T>, String> {
    let values = std::iter::repeat_with(draw).take(elements).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|error| error.to_string())
}

/// The shape that an input has by default; `None` where the package gives none.
pub(super) fn default_shape(dims: &[Dim], sizes: &Sizes) -> Option<Vec<usize>> {
    let sized = |(axis, dim): (usize, &Dim)| match (dim, sizes) {
        (Dim::Fixed(size), _) => Some(*size),
        (Dim::Flexible, Sizes::Ranges(ranges)) => Some(ranges.get(axis)?.default),
        (Dim::Flexible, Sizes::Enumerated(shapes)) => shapes.first()?.get(axis).copied(),
        (Dim::Flexible, Sizes::Fixed) => None,
    };
    dims.iter().enumerate().map(sized).collect()
}

/// The number of rows that the numbers of a value choose from: the least of all tables that they
/// reach, also through operations that only move them. `None` where they reach none.
fn rows(function: &Function, value: ValueId) -> Option<usize> {
    let mut reached = BTreeSet::from([value]);
    let mut least: Option<usize> = None;
    // Operations stand in an order in which they can run: one pass sees all uses.
    for operation in &function.operations {
        let reads = |param: &str, reached: &BTreeSet<ValueId>| {
            operation.arguments.iter().any(|a| a.param == param && reached.contains(&a.value))
        };
        if reads("indices", &reached) {
            least = [least, table_rows(function, operation)].into_iter().flatten().min();
        }
        let passes = PASSES.iter().find(|(name, _)| *name == operation.row.name);
        if passes.is_some_and(|(_, params)| params.iter().any(|p| reads(p, &reached))) {
            reached.extend(&operation.outputs);
        }
    }
    least
}

/// The rows of the table that `indices` choose from.
fn table_rows(function: &Function, operation: &Operation) -> Option<usize> {
    let constant = |param| function.value(operation.argument(param)?).constant.as_ref();
    let int = |param| constant(param)?.as_ints()?.first().copied();
    if operation.row.name == "one_hot" {
        return usize::try_from(int("one_hot_vector_size")?).ok();
    }
    let dims = &function.value(operation.argument("x")?).ty.tensor()?.dims;
    let size = |dim: &Dim| match *dim {
        Dim::Fixed(size) => Some(size),
        Dim::Flexible => None,
    };
    match operation.row.name {
        "gather" | "gather_along_axis" => {
            let axis = int("axis").unwrap_or(0);
            let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
            size(dims.get(usize::try_from(axis).ok()?)?)
        }
        "gather_nd" => dims.iter().filter_map(size).min(),
        _ => None,
    }
}

/// Numbers that follow from a text: the output stream of BLAKE3.
struct Numbers(blake3::OutputReader);

impl Numbers {
    fn new(seed: &str) -> Self {
        Self(
            blake3::Hasher::new_derive_key("twolane drawn inputs")
                .update(seed.as_bytes())
                .finalize_xof(),
        )
    }

    /// Uniform in 0..n.
    fn below(&mut self, n: u64) -> u64 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        (u64::from(u32::from_le_bytes(bytes)) * n) >> 32
    }

    /// Σ of twelve uniform numbers − 6: mean 0, variance 1, within ±6, exact in f32.
    fn normal(&mut self) -> f32 {
        let mut bytes = [0; 24];
        self.0.fill(&mut bytes);
        let sum: u32 = bytes.as_chunks().0.iter().map(|b| u32::from(u16::from_le_bytes(*b))).sum();
        // Each number is (n + ½) / 65536.
        (sum as f32 + 6.0 - 6.0 * 65536.0) / 65536.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::weight::{Operand, Weight};
    use crate::graph::{Builder, Constant, SizeRange, TensorType};

    /// Ids that choose from a table of 40 rows, a normal input and flags.
    fn function() -> Function {
        let mut builder = Builder::new();
        let ids = TensorType::fixed(DataType::Int32, &[1000]);
        let ids = builder.input("ids", ids, Sizes::Fixed).unwrap();
        let dims = vec![Dim::Flexible, Dim::Fixed(50)];
        let range = |low, default, high| SizeRange { low, default, high };
        let sizes = Sizes::Ranges(vec![range(1, 40, 64), range(50, 50, 50)]);
        builder.input("x", TensorType::new(DataType::Float16, dims), sizes).unwrap();
        builder.input("mask", TensorType::fixed(DataType::Bool, &[64]), Sizes::Fixed).unwrap();
        builder.input("pos", TensorType::fixed(DataType::Int32, &[3]), Sizes::Fixed).unwrap();
        let table = Operand::new(DataType::Float16, &[40, 2], vec![0; 160]);
        let table = builder.constant("table", Weight::dense(table)).unwrap();
        let zero = builder.constant("zero", Constant::int(0)).unwrap();
        let arguments = [("x", table), ("indices", ids), ("axis", zero), ("batch_dims", zero)];
        let y = builder.op("gather", "y", &arguments).unwrap();
        builder.output(y, "");
        builder.finish()
    }

    #[test]
    fn inputs_are_drawn_as_their_types_and_uses_say() {
        let function = function();
        let drawn = draw(&function, "m/main/0", &Shapes::new()).unwrap();
        let ids = drawn["ids"].as_int().unwrap();
        let (low, high) = (ids.iter().min().unwrap(), ids.iter().max().unwrap());
        let wide = Shapes::from([("x".to_owned(), vec![64, 50])]);
        assert_eq!(draw(&function, "m/main/0", &wide).unwrap()["x"].shape(), [64, 50]);
        assert_eq!((*low, *high), (0, 39), "1,000 ids meet both ends of a table of 40 rows");
        let x = drawn["x"].as_float().unwrap();
        assert_eq!(x.shape(), [40, 50]);
        let n = x.len() as f32;
        let mean = x.sum() / n;
        let variance = x.iter().map(|x| x * x).sum::<f32>() / n;
        assert!(mean.abs() < 0.08 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
        assert!(x.iter().all(|&x| f16::from_f32(x).to_f32() == x));
        let set = drawn["mask"].as_bool().unwrap().iter().filter(|b| **b).count();
        assert!((16..48).contains(&set));
        assert_eq!(drawn["pos"].as_int().unwrap().as_slice().unwrap(), [0; 3]);
    }

    #[test]
    fn the_same_names_draw_the_same_and_others_do_not() {
        let function = function();
        let x = |seed: &str| draw(&function, seed, &Shapes::new()).unwrap()["x"].clone();
        assert_eq!(x("m/main/0"), x("m/main/0"));
        assert_ne!(x("m/main/0"), x("m/main/1"));
        let first: Vec<f32> = x("m/main/0").as_float().unwrap().iter().take(3).copied().collect();
        assert_eq!(first, [0.16320801, -0.31274414, -0.14624023]);
    }
}
