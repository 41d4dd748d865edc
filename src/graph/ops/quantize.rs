//! INT8 activations: `quantize` and `dequantize`.

use super::arguments::{Arguments, Inferred, one, require};
use super::domain::{CODE, FLOAT, INT, WORD};
use super::{Default, Param, Row};
use crate::graph::{Constant, DataType, Dim, TensorType};
use crate::target::Target;

const ZERO_POINT: Param = Param::constant("zero_point", CODE).or(Default::Absent);
const SCALE: Param = Param::constant("scale", FLOAT);
const AXIS: Param = Param::constant("axis", INT).or(Default::Absent);

pub(super) static ROWS: &[Row] = &[
    // scale · (input − zero_point), in scale's type.
    Row::new("dequantize", &[Param::tensor("input", CODE), ZERO_POINT, SCALE, AXIS], dequantize)
        .since(Target::Ios17),
    // clip(round(input / scale) + zero_point), half to even.
    Row::new(
        "quantize",
        &[
            Param::tensor("input", FLOAT),
            ZERO_POINT,
            SCALE,
            AXIS,
            Param::constant("output_dtype", WORD),
        ],
        quantize,
    )
    .since(Target::Ios17),
];

/// Scale and zero point are both scalars, or both vectors along an axis.
fn parameters<'a>(args: &Arguments<'a>) -> Result<(&'a TensorType, &'a TensorType), String> {
    let (input, scale) = (args.tensor("input")?, args.tensor("scale")?);
    let zero_point = args.optional("zero_point");
    let fits = |param: &TensorType, axis: Option<Dim>| match (&param.dims[..], axis) {
        ([], None) => true,
        ([count], Some(size)) => count.may_equal(size),
        _ => false,
    };
    let axis = match args.has("axis") {
        true => Some(input.dims[args.axis("axis", input.rank())?]),
        false => None,
    };
    for (name, param) in [("scale", Some(scale)), ("zero_point", zero_point)] {
        let Some(param) = param else { continue };
        require(fits(param, axis), || match axis {
            None => format!("`{name}` is {param}; without `axis` it must be a scalar"),
            Some(size) => format!("`{name}` is {param}; `axis` has {size} elements"),
        })?;
    }
    Ok((input, scale))
}

fn dequantize(args: &Arguments<'_>) -> Inferred {
    let (input, scale) = parameters(args)?;
    one(scale.dtype, input.dims.clone())
}

fn quantize(args: &Arguments<'_>) -> Inferred {
    let (input, _) = parameters(args)?;
    let dtype = match args.word("output_dtype", &["int8", "uint8"])? {
        "uint8" => DataType::UInt8,
        _ => DataType::Int8,
    };
    let zero_point = args.optional("zero_point").filter(|zero| zero.dtype != dtype);
    if let Some(zero_point) = zero_point {
        return Err(format!("`zero_point` is {zero_point}, and `output_dtype` {dtype}"));
    }
    let scales = args.constant("scale").and_then(Constant::as_floats).unwrap_or_default();
    require(scales.is_empty() || scales.iter().any(|&scale| scale != 0.0), || {
        "`scale` is 0".to_owned()
    })?;
    one(dtype, input.dims.clone())
}
