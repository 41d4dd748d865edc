//! `quantize inspect --int8-path`.

use super::calibrate::with_checkpoint;
use super::tiny;
use crate::bench::Bench;
use std::fs;

#[test]
fn weights_alone_leave_all_arithmetic_in_float() {
    let bench = Bench::new();
    let said = bench.run(&[&tiny("bert"), "-o", "q", "--to", "mlpackage"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let document = bench.json(&["inspect", "q", "--int8-path"]);
    let function = &document["packages"][0]["functions"][0];
    let all = &function["shares"]["all"];
    assert_eq!(all["w8a8"], 0);
    assert!(all["w8a16"].as_u64() > Some(0));
    let products = function["products"].as_array().unwrap();
    let sum: u64 = products.iter().map(|product| product["macs"].as_u64().unwrap()).sum();
    let classes = ["w8a16", "float", "fp_palette", "lut8a8"];
    assert_eq!(sum, classes.iter().map(|class| all[class].as_u64().unwrap()).sum::<u64>());
    // The report keeps the same summary.
    let report = bench.json(&["inspect", "q"]);
    let kept = &report["int8_path"][0]["functions"][0];
    assert_eq!(report["int8_path"][0]["package"], document["packages"][0]["package"]);
    for key in ["function", "shares", "int8_share", "int8_share_of_weights", "breaks"] {
        assert_eq!(kept[key], function[key], "{key}");
        assert!(!kept[key].is_null(), "{key}");
    }
    let said = bench.run(&["inspect", "q"]);
    assert!(
        said.out.contains("\nINT8 path of main: 0.0 % of MACs (float 55.9 %, W8A16 "),
        "{}",
        said.out
    );
    let said = bench.run(&["inspect", "q", "--int8-path"]);
    assert_eq!(said.code, 0);
    let folded = said.out.lines().find(|line| line.contains("_mlp_up")).unwrap();
    assert!(folded.starts_with("layers_*_mlp_up"), "{folded}");
    assert!(folded.ends_with("activations-in-float"), "{folded}");
}

#[test]
fn palettes_with_int8_entries_multiply_int8_activations_in_int8() {
    let bench = with_checkpoint();
    for bits in ["8", "6", "4"] {
        let (scheme, out) = (format!("palette-{bits},lut-int8"), format!("q{bits}"));
        let words = ["model", "-q", "-s", &scheme, "-o", &out, "--min-elements", "256"];
        let int8 = ["--activations", "int8", "--calibration", "text.txt", "--to", "mlpackage"];
        let said = bench.run(&[&words[..], &int8].concat());
        assert_eq!(said.code, 0, "{scheme}: {}", said.err);
        let document = bench.json(&["inspect", &out, "--int8-path"]);
        let weights = &document["packages"][0]["functions"][0]["shares"]["weights"];
        assert!(weights["lut8a8"].as_u64() > Some(0), "{scheme}: {weights}");
        let others = ["w8a8", "w8a16", "float", "fp_palette"];
        assert!(others.iter().all(|class| weights[class] == 0), "{scheme}: {weights}");
        // Both backends evaluate it, and agree: integers on one, the program as it is on the other.
        let words = ["validate", &out, "--against", "model", "--skip-speed", "--min-cosine", "0.9"];
        let found = bench.json(&words);
        assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{scheme}: {}", found["failed"]);
    }
}

#[test]
fn a_checkpoint_has_no_path_and_the_flags_of_reports_none_to_show() {
    let bench = Bench::new();
    for (words, code, said) in [
        (vec!["inspect", &tiny("llama"), "--int8-path"], 3, "no graph"),
        (vec!["inspect", "none", "--int8-path"], 3, "there is no such file"),
        (vec!["inspect", "q", "--int8-path", "--min-sqnr", "3"], 2, "--int8-path shows"),
        (vec!["inspect", "q", "--int8-path", "--model"], 2, "cannot be used with"),
    ] {
        let got = bench.run(&words);
        assert_eq!(got.code, code, "{words:?}: {}", got.err);
        assert!(got.err.contains(said), "{words:?}: {}", got.err);
    }
}

#[test]
fn what_is_known_to_go_wrong_is_told_once_by_a_conversion_and_in_full_by_inspect() {
    let bench = Bench::new();
    let scheme = ["--scheme", "linear-int8,block:8", "--min-elements", "1"];
    let said =
        bench.run(&[&[&tiny("llama"), "-o", "q", "--to", "mlpackage"], &scheme[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let told = said.out.lines().filter(|line| line.starts_with("remark: ")).collect::<Vec<_>>();
    let blocks = told.iter().filter(|line| line.contains("per-block")).collect::<Vec<_>>();
    assert_eq!(blocks.len(), 1, "{told:?}");
    assert!(blocks[0].contains("github.com/apple/coreai-models/issues/279"), "{}", blocks[0]);
    // A model for the GPU is told what goes wrong, not where else it would run.
    assert!(told.iter().all(|line| !line.contains("wide-state-update")), "{told:?}");
    let report = bench.json(&["inspect", "q"]);
    let kept = report["remarks"].as_array().unwrap();
    assert!(kept.iter().any(|remark| remark["rule"] == "per-block" && remark["times"] == 3));
    let document = bench.json(&["inspect", "q", "--int8-path"]);
    let package = &document["packages"][0];
    let rules = |key: &str| {
        let all = package[key].as_array().unwrap().iter();
        all.map(|remark| remark["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(rules("remarks").contains(&"wide-state-update".into()), "{:?}", rules("remarks"));
    assert!(rules("shapes").contains(&"channels-16".into()), "{:?}", rules("shapes"));
    assert!(package["forecast"].is_null(), "no chip was named");
    // One scale a channel has a good name.
    let said = bench.run(&[&tiny("llama"), "-o", "p", "--to", "mlpackage"]);
    assert!(!said.out.contains("per-block"), "{}", said.out);
}

#[test]
fn a_model_for_the_neural_engine_is_told_what_would_leave_it() {
    let bench = Bench::new();
    let words = ["-o", "q", "--to", "mlpackage", "--unit", "ane", "--scheme", "linear-int4"];
    let said = bench.run(&[&[&tiny("llama")[..]], &words[..], &["--min-elements", "1"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains(": int4: "), "{}", said.out);
    assert!(said.out.contains("coreai-models/issues/205"), "{}", said.out);
    let gpu =
        bench.run(&[&tiny("llama"), "-o", "p", "--scheme", "linear-int4", "--min-elements", "1"]);
    assert!(!gpu.out.contains(": int4: "), "{}", gpu.out);
}

#[test]
fn a_chip_has_its_own_limits_and_a_forecast() {
    let bench = Bench::new();
    assert_eq!(bench.run(&[&tiny("llama"), "-o", "q", "--to", "mlpackage"]).code, 0);
    let document = bench.json(&["inspect", "q", "--chip", "m5 pro"]);
    let forecast = &document["packages"][0]["forecast"];
    assert_eq!(forecast["chip"]["name"], "M5 Pro");
    assert!(forecast["about"].as_str().unwrap().contains("nothing was measured"));
    let calls = forecast["calls"].as_array().unwrap();
    let of = |name: &str| calls.iter().find(|call| call["function"] == name).unwrap();
    assert_eq!((&of("decode")["tokens"], &of("prefill")["tokens"]), (&1.into(), &64.into()));
    assert_eq!(of("decode")["gpu"]["bound"], "bandwidth");
    // The roofline by hand: bytes over 229.7 GB/s, where bytes decide throughout.
    let [bytes, seconds] =
        ["bytes", "seconds"].map(|key| of("decode")["gpu"][key].as_f64().unwrap());
    assert!((seconds * 229.7e9 / bytes - 1.0).abs() < 0.05, "{seconds} {bytes}");
    let said = bench.run(&["inspect", "q", "--chip", "M5 Pro"]);
    assert!(said.out.contains("M5 Pro: predicted from bytes and operations"), "{}", said.out);
    for (words, code, why) in [
        (vec!["inspect", "q", "--chip", "M5 Por"], 2, "did you mean M5 Pro?"),
        (vec!["inspect", "q", "--chip", "M4", "--model"], 2, "cannot be used with"),
        (vec!["inspect", "q", "--chip", "M4", "--min-sqnr", "3"], 2, "--chip shows"),
        (vec!["plan", "--chip", "M4", "none"], 3, "there is no such file"),
        (vec!["plan", "q"], 2, "--chip"),
        (
            vec!["plan", "q", "--chip", "M4", "--context", "64"],
            2,
            "a package is compressed as it is",
        ),
    ] {
        let got = bench.run(&words);
        assert_eq!(got.code, code, "{words:?}: {}", got.err);
        assert!(got.err.contains(why), "{words:?}: {}", got.err);
    }
}

#[test]
fn a_plan_compares_schemes_by_what_a_chip_reads_and_multiplies() {
    let bench = Bench::new();
    let document = bench.json(&["plan", "--chip", "M1", &tiny("llama")]);
    let calls = document["calls"].as_array().unwrap();
    let seconds = |scheme: &str, activations: &str, unit: &str| {
        let call = calls.iter().find(|call| {
            call["function"] == "decode"
                && call["scheme"] == scheme
                && call["activations"] == activations
        });
        call.unwrap_or_else(|| panic!("{scheme} {activations}"))[unit]["seconds"].as_f64().unwrap()
    };
    let plain = |scheme| seconds(scheme, "as-they-are", "gpu");
    assert!(plain("float16") > plain("linear-int8"));
    assert!(plain("linear-int8") > plain("palette-4,group:16"));
    assert!(seconds("linear-int8", "int8", "gpu") <= plain("linear-int8"));
    assert_eq!(seconds("linear-int8", "as-they-are", "ane"), 0.23e-3, "the call's own cost");
    // Only what was asked for, and nothing is written.
    let words = ["plan", "--chip", "M1", "--scheme", "palette-6", &tiny("bert")];
    let document = bench.json(&words);
    let calls = document["calls"].as_array().unwrap();
    assert!(calls.iter().all(|call| call["scheme"] == "palette-6" && call["function"] == "main"));
    assert_eq!(calls.len(), 1);
    insta::assert_snapshot!(bench.run(&words).out, @r"
    M1: predicted from bytes and operations by published figures of the chip; nothing was measured, and real calls take longer
    its Neural Engine is no faster where both operands are INT8, 1.05 times (measured: github.com/freedomtan/measure_ane_capacity)

    main, 24 tokens    stored  Neural Engine            GPU                      CPU
    palette-6        45.7 KiB  104,348 tok/s, the call  24,206,935 tok/s, bytes  unknown
    ");
    assert!(!bench.path("bert-palette-6").exists());
}

/// Two images of noise, as a file of inputs.
fn images(bench: &Bench, name: &str) {
    let numbers = 2 * 3 * 32 * 32;
    let header = format!(
        r#"{{"pixel_values":{{"dtype":"F32","shape":[2,3,32,32],"data_offsets":[0,{}]}}}}"#,
        4 * numbers
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    for i in 0..numbers as u32 {
        let noise = i.wrapping_mul(2_654_435_761) >> 16;
        file.extend((noise as f32 / 32_768.0 - 1.0).to_le_bytes());
    }
    fs::write(bench.path(name), file).unwrap();
}

#[test]
fn sums_of_residual_blocks_keep_the_chain_where_a_layer_follows() {
    let bench = Bench::new();
    images(&bench, "images.safetensors");
    let words = ["-o", "q", "--to", "mlpackage", "--min-elements", "1", "--activations", "int8"];
    let counts = ["--calibration", "images.safetensors"];
    let said = bench.run(&[&[&tiny("resnet-basic")[..]], &words[..], &counts].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let function = &bench.json(&["inspect", "q", "--int8-path"])["packages"][0]["functions"][0];
    assert_eq!(function["int8_share"], 1.0);
    // Three blocks, three sums; behind the last one comes the mean over all places.
    let breaks = function["every_break"].as_array().unwrap();
    let told: Vec<_> = breaks.iter().map(|found| (&found["operation"], &found["reason"])).collect();
    assert_eq!(told, [(&"stages_1_blocks_1_sum".into(), &"float-operands".into())]);
}
