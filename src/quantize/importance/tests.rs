//! Importances by themselves, and what they do to codes.

use super::*;
use crate::quantize::array::{Quantized, in_pieces};
use crate::quantize::{Guide, dequantize};
use crate::scheme::{Clip, Scheme};
use crate::tensor::FloatType;
use half::f16;
use std::sync::Arc;

#[test]
fn energies_become_whole_numbers_of_columns_and_groups() {
    // The mean is 2, so that 0.02 is added to each.
    let importance = Importance::new(&[0.0, 4.0], &[3, 2]).unwrap();
    let silent = (0.02 / 4.02 * LARGEST).round() as u32;
    assert_eq!(importance.row(2), [silent, 1 << 24]);
    assert_eq!(shares(importance.row(0)).collect::<Vec<_>>()[1], 1.0);

    let grouped = Importance::new(&[1.0, 2.0, 3.0, 4.0], &[4, 2, 3]).unwrap();
    assert_eq!(grouped.row(1)[..3], [grouped.row(0)[0]; 3]);
    assert_eq!(grouped.row(2)[5], 1 << 24);
    assert!(grouped.row(0)[5] < grouped.row(2)[0]);
    let mut seen = Vec::new();
    grouped.runs(4..13, |elements, importances| {
        assert_eq!(elements.len(), importances.len());
        seen.push((elements, importances[0]));
    });
    let row = |row: usize, at: usize| grouped.row(row)[at];
    assert_eq!(seen, [(4..6, row(0, 4)), (6..12, row(1, 0)), (12..13, row(2, 0))]);
}

#[test]
fn energies_that_do_not_fit_are_refused() {
    for (energies, shape) in [
        (&[1.0, 1.0, 1.0][..], &[4, 2][..]),
        (&[1.0, 1.0, 1.0, 1.0], &[3, 2]),
        (&[], &[4, 2]),
        (&[0.0, 0.0], &[4, 2]),
        (&[1.0, f64::NAN], &[4, 2]),
        (&[1.0, f64::INFINITY], &[4, 2]),
        (&[3.0, -1.0], &[4, 2]),
        (&[1.0], &[4]),
        (&[1.0], &[4, 0]),
    ] {
        assert_eq!(Importance::new(energies, shape), None, "{energies:?} {shape:?}");
    }
}

/// Numbers of a heavy-tailed distribution, the same every time.
fn heavy(n: usize) -> Vec<f32> {
    let mut state = 5u64;
    let mut unit = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut number = || {
        let normal = (0..6).map(|_| unit()).sum::<f32>() - 3.0;
        normal * 0.02 / (0.3 + unit())
    };
    (0..n).map(|_| number()).collect()
}

fn quantized(weights: Weights, scheme: Scheme, guide: &Guide, step: usize) -> Quantized {
    in_pieces(weights, scheme, Clip::Mse, guide.clone(), step).unwrap()
}

/// `Σ importance · (w − ŵ)²`, and the same with each weight counted once.
fn errors(
    weights: Weights,
    scheme: Scheme,
    whole: &Quantized,
    importance: &Importance,
) -> [f64; 2] {
    let mut x = vec![0.0; weights.len()];
    weights.decode(0..x.len(), &mut x);
    let decoded = dequantize(scheme, weights.shape, &whole.codes, &whole.params);
    let energy = |i: usize| (f64::from(x[i]) - decoded[i].to_f64()).powi(2);
    let cols = weights.cols();
    let often = |i: usize| f64::from(importance.row(i / cols)[i % cols]);
    [(0..x.len()).map(|i| often(i) * energy(i)).sum(), (0..x.len()).map(energy).sum()]
}

/// Weights `[32, 16, 3]` of a convolution in two groups, in a type.
fn bytes(dtype: FloatType) -> Vec<u8> {
    let stored = |x: f32| match dtype {
        FloatType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
        FloatType::BF16 => half::bf16::from_f32(x).to_le_bytes().to_vec(),
        FloatType::F32 => x.to_le_bytes().to_vec(),
    };
    heavy(32 * 16 * 3).into_iter().flat_map(stored).collect()
}

/// Energies of its 32 inputs, some of them a thousand times the others.
fn energies() -> Vec<f64> {
    (0..32).map(|i| if i % 5 == 2 { 1000.0 } else { 1.0 + f64::from(i) / 8.0 }).collect()
}

#[test]
fn errors_where_they_count_become_fewer_whatever_the_scheme() {
    let schemes = [
        "linear-int8",
        "linear-int8,asymmetric",
        "linear-int8,tensor",
        "linear-int4",
        "linear-int4,tensor,asymmetric",
        "linear-int4,block:4",
        "linear-int4,axis:1",
        "palette-4",
        "palette-2,group:8",
        "palette-3,group:8,axis:1",
        "palette-4,lut-int8",
        "palette-3,channel-scale",
        "palette-4,vector:2",
        "palette-4,vector:2,axis:1",
        "palette-4,group:8,vector:4,axis:1",
        "palette-2,vector:2,channel-scale",
    ];
    let shape = [32, 16, 3];
    let importance = Arc::new(Importance::new(&energies(), &shape).unwrap());
    let guide = Guide { importance: Some(Arc::clone(&importance)), ..Guide::default() };
    for dtype in [FloatType::F16, FloatType::BF16, FloatType::F32] {
        let bytes = bytes(dtype);
        let weights = Weights { name: "w", dtype, shape: &shape, bytes: &bytes };
        for words in schemes {
            let scheme: Scheme = words.parse().unwrap();
            let what = format!("{words} of {dtype:?}");
            let plain = quantized(weights, scheme, &Guide::default(), 32);
            let guided = quantized(weights, scheme, &guide, 32);
            let [before, _] = errors(weights, scheme, &plain, &importance);
            let [after, noise] = errors(weights, scheme, &guided, &importance);
            println!("{what}: {before:.5e} → {after:.5e}");
            // Lloyd's algorithm finds another local optimum.
            let slack = if words.contains("vector") { 1.03 } else { 1.0 };
            assert!(after <= before * slack, "{what}: {before} → {after}");
            if !words.contains("int8") {
                assert!(after < 0.98 * before, "{what}: {before} → {after}");
            }
            let near = (guided.stats.noise - noise).abs() <= 1e-5 * noise;
            assert!(near, "{what}: statistics count each weight once");
            assert_eq!(guided.stats.weights, 32 * 16 * 3, "{what}");
        }
    }
}

#[test]
fn equal_importances_are_none() {
    let shape = [32, 16, 3];
    let importance = Arc::new(Importance::new(&[7.0; 32], &shape).unwrap());
    let guide = Guide { importance: Some(importance), ..Guide::default() };
    let bytes = bytes(FloatType::F16);
    let weights = Weights { name: "w", dtype: FloatType::F16, shape: &shape, bytes: &bytes };
    for words in ["linear-int4", "linear-int4,tensor", "palette-4", "palette-4,vector:2"] {
        let scheme: Scheme = words.parse().unwrap();
        let plain = quantized(weights, scheme, &Guide::default(), 32);
        let guided = quantized(weights, scheme, &guide, 32);
        assert_eq!((plain.codes, plain.params), (guided.codes, guided.params), "{words}");
    }
}

#[test]
fn pieces_and_threads_change_nothing() {
    let shape = [32, 16, 3];
    let importance = Arc::new(Importance::new(&energies(), &shape).unwrap());
    let guide = Guide { importance: Some(importance), ..Guide::default() };
    let bytes = bytes(FloatType::F16);
    let weights = Weights { name: "w", dtype: FloatType::F16, shape: &shape, bytes: &bytes };
    for words in ["linear-int4,tensor", "linear-int4", "palette-4", "palette-3,vector:2,axis:1"] {
        let scheme: Scheme = words.parse().unwrap();
        let one = quantized(weights, scheme, &guide, 32);
        for (threads, step) in [(1, 1), (3, 8)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let many = pool.install(|| quantized(weights, scheme, &guide, step));
            assert_eq!((&many.codes, &many.params), (&one.codes, &one.params), "{words}");
        }
    }
}

#[test]
fn a_scalar_palette_is_the_best_for_values_that_count_differently() {
    // The heavy column's values are worth an entry each; counted once, the light ones would win.
    let values = [1.0, 0.0, 2.0, 0.1, 3.0, 10.0, 4.0, 10.1f32];
    let bytes: Vec<u8> = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let weights = Weights { name: "w", dtype: FloatType::F16, shape: &[4, 2], bytes: &bytes };
    let importance = Importance::new(&[1.0, 0.0], &[4, 2]).unwrap();
    let guide = Guide { importance: Some(Arc::new(importance)), ..Guide::default() };
    let scheme: Scheme = "palette-2".parse().unwrap();
    let table = |guide: &Guide| quantized(weights, scheme, guide, 4).params.table;
    let plain: Vec<f32> = table(&Guide::default()).iter().map(|x| x.to_f32()).collect();
    // {0, 0.1}, {1, 2}, {3, 4} and {10, 10.1}, and {1, 2, 3, 4} alone.
    assert_eq!(plain, [0.05, 1.5, 3.5, 10.05].map(|x| f16::from_f32(x).to_f32()));
    // Columns weigh 100 to 1: four tables of the heavy values, each moved a little.
    let guided = table(&guide);
    for (entry, near) in guided.iter().zip([1.0, 2.0, 3.0, 4.0]) {
        assert!((entry.to_f32() - near).abs() < 0.25, "{guided:?}");
    }
}
