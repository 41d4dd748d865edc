//! What this machine does at the best, measured in the same process: the yardstick of every rate.

use crate::report::validation::Probe;
use crate::runtime::cpu::matrix::{Kernel, probe as peak};
use ndarray::Array2;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes that are read: more than the caches of most machines hold.
const BYTES: usize = 256 << 20;

/// The side of the matrices that are multiplied: three of them lie in a core's own cache.
const SIDE: usize = 192;

/// How long each of the two works.
const TIME: Duration = Duration::from_millis(400);

/// Reads memory and multiplies on all threads, each for less than half a second, and keeps the best round.
///
/// - Reading: the sum of 256 MiB of 64-bit words, a share for each thread.
/// - Arithmetic: on each thread, products of f32 matrices that lie in its cache, by ndarray's kernel
///   (AVX2 with FMA where there is such). That is a matrix product's rate, a little below the peak
///   of the multiply-add unit.
/// - Integers: dot products of INT8 in registers, the peak of the instructions that products of codes use.
pub(super) fn probe() -> Probe {
    let threads = rayon::current_num_threads();
    Probe {
        threads: threads as u64,
        gb_per_second: read_rate(),
        gmac_per_second: mac_rate(threads),
        int8_gmac_per_second: dot_rate(),
    }
}

fn read_rate() -> f64 {
    let words = vec![1u64; BYTES / 8];
    let share = words.len().div_ceil(rayon::current_num_threads() * 4);
    let read = || {
        let sum: u64 = words.par_chunks(share).map(sum).sum();
        black_box(sum);
    };
    BYTES as f64 / best(read) / 1e9
}

/// Sums in eight lanes, so that additions do not wait for each other.
fn sum(words: &[u64]) -> u64 {
    let (lanes, rest) = words.as_chunks::<8>();
    let mut sums = [0u64; 8];
    for lane in lanes {
        for (sum, word) in sums.iter_mut().zip(lane) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().chain(rest).fold(0, |all, word| all.wrapping_add(*word))
}

fn mac_rate(threads: usize) -> f64 {
    const PRODUCTS: usize = 16;
    let matrix = Array2::from_shape_fn((SIDE, SIDE), |(i, j)| ((i * 7 + j) % 13) as f32 * 0.1);
    let multiply = || {
        (0..threads).into_par_iter().for_each(|_| {
            let mut out = Array2::zeros((SIDE, SIDE));
            for _ in 0..PRODUCTS {
                ndarray::linalg::general_mat_mul(1.0, &matrix, &matrix, 0.0, &mut out);
                black_box(&mut out);
            }
        });
    };
    (SIDE * SIDE * SIDE * PRODUCTS * threads) as f64 / best(multiply) / 1e9
}

fn dot_rate() -> f64 {
    const ROUNDS: usize = 8;
    let kernel = Kernel::detect();
    (0..ROUNDS).map(|_| peak::dot_products(kernel)).fold(0.0, f64::max) / 1e9
}

/// The least seconds of a round, after one to warm up.
fn best(round: impl Fn()) -> f64 {
    round();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < TIME {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// The most memory that the process has held so far, in bytes, where the system tells (Linux).
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
