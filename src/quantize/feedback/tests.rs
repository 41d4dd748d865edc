use super::factor::Factor;
use super::*;
use crate::quantize::array::{Quantized, guided, in_pieces};
use crate::quantize::{Guide, dequantize};
use crate::scheme::{Clip, Scheme};
use crate::source::Source;
use crate::tensor::{FloatType, Weights};
use half::f16;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Numbers between −1 and 1, the same every time.
fn dice(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// Σxxᵀ of correlated rows: each input is a mixture of few sources and some noise of its own.
fn hessian(n: usize, seed: u64) -> Vec<f64> {
    let mut dice = dice(seed);
    let mixture: Vec<f64> = (0..n * 5).map(|_| dice()).collect();
    let mut sums = vec![0.0; n * n];
    for _ in 0..4 * n {
        let sources: [f64; 5] = std::array::from_fn(|_| dice());
        let of = |i: usize| (0..5).map(|s| mixture[i * 5 + s] * sources[s]).sum::<f64>();
        let x: Vec<f64> = (0..n).map(|i| of(i) + 0.3 * dice()).collect();
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            sums[i * n + j] += x[i] * x[j];
        }
    }
    sums
}

#[test]
fn factors_multiply_to_the_matrix_and_to_one() {
    for n in [1, 5, 64, 131] {
        let h = hessian(n, 3);
        let Factor { spread, whole } = Factor::new(h.clone(), n).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * h[0].max(1.0);
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let both: f64 = (0..n).map(|k| whole[i * n + k] * whole[j * n + k]).sum();
            assert!(near(both, h[i * n + j]), "{n} {i} {j}");
            let one: f64 = (0..n).map(|k| spread[i * n + k] * whole[k * n + j]).sum();
            assert!(near(one, f64::from(i == j)), "{n} {i} {j}");
            assert!(i <= j || (spread[i * n + j], whole[i * n + j]) == (0.0, 0.0));
        }
    }
    assert!(Factor::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
    assert!(Factor::new(vec![f64::NAN], 1).is_none());
}

/// The definition of Frantar et al., one column at a time, on the inverse itself.
fn by_definition(h: &[f64], x: &[f64], order: Order, step: f64) -> Vec<f64> {
    let n = x.len();
    let mut columns: Vec<usize> = (0..n).collect();
    if order == Order::Energy {
        columns.sort_by(|&a, &b| h[b * n + b].total_cmp(&h[a * n + a]));
    }
    let damping = 0.01 * (0..n).map(|i| h[i * n + i]).sum::<f64>() / n as f64;
    let mut left = columns.clone();
    let (mut x, mut out) = (x.to_vec(), vec![0.0; n]);
    while let Some(&col) = left.first() {
        out[col] = (x[col] / step).round_ties_even() * step;
        // The first column of the inverse of what is left, by elimination.
        let m = left.len();
        let mut a: Vec<Vec<f64>> = (0..m)
            .map(|i| {
                let mut row: Vec<f64> = (0..m)
                    .map(|j| h[left[i] * n + left[j]] + if i == j { damping } else { 0.0 })
                    .collect();
                row.push(f64::from(i == 0));
                row
            })
            .collect();
        for i in 0..m {
            let pivot = a[i].clone();
            for (_, row) in a.iter_mut().enumerate().filter(|(k, _)| *k != i) {
                let factor = row[i] / pivot[i];
                row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            }
        }
        let inverse: Vec<f64> = (0..m).map(|i| a[i][m] / a[i][i]).collect();
        let error = (x[col] - out[col]) / inverse[0];
        for (k, &other) in left.iter().enumerate().skip(1) {
            x[other] -= error * inverse[k];
        }
        left.remove(0);
    }
    out
}

#[test]
fn columns_are_assigned_as_the_definition_says() {
    let n = 70;
    let h = hessian(n, 9);
    let mut dice = dice(4);
    let x: Vec<f64> = (0..3 * n).map(|_| dice()).collect();
    let step = 0.25;
    let pick = |_: usize, _: usize, x: f64| {
        let code = (x / step).round_ties_even();
        (code as i64 as u8, code * step)
    };
    for order in [Order::Energy, Order::Natural] {
        let feedback = Feedback::new(std::slice::from_ref(&h), n, order).unwrap();
        let mut codes = vec![0; 3 * n];
        let [before, after] = feedback.assign(3, 0, &x, &pick, &mut codes);
        assert!(after < 0.5 * before, "{before} {after}");
        for (x, codes) in x.chunks(n).zip(codes.chunks(n)) {
            let decoded: Vec<f64> = codes.iter().map(|&c| f64::from(c as i8) * step).collect();
            assert_eq!(decoded, by_definition(&h, x, order, step), "{order:?}");
        }
    }
}

fn quantized(weights: Weights, scheme: Scheme, guide: &Guide, step: usize) -> Quantized {
    in_pieces(weights, scheme, Clip::Mse, guide.clone(), step).unwrap()
}

#[test]
fn output_errors_fall_whatever_the_scheme_pieces_and_threads() {
    // A convolution in two groups.
    let shape = [32, 16, 3];
    let hessians = [hessian(48, 1), hessian(48, 2)];
    let mut dice = dice(8);
    let x: Vec<f32> = (0..32 * 48).map(|_| (dice() * dice()) as f32 * 0.1).collect();
    let bytes: Vec<u8> = x.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let weights = Weights { name: "w", dtype: FloatType::F16, shape: &shape, bytes: &bytes };
    let feedback = Arc::new(Feedback::new(&hessians, 48, Order::Energy).unwrap());
    let guide = Guide { feedback: Some(feedback), ..Guide::default() };
    for words in [
        "linear-int8",
        "linear-int8,tensor,asymmetric",
        "linear-int4",
        "linear-int4,asymmetric",
        "linear-int4,axis:1",
        "linear-int4,block:4",
        "palette-4",
        "palette-3,group:8",
        "palette-3,group:8,axis:1",
        "palette-3,channel-scale",
        "palette-4,lut-int8",
    ] {
        let scheme: Scheme = words.parse().unwrap();
        let error = |whole: &Quantized| {
            let decoded = dequantize(scheme, &shape, &whole.codes, &whole.params);
            let mut sum = 0.0;
            for row in 0..32 {
                let e: Vec<f64> = (row * 48..(row + 1) * 48)
                    .map(|i| f16::from_f32(x[i]).to_f64() - decoded[i].to_f64())
                    .collect();
                let h = &hessians[row / 16];
                for (i, j) in (0..48).flat_map(|i| (0..48).map(move |j| (i, j))) {
                    sum += e[i] * h[i * 48 + j] * e[j];
                }
            }
            sum
        };
        let plain = quantized(weights, scheme, &Guide::default(), 32);
        let fed = quantized(weights, scheme, &guide, 32);
        let (before, after) = (error(&plain), error(&fed));
        println!("{words}: {before:.4} → {after:.4}, reported {:?}", fed.stats.output);
        assert!(after < 0.8 * before, "{words}: {before} → {after}");
        assert_eq!(plain.params, fed.params, "{words}: grids and tables stay");
        let [told_before, told_after] = fed.stats.output;
        // The damped Hessian's sums are a little larger.
        assert!(before <= told_before && after <= told_after, "{words}");
        assert!(told_before < 1.2 * before, "{words}: {told_before} {before}");
        let decoded = dequantize(scheme, &shape, &fed.codes, &fed.params);
        let each = x.iter().zip(&decoded);
        let noise: f64 = each.map(|(x, d)| (f16::from_f32(*x).to_f64() - d.to_f64()).powi(2)).sum();
        assert!((fed.stats.noise - noise).abs() < 1e-5 * noise, "{words}");
        assert_eq!((fed.stats.weights, fed.stats.counted), (1536, 1536), "{words}");
        for (threads, step) in [(1, 1), (3, 5)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let many = pool.install(|| quantized(weights, scheme, &guide, step));
            assert_eq!((&many.codes, &many.params), (&fed.codes, &fed.params), "{words}");
        }
    }
}

#[test]
fn silent_inputs_are_rounded() {
    let (n, mut h) = (6, hessian(6, 5));
    (0..n).for_each(|i| (h[2 * n + i], h[i * n + 2]) = (0.0, 0.0));
    for h in [h, vec![0.0; n * n]] {
        let feedback = Feedback::new(&[h], n, Order::Energy).unwrap();
        let pick = |_: usize, _: usize, x: f64| (x.round() as u8, x.round());
        let mut codes = vec![0; n];
        feedback.assign(1, 0, &[3.4, 1.4, 7.4, 2.4, 5.4, 9.4], &pick, &mut codes);
        assert_eq!(codes[2], 7);
    }
    assert!(Feedback::new(&[vec![1.0; 4]], 3, Order::Energy).is_none());
    assert!(Feedback::new(&[], 3, Order::Energy).is_none());
}

#[test]
fn codes_are_those_of_numpys_gptq() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/calibration/gptq.safetensors");
    let file = Source::open(path).unwrap();
    let tensor = |name: &str| file.tensors().iter().find(|tensor| tensor.name == name).unwrap();
    let [x, w] = ["x", "w"].map(|name| file.weights(tensor(name)).unwrap());
    let n = x.shape[1];
    let mut rows = vec![0.0; x.len()];
    x.decode(0..x.len(), &mut rows);
    // Exact, so whatever the order: the inputs are whole multiples of 2⁻⁵.
    let mut h = vec![0.0; n * n];
    for row in rows.chunks_exact(n) {
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            h[i * n + j] += f64::from(row[i]) * f64::from(row[j]);
        }
    }
    let expected = &file.files()[0].metadata()["expected"];
    let expected: BTreeMap<String, serde_json::Value> = serde_json::from_str(expected).unwrap();
    for (name, told) in &expected {
        let (words, order) = name.split_once('/').unwrap();
        let order = match order {
            "energy" => Order::Energy,
            _ => Order::Natural,
        };
        let feedback = Feedback::new(std::slice::from_ref(&h), n, order).unwrap();
        let guide = Guide { feedback: Some(Arc::new(feedback)), ..Guide::default() };
        let found = guided(w, words.parse().unwrap(), Clip::None, guide).unwrap();
        let codes = file.bytes(tensor(name));
        let others = found.codes.iter().zip(codes).filter(|(a, b)| a != b).count();
        assert_eq!(others, 0, "{name}: codes of {} that differ", codes.len());
        for (error, wanted) in
            found.stats.output.iter().zip(told["output_error"].as_array().unwrap())
        {
            let wanted = wanted.as_f64().unwrap();
            assert!((error - wanted).abs() < 1e-6 * wanted, "{name}: {error} {wanted}");
        }
    }
    assert_eq!(expected.len(), 12);
}
