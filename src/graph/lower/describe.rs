//! What callers see of a package.

use super::data_type;
use crate::formats::mil;
use crate::graph::{Dim, Feature, Function, Program, Sizes, ValueType};
use crate::{Error, Result};
use mil::array_feature_type as array;

/// The description of a program: of `main` alone, or one for each function.
pub(super) fn description(program: &Program) -> Result<mil::ModelDescription> {
    let texts = &program.metadata;
    let metadata = mil::Metadata {
        short_description: texts.description.clone(),
        version_string: texts.version.clone(),
        author: texts.author.clone(),
        license: texts.license.clone(),
        user_defined: texts.user.clone(),
    };
    let mut description = mil::ModelDescription { metadata: Some(metadata), ..Default::default() };
    let first = program.functions.keys().next();
    let first = first.ok_or_else(|| Error::bug("a program", "without functions"))?;
    if program.is_single() {
        let main = describe(first, &program.functions[first])?;
        (description.input, description.output) = (main.input, main.output);
        description.state = main.state;
        return Ok(description);
    }
    let named = &program.default_function;
    let default = if named.is_empty() { first } else { named };
    if !program.functions.contains_key(default) {
        return Err(Error::bug("a program", format!("without its default function `{default}`")));
    }
    description.default_function_name = default.clone();
    let described = program.functions.iter().map(|(name, function)| describe(name, function));
    description.functions = described.collect::<Result<_>>()?;
    Ok(description)
}

fn describe(name: &str, function: &Function) -> Result<mil::FunctionDescription> {
    let mut description = mil::FunctionDescription { name: name.into(), ..Default::default() };
    for input in &function.inputs {
        let feature = feature(function, input)?;
        match function.value(input.value).ty {
            ValueType::Tensor(_) => description.input.push(feature),
            ValueType::State(_) => description.state.push(feature),
            ValueType::Labels(..) | ValueType::Scores(_) => {}
        }
    }
    let outputs = function.outputs.iter().map(|output| feature(function, output));
    description.output = outputs.collect::<Result<_>>()?;
    Ok(description)
}

fn feature(function: &Function, feature: &Feature) -> Result<mil::FeatureDescription> {
    let value = function.value(feature.value);
    let tensor =
        || Error::bug(format!("feature `{}`", value.name), format!("cannot be {}", value.ty));
    let ty = value.ty.tensor().ok_or_else(tensor)?;
    let data_type = data_type(ty.dtype).array_number().ok_or_else(|| {
        Error::bug(format!("feature `{}`", value.name), format!("cannot be {}", value.ty))
    })?;
    let sizes = |shape: &[usize]| shape.iter().map(|&size| size as i64).collect::<Vec<_>>();
    let (shape, shape_flexibility) = match &feature.sizes {
        // A scalar is described as one element; an output of flexible shape without any.
        Sizes::Fixed if ty.dims.is_empty() => (vec![1], None),
        Sizes::Fixed => (sizes(&ty.shape().unwrap_or_default()), None),
        Sizes::Ranges(ranges) => {
            let default: Vec<_> = ranges.iter().map(|range| range.default).collect();
            let range = |range: &crate::graph::SizeRange| mil::SizeRange {
                lower_bound: range.low as u64,
                upper_bound: range.high as i64,
            };
            let size_ranges = ranges.iter().map(range).collect();
            let ranges = array::ShapeFlexibility::ShapeRange(array::ShapeRange { size_ranges });
            (sizes(&default), Some(ranges))
        }
        Sizes::Enumerated(shapes) => {
            let all = shapes.iter().map(|shape| array::Shape { shape: sizes(shape) }).collect();
            let all = array::EnumeratedShapes { shapes: all };
            let default = shapes.first().map(|shape| sizes(shape)).unwrap_or_default();
            (default, Some(array::ShapeFlexibility::EnumeratedShapes(all)))
        }
    };
    let is_input = function.inputs.iter().any(|input| input.value == feature.value);
    let flexible = ty.dims.contains(&Dim::Flexible);
    if is_input && flexible != (feature.sizes != Sizes::Fixed) {
        let why = format!("{} beside {:?}", value.ty, feature.sizes);
        return Err(Error::bug(format!("input `{}`", value.name), why));
    }
    let array =
        mil::ArrayFeatureType { shape, data_type, shape_flexibility, default_optional_value: None };
    let kind = match value.ty {
        ValueType::Tensor(_) | ValueType::Labels(..) | ValueType::Scores(_) => {
            mil::feature_type::Type::MultiArray(array)
        }
        ValueType::State(_) => mil::feature_type::Type::State(mil::StateFeatureType {
            r#type: Some(mil::state_feature_type::Type::Array(array)),
        }),
    };
    Ok(mil::FeatureDescription {
        name: value.name.clone(),
        short_description: feature.about.clone(),
        r#type: Some(mil::FeatureType { r#type: Some(kind), is_optional: false }),
    })
}
