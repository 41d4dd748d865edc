use super::*;
use crate::graph::weight::{Operand, Part};
use crate::graph::{Builder, Sizes};

fn later(tensor: usize, part: Part, dtype: DataType, shape: &[usize]) -> Operand {
    Operand { dtype, shape: shape.to_vec(), data: Data::Later(Slot { tensor, part }) }
}

/// `x → linear → y` with INT8 codes and one scale a channel, of tensor `tensor`.
fn linear(tensor: usize, [out, inside]: [usize; 2]) -> Function {
    let mut builder = Builder::new();
    let ty = TensorType::fixed(DataType::Float16, &[64, inside]);
    let x = builder.input("x", ty, Sizes::Fixed).unwrap();
    let storage = Storage::Linear {
        codes: later(tensor, Part::Codes, DataType::Int8, &[out, inside]),
        scale: later(tensor, Part::Scale, DataType::Float16, &[out, 1]),
        offset: None,
    };
    let weight = builder.constant("w", Weight { shape: vec![out, inside], storage }).unwrap();
    let y = builder.op("linear", "y", &[("x", x), ("weight", weight)]).unwrap();
    builder.output(y, "");
    builder.finish()
}

fn program(functions: [(&str, Function); 2]) -> Program {
    let functions = functions.map(|(name, function)| (name.to_owned(), function));
    Program { functions: functions.into(), ..Program::default() }
}

#[test]
fn one_tensor_in_two_functions_is_one_blob() {
    let tied = program([("a", linear(0, [16, 32])), ("b", linear(0, [16, 32]))]);
    let lowered = lower(&tied, Target::Ios18).unwrap();
    assert_eq!(lowered.blobs.len(), 2, "codes and scales");
    // Equal shapes prove nothing: the bytes are not known.
    let apart = program([("a", linear(0, [16, 32])), ("b", linear(1, [16, 32]))]);
    assert_eq!(lower(&apart, Target::Ios18).unwrap().blobs.len(), 4);
}

#[test]
fn zero_points_of_zeros_stand_once_for_all_layers() {
    let mut builder = Builder::new();
    for n in 0..2 {
        let weight = linear(n, [16, 32]);
        let weight = weight.value(weight.find("w").unwrap()).constant.clone().unwrap();
        let weight = builder.constant(&format!("w_{n}"), weight).unwrap();
        builder.output(weight, "");
    }
    let lowered = lower(&Program::single(builder.finish()), Target::Ios16).unwrap();
    let known = |blob: &&Blob| matches!(blob.data, Data::Bytes(_));
    assert_eq!(lowered.blobs.len(), 5, "codes and scales of two layers, and the zeros");
    assert_eq!(lowered.blobs.iter().filter(known).count(), 1);
}

#[test]
fn blobs_stand_in_the_order_of_the_tensors() {
    let swapped = program([("a", linear(7, [16, 32])), ("b", linear(3, [16, 32]))]);
    let lowered = lower(&swapped, Target::Ios18).unwrap();
    let tensors = lowered.blobs.iter().map(|blob| match blob.data {
        Data::Later(slot) => slot.tensor,
        Data::Bytes(_) => usize::MAX,
    });
    assert_eq!(tensors.collect::<Vec<_>>(), [3, 3, 7, 7]);
    let slot = Slot { tensor: 7, part: Part::Codes };
    assert_eq!(lowered.blob(slot), Some(&lowered.blobs[2].entry));
}

#[test]
fn small_parameters_are_filled_into_the_model_wherever_they_stand() {
    let tied = program([("a", linear(0, [4, 32])), ("b", linear(0, [4, 32]))]);
    let mut lowered = lower(&tied, Target::Ios18).unwrap();
    let scale = Slot { tensor: 0, part: Part::Scale };
    assert_eq!(lowered.small().collect::<Vec<_>>(), [scale]);
    assert_eq!(lowered.blob(scale), None);
    let before = lowered.model.to_bytes();
    lowered.fill(scale, &[1; 8]).unwrap();
    let after = lowered.model.to_bytes();
    assert_eq!(before.len(), after.len());
    let filled = |bytes: &[u8]| bytes.windows(8).filter(|window| *window == [1; 8]).count();
    assert_eq!((filled(&before), filled(&after)), (0, 2));
    assert!(lowered.fill(scale, &[1; 6]).is_err());
    assert!(lowered.fill(Slot { tensor: 0, part: Part::Codes }, &[1; 128]).is_err());
}

#[test]
fn what_a_target_lacks_is_a_usage_error() {
    let functions = program([("a", linear(0, [16, 32])), ("b", linear(1, [16, 32]))]);
    let refused = lower(&functions, Target::Ios17).unwrap_err();
    insta::assert_snapshot!(refused, @"ios17 has no packages with several functions: ios18 is the first target that has");
    let mut function = linear(0, [16, 32]);
    let weight = function.find("w").unwrap();
    let storage = Storage::Linear {
        codes: later(0, Part::Codes, DataType::Int8, &[16, 32]),
        scale: later(0, Part::Scale, DataType::Float16, &[16, 2]),
        offset: None,
    };
    function.values[weight.0].constant = Some(Weight { shape: vec![16, 32], storage }.into());
    let refused = lower(&Program::single(function), Target::Ios16).unwrap_err();
    insta::assert_snapshot!(refused, @"`w`: ios16 has no form for one scale a block: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios16 one scale a channel (`channel`)");
}

#[test]
fn flexible_inputs_and_states_are_described() {
    use crate::graph::{Dim, SizeRange};
    let mut builder = Builder::new();
    let ty = TensorType::new(DataType::Float16, vec![Dim::Flexible, Dim::Fixed(8)]);
    let ranges =
        [SizeRange { low: 1, default: 4, high: 64 }, SizeRange { low: 8, default: 8, high: 8 }];
    let x = builder.input("x", ty.clone(), Sizes::Ranges(ranges.into())).unwrap();
    builder.about("rows");
    let z =
        builder.input("z", ty.clone(), Sizes::Enumerated(vec![vec![4, 8], vec![1, 8]])).unwrap();
    let state = TensorType::fixed(DataType::Float16, &[2, 8]);
    builder.state("cache", state).unwrap();
    let y = builder.op("add", "y", &[("x", x), ("y", z)]).unwrap();
    builder.output(y, "");
    let lowered = lower(&Program::single(builder.finish()), Target::Ios18).unwrap();
    let description = lowered.model.description.unwrap();
    let names = |features: &[mil::FeatureDescription]| {
        features.iter().map(|feature| feature.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&description.input), ["x", "z"]);
    assert_eq!(names(&description.state), ["cache"]);
    let array = |feature: &mil::FeatureDescription| match feature.r#type.as_ref().unwrap().r#type {
        Some(mil::feature_type::Type::MultiArray(ref array)) => array.clone(),
        _ => panic!("no array"),
    };
    assert_eq!(array(&description.input[0]).shape, [4, 8]);
    assert_eq!(array(&description.input[1]).shape, [4, 8]);
    assert_eq!(array(&description.output[0]).shape, [0; 0], "its shape follows from the inputs");
    assert_eq!(description.input[0].short_description, "rows");
    // A flexible dimension that no sizes describe is a fault of the program.
    let mut builder = Builder::new();
    let x = builder.input("x", ty, Sizes::Fixed).unwrap();
    builder.output(x, "");
    assert!(lower(&Program::single(builder.finish()), Target::Ios18).is_err());
}
