//! What callers see of a package.

use super::data_type;
use crate::formats::mil;
use crate::graph::{ColorSpace, DataType, Dim, Feature, Function, Program};
use crate::graph::{SizeRange, Sizes, TensorType, ValueId, ValueType};
use crate::{Error, Result};
use mil::{array_feature_type as array, dictionary_feature_type};
use mil::{image_feature_type, state_feature_type};

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
        description.predicted_feature_name = main.predicted_feature_name;
        description.predicted_probabilities_name = main.predicted_probabilities_name;
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
    if let Some([label, probabilities]) = classified(function) {
        let name = |id| function.value(id).name.clone();
        description.predicted_feature_name = name(label);
        description.predicted_probabilities_name = name(probabilities);
    }
    Ok(description)
}

/// The label and the probabilities that a classifier returns.
fn classified(function: &Function) -> Option<[ValueId; 2]> {
    let mut classifiers = function.operations.iter().filter(|op| op.row.name == "classify");
    let outputs = <[ValueId; 2]>::try_from(&classifiers.next()?.outputs[..]).ok()?;
    let returned = |id: &ValueId| function.outputs.iter().any(|output| output.value == *id);
    outputs.iter().all(returned).then_some(outputs)
}

/// A feature's description: a label, probabilities, a state, an image or an array.
fn feature(function: &Function, feature: &Feature) -> Result<mil::FeatureDescription> {
    use mil::feature_type::Type;
    let value = function.value(feature.value);
    let bug = |why: String| Error::bug(format!("feature `{}`", value.name), why);
    let is_input = function.inputs.iter().any(|input| input.value == feature.value);
    if is_input {
        let flexible = value.ty.tensor().is_some_and(|ty| ty.dims.contains(&Dim::Flexible));
        if flexible != (feature.sizes != Sizes::Fixed) {
            return Err(bug(format!("{} beside {:?}", value.ty, feature.sizes)));
        }
    }
    let array =
        |ty| array(ty, &feature.sizes).ok_or_else(|| bug(format!("cannot be {}", value.ty)));
    let is_plain = matches!(value.ty, ValueType::Tensor(_)) && feature.image.is_none();
    if feature.default.is_some() && !(is_input && is_plain) {
        return Err(bug("a default value, and no array input".into()));
    }
    let empty = mil::Empty {};
    let form = match (&value.ty, feature.image) {
        (ValueType::Tensor(ty), _) if ty.dtype == DataType::String => Type::String(empty),
        (ValueType::Tensor(ty), _) if ty.dtype == DataType::Int64 => Type::Int64(empty),
        (ValueType::Tensor(ty), Some(color)) => {
            Type::Image(image(color, ty, &feature.sizes).ok_or_else(|| {
                bug(format!("{} beside {:?} is no image", value.ty, feature.sizes))
            })?)
        }
        (ValueType::Tensor(ty), None) => Type::MultiArray(mil::ArrayFeatureType {
            default_optional_value: feature.default.map(default_value),
            ..array(ty)?
        }),
        (ValueType::State(ty), _) => {
            let array = state_feature_type::Type::Array(array(ty)?);
            Type::State(mil::StateFeatureType { r#type: Some(array) })
        }
        (ValueType::Scores(label), _) => Type::Dictionary(mil::DictionaryFeatureType {
            key_type: Some(match label {
                DataType::Int64 => dictionary_feature_type::KeyType::Int64(empty),
                _ => dictionary_feature_type::KeyType::String(empty),
            }),
        }),
        (ValueType::Labels(..), _) => return Err(bug(format!("cannot be {}", value.ty))),
    };
    Ok(mil::FeatureDescription {
        name: value.name.clone(),
        short_description: feature.about.clone(),
        r#type: Some(mil::FeatureType {
            r#type: Some(form),
            is_optional: feature.default.is_some(),
        }),
    })
}

/// A default value as coremltools writes it, FLOAT for arrays of every type, wherever that holds it.
fn default_value(value: f64) -> array::DefaultOptionalValue {
    let (narrow, whole) = (value as f32, value as i32);
    if f64::from(narrow) == value {
        array::DefaultOptionalValue::Float(narrow)
    } else if f64::from(whole) == value {
        array::DefaultOptionalValue::Int(whole)
    } else {
        array::DefaultOptionalValue::Double(value)
    }
}

/// An array; `None` for a type that callers cannot hold.
fn array(ty: &TensorType, sizes: &Sizes) -> Option<mil::ArrayFeatureType> {
    let data_type = data_type(ty.dtype).array_number()?;
    let (shape, shape_flexibility) = match sizes {
        // A scalar is described as one element; an output of flexible shape without any.
        Sizes::Fixed if ty.dims.is_empty() => (vec![1], None),
        Sizes::Fixed => (signed(&ty.shape().unwrap_or_default()), None),
        Sizes::Ranges(ranges) => {
            let default: Vec<_> = ranges.iter().map(|range| range.default).collect();
            let size_ranges = ranges.iter().map(range).collect();
            let ranges = array::ShapeFlexibility::ShapeRange(array::ShapeRange { size_ranges });
            (signed(&default), Some(ranges))
        }
        Sizes::Enumerated(shapes) => {
            let all = shapes.iter().map(|shape| array::Shape { shape: signed(shape) }).collect();
            let all = array::EnumeratedShapes { shapes: all };
            let default = shapes.first().map(|shape| signed(shape)).unwrap_or_default();
            (default, Some(array::ShapeFlexibility::EnumeratedShapes(all)))
        }
    };
    Some(mil::ArrayFeatureType {
        shape,
        data_type,
        shape_flexibility,
        default_optional_value: None,
    })
}

/// An image, whose value is `[1, C, H, W]`; `None` for what is none, or has no size to describe.
fn image(color: ColorSpace, ty: &TensorType, sizes: &Sizes) -> Option<mil::ImageFeatureType> {
    use image_feature_type::{ImageSize, ImageSizeRange, ImageSizes, SizeFlexibility};
    let (default, size_flexibility) = match sizes {
        Sizes::Fixed => (ty.shape()?, None),
        Sizes::Ranges(ranges) => {
            let [_, _, height, width] = &ranges[..] else { return None };
            let (height_range, width_range) = (Some(range(height)), Some(range(width)));
            let sizes = ImageSizeRange { width_range, height_range };
            let default = ranges.iter().map(|range| range.default).collect();
            (default, Some(SizeFlexibility::ImageSizeRange(sizes)))
        }
        Sizes::Enumerated(shapes) => {
            let size = |shape: &Vec<usize>| match shape[..] {
                [_, _, height, width] => {
                    Some(ImageSize { width: width as u64, height: height as u64 })
                }
                _ => None,
            };
            let sizes = shapes.iter().map(size).collect::<Option<Vec<_>>>()?;
            let listed = SizeFlexibility::EnumeratedSizes(ImageSizes { sizes });
            (shapes.first()?.clone(), Some(listed))
        }
    };
    let [_, _, height, width] = default[..] else { return None };
    let color_space = match color {
        ColorSpace::Grayscale => 10,
        ColorSpace::Rgb => 20,
        ColorSpace::Bgr => 30,
        ColorSpace::GrayscaleFloat16 => 40,
    };
    let (width, height) = (width as i64, height as i64);
    Some(mil::ImageFeatureType { width, height, color_space, size_flexibility })
}

fn range(range: &SizeRange) -> mil::SizeRange {
    mil::SizeRange { lower_bound: range.low as u64, upper_bound: range.high as i64 }
}

fn signed(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}
