//! Backends beside each other, right ones and with faults.

use super::agreement::checks;
use super::codes::follow;
use crate::execute::{Engine, Inputs, run};
use crate::graph::weight::{Data, Operand, Storage, Weight};
use crate::graph::{Builder, Constant, DataType, Function, Sizes, TensorType, Value};
use crate::report::Validation;
use crate::report::validation::Limits;
use crate::runtime::{Mode, SharedCpu};
use half::f16;

const SIDE: usize = 48;

/// Four linear layers of INT8 codes, a scale a channel, with `tanh` behind each. `pairs`: what each
/// multiplies are codes, too.
fn layers(pairs: bool) -> Function {
    let mut builder = Builder::new();
    let ty = TensorType::fixed(DataType::Float16, &[5, SIDE]);
    let mut x = builder.input("x", ty, Sizes::Fixed).unwrap();
    for layer in 0..4 {
        let code = |i: usize| ((i * 7919 + layer * 271) % 251) as i8 as u8;
        let codes: Vec<u8> = (0..SIDE * SIDE).map(code).collect();
        let scale = |n: usize| f16::from_f32(0.002 + n as f32 * 1.7e-5).to_le_bytes();
        let scales: Vec<u8> = (0..SIDE).flat_map(scale).collect();
        let storage = Storage::Linear {
            codes: Operand::new(DataType::Int8, &[SIDE, SIDE], codes),
            scale: Operand::new(DataType::Float16, &[SIDE, 1], scales),
            offset: None,
        };
        let weight = Weight { shape: vec![SIDE, SIDE], storage };
        let weight = builder.constant(&format!("w{layer}"), weight).unwrap();
        if pairs {
            let scale = f16::from_f32(1.0 / 127.0).to_le_bytes().to_vec();
            let scale = Weight::dense(Operand::new(DataType::Float16, &[], scale));
            let scale = builder.constant(&format!("s{layer}"), scale).unwrap();
            let word = builder.constant(&format!("d{layer}"), Constant::text("int8")).unwrap();
            let arguments = [("input", x), ("scale", scale), ("output_dtype", word)];
            let codes = builder.op("quantize", &format!("q{layer}"), &arguments).unwrap();
            let arguments = [("input", codes), ("scale", scale)];
            x = builder.op("dequantize", &format!("x{layer}"), &arguments).unwrap();
        }
        let arguments = [("x", x), ("weight", weight)];
        let y = builder.op("linear", &format!("y{layer}"), &arguments).unwrap();
        x = builder.op("tanh", &format!("t{layer}"), &[("x", y)]).unwrap();
    }
    builder.output(x, "");
    builder.finish()
}

/// The codes of channel `n`, one step away, or its scale, doubled.
fn broken(value: &Value, n: usize, doubled: bool) -> Constant {
    let Some(Constant::Tensor(weight)) = &value.constant else { panic!("no weight") };
    let mut weight = weight.as_ref().clone();
    let Storage::Linear { codes, scale, .. } = &mut weight.storage else { panic!("no codes") };
    let operand = if doubled { scale } else { codes };
    let Data::Bytes(bytes) = &operand.data else { panic!("no bytes") };
    let mut bytes = bytes.to_vec();
    if doubled {
        // The exponent, one more.
        bytes[2 * n + 1] += 4;
    } else {
        let row = &mut bytes[n * SIDE..(n + 1) * SIDE];
        row.iter_mut().for_each(|code| *code = (*code as i8).saturating_add(1) as u8);
    }
    operand.data = Data::Bytes(bytes.into());
    weight.into()
}

#[test]
fn one_wrong_channel_is_seen_and_a_right_backend_passes() {
    let right = layers(false);
    let inputs = Inputs::drawn("main", &right, None, 2).unwrap();
    let want = run(&right, &inputs, Engine::Reference, Mode::F32).unwrap();
    let judged = |function: &Function| {
        let got = run(function, &inputs, Engine::Cpu, Mode::F32).unwrap();
        let runs = [(&Engine::Reference, want.clone()), (&Engine::Cpu, got)];
        let mut found = Validation::new("p".into(), "drawn".into());
        found.agreement = checks("main", &right, &runs);
        assert_eq!(found.agreement[0].elements, 2 * 5 * SIDE as u64);
        found.judge(&Limits::default());
        (found.agreement[0].relative, found.failed)
    };
    let (relative, failed) = judged(&right);
    assert!(relative < 2e-6 && failed.is_empty(), "{relative} {failed:?}");
    for layer in 0..4 {
        for (n, doubled) in [(0, false), (17, true), (30, false), (47, true)] {
            let mut wrong = right.clone();
            let id = wrong.find(&format!("w{layer}")).unwrap();
            wrong.values[id.0].constant = Some(broken(right.value(id), n, doubled));
            let (relative, failed) = judged(&wrong);
            assert!(failed.len() == 1, "layer {layer}, channel {n}: {relative}");
        }
    }
}

#[test]
fn codes_are_the_references_and_one_wrong_channel_is_seen() {
    let right = layers(true);
    let inputs = Inputs::drawn("main", &right, None, 8).unwrap();
    let followed = follow(&right, &inputs).unwrap();
    let judged = |function: &Function| {
        let (ran, codes) = followed.beside("main", function, &SharedCpu::default()).unwrap();
        assert_eq!((codes.edges, codes.codes), (4, 4 * 8 * 5 * SIDE as u64));
        let runs = [(&Engine::Reference, followed.ran.clone()), (&Engine::Cpu, ran)];
        let mut found = Validation::new("p".into(), "drawn".into());
        found.agreement = checks("main", &right, &runs);
        found.codes = vec![codes];
        found.judge(&Limits::default());
        found
    };
    let found = judged(&right);
    assert!(found.failed.is_empty() && found.codes[0].beyond_tie < 1e-4, "{found:?}");
    for layer in 0..4 {
        for (n, doubled) in [(0, false), (17, true), (30, false), (47, true)] {
            let mut wrong = right.clone();
            let id = wrong.find(&format!("w{layer}")).unwrap();
            wrong.values[id.0].constant = Some(broken(right.value(id), n, doubled));
            let found = judged(&wrong);
            // The next `quantize` tells, and no other; behind the last stands the output.
            assert_eq!(found.failed.len(), 1, "layer {layer}, channel {n}: {:?}", found.failed);
            let place = match layer {
                3 => "output t3".into(),
                _ => format!("`q{}`", layer + 1),
            };
            assert!(found.failed[0].contains(&place), "{}", found.failed[0]);
        }
    }
}
