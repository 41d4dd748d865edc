//! Weights that coremltools compressed, stored in a blob, give the values that coremltools gives.

use crate::build::{Logical, file, weight};
use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::path::{Path, PathBuf};
use twolane_formats::metal_blob::*;

/// The folder of the fixtures, where it is there.
fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let given = std::env::var_os("TWOLANE_SHARED").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| root.join("../shared"));
    folder.join("fixtures/coreml/q").is_dir().then_some(folder)
}

fn halves(view: &TensorView<'_>) -> Vec<f16> {
    assert_eq!(view.dtype(), Dtype::F16);
    view.data().as_chunks().0.iter().map(|&b| f16::from_le_bytes(b)).collect()
}

/// What the compressed operands of one layer mean, all but its lanes; `None` where the layer is
/// not compressed, or in a way that blobs do not have (sparse, tables along both axes).
fn logical(io: &SafeTensors<'_>, package: &str, layer: &str, shape: &[usize]) -> Option<Logical> {
    let op = format!("stored.{layer}_weight_to_fp16_");
    let get = |name: &str| io.tensor(&format!("{op}{name}")).ok();
    let mut params = Params::default();
    let lanes = Lanes::Row;

    let codes = get("quantized.data").or_else(|| get("quantized.quantized_data"));
    if let Some(codes) = codes {
        let scale = get("quantized.scale")?;
        params.scale = halves(&scale);
        let offset = get("quantized.offset").or_else(|| get("quantized.zero_point"));
        params.offset = offset.as_ref().map_or(Vec::new(), |o| o.data().to_vec());
        // A zero point beside per-tensor scales, and the reverse, is repeated.
        let n = params.scale.len();
        if params.offset.len() == 1 {
            params.offset = vec![params.offset[0]; n];
        }
        let blocks = n / shape[0];
        let granularity = match blocks {
            0 => Granularity::Tensor,
            1 => Granularity::Channel { axis: 0 },
            _ => Granularity::Block { size: shape[1] / blocks },
        };
        let linear = Linear {
            bits: if package.contains("4_") { 4 } else { 8 },
            signed: codes.dtype() == Dtype::I8,
            granularity,
            offset: !params.offset.is_empty(),
            lanes,
        };
        let weight = weight(layer, shape, Encoding::Linear(linear));
        return Some(Logical { weight, codes: codes.data().to_vec(), params, values: Vec::new() });
    }

    let indices = get("palettized.indices")?;
    let (table, entries) = match get("palettized.lut") {
        Some(lut) => {
            params.table = halves(&lut);
            (lut.shape().to_vec(), Entries::F16)
        }
        None => {
            let data = get("palettized_lut_0_quantized.data")?;
            params.table_codes = data.data().iter().map(|&b| b as i8).collect();
            params.table_scale = halves(&get("palettized_lut_0_quantized.scale")?);
            (data.shape().to_vec(), Entries::Int8)
        }
    };
    // `[G0, G1, .., P, V]`, or at opset iOS 16 just `[P]` and a bit stream.
    let (p, v, groups) = match table[..] {
        [p] => (p, 1, &[1, 1][..]),
        [.., p, v] => (p, v, &table[..2]),
        [] => return None,
    };
    let (axis, grouping) = match groups {
        [1, 1] => (0, Grouping::Tensor),
        &[g, 1] => (0, Grouping::Group { size: shape[0] / g }),
        &[1, g] => (1, Grouping::Group { size: shape[1] / g }),
        _ => return None,
    };
    let bits = p.ilog2() as u8;
    let elements: usize = shape.iter().product();
    let codes = match table[..] {
        [_] => twolane_formats::bits::unpack(indices.data(), bits, elements).unwrap(),
        _ => indices.data().to_vec(),
    };
    let (vector, channel_scale) = (v as u8, false);
    let palette = Palette { bits, grouping, axis, vector, entries, channel_scale, lanes };
    let weight = weight(layer, shape, Encoding::Palette(palette));
    Some(Logical { weight, codes, params, values: Vec::new() })
}

#[test]
fn weights_compressed_by_coremltools_keep_their_values_in_every_order() {
    let Some(shared) = shared() else {
        println!("skipped: no ../shared");
        return;
    };
    let mut checked = Vec::new();
    let mut folders: Vec<_> = std::fs::read_dir(shared.join("fixtures/coreml/q"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    for folder in folders {
        let package = folder.file_name().unwrap().to_str().unwrap().to_string();
        let io = std::fs::read(folder.join("io.safetensors")).unwrap();
        let io = SafeTensors::deserialize(&io).unwrap();
        for name in io.names() {
            let Some(layer) = name.strip_prefix("dequant.").and_then(|n| n.strip_suffix(".weight"))
            else {
                continue;
            };
            let want = io.tensor(name).unwrap();
            let Some(row) = logical(&io, &package, layer, want.shape()) else {
                continue;
            };
            let all: Vec<_> = Lanes::ALL
                .into_iter()
                .map(|l| {
                    let mut logical = row.clone();
                    logical.weight.name = l.name().into();
                    match &mut logical.weight.encoding {
                        Encoding::Linear(linear) => linear.lanes = l,
                        Encoding::Palette(palette) => palette.lanes = l,
                        Encoding::Float { .. } | Encoding::Raw { .. } => unreachable!("codes"),
                    }
                    logical
                })
                .collect();
            let bytes = file(&all);
            let reader = Reader::open(&bytes).unwrap();
            for index in 0..all.len() {
                let got = reader.values(index).unwrap();
                assert_eq!(got, Values::F16(halves(&want)), "{package}, {layer}");
            }
            checked.push(format!("{package} {layer}"));
        }
    }
    // Two networks, 60 of their 74 packages: all but sparse ones, and tables of input columns.
    assert!(checked.len() >= 201, "only {} layers: {checked:?}", checked.len());
    for scheme in ["lin8_sym_tensor", "linu4_asym_block", "pal4_lut8", "vector2", "group_axis1"] {
        assert!(checked.iter().any(|c| c.contains(scheme)), "no {scheme}");
    }
}
