//! A sound package, changed in one place at a time: what is found, word for word.

use super::*;
use crate::formats::mil::{self, binding::Binding, feature_type, value_type};
use crate::graph::weight::{Bytes, Data, Operand, Storage, Weight};
use crate::graph::{Builder, Constant, DataType, Dim, Labels, Program, SizeRange, Sizes, lower};
use crate::graph::{TensorType, ValueType};
use crate::target::Target;
use crate::{Error, Result};
use proptest::prelude::*;

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
fn operations_parameters_and_names() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 17] = [
        |m, _| op(m, "h").r#type = "linaer".into(),
        |m, _| op(m, "h").r#type = "my_own_layer".into(),
        |m, _| op(m, "h").r#type = "while_loop".into(),
        |m, _| {
            let bound = op(m, "h").inputs.remove("weight").unwrap();
            op(m, "h").inputs.insert("weigth".into(), bound);
        },
        |m, _| drop(op(m, "y").inputs.remove("y")),
        |m, _| drop(op(m, "y").inputs.insert("y".into(), mil::Argument::name("nowhere"))),
        |m, _| block(m).operations.reverse(),
        |m, _| block(m).outputs = vec!["nowhere".into(), "y".into(), "y".into()],
        |m, _| drop(op(m, "y").inputs.insert("y".into(), mil::Argument::names(["z", "s"]))),
        |m, _| drop(op(m, "y").inputs.insert("y".into(), mil::Argument::default())),
        |m, _| drop(op(m, "h").inputs.insert("weight".into(), mil::Argument::name("x"))),
        |m, _| drop(op(m, "y").attributes.insert("alpha".into(), mil::Value::int32(1))),
        |m, _| op(m, "s").outputs[0].name = "h".into(),
        |m, _| op(m, "y").outputs[0].name = "y.1".into(),
        |m, _| op(m, "y").blocks.push(mil::Block::default()),
        |m, _| op(m, "y").outputs.clear(),
        |m, _| {
            let op = mil::Operation::new("write_state", "acc_write")
                .input("input", mil::Argument::name("acc"))
                .input("data", mil::Argument::name("h"));
            block(m).operations.push(op);
        },
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    main: linaer `h`: there is no such operation; is it `linear`?

    main: my_own_layer `h`: it is no operation that can be read; write what it does with others, and convert the model again

    main: while_loop `h`: control flow cannot be read; convert the model with its branches and loops traced, or with one function a branch

    main: linear `h`: weigth: linear has no such parameter; is it `weight`?
    main: linear `h`: weight: is missing

    main: add `y`: y: is missing

    main: add `y`: y: `nowhere` is not defined

    main: add `y`: x: `s` is defined further down, or by what it depends on
    main: add `s`: x: `h` is defined further down, or by what it depends on
    main: add `s`: y: `r` is defined further down, or by what it depends on
    main: linear `h`: weight: `w` is defined further down, or by what it depends on
    main: linear `h`: bias: `b` is defined further down, or by what it depends on

    main: output `nowhere`: nothing defines it
    main: output `y`: it is returned twice

    main: add `y`: y: it is bound to 2 values, not to one

    main: add `y`: y: it is bound to 0 values, not to one

    main: linear `h`: weight: must be constant

    main: add `y`: it has an attribute `alpha`; its parameters are inputs

    main: add `h`: `h` is defined twice
    main: add `y`: x: `s` is not defined

    main: add `y.1`: `y.1` is no identifier; `y_1` would be
    main: output `y`: nothing defines it

    main: add `y`: it has blocks, which only control flow has

    main: add `y`: it returns 1 values and declares 0
    main: output `y`: nothing defines it

    main: write_state `acc_write`: `data` is fp16[?, 16], and the state fp16[16]
    ");
}

#[test]
fn types_and_values() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 15] = [
        |m, _| output_type(m, "y").dimensions[1] = mil::Dimension::fixed(17),
        |m, _| output_type(m, "y").rank = 3,
        |m, _| output_type(m, "y").data_type = 99,
        |m, _| output_type(m, "y").data_type = mil::DataType::BFloat16.number(),
        |m, _| output_type(m, "y").dimensions[1].dimension = None,
        |m, _| output_type(m, "y").dimensions[1] = mil::Dimension::fixed(u64::MAX),
        |m, _| {
            let many = vec![mil::Dimension::flexible(); 1000];
            *output_type(m, "y") = mil::TensorType::new(mil::DataType::Float16, many);
        },
        |m, _| op(m, "y").outputs[0].r#type = None,
        |m, _| output_type(m, "b").data_type = mil::DataType::Float32.number(),
        |m, _| output_type(m, "b").dimensions[0] = mil::Dimension::fixed(8),
        |m, _| output_type(m, "w").data_type = mil::DataType::Float32.number(),
        |m, _| {
            drop(op(m, "b").attributes.insert(
                "val".into(),
                mil::Value::bytes(mil::DataType::Float16, &[16], vec![0; 30]),
            ))
        },
        |m, _| {
            let floats = mil::tensor_value::Floats { values: vec![0.0; 16] };
            let value = mil::Value::tensor(mil::DataType::Float16, &[16], floats.into());
            op(m, "b").attributes.insert("val".into(), value);
        },
        |m, _| op(m, "b").attributes.get_mut("val").unwrap().doc_string = "a bias".into(),
        |m, _| drop(op(m, "b").attributes.remove("val")),
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    main: add `y`: `y`: it is declared as fp16[?, 17] and is fp16[?, 16]

    main: add `y`: `y`: its rank is 3 and it has 2 dimensions

    main: add `y`: `y`: its element type 99 is none of MIL's

    main: add `y`: `y`: it is of bf16, which coremltools 9.0 cannot read either; convert the model again in FP16

    main: add `y`: `y`: a dimension is neither a size nor flexible

    main: add `y`: `y`: fp16[?, 18446744073709551615] has more than 2^40 elements

    main: add `y`: `y`: fp16 of 1000 dimensions has more than 8

    main: add `y`: `y`: it has no type

    main: const `b`: it is declared as fp32[16] and is fp16[16]

    main: const `b`: it is declared as fp16[8] and is fp16[16]

    main: constexpr_blockwise_shift_scale `w`: it is declared as fp32[16, 32] and is fp16[16, 32]

    main: const `b`: val: Dense: 30 bytes instead of 32 for [16] of fp16

    main: const `b`: val: it is fp16[16], and its values have another form

    main: const `b`: val: its docString is set, which Core ML refuses

    main: const `b`: it has no attribute `val`
    ");
}

#[test]
fn blobs_and_compressed_weights() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 14] = [
        |m, _| blob(m, "b", "val").offset += 64,
        |m, _| blob(m, "b", "val").offset += 1,
        |m, _| blob(m, "b", "val").offset = u64::MAX,
        |m, _| blob(m, "b", "val").offset = 64,
        |m, _| blob(m, "b", "val").file_name = "weights/weight.bin".into(),
        |_, file| file[0] -= 1,
        |_, file| file[4] = 1,
        |_, file| file.truncate(300),
        |_, file| file[64] = 0,
        |_, file| file[68] = 3,
        |_, file| file[88] = 4,
        |m, _| {
            let scale = op(m, "w").inputs.remove("scale").unwrap();
            let Some(Binding::Value(value)) = scale.only().cloned() else { panic!("a literal") };
            op(m, "w").attributes.insert("scale".into(), value);
        },
        |m, _| op(m, "w").r#type = "constexpr_affine_dequantize".into(),
        |m, _| {
            m.specification_version = 8;
            let function = main(m);
            function.opset = "CoreML7".into();
            let block = function.block_specializations.pop_first().unwrap().1;
            function.block_specializations.insert("CoreML7".into(), block);
        },
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    main: const `b`: val: malformed weight.bin, byte 832: a metadata record passes the end of the file, 864; fetch or convert the package again

    main: const `b`: val: malformed weight.bin, byte 769: metadata stand at multiples of 64 behind the header; fetch or convert the package again

    main: const `b`: val: malformed weight.bin, byte 18446744073709551615: metadata stand at multiples of 64 behind the header; fetch or convert the package again

    main: const `b`: val: its blob at 64 holds int8, not fp16

    main: const `b`: val: weights/weight.bin: there is no such file; convert again

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 0: the header's 2 blobs end at 736, the file at 864; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: scale: weight.bin, byte 4: the blob storage version is 1; version 2 can be read, which every ML Program has
    main: const `b`: val: weight.bin, byte 4: the blob storage version is 1; version 2 can be read, which every ML Program has

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 72: 512 bytes at 128 pass the end of the file, 300; fetch or convert the package again
    main: const `b`: val: malformed weight.bin, byte 768: a metadata record passes the end of the file, 300; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 64: 0xdeadbe00 is not the 0xdeadbeef of metadata; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: data: its blob at 64 holds uint8, not int8

    main: constexpr_blockwise_shift_scale `w`: scale: malformed weight.bin, byte 88: 512 bytes less 4 bits are no whole number of int8 elements; fetch or convert the package again

    main: constexpr_blockwise_shift_scale `w`: scale: parameters of constexpr_blockwise_shift_scale are inputs for ios18, not attributes

    main: constexpr_affine_dequantize `w`: data: parameters of constexpr_affine_dequantize are attributes for ios18, not inputs
    main: constexpr_affine_dequantize `w`: scale: parameters of constexpr_affine_dequantize are attributes for ios18, not inputs

    main: input `acc`: states need ios18, the package is for ios17
    main: constexpr_blockwise_shift_scale `w`: it needs ios18, the package is for ios17
    main: read_state `r`: needs ios18, the target is ios17
    ");
}

#[test]
fn the_program_and_its_description() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 24] = [
        |m, _| m.ml_program.as_mut().unwrap().version = 0,
        |m, _| m.ml_program.as_mut().unwrap().doc_string = "text".into(),
        |m, _| m.specification_version = 11,
        |m, _| main(m).opset = "CoreML7".into(),
        |m, _| {
            let program = m.ml_program.as_mut().unwrap();
            let main = program.functions.remove("main").unwrap();
            program.functions.insert("decode".into(), main);
        },
        |m, _| description(m).default_function_name = "main".into(),
        |m, _| {
            let function = mil::FunctionDescription { name: "other".into(), ..Default::default() };
            description(m).functions.push(function);
        },
        |m, _| drop(description(m).input.remove(1)),
        |m, _| description(m).input[1].name = "zz".into(),
        |m, _| array(&mut description(m).input[1]).shape = vec![17],
        |m, _| array(&mut description(m).input[1]).data_type = mil::array_data_type::FLOAT32,
        |m, _| array(&mut description(m).input[1]).data_type = mil::array_data_type::INT8,
        |m, _| description(m).output[0].name = "logits".into(),
        |m, _| array(&mut description(m).state[0]).data_type = mil::array_data_type::FLOAT32,
        |m, _| {
            let state = description(m).state.remove(0);
            description(m).input.push(state);
        },
        |m, _| array(&mut description(m).input[0]).shape[0] = 65,
        |m, _| array(&mut description(m).input[0]).shape_flexibility = None,
        |m, _| {
            use mil::array_feature_type::ShapeFlexibility;
            let flexibility = &mut array(&mut description(m).input[0]).shape_flexibility;
            let Some(ShapeFlexibility::ShapeRange(ranges)) = flexibility else { panic!() };
            ranges.size_ranges[0].upper_bound = -1;
        },
        |m, _| shapes(m, (1..=129).collect()),
        |m, _| shapes(m, vec![1, 2, 3]),
        |m, _| main(m).inputs[0].name = "1x".into(),
        |m, _| description(m).predicted_feature_name = "y".into(),
        |m, _| {
            main(m).inputs[2].r#type = Some(mil::ValueType::state(mil::DataType::Float32, &[16]))
        },
        |m, _| {
            main(m).inputs[0].r#type =
                Some(mil::ValueType::tensor(mil::DataType::Float16, &[0, 32]))
        },
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    the program's version is 0, and must be 1

    the program's docString is set, which Core ML refuses

    model.mlmodel: its specification version is 11; 6 to 10 have ML Programs that can be read

    main: its opset is `CoreML7`; that of ios18 is `CoreML8`
    main: it has blocks for [`CoreML8`], and must have one, for its opset

    without described functions there is one, `main`, and not: `decode`

    `main` is its default function, and no functions are described

    inputs, outputs or states are described beside functions that have their own
    the default function `` is none of its functions: `main`
    the function `other` is described and does not exist
    the function `main` is not described

    main: input `z`: the description lacks it

    main: input `zz`: it is described, and the function has no such input
    main: input `z`: the description lacks it

    main: input `z`: its shape is described as [17], and the function has fp16[16]

    main: input `z`: it is described as fp32, and the function has fp16[16]

    main: input `z`: it is described as int8, and the function has fp16[16]

    main: output `logits`: it is described, and the function has no such output
    main: output `y`: the description lacks it

    main: state `acc`: it is described as fp32, and the function has fp16[16]

    main: input `acc`: it is described, and the function has no such input
    main: state `acc`: the description lacks it

    main: input `x`: the default of dimension 0, 65, is not within its range, 1 to 64

    main: input `x`: the function has fp16[?, 32], and no range or list of shapes is described

    main: input `x`: dimension 0 has no upper bound; ML Programs need one

    main: input `x`: 129 shapes are listed; Core ML takes up to 128

    main: input `x`: the default shape [4, 32] is none of the 3 listed

    main: input `1x`: `1x` is no identifier; `_1x` would be
    main: linear `h`: x: `x` is not defined
    main: input `x`: it is described, and the function has no such input
    main: input `1x`: the description lacks it

    main: the description names `y` as its label; no output is that

    main: read_state `r`: `r`: it is declared as fp16[16] and is fp32[16]
    main: add `s`: y: is fp32[16] beside `x`, which is fp16[?, 16]; ios18 needs one type
    main: state `acc`: it is described as fp16, and the function has fp32[16]

    main: input `x`: its shape is described as [4, 32], and the function has fp16[0, 32]
    ");
}

/// The rows that the first input may have.
fn shapes(model: &mut mil::Model, rows: Vec<i64>) {
    let shape = |rows| mil::array_feature_type::Shape { shape: vec![rows, 32] };
    let shapes = rows.into_iter().map(shape).collect();
    let listed = mil::array_feature_type::EnumeratedShapes { shapes };
    array(&mut description(model).input[0]).shape_flexibility =
        Some(mil::array_feature_type::ShapeFlexibility::EnumeratedShapes(listed));
}

#[test]
fn everything_is_found_at_once_and_what_follows_from_it_is_not_told() {
    let all = found(|m, _| {
        op(m, "b").attributes.remove("val"); // Then `linear` has no bias to check.
        op(m, "w").inputs.remove("scale"); // Then it has no weight either.
        op(m, "r").r#type = "raed_state".into();
        op(m, "y").inputs.insert("y".into(), mil::Argument::name("zzz"));
        description(m).input.remove(1);
    });
    insta::assert_snapshot!(all, @r"
    main: constexpr_blockwise_shift_scale `w`: `scale` is missing
    main: const `b`: it has no attribute `val`
    main: raed_state `r`: there is no such operation; is it `read_state`?
    main: add `y`: y: `zzz` is not defined
    main: input `z`: the description lacks it
    ");
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
    function.outputs = outputs
        .map(|value| crate::graph::Feature {
            value,
            about: String::new(),
            sizes: Sizes::Fixed,
            image: None,
        })
        .into();
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

/// A function of `n` additions, each of which reads the one before it.
fn chain(n: usize) -> mil::Model {
    let (mut model, _) = package(&sound(), Target::Ios18);
    let typed = mil::ValueType::tensor(mil::DataType::Float16, &[16]);
    let mut operations = Vec::with_capacity(n);
    for i in 0..n {
        let before = if i == 0 { "z".to_owned() } else { format!("v{}", i - 1) };
        let name = format!("v{i}");
        let literal = mil::Value::bytes(mil::DataType::Float16, &[], vec![0, 0x3c]);
        let op = mil::Operation::new("add", &name)
            .input("x", mil::Argument::name(before))
            .input("y", mil::Argument::value(literal))
            .output(&name, typed.clone());
        operations.push(op);
    }
    block(&mut model).operations = operations;
    block(&mut model).outputs = vec![format!("v{}", n - 1)];
    let described = &mut description(&mut model).output[0];
    described.name = format!("v{}", n - 1);
    array(described).shape = vec![16];
    model
}

#[test]
fn a_hundred_thousand_operations_take_a_moment() {
    let start = std::time::Instant::now();
    let program = raised(&chain(100_000), &[]).unwrap().program;
    assert_eq!(program.functions["main"].operations.len(), 100_000);
    // Linear, this is below a second; quadratic, ten minutes.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn a_hundred_thousand_findings_are_counted() {
    let mut model = chain(100_000);
    for op in &mut block(&mut model).operations {
        op.r#type = "nothing_like_this".repeat(100);
    }
    let Err(Error::Findings { findings, .. }) = raised(&model, &[]) else { panic!() };
    assert_eq!(findings.len(), 10_001);
    insta::assert_snapshot!(findings[10_000], @"90000 more findings are left out");
    let longest = findings.iter().map(|finding| finding.to_string().len()).max();
    assert!(longest < Some(1000), "{longest:?}");
}

#[test]
fn operations_that_wait_for_each_other_are_found() {
    let mut model = chain(3);
    block(&mut model).operations[0].inputs.insert("x".into(), mil::Argument::name("v2"));
    insta::assert_snapshot!(findings(raised(&model, &[])), @"main: add `v0`: x: `v2` is defined further down, or by what it depends on");
}

#[test]
fn a_value_that_is_stored_once_is_not_expanded_without_end() {
    let (mut model, file) = package(&sound(), Target::Ios18);
    let wide = 1 << 20;
    let typed = mil::ValueType::tensor(mil::DataType::Float32, &[wide]);
    let source = mil::Value::bytes(mil::DataType::Float16, &[wide], vec![0; 2 << 20]);
    let source = mil::Operation::constant("half", source);
    let casts = (0..1000).map(|i| {
        let name = format!("cast_{i}");
        mil::Operation::new("constexpr_cast", &name)
            .input("source_val", mil::Argument::name("half"))
            .input("output_dtype", mil::Argument::value(mil::Value::string("fp32")))
            .output(&name, typed.clone())
    });
    block(&mut model).operations.splice(0..0, std::iter::once(source).chain(casts));
    let found = findings(raised(&model, &file));
    insta::assert_snapshot!(found.lines().next().unwrap(), @"main: constexpr_cast `cast_16`: constants that are decoded take more than 4 times the size of the weights");
    assert!(found.lines().count() > 900);
}

proptest! {
    #[test]
    fn a_mutated_model_is_findings_or_sound_never_a_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        blobs in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (model, mut file) = package(&sound(), Target::Ios18);
        let mut bytes = model.to_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for (at, byte) in blobs {
            let at = at.index(file.len());
            file[at] = byte;
        }
        mil::unknown_fields(&bytes);
        let Ok(model) = mil::Model::parse(&bytes) else { return Ok(()) };
        if let Ok(once) = raised(&model, &file) {
            for function in once.program.functions.values() {
                prop_assert_eq!(function.check(once.target), vec![]);
            }
            if once.target >= Target::Ios16 {
                let (model, file) = package(&once.program, once.target);
                prop_assert_eq!(raised(&model, &file).unwrap(), once);
            }
        }
    }
}
