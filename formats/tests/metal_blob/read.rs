//! What was written comes back: codes, parameters, and values by a second reading of the formulas.

use crate::build::{Logical, Random, code_type, file, linear, palette, weight};
use crate::plan::any_weights;
use half::f16;
use proptest::prelude::*;
use twolane_formats::metal_blob::*;

/// The values of a weight as coremltools computes them: parameters repeated up to the weight's own
/// shape, the exact product (in f64), rounded once.
fn values(logical: &Logical) -> Vec<f16> {
    let Weight { shape, encoding, .. } = &logical.weight;
    let params = &logical.params;
    let at = |axis: usize| shape.get(axis).copied().unwrap_or(1);
    let (o_len, i_len) = (at(0), at(1));
    let taps: usize = shape.iter().skip(2).product();
    let (bits, signed, _) = code_type(encoding);
    let wide = |code: u8| if signed { f64::from(code as i8) } else { f64::from(code) };
    let mut all = Vec::new();
    for flat in 0..o_len * i_len * taps {
        let (o, i, t) = (flat / taps / i_len, flat / taps % i_len, flat % taps);
        all.push(match encoding {
            Encoding::Linear(l) => {
                let [rows, cols] = match l.granularity {
                    Granularity::Tensor => [1, 1],
                    Granularity::Channel { axis: 0 } => [o_len, 1],
                    Granularity::Channel { .. } => [1, i_len],
                    Granularity::Block { size } => [o_len, i_len / size],
                };
                // A parameter of a shorter axis is repeated.
                let p = (o * rows / o_len) * cols + i * cols / i_len;
                let zero = if l.offset { wide(params.offset[p]) } else { 0.0 };
                f16::from_f64(params.scale[p].to_f64() * (wide(logical.codes[flat]) - zero))
            }
            Encoding::Palette(p) => {
                let v = usize::from(p.vector);
                let (length, place) = if p.axis == 0 { (o_len, o) } else { (i_len, i) };
                let index = if p.axis == 0 {
                    logical.codes[(o / v * i_len + i) * taps + t]
                } else {
                    logical.codes[(o * (i_len / v) + i / v) * taps + t]
                };
                let groups = match p.grouping {
                    Grouping::Tensor => 1,
                    Grouping::Group { size } => length / size,
                };
                let group = place * groups / length;
                let entry = ((group << bits) + usize::from(index)) * v + place % v;
                let value = match p.entries {
                    Entries::F16 => params.table[entry],
                    Entries::Int8 => f16::from_f64(
                        params.table_scale[group].to_f64() * f64::from(params.table_codes[entry]),
                    ),
                };
                if p.channel_scale {
                    f16::from_f64(value.to_f64() * params.channel_scale[o].to_f64())
                } else {
                    value
                }
            }
            Encoding::Float { .. } | Encoding::Raw { .. } => panic!("no codes"),
        });
    }
    all
}

/// Writes the weights, opens the file, and compares everything that comes back.
fn round_trip(weights: &[Logical]) {
    let bytes = file(weights);
    let reader = Reader::open(&bytes).unwrap();
    assert!(reader.weights().iter().eq(weights.iter().map(|w| &w.weight)));
    for (index, logical) in weights.iter().enumerate() {
        let Weight { name, shape, encoding } = &logical.weight;
        let what = format!("{encoding:?} of {shape:?}");
        let codes = reader.codes(index).unwrap();
        let got = reader.dequantize(name).unwrap().unwrap();
        match encoding {
            Encoding::Linear(_) | Encoding::Palette(_) => {
                assert_eq!(codes.as_deref(), Some(&logical.codes[..]), "{what}");
                assert_eq!(reader.params(index), logical.params, "{what}");
                // As bits, so that −0 and 0 differ.
                let Values::F16(got) = got else { panic!("{what} gives {got:?}") };
                let bits = |v: &[f16]| v.iter().map(|h| h.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&got), bits(&values(logical)), "{what}");
            }
            Encoding::Float { .. } | Encoding::Raw { .. } => {
                assert_eq!(codes, None);
                let got = match got {
                    Values::F16(v) => v.iter().flat_map(|h| h.to_le_bytes()).collect(),
                    Values::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
                    Values::Raw(bytes) => bytes.to_vec(),
                };
                assert_eq!(got, logical.values, "{what}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_weights_come_back(weights in any_weights(), seed in 1..u64::MAX) {
        let mut random = Random(seed);
        let weights: Vec<_> = weights.into_iter().map(|w| random.logical(w)).collect();
        round_trip(&weights);
    }
}

#[test]
fn every_rank_and_size_comes_back_in_every_order() {
    #[rustfmt::skip]
    let shapes: &[&[usize]] = &[
        &[], &[0], &[1], &[5], &[0, 4], &[4, 0], &[1, 1], &[3, 5], &[7, 2], &[300, 301], &[4, 6, 3],
        &[5, 3, 3, 3], &[2, 1, 3, 2, 2], &[2, 3, 1, 2, 1, 2], &[3, 1, 1, 1, 1, 1, 7], &[1, 2, 1, 2, 1, 2, 1, 3],
    ];
    let mut random = Random(7);
    for shape in shapes {
        let mut all = Vec::new();
        for lanes in Lanes::ALL {
            for bits in [4, 8] {
                for granularity in [
                    Granularity::Tensor,
                    Granularity::Channel { axis: 0 },
                    Granularity::Channel { axis: 1 },
                    Granularity::Block { size: 1 },
                ] {
                    all.push(linear(bits, granularity, false, lanes));
                    let Encoding::Linear(signed) = linear(bits, granularity, true, lanes) else {
                        unreachable!("made above")
                    };
                    all.push(Encoding::Linear(Linear { signed: false, ..signed }));
                }
            }
            for bits in [1, 2, 3, 4, 6, 8] {
                all.push(Encoding::Palette(palette(bits, lanes)));
                let (axis, entries) = (1, Entries::Int8);
                let grouping = Grouping::Group { size: 1 };
                all.push(Encoding::Palette(Palette {
                    axis,
                    entries,
                    grouping,
                    channel_scale: true,
                    ..palette(bits, lanes)
                }));
            }
        }
        all.push(Encoding::Float { dtype: Dtype::F16 });
        all.push(Encoding::Float { dtype: Dtype::F32 });
        all.push(Encoding::Raw { dtype: Dtype::C64 });
        let named = all.into_iter().enumerate().map(|(i, e)| weight(&format!("w{i}"), shape, e));
        let weights: Vec<_> = named.map(|w| random.logical(w)).collect();
        round_trip(&weights);
    }
}

#[test]
fn values_written_by_hand_come_back_rounded_once() {
    let half = f16::from_f32;
    // The largest code times a scale just below the top stays finite; 3 · 2^-24 · 0.5 is a tie.
    let block = linear(8, Granularity::Block { size: 2 }, true, Lanes::K4);
    let linear = Logical {
        weight: weight("linear", &[2, 4], block),
        codes: [127i8, -127, 3, 0, 5, 6, 7, -128].map(|q| q as u8).to_vec(),
        params: Params {
            scale: [515.5, 5.9604645e-8, 0.1, 1.0].map(half).to_vec(),
            offset: [0i8, 1, 5, -128].map(|z| z as u8).to_vec(),
            ..Params::default()
        },
        values: Vec::new(),
    };
    let vectors =
        Palette { vector: 2, entries: Entries::Int8, channel_scale: true, ..palette(1, Lanes::O2) };
    let table = Logical {
        weight: weight("table", &[4, 3], Encoding::Palette(vectors)),
        codes: vec![0, 1, 1, 1, 0, 0],
        params: Params {
            table_codes: vec![-1, 2, 100, -128],
            table_scale: vec![half(0.5)],
            channel_scale: [1.0, 2.0, 3.0, 0.1].map(half).to_vec(),
            ..Params::default()
        },
        values: Vec::new(),
    };
    let bytes = file(&[linear, table]);
    let reader = Reader::open(&bytes).unwrap();
    let of = |name| match reader.dequantize(name) {
        Ok(Some(Values::F16(values))) => values,
        other => panic!("{other:?}"),
    };
    // 515.5 · 127 = 65468.5, of which FP16 keeps 65472; f16(0.1) · 1 = 0.09998.
    #[rustfmt::skip]
    let want = [65472.0, -65472.0, 2.0 * 5.9604645e-8, -5.9604645e-8, 0.0, 0.099975586, 135.0, 0.0];
    assert_eq!(of("linear"), want.map(half));
    // Rows 2·v and 2·v + 1 share an index; entry −128 · 0.5 · f16(0.1) = −6.3984375 exactly.
    #[rustfmt::skip]
    let want = [
        -0.5, 50.0, 50.0,
        2.0, -128.0, -128.0,
        150.0, -1.5, -1.5,
        -6.3984375, 0.099975586, 0.099975586,
    ];
    assert_eq!(of("table"), want.map(half));
    assert_eq!(reader.dequantize("other").unwrap(), None);
}
