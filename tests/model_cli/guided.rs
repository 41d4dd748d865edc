//! Weights that know their inputs: `--gptq` and `--importance`, from data to a better model.

use super::bench::Bench;
use super::tiny;
use serde_json::Value;
use std::fs;

/// Converts quietly; the report.
fn converted(bench: &Bench, model: &str, out: &str, words: &[&str]) -> Value {
    let fixed = [model, "-q", "-o", out, "--to", "mlpackage", "--min-elements", "1024"];
    let said = bench.run(&[&fixed, words].concat());
    assert_eq!(said.code, 0, "{words:?}: {}", said.err);
    serde_json::from_slice(&fs::read(bench.path(out).join("report.json")).unwrap()).unwrap()
}

/// A bench with `float`, the package of a model in float, and `counts`, made of `data` by these words.
fn counted(model: &str, data: &str, words: &[&str]) -> Bench {
    let bench = Bench::new();
    converted(&bench, model, "float", &["--scheme", "float16"]);
    fs::write(bench.path("text.txt"), data).unwrap();
    let said =
        bench.run(&[&["calibrate", "float", "text.txt", "-q", "-o", "counts"], words].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    bench
}

#[test]
fn a_model_that_knows_its_inputs_is_nearer_to_its_source() {
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(format!("{model}/eval.txt")).unwrap();
    let end = text.char_indices().nth(500).unwrap().0;
    let bench = counted(&model, &text[..end], &["--hessians"]);
    let divergence = |out: &str, words: &[&str]| {
        let fixed = ["--scheme", "linear-int4,block:32"];
        let report = converted(&bench, &model, out, &[&fixed, words].concat());
        let against = ["validate", out, "--against", &model, "--text", "text.txt", "--skip-speed"];
        let found = bench.json(&[&against[..], &["--on", "cpu"]].concat());
        (found["text"]["classes"]["kl_mean"].as_f64().unwrap(), report)
    };
    let (plain, _) = divergence("plain", &[]);
    let guided = ["--calibration", "counts", "--importance"];
    let (weighted, report) = divergence("weighted", &guided);
    assert!(weighted < plain, "{weighted} {plain}");
    let quantized = |report: &Value| {
        let all = report["tensors"].as_array().unwrap().clone();
        let is = |tensor: &Value| !tensor["error"].is_null();
        all.into_iter().filter(is).collect::<Vec<_>>()
    };
    assert_eq!(quantized(&report).len(), 29);
    let (fed, report) = divergence("fed", &["--calibration", "counts", "--gptq"]);
    assert!(fed < 0.9 * plain, "{fed} {plain}");
    for tensor in quantized(&report) {
        let error = |i: usize| tensor["error"]["output_error"][i].as_f64().unwrap();
        // The embedding is the head as well: what helps the head must not hurt its rows.
        let tied = tensor["name"] == "model.embed_tokens.weight";
        let most = if tied { 1.0 } else { 0.8 };
        assert!(error(1) < most * error(0), "{}", tensor["name"]);
        let told = tensor["notes"].to_string();
        assert!(told.contains("GPTQ by the Hessian of"), "{told}");
        assert_eq!(told.contains("rows that are looked up"), tied, "{told}");
    }
}

#[test]
fn what_guides_no_weight_is_told() {
    let llama = tiny("llama");
    let bench = Bench::new();
    converted(&bench, &llama, "float", &["--scheme", "float16"]);
    fs::write(bench.path("text.txt"), "a b c a b c").unwrap();
    let tokenizer = r#"{"version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "truncation": null,
        "padding": null, "decoder": null, "model": {"type": "WordLevel", "unk_token": "c",
        "vocab": {"a": 5, "b": 6, "c": 7}}}"#;
    fs::write(bench.path("float/tokenizer.json"), tokenizer).unwrap();
    for (out, words) in [("counts", &[][..]), ("some", &["--hessians=joined"])] {
        let fixed = ["calibrate", "float", "text.txt", "-q", "-o", out];
        let said = bench.run(&[&fixed, words].concat());
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let (bert, resnet) = (tiny("bert"), tiny("resnet-basic"));
    for (words, told) in [
        (&[&llama[..], "--gptq"][..], "--calibration <DATA>"),
        (&[&llama, "--importance"], "--calibration <DATA>"),
        (
            &[&llama, "--gptq", "--importance", "--calibration", "counts"],
            "--importance and --gptq: the calibration holds no Hessians; run `quantize calibrate --hessians`",
        ),
        (
            &[&resnet, "--importance", "--calibration", "counts"],
            "counted the input of none of the weights that are quantized",
        ),
        (
            &[&bert, "--importance", "--calibration", "counts"],
            "the columns that were counted of its input are not its own; calibrate this model again",
        ),
        (&[&llama, "--gptq=random", "--calibration", "some"], "use energy or natural"),
    ] {
        let fixed = ["-q", "-o", "q", "--to", "mlpackage", "--min-elements", "512"];
        let said = bench.run(&[words, &fixed].concat());
        assert_ne!(said.code, 0, "{words:?}");
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
        assert!(!bench.path("q").exists(), "{words:?}");
    }
    // Where some inputs were counted, the rest is rounded, and its notes say so.
    let words = ["--gptq", "--calibration", "some"];
    let report = converted(&bench, &llama, "q", &words);
    let tensors = report["tensors"].as_array().unwrap();
    let notes = |part: &str| {
        let of = |tensor: &&Value| tensor["name"].as_str().unwrap().contains(part);
        let found: Vec<String> =
            tensors.iter().filter(of).map(|t| t["notes"].to_string()).collect();
        assert!(!found.is_empty(), "{part}");
        found
    };
    assert!(notes("o_proj.weight").iter().all(|n| n.contains("GPTQ by the Hessian")));
    let rounded = "rounded, without GPTQ: not counted in the calibration";
    assert!(notes("q_proj.weight").iter().all(|n| n.contains(rounded)));
}
