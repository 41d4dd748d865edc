//! A sound package, changed in one place at a time: what is found, word for word.
//!
//! | module | what is changed |
//! |---|---|
//! | `operations` | operations, parameters, names, types and values |
//! | `blobs` | the blob file, and compressed weights |
//! | `description` | the program as a whole, and its description |
//! | `hostile` | anything: packages that are large, circular, or mutated bytes |

mod blobs;
mod description;
mod hostile;
mod operations;

use super::*;
use crate::formats::mil::{self, binding::Binding, feature_type, value_type};
use crate::graph::weight::{Bytes, Data, Operand, Storage, Weight};
use crate::graph::{Builder, Constant, DataType, Dim, Labels, Program, SizeRange, Sizes, lower};
use crate::graph::{TensorType, ValueType};
use crate::target::Target;
use crate::{Error, Result};

fn operand(dtype: DataType, shape: &[usize], fill: u8) -> Operand {
    let bits = shape.iter().product::<usize>() * dtype.bits().unwrap() as usize;
    Operand::new(dtype, shape, vec![fill; bits.div_ceil(8)])
}

/// A network with a compressed weight, a state, flexible rows and two inputs.
fn sound() -> Program {
    let mut builder = Builder::new();
    let half = |shape: &[usize]| TensorType::fixed(DataType::Float16, shape);
    let rows = SizeRange { low: 1, default: 4, high: 64 };
    let columns = SizeRange { low: 32, default: 32, high: 32 };
    let ty = TensorType::new(DataType::Float16, vec![Dim::Flexible, Dim::Fixed(32)]);
    let x = builder.input("x", ty, Sizes::Ranges(vec![rows, columns])).unwrap();
    let z = builder.input("z", half(&[16]), Sizes::Fixed).unwrap();
    let state = builder.state("acc", half(&[16])).unwrap();
    let storage = Storage::Linear {
        codes: operand(DataType::Int8, &[16, 32], 1),
        scale: operand(DataType::Float16, &[16, 1], 0x30),
        offset: None,
    };
    let weight = builder.constant("w", Weight { shape: vec![16, 32], storage }).unwrap();
    let bias = builder.constant("b", Weight::dense(operand(DataType::Float16, &[16], 2))).unwrap();
    let mask = builder.constant("m", Weight::dense(operand(DataType::Int4, &[5], 0))).unwrap();
    let h = builder.op("linear", "h", &[("x", x), ("weight", weight), ("bias", bias)]).unwrap();
    let r = builder.op("read_state", "r", &[("input", state)]).unwrap();
    let s = builder.op("add", "s", &[("x", h), ("y", r)]).unwrap();
    let y = builder.op("add", "y", &[("x", s), ("y", z)]).unwrap();
    builder.output(y, "sums");
    builder.output(mask, "");
    let mut function = builder.finish();
    function.outputs.pop(); // No array holds INT4; the constant is dead.
    Program::single(function)
}

/// A lowered program: the model, and its blob file.
fn package(program: &Program, target: Target) -> (mil::Model, Vec<u8>) {
    let lowered = lower(program, target).unwrap();
    let mut file = vec![0; lowered.plan.byte_len() as usize];
    let mut put = |at: u64, bytes: &[u8]| file[at as usize..][..bytes.len()].copy_from_slice(bytes);
    lowered.plan.records().for_each(|(at, record)| put(at, &record));
    for blob in &lowered.blobs {
        let Data::Bytes(bytes) = &blob.data else { panic!("bytes that come later") };
        put(blob.entry.data_offset, bytes);
    }
    (lowered.model, file)
}

fn raised(model: &mil::Model, file: &[u8]) -> Result<Raised> {
    let bytes = Bytes::from(file.to_vec());
    program(model, &mut |name| match name {
        "@model_path/weights/weight.bin" => Ok(bytes.clone()),
        other => Err(Error::input(other, "there is no such file", "convert again")),
    })
}

/// Every finding of a package that is changed, one a line.
fn found(change: impl FnOnce(&mut mil::Model, &mut Vec<u8>)) -> String {
    let (mut model, mut file) = package(&sound(), Target::Ios18);
    change(&mut model, &mut file);
    findings(raised(&model, &file))
}

fn findings(raised: Result<Raised>) -> String {
    match raised {
        Ok(_) => "nothing".into(),
        Err(Error::Findings { findings, .. }) => {
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

fn main(model: &mut mil::Model) -> &mut mil::Function {
    model.ml_program.as_mut().unwrap().functions.get_mut("main").unwrap()
}

fn block(model: &mut mil::Model) -> &mut mil::Block {
    main(model).block_specializations.values_mut().next().unwrap()
}

/// The operation that returns this.
fn op<'a>(model: &'a mut mil::Model, name: &str) -> &'a mut mil::Operation {
    let operations = &mut block(model).operations;
    operations.iter_mut().find(|op| op.outputs.iter().any(|o| o.name == name)).unwrap()
}

fn output_type<'a>(model: &'a mut mil::Model, name: &str) -> &'a mut mil::TensorType {
    match op(model, name).outputs[0].r#type.as_mut().unwrap().r#type.as_mut().unwrap() {
        value_type::Type::Tensor(tensor) => tensor,
        other => panic!("{other:?}"),
    }
}

/// The blob that a literal of an operation names.
fn blob<'a>(model: &'a mut mil::Model, name: &str, param: &str) -> &'a mut mil::BlobFileValue {
    let op = op(model, name);
    let value = match op.inputs.get_mut(param) {
        Some(argument) => match argument.arguments[0].binding.as_mut().unwrap() {
            Binding::Value(value) => value,
            Binding::Name(_) => panic!("a name"),
        },
        None => op.attributes.get_mut(param).unwrap(),
    };
    match value.value.as_mut().unwrap() {
        mil::value::Value::BlobFile(blob) => blob,
        mil::value::Value::Immediate(_) => panic!("no blob"),
    }
}

fn description(model: &mut mil::Model) -> &mut mil::ModelDescription {
    model.description.as_mut().unwrap()
}

fn array(feature: &mut mil::FeatureDescription) -> &mut mil::ArrayFeatureType {
    match feature.r#type.as_mut().unwrap().r#type.as_mut().unwrap() {
        feature_type::Type::MultiArray(array) => array,
        feature_type::Type::State(state) => match state.r#type.as_mut().unwrap() {
            mil::state_feature_type::Type::Array(array) => array,
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_package_has_no_findings_and_is_itself_again() {
    let (model, file) = package(&sound(), Target::Ios18);
    let once = raised(&model, &file).unwrap();
    let (model, file) = package(&once.program, once.target);
    assert_eq!(raised(&model, &file).unwrap(), once);
    assert!(once.program.functions["main"].find("m").is_none(), "nothing reads it");
}

#[test]
fn a_classifier_with_images_and_literal_labels_is_itself_again() {
    let mut builder = Builder::new();
    let ty = TensorType::fixed(DataType::Float32, &[1, 3, 2, 2]);
    let image = builder.input("image", ty, Sizes::Fixed).unwrap();
    let shape = builder.constant("shape", Constant::ints(&[12])).unwrap();
    let labels = (0..12).map(|n| format!("label {n}")).collect();
    let labels = builder.constant("labels", Constant::Labels(Labels::Texts(labels))).unwrap();
    let flat = builder.op("reshape", "flat", &[("x", image), ("shape", shape)]).unwrap();
    let mut function = builder.finish();
    function.inputs[0].image = Some(crate::graph::ColorSpace::Rgb);
    let row = crate::graph::ops::Row::find("classify").unwrap();
    let outputs = [
        ("label", ValueType::Tensor(TensorType::fixed(DataType::String, &[]))),
        ("label_probs", ValueType::Scores(DataType::String)),
    ];
    let outputs = outputs.map(|(name, ty)| {
        function.values.push(crate::graph::Value { name: name.into(), ty, constant: None });
        crate::graph::ValueId(function.values.len() - 1)
    });
    let arguments = [("probabilities", flat), ("classes", labels)];
    let arguments = arguments.map(|(param, value)| crate::graph::Argument { param, value }).into();
    let name = "label".into();
    function.operations.push(crate::graph::Operation {
        name,
        row,
        arguments,
        outputs: outputs.into(),
    });
    function.outputs = outputs.map(crate::graph::Feature::new).into();
    let (model, file) = package(&Program::single(function), Target::Ios16);
    let described = model.description.as_ref().unwrap();
    assert_eq!(described.predicted_feature_name, "label");
    assert_eq!(described.predicted_probabilities_name, "label_probs");
    let once = raised(&model, &file).unwrap();
    let main = &once.program.functions["main"];
    assert_eq!(main.inputs[0].image, Some(crate::graph::ColorSpace::Rgb));
    let labels = main.find("label_classes").and_then(|id| main.value(id).constant.as_ref());
    assert_eq!(labels.and_then(Constant::as_labels).map(Labels::len), Some(12));
    let (model, file) = package(&once.program, once.target);
    assert_eq!(raised(&model, &file).unwrap(), once);
}
