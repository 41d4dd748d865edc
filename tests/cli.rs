//! The command line as its users meet it: the binary is run, and its words and exit codes are read.

use std::fs;
use std::path::{Path, PathBuf};
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
    for words in ["l0.weight", "linear-int8", "left in float16: rank 1", "copied", "8,336 bytes"] {
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
        (&["--scheme", "auto", "model.safetensors"],        "calibration"),
        (&["--clip", "entropy", "model.safetensors"],       "percentile:99.9"),
        (&["--target", "ios15", "model.safetensors"],       "ios16"),
        (&["--to", "metal,onnx", "model.safetensors"],      "dense"),
        (&["--layout", "k8", "model.safetensors"],          "k4"),
        (&["--threads", "0", "model.safetensors"],          "threads"),
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
    let before = bench.run(&["--threads", "1", "-n", "model.safetensors"]);
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
    let said = Bench::new().run(&["nowhere.safetensors"]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("nowhere.safetensors"), "{}", said.err);
    assert!(!Path::new("nowhere-linear-int8").exists());
}
