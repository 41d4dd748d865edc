//! Parts of functions by themselves.

use super::Decoder;
use super::build::only;
use crate::graph::{DataType, Sizes, TensorType};
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
