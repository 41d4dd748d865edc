//! Folders of every kind, sound and broken, in temporary directories.

use super::Source;
use crate::Error;
use crate::tensor::FloatType;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use twolane_formats::safetensors::{Dtype, Layout};

/// A safetensors file of U8 vectors, each of two bytes.
fn shard(names: &[&str]) -> Vec<u8> {
    let tensors: Vec<_> = names.iter().map(|&n| (n.to_owned(), Dtype::U8, vec![2])).collect();
    file(&tensors)
}

/// A safetensors file whose data bytes count up from 0.
fn file(tensors: &[(String, Dtype, Vec<usize>)]) -> Vec<u8> {
    let layout = Layout::new(tensors, &BTreeMap::new()).expect("a layout");
    let mut bytes = layout.header;
    let data = layout.file_len - bytes.len() as u64;
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

fn index(entries: &[(&str, &str)]) -> Vec<u8> {
    let map: BTreeMap<_, _> = entries.iter().copied().collect();
    serde_json::to_vec(&serde_json::json!({ "metadata": {}, "weight_map": map })).expect("JSON")
}

const INDEX: &str = "model.safetensors.index.json";
const A: &str = "model-00001-of-00002.safetensors";
const B: &str = "model-00002-of-00002.safetensors";

/// A folder called `ckpt` of files by name and content.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(dir.path().join("ckpt")).expect("ckpt");
    for (name, bytes) in files {
        fs::write(dir.path().join("ckpt").join(name), bytes).expect(name);
    }
    dir
}

/// Opens `ckpt/path`; an error's words, with the temporary folder's name left out.
fn open(dir: &TempDir, path: &str) -> Result<Source, String> {
    let path = dir.path().join("ckpt").join(path);
    Source::open(path).map_err(|error| words(dir, &error))
}

fn words(dir: &TempDir, error: &Error) -> String {
    error.to_string().replace(&format!("{}/", dir.path().display()), "")
}

fn names(source: &Source) -> Vec<&str> {
    source.tensors().iter().map(|t| &t.name[..]).collect()
}

#[test]
fn shards_that_do_not_fit_together_are_named() {
    let ab = index(&[("a", A), ("b", B)]);
    let sound = [(A, shard(&["a"])), (B, shard(&["b"])), (INDEX, ab.clone())];
    let with = |name: &'static str, bytes: Vec<u8>| {
        let mut files = sound.to_vec();
        files.retain(|(other, _)| *other != name);
        files.push((name, bytes));
        files
    };
    let without = |name: &str| sound.iter().filter(|f| f.0 != name).cloned().collect::<Vec<_>>();
    let truncated = shard(&["b"]).split_last().expect("bytes").1.to_vec();
    #[rustfmt::skip]
    let cases = [
        ("a missing shard",                    "", without(B)),
        ("a missing shard, no index",          "", vec![(A, shard(&["a"]))]),
        ("a shard of another series",          "", vec![(A, shard(&["a"])), (B, shard(&["b"])), ("model-00003-of-00002.safetensors", shard(&["c"]))]),
        ("an extra shard",                     "", with("model-00003-of-00002.safetensors", shard(&["c"]))),
        ("an extra shard beside the index",    INDEX, with("other.safetensors", shard(&["c"]))),
        ("a tensor in two shards",             "", with(B, shard(&["a", "b"]))),
        ("a tensor in two shards, no index",   "", vec![(A, shard(&["a"])), (B, shard(&["a"]))]),
        ("files that are no shards",           "", vec![("x.safetensors", shard(&["a"])), ("y.safetensors", shard(&["b"]))]),
        ("a tensor in the index only",         "", with(INDEX, index(&[("a", A), ("b", B), ("c", B)]))),
        ("a tensor in a shard only",           "", with(B, shard(&["b", "c"]))),
        ("the index names the wrong shard",    "", with(INDEX, index(&[("a", B), ("b", A)]))),
        ("a truncated shard",                  "", with(B, truncated)),
        ("an empty shard",                     "", with(B, vec![])),
        ("a broken index",                     "", with(INDEX, b"{".to_vec())),
        ("an index that leaves the folder",    "", with(INDEX, index(&[("a", "../a.safetensors")]))),
        ("two indexes",                        "", vec![("a.safetensors.index.json", ab.clone()), ("b.safetensors.index.json", ab.clone())]),
        ("an empty folder",                    "", vec![]),
        ("only other files",                   "", vec![("pytorch_model.bin", vec![1]), ("._model.safetensors", vec![1])]),
        ("another format",                     "model.bin", vec![("model.bin", b"PK\x03\x04 and more".to_vec())]),
        ("an empty file",                      "model.safetensors", vec![("model.safetensors", vec![])]),
        ("a config instead of an index",       "config.json", vec![("config.json", b"{\"dim\": 64}".to_vec())]),
    ];
    let mut lines = String::new();
    for (name, path, files) in cases {
        let dir = folder(&files);
        let error = Source::open(dir.path().join("ckpt").join(path)).expect_err(name);
        let is_input = matches!(
            error,
            Error::Input { .. } | Error::Format(twolane_formats::Error::Malformed { .. })
        );
        assert!(is_input, "{name}: {error:?}");
        lines += &format!("{name}:\n  {}\n", words(&dir, &error));
    }
    insta::assert_snapshot!(lines, @r#"
    a missing shard:
      ckpt/model.safetensors.index.json: the index names `model-00002-of-00002.safetensors`, which is not in the folder; download the missing shard
    a missing shard, no index:
      ckpt/model-00001-of-00002.safetensors: the folder holds 1 of the 2 files of this series; download model-00002-of-00002.safetensors
    a shard of another series:
      ckpt/model-00001-of-00002.safetensors: the folder holds 3 of the 2 files of this series; move the files that do not belong to it out of the folder
    an extra shard:
      ckpt/model-00003-of-00002.safetensors: the index ckpt/model.safetensors.index.json does not name this file; move it out of the folder, or add its tensors to the index
    an extra shard beside the index:
      ckpt/other.safetensors: the index ckpt/model.safetensors.index.json does not name this file; move it out of the folder, or add its tensors to the index
    a tensor in two shards:
      tensor `a`: it lies in ckpt/model-00001-of-00002.safetensors and in ckpt/model-00002-of-00002.safetensors; remove one of the two files, or download the whole checkpoint again
    a tensor in two shards, no index:
      tensor `a`: it lies in ckpt/model-00001-of-00002.safetensors and in ckpt/model-00002-of-00002.safetensors; remove one of the two files, or download the whole checkpoint again
    files that are no shards:
      ckpt/: the folder holds 2 .safetensors files, x.safetensors and y.safetensors among them, and no index says that they are one checkpoint; give one of the files, or put the model's model.safetensors.index.json there
    a tensor in the index only:
      ckpt/model.safetensors.index.json, tensor `c`: the index says `model-00002-of-00002.safetensors`, but no shard holds it; download index and shards again, of one revision
    a tensor in a shard only:
      ckpt/model.safetensors.index.json, tensor `c`: `model-00002-of-00002.safetensors` holds it, but the index does not name it; download index and shards again, of one revision
    the index names the wrong shard:
      ckpt/model.safetensors.index.json, tensor `a`: the index says `model-00002-of-00002.safetensors`, but `model-00001-of-00002.safetensors` holds it; download index and shards again, of one revision
    a truncated shard:
      malformed safetensors, ckpt/model-00002-of-00002.safetensors, tensor `b`: its bytes end at 2 of the data, which has 1; the file is cut short or damaged: download it again
    an empty shard:
      ckpt/model-00002-of-00002.safetensors: the file is empty; download it again
    a broken index:
      malformed safetensors index, ckpt/model.safetensors.index.json, byte 1: EOF while parsing an object; the file is damaged: download it again
    an index that leaves the folder:
      malformed safetensors index, ckpt/model.safetensors.index.json, byte 51, tensor `a`: `../a.safetensors` is not the plain name of a file; shards lie beside their index
    two indexes:
      ckpt/: the folder holds 2 indexes; give one of the *.safetensors.index.json files
    an empty folder:
      ckpt/: the folder holds no .safetensors file; give a folder with model.safetensors or its index, or the file itself
    only other files:
      ckpt/: the folder holds no .safetensors file; give a folder with model.safetensors or its index, or the file itself
    another format:
      malformed safetensors, ckpt/model.bin, byte 0: this is a zip archive, as PyTorch and NumPy write them; save the weights as .safetensors first
    an empty file:
      ckpt/model.safetensors: the file is empty; download it again
    a config instead of an index:
      malformed safetensors index, ckpt/config.json, byte 10: `weight_map` is missing; give the index of a checkpoint
    "#);
}

#[test]
fn the_machines_faults_are_io() {
    let dir = folder(&[("file", vec![1])]);
    let error = Source::open(dir.path().join("ckpt/file/below")).expect_err("not a folder");
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    insta::assert_snapshot!(words(&dir, &error), @"cannot read ckpt/file/below");
}

#[test]
fn a_path_that_is_not_there_is_the_inputs_fault() {
    let dir = folder(&[]);
    let error = Source::open(dir.path().join("ckpt/none.safetensors")).expect_err("no such file");
    assert!(matches!(error, Error::Input { .. }), "{error:?}");
    insta::assert_snapshot!(words(&dir, &error), @"ckpt/none.safetensors: there is no such file or folder; check the path");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let dir = folder(&[]);
    let path = dir.path().join("ckpt/model.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    insta::assert_snapshot!(open(&dir, "model.safetensors").expect_err("a pipe"), @"ckpt/model.safetensors: this is no regular file, and cannot be mapped into memory; save its bytes to a file first");
    insta::assert_snapshot!(open(&dir, "").expect_err("a pipe"), @"ckpt/model.safetensors: this is no regular file, and cannot be mapped into memory; save its bytes to a file first");
}

#[test]
fn the_files_of_a_folder_are_chosen_by_index_then_by_name() {
    let (a, b, m) = (shard(&["a"]), shard(&["b"]), shard(&["m"]));
    let ab = index(&[("a", A), ("b", B)]);
    type Files = Vec<(&'static str, Vec<u8>)>;
    #[rustfmt::skip]
    let cases: Vec<(&str, &str, Files, &str, &[&str])> = vec![
        ("a file",                "m.fp16.safetensors", vec![("m.fp16.safetensors", m.clone())], "m.fp16", &["m"]),
        ("a file of any name",    "weights", vec![("weights", m.clone())], "weights", &["m"]),
        ("one shard of a series", A, vec![(A, a.clone()), (B, b.clone())], "model-00001-of-00002", &["a"]),
        ("an index",              INDEX, vec![(A, a.clone()), (B, b.clone()), (INDEX, ab.clone())], "ckpt", &["a", "b"]),
        ("a folder with index",   "", vec![(B, b.clone()), (A, a.clone()), (INDEX, ab.clone()), ("config.json", vec![1])], "ckpt", &["a", "b"]),
        ("an index of its name",  "", vec![(B, b.clone()), (A, a.clone()), ("unet.safetensors.index.json", ab.clone())], "ckpt", &["a", "b"]),
        ("its `.`",               ".", vec![("model.safetensors", m.clone())], "ckpt", &["m"]),
        ("one model",             "", vec![("model.safetensors", m.clone()), ("adapter.safetensors", b.clone())], "ckpt", &["m"]),
        ("the only file",         "", vec![("m.safetensors", m.clone()), ("readme.md", vec![1])], "ckpt", &["m"]),
        ("a series, no index",    "", vec![(B, b.clone()), (A, a.clone())], "ckpt", &["a", "b"]),
        ("leftovers of macOS",    "", vec![("model.safetensors", m.clone()), ("._model.safetensors", vec![1])], "ckpt", &["m"]),
    ];
    for (name, path, files, stem, tensors) in cases {
        let dir = folder(&files);
        let source = open(&dir, path).expect(name);
        assert_eq!(source.stem(), stem, "{name}");
        assert_eq!(names(&source), tensors, "{name}");
        assert!(source.folder().ends_with("ckpt") || name == "its `.`", "{name}");
        for tensor in source.tensors() {
            assert_eq!(source.bytes(tensor), [0, 1], "{name}");
            assert_eq!(source.tensor(&tensor.name), Some(tensor), "{name}");
        }
    }
}

#[test]
fn a_folder_that_is_called_like_a_shard_is_not_one() {
    let dir = folder(&[("model.safetensors", shard(&["m"]))]);
    fs::create_dir(dir.path().join("ckpt/old.safetensors")).expect("a folder");
    assert_eq!(names(&open(&dir, "").expect("sound")), ["m"]);
}

#[test]
fn weights_of_every_rank_are_read_where_they_lie() {
    let mut tensors = Vec::new();
    for rank in 0..=8 {
        tensors.push((format!("rank {rank}"), Dtype::F16, vec![2; rank]));
    }
    tensors.push(("empty".into(), Dtype::BF16, vec![4, 0, 3]));
    tensors.push(("single".into(), Dtype::F32, vec![3, 1]));
    tensors.push(("counter".into(), Dtype::I64, vec![]));
    let bytes = file(&tensors);
    let dir = folder(&[("m.safetensors", bytes.clone())]);
    let source = open(&dir, "m.safetensors").expect("sound");
    assert_eq!(source.tensors().len(), tensors.len());
    assert_eq!(source.files()[0].bytes(), bytes);
    assert_eq!(source.files()[0].bytes(), bytes);
    for (name, dtype, shape) in &tensors {
        let tensor = source.tensor(name).expect(name);
        assert_eq!((tensor.dtype, &tensor.shape), (*dtype, shape));
        assert_eq!(tensor.byte_len() * 8, tensor.elements() * dtype.bitsize() as u64);
        assert_eq!(source.bytes(tensor), &bytes[tensor.range.clone()]);
        match source.weights(tensor) {
            None => assert_eq!(name, "counter"),
            Some(weights) => {
                assert_eq!(weights.len() as u64, tensor.elements());
                assert_eq!(weights.rows() * weights.cols(), weights.len());
            }
        }
    }
    let types =
        ["rank 0", "empty", "single"].map(|n| source.tensor(n).and_then(|t| t.float_type()));
    assert_eq!(types, [Some(FloatType::F16), Some(FloatType::BF16), Some(FloatType::F32)]);
}

#[test]
fn unaligned_weights_decode() {
    // A header of odd length, and one byte before the weights.
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[1,9]}}"#;
    for spaces in 0..4 {
        let header = format!("{header}{}", " ".repeat(spaces));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.push(0xee);
        bytes.extend(1.5f32.to_le_bytes());
        bytes.extend((-0.25f32).to_le_bytes());
        let dir = folder(&[("m.safetensors", bytes)]);
        let source = open(&dir, "m.safetensors").expect("sound");
        let weights = source.tensor("w").and_then(|w| source.weights(w)).expect("floats");
        let mut decoded = [0.0; 2];
        weights.decode(0..2, &mut decoded);
        assert_eq!(decoded, [1.5, -0.25]);
    }
}

#[test]
fn bytes_stay_readable_after_they_were_given_up() {
    let dir = folder(&[("m.safetensors", file(&[("w".into(), Dtype::U8, vec![100_000])]))]);
    let source = open(&dir, "m.safetensors").expect("sound");
    let tensor = &source.tensors()[0];
    let before = source.bytes(tensor).to_vec();
    source.will_need(tensor);
    source.done(tensor);
    assert_eq!(source.bytes(tensor), before);
}

#[test]
fn tensors_come_by_file_and_offset_whatever_the_index_says_first() {
    let wide = [
        ("late".to_owned(), Dtype::U8, vec![1]),
        ("early".to_owned(), Dtype::F32, vec![1]),
        ("next".to_owned(), Dtype::F32, vec![1]),
    ];
    let map = index(&[("late", B), ("early", B), ("next", B), ("z", A), ("y", A)]);
    let dir = folder(&[(INDEX, map), (B, file(&wide)), (A, shard(&["z", "y"]))]);
    let source = open(&dir, "").expect("sound");
    assert_eq!(names(&source), ["z", "y", "early", "next", "late"]);
    let files: Vec<_> = source.files().iter().map(|f| f.path().file_name()).collect();
    assert_eq!(files, [Path::new(A).file_name(), Path::new(B).file_name()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_mutated_folder_is_an_error_or_sound(
        which in 0usize..3,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let map = index(&[("a", A), ("b", B)]);
        let mut files = [(A, shard(&["a"])), (B, shard(&["b"])), (INDEX, map)];
        for (at, value) in edits {
            let bytes = &mut files[which].1;
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(source) = open(&folder(&files), "") {
            for tensor in source.tensors() {
                prop_assert_eq!(source.bytes(tensor).len() as u64, tensor.byte_len());
            }
        }
    }
}
