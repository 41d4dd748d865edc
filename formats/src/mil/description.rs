//! `Model` and its description: what a package says about itself to its callers.
//!
//! Field numbers and rules: Core ML's public `Model.proto` and `FeatureTypes.proto`.

use super::Program;
use std::collections::BTreeMap;

/// The root message of `model.mlmodel`. Of the members of its `Type`, only ML Programs are held;
/// [`Model::parse`] refuses the others by name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Model {
    /// 6 to 10: iOS 15, 16, 17, 18, 26.
    #[prost(int32, tag = "1")]
    pub specification_version: i32,
    /// Inputs, outputs, states, functions, texts.
    #[prost(message, optional, tag = "2")]
    pub description: Option<ModelDescription>,
    /// Never set for ML Programs.
    #[prost(bool, tag = "10")]
    pub is_updatable: bool,
    /// The program.
    #[prost(message, optional, tag = "502")]
    pub ml_program: Option<Program>,
}

/// What callers see of a model.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelDescription {
    /// Inputs; empty where `functions` is used.
    #[prost(message, repeated, tag = "1")]
    pub input: Vec<FeatureDescription>,
    /// Outputs; empty where `functions` is used.
    #[prost(message, repeated, tag = "10")]
    pub output: Vec<FeatureDescription>,
    /// For classifiers: the output that names the class.
    #[prost(string, tag = "11")]
    pub predicted_feature_name: String,
    /// For classifiers: the output that holds each class's probability.
    #[prost(string, tag = "12")]
    pub predicted_probabilities_name: String,
    /// States (specification version 9); empty where `functions` is used.
    #[prost(message, repeated, tag = "13")]
    pub state: Vec<FeatureDescription>,
    /// One description a function, in packages with several (specification version 9).
    #[prost(message, repeated, tag = "20")]
    pub functions: Vec<FunctionDescription>,
    /// Which of `functions` is the default; empty without functions.
    #[prost(string, tag = "21")]
    pub default_function_name: String,
    /// For updatable models only.
    #[prost(message, repeated, tag = "50")]
    pub training_input: Vec<FeatureDescription>,
    /// Author, licence, texts.
    #[prost(message, optional, tag = "100")]
    pub metadata: Option<Metadata>,
}

/// What callers see of one function.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionDescription {
    /// The function's name in the program.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Inputs.
    #[prost(message, repeated, tag = "2")]
    pub input: Vec<FeatureDescription>,
    /// Outputs.
    #[prost(message, repeated, tag = "3")]
    pub output: Vec<FeatureDescription>,
    /// For classifiers: the output that names the class.
    #[prost(string, tag = "4")]
    pub predicted_feature_name: String,
    /// For classifiers: the output that holds each class's probability.
    #[prost(string, tag = "5")]
    pub predicted_probabilities_name: String,
    /// States.
    #[prost(message, repeated, tag = "6")]
    pub state: Vec<FeatureDescription>,
}

/// One input, output or state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FeatureDescription {
    /// The name of the MIL input or output that it describes.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A text for people.
    #[prost(string, tag = "2")]
    pub short_description: String,
    /// Its type.
    #[prost(message, optional, tag = "3")]
    pub r#type: Option<FeatureType>,
}

/// Texts about a model.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// What the model does.
    #[prost(string, tag = "1")]
    pub short_description: String,
    /// Which version of it this is.
    #[prost(string, tag = "2")]
    pub version_string: String,
    /// Who made it.
    #[prost(string, tag = "3")]
    pub author: String,
    /// Under which terms.
    #[prost(string, tag = "4")]
    pub license: String,
    /// Anything else.
    #[prost(btree_map = "string, string", tag = "100")]
    pub user_defined: BTreeMap<String, String>,
}

/// The type of an input, output or state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FeatureType {
    /// Which type.
    #[prost(oneof = "feature_type::Type", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub r#type: Option<feature_type::Type>,
    /// Whether the caller may leave the input out.
    #[prost(bool, tag = "1000")]
    pub is_optional: bool,
}

/// The members of [`FeatureType`].
pub mod feature_type {
    use super::*;

    /// Which type a feature has.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Type {
        /// A 64-bit integer: a classifier's label.
        #[prost(message, tag = "1")]
        Int64(Empty),
        /// A double.
        #[prost(message, tag = "2")]
        Double(Empty),
        /// A string: a classifier's label.
        #[prost(message, tag = "3")]
        String(Empty),
        /// An image.
        #[prost(message, tag = "4")]
        Image(ImageFeatureType),
        /// A tensor.
        #[prost(message, tag = "5")]
        MultiArray(ArrayFeatureType),
        /// A dictionary: a classifier's probabilities.
        #[prost(message, tag = "6")]
        Dictionary(DictionaryFeatureType),
        /// A sequence of integers or strings.
        #[prost(message, tag = "7")]
        Sequence(SequenceFeatureType),
        /// A state that outlives a prediction.
        #[prost(message, tag = "8")]
        State(StateFeatureType),
    }
}

/// A message without fields; its presence is what it says.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// A tensor as callers see it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArrayFeatureType {
    /// The fixed or default shape; empty for outputs of flexible shape.
    #[prost(int64, repeated, tag = "1")]
    pub shape: Vec<i64>,
    /// One of [`super::array_data_type`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Which other shapes the input may have.
    #[prost(oneof = "array_feature_type::ShapeFlexibility", tags = "21, 31")]
    pub shape_flexibility: Option<array_feature_type::ShapeFlexibility>,
    /// What an optional input holds when it is left out.
    #[prost(oneof = "array_feature_type::DefaultOptionalValue", tags = "41, 51, 61")]
    pub default_optional_value: Option<array_feature_type::DefaultOptionalValue>,
}

/// The members of [`ArrayFeatureType`].
pub mod array_feature_type {
    use super::*;

    /// Which shapes an input may have beside its default.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum ShapeFlexibility {
        /// One of a list, the default first.
        #[prost(message, tag = "21")]
        EnumeratedShapes(EnumeratedShapes),
        /// A range in each dimension.
        #[prost(message, tag = "31")]
        ShapeRange(ShapeRange),
    }

    /// What an optional input holds when it is left out: this value in every element.
    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum DefaultOptionalValue {
        /// For INT32 inputs.
        #[prost(int32, tag = "41")]
        Int(i32),
        /// For FLOAT16 and FLOAT32 inputs.
        #[prost(float, tag = "51")]
        Float(f32),
        /// For DOUBLE inputs.
        #[prost(double, tag = "61")]
        Double(f64),
    }

    /// A list of shapes.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct EnumeratedShapes {
        /// The shapes.
        #[prost(message, repeated, tag = "1")]
        pub shapes: Vec<Shape>,
    }

    /// One shape.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Shape {
        /// Its dimensions.
        #[prost(int64, repeated, tag = "1")]
        pub shape: Vec<i64>,
    }

    /// A range in each dimension.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ShapeRange {
        /// One range a dimension.
        #[prost(message, repeated, tag = "1")]
        pub size_ranges: Vec<SizeRange>,
    }
}

/// A range of sizes, both ends included.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SizeRange {
    /// The smallest size.
    #[prost(uint64, tag = "1")]
    pub lower_bound: u64,
    /// The largest size; negative: any.
    #[prost(int64, tag = "2")]
    pub upper_bound: i64,
}

/// A state as callers see it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StateFeatureType {
    /// Which type.
    #[prost(oneof = "state_feature_type::Type", tags = "1")]
    pub r#type: Option<state_feature_type::Type>,
}

/// The members of [`StateFeatureType`].
pub mod state_feature_type {
    use super::*;

    /// Which type a state has.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Type {
        /// A tensor of fixed shape.
        #[prost(message, tag = "1")]
        Array(ArrayFeatureType),
    }
}

/// An image as callers see it; in MIL it is `[1, C, H, W]`, FP32.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageFeatureType {
    /// Pixels in a row.
    #[prost(int64, tag = "1")]
    pub width: i64,
    /// Rows.
    #[prost(int64, tag = "2")]
    pub height: i64,
    /// 10 GRAYSCALE, 20 RGB, 30 BGR, 40 GRAYSCALE_FLOAT16.
    #[prost(int32, tag = "3")]
    pub color_space: i32,
    /// Which other sizes the image may have.
    #[prost(oneof = "image_feature_type::SizeFlexibility", tags = "21, 31")]
    pub size_flexibility: Option<image_feature_type::SizeFlexibility>,
}

/// The members of [`ImageFeatureType`].
pub mod image_feature_type {
    use super::*;

    /// Which sizes an image may have beside its default.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum SizeFlexibility {
        /// One of a list.
        #[prost(message, tag = "21")]
        EnumeratedSizes(ImageSizes),
        /// A range in each direction.
        #[prost(message, tag = "31")]
        ImageSizeRange(ImageSizeRange),
    }

    /// A list of sizes.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ImageSizes {
        /// The sizes.
        #[prost(message, repeated, tag = "1")]
        pub sizes: Vec<ImageSize>,
    }

    /// One size.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct ImageSize {
        /// Pixels in a row.
        #[prost(uint64, tag = "1")]
        pub width: u64,
        /// Rows.
        #[prost(uint64, tag = "2")]
        pub height: u64,
    }

    /// A range in each direction.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct ImageSizeRange {
        /// Of the width.
        #[prost(message, optional, tag = "1")]
        pub width_range: Option<SizeRange>,
        /// Of the height.
        #[prost(message, optional, tag = "2")]
        pub height_range: Option<SizeRange>,
    }
}

/// A dictionary from integers or strings to doubles.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct DictionaryFeatureType {
    /// The keys' type.
    #[prost(oneof = "dictionary_feature_type::KeyType", tags = "1, 2")]
    pub key_type: Option<dictionary_feature_type::KeyType>,
}

/// The members of [`DictionaryFeatureType`].
pub mod dictionary_feature_type {
    use super::*;

    /// The type of a dictionary's keys.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
    pub enum KeyType {
        /// 64-bit integers.
        #[prost(message, tag = "1")]
        Int64(Empty),
        /// Strings.
        #[prost(message, tag = "2")]
        String(Empty),
    }
}

/// A sequence of integers or strings.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SequenceFeatureType {
    /// The members' type.
    #[prost(oneof = "sequence_feature_type::Type", tags = "1, 3")]
    pub r#type: Option<sequence_feature_type::Type>,
    /// How many there may be.
    #[prost(message, optional, tag = "101")]
    pub size_range: Option<SizeRange>,
}

/// The members of [`SequenceFeatureType`].
pub mod sequence_feature_type {
    use super::*;

    /// The type of a sequence's members.
    #[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
    pub enum Type {
        /// 64-bit integers.
        #[prost(message, tag = "1")]
        Int64(Empty),
        /// Strings.
        #[prost(message, tag = "3")]
        String(Empty),
    }
}
