//! Encoders: hidden values and every output, by themselves and padded.

use super::{Expected, apart, changed, folder, int_tensor, prepared, support, values};
use std::collections::BTreeMap;
use std::path::Path;
use twolane::graph::{DataType, Function, Program};
use twolane::model::LABELS;
use twolane::model::architectures::Model;
use twolane::model::emit::Style;
use twolane::model::encoder::{self, Options};
use twolane::plan;
use twolane::runtime::{Backend, Cpu, Reference, Shapes, Tensors};
use twolane::source::Package;
use twolane::target::Target;

/// Folders, and the outputs of their packages.
const ENCODERS: [(&str, &[&str]); 6] = [
    ("bert", &["last_hidden_state", "pooler_output"]),
    ("bert-prefix", &["last_hidden_state", "pooler_output", "logits"]),
    ("distilbert", &["last_hidden_state"]),
    ("roberta", &["last_hidden_state", "pooler_output"]),
    ("sentence-bert", &["sentence_embedding"]),
    ("sentence-roberta", &["sentence_embedding"]),
];

/// The model in a folder in FP32, for this target; for the Neural Engine, of texts of `fixed` tokens.
fn program(folder: &Path, target: Target, fixed: Option<usize>) -> Program {
    let config = support::config(folder);
    let (whole, weights) = support::described(folder, &config, DataType::Float32, None);
    let Model::Encoder(described) = &whole.model else { panic!("no encoder") };
    let (style, context) = match fixed {
        None => (Style::Gpu, described.usual()),
        Some(count) => (Style::Ane, count),
    };
    let options = Options { style, float: DataType::Float32, target, context };
    encoder::build(described, &weights, &options).unwrap()
}

/// What the function takes for a text of `count` tokens, padded to the length of `ids`.
fn inputs(function: &Function, ids: &[i32], count: usize) -> Tensors {
    let shape = [1, ids.len()];
    let mask: Vec<i32> = (0..ids.len()).map(|at| i32::from(at < count)).collect();
    let mut inputs = Tensors::from([
        ("input_ids".to_owned(), int_tensor(&shape, ids)),
        ("attention_mask".to_owned(), int_tensor(&shape, &mask)),
    ]);
    if function.inputs.len() == 3 {
        inputs.insert("token_type_ids".into(), int_tensor(&shape, &vec![0; ids.len()]));
    }
    inputs
}

/// Outputs by the definition, with hidden values on the way as `hidden.N`.
fn evaluate(function: &Function, inputs: &Tensors) -> BTreeMap<String, Vec<f32>> {
    let mut seen = BTreeMap::new();
    let mut observe = |step: &twolane::runtime::reference::Step<'_>| {
        for &id in &step.operation.outputs {
            let name = function.value(id).name.as_str();
            let layer = name.strip_prefix("layers_").and_then(|n| n.strip_suffix("_mlp_norm"));
            let number = match (name, layer) {
                ("embedded_norm", _) => 0,
                // Of three layers.
                ("last_hidden_state", _) => 3,
                (_, Some(layer)) => layer.parse::<usize>().unwrap() + 1,
                (_, None) => continue,
            };
            seen.insert(format!("hidden.{number}"), values(step.value(id).unwrap()));
        }
        Ok(())
    };
    let outputs = Reference::default();
    let outputs = outputs.evaluate(function, inputs, &mut Tensors::new(), &mut observe).unwrap();
    seen.extend(outputs.iter().map(|(name, tensor)| (name.clone(), values(tensor))));
    seen
}

#[test]
fn hidden_values_and_outputs_are_those_of_transformers_alone_and_padded() {
    for (name, outputs) in ENCODERS {
        let folder = folder(name);
        let expected = Expected::of(name);
        let (ids, mask) = (expected.ints("input_ids"), expected.ints("attention_mask"));
        for target in [Target::Ios16, Target::Ios18] {
            let program = program(&folder, target, None);
            let function = &program.functions["main"];
            let named: Vec<_> =
                function.outputs.iter().map(|o| function.value(o.value).name.as_str()).collect();
            assert_eq!(named, outputs, "{name}");
            let (mut worst, mut compared) = (0.0_f32, 0);
            for (row, (ids, mask)) in ids.chunks(12).zip(mask.chunks(12)).enumerate() {
                let count = mask.iter().filter(|&&shown| shown == 1).count();
                for length in [count, 12] {
                    let inputs = inputs(function, &ids[..length], count);
                    let got = evaluate(function, &inputs);
                    for (output, got) in &got {
                        let want = expected.floats(output).unwrap();
                        let want = &want[row * want.len() / 2..][..want.len() / 2];
                        // Of a text by itself, transformers computed these tokens beside padding.
                        worst = worst.max(apart(got, &want[..got.len()]));
                        compared += 1;
                    }
                    let shapes = inputs.keys().map(|name| (name.clone(), vec![1, length]));
                    let shapes: Shapes = shapes.collect();
                    let mut fast = Tensors::new();
                    let mut prepared = Cpu.prepare(function, &shapes).unwrap();
                    prepared.run(&inputs, &mut Tensors::new(), &mut fast).unwrap();
                    for output in outputs {
                        worst = worst.max(apart(&values(&fast[*output]), &got[*output]));
                    }
                }
            }
            assert_eq!(compared, 4 * (4 + outputs.len()), "{name}");
            println!("{name} {target}: {worst:.1e}");
            assert!(worst <= 1e-5, "{name} {target}: {worst}");
        }
    }
}

#[test]
fn channels_first_give_the_same() {
    const LENGTH: usize = 12;
    for (name, outputs) in ENCODERS {
        let expected = Expected::of(name);
        let (ids, mask) = (expected.ints("input_ids"), expected.ints("attention_mask"));
        for target in [Target::Ios16, Target::Ios18] {
            let program = program(&folder(name), target, Some(LENGTH));
            let function = &program.functions["main"];
            assert_eq!(function.check(target), [], "{name}");
            let mut worst = 0.0_f32;
            for (row, (ids, mask)) in ids.chunks(LENGTH).zip(mask.chunks(LENGTH)).enumerate() {
                let count = mask.iter().filter(|&&shown| shown == 1).count();
                let inputs = inputs(function, ids, count);
                let slow = evaluate(function, &inputs);
                let mut fast = Tensors::new();
                let mut prepared = Cpu.prepare(function, &Shapes::new()).unwrap();
                prepared.run(&inputs, &mut Tensors::new(), &mut fast).unwrap();
                for &output in outputs {
                    let want = expected.floats(output).unwrap();
                    let want = &want[row * want.len() / 2..][..want.len() / 2];
                    // Positions of padding are anybody's: nobody sees those tokens.
                    let shown = match output {
                        "last_hidden_state" => want.len() / LENGTH * count,
                        _ => want.len(),
                    };
                    for got in [&slow[output], &values(&fast[output])] {
                        assert_eq!(got.len(), want.len(), "{name}, {output}");
                        worst = worst.max(apart(&got[..shown], &want[..shown]));
                    }
                }
            }
            println!("{name} {target}: {worst:.1e}");
            assert!(worst <= 1e-5, "{name} {target}: {worst}");
        }
    }
}

#[test]
fn what_stands_behind_the_mask_changes_nothing() {
    for (name, outputs) in ENCODERS {
        let program = program(&folder(name), Target::Ios18, None);
        let function = &program.functions["main"];
        let text = [5, 17, 60, 33, 8];
        let of = |padding: &[i32]| {
            let ids = [&text[..], padding].concat();
            evaluate(function, &inputs(function, &ids, text.len()))
        };
        let (alone, padded) = (of(&[]), of(&[2, 95, 1, 0]));
        for output in outputs {
            let (got, want) = (&padded[*output], &alone[*output]);
            assert!(apart(&got[..want.len()], want) <= 1e-6, "{name}, {output}");
        }
    }
}

#[test]
fn robertas_under_other_names_are_the_same_model() {
    let config = std::fs::read_to_string(folder("roberta").join("config.json")).unwrap();
    let expected = Expected::of("roberta");
    let (ids, mask) = (expected.ints("input_ids"), expected.ints("attention_mask"));
    let count = mask[..12].iter().filter(|&&shown| shown == 1).count();
    let run = |folder: &Path| {
        let program = program(folder, Target::Ios18, None);
        let function = &program.functions["main"];
        evaluate(function, &inputs(function, &ids[..12], count))
    };
    let want = run(&folder("roberta"));
    for name in ["xlm-roberta", "camembert"] {
        let named =
            config.replace(r#""model_type": "roberta""#, &format!(r#""model_type": "{name}""#));
        assert_ne!(named, config);
        assert_eq!(run(changed("roberta", "config.json", &named).path()), want, "{name}");
    }
}

#[test]
fn texts_may_be_longer_than_sentence_transformers_cuts_them_where_positions_last() {
    let dir = changed("sentence-bert", "sentence_bert_config.json", r#"{"max_seq_length": 6}"#);
    let pooling = std::fs::read(folder("sentence-bert").join("1_Pooling/config.json")).unwrap();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    std::fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
    let planned = |context| {
        let model = plan::ModelOptions { context, ..Default::default() };
        let scheme = "float16".parse().unwrap();
        let outputs = [plan::Output::Mlpackage].into();
        let output = Some("unwritten".into());
        let options = plan::Options { scheme, model, outputs, output, ..Default::default() };
        twolane::pipeline::prepare(dir.path(), &options).map(|job| job.plan().to_text(None))
    };
    let cut = "beyond the 6 tokens to which sentence-transformers cuts";
    let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let usual = flat(planned(None).unwrap());
    assert!(usual.contains("context 6") && !usual.contains(cut), "{usual}");
    let longer = flat(planned(Some(12)).unwrap());
    assert!(longer.contains("context 12") && longer.contains(cut), "{longer}");
    assert!(planned(Some(1000)).unwrap_err().to_string().contains("has positions for"));
}

#[test]
fn a_classifier_of_texts_names_its_classes() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = [plan::Output::Mlpackage];
    let job = prepared(&folder("bert-prefix"), &dir.path().join("q"), "float16", &outputs);
    job.unwrap().run(&()).unwrap();
    let package = Package::open(&dir.path().join("q")).unwrap();
    let labels = &package.program.metadata.user[LABELS];
    assert_eq!(labels, r#"["LABEL_0","LABEL_1","LABEL_2"]"#);
}
