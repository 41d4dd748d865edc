//! Products of weight matrices, each beside the limit of the machine in the same run:
//! `cargo bench --bench matrix [-- FILTER]`.
//!
//! Products of many rows stand beside a probe of f32 multiply-adds, products of one row beside INT8's of
//! the same place and beside reading as many bytes. `TWOLANE_KERNEL` picks the instructions; without
//! it all that the processor has are measured. With `TWOLANE_PYTHON` naming a Python that has
//! onnxruntime and onnx, the same shapes run there (`tests/bench/matrix.py`), and `of ort` is our rate
//! as a multiple of its. GOP counts a multiply-add as two. Times are the shortest of many runs: the
//! machine may be shared.

use half::f16;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};
use twolane::graph::DataType::{self, Float16, Int4, Int8};
use twolane::graph::weight::{Operand, Storage, Weight};
use twolane::runtime::cpu::matrix::{Codes, Kernel, Matrix, Out, probe};

/// Rows of the matrix that comes from memory.
const N: usize = 14_336;
/// Columns.
const K: usize = 4096;
/// Rows of the matrix that a cache holds.
const SMALL: usize = 4096;

/// Rows of the matrix that many rows are multiplied with: a product should end within a time slice.
const FEW: usize = 256;

/// Bytes that no cache holds.
const FAR: u64 = 192 << 20;

/// The shortest run of those that fit in some time, at least five, in seconds.
fn shortest(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || start.elapsed() < Duration::from_millis(600) {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Bytes that look random.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let word = move || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        state.rotate_left(20)
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(word).flat_map(u64::to_le_bytes).take(len).collect();
    // Symmetric INT8 has no -128.
    bytes.iter_mut().filter(|b| **b == 0x80).for_each(|b| *b = 0);
    bytes
}

fn halves(len: usize) -> Vec<u8> {
    (0..len).flat_map(|i| f16::from_f32((i % 61) as f32 / 61.0 - 0.5).to_le_bytes()).collect()
}

fn codes(dtype: DataType, shape: &[usize]) -> Operand {
    let bits = shape.iter().product::<usize>() * dtype.bits().expect("codes") as usize;
    Operand::new(dtype, shape, noise(bits / 8))
}

fn linear(dtype: DataType, n: usize, blocks: usize) -> Weight {
    let scale = Operand::new(Float16, &[n, blocks], halves(n * blocks));
    let storage = Storage::Linear { codes: codes(dtype, &[n, K]), scale, offset: None };
    Weight { shape: vec![n, K], storage }
}

fn palette(bits: u8, n: usize, entries: DataType) -> Weight {
    let size = 1 << bits;
    let table = match entries {
        Int8 => noise(size),
        _ => halves(size),
    };
    let storage = Storage::Palette {
        indices: codes(DataType::index(bits).expect("bits of a palette"), &[n, K]),
        table: Operand::new(entries, &[1, 1, size, 1], table),
        table_scale: (entries == Int8).then(|| Operand::new(Float16, &[1, 1, 1, 1], halves(1))),
        vector_axis: 0,
        channel_scale: None,
    };
    Weight { shape: vec![n, K], storage }
}

/// A weight of each form that has a kernel, and whether activations are codes.
fn forms(n: usize) -> Vec<(&'static str, Weight, bool)> {
    let dense = Weight::dense(Operand::new(Float16, &[n, K], halves(n * K)));
    let mut wide = linear(Int8, n, 1);
    if let Storage::Linear { codes, .. } = &mut wide.storage {
        // One code of -128, and the pair kernel is not exact any more.
        let mut bytes = noise(n * K);
        bytes[0] = 0x80;
        *codes = Operand::new(Int8, &[n, K], bytes);
    }
    vec![
        ("W8A8", linear(Int8, n, 1), true),
        ("W8A8 with -128", wide, true),
        ("W4A8", linear(Int4, n, 1), true),
        ("palette 4, INT8 entries, A8", palette(4, n, Int8), true),
        ("W8A16", linear(Int8, n, 1), false),
        ("W8A16, blocks of 32", linear(Int8, n, K / 32), false),
        ("W4A16, blocks of 32", linear(Int4, n, K / 32), false),
        ("palette 8", palette(8, n, Float16), false),
        ("palette 6", palette(6, n, Float16), false),
        ("palette 4", palette(4, n, Float16), false),
        ("palette 4, INT8 entries", palette(4, n, Int8), false),
        ("FP16", dense, false),
    ]
}

/// Products with copies of a matrix in turn: seconds for one.
fn product(matrices: &[Matrix], m: usize, integer: bool) -> f64 {
    let [n, _] = matrices[0].shape();
    let x: Vec<f32> = (0..m * K).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
    let codes: Vec<i8> = noise(m * K).into_iter().map(|b| b as i8).collect();
    let mut out = vec![0.0; m * n];
    let mut scratch = vec![0.0; matrices[0].scratch_len(m)];
    let mut next = matrices.iter().cycle();
    shortest(|| {
        let matrix = next.next().expect("a cycle");
        let out = Out { data: &mut out, row_stride: n, col_stride: 1 };
        if integer {
            let x = Codes { codes: &codes, scale: 0.01, zero_point: 0 };
            matrix.multiply_codes(x, m, None, out, &mut scratch);
        } else {
            matrix.multiply(&x, m, None, out, &mut scratch);
        }
    })
}

/// Bytes a second of reading `len` bytes.
fn reading(len: usize) -> f64 {
    let words = vec![1u64; len / 8];
    let read = |words: &[u64]| words.iter().fold(0u64, |sum, word| sum ^ word);
    let time = shortest(|| {
        black_box(words.par_chunks(1 << 15).map(read).reduce(|| 0, |a, b| a ^ b));
    });
    len as f64 / time
}

/// GOP/s of onnxruntime, by `PLACE NAME`.
fn onnxruntime() -> BTreeMap<String, f64> {
    let Some(python) = std::env::var_os("TWOLANE_PYTHON") else { return BTreeMap::new() };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/matrix.py");
    let out = Command::new(python).arg(script).output().expect("TWOLANE_PYTHON runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(name, rate)| (name.into(), rate.parse().expect("a rate"))).collect()
}

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|f| name.contains(f.as_str()));
    let peers = onnxruntime();
    let kernels = match std::env::var_os("TWOLANE_KERNEL") {
        Some(_) => vec![Kernel::detect()],
        None => Kernel::available().into_iter().filter(|k| k.name() != "portable").collect(),
    };
    for kernel in kernels {
        let limit = 2.0 * (0..5).map(|_| probe::multiply_adds(kernel)).fold(0.0, f64::max) / 1e9;
        let (memory, cache) = (reading(FAR as usize) / 1e9, reading(SMALL * K) / 1e9);
        let threads = rayon::current_num_threads();
        println!(
            "\n{}, {threads} threads: f32 {limit:.0} GFLOP/s; reading {memory:.1} GB/s from memory, {cache:.1} of 16.8 MB",
            kernel.name()
        );
        prepare(kernel);
        for (place, n, m) in
            [("M=1 far", N, 1), ("M=1 near", SMALL, 1), ("M=128", FEW, 128), ("M=512", FEW, 512)]
        {
            println!(
                "{place:<38} {:>8} {:>7} {:>7} {:>7} {:>7}",
                "GOP/s", "GB/s", "of f32", "of INT8", "of ort"
            );
            let mut int8 = f64::NAN;
            for (name, weight, integer) in forms(n) {
                let line = format!("{place} {name}");
                if !wanted(&line) {
                    continue;
                }
                let first = Matrix::with(&weight, 0..n, kernel).expect("a sound weight");
                let bytes = if first.byte_len() == 0 {
                    weight.storage.byte_len()
                } else {
                    first.byte_len()
                };
                let copies = if place == "M=1 far" { FAR.div_ceil(bytes) } else { 1 };
                let more = (1..copies).map(|_| Matrix::with(&weight, 0..n, kernel).expect("sound"));
                let matrices: Vec<Matrix> = std::iter::once(first).chain(more).collect();
                let time = product(&matrices, m, integer);
                let rate = 2.0 * (n * K * m) as f64 / time / 1e9;
                if name == "W8A8" {
                    int8 = rate;
                }
                let peer =
                    peers.get(&line).map_or(String::new(), |peer| format!("{:.2}", rate / peer));
                println!(
                    "  {name:<36} {rate:>8.1} {:>7.1} {:>7.2} {:>7.2} {peer:>7}",
                    bytes as f64 / time / 1e9,
                    rate / limit,
                    rate / int8,
                );
            }
        }
    }
}

/// Packing, beside copying the package's bytes into fresh memory.
fn prepare(kernel: Kernel) {
    println!("{:<38} {:>8} {:>9}", "preparing", "GB/s", "x memcpy");
    for (name, weight) in [
        ("INT8", linear(Int8, N, 1)),
        ("INT4, blocks of 32", linear(Int4, 2 * N, K / 32)),
        ("palette 4", palette(4, 2 * N, Float16)),
        ("palette 6", palette(6, 2 * N, Float16)),
        ("palette 8", palette(8, N, Float16)),
    ] {
        let bytes = weight.storage.byte_len() as usize;
        let from = noise(bytes);
        let copy = shortest(|| {
            let mut to = vec![0u8; bytes];
            let pieces = to.par_chunks_mut(1 << 20).zip(from.par_chunks(1 << 20));
            pieces.for_each(|(to, from)| to.copy_from_slice(from));
            black_box(&to);
        });
        let pack = shortest(|| {
            black_box(Matrix::with(&weight, 0..weight.shape[0], kernel).expect("sound"));
        });
        println!("  {name:<36} {:>8.1} {:>9.2}", bytes as f64 / pack / 1e9, pack / copy);
    }
}
