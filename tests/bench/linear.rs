//! Speed of linear codes in memory, in GB of FP16 input a second, beside the speed of `memcpy` with
//! the same number of threads in the same run.
//!
//! `cargo bench --bench linear [-- FILTER]`. Data as in other programs' figures that we compare
//! with: a matrix of 4096 × 14336, Student's t with 5 degrees of freedom times 0.02, one weight in a
//! thousand 4 to 12 times larger, log-normal row scales. Medians.
//!
//! `GB/CPU-s` counts processor time instead of time on the clock, and `cores` is the one over the
//! other: how many cores the run really had (Linux only). A line for two threads that had one core
//! says nothing about two.

use half::f16;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rayon::prelude::*;
use std::time::Instant;
use twolane::metrics::Stats;
use twolane::quantize::kernel::Kernel;
use twolane::quantize::linear::Linear;
use twolane::scheme::{self, Clip, LinearBits, LinearGranularity};
use twolane::tensor::{FloatType, Weights};

const ROWS: usize = 4096;
const COLS: usize = 14336;

/// Rows that one job takes.
const PIECE: usize = 64;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let data = matrix();
    let shape = [ROWS, COLS];
    let weights = Weights { name: "w", dtype: FloatType::F16, shape: &shape, bytes: &data };
    println!("kernel {}, {} MB of FP16", Kernel::detect().name(), data.len() / 1_000_000);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    for threads in if threads > 1 { vec![1, threads] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| on_this_pool(threads, weights, &args));
    }
}

fn on_this_pool(threads: usize, weights: Weights, filter: &[String]) {
    use LinearBits::{Int4, Int8};
    let bytes = weights.bytes.len();
    let mut copy = vec![0u8; bytes];
    let piece = PIECE * COLS * 2;
    let (memcpy, _) = median(|| {
        let pieces = copy.par_chunks_mut(piece).zip(weights.bytes.par_chunks(piece));
        pieces.for_each(|(to, from)| to.copy_from_slice(from));
    });
    let limit = bytes as f64 / memcpy / 1e9;
    println!("\n{threads} thread(s): memcpy {limit:.1} GB/s");
    println!(
        "{:<34} {:>6} {:>8} {:>9} {:>6} {:>8}",
        "", "GB/s", "/memcpy", "GB/CPU-s", "cores", "SQNR dB"
    );
    let channel = LinearGranularity::Channel { axis: 0 };
    let input = LinearGranularity::Channel { axis: 1 };
    let block = LinearGranularity::Block { size: 32 };
    #[rustfmt::skip]
    let cases = [
        ("int8 channel, none, codes only",         Int8, false, channel,                   Clip::None, false),
        ("int8 channel, none",                     Int8, false, channel,                   Clip::None, true),
        ("int8 channel, mse, codes only",          Int8, false, channel,                   Clip::Mse,  false),
        ("int8 channel, mse",                      Int8, false, channel,                   Clip::Mse,  true),
        ("int8 block:32, none, codes only",        Int8, false, block,                     Clip::None, false),
        ("int8 block:32, none",                    Int8, false, block,                     Clip::None, true),
        ("int8 block:32, mse, codes only",         Int8, false, block,                     Clip::Mse,  false),
        ("int8 block:32, mse",                     Int8, false, block,                     Clip::Mse,  true),
        ("int8 tensor, none",                      Int8, false, LinearGranularity::Tensor, Clip::None, true),
        ("int8 tensor, mse",                       Int8, false, LinearGranularity::Tensor, Clip::Mse,  true),
        ("int8 channel axis:1, none",              Int8, false, input,                     Clip::None, true),
        ("int8 channel axis:1, mse",               Int8, false, input,                     Clip::Mse,  true),
        ("int8 channel asymmetric, none",          Int8, true,  channel,                   Clip::None, true),
        ("int8 channel asymmetric, mse",           Int8, true,  channel,                   Clip::Mse,  true),
        ("int8 channel, percentile:99.99",         Int8, false, channel,                   Clip::Percentile(99.99), true),
        ("int4 channel, none",                     Int4, false, channel,                   Clip::None, true),
        ("int4 channel, mse",                      Int4, false, channel,                   Clip::Mse,  true),
        ("int4 block:32, none",                    Int4, false, block,                     Clip::None, true),
        ("int4 block:32, mse",                     Int4, false, block,                     Clip::Mse,  true),
    ];
    let mut codes = vec![0u8; ROWS * COLS];
    for (name, bits, asymmetric, granularity, clip, with_stats) in cases {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let scheme = scheme::Linear { bits, asymmetric, granularity };
        let mut stats = Stats::default();
        let (seconds, busy) = median(|| {
            let linear = Linear::new(weights, scheme, clip).expect("finite");
            let pieces = codes.par_chunks_mut(PIECE * COLS).enumerate();
            let parts: Vec<Stats> = pieces
                .map(|(i, codes)| {
                    let rows = i * PIECE..(i + 1) * PIECE;
                    if with_stats {
                        linear.encode(rows, codes).expect("finite").stats
                    } else {
                        linear.encode_only(rows, codes).expect("finite");
                        Stats::default()
                    }
                })
                .collect();
            stats = Stats::default();
            parts.iter().for_each(|part| stats.merge(part));
        });
        let speed = bytes as f64 / seconds / 1e9;
        let sqnr = stats.sqnr_db().map_or(String::new(), |db| format!("{db:.3}"));
        let per_busy = busy.map_or(String::new(), |s| format!("{:.2}", bytes as f64 / s / 1e9));
        let cores = busy.map_or(String::new(), |s| format!("{:.2}", s / seconds));
        println!(
            "{name:<34} {speed:>6.2} {:>8.2} {per_busy:>9} {cores:>6} {sqnr:>8}",
            speed / limit
        );
    }
}

/// The median of some runs, after one that is not counted: seconds on the clock, and of processor
/// time where the system tells.
fn median(mut run: impl FnMut()) -> (f64, Option<f64>) {
    run();
    let mut seconds = Vec::new();
    let mut busy = Vec::new();
    for _ in 0..5 {
        let (start, before) = (Instant::now(), processor_time());
        run();
        seconds.push(start.elapsed().as_secs_f64());
        busy.extend(before.zip(processor_time()).map(|(before, after)| after - before));
    }
    let middle = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(2).copied()
    };
    (middle(&mut seconds).expect("five runs"), middle(&mut busy))
}

/// Seconds that all threads of this process have run.
fn processor_time() -> Option<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

fn matrix() -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut normal = {
        let mut rng = SmallRng::seed_from_u64(8);
        move || {
            let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        }
    };
    // Weights are drawn from a pool: twelve logarithms for each of 58.7 million would take long.
    let pool: Vec<f32> = (0..1 << 20)
        .map(|_| {
            let chi: f64 = (0..5).map(|_| normal().powi(2)).sum();
            (normal() / (chi / 5.0).sqrt() * 0.02) as f32
        })
        .collect();
    let mut out = Vec::with_capacity(ROWS * COLS * 2);
    for _ in 0..ROWS {
        let scale = (0.5 * normal()).exp() as f32;
        for _ in 0..COLS {
            let draw: u64 = rng.random();
            let mut x = pool[draw as usize % pool.len()] * scale;
            if (draw >> 32).is_multiple_of(1000) {
                x *= 4.0 + 8.0 * rng.random::<f32>();
            }
            out.extend_from_slice(&f16::from_f32(x).to_le_bytes());
        }
    }
    out
}
