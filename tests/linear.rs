//! Linear codes against slow and obvious definitions: whatever the instructions, the pieces and the
//! number of threads.

use half::{bf16, f16};
use proptest::prelude::*;
use twolane::metrics::{Stats, sqnr_db};
use twolane::quantize::kernel::Kernel;
use twolane::quantize::linear::Linear;
use twolane::quantize::{Guide, Params, Quantizer, dequantize};
use twolane::scheme::{self, Clip, LinearBits, LinearGranularity, Scheme};
use twolane::tensor::{FloatType, Weights};

const CLIPS: [Clip; 3] = [Clip::None, Clip::Mse, Clip::Percentile(99.0)];
const TYPES: [FloatType; 3] = [FloatType::F16, FloatType::BF16, FloatType::F32];

/// Weights with what owns their bytes.
struct Tensor {
    dtype: FloatType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn new(dtype: FloatType, shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        let bytes = |&x: &f32| match dtype {
            FloatType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
            FloatType::BF16 => bf16::from_f32(x).to_le_bytes().to_vec(),
            FloatType::F32 => x.to_le_bytes().to_vec(),
        };
        Self { dtype, shape: shape.to_vec(), bytes: values.iter().flat_map(bytes).collect() }
    }

    fn weights(&self) -> Weights<'_> {
        Weights { name: "w", dtype: self.dtype, shape: &self.shape, bytes: &self.bytes }
    }

    fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.weights().len()];
        self.weights().decode(0..values.len(), &mut values);
        values
    }
}

/// Numbers of a heavy-tailed distribution with outliers, row by row of another scale.
fn heavy(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut out = Vec::new();
    for _ in 0..rows {
        let scale = 0.02 * (uniform() * 2.0).exp();
        for _ in 0..cols {
            let normal = (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
            let spread = (0.3 + uniform()).recip();
            let outlier = if uniform() < 0.002 { 8.0 } else { 1.0 };
            out.push(normal * spread * scale * outlier);
        }
    }
    out
}

fn schemes(axis1: usize) -> Vec<scheme::Linear> {
    let mut blocks = vec![LinearGranularity::Tensor];
    blocks.extend([0, 1].map(|axis| LinearGranularity::Channel { axis }));
    let sizes = [1, 2, 3, 4, 5, 8, 16, 32, 48];
    let dividing = sizes.into_iter().filter(|b: &usize| axis1.is_multiple_of(*b));
    blocks.extend(dividing.map(|b| LinearGranularity::Block { size: b as u32 }));
    let mut all = Vec::new();
    for granularity in blocks {
        for bits in [LinearBits::Int8, LinearBits::Int4] {
            for asymmetric in [false, true] {
                all.push(scheme::Linear { bits, asymmetric, granularity });
            }
        }
    }
    all
}

struct Whole {
    codes: Vec<u8>,
    params: Params,
    stats: Stats,
}

/// Quantizes a tensor in pieces of `step` rows.
fn quantize(t: &Tensor, scheme: scheme::Linear, clip: Clip, kernel: Kernel, step: usize) -> Whole {
    let linear = Linear::with(t.weights(), scheme, clip, Guide::default(), kernel).expect("finite");
    let quantizer = Quantizer::Linear(linear);
    let (rows, mut params) = (t.weights().rows(), quantizer.shared());
    let mut codes = vec![0x55; quantizer.code_len(rows)];
    let mut stats = Stats::default();
    for start in (0..rows).step_by(step) {
        let piece = start..rows.min(start + step);
        let at = quantizer.code_len(start)..quantizer.code_len(piece.end);
        let encoded = quantizer.encode(piece.clone(), &mut codes[at.clone()]).expect("finite");
        let mut only = vec![0; at.len()];
        let Quantizer::Linear(linear) = &quantizer else { unreachable!() };
        assert_eq!(linear.encode_only(piece.clone(), &mut only).expect("finite"), encoded.params);
        assert_eq!(only, codes[at.clone()], "codes do not depend on statistics");
        let mut fast = vec![f16::ZERO; piece.len() * t.weights().cols()];
        quantizer.decode(piece.clone(), &codes[at.clone()], &encoded.params, &mut fast).unwrap();
        let mut alone = quantizer.shared();
        alone.append(&encoded.params);
        let mut shape = t.shape.clone();
        shape[0] = piece.len();
        let slow = dequantize(Scheme::Linear(scheme), &shape, &codes[at], &alone);
        assert!(fast.iter().zip(&slow).all(|(a, b)| a.to_bits() == b.to_bits()), "decoding");
        params.append(&encoded.params);
        stats.merge(&encoded.stats);
    }
    Whole { codes, params, stats }
}

/// Σe² and Σx² recomputed from what the codes decode to.
fn recomputed(t: &Tensor, scheme: scheme::Linear, whole: &Whole) -> (f64, f64, f64, u64) {
    let decoded = dequantize(Scheme::Linear(scheme), &t.shape, &whole.codes, &whole.params);
    let (mut noise, mut signal, mut largest) = (0.0, 0.0, 0.0f64);
    for (x, d) in t.values().iter().zip(&decoded) {
        assert!(d.is_finite());
        let e = f64::from(*x) - f64::from(d.to_f32());
        noise += e * e;
        signal += f64::from(*x) * f64::from(*x);
        largest = largest.max(e.abs());
    }
    (noise, signal, largest, decoded.len() as u64)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs() + 1e-30
}

#[test]
fn every_kernel_gives_the_same_bits_and_honest_statistics() {
    for (shape, seed) in [
        (vec![5, 96], 1),
        (vec![3, 33], 2),
        (vec![4, 1], 3),
        (vec![1, 7], 4),
        (vec![2, 6, 3, 3], 5),
        (vec![3, 16, 5], 6),
        (vec![2, 1500], 7),
    ] {
        let values = heavy(shape[0], shape[1..].iter().product(), seed);
        for dtype in TYPES {
            let t = Tensor::new(dtype, &shape, &values);
            for scheme in schemes(shape[1]) {
                for clip in CLIPS {
                    let what = format!("{shape:?} {dtype:?} {scheme:?} {clip:?}");
                    let fast = quantize(&t, scheme, clip, Kernel::detect(), 2);
                    let slow = quantize(&t, scheme, clip, Kernel::portable(), 2);
                    assert_eq!(fast.codes, slow.codes, "{what}");
                    assert_eq!(fast.params, slow.params, "{what}");
                    assert_eq!(fast.stats, slow.stats, "{what}");
                    let (noise, signal, largest, n) = recomputed(&t, scheme, &fast);
                    let stats = &fast.stats;
                    assert!(close(stats.noise, noise), "{what}: {} {noise}", stats.noise);
                    assert!(close(stats.signal, signal), "{what}");
                    assert!(close(stats.max_error, largest), "{what}");
                    assert_eq!((stats.weights, stats.counted), (n, n), "{what}");
                    assert_eq!(stats.errors.total(), n, "{what}");
                    assert_eq!(stats.codes.iter().sum::<u64>(), n, "{what}");
                    if clip == Clip::None {
                        assert_eq!((stats.clipped, stats.clipped_energy), (0, 0.0), "{what}");
                    }
                    let lowest = -i16::from(scheme.bits.max()) - i16::from(scheme.asymmetric);
                    let inside =
                        |&q: &u8| (lowest..=scheme.bits.max().into()).contains(&i16::from(q as i8));
                    assert!(fast.codes.iter().all(inside), "{what}");
                }
            }
        }
    }
}

#[test]
fn pieces_and_threads_change_nothing() {
    let values = heavy(37, 96, 9);
    let t = Tensor::new(FloatType::F16, &[37, 96], &values);
    for scheme in schemes(96) {
        let one = quantize(&t, scheme, Clip::Mse, Kernel::detect(), 37);
        for (threads, step) in [(1, 1), (2, 5), (7, 16)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let many = pool.install(|| quantize(&t, scheme, Clip::Mse, Kernel::detect(), step));
            assert_eq!((&many.codes, &many.params), (&one.codes, &one.params), "{scheme:?}");
            assert_eq!(many.stats.codes, one.stats.codes, "{scheme:?}");
            assert_eq!(many.stats.errors, one.stats.errors, "{scheme:?}");
            assert_eq!(many.stats.clipped, one.stats.clipped, "{scheme:?}");
            assert!(close(many.stats.noise, one.stats.noise), "{scheme:?}");
        }
    }
}

#[test]
fn codes_are_rounded_quotients_for_every_fp16_number() {
    let scheme = scheme::Linear {
        bits: LinearBits::Int8,
        asymmetric: false,
        granularity: LinearGranularity::Channel { axis: 0 },
    };
    let all: Vec<f16> = (0..0x7c00u16).map(f16::from_bits).collect();
    // Rows that hold every number up to one that sets the scale.
    for top in (1..0x7c00).step_by(97).chain([0x7bff, 0x3ff, 0x400]) {
        let row: Vec<f32> = all[..=top].iter().map(|x| x.to_f32()).collect();
        for dtype in [FloatType::F16, FloatType::F32] {
            let t = Tensor::new(dtype, &[1, row.len()], &row);
            let linear = Linear::new(t.weights(), scheme, Clip::None).unwrap();
            let mut codes = vec![0; row.len()];
            let params = linear.encode_only(0..1, &mut codes).unwrap();
            let scale = params.scale[0].to_f32();
            for (x, &q) in row.iter().zip(&codes) {
                let want = (x / scale).round_ties_even();
                assert_eq!(f32::from(q as i8), want, "{x} / {scale}, {dtype:?}");
            }
        }
    }
}

#[test]
fn edge_rows_have_defined_codes() {
    let tiny = f16::from_bits(1).to_f32();
    type Case<'a> = (&'a str, bool, &'a [f32], f32, i8, &'a [i8]);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("zeros keep a usable scale",       false, &[0.0, -0.0],              1.0,           0,    &[0, 0]),
        ("zeros, asymmetric",               true,  &[0.0, -0.0, 0.0],         1.0,           0,    &[0, 0, 0]),
        ("ties go to even",                 false, &[127.0, 0.5, 1.5, -2.5],  1.0,           0,    &[127, 0, 2, -2]),
        ("a subnormal has the last scale",  false, &[tiny, -tiny, 0.0],       tiny,          0,    &[1, -1, 0]),
        ("a narrow range does not clip",    false, &[190.0 * tiny, tiny],     2.0 * tiny,    0,    &[95, 0]),
        ("the largest number stays finite", false, &[65504.0, -60000.0],      515.5,         0,    &[127, -116]),
        ("one weight",                      false, &[-3.0],                   0.023_620_605, 0,    &[-127]),
        ("a positive row starts at zero",   true,  &[255.0, 1.0, 128.0],      1.0,           -128, &[127, -127, 0]),
        ("a negative row ends at zero",     true,  &[-255.0, -1.0],           1.0,           127,  &[-128, 126]),
        ("both halves at the top",          true,  &[65504.0, -65504.0, 0.0], 511.75,        0,    &[127, -128, 0]),
    ];
    for &(name, asymmetric, row, scale, zero, want) in cases {
        for kernel in [Kernel::detect(), Kernel::portable()] {
            let granularity = LinearGranularity::Channel { axis: 0 };
            let scheme = scheme::Linear { bits: LinearBits::Int8, asymmetric, granularity };
            let t = Tensor::new(FloatType::F16, &[1, row.len()], row);
            let whole = quantize(&t, scheme, Clip::None, kernel, 1);
            let codes: Vec<i8> = whole.codes.iter().map(|&q| q as i8).collect();
            assert_eq!((whole.params.scale[0].to_f32(), &codes[..]), (scale, want), "{name}");
            let zeros: &[i8] = if asymmetric { &[zero] } else { &[] };
            assert_eq!(whole.params.offset, zeros, "{name}");
        }
    }
}

#[test]
fn unusable_weights_are_named_with_their_place_and_a_remedy() {
    let scheme = |granularity| {
        Scheme::Linear(scheme::Linear { bits: LinearBits::Int8, asymmetric: false, granularity })
    };
    let mut values = vec![0.5; 4 * 40];
    (values[97], values[98], values[150]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    for dtype in TYPES {
        for granularity in [
            LinearGranularity::Tensor,
            LinearGranularity::Channel { axis: 0 },
            LinearGranularity::Channel { axis: 1 },
            LinearGranularity::Block { size: 8 },
        ] {
            let t = Tensor::new(dtype, &[4, 40], &values);
            let run = || -> twolane::Result<()> {
                let q = Quantizer::new(t.weights(), scheme(granularity), Clip::Mse)?;
                let mut codes = vec![0; 160];
                q.encode(0..4, &mut codes).map(drop)
            };
            let error = run().expect_err("a NaN").to_string();
            insta::allow_duplicates! {
                insta::assert_snapshot!(error, @"tensor `w`, element 97: NaN is not a finite number; repair the checkpoint, or leave this tensor in float with --non-finite keep");
            }
        }
    }
    let t = Tensor::new(FloatType::F32, &[1, 3], &[1.0, -70000.0, 1e9]);
    let q = Quantizer::new(t.weights(), scheme(LinearGranularity::Channel { axis: 0 }), Clip::None);
    let error = q.unwrap().encode(0..1, &mut [0; 3]).expect_err("beyond FP16");
    insta::assert_snapshot!(error, @"tensor `w`, element 1: -70000 is beyond FP16's largest number, 65504; keep this tensor in FP32 with --rule '^w$=float32', or a whole model, which has one type, with --scheme float32");
}

/// The least Σe² over 512 shrunk ranges of one segment, symmetric, each tried on every weight.
fn brute_force(x: &[f32], max_code: f32) -> f64 {
    let top = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    if top == 0.0 {
        return 0.0;
    }
    let error = |i: u32| {
        let factor = 0.01f32.powf(i as f32 / 511.0);
        let scale = f16::from_f32((top * factor / max_code).max(2f32.powi(-24))).to_f32();
        let one = |x: &f32| {
            let q = (x / scale).round_ties_even().clamp(-max_code, max_code);
            let e = f64::from(*x) - f64::from(f16::from_f32(q * scale).to_f32());
            e * e
        };
        x.iter().map(one).sum::<f64>()
    };
    (0..512).map(error).fold(f64::INFINITY, f64::min)
}

#[test]
fn the_search_comes_near_to_trying_everything() {
    use LinearBits::{Int4, Int8};
    let (rows, cols) = (24, 2048);
    let mut gauss_with_spikes = heavy(rows, cols, 21);
    gauss_with_spikes.iter_mut().step_by(cols).for_each(|x| *x = 2.0);
    for (name, values) in [("heavy", heavy(rows, cols, 20)), ("spikes", gauss_with_spikes)] {
        let t = Tensor::new(FloatType::F16, &[rows, cols], &values);
        let x = t.values();
        let signal: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let channel = LinearGranularity::Channel { axis: 0 };
        // Stretching, which the other search does not try, gains half a decibel in INT8 blocks.
        #[rustfmt::skip]
        let cases = [
            (Int8, channel, cols, 0.01),
            (Int4, channel, cols, 0.01),
            (Int8, LinearGranularity::Block { size: 32 }, 32, -0.3),
            (Int4, LinearGranularity::Block { size: 32 }, 32, 0.01),
            (Int8, LinearGranularity::Tensor, rows * cols, 0.01),
            (Int4, LinearGranularity::Tensor, rows * cols, 0.01),
        ];
        for (bits, granularity, segment, tolerance) in cases {
            let scheme = scheme::Linear { bits, asymmetric: false, granularity };
            let got = quantize(&t, scheme, Clip::Mse, Kernel::detect(), rows).stats;
            let none = quantize(&t, scheme, Clip::None, Kernel::detect(), rows).stats;
            let max_code = f32::from(bits.max());
            let best: f64 = x.chunks(segment).map(|x| brute_force(x, max_code)).sum();
            let (got, none) = (got.sqnr_db().unwrap(), none.sqnr_db().unwrap());
            let best = sqnr_db(signal, best).unwrap();
            println!(
                "{name} {bits:?} {granularity:?}: none {none:.3} mse {got:.3} best {best:.3} dB"
            );
            assert!(got > best - tolerance, "{name} {scheme:?}: {got} dB, possible {best} dB");
        }
    }
}

#[test]
fn the_clip_curve_starts_at_none_and_knows_what_was_chosen() {
    let t = Tensor::new(FloatType::F16, &[64, 128], &heavy(64, 128, 30));
    for scheme in schemes(128) {
        let at = |clip| {
            let quantizer = Quantizer::new(t.weights(), Scheme::Linear(scheme), clip).unwrap();
            (
                quantizer.clip_curve().unwrap(),
                quantize(&t, scheme, clip, Kernel::detect(), 64).stats,
            )
        };
        // The sample is the whole of so small a tensor.
        for clip in CLIPS {
            let (curve, stats) = at(clip);
            let (chosen, whole) = (curve.chosen.sqnr_db.unwrap(), stats.sqnr_db().unwrap());
            assert!((chosen - whole).abs() < 1e-3, "{scheme:?} {clip:?}: {chosen} {whole}");
            let none = at(Clip::None).1.sqnr_db().unwrap();
            let first = curve.points[0];
            assert_eq!(first.factor, 1.0);
            assert!((first.sqnr_db.unwrap() - none).abs() < 1e-3, "{scheme:?} {clip:?}");
            assert!(0.0 < curve.chosen.factor && curve.chosen.factor <= 1.03);
            assert_eq!(curve.loses_to_none(), chosen < curve.points[0].sqnr_db.unwrap());
        }
        assert!(!at(Clip::Mse).0.loses_to_none(), "{scheme:?}");
    }
    let int8 = schemes(128)[4];
    let quantizer =
        Quantizer::new(t.weights(), Scheme::Linear(int8), Clip::Percentile(99.0)).unwrap();
    assert!(quantizer.clip_curve().unwrap().loses_to_none(), "a careless percentile");
}

fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1f32..1.0,
        2 => (-24i32..16, -1f32..1.0).prop_map(|(e, m)| m * 2f32.powi(e)),
        1 => Just(0.0f32),
        1 => prop_oneof![Just(65504.0f32), Just(-65504.0), Just(6e-8), Just(-0.0), Just(1.0)],
    ]
}

proptest! {
    #[test]
    fn the_search_never_loses_to_the_whole_range(
        values in prop::collection::vec(any_value(), 1..200),
        pick in 0usize..1000,
        dtype in prop_oneof![Just(FloatType::F16), Just(FloatType::BF16), Just(FloatType::F32)],
        width in prop_oneof![Just(1usize), Just(4), Just(16), Just(32)],
    ) {
        let rows = values.len().div_ceil(width);
        let mut values = values;
        values.resize(rows * width, 0.25);
        // BF16 rounds 65504 up, beyond FP16.
        let small = |x: &f32| if dtype == FloatType::BF16 { x.clamp(-60000.0, 60000.0) } else { *x };
        let values: Vec<f32> = values.iter().map(small).collect();
        let t = Tensor::new(dtype, &[rows, width], &values);
        let all = schemes(width);
        let scheme = all[pick % all.len()];
        let mse = quantize(&t, scheme, Clip::Mse, Kernel::detect(), rows);
        let none = quantize(&t, scheme, Clip::None, Kernel::detect(), rows);
        let (mse, none) = (recomputed(&t, scheme, &mse).0, recomputed(&t, scheme, &none).0);
        prop_assert!(mse <= none * (1.0 + 1e-6), "{:?}: {} {}", scheme, mse, none);
    }

    #[test]
    fn kernels_agree_on_anything(
        values in prop::collection::vec(any_value(), 1..300),
        pick in 0usize..1000,
        clip in prop_oneof![Just(Clip::None), Just(Clip::Mse), (1f64..100.0).prop_map(Clip::Percentile)],
    ) {
        let width = [1, 8, 40, 96][pick % 4].min(values.len());
        let rows = values.len() / width;
        let t = Tensor::new(FloatType::F16, &[rows, width], &values[..rows * width]);
        let all = schemes(width);
        let scheme = all[pick % all.len()];
        let fast = quantize(&t, scheme, clip, Kernel::detect(), 3);
        let slow = quantize(&t, scheme, clip, Kernel::portable(), 3);
        prop_assert_eq!(fast.codes, slow.codes);
        prop_assert_eq!(fast.params, slow.params);
        prop_assert_eq!(fast.stats, slow.stats);
    }
}
