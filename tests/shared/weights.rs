//! Every weight that coremltools 9.0 compressed decodes to exactly what coremltools decodes.

use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs};
use twolane::formats::half::f16;
use twolane::graph::names::sanitize;
use twolane::graph::weight::{Storage, Weight};
use twolane::pipeline::prepare;
use twolane::plan::{Options, Output};
use twolane::report::TensorReport;
use twolane::source::Package;

fn packages() -> Vec<PathBuf> {
    let Some(fixtures) = super::fixtures() else { return Vec::new() };
    let folder = fs::read_dir(fixtures.join("coreml/q")).unwrap();
    let mut found: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("model.mlpackage").is_dir());
    found.sort();
    assert_eq!(found.len(), 74);
    found
}

/// The weights of `main`, by name.
fn weights(package: &Path) -> BTreeMap<String, Weight> {
    let package = Package::open(&package.join("model.mlpackage")).unwrap();
    let main = &package.program.functions["main"];
    main.weights().map(|(value, weight)| (value.name.clone(), weight.clone())).collect()
}

fn form(storage: &Storage) -> &'static str {
    match storage {
        Storage::Dense(_) => "dense",
        Storage::Linear { offset: None, .. } => "linear",
        Storage::Linear { offset: Some(_), .. } => "linear with offset",
        Storage::Palette { table_scale: Some(_), .. } => "palette of codes",
        Storage::Palette { channel_scale: Some(_), .. } => "palette and scale",
        Storage::Palette { .. } => "palette",
        Storage::Sparse { values, .. } => match **values {
            Storage::Dense(_) => "sparse",
            Storage::Linear { .. } => "sparse linear",
            Storage::Palette { .. } => "sparse palette",
            Storage::Sparse { .. } => unreachable!("refused"),
        },
    }
}

#[test]
fn every_compressed_weight_decodes_to_the_stored_bits() {
    let mut forms: BTreeMap<&str, usize> = BTreeMap::new();
    for path in packages() {
        let weights = weights(&path);
        let io = fs::read(path.join("io.safetensors")).unwrap();
        let io = safetensors::SafeTensors::deserialize(&io).unwrap();
        let mut compared = 0;
        for (name, stored) in io.tensors() {
            let Some(layer) = name.strip_prefix("dequant.") else { continue };
            let stem = sanitize(layer);
            let mut named = weights.iter().filter(|(name, _)| name.starts_with(&stem));
            let (Some((_, weight)), None) = (named.next(), named.next()) else {
                panic!("{}: {layer} is not one of {:?}", path.display(), weights.keys());
            };
            assert_eq!(weight.shape, stored.shape(), "{} {layer}", path.display());
            let got: Vec<u16> =
                weight.dequantize().unwrap().iter().map(|&v| f16::from_f32(v).to_bits()).collect();
            let bits = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
            let want: Vec<u16> = stored.data().chunks_exact(2).map(bits).collect();
            let differ = got.iter().zip(&want).filter(|(a, b)| a != b).count();
            assert_eq!(differ, 0, "{} {layer}: of {}", path.display(), want.len());
            *forms.entry(form(&weight.storage)).or_default() += 1;
            compared += 1;
        }
        assert!(compared >= 3, "{}", path.display());
    }
    if !forms.is_empty() {
        insta::assert_debug_snapshot!(forms, @r#"
        {
            "dense": 11,
            "linear": 47,
            "linear with offset": 40,
            "palette": 114,
            "palette of codes": 7,
            "sparse": 26,
            "sparse linear": 7,
            "sparse palette": 7,
        }
        "#);
    }
}

/// A checkpoint of what coremltools decodes, beside the names of the package's weights.
fn decoded(path: &Path, weights: &BTreeMap<String, Weight>, to: &Path) -> Vec<(String, String)> {
    let io = fs::read(path.join("io.safetensors")).unwrap();
    let io = safetensors::SafeTensors::deserialize(&io).unwrap();
    let (mut named, mut tensors) = (Vec::new(), Vec::new());
    for (name, stored) in io.tensors() {
        let Some(layer) = name.strip_prefix("dequant.") else { continue };
        let stem = sanitize(layer);
        let (weight, _) = weights.iter().find(|(name, _)| name.starts_with(&stem)).unwrap();
        named.push((weight.clone(), layer.to_owned()));
        tensors.push((layer.to_owned(), stored));
    }
    safetensors::serialize_to_file(tensors, None, to).unwrap();
    named
}

#[test]
fn compressed_weights_are_compressed_anew_from_what_they_stand_for() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("decoded.safetensors");
    let (mut compared, mut left) = (0, 0);
    for path in packages() {
        let before = weights(&path);
        let named = decoded(&path, &before, &checkpoint);
        for scheme in ["linear-int8", "palette-4"] {
            let out = |name: &str| dir.path().join(name);
            let options = |name: &str, output| Options {
                scheme: scheme.parse().unwrap(),
                min_elements: 1,
                requantize: output == Output::Mlpackage,
                outputs: [output].into(),
                output: Some(out(name)),
                force: true,
                ..Options::default()
            };
            let dense = options("dense", Output::Dense);
            prepare(&checkpoint, &dense).unwrap().run(&()).unwrap();
            let dense = fs::read(out("dense").join("decoded.dequantized.safetensors")).unwrap();
            let dense = safetensors::SafeTensors::deserialize(&dense).unwrap();
            let package = path.join("model.mlpackage");
            let anew = options("anew", Output::Mlpackage);
            let report = prepare(&package, &anew).unwrap().run(&()).unwrap();
            let after = weights(&out("anew"));
            for (weight, layer) in &named {
                assert_eq!(after[weight].shape, before[weight].shape);
                let note =
                    |t: &&TensorReport| t.notes.iter().any(|n| n.contains("compressed before"));
                let was = !matches!(before[weight].storage, Storage::Dense(_));
                let told = report.tensors.iter().filter(|t| t.name == *weight).filter(note).count();
                assert_eq!(told, usize::from(was), "{} {weight}", path.display());
                let want = dense.tensor(layer).unwrap();
                let bits = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
                let want: Vec<u16> = want.data().chunks_exact(2).map(bits).collect();
                let got = after[weight].dequantize().unwrap();
                let got: Vec<u16> = got.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
                assert!(got == want, "{} {scheme} {weight}", path.display());
                compared += usize::from(was);
            }

            // Without the flag they stay, and the plan says so.
            let kept = Options { requantize: false, ..options("kept", Output::Mlpackage) };
            match prepare(&package, &kept) {
                Ok(job) => {
                    let warnings = job.plan().warnings.join("; ");
                    assert!(warnings.contains("--requantize compresses anew"), "{warnings}");
                    job.run(&()).unwrap();
                    for (name, weight) in weights(&out("kept")) {
                        let stays = !matches!(before[&name].storage, Storage::Dense(_));
                        assert!(!stays || weight == before[&name], "{} {name}", path.display());
                        left += usize::from(stays);
                    }
                }
                Err(error) => {
                    let why = error.to_string();
                    assert!(why.contains("--requantize compresses anew"), "{why}");
                }
            }
        }
    }
    println!("{compared} weights compressed anew, {left} left");
    assert!(compared == 0 || compared == 2 * (259 - 11), "{compared}");
}
