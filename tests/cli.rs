//! The command line as its users meet it: the binary is run, and its words and exit codes are read.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use twolane::metrics::Stats;
use twolane::report::{ErrorReport, Parts, Report, TensorReport};

/// A folder with a checkpoint `model.safetensors`, and the binary run in it.
struct Bench {
    folder: tempfile::TempDir,
}

/// What a run said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bench = Self { folder };
        fs::write(bench.path("model.safetensors"), checkpoint()).expect("a checkpoint");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quantize"));
        command.current_dir(self.folder.path()).args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(words).output().expect("the binary");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said { code: status.code().expect("an exit"), out: text(stdout), err: text(stderr) }
    }

    /// An output folder with a report of two measured tensors, `good` and `bad`, and one left.
    fn with_report(self, name: &str) -> Self {
        fs::create_dir(self.path(name)).expect("a folder");
        fs::write(self.path(name).join("report.json"), report().to_json()).expect("a report");
        self
    }
}

/// A safetensors file: a matrix, a norm and some ids.
fn checkpoint() -> Vec<u8> {
    let header = concat!(
        r#"{"l0.weight":{"dtype":"F16","shape":[64,64],"data_offsets":[0,8192]},"#,
        r#""norm":{"dtype":"F16","shape":[64],"data_offsets":[8192,8320]},"#,
        r#""ids":{"dtype":"I64","shape":[2],"data_offsets":[8320,8336]}}"#
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..8336 / 2).flat_map(|i: u16| (i % 0x3c00).to_le_bytes()));
    file
}

fn report() -> Report {
    let tensor = |name: &str, error: Option<f32>| TensorReport {
        name: name.into(),
        dtype: "F16".into(),
        shape: vec![64, 64],
        scheme: Some(if error.is_some() { "linear-int8" } else { "float16" }.parse().unwrap()),
        requested: None,
        rule: "default".into(),
        notes: vec![],
        elements: 4096,
        bytes_before: 8192,
        bytes_after: 4224,
        error: error.map(|error| {
            let mut stats = Stats::default();
            stats.add_weighted(1.0, 1.0 - error, 4096);
            ErrorReport::new("linear-int8".parse().unwrap(), &stats, None)
        }),
    };
    Report::new(Parts {
        tensors: vec![tensor("good", Some(0.01)), tensor("bad", Some(0.1)), tensor("norm", None)],
        ..Parts::default()
    })
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let bench = Bench::new();
    let said = bench.run(&["--dry-run", "model.safetensors"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for words in ["l0.weight", "linear-int8", "rank 1: codes need", "copied", "8,336 bytes"] {
        assert!(said.out.contains(words), "{words} in {}", said.out);
    }
    let json = bench.run(&["model.safetensors", "-n", "--json", "--scheme", "palette-4,group:16"]);
    let plan: serde_json::Value = serde_json::from_str(&json.out).expect("one document");
    assert_eq!(plan["tensors"].as_array().map(Vec::len), Some(3));
    assert_eq!(plan["options"]["scheme"], "palette-4,group:16");
    assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 1, "only the checkpoint");
}

#[test]
fn rules_of_the_command_line_come_before_those_of_a_file() {
    let bench = Bench::new();
    fs::write(
        bench.path("rules.toml"),
        "[[rule]]\nmatch = \"l0\"\nscheme = \"palette-2\"\n[[rule]]\nmatch = \"norm\"\nscheme = \"float32\"\n",
    )
    .unwrap();
    let words =
        ["-n", "--json", "--rules", "rules.toml", "--rule", "l0=palette-6", "model.safetensors"];
    let said = bench.run(&words);
    let plan: serde_json::Value = serde_json::from_str(&said.out).expect("one document");
    let scheme = |name: &str| {
        let tensors = plan["tensors"].as_array().unwrap();
        tensors.iter().find(|t| t["name"] == name).unwrap()["scheme"].clone()
    };
    assert_eq!((scheme("l0.weight"), scheme("norm")), ("palette-6".into(), "float32".into()));
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("rules.toml:1") && warnings.contains("no effect"), "{warnings}");
}

#[test]
fn words_that_make_no_sense_are_usage_errors_that_teach() {
    let bench = Bench::new().with_report("inspect");
    fs::write(bench.path("bad.toml"), "[[rule]]\nmatch = \"a\"\nbits = 4\n").unwrap();
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&[],                                               "INPUT"),
        (&["--scheme", "palette-5", "model.safetensors"],   "palette-6"),
        (&["--scheme", "palette4", "model.safetensors"],    "did you mean `palette-4`"),
        (&["--scheme", "auto", "model.safetensors"],        "--target-bpw"),
        (&["model.safetensors", "out"],                     "--output out"),
        (&["--threads", "0", "model.safetensors"],          "1..=1024"),
        (&["--layers", "nope", "model.safetensors"],        "--dry-run"),
        (&["--clip", "entropy", "model.safetensors"],       "percentile:99.9"),
        (&["--target", "ios15", "model.safetensors"],       "ios16"),
        (&["--to", "metal,onnx", "model.safetensors"],      "dense"),
        (&["--layout", "k8", "model.safetensors"],          "k4"),
        (&["--threads", "0", "model.safetensors"],          "threads"),
        (&["--threads", "99999", "model.safetensors"],      "threads"),
        (&["--layers", "(", "model.safetensors"],           "--layers"),
        (&["--rule", "mlp", "model.safetensors"],           "REGEX=SCHEME"),
        (&["--rules", "none.toml", "model.safetensors"],    "no such file"),
        (&["--rules", "bad.toml", "model.safetensors"],     "bad.toml:3"),
        (&["-n", "--scheme", "linear-int4", "--target", "ios17", "model.safetensors"], "--target ios18"),
        (&["inspct"],                                       "did you mean the subcommand `inspect`?"),
        (&["inspct", "out", "--tensor", "x"],               "did you mean the subcommand `inspect`?"),
        (&["--scheme", "palette-4", "inspect", "inspect"],  "--scheme stands before the subcommand"),
        (&["--dry-run", "inspect", "inspect"],              "--dry-run stands before the subcommand"),
        (&["model.safetensors", "inspect", "inspect"],      "INPUT stands before the subcommand"),
        (&["inspect", "inspect", "--tensor", "nothing"],    "there are good, bad, norm"),
        (&["inspect", "inspect", "--tensor", "o"],          "several names: good, norm"),
        (&["inspect", "inspect", "--min-sqnr", "nan"],      "--min-sqnr"),
        (&["man", "nothing"],                               "inspect"),
    ];
    for (words, want) in cases {
        let said = bench.run(words);
        assert_eq!(said.code, 2, "{words:?}: {}", said.err);
        assert!(said.err.contains(want), "{words:?}: {}", said.err);
        assert_eq!(said.out, "", "{words:?}");
    }
}

#[test]
fn broken_input_is_3_and_says_where() {
    let bench = Bench::new();
    fs::write(bench.path("cut.safetensors"), &checkpoint()[..100]).unwrap();
    fs::create_dir(bench.path("empty")).unwrap();
    fs::write(bench.path("report.json"), "{\"form\": 1,").unwrap();
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&["-n", "cut.safetensors"],    "cut.safetensors"),
        (&["inspect", "empty"],         "there is no report.json"),
        (&["inspect", "nowhere"],       "there is no such file or folder"),
        (&["inspect", "report.json"],   "line 1"),
    ];
    for (words, want) in cases {
        let said = bench.run(words);
        assert_eq!(said.code, 3, "{words:?}: {}", said.err);
        assert!(said.err.contains(want), "{words:?}: {}", said.err);
    }
}

#[test]
fn global_flags_stand_before_and_after_a_subcommand() {
    let bench = Bench::new().with_report("out");
    let plain = bench.run(&["inspect", "out"]);
    assert_eq!(plain.code, 0, "{}", plain.err);
    assert!(plain.out.find("bad").unwrap() < plain.out.find("good").unwrap(), "worst first");
    for words in
        [["--json", "inspect", "out"], ["inspect", "--json", "out"], ["inspect", "out", "--json"]]
    {
        let said = bench.run(&words);
        assert_eq!((said.code, said.out.as_str()), (0, report().to_json().as_str()), "{words:?}");
    }
    for words in [["-q", "inspect", "out"], ["inspect", "out", "--quiet"]] {
        let said = bench.run(&words);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""), "{words:?}");
    }
    let before = bench.run(&["--threads", "3", "-n", "model.safetensors"]);
    let after = bench.run(&["-n", "model.safetensors", "--threads", "3"]);
    assert_eq!((before.code, before.out), (0, after.out));
}

#[test]
fn a_file_named_like_a_subcommand_is_reached_by_its_path() {
    let bench = Bench::new();
    fs::copy(bench.path("model.safetensors"), bench.path("inspect")).unwrap();
    for words in [&["-n", "./inspect"][..], &["-n", "--", "inspect"]] {
        let said = bench.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        assert!(said.out.contains("l0.weight"));
    }
}

#[test]
fn inspect_shows_one_tensor_and_writes_csv() {
    let bench = Bench::new().with_report("out");
    let said = bench.run(&["inspect", "out", "--tensor", "goo"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("SQNR 40.00 dB") && said.out.contains('█'), "{}", said.out);
    let json = bench.run(&["inspect", "out", "--tensor", "good", "--json"]);
    let tensor: serde_json::Value = serde_json::from_str(&json.out).expect("one document");
    assert_eq!(tensor["name"], "good");
    let said = bench.run(&["inspect", "out/report.json", "--csv", "all.csv", "-q"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    let csv = fs::read_to_string(bench.path("all.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4);
    assert_eq!(bench.run(&["inspect", "out", "--csv", "-"]).out, csv);
    let said = bench.run(&["inspect", "out", "--csv", "no/such/folder.csv"]);
    assert_eq!(said.code, 4, "a machine's fault: {}", said.err);
}

/// The checkpoint of digits, quantized into `q`, and its package also in the open as `bare.mlpackage`.
fn with_packages() -> Bench {
    let bench = Bench::new();
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/digits.safetensors");
    for output in ["q", "gone"] {
        let said = bench.run(&["-q", "--min-elements", "512", "-o", output, digits]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    fs::rename(bench.path("gone/digits.mlpackage"), bench.path("bare.mlpackage")).unwrap();
    fs::remove_dir_all(bench.path("gone")).unwrap();
    bench
}

fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).expect("one document")
}

#[test]
fn inspect_of_a_package_shows_the_model_and_of_a_folder_the_report() {
    let bench = with_packages();
    let bare = bench.run(&["inspect", "bare.mlpackage"]);
    assert_eq!((bare.code, bare.err.as_str()), (0, ""));
    for words in ["fc1_weight", "linear int8, channel", "ios18"] {
        assert!(bare.out.contains(words), "{words} in {}", bare.out);
    }
    for words in [&["q/digits.mlpackage"][..], &["q/digits.mlpackage/"], &["q", "--model"]] {
        let said = bench.run(&[&["inspect"], words].concat());
        assert_eq!((said.code, &said.out), (0, &bare.out), "{words:?}: {}", said.err);
    }
    assert_eq!(bench.run(&["inspect", "bare.mlpackage", "--quiet"]).out, "");

    let model = bench.run(&["inspect", "bare.mlpackage", "--json"]);
    assert_eq!(bench.run(&["inspect", "q", "--model", "--json"]).out, model.out);
    let model = json(&model);
    assert_eq!(model["target"], "ios18");
    let functions = model["functions"].as_array().expect("functions");
    let first = functions.iter().find(|f| f["name"] == "fc1_weight").expect("the first layer");
    assert_eq!(first["operations"]["linear"], 1);
    assert_eq!(first["weights"][0]["storage"], "linear int8, channel");

    for path in ["q", "q/report.json"] {
        let report = json(&bench.run(&["inspect", path, "--json"]));
        assert!(report["tensors"].is_array() && report["functions"].is_null(), "{path}: {report}");
    }
    // A flag about the report asks for the report, also of the package beside it.
    let said = bench.run(&["inspect", "q/digits.mlpackage", "--tensor", "fc1.weight", "--json"]);
    assert_eq!(json(&said)["name"], "fc1.weight", "{}", said.err);
    for flag in [["--min-cosine", "0.9"], ["--max-kl", "1"], ["--min-sqnr", "1"]] {
        let said = bench.run(&[&["inspect", "bare.mlpackage"][..], &flag].concat());
        assert_eq!((said.code, said.out.as_str()), (3, ""), "no limit is passed over: {flag:?}");
        assert!(said.err.contains("there is no report.json"), "{}", said.err);
    }
}

#[test]
fn the_model_and_the_report_are_not_asked_for_at_once() {
    let bench = with_packages();
    #[rustfmt::skip]
    let flags: [&[&str]; 5] = [
        &["--min-cosine", "0.9"], &["--max-kl", "1"], &["--tensor", "fc1.weight"], &["--min-sqnr", "1"],
        &["--csv", "all.csv"],
    ];
    for flag in flags {
        for path in ["q", "bare.mlpackage"] {
            let said = bench.run(&[&["inspect", path, "--model"], flag].concat());
            let want = format!(
                "error: --model shows what the package holds, and {} what the report says; give \
                 one or the other\n",
                flag[0]
            );
            assert_eq!((said.code, said.out.as_str(), said.err), (2, "", want));
        }
    }
    assert!(!bench.path("all.csv").exists());
}

#[test]
fn everything_that_is_wrong_with_a_package_is_told() {
    let bench = with_packages();
    let blobs = bench.path("bare.mlpackage/Data/com.apple.CoreML/weights/weight.bin");
    let mut bytes = fs::read(&blobs).unwrap();
    bytes[4] = 1; // The version of blob files, which every weight comes from.
    fs::write(&blobs, bytes).unwrap();

    let said = bench.run(&["inspect", "bare.mlpackage", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (3, ""));
    let document = json(&said);
    assert_eq!(document["package"], "bare.mlpackage");
    let findings = document["findings"].as_array().expect("findings");
    assert!(findings.len() > 1, "{findings:?}");
    let blamed = |name: &str| findings.iter().any(|finding| finding["function"] == name);
    assert!(blamed("fc1_weight") && blamed("fc2_weight"), "{findings:?}");

    for words in [&["inspect", "bare.mlpackage"][..], &["inspect", "bare.mlpackage", "--quiet"]] {
        let said = bench.run(words);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{words:?}");
        let mut lines = said.err.lines();
        let head = format!("error: bare.mlpackage: {} findings", findings.len());
        assert_eq!(lines.next(), Some(head.as_str()));
        for (line, finding) in lines.by_ref().zip(findings) {
            assert!(line.contains(finding["found"].as_str().unwrap()), "{line}");
        }
        assert_eq!(said.err.lines().count(), 1 + findings.len(), "{}", said.err);
    }
}

#[test]
fn the_gate_fails_with_1_and_names_the_tensors() {
    let bench = Bench::new().with_report("out");
    #[rustfmt::skip]
    let cases: &[(&[&str], i32, &str)] = &[
        (&["inspect", "out", "--min-sqnr", "19"],                       0, ""),
        (&["inspect", "out", "--min-sqnr", "-5"],                       0, ""),
        (&["inspect", "out", "--min-sqnr", "30"],                       1, "1 of the quantized tensors below 30 dB: bad"),
        (&["inspect", "out", "--min-sqnr", "50", "-q"],                 1, "below 50 dB: bad, good"),
        (&["inspect", "out", "--min-sqnr", "30", "--tensor", "good"],   0, ""),
        (&["inspect", "out", "--min-sqnr", "30", "--tensor", "bad"],    1, "bad"),
    ];
    for (words, code, want) in cases {
        let said = bench.run(words);
        assert_eq!(said.code, *code, "{words:?}: {}", said.err);
        assert!(said.err.contains(want), "{words:?}: {}", said.err);
    }
}

#[test]
fn help_says_what_users_need_to_choose() {
    let bench = Bench::new();
    let said = bench.run(&["--help"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for words in [
        "usually better",
        "linear-int4,block:32",
        "Exit codes: 0 done",
        "[default: linear-int8]",
        "quantize inspect",
        "--dry-run",
    ] {
        assert!(said.out.contains(words), "{words} in the help");
    }
    assert!(!said.out.contains("completions"), "hidden subcommands stay hidden");
    let said = bench.run(&["inspect", "--help"]);
    assert!(said.code == 0 && said.out.contains("--min-sqnr"), "{}", said.out);
    assert_eq!(bench.run(&["--version"]).out, format!("quantize {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_is_a_word_too() {
    let bench = Bench::new();
    assert!(bench.run(&["help"]).out.contains("Exit codes: 0 done"));
    let said = bench.run(&["help", "inspect"]);
    assert!(said.code == 0 && said.out.contains("--min-sqnr"), "{}", said.err);
}

#[test]
fn words_that_are_wrong_within_a_subcommand_are_told_as_such() {
    let bench = Bench::new();
    for (words, want) in [
        (&["generate", "x", "--ids", "-1"][..], "`-1` is no token"),
        (&["generate", "x", "--ids", "1,b"], "`b` is no token"),
        (&["generate", "x", "--ids", "1", "--seed", "5"], "--temperature"),
        (&["embed", "x", "--ids", "-1"], "`-1` is no token"),
        (&["inspect", "--nonsense"], "unexpected argument '--nonsense'"),
        (&["model.safetensors", "--min-elements", "few"], "give a whole number from 0 on"),
    ] {
        let said = bench.run(words);
        assert_eq!(said.code, 2, "{words:?}: {}", said.err);
        assert!(said.err.contains(want), "{words:?}: {}", said.err);
        assert!(!said.err.contains("did you mean the subcommand"), "{words:?}: {}", said.err);
    }
}

#[test]
fn machines_get_errors_as_a_document() {
    let said = Bench::new().run(&["nothing.safetensors", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.code, &document["error"]["exit_code"]), (3, &3.into()));
    let message = document["error"]["message"].as_str().expect("a message");
    assert_eq!(said.err, format!("error: {message}\n"));
}

#[test]
fn completions_and_the_manual_are_generated() {
    let bench = Bench::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = bench.run(&["completions", shell]);
        assert!(said.code == 0 && said.out.contains("dry-run"), "{shell}: {}", said.err);
    }
    let page = bench.run(&["man"]);
    assert!(page.code == 0 && page.out.contains(".TH quantize 1"), "{}", page.err);
    let page = bench.run(&["man", "inspect"]);
    assert!(page.code == 0 && page.out.contains("min\\-sqnr"), "{}", page.err);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let bench = Bench::new().with_report("out");
    for words in
        [&["inspect", "out"][..], &["-n", "model.safetensors"], &["completions", "bash"], &["man"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = bench.command(words).stdout(writer).output().expect("the binary");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{words:?}");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let gated = bench.command(&["inspect", "out", "--min-sqnr", "30"]).stdout(writer).output();
    assert_eq!(gated.expect("the binary").status.code(), Some(1), "the verdict stands");
}

#[test]
fn an_input_that_is_not_there_is_named() {
    let bench = Bench::new();
    for words in [&["nowhere.safetensors"][..], &["-n", "no/where"]] {
        let said = bench.run(words);
        let want = format!(
            "error: {}: there is no such file or folder; check the path\n",
            words.last().unwrap()
        );
        assert_eq!((said.code, said.err), (3, want));
    }
    assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 1, "only the checkpoint");
}

/// A safetensors file of this header and so many zeros.
fn file(header: &[u8], zeros: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, &vec![0; zeros]].concat()
}

/// A folder of files by name.
fn shards(bench: &Bench, name: &str, files: &[(&str, &[u8])]) {
    fs::create_dir(bench.path(name)).unwrap();
    for (file, bytes) in files {
        fs::write(bench.path(name).join(file), bytes).unwrap();
    }
}

#[test]
fn hostile_checkpoints_end_in_one_line_and_leave_nothing() {
    let bench = Bench::new();
    let two = |a: [u64; 2], b: [u64; 2], end: u64| {
        let header = format!(
            r#"{{"a":{{"dtype":"U8","shape":[{}],"data_offsets":{a:?}}},"b":{{"dtype":"U8","shape":[{}],"data_offsets":{b:?}}}}}"#,
            a[1] - a[0],
            b[1] - b[0]
        );
        file(header.as_bytes(), end as usize)
    };
    let one = |name: &str| {
        file(
            format!(r#"{{"{name}":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}}"#).as_bytes(),
            4,
        )
    };
    let whole = checkpoint();
    let twice = br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let huge = br#"{"a":{"dtype":"F16","shape":[9223372036854775807,4],"data_offsets":[0,8]}}"#;
    let wrapping = br#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[18446744073709551612,4]}}"#;
    let nested = [&b"{\"a\":"[..], &vec![b'['; 100_000]].concat();
    #[rustfmt::skip]
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("empty",           vec![]),
        ("seven bytes",     vec![0; 7]),
        ("truncated",       whole[..whole.len() - 1].to_vec()),
        ("longer",          [&whole[..], &[0]].concat()),
        ("header beyond",   [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("header past end", [&1000u64.to_le_bytes()[..], b"{}"].concat()),
        ("bad JSON",        file(b"{\"a\":", 0)),
        ("nested JSON",     file(&nested, 0)),
        ("not UTF-8",       file(b"{\"\xff\xfe\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0)),
        ("duplicate",       file(twice, 1)),
        ("overlap",         two([0, 4], [2, 6], 6)),
        ("hole",            two([0, 4], [6, 8], 8)),
        ("overflow",        file(huge, 8)),
        ("wrapping",        file(wrapping, 8)),
        ("control letters", file(br#"{"\u001b[2J\n\u202eevil":{"dtype":"U8","shape":[5],"data_offsets":[0,4]}}"#, 4)),
    ];
    for (name, bytes) in &files {
        fs::write(bench.path(&format!("{name}.safetensors")), bytes).unwrap();
    }
    let map = |pairs: &str| format!(r#"{{"metadata":{{}},"weight_map":{{{pairs}}}}}"#).into_bytes();
    let (a, b) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let both = map(&format!(r#""a":"{a}","b":"{b}""#));
    let index = "model.safetensors.index.json";
    shards(&bench, "missing shard", &[(index, &both), (a, &one("a"))]);
    shards(
        &bench,
        "extra shard",
        &[(index, &both), (a, &one("a")), (b, &one("b")), ("c.safetensors", &one("c"))],
    );
    shards(&bench, "twice", &[(index, &both), (a, &one("a")), (b, &one("a"))]);
    shards(&bench, "outside", &[(index, &map(r#""a":"../model.safetensors""#))]);

    let before = fs::read_dir(bench.folder.path()).unwrap().count();
    let folders = ["missing shard", "extra shard", "twice", "outside"];
    let names = files.iter().map(|(name, _)| format!("{name}.safetensors"));
    let mut lines = String::new();
    for name in names.chain(folders.map(String::from)) {
        let said = bench.run(&["--to", "metal", &name]);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{name}: {}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.lines().count() == 1, "{}", said.err);
        assert!(said.err.contains(&name), "the place is named: {}", said.err);
        assert!(said.err.contains("; ") || said.err.contains(": "), "{}", said.err);
        assert!(!said.err.trim_end().contains(char::is_control), "{name}");
        lines += &said.err;
    }
    assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), before, "no output");
    insta::assert_snapshot!(lines, @r"
    error: empty.safetensors: the file is empty; download it again
    error: malformed safetensors, seven bytes.safetensors, byte 0: the file has 7 bytes; a header's length takes 8; the file is cut short or damaged: download it again
    error: malformed safetensors, truncated.safetensors, tensor `ids`: its bytes end at 8336 of the data, which has 8335; the file is cut short or damaged: download it again
    error: malformed safetensors, longer.safetensors, byte 8336 of the data: 1 bytes behind the last tensor belong to none; the file is cut short or damaged: download it again
    error: malformed safetensors, header beyond.safetensors, byte 0: a header of 18446744073709551615 bytes is above the limit of 100000000; give a .safetensors file
    error: malformed safetensors, header past end.safetensors, byte 0: a header of 1000 bytes does not fit in a file of 10; the file is cut short or damaged: download it again
    error: malformed safetensors, bad JSON.safetensors, byte 13, tensor `a`: EOF while parsing a value; the file is damaged: download it again
    error: malformed safetensors, nested JSON.safetensors, byte 12, tensor `a`: invalid type: sequence, expected an object of `dtype`, `shape` and `data_offsets`; the program that wrote it has a fault: save it again with another
    error: malformed safetensors, not UTF-8.safetensors, byte 10: the header is not UTF-8 text; the file is cut short or damaged: download it again
    error: malformed safetensors, duplicate.safetensors, byte 63: `a` is listed a second time; the program that wrote it has a fault: save it again with another
    error: malformed safetensors, overlap.safetensors, tensor `b`: its bytes begin at 2 of the data, within tensor `a`, which ends at 4; the program that wrote it has a fault: save it again with another
    error: malformed safetensors, hole.safetensors, tensor `b`: bytes 4 to 6 of the data before it belong to no tensor; the program that wrote it has a fault: save it again with another
    error: malformed safetensors, overflow.safetensors, tensor `a`: shape [9223372036854775807, 4] of F16 has 2^64 bits or more; the program that wrote it has a fault: save it again with another
    error: malformed safetensors, wrapping.safetensors, tensor `a`: its bytes begin at 18446744073709551612 and end before, at 4; the program that wrote it has a fault: save it again with another
    error: malformed safetensors, control letters.safetensors, tensor `\u{1b}[2J\n\u{202e}evil`: shape [5] of U8 takes 5 bytes, the offsets give it 4; the program that wrote it has a fault: save it again with another
    error: missing shard/model.safetensors.index.json: the index names `model-00002-of-00002.safetensors`, which is not in the folder; download the missing shard
    error: extra shard/c.safetensors: the index extra shard/model.safetensors.index.json does not name this file; move it out of the folder, or add its tensors to the index
    error: tensor `a`: it lies in twice/model-00001-of-00002.safetensors and in twice/model-00002-of-00002.safetensors; remove one of the two files, or download the whole checkpoint again
    error: malformed safetensors index, outside/model.safetensors.index.json, byte 55, tensor `a`: `../model.safetensors` is not the plain name of a file; shards lie beside their index
    ");
}
