//! Parts of functions by themselves.

use super::Decoder;
use super::ane::{HOST, Host};
use super::build::only;
use crate::graph::{DataType, Program, Sizes, TensorType};
use crate::model::architectures::{Architecture, Model};
use crate::model::config::Config;
use crate::model::emit::{Emitter, Style, Weights};
use crate::model::parameters::Checkpoint;
use crate::runtime::{Reference, Tensor, Tensors};

/// A decoder of two hidden values.
fn decoder() -> Decoder {
    let config = r#"{"model_type": "llama", "hidden_size": 2, "intermediate_size": 2, "vocab_size": 2,
        "num_hidden_layers": 1, "num_attention_heads": 1}"#;
    let config = Config::parse("config.json", config.as_bytes()).unwrap();
    let architecture = Architecture::find(config.model_type().unwrap()).unwrap();
    let model = architecture.describe(&config, &mut Checkpoint::new([]), None, None).unwrap();
    let Model::Decoder(decoder) = model else { panic!("no decoder") };
    *decoder
}

#[test]
fn the_row_asked_for_is_whole_beside_rows_that_overflowed() {
    let weights = Weights::new(Vec::new(), Vec::new());
    let mut emitter = Emitter::new(&weights, DataType::Float16).with_style(Style::Ane);
    let e = &mut emitter;
    let mut input = |name: &str, shape: &[usize]| {
        let ty = TensorType::fixed(DataType::Float16, shape);
        e.input(name, ty, Sizes::Fixed, "").unwrap()
    };
    let (x, row) = (input("x", &[1, 2, 1, 3]), input("row", &[1, 1, 1, 3]));
    let y = only(e, &decoder(), x, row).unwrap();
    e.builder().output(y, "");
    let function = emitter.finish();
    let tensor = |shape: &[usize], values: &[f32]| {
        let values = ndarray::ArrayD::from_shape_vec(shape, values.to_vec()).unwrap();
        Tensor::float(DataType::Float16, values)
    };
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let inputs = Tensors::from([
        ("x".to_owned(), tensor(&[1, 2, 1, 3], &[inf, 2.0, nan, -inf, 4.0, inf])),
        ("row".to_owned(), tensor(&[1, 1, 1, 3], &[0.0, 1.0, 0.0])),
    ]);
    let reference = Reference::default();
    let outputs = reference.evaluate(&function, &inputs, &mut Tensors::new(), &mut |_| Ok(()));
    let y: Vec<f32> = outputs.unwrap()["last"].as_float().unwrap().iter().copied().collect();
    assert_eq!(y, [2.0, 4.0]);
}

#[test]
fn caches_that_hold_less_than_a_token_sees_are_refused() {
    let of = |context: usize, length: usize, window: Option<usize>| {
        let bank = serde_json::json!({"window": window, "length": length, "mask": "m", "update": "u",
            "carried": {}});
        let host = serde_json::json!({"context": context, "rotations": [], "caches": [bank]});
        let mut program = Program::default();
        program.metadata.user.insert(HOST.into(), host.to_string());
        Host::of(&program).map(|host| host.is_some())
    };
    assert!(of(256, 256, None).unwrap() && of(256, 40, Some(32)).unwrap());
    assert!(of(16, 16, Some(32)).unwrap(), "a text is never longer");
    for (context, length, window) in
        [(256, 255, None), (256, 0, None), (256, 31, Some(32)), (256, 40, Some(0)), (0, 8, None)]
    {
        let words = of(context, length, window).unwrap_err().to_string();
        assert!(words.contains("fewer columns than a token sees"), "{words}");
    }
}
