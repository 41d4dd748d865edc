//! What the processor can do at most: the limit that products are measured by.

use super::kernel::{Kernel, Simd, Work};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// f32 multiply-adds a second, of all threads of the current pool together: as many independent
/// fused chains as hide the latency, in registers, for some milliseconds. One multiply-add is
/// two FLOP.
pub fn multiply_adds(kernel: Kernel) -> f64 {
    let threads = rayon::current_num_threads();
    let start = Instant::now();
    let done = (0..threads).into_par_iter().with_max_len(1).map(|_| kernel.run(Chains));
    let done: usize = done.sum();
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
