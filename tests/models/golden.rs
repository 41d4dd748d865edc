//! Golden vectors of models: ranges at both ends, and texts in steps.

use super::{apart, folder, values};
use ndarray::{ArrayD, IxDyn};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use twolane::execute::Engine;
use twolane::generate::Session;
use twolane::graph::DataType;
use twolane::model::decoder::ane::Host;
use twolane::pipeline::prepare;
use twolane::plan::{self, Kv, ModelOptions, Output, PrefillLogits, Unit};
use twolane::report::validation::Limits;
use twolane::runtime::{Mode, Reference, Tensor};
use twolane::source::Package;
use twolane::target::Target;
use twolane::validate;

/// Converts a model with golden vectors; the output folder.
fn recorded(name: &str, scheme: &str, golden: usize, target: Target, dir: &Path) -> PathBuf {
    with(name, scheme, golden, target, ModelOptions::default(), dir)
}

fn with(
    name: &str,
    scheme: &str,
    golden: usize,
    target: Target,
    model: ModelOptions,
    dir: &Path,
) -> PathBuf {
    let out = dir.join(name);
    let options = plan::Options {
        scheme: scheme.parse().unwrap(),
        min_elements: 1,
        outputs: [Output::Mlpackage, Output::Golden].into(),
        output: Some(out.clone()),
        force: true,
        target,
        golden,
        model,
        ..plan::Options::default()
    };
    prepare(&folder(name), &options).unwrap().run(&()).unwrap();
    out
}

/// Every tensor of the golden file, as numbers.
fn golden(out: &Path) -> BTreeMap<String, Tensor> {
    let mut files = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.to_string_lossy().ends_with(validate::golden::ENDING));
    let bytes = fs::read(file.unwrap()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        use safetensors::Dtype;
        let shape = IxDyn(view.shape());
        let words = || view.data().as_chunks::<4>().0.iter();
        let floats =
            |all| Tensor::float(DataType::Float32, ArrayD::from_shape_vec(shape, all).unwrap());
        let tensor = match view.dtype() {
            Dtype::F32 => floats(words().map(|b| f32::from_le_bytes(*b)).collect()),
            Dtype::I32 => floats(words().map(|b| i32::from_le_bytes(*b) as f32).collect()),
            Dtype::F16 => {
                let half = |b: &[u8; 2]| half::f16::from_le_bytes(*b).to_f32();
                floats(view.data().as_chunks().0.iter().map(half).collect())
            }
            other => panic!("{name} is {other:?}"),
        };
        (name, tensor)
    };
    file.tensors().into_iter().map(tensor).collect()
}

#[test]
fn ranges_are_recorded_at_both_ends_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    // An input, and its shapes: the middle, the largest, the smallest.
    type Case<'a> = (&'a str, &'a str, Target, [&'a [usize]; 3]);
    #[rustfmt::skip]
    let cases: [Case<'_>; 4] = [
        ("bert",          "input_ids",    Target::Ios18, [&[1, 13], &[1, 24], &[1, 2]]),
        ("sentence-bert", "input_ids",    Target::Ios18, [&[1, 11], &[1, 20], &[1, 2]]),
        ("resnet-basic",  "pixel_values", Target::Ios18, [&[1, 3, 48, 48], &[1, 3, 64, 64], &[1, 3, 32, 32]]),
        ("llama",         "input_ids",    Target::Ios17, [&[1, 33], &[1, 64], &[1, 2]]),
    ];
    for (name, input, target, shapes) in cases {
        let out = recorded(name, "linear-int8", 3, target, dir.path());
        let golden = golden(&out);
        let shape = |step| golden[&format!("main.step{step}.in.{input}")].shape();
        assert_eq!([shape(0), shape(1), shape(2)], shapes, "{name}");
        if let Some(mask) = golden.get("main.step1.in.attention_mask") {
            let tokens = values(mask).iter().filter(|&&token| token == 1.0).count();
            assert_eq!(tokens, shapes[1][1] * 3 / 4, "{name}: the last quarter is padding");
            assert!(values(&golden["main.step0.in.attention_mask"]).iter().all(|&x| x == 1.0));
        }
        let options = validate::Options {
            package: out,
            against: None,
            golden: None,
            inputs: None,
            function: None,
            samples: 1,
            engines: vec![Engine::Reference, Engine::Cpu],
            mode: Mode::F32,
            logits: vec![],
            speed: false,
            text: None,
        };
        let mut found = validate::validate(&options, &()).unwrap();
        found.judge(&Limits { min_sqnr_db: Some(15.0), ..Limits::default() });
        assert_eq!(found.failed, Vec::<String>::new(), "{name}");
        assert!(found.outputs.iter().all(|output| output.figures.noise > 0.0), "{name}");
        let all: usize = (0..3)
            .flat_map(|step| {
                let of = format!("main.step{step}.out.");
                golden.iter().filter(move |(key, _)| key.starts_with(&of))
            })
            .map(|(_, tensor)| tensor.shape().iter().product::<usize>())
            .sum();
        let compared: u64 = found.outputs.iter().map(|output| output.figures.elements).sum();
        assert_eq!(compared, all as u64, "{name}: every step");
    }
}

#[test]
fn steps_of_a_text_are_those_that_a_session_feeds() {
    let dir = tempfile::tempdir().unwrap();
    let of = |unit, kv| ModelOptions {
        context: Some(24),
        prefill_chunk: Some(8),
        unit,
        kv: Some(kv),
        ..ModelOptions::default()
    };
    // The windows of gemma3 and mistral are shorter than the context.
    for name in ["gemma3", "mistral", "gpt2"] {
        for (unit, kv) in [(Unit::Gpu, Kv::State), (Unit::Ane, Kv::State), (Unit::Ane, Kv::Io)] {
            for rows in [PrefillLogits::Last, PrefillLogits::All] {
                let model = ModelOptions { prefill_logits: Some(rows), ..of(unit, kv) };
                let out = with(name, "float16", 5, Target::Ios18, model, dir.path());
                let golden = golden(&out);
                let package = Package::open(&out).unwrap();
                let host = Host::of(&package.program).unwrap();
                for (function, count) in [("prefill", 8), ("decode", 1)] {
                    let backend = Box::new(Reference::default());
                    let only = [&package.program.functions[function]];
                    let mut session = Session::open(only, host.as_ref(), backend).unwrap();
                    for step in 0..5 {
                        if session.position() + count > session.context() {
                            session.restart();
                        }
                        let key = |part: &str| format!("{function}.step{step}.{part}");
                        let ids = values(&golden[&key("in.input_ids")]);
                        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
                        assert_eq!(ids.len(), count);
                        let want = session.feed(&ids).unwrap();
                        let got = values(&golden[&key("out.logits")]);
                        let last = &got[got.len() - want.len()..];
                        let far = apart(last, &want);
                        let what = format!("{name} {unit:?} {kv:?} {rows:?} {}", key(""));
                        // The package has the weights in FP16.
                        assert!(far <= 1e-2, "{what}: {far:.1e}");
                    }
                }
            }
        }
    }
}
