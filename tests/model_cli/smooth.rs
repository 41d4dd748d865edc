//! Columns made alike, on the command line.

use super::bench::Bench;
use super::calibrate::with_checkpoint;
use std::collections::BTreeMap;
use std::fs;
use twolane::graph::DataType;
use twolane::graph::weight::Weight;
use twolane::source::Package;

/// Runs it, which must succeed.
pub(super) fn done(bench: &Bench, words: &[&str]) {
    let said = bench.run(&[words, &["-q"]].concat());
    assert_eq!(said.code, 0, "{words:?}: {}", said.err);
}

/// What the packages in a folder compute with: each constant's numbers, by function and name.
pub(super) fn constants(bench: &Bench, folder: &str) -> BTreeMap<(String, String), Vec<f32>> {
    let entries = fs::read_dir(bench.path(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut found = BTreeMap::new();
    for path in entries.filter(|path| path.extension().is_some_and(|e| e == "mlpackage")) {
        let program = Package::open(&path).unwrap().program;
        for (name, function) in &program.functions {
            for value in &function.values {
                let weight = value.constant.as_ref().and_then(|constant| constant.as_weight());
                let Some(weight) = weight.filter(|weight| is_float(weight)) else { continue };
                let key = (name.clone(), value.name.clone());
                found.insert(key, weight.dequantize().unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn is_float(weight: &Weight) -> bool {
    matches!(weight.storage.dtype(), DataType::Float16 | DataType::Float32)
}

#[test]
fn one_command_smooths_as_five_do() {
    let bench = with_checkpoint();
    let int8 = ["--activations", "int8"];
    for (smooth, first) in [
        ("--smooth", &["--calibration", "counts"][..]),
        ("--smooth=0.7", &["--calibration", "counts"]),
        ("--equalize", &[]),
    ] {
        done(&bench, &["calibrate", "q", "text.txt", "-o", "counts"]);
        let smoothed = ["q", "-o", "smooth", "-f", "-s", "float16", smooth];
        done(&bench, &[&smoothed, first].concat());
        done(&bench, &["calibrate", "smooth", "text.txt", "-o", "recounts"]);
        let last = ["smooth", "-o", "five", "-f", "--calibration", "recounts"];
        done(&bench, &[&last[..], &int8].concat());
        let once = ["q", "-o", "one", "-f", "--calibration", "text.txt", smooth];
        done(&bench, &[&once[..], &int8].concat());
        let (five, one) = (constants(&bench, "five"), constants(&bench, "one"));
        assert_eq!(five, one, "{smooth}");
        assert!(one.keys().any(|(_, name)| name.ends_with("_scale")), "there are ranges");
        // Without it the ranges are others.
        let plain = ["q", "-o", "plain", "-f", "--calibration", "text.txt"];
        done(&bench, &[&plain[..], &int8].concat());
        assert_ne!(constants(&bench, "plain"), one, "{smooth}");
        let report = fs::read_to_string(bench.path("one/report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["options"]["recalibration"][0]["samples"], 2);
        assert!(!bench.path("one/smooth").exists());
    }
}

#[test]
fn a_smoothed_package_is_held_against_the_weights_before() {
    let bench = with_checkpoint();
    let smoothed = ["model", "--to", "mlpackage", "--smooth", "--calibration", "text.txt"];
    for (scheme, least) in [("float16", 50.0), ("linear-int8", 20.0)] {
        done(&bench, &[&smoothed[..], &["-s", scheme, "-o", scheme]].concat());
        let found = bench.json(&["validate", scheme, "--against", "model", "--skip-speed"]);
        for output in found["outputs"].as_array().unwrap() {
            let sqnr = output["figures"]["sqnr_db"].as_f64().unwrap();
            assert!(sqnr > least, "{scheme}: {output}");
        }
        let layers = found["layers"].as_array().unwrap();
        assert_eq!(layers.is_empty(), scheme == "float16");
        assert!(layers.iter().all(|layer| layer["weights"].is_null()), "{found}");
        assert!(found["unproven"].to_string().contains("columns of its weights are scaled"));
    }
    // Beside a package with the same columns, layers are what they are.
    let found = bench.json(&["validate", "linear-int8", "--against", "float16", "--skip-speed"]);
    let layers = found["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["weights"]["sqnr_db"].as_f64().unwrap() > 30.0));
}

#[test]
fn a_model_in_chunks_has_the_numbers_of_the_whole() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(format!("{model}/eval.txt")).unwrap();
    fs::write(bench.path("text.txt"), text.chars().take(100).collect::<String>()).unwrap();
    let words =
        ["--activations", "int8", "--calibration", "text.txt", "--smooth", "--to", "mlpackage"];
    let steps = ["--prefill-chunk", "16", "--context", "32"];
    for (out, chunks) in [("whole", "1"), ("parts", "2")] {
        done(&bench, &[&[&model, "-o", out, "--chunks", chunks], &words[..], &steps].concat());
    }
    let (whole, parts) = (constants(&bench, "whole"), constants(&bench, "parts"));
    let of_layers = |all: &BTreeMap<(String, String), Vec<f32>>| {
        let all = all.iter().filter(|((_, name), _)| name.contains("layers_"));
        all.map(|(key, floats)| (key.clone(), floats.clone())).collect::<BTreeMap<_, _>>()
    };
    assert!(of_layers(&whole).len() > 50);
    assert_eq!(of_layers(&whole), of_layers(&parts));
}

#[test]
fn counts_of_the_model_before_are_refused_where_those_after_are_needed() {
    let bench = with_checkpoint();
    done(&bench, &["calibrate", "q", "text.txt", "-o", "counts"]);
    for (words, told) in [
        (
            &["--smooth", "--activations", "int8", "--calibration", "counts"][..],
            "in place of counts",
        ),
        (&["--equalize", "--importance", "--calibration", "counts"], "in place of counts"),
        (&["--smooth"], "--calibration <DATA>"),
        (&["--smooth", "--equalize", "--calibration", "counts"], "cannot be used with"),
        (&["--layer-package", "--equalize"], "read nothing of each other"),
    ] {
        let said = bench.run(&[&["model", "-o", "out"], words].concat());
        assert_eq!(said.code, 2, "{words:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
        assert!(!bench.path("out").exists());
    }
}
