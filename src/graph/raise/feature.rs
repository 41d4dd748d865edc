//! The description: sizes, images, default values, labels; held against the function.

use super::finding::quoted;
use super::function::{Described, Scope};
use crate::formats::mil;
use crate::graph::ops::within_limits;
use crate::graph::{ColorSpace, DataType, Dim, Feature, SizeRange, Sizes, TensorType, ValueType};
use crate::target::Target;
use mil::array_feature_type::ShapeFlexibility;
use mil::feature_type::Type;
use mil::image_feature_type::SizeFlexibility;
use std::collections::HashMap;

/// The most shapes that one input may choose from.
const MOST_SHAPES: usize = 128;

/// Which list of the description a feature stands in.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Input,
    State,
    Output,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::State => "state",
            Self::Output => "output",
        }
    }
}

/// What a description adds to a value's type.
type Seen = (Sizes, Option<ColorSpace>);

/// What is known of the meaning of an input that may be left out.
const MAY_BE_LEFT_OUT: &str = "only an array input with a default value may be left out; convert the \
                               model with one that must be given, or with a default value";

impl Scope<'_, '_> {
    /// Takes what the description says of each input, state and output, and holds it against the
    /// types of the function.
    pub(super) fn describe(&mut self, described: &Described<'_>) {
        let is_state = |ty: &ValueType| matches!(ty, ValueType::State(_));
        let lists = [
            (Kind::Input, described.input),
            (Kind::State, described.state),
            (Kind::Output, described.output),
        ];
        for (kind, list) in lists {
            let features = match kind {
                Kind::Output => &self.function.outputs,
                Kind::Input | Kind::State => &self.function.inputs,
            };
            let value = |feature: &Feature| self.function.value(feature.value);
            let mut places: HashMap<String, usize> = features
                .iter()
                .enumerate()
                .filter(|(_, feature)| {
                    kind == Kind::Output || is_state(&value(feature).ty) == (kind == Kind::State)
                })
                .map(|(place, feature)| (value(feature).name.clone(), place))
                .collect();
            let mut seen = std::collections::HashSet::new();
            for described in list {
                let name = described.name.as_str();
                if !seen.insert(name) {
                    self.found_of(kind.word(), name, "it is described twice");
                } else if let Some(place) = places.remove(name) {
                    self.describe_one(kind, place, described);
                } else if self.is_broken(name) {
                    // A finding has been made.
                } else {
                    let found =
                        format!("it is described, and the function has no such {}", kind.word());
                    self.found_of(kind.word(), name, &found);
                }
            }
            let mut missing: Vec<_> = places.into_iter().collect();
            missing.sort_by_key(|(_, place)| *place);
            for (name, _) in missing {
                self.found_of(kind.word(), &name, "the description lacks it");
            }
        }
        self.enumerated_together();
        self.classifies(described);
    }

    fn describe_one(&mut self, kind: Kind, place: usize, described: &mil::FeatureDescription) {
        let features = match kind {
            Kind::Output => &self.function.outputs,
            Kind::Input | Kind::State => &self.function.inputs,
        };
        let ty = &self.function.value(features[place].value).ty;
        let optional = described.r#type.as_ref().is_some_and(|ty| ty.is_optional);
        let seen = match described.r#type.as_ref().and_then(|ty| ty.r#type.as_ref()) {
            Some(form) => held(form, ty, kind, self.target).and_then(|seen| {
                let default = optional.then(|| default_value(form, ty, kind)).transpose()?;
                Ok((seen, default))
            }),
            None => Err("it is described without a type".into()),
        };
        match seen {
            Ok(((sizes, image), default)) => {
                let features = match kind {
                    Kind::Output => &mut self.function.outputs,
                    Kind::Input | Kind::State => &mut self.function.inputs,
                };
                let feature = &mut features[place];
                feature.about = described.short_description.clone();
                (feature.sizes, feature.image, feature.default) = (sizes, image, default);
            }
            Err(found) => self.found_of(kind.word(), &described.name, &found),
        }
    }

    /// Before iOS 18 one input may be enumerated; then several, matched shape by shape.
    fn enumerated_together(&mut self) {
        let counts: Vec<_> = self
            .function
            .inputs
            .iter()
            .filter_map(|input| match &input.sizes {
                Sizes::Enumerated(shapes) => Some(shapes.len()),
                Sizes::Fixed | Sizes::Ranges(_) => None,
            })
            .collect();
        if counts.len() > 1 && self.target < Target::Ios18 {
            let (count, target) = (counts.len(), self.target);
            self.found(&format!(
                "{count} inputs have enumerated shapes; packages for {target} may have one"
            ));
        }
        if counts.iter().any(|count| *count != counts[0]) {
            self.found(&format!(
                "its inputs have {counts:?} enumerated shapes, which must be as many"
            ));
        }
    }

    /// The outputs that a classifier names are those of its operation.
    fn classifies(&mut self, described: &Described<'_>) {
        for (name, what) in [(described.label, "label"), (described.probabilities, "probabilities")]
        {
            let mut outputs = self.function.outputs.iter().map(|o| self.function.value(o.value));
            let fits = |ty: &ValueType| match (what, ty) {
                ("label", ValueType::Tensor(tensor)) => is_label(tensor),
                (_, ty) => matches!(ty, ValueType::Scores(_)),
            };
            if !name.is_empty() && !outputs.any(|value| value.name == name && fits(&value.ty)) {
                let name = quoted(name);
                self.found(&format!(
                    "the description names {name} as its {what}; no output is that"
                ));
            }
        }
    }
}

fn is_label(tensor: &TensorType) -> bool {
    matches!(tensor.dtype, DataType::String | DataType::Int64) && tensor.dims.is_empty()
}

/// A described form held against the type that the function has.
fn held(form: &Type, ty: &ValueType, kind: Kind, target: Target) -> Result<Seen, String> {
    match (form, ty) {
        (Type::MultiArray(array), ValueType::Tensor(tensor)) if !is_label(tensor) => {
            element_type(array.data_type, tensor, target)?;
            Ok((sizes(array, tensor, kind)?, None))
        }
        (Type::State(state), ValueType::State(tensor)) => {
            let Some(mil::state_feature_type::Type::Array(array)) = &state.r#type else {
                return Err("it is described as a state of no array".into());
            };
            element_type(array.data_type, tensor, target)?;
            if tensor.dtype != DataType::Float16 {
                return Err(format!("it is a state of {tensor}; states are fp16"));
            }
            if array.shape_flexibility.is_some() || tensor.shape().is_none() {
                return Err(format!(
                    "it is a state of {tensor} of flexible size; states are fixed"
                ));
            }
            Ok((sizes(array, tensor, kind)?, None))
        }
        (Type::Image(image), ValueType::Tensor(tensor)) if kind != Kind::State => {
            let (sizes, color) = pixels(image, tensor, kind)?;
            Ok((sizes, Some(color)))
        }
        (Type::String(_), ValueType::Tensor(tensor))
            if kind == Kind::Output && tensor.dtype == DataType::String =>
        {
            Ok(Seen::default())
        }
        (Type::Int64(_), ValueType::Tensor(tensor))
            if kind == Kind::Output && tensor.dtype == DataType::Int64 =>
        {
            Ok(Seen::default())
        }
        (Type::Dictionary(dictionary), ValueType::Scores(label)) => {
            use mil::dictionary_feature_type::KeyType;
            match (&dictionary.key_type, label) {
                (Some(KeyType::String(_)), DataType::String) => Ok(Seen::default()),
                (Some(KeyType::Int64(_)), DataType::Int64) => Ok(Seen::default()),
                _ => Err(format!("it is {ty} and is described with labels of another type")),
            }
        }
        (form, ty) => {
            let form = match form {
                Type::Int64(_) => "an integer",
                Type::Double(_) => "a double",
                Type::String(_) => "a string",
                Type::Image(_) => "an image",
                Type::MultiArray(_) => "an array",
                Type::Dictionary(_) => "a dictionary",
                Type::Sequence(_) => "a sequence",
                Type::State(_) => "a state",
            };
            Err(format!("it is described as {form}, and the function has {ty}"))
        }
    }
}

/// What an optional input holds where it is left out.
///
/// coremltools writes `floatDefaultValue` for arrays of every type (9.0 does so for INT32), so the
/// number has to fit the type, not the member that it stands in.
fn default_value(form: &Type, ty: &ValueType, kind: Kind) -> Result<f64, String> {
    use mil::array_feature_type::DefaultOptionalValue as Stored;
    let (Type::MultiArray(array), Kind::Input, Some(tensor)) = (form, kind, ty.tensor()) else {
        return Err(format!("it is optional; {MAY_BE_LEFT_OUT}"));
    };
    let default = match array.default_optional_value {
        Some(Stored::Int(value)) => f64::from(value),
        Some(Stored::Float(value)) => f64::from(value),
        Some(Stored::Double(value)) => value,
        None => return Err(format!("it is optional, without a default value; {MAY_BE_LEFT_OUT}")),
    };
    let whole = |low: i32, high: i32| {
        default.fract() == 0.0 && (f64::from(low)..=f64::from(high)).contains(&default)
    };
    let fits = match tensor.dtype {
        DataType::Int32 => whole(i32::MIN, i32::MAX),
        DataType::Int8 => whole(i8::MIN.into(), i8::MAX.into()),
        _ => !default.is_nan(),
    };
    let misfit = || format!("its default value is {default}, which is no {}", tensor.dtype);
    fits.then_some(default).ok_or_else(misfit)
}

fn element_type(number: i32, tensor: &TensorType, target: Target) -> Result<(), String> {
    let described = mil::DataType::from_array_number(number);
    let dtype = described.and_then(super::types::data_type);
    let since = match dtype {
        Some(DataType::Float32 | DataType::Int32) => Target::Ios15,
        Some(DataType::Float16) => Target::Ios16,
        Some(DataType::Int8) => Target::Ios26,
        _ => {
            let name = described.map_or_else(|| format!("type {number}"), |d| d.name().into());
            return Err(format!(
                "it is described as an array of {name}, which ML Programs do not have"
            ));
        }
    };
    if dtype != Some(tensor.dtype) {
        let name = described.map_or("?", mil::DataType::name);
        return Err(format!("it is described as {name}, and the function has {tensor}"));
    }
    if since > target {
        return Err(format!(
            "arrays of {} need {since}, the package is for {target}",
            tensor.dtype
        ));
    }
    Ok(())
}

/// The sizes that an array takes.
fn sizes(array: &mil::ArrayFeatureType, tensor: &TensorType, kind: Kind) -> Result<Sizes, String> {
    let default = shape(&array.shape)?;
    let flexible = tensor.dims.contains(&Dim::Flexible);
    if kind == Kind::Output {
        // Its shape follows from the inputs; a scalar may be described as one element.
        let scalar = tensor.dims.is_empty() && default == [1];
        return match default.is_empty() || scalar || fits(&default, tensor) {
            true => Ok(Sizes::Fixed),
            false => Err(format!("it is described as {default:?}, and the function has {tensor}")),
        };
    }
    let scalar = tensor.dims.is_empty() && default == [1];
    if !scalar && !fits(&default, tensor) {
        return Err(format!(
            "its shape is described as {default:?}, and the function has {tensor}"
        ));
    }
    let sizes = match &array.shape_flexibility {
        None => Sizes::Fixed,
        Some(ShapeFlexibility::ShapeRange(ranges)) => ranged(&default, &ranges.size_ranges)?,
        Some(ShapeFlexibility::EnumeratedShapes(shapes)) => {
            let shapes = shapes.shapes.iter().map(|listed| shape(&listed.shape));
            enumerated(default, shapes.collect::<Result<_, _>>()?)?
        }
    };
    agree(sizes, tensor, flexible)
}

/// The sizes, where the function has a flexible dimension exactly where they differ.
fn agree(sizes: Sizes, tensor: &TensorType, flexible: bool) -> Result<Sizes, String> {
    let fixed = |place: usize, size: usize| match tensor.dims.get(place) {
        Some(Dim::Fixed(fixed)) => *fixed == size,
        Some(Dim::Flexible) => true,
        None => false,
    };
    let fit = match &sizes {
        Sizes::Fixed if flexible => {
            return Err(format!(
                "the function has {tensor}, and no range or list of shapes is described"
            ));
        }
        // A scalar has no dimension, and is described with one.
        Sizes::Fixed => return Ok(sizes),
        Sizes::Ranges(ranges) => ranges
            .iter()
            .enumerate()
            .all(|(place, range)| fixed(place, range.low) && fixed(place, range.high)),
        Sizes::Enumerated(shapes) => shapes.iter().all(|shape| fits(shape, tensor)),
    };
    match (fit, flexible) {
        (false, _) => Err(format!("other sizes are described than the function has, {tensor}")),
        (true, true) => Ok(sizes),
        // All that is described is the one shape that it has.
        (true, false) => Ok(Sizes::Fixed),
    }
}

fn shape(sizes: &[i64]) -> Result<Vec<usize>, String> {
    let converted: Option<Vec<_>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
    converted.ok_or_else(|| "a described size is negative".into())
}

fn fits(shape: &[usize], tensor: &TensorType) -> bool {
    let described = TensorType::fixed(tensor.dtype, shape);
    within_limits(&described).is_ok() && described.may_equal(tensor)
}

fn ranged(default: &[usize], ranges: &[mil::SizeRange]) -> Result<Sizes, String> {
    if ranges.len() != default.len() {
        let (ranges, rank) = (ranges.len(), default.len());
        return Err(format!("{ranges} ranges are described for {rank} dimensions"));
    }
    let range = |(place, (range, &default)): (usize, (&mil::SizeRange, &usize))| {
        let high = usize::try_from(range.upper_bound)
            .map_err(|_| format!("dimension {place} has no upper bound; ML Programs need one"))?;
        let low = usize::try_from(range.lower_bound).unwrap_or(usize::MAX);
        match (low..=high).contains(&default) {
            true => Ok(SizeRange { low, default, high }),
            false => Err(format!(
                "the default of dimension {place}, {default}, is not within its range, {low} to {high}"
            )),
        }
    };
    let ranges = ranges.iter().zip(default).enumerate().map(range);
    Ok(Sizes::Ranges(ranges.collect::<Result<_, _>>()?))
}

/// The default first, then the others as they are listed.
fn enumerated(default: Vec<usize>, mut shapes: Vec<Vec<usize>>) -> Result<Sizes, String> {
    if shapes.len() > MOST_SHAPES {
        let count = shapes.len();
        return Err(format!("{count} shapes are listed; Core ML takes up to {MOST_SHAPES}"));
    }
    let Some(place) = shapes.iter().position(|shape| *shape == default) else {
        return Err(format!(
            "the default shape {default:?} is none of the {} listed",
            shapes.len()
        ));
    };
    shapes[..=place].rotate_right(1);
    Ok(Sizes::Enumerated(shapes))
}

/// The sizes and the pixels of an image, whose value is `[1, C, H, W]`.
fn pixels(
    image: &mil::ImageFeatureType,
    tensor: &TensorType,
    kind: Kind,
) -> Result<(Sizes, ColorSpace), String> {
    let (color, channels) = match image.color_space {
        10 => (ColorSpace::Grayscale, 1),
        20 => (ColorSpace::Rgb, 3),
        30 => (ColorSpace::Bgr, 3),
        40 => (ColorSpace::GrayscaleFloat16, 1),
        other => return Err(format!("its color space is {other}; 10, 20, 30 and 40 are known")),
    };
    if !matches!(tensor.dtype, DataType::Float16 | DataType::Float32) {
        return Err(format!(
            "it is an image, and the function has {tensor}; images are fp16 or fp32"
        ));
    }
    let whole = |[height, width]: [usize; 2]| vec![1, channels, height, width];
    let size =
        |size: i64| usize::try_from(size).map_err(|_| "a described size is negative".to_owned());
    let default = whole([size(image.height)?, size(image.width)?]);
    let flexible = tensor.dims.contains(&Dim::Flexible);
    if !fits(&default, tensor) {
        return Err(format!(
            "it is described as an image {default:?}, and the function has {tensor}"
        ));
    }
    let sizes = match &image.size_flexibility {
        None => Sizes::Fixed,
        Some(SizeFlexibility::EnumeratedSizes(sizes)) => {
            let sizes = sizes.sizes.iter().map(|size| {
                let convert = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
                whole([convert(size.height), convert(size.width)])
            });
            enumerated(default, sizes.collect())?
        }
        Some(SizeFlexibility::ImageSizeRange(ranges)) => {
            let (Some(height), Some(width)) = (ranges.height_range, ranges.width_range) else {
                return Err("its range lacks a height or a width".into());
            };
            let fixed = |n: usize| mil::SizeRange { lower_bound: n as u64, upper_bound: n as i64 };
            ranged(&default, &[fixed(1), fixed(channels), height, width])?
        }
    };
    match kind {
        Kind::Output => Ok((Sizes::Fixed, color)),
        Kind::Input | Kind::State => Ok((agree(sizes, tensor, flexible)?, color)),
    }
}
