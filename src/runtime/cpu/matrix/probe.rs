//! What the processor can do at most: the limit that products are measured by.

use super::kernel::{Dot, IntegerWork, Kernel, Simd, Work};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// f32 multiply-adds a second, of all threads of the current pool together: as many independent
/// fused chains as hide the latency, in registers, for some milliseconds. One multiply-add is
/// two FLOP.
pub fn multiply_adds(kernel: Kernel) -> f64 {
    a_second(|| kernel.run(Chains))
}

/// INT8 multiply-adds a second, likewise.
pub fn dot_products(kernel: Kernel) -> f64 {
    a_second(|| kernel.run_integer(true, Chains))
}

/// How much of something all threads do in a second.
fn a_second(work: impl Fn() -> usize + Sync) -> f64 {
    let threads = rayon::current_num_threads();
    let start = Instant::now();
    let done: usize = (0..threads).into_par_iter().with_max_len(1).map(|_| work()).sum();
    done as f64 / start.elapsed().as_secs_f64()
}

/// Rounds of all chains.
const ROUNDS: usize = 400_000;

struct Chains;

impl Work for Chains {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let [factor, step] = [s.splat(black_box(0.5)), s.splat(black_box(1.0))];
        // As many rows as a tile has fit in registers.
        let mut sums = [step; 12];
        let sums = &mut sums[..S::TILE];
        for _ in 0..ROUNDS {
            for sum in &mut *sums {
                *sum = s.fma(step, *sum, factor);
            }
        }
        let mut out = [0.0; super::kernel::ROWS];
        for sum in &*sums {
            s.put(*sum, &mut out);
            black_box(&out);
        }
        ROUNDS * sums.len() * out.len()
    }
}

impl IntegerWork for Chains {
    type Output = usize;

    #[inline(always)]
    fn run<D: Dot>(self, d: D) -> usize {
        let s = d.simd();
        let [w, x] = [s.lanes(black_box(0x0102_0304)), s.lanes(black_box(0x0101_0101))];
        let mut sums = [w; 12];
        let sums = &mut sums[..D::TILE];
        for _ in 0..ROUNDS {
            for sum in &mut *sums {
                *sum = d.dot(*sum, w, x);
            }
        }
        let mut out = [0; 64];
        for sum in &*sums {
            s.store(*sum, &mut out);
            black_box(&out);
        }
        ROUNDS * sums.len() * out.len()
    }
}
