//! A scheme for each weight, measured, chosen, edited and replayed.

use super::bench::Bench;
use super::tiny;
use std::collections::BTreeSet;
use std::fs;
use twolane::auto::{Input, Plan};

/// A bench with 900 characters of text.
fn with_text() -> (Bench, String) {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(format!("{model}/eval.txt")).unwrap();
    let end = text.char_indices().nth(900).unwrap().0;
    fs::write(bench.path("text.txt"), &text[..end]).unwrap();
    (bench, model)
}

#[test]
fn a_plan_is_measured_once_and_holds_each_budget() {
    let (bench, model) = with_text();
    let candidates = ["--candidate", "palette-4", "--candidate", "linear-int8"];
    let auto = |words: &[&str]| {
        let fixed = ["--scheme", "auto", "--data", "text.txt", "--to", "mlpackage", &model];
        bench.json(&[&fixed[..], &candidates, words].concat())
    };
    let bits = |report: &serde_json::Value| report["totals"]["bits_per_weight"].as_f64().unwrap();
    let by_bits = auto(&["--target-bpw", "5", "-o", "a"]);
    let again = ["--scheme", "auto", "--target-bpw", "5", "-o", "a", &model];
    assert_eq!(bench.run(&again).code, 2, "a folder that is there is refused before the work");
    assert!(bits(&by_bits) <= 5.0 && bits(&by_bits) > 4.8, "{}", bits(&by_bits));
    let read = |name: &str| Plan::read(&bench.path(name)).unwrap();
    let plan = read("a.plan.toml");
    assert!(plan.reached.starts_with(&format!("{:.3} bits", bits(&by_bits))), "{}", plan.reached);
    let schemes: Vec<_> = plan.rows.iter().map(|row| row.scheme.as_deref().unwrap()).collect();
    assert!(schemes.contains(&"palette-4") && schemes.contains(&"linear-int8"), "{schemes:?}");
    // The same measurements serve another budget: a measurement that was changed is believed.
    let file = bench.path("a.plan.toml");
    let told = fs::read_to_string(&file).unwrap();
    let mut edited = plan.clone();
    edited.rows[0].candidates[0].divergence = 123.5;
    fs::write(&file, edited.to_toml()).unwrap();
    let by_kl = auto(&["--max-kl", "0.02", "-o", "b", "--plan", "a.plan.toml"]);
    let again = read("a.plan.toml");
    assert_eq!(again.known(), edited.known());
    assert_eq!(again.budget, "--max-kl 0.02");
    assert!(bits(&by_kl) < 8.2, "{}", bits(&by_kl));
    let scored = ["validate", "b", "--against", &model, "--text", "text.txt", "--skip-speed"];
    let kl = bench.json(&scored)["text"]["classes"]["kl_mean"].as_f64().unwrap();
    // Windows of 256 tokens, and the package rounds to FP16.
    assert!(kl < 0.022, "{kl}");

    // Replayed, the first plan gives the first package; edited, another.
    fs::write(&file, told).unwrap();
    let replay = |out: &str| {
        let words = ["--plan", "a.plan.toml", "--to", "mlpackage", &model, "-o", out];
        bench.json(&words)
    };
    assert_eq!(bits(&replay("c")), bits(&by_bits));
    let weights = |out: &str| {
        let path = format!("{out}/stdlib-llama.mlpackage/Data/com.apple.CoreML/weights/weight.bin");
        fs::read(bench.path(&path)).unwrap()
    };
    assert_eq!(weights("a"), weights("c"));
    let mut edited = plan;
    edited.rows[0].scheme = Some("float16".into());
    fs::write(&file, edited.to_toml()).unwrap();
    assert!(bits(&replay("d")) > bits(&by_bits));
}

#[test]
fn any_model_is_measured_on_drawn_inputs_whatever_the_threads() {
    let bench = Bench::new();
    let model = tiny("sentence-bert");
    let auto = |threads: &str, db: &str, out: &str| {
        let words = ["--scheme", "auto", "--min-sqnr", db, "--threads", threads, "-o", out];
        let said = bench.run(&[&words[..], &["--min-elements", "512", "-q", &model]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        fs::read_to_string(bench.path(&format!("{out}.plan.toml"))).unwrap()
    };
    let plan = auto("1", "25", "one");
    assert_eq!(plan, auto("3", "25", "three"));
    let size = |out: &str| {
        let report = fs::read_to_string(bench.path(&format!("{out}/report.json"))).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        report["totals"]["bits_per_weight"].as_f64().unwrap()
    };
    auto("2", "45", "near");
    assert!(size("one") < size("near"), "{} {}", size("one"), size("near"));
}

#[test]
fn layers_read_int8_as_the_plan_says_and_no_others() {
    let (bench, model) = with_text();
    let int8 = ["--activations", "int8", "--calibration", "text.txt", "--to", "mlpackage", "-q"];
    let prompt = ["--prefill-chunk", "128", "--context", "256", &model];
    let of_first = ["--rule", "layers.[1-3]|embed=palette-8"];
    let convert = |words: &[&str]| {
        let said = bench.run(&[words, &int8, &prompt, &of_first].concat());
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
    };
    let auto = |chip: &str, out: &str| {
        let candidates = ["--candidate", "palette-4,lut-int8", "--candidate", "linear-int8"];
        let timed = ["--chip", chip, "--time-of", "prefill", "--data", "text.txt"];
        let words = ["--scheme", "auto", "--max-kl", "0.02", "--plan", "plan.toml", "-o", out];
        convert(&[&words[..], &timed, &candidates].concat());
        Plan::read(&bench.path("plan.toml")).unwrap()
    };
    let names = |plan: &Plan| -> BTreeSet<String> {
        let rows = plan.rows.iter().filter(|row| row.activations == Some(Input::Int8));
        rows.map(|row| row.name.replace('.', "_")).collect()
    };
    let in_int8 = |out: &str| -> BTreeSet<String> {
        let document = bench.json(&["inspect", out, "--int8-path"]);
        let functions = document["packages"][0]["functions"].as_array().unwrap().iter();
        let products = functions.flat_map(|function| function["products"].as_array().unwrap());
        let fast = products.filter(|p| p["class"] == "w8a8" || p["class"] == "lut8a8");
        fast.map(|product| product["weight"].as_str().unwrap().to_owned()).collect()
    };
    // INT8 is twice as fast there.
    let plan = auto("M5", "fast");
    assert!(!names(&plan).is_empty(), "{}", plan.to_toml());
    assert_eq!(in_int8("fast"), names(&plan));
    assert!(plan.chip.starts_with("a call of `prefill` on M5, GPU"), "{}", plan.chip);
    let known = plan.known();
    // And no faster there: nothing is measured again, and no layer reads INT8.
    let other = auto("M4", "slow");
    assert_eq!(other.known(), known);
    assert!(names(&other).is_empty() && in_int8("slow").is_empty(), "{}", other.to_toml());

    // Replayed, the plan gives the same layers; edited, one reads float.
    let mut plan = plan;
    fs::write(bench.path("again.toml"), plan.to_toml()).unwrap();
    convert(&["--plan", "again.toml", "-o", "again"]);
    assert_eq!(in_int8("again"), names(&plan));
    let row = plan.rows.iter_mut().find(|row| row.activations == Some(Input::Int8)).unwrap();
    row.activations = Some(Input::Float);
    fs::write(bench.path("edited.toml"), plan.to_toml()).unwrap();
    convert(&["--plan", "edited.toml", "-o", "edited"]);
    assert_eq!(in_int8("edited"), names(&plan));
    let said = bench.run(&["--plan", "again.toml", "-o", "none", &model]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("some of its layers read INT8 activations"), "{}", said.err);
}

#[test]
fn a_mix_is_nearer_than_uniform_palettes_of_as_many_bytes() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(format!("{model}/eval.txt")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // What judges is not what was measured on.
    fs::write(bench.path("text.txt"), lines[..15].join("\n")).unwrap();
    fs::write(bench.path("other.txt"), lines[60..75].join("\n")).unwrap();
    let convert = |words: &[&str], out: &str| {
        let fixed = ["--to", "mlpackage", "-o", out, &model];
        let report = bench.json(&[words, &fixed].concat());
        let scored = ["validate", out, "--against", &model, "--text", "other.txt", "--skip-speed"];
        let scored = bench.json(&[&scored[..], &["--on", "cpu"]].concat());
        let bits = report["totals"]["bits_per_weight"].as_f64().unwrap();
        (bits, scored["text"]["classes"]["kl_mean"].as_f64().unwrap())
    };
    let (bits, uniform) = convert(&["--scheme", "palette-6"], "uniform");
    let candidates =
        ["palette-4,group:16", "palette-6,group:16", "palette-6,lut-int8", "palette-8"];
    let candidates = candidates.map(|words| ["--candidate", words]);
    let limit = bits.to_string();
    let auto = ["--scheme", "auto", "--target-bpw", &limit, "--data", "text.txt"];
    let (taken, mixed) = convert(&[&auto[..], &candidates.concat()].concat(), "mixed");
    assert!(taken <= bits, "{taken} {bits}");
    assert!(mixed < 0.9 * uniform, "{mixed} {uniform}");
}

#[test]
fn what_auto_cannot_do_is_told() {
    let (bench, model) = with_text();
    fs::write(bench.path("not.toml"), "[[rule]]").unwrap();
    let tiny = tiny("sentence-bert");
    for (words, code, told) in [
        (&["--scheme", "auto", &model][..], 2, "--target-bpw BITS, --max-kl NATS"),
        (&["--target-bpw", "5", &model], 2, "--target-bpw is for --scheme auto"),
        (&["--scheme", "auto", "--max-kl", "0.1", &model], 2, "it is measured on a text"),
        (&["--scheme", "auto", "--max-kl", "-1", &model], 2, "a number that can be reached"),
        (&["--scheme", "auto", "--max-kl", "1", "--min-sqnr", "3", &model], 2, "cannot be used"),
        (&["--scheme", "auto", "--target-bpw", "2", &tiny], 2, "the smallest plan"),
        (&["--scheme", "auto", "--max-ms", "1", &model], 2, "add --chip NAME"),
        (
            &["--scheme", "auto", "--max-kl", "1", "--time-of", "decode", &model],
            2,
            "add --chip NAME",
        ),
        (&["--chip", "M5", &model], 2, "--chip is for --scheme auto"),
        (&["--scheme", "auto", "--min-sqnr", "9", "--chip", "M55", &tiny], 2, "did you mean M5?"),
        (&["--plan", "none.toml", &model], 3, "there is no such file"),
        (&["--plan", "not.toml", &model], 3, "a plan is what --scheme auto writes"),
        (&["--scheme", "auto", "--target-bpw", "5", "--plan", "not.toml", &model], 3, "not.toml:1"),
    ] {
        let said = bench.run(&[words, &["-o", "q"]].concat());
        assert_eq!(said.code, code, "{words:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
        assert!(!bench.path("q").exists());
    }
}
