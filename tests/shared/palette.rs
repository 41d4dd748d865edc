//! Our palettes against those that coremltools 9.0 made of the same weights at the same scheme.

use half::f16;
use safetensors::SafeTensors;
use twolane::quantize::Quantizer;
use twolane::scheme::{Clip, Entries, Palette, PaletteGranularity, Scheme};
use twolane::tensor::{FloatType, Weights};

/// The scheme of a package by its name, for a net whose groups have `group` channels.
fn scheme(package: &str, group: u32) -> Option<Palette> {
    let base = Palette {
        bits: 4,
        granularity: PaletteGranularity::Tensor,
        vector: 1,
        axis: 0,
        entries: Entries::F16,
        channel_scale: false,
        unique: false,
    };
    let granularity = PaletteGranularity::Group { size: group };
    Some(match package {
        "pal8" => Palette { bits: 8, ..base },
        "pal6" => Palette { bits: 6, ..base },
        // `uniform` spaces its entries equally: ours must be better.
        "pal4" | "pal4_uniform" => base,
        "pal3" => Palette { bits: 3, ..base },
        "pal2" => Palette { bits: 2, ..base },
        "pal1" => Palette { bits: 1, ..base },
        "pal4_group" => Palette { granularity, ..base },
        "pal2_group" => Palette { bits: 2, granularity, ..base },
        "pal4_group_axis1" => Palette { granularity, axis: 1, ..base },
        "pal4_vector2" => Palette { vector: 2, ..base },
        "pal4_lut8" => Palette { entries: Entries::Int8, ..base },
        // `pal4_channel_scale` has one scale an *input* channel, ours one an output channel, the
        // axis whose scale a device can move behind the operation. Other packages hold no palettes
        // or sparse ones.
        _ => return None,
    })
}

fn sqnr_db(x: &[u8], decoded: &[u8]) -> f64 {
    let halves = |bytes: &[u8]| -> Vec<f64> {
        bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f64()).collect()
    };
    let (mut signal, mut noise) = (0.0, 0.0);
    for (x, d) in halves(x).into_iter().zip(halves(decoded)) {
        signal += x * x;
        noise += (x - d) * (x - d);
    }
    10.0 * (signal / noise).log10()
}

fn ours_db(weights: Weights, palette: Palette) -> f64 {
    let quantizer =
        Quantizer::new(weights, Scheme::Palette(palette), Clip::None).expect("sound weights");
    let rows = weights.rows();
    let mut codes = vec![0; quantizer.code_len(rows)];
    let encoded = quantizer.encode(0..rows, &mut codes).expect("sound weights");
    let mut out = vec![f16::ZERO; weights.len()];
    quantizer.decode(0..rows, &codes, &encoded.params, &mut out).expect("our own codes");
    let bytes: Vec<u8> = out.iter().flat_map(|x| x.to_le_bytes()).collect();
    sqnr_db(weights.bytes, &bytes)
}

#[test]
fn palettes_are_never_worse_than_those_of_coremltools() {
    let Some(dir) = super::fixtures() else { return };
    let mut compared = 0;
    for (net, group) in [("mlp", 16), ("cnn", 8)] {
        let file =
            std::fs::read(dir.join(format!("digits/{net}_f16.safetensors"))).expect("weights");
        let weights = SafeTensors::deserialize(&file).expect("a sound file");
        let mut packages: Vec<_> = std::fs::read_dir(dir.join("coreml/q"))
            .expect("packages")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        packages.sort();
        for package in packages {
            let name = package.file_name().and_then(|n| n.to_str()).expect("a name");
            let Some(rest) = name.strip_prefix(net).and_then(|n| n.strip_prefix("_ios")) else {
                continue;
            };
            let Some(palette) = rest.get(3..).and_then(|kind| scheme(kind, group)) else {
                continue;
            };
            let file = std::fs::read(package.join("io.safetensors")).expect("outputs");
            let outputs = SafeTensors::deserialize(&file).expect("a sound file");
            for (layer, x) in weights.iter().filter(|(n, _)| n.ends_with(".weight")) {
                let theirs = outputs.tensor(&format!("dequant.{layer}")).expect("every layer");
                let theirs = sqnr_db(x.data(), theirs.data());
                let axis = x.shape()[usize::from(palette.axis)];
                let width = match palette.granularity {
                    PaletteGranularity::Tensor => usize::from(palette.vector),
                    PaletteGranularity::Group { size } => size as usize,
                };
                if !axis.is_multiple_of(width) {
                    // Neither can be grouped: coremltools left it as it was.
                    assert_eq!(theirs, f64::INFINITY, "{name} {layer}");
                    continue;
                }
                let weights = Weights {
                    name: layer,
                    dtype: FloatType::F16,
                    shape: x.shape(),
                    bytes: x.data(),
                };
                let ours = ours_db(weights, palette);
                println!("{name:<28} {layer:<14} ours {ours:8.4} dB, theirs {theirs:8.4} dB");
                assert!(ours >= theirs - 0.001, "{name} {layer}: {ours} dB against {theirs} dB");
                compared += 1;
            }
        }
    }
    assert!(compared > 60, "only {compared} layers compared");
}
