//! The output folder is a transaction: killed at any moment, on a full or read-only disk, it shows
//! the old content or the new. The binary is run, as its users run it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{checkpoint, numbers, tree};
use twolane::formats::safetensors::Dtype;

/// A folder with `model.safetensors`: `n` matrices of 512 × 1024 in FP16.
fn folder(n: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..n).map(|i| format!("layers.{i}.weight")).collect();
    let tensor = |(name, seed): (&'static str, u32)| {
        let bytes = numbers(512 * 1024, seed);
        let bytes = bytes.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
        (name, Dtype::F16, &[512usize, 1024][..], bytes)
    };
    let names = names.into_iter().map(|name| &*name.leak());
    let tensors: Vec<_> = names.zip(1..).map(tensor).collect();
    fs::write(dir.path().join("model.safetensors"), checkpoint(&tensors)).unwrap();
    dir
}

fn quantize(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quantize"));
    command.current_dir(dir).args(["--to", "metal,dense"]).args(words).stdin(Stdio::null());
    command
}

/// The exit code and standard error of a run that ends by itself.
fn run(dir: &Path, words: &[&str]) -> (i32, String) {
    said(quantize(dir, words).output().expect("the binary"))
}

fn said(output: Output) -> (i32, String) {
    (output.status.code().expect("an exit"), String::from_utf8(output.stderr).expect("UTF-8"))
}

/// The names in a folder, hidden ones included.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What a finished run of a scheme leaves, without the path to it.
fn finished(dir: &Path, scheme: &str) -> BTreeMap<String, Vec<u8>> {
    let out = format!("reference-{scheme}");
    let (code, err) = run(dir, &["-q", "-s", scheme, "-o", &out, "model.safetensors"]);
    assert_eq!(code, 0, "{err}");
    let content = tree(&dir.join(&out));
    fs::remove_dir_all(dir.join(out)).unwrap();
    content
}

fn end(mut child: Child) {
    child.kill().expect("a child");
    child.wait().expect("a child");
}

#[test]
fn killed_at_any_moment_the_folder_is_the_old_or_the_new() {
    let dir = folder(8);
    let dir = dir.path();
    let schemes = ["linear-int8", "linear-int4"];
    let contents = schemes.map(|scheme| finished(dir, scheme));
    assert_ne!(contents[0], contents[1]);
    let replace =
        |scheme: &str| quantize(dir, &["-q", "-f", "-s", scheme, "-o", "out", "model.safetensors"]);

    let mut stands = 0;
    let mut whole = Duration::MAX;
    assert_eq!(said(replace(schemes[stands]).output().unwrap()), (0, String::new()));
    for _ in 0..3 {
        stands = 1 - stands;
        let start = Instant::now();
        assert_eq!(said(replace(schemes[stands]).output().unwrap()), (0, String::new()));
        whole = whole.min(start.elapsed());
    }
    let (mut cut, mut exchanged) = (0, 0);
    // Evenly over a run, and densely over its end, where the folders are exchanged.
    let evenly = (0..20).map(|i| whole * i / 20);
    let moments = evenly.chain((0..30).map(|i| whole * (60 + 4 * i) / 100));
    for moment in moments {
        let child = replace(schemes[1 - stands]).spawn().unwrap();
        std::thread::sleep(moment);
        end(child);
        let found = tree(&dir.join("out"));
        if found == contents[1 - stands] {
            stands = 1 - stands;
            exchanged += 1;
        } else {
            assert!(found == contents[stands], "neither old nor new after {moment:?}");
        }
        cut += usize::from(names(dir).len() > 2);
    }
    println!("{whole:?} a run: {exchanged} of 50 exchanged before the kill, {cut} left something");
    assert!(cut > 0, "no kill met a run at work");

    assert_eq!(said(replace(schemes[1 - stands]).output().unwrap()), (0, String::new()));
    assert_eq!(names(dir), ["model.safetensors", "out"], "the next run cleans up");
    assert!(tree(&dir.join("out")) == contents[1 - stands]);
}

#[test]
fn killed_before_there_was_a_folder_there_is_none() {
    let dir = folder(8);
    let dir = dir.path();
    let want = finished(dir, "linear-int8");
    let fresh = || quantize(dir, &["-q", "-o", "out", "model.safetensors"]);
    for moment in 0..10 {
        let child = fresh().spawn().unwrap();
        std::thread::sleep(Duration::from_millis(15 * moment));
        end(child);
        if dir.join("out").exists() {
            assert!(tree(&dir.join("out")) == want);
            fs::remove_dir_all(dir.join("out")).unwrap();
        }
    }
    assert_eq!(said(fresh().output().unwrap()), (0, String::new()));
    assert_eq!(names(dir), ["model.safetensors", "out"]);
    assert!(tree(&dir.join("out")) == want);
}

#[test]
fn an_output_that_stands_is_replaced_only_by_force_and_only_if_it_is_ours() {
    let dir = folder(1);
    let dir = dir.path();
    let convert =
        |more: &[&str]| run(dir, &[&["-q", "-o", "out", "model.safetensors"], more].concat());
    assert_eq!(convert(&[]), (0, String::new()));
    let old = tree(&dir.join("out"));
    let (code, err) = convert(&["-s", "linear-int4"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(err, @"error: out exists; replace it with --force, or choose another with --output");
    assert!(tree(&dir.join("out")) == old);
    assert_eq!(convert(&["-s", "linear-int4", "--force"]), (0, String::new()));
    assert!(tree(&dir.join("out")) != old);

    for (name, report) in [("empty", None), ("other", Some("{\"tool\": \"other\"}"))] {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("thesis.txt"), "years").unwrap();
        if let Some(report) = report {
            fs::write(dir.join(name).join("report.json"), report).unwrap();
        }
        let before = tree(&dir.join(name));
        let (code, err) = run(dir, &["-q", "-f", "-o", name, "model.safetensors"]);
        assert_eq!((code, err.contains("holds no report.json of twolane")), (2, true), "{err}");
        assert_eq!(tree(&dir.join(name)), before);
    }
    fs::write(dir.join("file"), "years").unwrap();
    let (code, err) = run(dir, &["-q", "-f", "-o", "file", "model.safetensors"]);
    assert_eq!((code, err.contains("is no folder")), (2, true), "{err}");
    assert_eq!(names(dir), ["empty", "file", "model.safetensors", "other", "out"]);
}

#[test]
fn the_input_is_never_inside_the_folder_that_is_replaced() {
    let dir = folder(1);
    let dir = dir.path();
    assert_eq!(run(dir, &["-q", "-o", "out", "model.safetensors"]), (0, String::new()));
    let before = tree(&dir.join("out"));
    let inside = dir.join("out/model.dequantized.safetensors");
    fs::create_dir(dir.join("links")).unwrap();
    std::os::unix::fs::symlink(&inside, dir.join("links/m.safetensors")).unwrap();
    for input in ["out/model.dequantized.safetensors", "out", "links/m.safetensors", "links"] {
        let (code, err) = run(dir, &["-q", "-f", "-o", "out", input]);
        assert_eq!(code, 2, "{input}: {err}");
        assert!(err.contains("the input lies in the output folder"), "{input}: {err}");
        assert!(tree(&dir.join("out")) == before, "{input}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_the_machines_fault() {
    let dir = folder(1);
    let dir = dir.path();
    fs::write(dir.join("file"), "").unwrap();
    let (code, err) = run(dir, &["-q", "-o", "file/out", "model.safetensors"]);
    assert_eq!(code, 4, "{err}");
    assert!(err.starts_with("error: cannot create file: "), "{err}");
    assert_eq!(err.lines().count(), 1);
    assert_eq!(names(dir), ["file", "model.safetensors"]);
}

/// Runs the binary with its output on a file system of its own, mounted with these options at
/// `disk` in a private namespace; says what is left there in the last line of standard output.
/// `None` where mounting is not allowed.
fn on_disk(dir: &Path, mount: &str, words: &[&str]) -> Option<(i32, String, String)> {
    fs::create_dir_all(dir.join("disk")).unwrap();
    let script = "mount -t tmpfs -o \"$0\" tmpfs disk || exit 99
        \"$@\"; code=$?; ls -A disk; exit $code";
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_quantize"));
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, mount])
        .arg(binary)
        .args(["-q", "-o", "disk/out", "model.safetensors"])
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let left = String::from_utf8(output.stdout.clone()).unwrap();
    let (code, err) = said(output);
    if code == 99 || err.starts_with("unshare") {
        println!("skipped: no file system can be mounted here: {err}");
        return None;
    }
    Some((code, err, left))
}

#[test]
fn a_full_disk_says_so_and_nothing_is_left() {
    let dir = folder(2);
    let dir = dir.path();
    let mut ends = BTreeMap::new();
    // The outputs take about 4.5 MB; which of the writes meets the end differs.
    for size in [16, 64, 600, 1100, 1200, 2300, 3300, 4400, 9000] {
        let mount = format!("size={size}k");
        let Some((code, err, left)) = on_disk(dir, &mount, &["--to", "mlpackage,metal,dense"])
        else {
            return;
        };
        match code {
            0 => assert_eq!((err.as_str(), left.as_str()), ("", "out\n"), "{size}k"),
            _ => {
                assert_eq!((code, left.as_str()), (4, ""), "{size}k: {err}");
                assert!(err.contains("No space left on device"), "{size}k: {err}");
                assert!(err.contains("disk/out"), "the file is named: {err}");
                assert_eq!(err.lines().count(), 1, "{err}");
            }
        }
        ends.insert(size, code);
    }
    assert_eq!((ends[&16], ends[&9000]), (4, 0), "{ends:?}");
}

#[test]
fn a_read_only_disk_says_so() {
    let dir = folder(1);
    let Some((code, err, left)) = on_disk(dir.path(), "ro", &[]) else { return };
    assert_eq!((code, left.as_str()), (4, ""), "{err}");
    assert!(err.contains("Read-only file system") && err.contains("disk"), "{err}");
}

#[test]
fn a_closed_pipe_does_not_stop_the_work() {
    let dir = folder(1);
    let dir = dir.path();
    for words in
        [&["-o", "table", "model.safetensors"][..], &["--json", "-o", "json", "model.safetensors"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = quantize(dir, words).stdout(writer).output().expect("the binary");
        assert_eq!(said(output), (0, String::new()), "{words:?}");
    }
    assert_eq!(names(dir), ["json", "model.safetensors", "table"]);
}
