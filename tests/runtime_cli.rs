//! `quantize run`, `validate` and `--golden` as their users meet them.
//!
//! Packages are made by the main command from `fixtures/digits.safetensors`. What others made lies
//! beside the repository, in `../shared`, or in the folder that `TWOLANE_SHARED` names; without it
//! those tests say so and pass.

#[path = "support/bench.rs"]
mod bench;

use bench::Bench;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use twolane::source::Source;

/// A bench with `q`, the digits network as `words` say.
fn with_digits(words: &[&str]) -> Bench {
    let bench = Bench::new();
    let digits = digits();
    let said = bench.run(&[&[digits.as_str(), "-o", "q", "--quiet"], words].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    bench
}

fn digits() -> String {
    format!("{}/fixtures/digits.safetensors", env!("CARGO_MANIFEST_DIR"))
}

/// The folder of shared fixtures, where there is one.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let dir = std::env::var_os("TWOLANE_SHARED").map_or(beside, PathBuf::from).join("fixtures");
    if !dir.is_dir() {
        println!("skipped: no ../shared");
        return None;
    }
    Some(dir)
}

/// The elements of an F32 tensor of a file.
fn floats(file: &Source, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap_or_else(|| panic!("{name}"));
    let weights = file.weights(tensor).expect("floating-point numbers");
    let mut values = vec![0.0; weights.len()];
    weights.decode(0..weights.len(), &mut values);
    values
}

#[test]
fn a_package_validates_against_its_checkpoint() {
    let bench = with_digits(&[]);
    let digits = digits();
    let words = ["validate", "q", "--against", &digits, "--skip-speed", "--min-sqnr", "40"];
    let said = bench.run(&words);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    // The memory depends on the machine, and the last digits of sums on its kernels.
    let varies = |line: &&str| {
        line.starts_with("peak memory") || line.starts_with("reference and") || line.is_empty()
    };
    let told: Vec<_> = said.out.lines().filter(|line| !varies(line)).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    digits.mlpackage against digits.safetensors
    inputs: drawn, one sample for each of 3 functions
    layer       operation  shape      stored as         weight dB  output dB    cosine  max error
    fc2.weight  linear     [96, 160]  int8, 96 scales       43.67      43.73  0.999979    0.04344
    fc1.weight  linear     [160, 64]  int8, 160 scales      44.47      44.56  0.999982    0.03934
    3 outputs of 3 functions: the worst 43.73 dB (fc2_weight), cosine at least 0.999979
    not proven: sums beyond a Neural Engine's accumulator: --mode ane looks for them
    not proven: how a device runs it: nothing ran on Apple hardware
    passed
    ");

    let found = bench.json(&["validate", "q", "--against", &digits]);
    assert_eq!(found["failed"], Value::Array(vec![]));
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2, "fc3 is small and stays in float");
    assert_eq!(layers[0]["weight"], "fc1.weight");
    // The report's own figure, measured while the weight was quantized.
    let report = bench.json(&["inspect", "q"]);
    let fc1 = report["tensors"].as_array().unwrap().iter().find(|t| t["name"] == "fc1.weight");
    let (here, there) = (&layers[0]["weights"]["sqnr_db"], &fc1.unwrap()["error"]["sqnr_db"]);
    assert!((here.as_f64().unwrap() - there.as_f64().unwrap()).abs() < 1e-6, "{here} {there}");
    let speed = found["speed"].as_array().unwrap();
    assert_eq!(speed.len(), 6, "three functions on two backends");
    for speed in speed {
        let figure = |name: &str| speed[name].as_f64().unwrap();
        assert!(figure("p5_ms") <= figure("median_ms") && figure("median_ms") <= figure("p95_ms"));
        assert!(figure("runs") >= 5.0 && figure("gmac_per_second") > 0.0);
    }
    let fc1 = speed.iter().find(|speed| speed["function"] == "fc1_weight").unwrap();
    assert_eq!((fc1["macs"].as_u64(), fc1["units"].as_u64()), (Some(64 * 64 * 160), Some(64)));
    // Codes, scales and bias; x; y.
    let bytes = 160 * 64 + 160 * 2 + 160 * 2 + 64 * 64 * 2 + 64 * 160 * 2;
    assert_eq!(fc1["bytes_moved"].as_u64(), Some(bytes));
    assert!(found["probe"]["gb_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn limits_decide_the_exit_code() {
    let bench = with_digits(&["--scheme", "palette-4"]);
    let digits = digits();
    let validate = |limit: &[&str]| {
        let words = ["validate", "q", "--against", &digits, "--skip-speed", "--quiet"];
        bench.run(&[&words, limit].concat())
    };
    for (limit, code) in [
        (&["--min-sqnr", "15"][..], 0),
        (&["--min-sqnr", "30"], 1),
        (&["--min-cosine", "0.98"], 0),
        (&["--min-cosine", "0.9999"], 1),
        (&["--max-kl", "1", "--logits", "y"], 0),
        (&["--max-kl", "1e-9", "--logits", "y"], 1),
        (&["--max-kl", "1"], 1),
        (&["--min-sqnr", "nan"], 2),
        (&["--on", "gpu"], 2),
    ] {
        let said = validate(limit);
        assert_eq!(said.code, code, "{limit:?}: {}{}", said.out, said.err);
        assert_eq!(said.out, "", "quiet");
        assert_eq!(said.err.starts_with("failed: "), code == 1, "{limit:?}: {}", said.err);
    }
    let said = bench.run(&["validate", "q", "--skip-speed", "--min-cosine", "0.5"]);
    assert_eq!(said.code, 1, "nothing was compared: {}", said.out);
    assert!(said.out.contains("not proven: that the outputs are right"), "{}", said.out);
}

#[test]
fn inspect_takes_the_same_limits() {
    let bench = with_digits(&["--golden", "1"]);
    let inspect = |limit: &[&str]| bench.run(&[&["inspect", "q", "--quiet"], limit].concat());
    assert_eq!(inspect(&["--min-cosine", "0.9999"]).code, 0);
    let said = inspect(&["--min-cosine", "0.99999"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("below cosine 0.99999: fc1.weight, fc2.weight"), "{}", said.err);
    let said = inspect(&["--max-kl", "0.1"]);
    assert_eq!(said.code, 2, "there is no validation yet");
    assert!(said.err.contains("quantize validate --save"), "{}", said.err);
    let saved = bench.run(&["validate", "q", "--skip-speed", "--save", "--logits", "y"]);
    assert_eq!(saved.code, 0, "{}", saved.err);
    assert_eq!(inspect(&["--max-kl", "0.1"]).code, 0);
    let said = inspect(&["--max-kl", "1e-12"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("mean KL"), "{}", said.err);
}

#[test]
fn golden_vectors_travel_with_the_package() {
    let bench = with_digits(&["--golden", "2"]);
    let report = bench.json(&["inspect", "q"]);
    let listed = report["outputs"].as_array().unwrap();
    let golden = listed.iter().find(|output| output["kind"] == "golden").expect("in the report");
    let path = bench.path("q/digits.golden.safetensors");
    let len = fs::metadata(&path).expect("the file").len();
    assert_eq!(
        (golden["path"].as_str(), golden["bytes"].as_u64()),
        (Some("digits.golden.safetensors"), Some(len))
    );

    // y = W·x + b of the checkpoint, computed here.
    let (file, source) = (Source::open(&path).unwrap(), Source::open(digits()).unwrap());
    let (w, b) = (floats(&source, "fc1.weight"), floats(&source, "fc1.bias"));
    for step in 0..2 {
        let x = floats(&file, &format!("fc1_weight.step{step}.in.x"));
        let y = floats(&file, &format!("fc1_weight.step{step}.out.y"));
        assert_eq!((x.len(), y.len()), (64 * 64, 64 * 160));
        for (row, x) in x.chunks(64).enumerate() {
            for (n, w) in w.chunks(64).enumerate() {
                let sum: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                let want = sum + f64::from(b[n]);
                assert!((want - f64::from(y[row * 160 + n])).abs() < 1e-5, "row {row}, output {n}");
            }
        }
    }
    let said = bench.run(&["validate", "q", "--skip-speed", "--min-sqnr", "40"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(
        said.out.starts_with("digits.mlpackage against digits.golden.safetensors\n"),
        "{}",
        said.out
    );

    // The package alone, without its golden file, proves less.
    fs::rename(bench.path("q/digits.mlpackage"), bench.path("alone.mlpackage")).unwrap();
    let said = bench.run(&["validate", "alone.mlpackage", "--skip-speed"]);
    assert!(said.out.contains("nothing to compare with"), "{}", said.out);
    let golden = path.to_str().unwrap();
    let said = bench.run(&[
        "validate",
        "alone.mlpackage",
        "--skip-speed",
        "--golden",
        golden,
        "--min-sqnr",
        "40",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);

    // A plan has its exact size, and a run without a package is refused.
    let digits = digits();
    let plan = bench.json(&["--dry-run", "--golden", "2", &digits]);
    let planned =
        plan["outputs"].as_array().unwrap().iter().find(|o| o["kind"] == "golden").unwrap();
    assert_eq!(planned["bytes"].as_u64(), Some(len));
    let said = bench.run(&["--golden", "1", "--to", "metal", &digits]);
    assert_eq!(said.code, 2, "{}", said.err);
}

/// Writes one F32 tensor as safetensors.
fn write_floats(path: &Path, name: &str, shape: &[usize], values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensor = serde_json::json!({
        "dtype": "F32", "shape": shape, "data_offsets": [0, bytes.len()],
    });
    let header = serde_json::json!({ name: tensor }).to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length, header.as_bytes(), &bytes].concat()).expect("a file");
}

#[test]
fn outputs_that_are_no_longer_finite_fail() {
    let bench = with_digits(&["--scheme", "float32"]);
    let digits = digits();
    // The backends overflow at different places of a sum.
    let function = ["--function", "fc1_weight", "--skip-speed", "--on", "reference"];
    write_floats(&bench.path("huge.safetensors"), "x", &[64, 64], &[3e38; 64 * 64]);
    let huge = ["validate", "q", "--inputs", "huge.safetensors"];
    let said = bench.run(&[&huge[..], &function].concat());
    assert_eq!(said.code, 1, "{}", said.out);
    let told = said.out.lines().find(|line| line.starts_with("failed: output")).unwrap();
    assert!(told.contains(" elements are not finite on reference, the first "), "{told}");
    assert!(told.contains("--against SOURCE"), "{told}");
    assert!(!said.out.contains("passed"), "{}", said.out);
    // The source overflows in the same places.
    let said = bench.run(&[&huge[..], &function, &["--against", &digits]].concat());
    assert_eq!(said.code, 0, "{}", said.out);
}

#[test]
fn the_functions_that_did_not_run_are_named() {
    let bench = with_digits(&[]);
    let said = bench.run(&["run", "q"]);
    let hint = "not run: fc2_weight, fc3_weight; --function NAME chooses one\n";
    assert!(said.out.contains(hint), "{}", said.out);
    let said = bench.run(&["run", "q", "--function", "fc1_weight"]);
    assert!(!said.out.contains("not run"), "{}", said.out);
}

#[test]
fn a_source_that_gives_no_weight_proves_nothing() {
    let bench = with_digits(&["--scheme", "float32"]);
    write_floats(&bench.path("other.safetensors"), "other", &[2, 2], &[1.0; 4]);
    let said = bench.run(&["validate", "q", "--skip-speed", "--against", "other.safetensors"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("--against other.safetensors: it has none of"), "{}", said.err);
}

#[test]
fn a_source_without_the_function_is_told() {
    let bench = with_digits(&[]);
    let conv = format!("{}/fixtures/digits-conv", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(bench.run(&[&conv, "-o", "conv", "--quiet"]).code, 0);
    let said = bench.run(&["validate", "q", "--skip-speed", "--against", "conv"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("--against conv: it has none of the functions"), "{}", said.err);
}

#[test]
fn a_validation_that_was_kept_is_shown_again() {
    let bench = with_digits(&[]);
    let digits = digits();
    let words = ["validate", "q", "--against", &digits, "--skip-speed", "--save"];
    let first = bench.run(&words);
    assert_eq!(first.code, 0, "{}", first.err);
    let again = bench.run(&["inspect", "q/validation.json"]);
    assert_eq!((again.code, again.out), (0, first.out));
    let gated = bench.run(&["inspect", "q/validation.json", "--min-sqnr", "60"]);
    assert_eq!(gated.code, 1);
    assert!(gated.out.contains("failed: weight fc2.weight: "), "{}", gated.out);
    let tensor = bench.run(&["inspect", "q/validation.json", "--tensor", "fc2.weight"]);
    assert_eq!((tensor.code, tensor.out.as_str()), (2, ""));
}

#[test]
fn recorded_inputs_run_to_the_recorded_outputs() {
    let bench = with_digits(&["--scheme", "float32", "--golden", "2"]);
    let words = ["run", "q", "--inputs", "q/digits.golden.safetensors", "--out", "y.safetensors"];
    let said = bench.run(&words);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("wrote y.safetensors"), "{}", said.out);
    let got = Source::open(bench.path("y.safetensors")).unwrap();
    let want = Source::open(bench.path("q/digits.golden.safetensors")).unwrap();
    for step in 0..2 {
        let got = floats(&got, &format!("step{step}.y"));
        let want = floats(&want, &format!("fc1_weight.step{step}.out.y"));
        let apart = got.iter().zip(&want).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "float32 weights lose nothing: {apart}");
    }
}

#[test]
fn words_that_do_not_fit_are_explained() {
    let bench = with_digits(&[]);
    let digits = digits();
    let told = [
        (&["run", "q", "--function", "fc9"][..], 2),
        (&["run", "q", "--on", "cpu", "--mode", "ane"], 2),
        (&["run", "q", "--mode", "bf16"], 2),
        (&["run", "q", "--inputs", &digits], 3),
        (&["run", "nowhere"], 3),
        (&["validate", "q", "--golden", &digits], 3),
        (&["validate", "q", "--against", "q/digits.mlpackage/nothing"], 3),
        (&["validat", "q"], 2),
    ];
    for (words, code) in told {
        let said = bench.run(words);
        assert_eq!(said.code, code, "{words:?}: {}", said.err);
        assert!(!said.err.contains("panicked"), "{words:?}: {}", said.err);
    }
}

#[test]
fn coremltools_packages_validate_against_their_source() {
    let Some(shared) = shared() else { return };
    let bench = Bench::new();
    let package =
        |name: &str| shared.join(format!("coreml/{name}/model.mlpackage")).display().to_string();
    for (quantized, source, least) in [
        ("q/mlp_ios18_lin8_sym_channel", "mlp_ios18_f16", "43"),
        ("q/mlp_ios16_pal4", "mlp_ios16_f16", "18"),
        ("q/cnn_ios18_lin8_sym_block", "cnn_ios18_f16", "35"),
    ] {
        let inputs =
            shared.join(format!("coreml/{quantized}/io.safetensors")).display().to_string();
        let (quantized, source) = (package(quantized), package(source));
        let words = [
            "validate",
            &quantized,
            "--against",
            &source,
            "--inputs",
            &inputs,
            "--skip-speed",
            "--min-sqnr",
            least,
        ];
        let said = bench.run(&words);
        assert_eq!(said.code, 0, "{quantized}: {}{}", said.out, said.err);
        assert!(said.out.contains("top-1 same"), "`logits` is a distribution: {}", said.out);
    }
    // The checkpoint's weights, found by the names of the package's values.
    let checkpoint = shared.join("digits/mlp_f32.safetensors").display().to_string();
    let quantized = package("q/mlp_ios18_lin8_sym_channel");
    let words =
        ["validate", &quantized, "--against", &checkpoint, "--skip-speed", "--max-kl", "1e-3"];
    let said = bench.run(&words);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let stranger = shared.join("resnet20/resnet20_f16.safetensors").display().to_string();
    let said = bench.run(&["validate", &quantized, "--against", &stranger, "--skip-speed"]);
    assert_eq!(said.code, 2, "none of the weights is there: {}", said.err);
}

#[test]
fn states_steps_functions_and_images_run_from_the_files_of_others() {
    let Some(shared) = shared() else { return };
    let bench = Bench::new();
    for (name, function, output, steps) in [
        ("kv_range_ios18", None, "logits", 6),
        ("multifunction_ios18", Some("decode"), "logits", 1),
        ("mlp_rangedim_ios16", None, "logits", 1),
    ] {
        let folder = shared.join("coreml").join(name);
        let (package, io) = (folder.join("model.mlpackage"), folder.join("io.safetensors"));
        let (package, io) = (package.display().to_string(), io.display().to_string());
        let mut words = vec!["run", &package, "--inputs", &io, "--out", "y.safetensors"];
        words.extend(function.iter().flat_map(|name| ["--function", name]));
        let said = bench.run(&words);
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        let (got, want) =
            (Source::open(bench.path("y.safetensors")).unwrap(), Source::open(&io).unwrap());
        for step in 0..steps {
            let key = if steps > 1 { format!("step{step}.") } else { String::new() };
            let start = function.map_or(key.clone(), |function| format!("{function}."));
            let got = floats(&got, &format!("{key}{output}"));
            let want = floats(&want, &format!("{start}out.{output}.w16"));
            let most = want.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            let apart = got.iter().zip(&want).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(apart <= 2e-6 * most, "{name}, step {step}: {apart} of {most}");
        }
    }
    let folder = shared.join("coreml/cnn_image_classifier_ios16");
    let (package, io) = (folder.join("model.mlpackage"), folder.join("io.safetensors"));
    let said = bench.run(&["run", package.to_str().unwrap(), "--inputs", io.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("0 0.99"), "the label and its score: {}", said.out);
}

#[test]
fn whatever_the_main_command_writes_runs_layer_by_layer_and_validates() {
    let Some(shared) = shared() else { return };
    for (checkpoint, words, functions, least) in [
        ("stories260k/model.safetensors", &["--scheme", "linear-int8"][..], 36, "40"),
        ("stories260k/model.safetensors", &["--scheme", "linear-int4,block:32"], 36, "15"),
        ("stories260k/model.safetensors", &["--scheme", "palette-6", "--target", "ios16"], 1, "25"),
        ("resnet20/resnet20_f32.safetensors", &["--scheme", "palette-4,group:16"], 20, "15"),
        (
            "resnet20/resnet20_f16.safetensors",
            &["--scheme", "linear-int8", "--target", "ios16"],
            1,
            "38",
        ),
    ] {
        let bench = Bench::new();
        let checkpoint = shared.join(checkpoint).display().to_string();
        let common = [&checkpoint, "-o", "q", "--quiet", "--golden", "1", "--layer-package"];
        let said = bench.run(&[&common, words].concat());
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        let against =
            ["validate", "q", "--against", &checkpoint, "--skip-speed", "--min-sqnr", least];
        for words in [&against[..], &["validate", "q", "--skip-speed", "--min-sqnr", least]] {
            let said = bench.run(words);
            assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
        }
        let found = bench.json(&against);
        let outputs = found["outputs"].as_array().unwrap();
        let ran: std::collections::BTreeSet<_> =
            outputs.iter().map(|o| o["function"].as_str()).collect();
        assert_eq!(ran.len(), functions, "{words:?}");
    }
}

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny").join(name)
}

/// The numbers of a JSON list.
fn numbers(list: &Value) -> Vec<f32> {
    list.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

/// The ids that transformers was given, by rows, without padding.
const ROWS: [&str; 2] = ["82,62,50,28,31,6,9,4,19,78,63,87", "49,59,93,70,61,53,55,89"];

#[test]
fn encoders_embed_ids_as_transformers_does() {
    for (name, output, least) in [
        ("sentence-bert", "sentence_embedding", 0.999),
        ("sentence-roberta", "sentence_embedding", 0.999),
        ("bert", "pooler_output", 0.998),
    ] {
        let expected = Source::open(tiny("expected").join(format!("{name}.safetensors"))).unwrap();
        let want = floats(&expected, output);
        let input = tiny(name).display().to_string();
        for (scheme, least) in [("float16", 0.99999), ("linear-int8", least), ("palette-6", 0.99)] {
            let bench = Bench::new();
            let said = bench.run(&[&input, "-o", "q", "--quiet", "--scheme", scheme]);
            assert_eq!(said.code, 0, "{name}: {}", said.err);
            let mut words = vec!["embed", "q"];
            words.extend(ROWS.iter().flat_map(|row| ["--ids", row]));
            let found = bench.json(&words);
            assert_eq!(found["output"], output);
            let got: Vec<_> = (0..2).map(|i| numbers(&found["texts"][i]["embedding"])).collect();
            for (row, want) in want.chunks(want.len() / 2).enumerate() {
                let near = twolane::embed::cosine(&got[row], want);
                println!("{name} {scheme}: {near:.6}");
                assert!(near >= least, "{name} {scheme}: {near}");
            }
            let near = found["similarities"][0][1].as_f64().unwrap();
            assert_eq!(near, twolane::embed::cosine(&got[0], &got[1]), "{name}");
        }
    }
}

#[test]
fn folders_of_sentence_transformers_stay_whole_beside_their_package() {
    let bench = Bench::new();
    let input = tiny("sentence-roberta");
    let said = bench.run(&[input.to_str().unwrap(), "-o", "q", "--quiet"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for name in [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ] {
        let (copy, own) = (bench.path("q").join(name), input.join(name));
        assert_eq!(fs::read(copy).unwrap(), fs::read(own).unwrap(), "{name}");
    }
    let said = bench.run(&["run", "q"]);
    assert_eq!(said.code, 0, "{}", said.err);
    // Of 24 positions, the folder uses 20.
    let said = bench.run(&[input.to_str().unwrap(), "-o", "r", "--context", "24", "--quiet"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("warning: --context 24 is beyond the 20 tokens"), "{}", said.err);
    let said = bench.run(&[input.to_str().unwrap(), "-o", "s", "--context", "25"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("the 24 tokens"), "{}", said.err);
}

/// A tokenizer of words, which asks for texts of 4 tokens, cut and padded.
const TOKENIZER: &str = r#"{"version": "1.0",
    "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
    "decoder": null, "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab":
        {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "the": 4, "cat": 5, "query": 6, ":": 7}}}"#;

#[test]
fn texts_are_prepared_as_their_folder_says() {
    let bench = Bench::new();
    let (from, to) = (tiny("sentence-bert"), bench.path("model"));
    fs::create_dir_all(to.join("1_Pooling")).unwrap();
    for name in ["config.json", "model.safetensors", "modules.json", "1_Pooling/config.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    fs::write(to.join("tokenizer.json"), TOKENIZER).unwrap();
    let about = r#"{"max_seq_length": 8, "do_lower_case": true}"#;
    fs::write(to.join("sentence_bert_config.json"), about).unwrap();
    let prompts = r#"{"prompts": {"query": "query: "}, "default_prompt_name": "query"}"#;
    fs::write(to.join("config_sentence_transformers.json"), prompts).unwrap();
    assert_eq!(bench.run(&["model", "-o", "q", "--quiet"]).code, 0);
    fs::write(bench.path("more.txt"), "\nthe cat the cat the cat\n").unwrap();
    let words = ["embed", "q", "--text", "The CAT", "--file", "more.txt", "--ids", "2,6,7,4,5,3"];
    let found = bench.json(&words);
    assert_eq!(numbers(&found["texts"][0]["ids"]), [2.0, 6.0, 7.0, 4.0, 5.0, 3.0]);
    assert_eq!(found["texts"][0]["embedding"], found["texts"][2]["embedding"]);
    let cut = numbers(&found["texts"][1]["ids"]);
    assert_eq!(cut, [2.0, 6.0, 7.0, 4.0, 5.0, 4.0, 5.0, 3.0], "the end stays");
    let said = bench.run(&words);
    assert!(said.err.contains("1 text is longer than 8 tokens"), "{}", said.err);
    let table: Vec<_> = said.out.lines().collect();
    assert_eq!(table.len(), 4 + 1 + 4, "{}", said.out);
    assert!(table[1].starts_with("1  The CAT") && table[1].contains("1.0000"), "{}", said.out);
    assert!(table[6].starts_with("     1  1.0000"), "{}", said.out);
}

#[test]
fn packages_of_another_kind_name_the_command_for_them() {
    let bench = Bench::new();
    for (name, to) in [("sentence-bert", "encoder"), ("qwen3", "decoder"), ("distilbert", "tokens")]
    {
        let input = tiny(name).display().to_string();
        let said = bench.run(&[&input, "-o", to, "--quiet", "--target", "ios16"]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let refused = |words: &[&str], code: i32, why: &str| {
        let said = bench.run(words);
        assert_eq!(said.code, code, "{words:?}: {}", said.err);
        assert!(said.err.contains(why), "{words:?}: {}", said.err);
    };
    refused(&["generate", "encoder", "--ids", "1"], 3, "`quantize embed`");
    refused(&["embed", "decoder", "--ids", "1"], 3, "`quantize generate`");
    refused(&["embed", "tokens", "--ids", "1"], 3, "gives last_hidden_state");
    refused(&["embed", "encoder"], 2, "give --text, --file or --ids");
    refused(&["embed", "encoder", "--text", "x"], 2, "tokenizer.json");
    refused(&["embed", "encoder", "--ids", "1,x"], 2, "--ids");
    refused(&["embed", "encoder", "--ids", "96"], 2, "token 96 is none of the model's");
    let long = vec!["1"; 21].join(",");
    refused(&["embed", "encoder", "--ids", &long], 2, "21 tokens are more than the 20");
}
