//! Whole models on the command line: conversion, generation, perplexity, and what is refused.

#[path = "model_cli/auto.rs"]
mod auto;
#[path = "support/bench.rs"]
mod bench;
#[path = "model_cli/bias.rs"]
mod bias;
#[path = "model_cli/calibrate.rs"]
mod calibrate;
#[path = "model_cli/guided.rs"]
mod guided;
#[path = "model_cli/int8_path.rs"]
mod int8_path;
#[path = "model_cli/smooth.rs"]
mod smooth;

use bench::Bench;
use sha2::Digest;
use std::fs;
use std::path::Path;
use twolane::formats::mil::Model;
use twolane::formats::mlpackage::{MODEL_PATH, WEIGHT_BIN_PATH};
use twolane::report::Provenance;
use twolane::source::Package;

fn tiny(name: &str) -> String {
    format!("{}/fixtures/tiny/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A bench with `model`, a copy of a tiny model whose files may be changed.
fn with_model(name: &str) -> Bench {
    let bench = Bench::new();
    fs::create_dir(bench.path("model")).unwrap();
    for entry in fs::read_dir(tiny(name)).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            continue;
        }
        fs::copy(entry.path(), bench.path("model").join(entry.file_name())).unwrap();
    }
    bench
}

/// Replaces a part of a file's text.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_folder_becomes_a_model_that_generates_and_validates() {
    let bench = Bench::new();
    let model = tiny("llama");
    let said = bench.run(&[&model, "-o", "q", "--context", "40", "--prefill-chunk", "8"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(bench.path("q/config.json").is_file(), "what describes the model goes with it");
    let words = ["generate", "q", "--ids", "5,6,7,8,9,10,11,12,13", "--max-tokens", "12"];
    let (fast, slow) =
        (bench.json(&words), bench.json(&[&words[..], &["--on", "reference"]].concat()));
    assert_eq!(fast["ids"].as_array().unwrap().len(), 12);
    assert_eq!(fast["stop"], "length");
    assert_eq!(fast["ids"], slow["ids"], "both backends choose the same tokens");
    let full =
        bench.json(&["generate", "q", "--ids", "5,6", "--max-tokens", "100", "--ignore-eos"]);
    assert_eq!(full["stop"], "context");
    assert_eq!(full["ids"].as_array().unwrap().len(), 39);
    let random = |seed| {
        let words = ["generate", "q", "--ids", "5,6", "--temperature", "2", "--seed", seed];
        bench.json(&words)["ids"].clone()
    };
    assert_eq!(random("1"), random("1"));
    assert_ne!(random("1"), random("2"));
    let found =
        bench.json(&["validate", "q", "--against", &model, "--skip-speed", "--min-sqnr", "25"]);
    assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{}", found["failed"]);
    let functions: Vec<_> =
        found["outputs"].as_array().unwrap().iter().map(|o| &o["function"]).collect();
    assert_eq!(functions, ["decode", "prefill"]);
}

#[test]
fn tokens_of_another_model_are_refused() {
    let bench = Bench::new();
    for (name, words) in [("llama", &["generate", "q"][..]), ("sentence-bert", &["embed", "q"])] {
        let said = bench.run(&[&tiny(name), "-o", "q", "--force", "--context", "12"]);
        assert_eq!(said.code, 0, "{}", said.err);
        let said = bench.run(&[words, &["--ids", "5,96"]].concat());
        assert_eq!(said.code, 2, "{name}: {}", said.err);
        assert!(
            said.err.contains("token 96 is none of the model's, which are 0 to 95"),
            "{}",
            said.err
        );
        assert_eq!(bench.run(&[words, &["--ids", "5,95"]].concat()).code, 0, "{name}");
    }
}

#[test]
fn before_ios18_and_in_fp32_one_function_takes_the_whole_text() {
    let bench = Bench::new();
    let model = tiny("qwen3");
    for (out, words) in [
        ("a", ["--scheme", "palette-6", "--target", "ios16"]),
        ("b", ["--scheme", "float32", "--target", "ios18"]),
    ] {
        let said = bench
            .run(&[&[model.as_str(), "-o", out, "-q", "--context", "40"], &words[..]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let inspected = bench.run(&["inspect", out, "--model"]);
        assert!(inspected.out.contains("function main"), "{}", inspected.out);
        let generated = bench.json(&["generate", out, "--ids", "5,6,7", "--max-tokens", "4"]);
        assert_eq!(generated["ids"].as_array().unwrap().len(), 4);
    }
    let refused = bench.run(&[&model, "--scheme", "float32", "--rule", "q_proj=linear-int8"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("computes in fp32"), "{}", refused.err);
}

#[test]
fn keys_and_weights_that_do_not_fit_are_told_at_once() {
    let bench = with_model("llama");
    let config = bench.path("model/config.json");
    edit(&config, "{", r#"{ "new_gate": 0.5, "attention_sinks": 4,"#);
    let said = bench.run(&["model", "-o", "q"]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("`new_gate`: 0.5, `attention_sinks`: 4"), "{}", said.err);
    assert!(!bench.path("q").exists());
    let said = bench.run(&["model", "-o", "q", "--layer-package"]);
    assert_eq!(said.code, 0, "{}", said.err);

    let bench = with_model("llama");
    let config = bench.path("model/config.json");
    edit(&config, r#""num_hidden_layers": 3"#, r#""num_hidden_layers": 2"#);
    edit(&config, r#""mlp_bias": true"#, r#""mlp_bias": false"#);
    edit(&config, r#""vocab_size": 96"#, r#""vocab_size": 97"#);
    let said = bench.run(&["model", "-o", "q"]);
    assert_eq!(said.code, 3);
    for part in [
        "`model.embed_tokens.weight` is [96, 40]; config.json makes it [97, 40]",
        "`model.layers.0.mlp.up_proj.bias` [72] is left over",
        "`model.layers.2.self_attn.q_proj.weight` [48, 40] is left over",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

#[test]
fn an_unknown_model_falls_back_to_its_layers_and_says_so() {
    let bench = with_model("llama");
    edit(&bench.path("model/config.json"), r#""model_type": "llama""#, r#""model_type": "mamba""#);
    let said = bench.run(&["model", "-o", "q"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("the model type `mamba` is not known"), "{}", said.out);
    let refused = bench.run(&["generate", "q", "--ids", "1"]);
    assert_eq!(refused.code, 3);
    assert!(refused.err.contains("give the package of a language model"), "{}", refused.err);
}

#[test]
fn a_prompt_needs_a_tokenizer_and_room() {
    let bench = Bench::new();
    let said =
        bench.run(&[&tiny("llama"), "-o", "q", "-q", "--context", "20", "--prefill-chunk", "4"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let refused = bench.run(&["generate", "q", "--prompt", "words"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("there is no q/tokenizer.json"), "{}", refused.err);
    let ids = vec!["7"; 21].join(",");
    let refused = bench.run(&["generate", "q", "--ids", &ids]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("21 tokens are more than the 20"), "{}", refused.err);
    let refused = bench.run(&["generate", "q"]);
    assert_eq!(refused.code, 2);
}

/// The package in an output folder: its model without what it says of its own making, its weights,
/// and the runs that it tells of. (The manifest's identifiers follow from the model.)
fn package_parts(bench: &Bench, out: &str, name: &str) -> (Model, Vec<u8>, Vec<Provenance>) {
    let dir = bench.path(out).join(name);
    let model = fs::read(dir.join(MODEL_PATH)).unwrap();
    let mut model = Model::parse(&model).unwrap();
    let metadata = model.description.as_mut().unwrap().metadata.as_mut().unwrap();
    let runs = Provenance::read(&metadata.user_defined);
    let told = metadata.user_defined.len();
    let of_runs = ["twolane.version", "twolane.options", "twolane.sources"];
    metadata.user_defined.retain(|key, _| !of_runs.iter().any(|start| key.starts_with(start)));
    assert_eq!(told - metadata.user_defined.len(), 3 * runs.len());
    (model, fs::read(dir.join(WEIGHT_BIN_PATH)).unwrap(), runs)
}

#[test]
fn a_package_becomes_what_its_source_becomes_but_for_its_provenance() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let name = "stdlib-llama.mlpackage";
    let run = |words: &[&str]| {
        let said = bench.run(&[words, &["-q", "--to", "mlpackage"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
    };
    for (target, scheme) in [
        ("ios18", "palette-4,group:16"),
        ("ios18", "linear-int4,block:32"),
        ("ios16", "linear-int8"),
    ] {
        run(&[&model, "--scheme", "float16", "--target", target, "-o", "float", "--force"]);
        run(&[&model, "--scheme", scheme, "--target", target, "-o", "direct", "--force"]);
        run(&[&format!("float/{name}"), "--scheme", scheme, "-o", "through", "--force"]);
        let [float, direct, through] =
            ["float", "direct", "through"].map(|out| package_parts(&bench, out, name));
        assert!(direct.0 == through.0, "{target} {scheme}: the model differs");
        assert!(direct.1 == through.1, "{target} {scheme}: the weights differ");
        assert_eq!(direct.2[0].sources, float.2[0].sources);
        let [first, second] = &through.2[..] else { panic!("{:?}", through.2) };
        assert_eq!(*first, float.2[0], "a package keeps what it said");
        let sources: Vec<_> = second.sources.iter().map(|source| source.name.as_str()).collect();
        let paths = [WEIGHT_BIN_PATH, MODEL_PATH].map(|path| format!("{name}/{path}"));
        assert_eq!(sources, paths);
        assert!(second.options.starts_with(&format!("--scheme {scheme} ")), "{}", second.options);
        assert!(second.options.contains(&format!("--target {target}")), "{}", second.options);
    }
    // What is compressed stays as it is.
    let once = package_parts(&bench, "through", name);
    fs::rename(bench.path("through").join(name), bench.path(name)).unwrap();
    run(&[name, "--scheme", "palette-2", "-o", "again"]);
    let twice = package_parts(&bench, "again", name);
    let sources: Vec<_> = twice.2[2].sources.iter().map(|source| source.name.clone()).collect();
    assert_eq!(sources, [WEIGHT_BIN_PATH, MODEL_PATH].map(|path| format!("{name}/{path}")));
    assert!((once.0, once.1) == (twice.0, twice.1), "nothing was left to compress");
    assert_eq!(twice.2.len(), 3);
}

#[test]
fn a_package_says_which_files_and_options_made_it_and_under_which_terms() {
    let bench = with_model("sentence-bert");
    let card = "---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n";
    fs::write(bench.path("model/README.md"), card).unwrap();
    let pooling = bench.path("model/1_Pooling");
    fs::create_dir(&pooling).unwrap();
    let stored = format!("{}/1_Pooling/config.json", tiny("sentence-bert"));
    fs::copy(stored, pooling.join("config.json")).unwrap();
    let rule = "layer.0|x y=palette-4";
    let words = ["model", "-o", "q", "-q", "--sha256", "--rule", rule, "--to", "mlpackage"];
    assert_eq!(bench.run(&words).code, 0);
    let shown = bench.json(&["inspect", "q/model.mlpackage"]);
    assert_eq!(shown["license"], "apache-2.0");
    assert_eq!(shown["description"], "bert, 3 layers; main, context 20");
    let [run] = &shown["provenance"].as_array().unwrap()[..] else { panic!("{shown}") };
    let options = "--scheme linear-int8 --rule 'layer.0|x y=palette-4' --min-elements 2048 \
                   --clip mse --non-finite error --target ios18 --unit gpu";
    assert_eq!(run["options"], options);
    assert_eq!(run["version"], concat!("twolane ", env!("CARGO_PKG_VERSION")));
    let sources = run["sources"].as_array().unwrap();
    let names: Vec<_> = sources.iter().map(|source| source["name"].as_str().unwrap()).collect();
    let all = [
        "model.safetensors",
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "README.md",
    ];
    assert_eq!(names, all);
    for source in sources {
        let name = source["name"].as_str().unwrap();
        let bytes = fs::read(bench.path("model").join(name)).unwrap();
        assert_eq!(source["bytes"], bytes.len(), "{name}");
        assert_eq!(source["blake3"], blake3::hash(&bytes).to_hex().as_str(), "{name}");
        assert_eq!(source["sha256"], format!("{:x}", sha2::Sha256::digest(&bytes)), "{name}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.path("q/report.json")).unwrap()).unwrap();
    assert_eq!(report["inputs"], run["sources"], "the report says the same");
    let text = bench.run(&["inspect", "q/model.mlpackage"]).out;
    let hash = sources[5]["blake3"].as_str().unwrap();
    for line in [
        "license: apache-2.0\n".to_owned(),
        format!("by twolane {}: {options}\n", env!("CARGO_PKG_VERSION")),
        format!("  from README.md, {} bytes, blake3 {hash}\n", card.len()),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }

    // The same from another place: no path went in.
    fs::rename(bench.path("model"), bench.path("elsewhere")).unwrap();
    fs::create_dir(bench.path("deep")).unwrap();
    fs::rename(bench.path("elsewhere"), bench.path("deep/model")).unwrap();
    let words = [&["deep/model"], &words[1..2], &["again"], &words[3..]].concat();
    assert_eq!(bench.run(&words).code, 0);
    let model = |out: &str| fs::read(bench.path(out).join("model.mlpackage").join(MODEL_PATH));
    assert_eq!(model("q").unwrap(), model("again").unwrap());
}

#[test]
fn a_compressed_package_is_compressed_anew_only_where_that_is_asked_for() {
    let bench = Bench::new();
    let words = ["-q", "--min-elements", "1", "--to", "mlpackage", "--context", "40"];
    let run = |input: &str, more: &[&str]| bench.run(&[&[input], more, &words[..5]].concat());
    let first =
        bench.run(&[&[&tiny("llama")[..], "-s", "palette-6", "-o", "a"], &words[..]].concat());
    assert_eq!(first.code, 0, "{}", first.err);
    let refused = run(&tiny("llama"), &["--requantize", "-o", "b"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--requantize is for packages"), "{}", refused.err);
    // One that no rule or default chooses stays as it is.
    let anew = ["--requantize", "-s", "linear-int8", "--rule", "gate=palette-2", "-o", "b"];
    let words = [&["a/llama.mlpackage"], &anew[..], &["--min-elements", "3000"]].concat();
    let plan = bench.json(&[&words[..], &["--dry-run"]].concat());
    let names = |plan: &serde_json::Value| {
        let tensors = plan["tensors"].as_array().unwrap().iter();
        let told = tensors.filter(|t| t["notes"].to_string().contains("compressed before"));
        told.map(|t| (t["name"].as_str().unwrap().to_owned(), t["scheme"].clone())).collect()
    };
    let names: Vec<(String, serde_json::Value)> = names(&plan);
    assert!(names.iter().any(|(name, s)| name.contains("gate_proj") && s == "palette-2"));
    assert!(names.iter().any(|(name, s)| name.contains("embed_tokens") && s == "linear-int8"));
    assert!(!names.iter().any(|(name, _)| name.contains("k_proj")), "{names:?}");
    assert!(
        plan["warnings"].to_string().contains("left so: neither a rule nor the default chooses"),
        "{plan}"
    );
    // To values, and from them to codes again: nothing is lost.
    let run = |input: &str, more: &[&str]| {
        let said = run(input, more);
        assert_eq!(said.code, 0, "{}", said.err);
    };
    run("a/llama.mlpackage", &["--requantize", "-s", "float16", "-o", "float"]);
    run("float/llama.mlpackage", &["-s", "palette-6", "-o", "again"]);
    run("a/llama.mlpackage", &["--requantize", "-s", "palette-6", "-o", "anew"]);
    let [once, again, anew] =
        ["a", "again", "anew"].map(|out| package_parts(&bench, out, "llama.mlpackage"));
    assert!(once.0 == again.0 && again.0 == anew.0, "the models differ");
    assert!(again.1 == anew.1, "the weights differ");
    let runs: Vec<_> = anew.2.iter().map(|run| run.options.contains(" --requantize")).collect();
    assert_eq!(runs, [false, true]);
}

#[test]
fn rules_choose_constants_of_a_package_by_the_operation_that_takes_them() {
    let bench = Bench::new();
    let said = bench.run(&[
        &tiny("llama"),
        "--scheme",
        "float16",
        "-o",
        "float",
        "-q",
        "--context",
        "40",
        "--prefill-chunk",
        "8",
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    let package = bench.path("float/llama.mlpackage").display().to_string();
    let words = [
        &package,
        "--min-elements",
        "64",
        "--rule",
        "op:gather=palette-8",
        "--rule",
        "op:conv=palette-4",
        "--dry-run",
    ];
    let plan = bench.json(&words);
    let tensors = plan["tensors"].as_array().unwrap();
    let scheme = |name: &str| {
        let of = |t: &&serde_json::Value| t["name"] == name;
        tensors.iter().find(of).unwrap_or_else(|| panic!("{name}"))["scheme"].clone()
    };
    assert_eq!(scheme("model_embed_tokens_weight"), "palette-8");
    assert_eq!(scheme("lm_head_weight"), "linear-int8");
    assert_eq!(scheme("rope_cos"), "float16", "a table of angles is no weight");
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("op:conv=palette-4' matches no tensor"), "{warnings}");
    let refused = bench.run(&[&package, "--rule", "op:convolution=palette-4"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("there is no operation `convolution`"), "{}", refused.err);
}

#[test]
fn a_whole_model_quantizes_what_its_operations_take_as_weights() {
    let bench = Bench::new();
    let plan = |name: &str, words: &[&str]| {
        let model = tiny(name);
        bench.json(&[&[&model, "--dry-run", "--min-elements", "1"], words].concat())
    };
    let tensor = |plan: &serde_json::Value, name: &str| {
        let all = plan["tensors"].as_array().unwrap();
        let found = all.iter().find(|t| t["name"] == name).unwrap_or_else(|| panic!("{name}"));
        let note = found["notes"][0].as_str().unwrap_or_default().to_owned();
        [found["scheme"].as_str().unwrap(), found["rule"].as_str().unwrap(), &note]
            .map(str::to_owned)
    };
    const VIT: &str = "vit.embeddings.position_embeddings";
    let vit = plan("vit", &[]);
    let stays = "left in float16: add takes it, not as a weight";
    assert_eq!(tensor(&vit, VIT), ["float16", "operation", stays]);
    let patches = "vit.embeddings.patch_embeddings.projection.weight";
    assert_eq!(tensor(&vit, patches), ["linear-int8", "default", ""]);
    let asked = plan("vit", &["--rule", "position=palette-4"]);
    assert_eq!(tensor(&asked, VIT)[0], "palette-4", "a rule that names it decides");
    // A run of rows is cut out of the table, or rows are chosen from it.
    const POSITIONS: &str = "embeddings.position_embeddings.weight";
    let stays = "left in float16: slice_by_index takes it, not as a weight";
    assert_eq!(tensor(&plan("bert", &[]), POSITIONS), ["float16", "operation", stays]);
    assert_eq!(tensor(&plan("roberta", &[]), POSITIONS), ["linear-int8", "default", ""]);

    // What takes a weight depends on the hardware that the operations suit.
    let rules = ["--rule", "op:conv=palette-4", "--rule", "op:linear=palette-6"];
    const MLP: &str = "transformer.h.1.mlp.c_fc.weight";
    for (unit, scheme) in [("gpu", "palette-6"), ("ane", "palette-4")] {
        let gpt2 = plan("gpt2", &[&rules[..], &["--unit", unit]].concat());
        assert_eq!(tensor(&gpt2, MLP)[0], scheme, "{unit}");
        let warnings = gpt2["warnings"].to_string();
        assert!(warnings.contains("matches no tensor"), "{warnings}");
    }
}

#[test]
fn a_trained_model_predicts_held_out_text_as_torch_says() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let said = bench.run(&[&model, "-o", "q", "-q"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let text = format!("{model}/eval.txt");
    let words =
        ["validate", "q", "--against", &model, "--text", &text, "--skip-speed", "--on", "cpu"];
    let found = bench.json(&words);
    let expected: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(format!("{model}/expected.json")).unwrap())
            .unwrap();
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert_eq!(found["text"]["tokens"], expected["eval"]["predicted"]);
    assert_eq!(found["text"]["windows"], expected["eval"]["windows"]);
    let apart = number(&found["text"]["source"]["nll"]) - number(&expected["eval"]["nll"]);
    assert!(apart.abs() < 1e-4, "{apart}");
    let quantized = number(&found["text"]["quantized"]["nll"]) - number(&expected["eval"]["nll"]);
    assert!(quantized.abs() < 2e-3, "{quantized}");
    assert!(number(&found["text"]["classes"]["top1"]) > 0.98);
    assert_eq!(found["text"]["at_once"], 1, "prefill returns one row");
    let said = bench.run(&[&model, "-o", "all", "-q", "--prefill-logits", "all"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let all = bench.json(&["validate", "all", "--text", &text, "--skip-speed", "--on", "cpu"]);
    assert_eq!(all["text"]["at_once"], 64);
    let apart =
        number(&all["text"]["quantized"]["nll"]) - number(&found["text"]["quantized"]["nll"]);
    assert!(apart.abs() < 1e-6, "{apart}");
    let said =
        bench.run(&["generate", "q", "--prompt", "Returns the number of elements in", "-n", "8"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("Returns the number of elements in the "), "{}", said.out);
    let refused = bench.run(&["validate", "q", "--text", &text, "--function", "nothing"]);
    assert_eq!(refused.code, 2);
}

#[test]
fn a_model_for_the_neural_engine_continues_a_text_as_that_for_the_gpu_does() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let common = ["--scheme", "float16", "--to", "mlpackage", "-q", "--prefill-chunk", "8"];
    let mut texts = Vec::new();
    for (out, words) in [
        ("gpu", &["--unit", "gpu"][..]),
        ("state", &["--unit", "ane"]),
        ("io", &["--unit", "ane", "--kv", "io", "--argmax"]),
        ("ios16", &["--unit", "ane", "--target", "ios16"]),
        ("swift", &["--names", "swift-transformers"]),
        ("swift-ios17", &["--names", "swift-transformers", "--target", "ios17"]),
    ] {
        let said = bench.run(&[&[model.as_str(), "-o", out], &common[..], words].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let generated =
            bench.json(&["generate", out, "--prompt", "Returns the number of", "-n", "20"]);
        texts.push(generated["text"].as_str().unwrap().to_owned());
        let ran = bench.run(&["run", out, "--out", "y.safetensors"]);
        assert_eq!(ran.code, 0, "drawn inputs: {}", ran.err);
    }
    assert!(texts[0].split_whitespace().count() > 3, "{texts:?}");
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn a_model_for_the_neural_engine_is_held_against_its_source() {
    let bench = Bench::new();
    let model = tiny("gemma3");
    let words = ["-q", "--unit", "ane", "--context", "40", "--prefill-chunk", "8"];
    let said = bench.run(&[&[model.as_str(), "-o", "q"], &words[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let found =
        bench.json(&["validate", "q", "--against", &model, "--skip-speed", "--min-sqnr", "25"]);
    assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{}", found["failed"]);
    assert_eq!(found["findings"].as_array().unwrap().len(), 0, "{}", found["findings"]);
    let inspected = bench.run(&["inspect", "q", "--model"]);
    assert!(inspected.out.contains("window_8_key_cache"), "{}", inspected.out);
}

#[test]
fn what_the_neural_engine_cannot_is_refused_with_what_would_do() {
    let bench = Bench::new();
    for (model, words, why) in [
        ("llama", &["--unit", "ane", "--scheme", "float32"][..], "computes in FP16"),
        ("llama", &["--kv", "io"], "--kv io belongs to --unit ane"),
        ("llama", &["--unit", "ane", "--kv", "state", "--target", "ios17"], "came with ios18"),
        ("bert", &["--unit", "ane", "--scheme", "float32"], "computes in FP16"),
        (
            "bert",
            &["--prefill-logits", "last", "--argmax"],
            "--argmax, --prefill-logits: for language",
        ),
        ("llama", &["--prefill-logits", "last", "--target", "ios17"], "has no prefill"),
        ("bert", &["--names", "swift-transformers"], "--names: for language models"),
        ("llama", &["--names", "swift-transformers", "--unit", "ane"], "choose --unit gpu"),
        ("llama", &["--chunks", "4"], "the model has 3 layers"),
        ("llama", &["--chunks", "2", "--layer-package"], "a language model is split by its layers"),
        ("llama", &["--chunks", "2", "--names", "swift-transformers"], "runs one package"),
        ("vit", &["--chunks", "2"], "--chunks: for language models"),
        ("llama", &["--names", "swift-transformers", "--prefill-logits", "last"], "has no prefill"),
    ] {
        let refused = bench.run(&[&[tiny(model).as_str(), "-o", "q"], words].concat());
        assert_eq!(refused.code, 2, "{words:?}");
        assert!(refused.err.contains(why), "{words:?}: {}", refused.err);
        assert!(!bench.path("q").exists());
    }
}

#[test]
fn the_swift_runtimes_package_is_known_by_its_names_and_scored() {
    let bench = with_model("qwen3");
    edit(&bench.path("model/config.json"), "{", r#"{ "_name_or_path": "somebody/qwen3-tiny","#);
    let names = ["--names", "swift-transformers"];
    let said = bench.run(&[&["model", "-o", "q", "-q", "--context", "40"], &names[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let inspected = bench.json(&["inspect", "q", "--model"]).to_string();
    for part in ["inputIds", "causalMask", "keyCache", "valueCache"] {
        assert!(inspected.contains(part), "{part} in {inspected}");
    }
    let model = Package::open(&bench.path("q")).unwrap().program.metadata.user;
    assert_eq!(model["co.huggingface.exporters.name"], "somebody/qwen3-tiny");
    let found =
        bench.json(&["validate", "q", "--against", "model", "--skip-speed", "--min-sqnr", "25"]);
    assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{}", found["failed"]);
}

#[test]
fn a_model_in_chunks_runs_as_the_whole_one_does() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    // A part of the text will do.
    let text = fs::read_to_string(format!("{model}/eval.txt")).unwrap();
    fs::write(bench.path("text"), text.lines().take(20).collect::<Vec<_>>().join("\n")).unwrap();
    let nll = |out: &str| {
        let words = ["validate", out, "--against", &model, "--text", "text", "--skip-speed"];
        let found = bench.json(&[&words[..], &["--on", "cpu"]].concat());
        assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{}", found["failed"]);
        found["text"].clone()
    };
    for (out, words) in [
        ("gpu", &["--unit", "gpu"][..]),
        ("state", &["--unit", "ane", "--scheme", "palette-4"]),
        ("io", &["--unit", "ane", "--kv", "io", "--target", "ios16"]),
    ] {
        let common = ["--to", "mlpackage", "-q", "--prefill-chunk", "8", "--force", "-o"];
        let convert = |out: &str, more: &[&str]| {
            let said = bench.run(&[&[model.as_str()], words, &common[..], &[out], more].concat());
            assert_eq!(said.code, 0, "{}", said.err);
        };
        convert("whole", &[]);
        convert(out, &["--chunks", "2"]);
        let continued = |out: &str| {
            let words = ["generate", out, "--prompt", "Returns the number of", "-n", "20"];
            bench.json(&words)["ids"].clone()
        };
        assert_eq!(continued(out), continued("whole"), "{out}");
        let (chunks, whole) = (nll(out), nll("whole"));
        assert_eq!(chunks["source"], whole["source"], "{out}");
        // Hidden values are rounded to FP16 where a package hands them on.
        let mean = |text: &serde_json::Value| text["quantized"]["nll"].as_f64().unwrap();
        let apart = mean(&chunks) - mean(&whole);
        assert!(apart.abs() < 2e-4, "{out}: {apart:.1e}");
        for number in 1..=2 {
            let package = format!("{out}/stdlib-llama-chunk{number}of2.mlpackage");
            let words = ["validate", &package, "--against", &model, "--skip-speed", "--on", "cpu"];
            let found = bench.json(&words);
            assert_eq!(found["findings"].as_array().unwrap().len(), 0, "{}", found["findings"]);
            assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{}", found["failed"]);
            assert!(!found["layers"].as_array().unwrap().is_empty());
            let refused = bench.run(&["generate", &package, "--ids", "5"]);
            assert_eq!(refused.code, 3);
            assert!(refused.err.contains("name the folder that holds all"), "{}", refused.err);
        }
        let inspected = bench.run(&["inspect", out, "--model"]);
        assert!(inspected.out.contains("output_hidden_states"), "{}", inspected.out);
        let refused = bench.run(&["validate", out]);
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains("holds a model in chunks"), "{}", refused.err);
    }
    let package = bench.path("gpu/stdlib-llama-chunk1of2.mlpackage").display().to_string();
    let said = bench.run(&[&package, "--scheme", "palette-4", "-q", "-o", "small"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(bench.path("small/stdlib-llama-chunk1of2.mlpackage").is_dir());
    assert!(!bench.path("small/chunks.json").exists(), "a part is no whole model");
    fs::remove_dir_all(bench.path("io/stdlib-llama-chunk2of2.mlpackage")).unwrap();
    let refused = bench.run(&["generate", "io", "--ids", "5"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    fs::write(bench.path("io/chunks.json"), r#"{"chunks":[{"package":"../x"}]}"#).unwrap();
    let refused = bench.run(&["generate", "io", "--ids", "5"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
}

#[test]
fn each_chunk_has_its_golden_vectors() {
    let bench = Bench::new();
    let words = ["-o", "q", "-q", "--context", "40", "--chunks", "3", "--golden", "1"];
    let said = bench.run(&[&[tiny("gemma3").as_str(), "--unit", "ane"], &words[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    for number in 1..=3 {
        let package = format!("q/gemma3-chunk{number}of3.mlpackage");
        let found = bench.json(&["validate", &package, "--skip-speed", "--on", "cpu"]);
        assert_eq!(found["against"], format!("gemma3-chunk{number}of3.golden.safetensors"));
        assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{}", found["failed"]);
        assert!(found["outputs"].as_array().unwrap().len() >= 2, "{}", found["outputs"]);
    }
}

#[test]
fn a_head_beside_the_embedding_that_it_is_tied_to_must_equal_it() {
    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;
    let bench = with_model("llama-linear");
    let path = bench.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let embedding = stored.tensor("model.embed_tokens.weight").unwrap();
    let mut head = embedding.data().to_vec();
    for code in [0, 3] {
        if code == 3 {
            head[100] ^= 1;
        }
        let view = TensorView::new(embedding.dtype(), embedding.shape().to_vec(), &head).unwrap();
        let mut tensors: Vec<(String, TensorView<'_>)> = stored.tensors();
        tensors.push(("lm_head.weight".into(), view));
        fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        let said = bench.run(&["model", "-o", "q", "-q", "--force"]);
        assert_eq!(said.code, code, "{}", said.err);
        assert_eq!(said.err.contains("and the two differ"), code == 3, "{}", said.err);
    }
}
