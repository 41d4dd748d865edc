//! The palette through its own door: shapes, schemes, threads, pieces, errors.

use super::*;
use crate::scheme::PaletteGranularity;
use half::bf16;

fn scheme(bits: u8) -> scheme::Palette {
    scheme::Palette {
        bits,
        granularity: PaletteGranularity::Tensor,
        vector: 1,
        axis: 0,
        entries: Entries::F16,
        channel_scale: false,
        unique: false,
    }
}

fn group(size: u32) -> PaletteGranularity {
    PaletteGranularity::Group { size }
}

/// Heavy-tailed weights with rows of different scales, the same every time.
fn weights(rows: usize, cols: usize) -> Vec<f32> {
    let mut state = 11u64;
    let mut unit = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut out = Vec::new();
    for _ in 0..rows {
        let scale = 0.02 * 2f32.powf(2.0 * unit() - 1.0);
        for _ in 0..cols {
            let normal = (0..6).map(|_| unit()).sum::<f32>() - 3.0;
            out.push(normal * scale * if unit() < 0.005 { 8.0 } else { 1.0 });
        }
    }
    out
}

fn bytes(dtype: FloatType, values: &[f32]) -> Vec<u8> {
    match dtype {
        FloatType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        FloatType::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        FloatType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

struct Whole {
    codes: Vec<u8>,
    params: Params,
    stats: Stats,
}

/// Encodes in pieces of so many granules, in reverse order, and joins them in order.
fn encode(weights: Weights, scheme: scheme::Palette, granules: usize) -> Result<Whole> {
    let palette = Palette::new(weights, scheme, Guide::default())?;
    let rows = weights.rows();
    let step = palette.granule_rows() * granules;
    let mut starts: Vec<usize> = (0..rows).step_by(step).collect();
    starts.reverse();
    let mut pieces = Vec::new();
    for start in starts {
        let rows = start..rows.min(start + step);
        let mut codes = vec![255; palette.code_len(rows.len())];
        let encoded = palette.encode(rows.clone(), &mut codes)?;
        let mut out = vec![f16::NAN; rows.len() * weights.cols()];
        palette.decode(rows, &codes, &encoded.params, &mut out)?;
        pieces.push((codes, encoded, out));
    }
    pieces.reverse();
    let (mut codes, mut params, mut stats) = (Vec::new(), palette.shared(), Stats::default());
    let mut decoded = Vec::new();
    for (c, encoded, out) in pieces {
        codes.extend(c);
        params.append(&encoded.params);
        stats.merge(&encoded.stats);
        decoded.extend(out);
    }
    let slow = dequantize(scheme, weights.shape, &codes, &params);
    assert_eq!(decoded, slow, "decode is the definition, {scheme:?} of {:?}", weights.shape);
    check_stats(&weights, &slow, &stats);
    Ok(Whole { codes, params, stats })
}

fn check_stats(weights: &Weights, decoded: &[f16], stats: &Stats) {
    let mut x = vec![0.0; weights.len()];
    weights.decode(0..weights.len(), &mut x);
    let mut slow = Stats::default();
    for (&x, d) in x.iter().zip(decoded) {
        slow.add_weighted(x, d.to_f32(), 1);
    }
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
    assert_eq!(stats.weights, slow.weights);
    assert!(near(stats.noise, slow.noise), "{} against {}", stats.noise, slow.noise);
    assert!(near(stats.signal, slow.signal) && near(stats.decoded, slow.decoded));
    assert_eq!(stats.max_error, slow.max_error);
    assert_eq!(stats.errors, slow.errors, "below the sampling limit all errors are counted");
}

/// Every kind of palette on shapes that it divides.
fn every_kind() -> Vec<(scheme::Palette, &'static [usize])> {
    let mut kinds = Vec::new();
    let shapes: [&'static [usize]; 3] = [&[16, 24], &[8, 16, 3], &[16, 8, 3, 3]];
    for shape in shapes {
        for bits in [1, 2, 3, 4, 6, 8] {
            for axis in [0, 1] {
                for granularity in [PaletteGranularity::Tensor, group(4), group(8)] {
                    kinds.push((scheme::Palette { axis, granularity, ..scheme(bits) }, shape));
                }
            }
        }
        for (axis, granularity) in [
            (0, PaletteGranularity::Tensor),
            (0, group(4)),
            (1, PaletteGranularity::Tensor),
            (1, group(8)),
        ] {
            for vector in [1, 2, 4] {
                for entries in [Entries::F16, Entries::Int8] {
                    for channel_scale in [false, true] {
                        let base = scheme(3);
                        kinds.push((
                            scheme::Palette {
                                axis,
                                granularity,
                                vector,
                                entries,
                                channel_scale,
                                ..base
                            },
                            shape,
                        ));
                    }
                }
            }
        }
    }
    kinds
}

#[test]
fn every_kind_of_palette_decodes_to_what_its_statistics_say() {
    for (scheme, shape) in every_kind() {
        let values = weights(shape[0], shape[1..].iter().product());
        for dtype in [FloatType::F16, FloatType::BF16, FloatType::F32] {
            let bytes = bytes(dtype, &values);
            let tensor = Weights { name: "w", dtype, shape, bytes: &bytes };
            let whole = encode(tensor, scheme, 1).unwrap();
            let quotient = usize::from(scheme.vector);
            assert_eq!(whole.codes.len(), tensor.len() / quotient);
            // A crude floor.
            let db = whole.stats.sqnr_db().unwrap();
            let rate = f64::from(scheme.bits) / f64::from(scheme.vector);
            assert!(db > 1.5 * rate, "{scheme:?} of {shape:?}: {db} dB");
        }
    }
}

#[test]
fn pieces_and_threads_do_not_change_a_byte() {
    let values = weights(64, 24);
    for (scheme, _) in every_kind().into_iter().filter(|(_, shape)| shape.len() == 2) {
        let bytes = bytes(FloatType::F16, &values);
        let tensor = Weights { name: "w", dtype: FloatType::F16, shape: &[64, 24], bytes: &bytes };
        let mut seen: Option<Whole> = None;
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for granules in [1, 3, 64] {
                let whole = pool.install(|| encode(tensor, scheme, granules)).unwrap();
                if let Some(seen) = &seen {
                    assert_eq!(
                        (&whole.codes, &whole.params),
                        (&seen.codes, &seen.params),
                        "{scheme:?}"
                    );
                } else {
                    seen = Some(whole);
                }
            }
        }
    }
}

#[test]
fn large_tensors_do_not_depend_on_threads_either() {
    // Many blocks of every kind; the F32 one is beyond the sorting limit.
    let (rows, cols) = (600, 2000);
    let values = weights(rows, cols);
    let channel_scale = scheme::Palette { channel_scale: true, ..scheme(4) };
    let vector = scheme::Palette { vector: 2, axis: 1, ..scheme(2) };
    #[rustfmt::skip]
    let cases = [
        (FloatType::F16, scheme(8)), (FloatType::F32, scheme(4)),
        (FloatType::F16, channel_scale), (FloatType::BF16, vector),
    ];
    for (dtype, scheme) in cases {
        let bytes = bytes(dtype, &values);
        let tensor = Weights { name: "w", dtype, shape: &[rows, cols], bytes: &bytes };
        let run = |threads, pieces: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let palette = Palette::new(tensor, scheme, Guide::default()).unwrap();
                let (mut codes, mut params) = (Vec::new(), palette.shared());
                for start in (0..rows).step_by(pieces) {
                    let rows = start..rows.min(start + pieces);
                    let mut piece = vec![0; palette.code_len(rows.len())];
                    params.append(&palette.encode(rows, &mut piece).unwrap().params);
                    codes.extend(piece);
                }
                (codes, params)
            })
        };
        let one = run(1, rows);
        assert!(one == run(2, 100), "{dtype:?} {scheme:?}");
        assert!(one == run(7, 64), "{dtype:?} {scheme:?}");
    }
}

#[test]
fn one_channel_a_group_is_optimal_for_each_channel() {
    // Row by row, no assignment to 4 entries of a small grid is better than ours.
    let values = weights(6, 40);
    let bytes = bytes(FloatType::F16, &values);
    let tensor = Weights { name: "w", dtype: FloatType::F16, shape: &[6, 40], bytes: &bytes };
    let rows = encode(tensor, scheme::Palette { granularity: group(1), ..scheme(2) }, 1).unwrap();
    let all = encode(tensor, scheme(2), 1).unwrap();
    assert!(rows.stats.noise < all.stats.noise);
    for row in 0..6 {
        let part =
            Weights { shape: &[1, 40], bytes: tensor.slice(row * 40..row * 40 + 40), ..tensor };
        let alone = encode(part, scheme(2), 1).unwrap();
        assert_eq!(alone.params.table, rows.params.table[row * 4..row * 4 + 4]);
        assert_eq!(alone.codes, rows.codes[row * 40..row * 40 + 40]);
    }
}

#[test]
fn binning_f32_stays_within_its_bound() {
    let values = weights(200, 500);
    let raw = bytes(FloatType::F32, &values);
    let tensor = Weights { name: "w", dtype: FloatType::F32, shape: &[200, 500], bytes: &raw };
    let region = Region { rows: 0..200, cols: 0..500 };
    let exact = points::sorted_floats(&tensor, &region, &[], None).unwrap();
    let binned = points::binned_floats(&tensor, &region, &[], None, 4).unwrap();
    assert!(binned.x.len() < exact.x.len());
    assert_eq!(binned.w.iter().sum::<f64>(), exact.w.iter().sum::<f64>());
    for k in [2, 4, 8, 16, 64, 256] {
        let mut sums = Sums::new(&exact);
        let run = |c: &[u32]| (c[0] as usize, c[1] as usize);
        let total = |sums: &Sums, cuts: &[u32]| -> f64 {
            cuts.windows(2).map(run).map(|(a, b)| sums.error(a, b, sums.mean(a, b))).sum()
        };
        let cuts = sums.partition(k);
        let optimum = total(&sums, &cuts);
        // The bound of the documentation: 2·(b − a)·h for each weight of the bin that is cut.
        let mut bound = 0.0;
        for c in cuts.windows(3) {
            let (a, b) =
                (sums.mean(c[0] as usize, c[1] as usize), sums.mean(c[1] as usize, c[2] as usize));
            let at = exact.x[c[1] as usize];
            let h = at.abs() / 1024.0;
            let near = exact.x.iter().zip(&exact.w).filter(|(x, _)| (*x - at).abs() <= h);
            bound += near.map(|(_, w)| w * 2.0 * (b - a) * h).sum::<f64>();
        }
        let mut coarse = Sums::new(&binned);
        let coarse_cuts: Vec<u32> = coarse
            .partition(k)
            .into_iter()
            .map(|cut| {
                // The same cut among the exact values: behind all weight before it.
                let weight = coarse.weight(0, cut as usize);
                let mut below = 0.0;
                let passed = exact.w.iter().take_while(|w| {
                    below += **w;
                    below <= weight
                });
                passed.count() as u32
            })
            .collect();
        let got = total(&sums, &coarse_cuts);
        assert!(optimum <= got * (1.0 + 1e-12), "k = {k}");
        assert!(got <= optimum + bound, "k = {k}: {got} > {optimum} + {bound}");
        assert!(got <= optimum * 1.001, "k = {k}: in practice far less, {}", got / optimum);
    }
}

#[test]
fn unique_is_lossless_or_says_what_would_do() {
    let cycle =
        |n: usize, len: usize| -> Vec<f32> { (0..len).map(|i| (i % n) as f32 - 2.0).collect() };
    let unique = |bits| scheme::Palette { unique: true, ..scheme(bits) };
    let try_with = |dtype, values: &[f32], scheme| {
        let bytes = bytes(dtype, values);
        let shape = [4, values.len() / 4];
        let tensor = Weights { name: "fc", dtype, shape: &shape, bytes: &bytes };
        encode(tensor, scheme, 1).map(|whole| whole.stats.noise)
    };
    for dtype in [FloatType::F16, FloatType::BF16, FloatType::F32] {
        assert_eq!(try_with(dtype, &cycle(16, 64), unique(4)).unwrap(), 0.0);
        assert_eq!(try_with(dtype, &cycle(3, 64), unique(2)).unwrap(), 0.0);
    }
    let error = |values: &[f32], scheme| match try_with(FloatType::F32, values, scheme) {
        Ok(noise) => format!("no error, noise {noise}"),
        Err(error) => error.to_string(),
    };
    insta::assert_snapshot!(error(&cycle(17, 64), unique(4)), @"tensor `fc`: 17 distinct values, more than the 16 of palette-4; palette-6,unique holds them");
    insta::assert_snapshot!(error(&cycle(300, 600), unique(8)), @"tensor `fc`: 300 distinct values, more than the 256 of palette-8; no palette does, the largest holds 256: leave out `unique`");
    insta::assert_snapshot!(error(&[0.0, 1.0, 0.1, 0.5], unique(2)), @"tensor `fc`, element 2: 1e-1 is not an FP16 number, so no FP16 table holds it exactly; leave out `unique`, or convert the weights to FP16 first");
    let by_group = scheme::Palette { granularity: group(2), ..unique(1) };
    insta::assert_snapshot!(error(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 1.0], by_group), @"tensor `fc`: 3 distinct values in rows 2..4, columns 0..2, more than the 2 of palette-1; palette-2,unique holds them");
}

#[test]
fn weights_that_fp16_cannot_hold_are_named() {
    let spoiled = |x: f32| {
        let mut values = weights(4, 2000);
        (values[5001], values[7000]) = (x, f32::NAN);
        values
    };
    let error = |dtype, x, scheme| {
        let bytes = bytes(dtype, &spoiled(x));
        let tensor = Weights { name: "h.0.w", dtype, shape: &[4, 2000], bytes: &bytes };
        match encode(tensor, scheme, 4) {
            Ok(_) => "no error".to_string(),
            Err(error) => error.to_string(),
        }
    };
    #[rustfmt::skip]
    let schemes = [
        scheme(4),
        scheme::Palette { granularity: group(1), ..scheme(4) },
        scheme::Palette { granularity: group(2), ..scheme(4) },
        scheme::Palette { granularity: group(500), axis: 1, ..scheme(4) },
        scheme::Palette { channel_scale: true, ..scheme(4) },
        scheme::Palette { vector: 2, ..scheme(4) },
        scheme::Palette { unique: true, ..scheme(4) },
    ];
    for scheme in schemes {
        insta::allow_duplicates! {
            insta::assert_snapshot!(error(FloatType::F16, f32::INFINITY, scheme), @"tensor `h.0.w`, element 5001: inf is not a finite number; repair the checkpoint, or leave this tensor in float with --non-finite keep");
            insta::assert_snapshot!(error(FloatType::BF16, 65536.0, scheme), @"tensor `h.0.w`, element 5001: 65536 is beyond FP16's largest number, 65504; keep this tensor in FP32 with --rule '^h.0.w$=float32', or a whole model, which has one type, with --scheme float32");
            insta::assert_snapshot!(error(FloatType::F32, -65505.0, scheme), @"tensor `h.0.w`, element 5001: -65505 is beyond FP16's largest number, 65504; keep this tensor in FP32 with --rule '^h.0.w$=float32', or a whole model, which has one type, with --scheme float32");
        }
    }
}

#[test]
fn odd_rows_have_defined_outcomes() {
    #[rustfmt::skip]
    let cases: &[(&str, [f32; 8])] = &[
        ("zeros",              [0.0; 8]),
        ("negative zeros",     [-0.0; 8]),
        ("the extremes",       [65504.0, -65504.0, 65504.0, 1.0, 0.0, -0.0, 6e-8, -6e-8]),
        ("subnormals",         [6e-8, 1.2e-7, -6e-8, 0.0, 6e-8, 6e-8, 1.8e-7, 6e-8]),
        ("one value",          [3.0; 8]),
        ("few values",         [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]),
    ];
    for (name, row) in cases {
        let values = [&row[..], &row[..], &[0.0; 8], &row[..]].concat();
        for base in [scheme(2), scheme(8)] {
            for channel_scale in [false, true] {
                for vector in [1, 2, 4] {
                    for entries in [Entries::F16, Entries::Int8] {
                        for granularity in [PaletteGranularity::Tensor, group(4)] {
                            for axis in [0, 1] {
                                let scheme = scheme::Palette {
                                    channel_scale,
                                    vector,
                                    entries,
                                    granularity,
                                    axis,
                                    ..base
                                };
                                let bytes = bytes(FloatType::F16, &values);
                                let shape = [4, 8];
                                let dtype = FloatType::F16;
                                let tensor =
                                    Weights { name: "w", dtype, shape: &shape, bytes: &bytes };
                                let whole = encode(tensor, scheme, 1).unwrap();
                                let p = &whole.params;
                                let finite = [&p.table, &p.table_scale, &p.channel_scale];
                                assert!(
                                    finite.iter().all(|t| t.iter().all(|x| x.is_finite())),
                                    "{name}"
                                );
                                assert!(p.table_scale.iter().all(|s| *s > f16::ZERO), "{name}");
                                assert!(p.channel_scale.iter().all(|s| *s > f16::ZERO), "{name}");
                                assert!(whole.stats.decoded.is_finite(), "{name}: {scheme:?}");
                                let plain =
                                    vector == 1 && entries == Entries::F16 && !channel_scale;
                                if plain && base.bits == 8 {
                                    assert_eq!(whole.stats.noise, 0.0, "{name}: enough entries");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
