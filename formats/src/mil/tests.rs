//! The worked bytes of real files, round trips, and hostile bytes.

use super::*;
use proptest::prelude::*;
use prost::Message;

/// Bytes from hex words and quoted strings: `0a 05 "const"`.
fn hex(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('"').and_then(|w| w.strip_suffix('"')) {
            Some(string) => out.extend(string.bytes()),
            None => out.push(u8::from_str_radix(word, 16).expect("a hex byte")),
        }
    }
    out
}

#[test]
fn messages_have_the_bytes_that_coremltools_writes() {
    let weight = DataType::Float16;
    let constant = Operation::constant("fc1_weight_to_fp16", Value::blob(weight, &[128, 64], 9344));
    check(
        &constant,
        r#"0a 05 "const"
           1a 29 0a 12 "fc1_weight_to_fp16" 12 13 0a 11 08 0a 10 02
                 1a 05 0a 03 08 80 01 1a 04 0a 02 08 40
           2a 28 0a 04 "name" 12 20 12 04 0a 02 08 02
                 1a 18 0a 16 22 14 0a 12 "fc1_weight_to_fp16"
           2a 41 0a 03 "val" 12 3a 12 13 0a 11 08 0a 10 02 1a 05 0a 03 08 80 01 1a 04 0a 02 08 40
                 2a 23 0a 1e "@model_path/weights/weight.bin" 10 80 49"#,
    );
    check(
        &Value::bytes(weight, &[], half::f16::from_f32(1e-5).to_le_bytes().to_vec()),
        "12 04 0a 02 08 0a 1a 08 0a 06 3a 04 0a 02 a8 00",
    );
    check(
        &Value::int32s(&[-1]),
        "12 0c 0a 0a 08 17 10 01 1a 04 0a 02 08 01
         1a 10 0a 0e 12 0c 0a 0a ff ff ff ff ff ff ff ff ff 01",
    );
    check(
        &NamedValueType::new("x", ValueType::tensor(weight, &[2, 3])),
        "0a 01 78 12 12 0a 10 08 0a 10 02 1a 04 0a 02 08 02 1a 04 0a 02 08 03",
    );
    check(
        &NamedValueType::new("acc", ValueType::state(weight, &[2, 3])),
        "0a 03 61 63 63 12 16 2a 14 0a 12 0a 10 08 0a 10 02 1a 04 0a 02 08 02 1a 04 0a 02 08 03",
    );
    let flexible = vec![Dimension::fixed(1), Dimension::flexible()];
    check(
        &NamedValueType::new("x", TensorType::new(DataType::Float32, flexible)),
        "0a 01 78 12 10 0a 0e 08 0b 10 02 1a 04 0a 02 08 01 1a 02 12 00",
    );
    check(&Dimension::fixed(0), "0a 00");
}

/// `message` has these bytes, and they decode to it.
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M, bytes: &str) {
    let bytes = hex(bytes);
    assert_eq!(message.encode_to_vec(), bytes);
    assert_eq!(&M::decode(&bytes[..]).expect("worked bytes"), message);
}

#[test]
fn an_empty_tensor_still_sets_its_member() {
    let empty = Value::int32s(&[]);
    let back = Value::decode(&empty.encode_to_vec()[..]).expect("own bytes");
    assert_eq!(back.as_tensor(), Some(&tensor_value::Ints { values: vec![] }.into()));
}

/// A small model with one operation of each coding.
fn model() -> Model {
    let x = ValueType::tensor(DataType::Float16, &[64, 2]);
    let codes = Value::bytes(DataType::Int4, &[2, 2], vec![0x21, 0x43]);
    let scale = Value::bytes(DataType::Float16, &[2, 1], vec![0, 0x3c, 0, 0x40]);
    let weight = Operation::new("constexpr_blockwise_shift_scale", "w")
        .input("data", Argument::value(codes))
        .input("scale", Argument::value(scale))
        .output("w", ValueType::tensor(DataType::Float16, &[2, 2]));
    let linear = Operation::new("linear", "y")
        .input("x", Argument::name("x"))
        .input("weight", Argument::name("w"))
        .output("y", x.clone());
    let block =
        Block { outputs: vec!["y".into()], operations: vec![weight, linear], ..Block::default() };
    let function = Function {
        inputs: vec![NamedValueType::new("x", x)],
        opset: "CoreML8".into(),
        block_specializations: [("CoreML8".into(), block)].into(),
        ..Function::default()
    };
    let array = ArrayFeatureType {
        shape: vec![64, 2],
        data_type: array_data_type::FLOAT16,
        ..ArrayFeatureType::default()
    };
    let feature = |name: &str| FeatureDescription {
        name: name.into(),
        r#type: Some(FeatureType {
            r#type: Some(feature_type::Type::MultiArray(array.clone())),
            is_optional: false,
        }),
        ..FeatureDescription::default()
    };
    Model {
        specification_version: 9,
        description: Some(ModelDescription {
            input: vec![feature("x")],
            output: vec![feature("y")],
            ..ModelDescription::default()
        }),
        is_updatable: false,
        ml_program: Some(Program {
            version: 1,
            functions: [("main".into(), function)].into(),
            ..Program::default()
        }),
    }
}

#[test]
fn a_model_survives_its_own_bytes() {
    let bytes = model().to_bytes();
    assert_eq!(bytes[..3], hex("08 09 12"), "a file starts with its version and description");
    assert_eq!(Model::parse(&bytes).expect("own bytes"), model());
}

#[test]
fn models_of_other_kinds_are_refused_by_name() {
    // Field 202, a message; field 500 with its length.
    let pipeline = hex("08 04 d2 0c 00");
    insta::assert_snapshot!(Model::parse(&pipeline).unwrap_err(), @r#"model.mlmodel: it holds a `pipeline` (field 202); only ML Programs can be read: convert with coremltools' `convert_to="mlprogram"`"#);
    let network = hex("08 01 a2 1f 02 08 01");
    insta::assert_snapshot!(Model::parse(&network).unwrap_err(), @r#"model.mlmodel: it holds a `neuralNetwork` (field 500); only ML Programs can be read: convert with coremltools' `convert_to="mlprogram"`"#);
}

#[test]
fn every_refusal_says_place_finding_and_remedy() {
    let error = |bytes: &[u8]| Model::parse(bytes).unwrap_err().to_string();
    insta::assert_snapshot!(error(b""), @"malformed model.mlmodel, byte 0: the message ends without any model in it; fetch or convert the package again");
    insta::assert_snapshot!(error(&hex("08 09 12 05 00")), @"malformed model.mlmodel, byte 2: field 2 takes 5 bytes, and 1 are left; fetch or convert the package again");
    insta::assert_snapshot!(error(&hex("08 09 0b")), @"malformed model.mlmodel, byte 2: field 1 is a group, which proto3 lacks; fetch or convert the package again");
    insta::assert_snapshot!(error(&hex("08 0b b2 1f 00")), @"model.mlmodel: its specification version is 11; versions 6 (iOS 15) to 10 (iOS 26) can be read");
    insta::assert_snapshot!(error(&hex("b2 1f 00")), @"model.mlmodel: its specification version is 0; versions 6 (iOS 15) to 10 (iOS 26) can be read");
    insta::assert_snapshot!(error(&hex("08 09 b2 1f 02 12 05")), @"malformed model.mlmodel, in its messages: failed to decode Protobuf message: Program.functions: Model.ml_program: buffer underflow; fetch or convert the package again");
}

#[test]
fn no_message_of_two_bytes_becomes_more_than_the_limit_counts_on() {
    // What `MAX_MODEL_BYTES` promises; all messages that stand in lists.
    let sizes = [
        size_of::<FeatureDescription>(),
        size_of::<FunctionDescription>(),
        size_of::<SizeRange>(),
        size_of::<Operation>(),
        size_of::<Block>(),
        size_of::<NamedValueType>(),
        size_of::<ValueType>(),
        size_of::<Dimension>(),
        size_of::<Binding>(),
        size_of::<Value>(),
        size_of::<KeyValuePair>(),
        size_of::<String>(),
    ];
    assert!(sizes.into_iter().all(|bytes| bytes <= 144), "{sizes:?}");
}

#[test]
fn nesting_beyond_reason_is_an_error_not_a_stack_overflow() {
    // A list of a list of a list ...
    let mut list = ValueType::tensor(DataType::Float32, &[]);
    for _ in 0..10_000 {
        let bytes = list.encode_to_vec();
        // Kept as bytes inside a fresh level, so that this test does not recurse either.
        let mut outer = Vec::new();
        prost::encoding::bytes::encode(1, &bytes, &mut outer);
        let mut level = Vec::new();
        prost::encoding::bytes::encode(2, &outer, &mut level);
        if ValueType::decode(&level[..]).is_err() {
            return;
        }
        list = ValueType::decode(&level[..]).expect("just decoded");
    }
    panic!("10,000 levels were taken");
}

proptest! {
    #[test]
    fn mutated_models_are_errors_or_models_never_a_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = model().to_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(model) = Model::parse(&bytes) {
            // Bytes are compared, for a mutated float may be NaN.
            let again = Model::parse(&model.to_bytes()).expect("a parsed model");
            prop_assert_eq!(again.to_bytes(), model.to_bytes());
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_model_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let whole = [&hex("08 09 b2 1f")[..], &[bytes.len() as u8], &bytes].concat();
        let _ = Model::parse(&whole);
        let _ = Model::parse(&bytes);
    }
}
