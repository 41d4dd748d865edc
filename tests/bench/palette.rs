//! Seconds and accuracy of palettes on 58.7 M FP16 weights: `cargo bench --bench palette [WORD]`, where
//! WORD keeps the rows whose name contains it.
//!
//! The matrix is [4096, 14336]: Student-t(5) · 0.02, 0.1 % outliers of 4 to 12 times, log-normal row
//! scales. Beside our accuracy stands that of a plain dynamic programme (divide and conquer over the
//! order of the cuts), which knows nothing of penalties: on the whole matrix, or on every 32nd group.
//! Besides seconds, each row gives GB of FP16 input a second and its share of what reading the
//! same bytes takes in this run.

use half::f16;
use rayon::prelude::*;
use std::time::Instant;
use twolane::metrics::{Stats, sqnr_db};
use twolane::quantize::Quantizer;
use twolane::scheme::{Clip, Entries, Palette, PaletteGranularity, Scheme};
use twolane::tensor::{FloatType, Weights};

const ROWS: usize = 4096;
const COLS: usize = 14336;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

fn matrix() -> Vec<u8> {
    let mut dice = Dice(1);
    // Drawn from a pool of a million: the tail matters, not the independence.
    let pool: Vec<f32> = (0..1 << 20)
        .map(|_| {
            let chi: f64 = (0..5).map(|_| dice.normal().powi(2)).sum();
            (0.02 * dice.normal() / (chi / 5.0).sqrt()) as f32
        })
        .collect();
    let rows: Vec<Vec<u8>> = (0..ROWS)
        .into_par_iter()
        .map(|row| {
            let mut dice = Dice(row as u64 + 99);
            let scale = (0.5 * dice.normal()).exp() as f32;
            (0..COLS)
                .flat_map(|_| {
                    let bits = dice.next();
                    let t = pool[bits as usize % pool.len()];
                    let outlier = (bits >> 40).is_multiple_of(1000);
                    let factor = if outlier { 4.0 + 8.0 * dice.unit() as f32 } else { 1.0 };
                    f16::from_f32(t * scale * factor).to_le_bytes()
                })
                .collect()
        })
        .collect();
    rows.concat()
}

/// What the plain programme finds for some weights.
struct Plain {
    /// Σ x².
    signal: f64,
    /// Least Σ (x − c)² for k real entries.
    real: f64,
    /// The same with those entries rounded to FP16 and each weight at the nearest.
    rounded: f64,
}

fn plain_optimum(bytes: &[u8], k: usize) -> Plain {
    let mut counts = vec![0u64; 1 << 16];
    bytes.chunks_exact(2).for_each(|b| counts[usize::from(u16::from_le_bytes([b[0], b[1]]))] += 1);
    let mut values: Vec<(f64, f64)> = (0..=u16::MAX)
        .filter(|&b| counts[usize::from(b)] > 0)
        .map(|b| (f16::from_bits(b).to_f64(), counts[usize::from(b)] as f64))
        .collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sums = vec![[0f64; 3]];
    for &(x, w) in &values {
        let last = sums[sums.len() - 1];
        sums.push([last[0] + w, last[1] + w * x, last[2] + w * x * x]);
    }
    let cost = |i: usize, j: usize| {
        let [w, s, q] = [0, 1, 2].map(|m| sums[j][m] - sums[i][m]);
        q - s * s / w.max(1.0)
    };
    let n = values.len();
    let mut best: Vec<f64> = (0..=n).map(|j| if j == 0 { 0.0 } else { cost(0, j) }).collect();
    let mut from = vec![vec![0; n + 1]];
    for runs in 2..=k.min(n) {
        let last = best.clone();
        best.fill(f64::INFINITY);
        let mut cuts = vec![0; n + 1];
        fill(&cost, &last, (&mut best, &mut cuts), (runs, n), (runs - 1, n - 1));
        from.push(cuts);
    }
    let mut entries = Vec::new();
    let mut end = n;
    for cuts in from.iter().rev() {
        let [w, s] = [0, 1].map(|m| sums[end][m] - sums[cuts[end]][m]);
        entries.push(f16::from_f64(s / w).to_f64());
        end = cuts[end];
    }
    let nearest = |x: f64| entries.iter().map(|e| (x - e) * (x - e)).fold(f64::INFINITY, f64::min);
    let rounded = values.iter().map(|&(x, w)| w * nearest(x)).sum();
    Plain { signal: sums[n][2], real: best[n], rounded }
}

/// One level of the programme: best cuts before each `j`, known to lie in `i`.
fn fill(
    cost: &dyn Fn(usize, usize) -> f64,
    last: &[f64],
    (best, from): (&mut [f64], &mut [usize]),
    j: (usize, usize),
    i: (usize, usize),
) {
    if j.0 > j.1 {
        return;
    }
    let middle = (j.0 + j.1) / 2;
    let found = (i.0..=i.1.min(middle - 1))
        .map(|cut| (last[cut] + cost(cut, middle), cut))
        .fold((f64::INFINITY, i.0), |a, b| if b.0 < a.0 { b } else { a });
    (best[middle], from[middle]) = found;
    fill(cost, last, (best, from), (j.0, middle - 1), (i.0, found.1));
    fill(cost, last, (best, from), (middle + 1, j.1), (found.1, i.1));
}

fn encode(weights: Weights, scheme: Palette, codes: &mut [u8]) -> Stats {
    let quantizer =
        Quantizer::new(weights, Scheme::Palette(scheme), Clip::None).expect("sound weights");
    let mut stats = Stats::default();
    let rows = 256;
    for (i, codes) in codes.chunks_mut(quantizer.code_len(rows)).enumerate() {
        let piece = i * rows..(i + 1) * rows;
        stats.merge(&quantizer.encode(piece, codes).expect("sound weights").stats);
    }
    stats
}

/// Our error and the plain programme's, summed over every 32nd group of rows.
fn some_groups(weights: Weights, scheme: Palette, rows: usize) -> (f64, Plain) {
    let groups: Vec<&[u8]> = weights.bytes.chunks_exact(rows * COLS * 2).step_by(32).collect();
    let sums: Vec<(f64, Plain)> = groups
        .into_par_iter()
        .map(|bytes| {
            let shape = [rows, COLS];
            let part = Weights { shape: &shape, bytes, ..weights };
            let whole = Palette { granularity: PaletteGranularity::Tensor, ..scheme };
            let mut codes = vec![0; part.len()];
            let quantizer =
                Quantizer::new(part, Scheme::Palette(whole), Clip::None).expect("sound");
            let noise = quantizer.encode(0..rows, &mut codes).expect("sound").stats.noise;
            (noise, plain_optimum(bytes, 1 << scheme.bits))
        })
        .collect();
    sums.into_iter().fold((0.0, Plain { signal: 0.0, real: 0.0, rounded: 0.0 }), |a, b| {
        let (a_noise, a) = a;
        let (noise, b) = b;
        let signal = a.signal + b.signal;
        (a_noise + noise, Plain { signal, real: a.real + b.real, rounded: a.rounded + b.rounded })
    })
}

fn main() {
    let word = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let bytes = matrix();
    let weights = Weights { name: "w", dtype: FloatType::F16, shape: &[ROWS, COLS], bytes: &bytes };
    let mut limit = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let sum = bytes
            .par_chunks(1 << 20)
            .map(|c| {
                let words = c.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().expect("8")));
                words.fold(0u64, u64::wrapping_add)
            })
            .reduce(|| 0, u64::wrapping_add);
        std::hint::black_box(sum);
        limit = limit.min(start.elapsed().as_secs_f64());
    }
    let threads = rayon::current_num_threads();
    println!("[{ROWS}, {COLS}] FP16, {threads} threads; reading alone takes {limit:.4} s");
    println!("plain: SQNR of the programme's real entries; real, FP16: ours less its, in dB");
    println!(
        "{:<24} {:>9} {:>7} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "palette", "seconds", "GB/s", "of read", "SQNR dB", "plain", "real", "FP16"
    );
    let base = Palette {
        bits: 8,
        granularity: PaletteGranularity::Tensor,
        vector: 1,
        axis: 0,
        entries: Entries::F16,
        channel_scale: false,
        unique: false,
    };
    let group = PaletteGranularity::Group { size: 16 };
    let mut rows = Vec::new();
    for bits in [8, 6, 4, 3, 2, 1] {
        rows.push((format!("{bits}-bit"), Palette { bits, ..base }));
    }
    for bits in [8, 6, 4] {
        rows.push((format!("{bits}-bit group:16"), Palette { bits, granularity: group, ..base }));
    }
    for bits in [8, 4] {
        let grouped = Palette { bits, granularity: group, axis: 1, ..base };
        rows.push((format!("{bits}-bit group:16 axis:1"), grouped));
        rows.push((
            format!("{bits}-bit lut-int8"),
            Palette { bits, entries: Entries::Int8, ..base },
        ));
        rows.push((
            format!("{bits}-bit channel-scale"),
            Palette { bits, channel_scale: true, ..base },
        ));
    }
    rows.push(("4-bit group:1".into(), {
        Palette { bits: 4, granularity: PaletteGranularity::Group { size: 1 }, ..base }
    }));
    rows.push(("4-bit vector:2".into(), Palette { bits: 4, vector: 2, ..base }));
    rows.push(("8-bit vector:2".into(), Palette { vector: 2, ..base }));
    for (name, scheme) in rows.into_iter().filter(|row| row.0.contains(&word)) {
        let mut codes = vec![0; ROWS * COLS / usize::from(scheme.vector)];
        let rounds = if scheme.vector > 1 { 1 } else { 3 };
        let (mut seconds, mut stats) = (f64::INFINITY, Stats::default());
        for _ in 0..rounds {
            let start = Instant::now();
            stats = encode(weights, scheme, &mut codes);
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        let ours = stats.sqnr_db().expect("a signal");
        let optimal = scheme.vector == 1 && !scheme.channel_scale && scheme.entries == Entries::F16;
        let plain = match scheme.granularity {
            _ if !optimal || scheme.axis == 1 => None,
            PaletteGranularity::Tensor => {
                Some((stats.noise, plain_optimum(&bytes, 1 << scheme.bits)))
            }
            PaletteGranularity::Group { size } => Some(some_groups(weights, scheme, size as usize)),
        };
        let plain = plain.map_or(String::new(), |(noise, plain)| {
            let beside = |error: f64| 10.0 * (error / noise).log10();
            let optimum = sqnr_db(plain.signal, plain.real).expect("a signal");
            format!("{optimum:>9.4} {:>+9.6} {:>+9.6}", beside(plain.real), beside(plain.rounded))
        });
        let rate = bytes.len() as f64 / 1e9 / seconds;
        println!(
            "{name:<24} {seconds:>9.3} {rate:>7.2} {:>8.2} {ours:>9.4} {plain}",
            limit / seconds
        );
    }
}
