//! Codes packed per second, beside memcpy of the same bytes in the same run, on one core:
//! `cargo bench --bench layout`.

use std::hint::black_box;
use std::time::{Duration, Instant};
use twolane::layout::{Lanes, pack};

/// The shortest of the runs that fit in half a second, at least three, in seconds.
fn shortest(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < Duration::from_millis(500) {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn main() {
    println!("{:>16} {:>8} {:>8} {:>9}", "codes", "lanes", "GB/s", "of memcpy");
    // A band that the second-level cache holds, a layer, and shapes that no tile divides.
    for (rows, cols) in [(64, 4096), (32, 14_336), (4096, 4096), (4096, 14_336), (1000, 4097)] {
        let codes: Vec<u8> = (0..rows * cols).map(|i| (i * 31 % 251) as u8).collect();
        let gb = codes.len() as f64 / 1e9;
        let mut copy = vec![0; codes.len()];
        let memcpy = gb / shortest(|| black_box(&mut copy).copy_from_slice(black_box(&codes)));
        let line = |lanes: &str, rate: f64| {
            let (shape, share) = (format!("[{rows}, {cols}]"), 100.0 * rate / memcpy);
            println!("{shape:>16} {lanes:>8} {rate:>8.2} {share:>8.0}%");
        };
        line("memcpy", memcpy);
        for lanes in Lanes::ALL {
            let mut plane = vec![0; lanes.plane_len(rows, cols)];
            let time = shortest(|| pack(lanes, black_box(&codes), rows, cols, &mut plane));
            black_box(&plane);
            line(lanes.name(), gb / time);
        }
    }
}
