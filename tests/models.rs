//! Whole models from folders as Hugging Face writes them, against what transformers computed
//! (`fixtures/tiny/make.py`).

#[path = "models/chunks.rs"]
mod chunks;
#[path = "models/encoders.rs"]
mod encoders;
#[path = "models/golden.rs"]
mod golden;
#[path = "models/images.rs"]
mod images;
#[path = "models/steps.rs"]
mod steps;
#[path = "support/model.rs"]
mod support;

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use twolane::Result;
use twolane::execute::Engine;
use twolane::generate::{Sampler, generate};
use twolane::graph::weight::Storage;
use twolane::graph::{DataType, Function, Program};
use twolane::model::decoder::{Names, Options, Style};
use twolane::model::emit::Weights;
use twolane::model::{ENDS, LABELS, Whole};
use twolane::pipeline::{Job, prepare};
use twolane::plan::{self, Kv, Output};
use twolane::runtime::{Backend, Cpu, Mode, Reference, Shapes, Tensor, Tensors};
use twolane::source::Package;
use twolane::target::Target;
use twolane::validate;

const DECODERS: [&str; 12] = [
    "gemma2",
    "gemma3",
    "gpt2",
    "llama",
    "llama-linear",
    "llama-yarn",
    "mistral",
    "phi3",
    "phi3-longrope",
    "qwen2",
    "qwen3",
    "smollm3",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny").join(name)
}

/// FP32, with states or without: what a model computes before it is rounded for a package.
fn options(context: usize, kv: Option<Kv>) -> Options {
    Options {
        style: Style::Gpu,
        float: DataType::Float32,
        target: Target::Ios18,
        context,
        prefill_chunk: 5,
        names: Names::TRANSFORMERS,
        kv,
        argmax: false,
        last_row: false,
    }
}

/// The model in a folder, and its weights in FP32.
fn described(folder: &Path, context: Option<usize>) -> (Whole, Weights) {
    support::described(folder, &support::config(folder), DataType::Float32, context)
}

/// The decoder in a folder.
fn program(folder: &Path, options: &Options) -> Program {
    support::decoder(folder, &support::config(folder), options)
}

/// What transformers computed.
struct Expected(BTreeMap<String, (Vec<usize>, Vec<u8>)>);

impl Expected {
    fn of(name: &str) -> Self {
        let bytes = fs::read(folder(&format!("expected/{name}.safetensors"))).unwrap();
        let all = SafeTensors::deserialize(&bytes).unwrap();
        let one = |(name, view): (String, TensorView<'_>)| {
            (name, (view.shape().to_vec(), view.data().to_vec()))
        };
        Self(all.tensors().into_iter().map(one).collect())
    }

    fn words(&self, name: &str) -> Option<Vec<[u8; 4]>> {
        self.0.get(name).map(|(_, bytes)| bytes.as_chunks().0.to_vec())
    }

    fn ints(&self, name: &str) -> Vec<i32> {
        self.words(name).unwrap().into_iter().map(i32::from_le_bytes).collect()
    }

    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        Some(self.words(name)?.into_iter().map(f32::from_le_bytes).collect())
    }
}

/// The ids and logits of the longest text of a model.
fn text(name: &str) -> (Vec<i32>, Vec<f32>) {
    let expected = Expected::of(name);
    let prefix = if name == "phi3-longrope" { "long." } else { "" };
    let ids = expected.ints(&format!("{prefix}ids"));
    (ids, expected.floats(&format!("{prefix}logits")).unwrap())
}

fn int_tensor(shape: &[usize], values: &[i32]) -> Tensor {
    let array = ndarray::ArrayD::from_shape_vec(shape, values.to_vec()).unwrap();
    Tensor::int(DataType::Int32, array)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.as_float().unwrap().iter().copied().collect()
}

/// The largest difference over the largest magnitude.
fn apart(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    worst / want.iter().fold(0.0_f32, |most, x| most.max(x.abs()))
}

/// Logits of a text at once, and hidden values on the way.
fn whole(function: &Function, ids: &[i32]) -> (Vec<f32>, BTreeMap<String, Vec<f32>>) {
    let inputs = Tensors::from([("input_ids".to_owned(), int_tensor(&[1, ids.len()], ids))]);
    let shown = |name: &str| name.ends_with("mlp_sum") || name == "norm";
    let (outputs, hidden) = observed(function, &inputs, &shown);
    (values(&outputs["logits"]), hidden)
}

/// What a function returns, and what its values of these names are on the way.
fn observed(
    function: &Function,
    inputs: &Tensors,
    shown: &dyn Fn(&str) -> bool,
) -> (Tensors, BTreeMap<String, Vec<f32>>) {
    let mut hidden = BTreeMap::new();
    let mut observe = |step: &twolane::runtime::reference::Step<'_>| {
        for &id in &step.operation.outputs {
            let name = &function.value(id).name;
            if shown(name) {
                hidden.insert(name.clone(), values(step.value(id).unwrap()));
            }
        }
        Ok(())
    };
    let outputs = Reference::default();
    let outputs = outputs.evaluate(function, inputs, &mut Tensors::new(), &mut observe).unwrap();
    (outputs, hidden)
}

#[test]
fn logits_and_hidden_values_are_those_of_transformers() {
    let mut far = Vec::new();
    for name in DECODERS {
        let folder = folder(name);
        let expected = Expected::of(name);
        let prefixes: &[&str] = if name == "phi3-longrope" { &["short.", "long."] } else { &[""] };
        for prefix in prefixes {
            let ids = expected.ints(&format!("{prefix}ids"));
            let program = program(&folder, &options(ids.len(), None));
            let (logits, hidden) = whole(&program.functions["main"], &ids);
            let mut worst = apart(&logits, &expected.floats(&format!("{prefix}logits")).unwrap());
            let mut layers = 0;
            while let Some(want) = expected.floats(&format!("{prefix}hidden.{}", layers + 1)) {
                let last = !expected.0.contains_key(&format!("{prefix}hidden.{}", layers + 2));
                let got = if last { "norm".into() } else { format!("layers_{layers}_mlp_sum") };
                worst = worst.max(apart(&hidden[&got], &want));
                layers += 1;
            }
            assert!(layers > 1, "{name}: hidden values were compared");
            println!("{name} {prefix}: {worst:.1e} over {layers} layers");
            if worst > 1e-5 {
                far.push(format!("{name} {prefix}{worst:.1e}"));
            }
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

/// What the command line makes of a folder, in FP16 as it stands or quantized.
fn prepared(folder: &Path, out: &Path, scheme: &str, outputs: &[Output]) -> Result<Job> {
    let options = plan::Options {
        scheme: scheme.parse().unwrap(),
        min_elements: 1,
        outputs: outputs.iter().copied().collect(),
        output: Some(out.to_owned()),
        ..plan::Options::default()
    };
    prepare(folder, &options)
}

#[test]
fn weights_stored_by_input_are_quantized_by_output() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (folder("gpt2"), dir.path().join("out"));
    let checkpoint = fs::read(folder.join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&checkpoint).unwrap();
    const NAME: &str = "transformer.h.1.mlp.c_fc.weight";
    let by_input = stored.tensor(NAME).unwrap();
    let [inputs, outputs] = <[usize; 2]>::try_from(by_input.shape()).unwrap();

    let job = prepared(&folder, &out, "linear-int8", &[Output::Mlpackage, Output::Metal]).unwrap();
    let planned = job.plan().tensors.iter().find(|t| t.name == NAME).unwrap();
    assert_eq!(planned.shape, [outputs, inputs]);
    assert_eq!(planned.notes, ["transposed from Conv1D"]);
    assert!(!out.exists(), "a plan writes nothing");
    let report = job.run(&()).unwrap();
    assert_eq!(report.inputs[0].blake3, blake3::hash(&checkpoint).to_hex().as_str());
    let entries = fs::read_dir(&out).unwrap();
    let hidden = |name: &std::ffi::OsString| name.to_string_lossy().starts_with('.');
    assert!(!entries.map(|entry| entry.unwrap().file_name()).any(|name| hidden(&name)));

    let package = Package::open(&out).unwrap();
    let names = &package.program.metadata.user;
    let function = &package.program.functions["decode"];
    let (_, weight) = function
        .weights()
        .find(|(value, _)| names.get(&value.name).is_some_and(|name| name == NAME))
        .unwrap();
    let halves = by_input.data().as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32());
    let halves: Vec<f32> = halves.collect();
    let Storage::Linear { scale, .. } = &weight.storage else { panic!("no linear codes") };
    assert_eq!(scale.elements(), outputs, "a scale for each output");
    let got = weight.dequantize().unwrap();
    let (mut signal, mut noise) = (0.0, 0.0);
    for (at, y) in got.iter().enumerate() {
        let x = halves[at % inputs * outputs + at / inputs];
        (signal, noise) = (signal + x * x, noise + (x - y) * (x - y));
    }
    assert!(10.0 * (signal / noise).log10() > 40.0, "{signal} over {noise}");

    assert!(worst_weight(&out, &folder) > 40.0);
}

/// The SQNR in dB of the package's worst weight beside the source's.
fn worst_weight(package: &Path, against: &Path) -> f64 {
    let options = validate::Options {
        package: package.to_owned(),
        against: Some(against.to_owned()),
        golden: None,
        inputs: None,
        function: None,
        samples: 1,
        engines: vec![Engine::Cpu],
        mode: Mode::F32,
        logits: vec![],
        speed: false,
        text: None,
    };
    let found = validate::validate(&options, &()).unwrap();
    assert_eq!(found.findings, Vec::<String>::new());
    let decibels =
        found.layers.iter().map(|layer| layer.weights.as_ref().unwrap().sqnr_db.unwrap());
    decibels.fold(f64::INFINITY, f64::min)
}

#[test]
fn norms_are_folded_before_convolutions_are_quantized() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["resnet-basic", "resnet-bottleneck"] {
        let (folder, out) = (folder(name), dir.path().join(name));
        let outputs = [Output::Mlpackage, Output::Metal];
        let job = prepared(&folder, &out, "linear-int8", &outputs).unwrap();
        let named =
            |part: &str| job.plan().tensors.iter().filter(|t| t.name.contains(part)).count();
        assert_eq!(named("normalization"), named("num_batches_tracked"));
        assert_eq!(named("convolution.weight"), named("convolution.bias"));
        let plan = job.plan().tensors.iter().find(|t| t.name.contains("convolution.weight"));
        assert_eq!(plan.unwrap().notes, ["the batch norm behind it is folded in"]);
        assert_eq!(plan.unwrap().dtype, "F16");
        job.run(&()).unwrap();
        assert!(worst_weight(&out, &folder) > 35.0, "{name}");
        let package = Package::open(&out).unwrap();
        let labels = &package.program.metadata.user[LABELS];
        assert_eq!(labels, r#"["LABEL_0","LABEL_1","LABEL_2","LABEL_3","LABEL_4"]"#);
    }
}

/// A safetensors file's tensors as FP32, with types and shapes.
type Stored = BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<f32>)>;

fn stored(path: &Path) -> Stored {
    let bytes = fs::read(path).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let one = |(name, view): (String, TensorView<'_>)| {
        let values = match view.dtype() {
            safetensors::Dtype::F16 => {
                view.data().as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect()
            }
            safetensors::Dtype::F32 => {
                view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
            }
            _ => Vec::new(),
        };
        (name, (view.dtype(), view.shape().to_vec(), values))
    };
    all.tensors().into_iter().map(one).collect()
}

/// The dequantized file of a model, which a run of these outputs writes; and its schemes.
fn dense(name: &str, out: &Path, outputs: &[Output]) -> (Stored, Vec<String>) {
    let job = prepared(&folder(name), out, "linear-int8", outputs).unwrap();
    let tensors = job.plan().tensors.iter();
    let schemes = tensors.map(|t| format!("{} {:?} {}", t.name, t.scheme, t.rule)).collect();
    let planned = job.plan().outputs.clone();
    job.run(&()).unwrap();
    for output in planned {
        assert_eq!(fs::metadata(out.join(&output.path)).unwrap().len(), output.bytes, "{output:?}");
    }
    assert!(out.join("config.json").is_file(), "a program that loads it needs its description");
    (stored(&out.join("model.dequantized.safetensors")), schemes)
}

/// What the package's weights stand for, by their names in the checkpoint.
fn packed(out: &Path) -> BTreeMap<String, Vec<f32>> {
    let package = Package::open(out).unwrap();
    let names = &package.program.metadata.user;
    let functions = package.program.functions.values();
    let weights = functions.flat_map(Function::weights);
    let named = weights.filter_map(|(value, weight)| Some((names.get(&value.name)?, weight)));
    named.map(|(name, weight)| (name.clone(), weight.dequantize().unwrap())).collect()
}

#[test]
fn dense_weights_are_those_of_the_package_in_the_checkpoints_names_and_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = [Output::Mlpackage, Output::Dense];
    for name in ["gpt2", "resnet-basic", "resnet-bottleneck", "bert-prefix", "vit"] {
        let [out, alone] = ["out", "alone"].map(|kind| dir.path().join(format!("{name}-{kind}")));
        let (dense, schemes) = dense(name, &out, &outputs);
        let (again, same_schemes) = self::dense(name, &alone, &[Output::Dense]);
        assert!(dense == again, "{name}: by itself it is another file");
        assert_eq!(schemes, same_schemes, "{name}");
        let checkpoint = stored(&folder(name).join("model.safetensors"));
        let shapes = |all: &Stored| -> Vec<(String, Vec<usize>)> {
            all.iter().map(|(name, (_, shape, _))| (name.clone(), shape.clone())).collect()
        };
        assert_eq!(shapes(&dense), shapes(&checkpoint), "{name}");

        let (mut turned, mut folded) = (0, 0);
        for (weight, values) in packed(&out) {
            if let Some((_, shape, got)) = dense.get(&weight)
                && got.len() == values.len()
            {
                let conv1d = name == "gpt2" && weight.contains(".h.") && shape.len() == 2;
                turned += usize::from(conv1d);
                let of = |i: usize| match conv1d {
                    true => values[i % shape[1] * shape[0] + i / shape[1]],
                    false => values[i],
                };
                let same = got.iter().enumerate().all(|(i, &w)| w == of(i));
                assert!(same, "{name}: {weight}");
            } else {
                // What is left of a norm is the bias of a norm that does nothing else.
                let norm = weight.replace("convolution.bias", "normalization");
                let part = |part: &str| &dense[&format!("{norm}.{part}")].2;
                assert_eq!(*part("bias"), values, "{name}: {weight}");
                assert!(part("weight").iter().all(|&gain| gain == 1.0));
                assert!(part("running_mean").iter().all(|&mean| mean == 0.0));
                assert!(part("running_var").iter().all(|&v| v + 1e-5 == 1.0));
                folded += 1;
            }
        }
        assert_eq!(turned, if name == "gpt2" { 3 * 4 } else { 0 });
        assert_eq!(folded > 0, name.starts_with("resnet"));
    }
}

#[test]
fn a_gpt2_is_also_saved_without_a_prefix_and_with_its_mask() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(folder("gpt2").join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let renamed = |(name, view)| (String::from(name).replace("transformer.", ""), view);
    let mut tensors: Vec<_> = stored.iter().map(renamed).collect();
    let mask = TensorView::new(safetensors::Dtype::U8, vec![1, 1, 8, 8], &[1; 64]).unwrap();
    let masked = TensorView::new(safetensors::Dtype::F32, vec![], &[0; 4]).unwrap();
    tensors.push(("h.0.attn.bias".into(), mask));
    tensors.push(("h.2.attn.masked_bias".into(), masked.clone()));
    let path = dir.path().join("model.safetensors");
    safetensors::serialize_to_file(tensors.clone(), None, &path).unwrap();
    fs::copy(folder("gpt2").join("config.json"), dir.path().join("config.json")).unwrap();
    let expected = Expected::of("gpt2");
    let ids = expected.ints("ids");
    let program = program(dir.path(), &options(ids.len(), None));
    let (logits, _) = whole(&program.functions["main"], &ids);
    assert!(apart(&logits, &expected.floats("logits").unwrap()) <= 1e-5);

    let outputs = [Output::Mlpackage];
    let job = prepared(dir.path(), &dir.path().join("out"), "palette-4", &outputs).unwrap();
    job.run(&()).unwrap();

    tensors.push(("h.0.attn.other".into(), masked));
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    let refused = prepared(dir.path(), &dir.path().join("out"), "palette-4", &outputs);
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("`h.0.attn.other` [] is left over"), "{refused}");
}

fn ane(context: usize, kv: Kv, target: Target) -> Options {
    Options { style: Style::Ane, target, ..options(context, Some(kv)) }
}

/// Packages over caches: of each style, with every place for keys and values.
fn forms(context: usize) -> [Options; 4] {
    [
        options(context, Some(Kv::State)),
        ane(context, Kv::State, Target::Ios18),
        ane(context, Kv::Io, Target::Ios18),
        ane(context, Kv::Io, Target::Ios16),
    ]
}

/// What a form is called where it fails.
fn called(Options { style, kv, target, .. }: &Options) -> String {
    format!("{style:?} {} {target}", kv.map(|kv| kv.to_string()).unwrap_or_default())
}

#[test]
fn any_split_of_a_text_into_steps_gives_the_same_up_to_a_full_cache() {
    let backends: [fn() -> Box<dyn Backend>; 2] =
        [|| Box::new(Reference::default()), || Box::new(Cpu)];
    for name in DECODERS {
        let (ids, want) = text(name);
        for form in forms(ids.len()) {
            let program = program(&folder(name), &form);
            for backend in backends {
                let mut session = support::session(&program, backend());
                // The last step of the first and of the third is padded beyond the end.
                for split in [&[5, 5, 5, 5, 4][..], &[1, 3, 5, 1, 1, 4, 5, 2, 2], &[24]] {
                    assert_eq!(split.iter().sum::<usize>(), ids.len());
                    session.restart();
                    let mut got = Vec::new();
                    for &count in split {
                        let at = session.position();
                        let step = &ids[at..at + count];
                        session.feed_each(step, &mut |_, row| got.extend_from_slice(row)).unwrap();
                    }
                    let worst = apart(&got, &want);
                    let who = backend().name();
                    let what = format!("{name} {} {split:?} on {who}", called(&form));
                    assert!(worst <= 1e-5, "{what}: {worst:.1e}");
                }
                assert!(session.feed(&[1]).is_err(), "a full cache takes no more");
            }
        }
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for name in DECODERS {
        let expected = Expected::of(name);
        let (prefix, given) = if name == "phi3-longrope" { ("long.", 24) } else { ("", 8) };
        let ids = expected.ints(&format!("{prefix}ids"));
        let want = expected.ints(&format!("{prefix}greedy"));
        for form in forms(given + want.len()) {
            let program = program(&folder(name), &form);
            let mut session = support::session(&program, Box::new(Cpu));
            let mut sampler = Sampler::new(0.0, 0).unwrap();
            let listen = &mut |_| Ok(std::ops::ControlFlow::Continue(()));
            let most = want.len();
            let got = generate(&mut session, &ids[..given], &mut sampler, most, &[], listen);
            assert_eq!(got.unwrap().ids, want, "{name} {}", called(&form));
        }
    }
}

#[test]
fn the_likeliest_token_is_an_output_where_it_is_asked_for() {
    let expected = Expected::of("llama");
    let ids = expected.ints("ids");
    let width = expected.floats("logits").unwrap().len() / ids.len();
    for (style, kv) in [(Style::Gpu, None), (Style::Ane, Some(Kv::Io))] {
        let asked = Options { style, kv, argmax: true, ..options(ids.len(), None) };
        let program = program(&folder("llama"), &asked);
        for function in program.functions.values() {
            let inputs = twolane::execute::draw(function, "next", &Shapes::new()).unwrap();
            let mut prepared = Cpu.prepare(function, &Default::default()).unwrap();
            let mut outputs = Tensors::new();
            prepared.run(&inputs, &mut Tensors::new(), &mut outputs).unwrap();
            let best = |row: &[f32]| {
                (0..width).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as i32
            };
            let logits = values(&outputs["logits"]);
            let want: Vec<i32> = logits.chunks(width).map(best).collect();
            let next = outputs["next_token"].as_int().unwrap();
            assert_eq!(next.iter().copied().collect::<Vec<_>>(), want);
        }
    }
}

/// A copy of a fixture with another text in one of its files.
fn changed(name: &str, file: &str, text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::write(dir.path().join(file), text).unwrap();
    dir
}

#[test]
fn texts_end_where_generation_ends_them_and_where_the_configuration_does() {
    let out = tempfile::tempdir().unwrap();
    let dir = changed("llama", "generation_config.json", r#"{"eos_token_id": [7, 3]}"#);
    let job = prepared(dir.path(), &out.path().join("q"), "float16", &[Output::Mlpackage]);
    job.unwrap().run(&()).unwrap();
    let package = Package::open(&out.path().join("q")).unwrap();
    assert_eq!(package.program.metadata.user[ENDS], "7,3,2");
    let adapted = changed("llama", "adapter_config.json", "{}");
    let refused = prepared(adapted.path(), &out.path().join("a"), "float16", &[Output::Mlpackage]);
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("merge it first"), "{refused}");
}

#[test]
fn a_chunk_that_is_asked_for_is_never_another() {
    let prepared = |context, prefill_chunk| {
        let model =
            plan::ModelOptions { context: Some(context), prefill_chunk, ..Default::default() };
        let scheme = "float16".parse().unwrap();
        let outputs = [Output::Mlpackage].into();
        let out = Some("unwritten".into());
        let options = plan::Options { scheme, model, outputs, output: out, ..Default::default() };
        prepare(&folder("llama"), &options).map(|_| ())
    };
    prepared(40, None).unwrap();
    prepared(40, Some(20)).unwrap();
    prepared(2, None).unwrap();
    let told = |context, chunk| prepared(context, chunk).unwrap_err().to_string();
    assert!(told(40, Some(21)).contains("less than two calls of 21 tokens"));
    assert!(told(40, Some(usize::MAX)).contains("choose a smaller --prefill-chunk"));
    assert!(told(1, None).contains("has 2 tokens at the least"));
}
