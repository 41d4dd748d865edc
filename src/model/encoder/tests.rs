//! Ways to pool and heads, against their formulas.

use super::{Options, Pooling, Sentence, build, pool};
use crate::graph::weight::{Operand, Storage};
use crate::graph::{DataType, Function, Sizes, TensorType};
use crate::model::architectures::{Architecture, Model};
use crate::model::config::Config;
use crate::model::emit::{Emitter, Style, Weights};
use crate::model::parameters::{Checkpoint, Parameter};
use crate::runtime::{Reference, Tensor, Tensors};
use crate::target::Target;
use std::collections::BTreeMap;

fn array<T>(shape: &[usize], values: Vec<T>) -> ndarray::ArrayD<T> {
    ndarray::ArrayD::from_shape_vec(shape, values).unwrap()
}

fn ints(values: &[i32]) -> Tensor {
    Tensor::int(DataType::Int32, array(&[1, values.len()], values.to_vec()))
}

fn evaluate(function: &Function, inputs: &Tensors) -> BTreeMap<String, Vec<f32>> {
    let (reference, mut states) = (Reference::default(), Tensors::new());
    let outputs = reference.evaluate(function, inputs, &mut states, &mut |_| Ok(())).unwrap();
    let floats = |tensor: &Tensor| tensor.as_float().unwrap().iter().copied().collect();
    outputs.iter().map(|(name, tensor)| (name.clone(), floats(tensor))).collect()
}

/// The embedding of four tokens of two coordinates, the last of which is padding.
fn pooled(pooling: &[Pooling], normalize: bool) -> Vec<f32> {
    let weights = Weights::new(Vec::new(), Vec::new());
    let mut emitter = Emitter::new(&weights, DataType::Float16);
    let e = &mut emitter;
    let x = TensorType::fixed(DataType::Float16, &[1, 4, 2]);
    let x = e.input("x", x, Sizes::Fixed, "").unwrap();
    let mask = TensorType::fixed(DataType::Int32, &[1, 4]);
    let mask = e.input("mask", mask, Sizes::Fixed, "").unwrap();
    let count = e.ints(&[4]).unwrap();
    let sentence = Sentence { pooling: pooling.to_vec(), normalize, ..Sentence::default() };
    let tokens = pool::Tokens { x, mask, count };
    let y = pool::embedding(e, "y", &tokens, 2, &sentence).unwrap();
    e.builder().output(y, "");
    let function = emitter.finish();
    assert_eq!(function.check(Target::Ios16), []);
    let x = vec![1.0, -8.0, 2.0, -4.0, 6.0, -6.0, 100.0, 100.0];
    let inputs = Tensors::from([
        ("x".to_owned(), Tensor::float(DataType::Float16, array(&[1, 4, 2], x))),
        ("mask".to_owned(), ints(&[1, 1, 1, 0])),
    ]);
    evaluate(&function, &inputs)["y"].clone()
}

#[test]
fn every_way_to_pool_follows_its_formula() {
    let root = 3.0_f32.sqrt();
    for (pooling, want) in [
        (Pooling::First, [1.0, -8.0]),
        (Pooling::Max, [6.0, -4.0]),
        (Pooling::Mean, [3.0, -6.0]),
        (Pooling::MeanBySqrt, [9.0 / root, -18.0 / root]),
        (Pooling::WeightedMean, [(1.0 + 4.0 + 18.0) / 6.0, (-8.0 - 8.0 - 18.0) / 6.0]),
        (Pooling::Last, [6.0, -6.0]),
    ] {
        let got = pooled(&[pooling], false);
        let near = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{pooling:?}: {got:?}, not {want:?}");
    }
    assert_eq!(pooled(&[Pooling::Last, Pooling::First], false), [6.0, -6.0, 1.0, -8.0]);
    let unit = pooled(&[Pooling::Mean], true);
    let length = 45.0_f32.sqrt();
    assert!((unit[0] - 3.0 / length).abs() < 1e-6 && (unit[1] + 6.0 / length).abs() < 1e-6);
}

/// The values that a parameter has in these tests.
fn value(parameter: &Parameter, at: usize) -> f32 {
    let seed = parameter.name.len() * 31 + at * 17;
    (seed % 23) as f32 / 16.0 - 0.7
}

/// The model of a configuration, and the parameters that it asks for.
fn model(config: &str) -> (Vec<Parameter>, Model) {
    let config = Config::parse("config.json", config.as_bytes()).unwrap();
    let model_type = config.model_type().unwrap();
    let mut checkpoint = Checkpoint::new([]);
    let architecture = Architecture::find(model_type).unwrap();
    let model = architecture.describe(&config, &mut checkpoint, None, None).unwrap();
    (checkpoint.asked().to_vec(), model)
}

/// Outputs for three tokens.
fn outputs(parameters: &[Parameter], model: &Model) -> BTreeMap<String, Vec<f32>> {
    let Model::Encoder(encoder) = model else { panic!("no encoder") };
    let storage = |parameter: &Parameter| {
        let count = parameter.shape.iter().product();
        let bytes: Vec<u8> = (0..count).flat_map(|at| value(parameter, at).to_le_bytes()).collect();
        Storage::Dense(Operand::new(DataType::Float32, &parameter.shape, bytes))
    };
    let weights = Weights::new(parameters.to_vec(), parameters.iter().map(storage).collect());
    let (style, float) = (Style::Gpu, DataType::Float32);
    let options = Options { style, float, target: Target::Ios18, context: 6 };
    let program = build(encoder, &weights, &options).unwrap();
    let mut inputs = Tensors::from([
        ("input_ids".to_owned(), ints(&[3, 4, 5])),
        ("attention_mask".to_owned(), ints(&[1, 1, 1])),
    ]);
    let function = &program.functions["main"];
    if function.inputs.len() == 3 {
        inputs.insert("token_type_ids".into(), ints(&[0, 0, 1]));
    }
    evaluate(function, &inputs)
}

/// `NAME · x + b`.
fn dense(parameters: &[Parameter], name: &str, x: &[f32]) -> Vec<f32> {
    let find = |part: &str| {
        let name = format!("{name}.{part}");
        parameters.iter().find(|parameter| parameter.name == name).unwrap()
    };
    let (weight, bias) = (find("weight"), find("bias"));
    let inputs = weight.shape[1];
    let row = |row: usize| {
        let products = x.iter().enumerate().map(|(i, x)| x * value(weight, row * inputs + i));
        products.sum::<f32>() + value(bias, row)
    };
    (0..weight.shape[0]).map(row).collect()
}

#[test]
fn classifiers_of_each_architecture_read_the_first_token() {
    let bert = r#"{"model_type": "bert", "architectures": ["BertForSequenceClassification"],
        "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 8, "max_position_embeddings": 6, "id2label": {"0": "a", "1": "b", "2": "c"}}"#;
    let roberta = bert.replace("bert", "roberta").replace("Bert", "Roberta");
    let roberta =
        roberta.replace("\"max_position_embeddings\": 6", "\"max_position_embeddings\": 8");
    let distil = r#"{"model_type": "distilbert", "dim": 4, "hidden_dim": 6, "n_layers": 1, "n_heads": 2,
        "architectures": ["DistilBertForSequenceClassification"], "vocab_size": 8,
        "max_position_embeddings": 6}"#;
    let relu = |x: Vec<f32>| x.into_iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
    let tanh = |x: Vec<f32>| x.into_iter().map(f32::tanh).collect::<Vec<_>>();
    for (config, inner, out, labels) in [
        (bert, "bert.pooler.dense", "classifier", 3),
        (&roberta, "classifier.dense", "classifier.out_proj", 3),
        (distil, "pre_classifier", "classifier", 2),
    ] {
        let (parameters, model) = model(config);
        let got = outputs(&parameters, &model);
        let first = dense(&parameters, inner, &got["last_hidden_state"][..4]);
        let first = if inner == "pre_classifier" { relu(first) } else { tanh(first) };
        let want = dense(&parameters, out, &first);
        assert_eq!(want.len(), labels);
        let near = got["logits"].iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{inner}: {:?}, not {want:?}", got["logits"]);
    }
}

#[test]
fn types_of_tokens_are_given_where_pairs_are_judged() {
    let config = |class: &str| {
        format!(
            r#"{{"model_type": "bert", "architectures": ["{class}"], "hidden_size": 4,
                "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
                "vocab_size": 8, "max_position_embeddings": 6}}"#
        )
    };
    let inputs = |class: &str| {
        let (_, model) = model(&config(class));
        let Model::Encoder(encoder) = model else { panic!("no encoder") };
        encoder.types.unwrap().given
    };
    assert!(inputs("BertForSequenceClassification"));
    assert!(!inputs("BertModel"));
}

#[test]
fn keys_and_weights_that_do_not_fit_are_told() {
    let refused = |config: &str| {
        let config = Config::parse("config.json", config.as_bytes()).unwrap();
        let model_type = config.model_type().unwrap();
        let mut checkpoint = Checkpoint::new([]);
        let architecture = Architecture::find(model_type).unwrap();
        architecture.describe(&config, &mut checkpoint, None, None).unwrap_err().to_string()
    };
    let bert = r#"{"model_type": "bert", "hidden_size": 4, "intermediate_size": 6,
        "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8}"#;
    let with = |more: &str| refused(&bert.replace('}', &format!(", {more}}}")));
    let lines = [
        with(r#""is_decoder": true"#),
        with(r#""position_embedding_type": "relative_key""#),
        with(r#""pruned_heads": {"0": [1]}"#),
        with(r#""quantization_config": {"bits": 4}"#),
        refused(&bert.replace("\"num_attention_heads\": 2", "\"num_attention_heads\": 3")),
        refused(
            &bert
                .replace("\"bert\"", "\"roberta\"")
                .replace('}', ", \"max_position_embeddings\": 2}"),
        ),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    config.json: `is_decoder` is true; only false is supported
    config.json: `position_embedding_type` is "relative_key"; only "absolute" is supported
    config.json: `pruned_heads` is {"0":[1]}; only whole layers are supported
    config.json: keys that are not understood may change the arithmetic: `quantization_config`: {"bits":4}; set those that change nothing to null, or write the layers alone with --layer-package
    config.json: `num_attention_heads` is 3; it must divide the 4 hidden values
    config.json: `max_position_embeddings` is 2; 2 rows come before the first position
    "#);
    let config = Config::parse("config.json", bert.as_bytes()).unwrap();
    let shapes = [("cls.predictions.bias", &[8][..]), ("qa_outputs.bias", &[2][..])];
    let mut checkpoint = Checkpoint::new(shapes);
    let model_type = config.model_type().unwrap();
    let architecture = Architecture::find(model_type).unwrap();
    architecture.describe(&config, &mut checkpoint, None, None).unwrap();
    let told = checkpoint.finish("config.json").unwrap_err().to_string();
    assert!(told.contains("`bert.embeddings.LayerNorm.weight` [4] is missing"), "{told}");
    assert!(told.contains("`qa_outputs.bias` [2] is left over"), "{told}");
    assert!(!told.contains("cls.predictions"), "{told}");
}
