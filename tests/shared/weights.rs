//! Every weight that coremltools 9.0 compressed decodes to exactly what coremltools decodes.

use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs};
use twolane::formats::half::f16;
use twolane::graph::names::sanitize;
use twolane::graph::weight::{Storage, Weight};
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
