//! Sharing strips of a matrix among threads, each with scratch space of its own.

use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Multiplications that each thread must have, or waking it costs more than it brings: some 20 µs.
pub(in crate::runtime::cpu) const WORTH: usize = 1 << 20;

/// How many threads share `multiplications`: at most the current pool's.
pub(super) fn threads(multiplications: usize) -> usize {
    (multiplications / WORTH).clamp(1, rayon::current_num_threads())
}

/// Calls `work(i, scratch)` once for each `i` below `count`, on at most `threads` threads and as many
/// as `scratch` has parts of `each` numbers for. Who takes which strip is open; what a strip
/// does must depend on `i` alone.
///
/// # Panics
/// If there is not even one part.
pub(super) fn share(
    count: usize,
    threads: usize,
    each: usize,
    scratch: &mut [f32],
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    if each == 0 && threads > 1 {
        return (0..count).into_par_iter().for_each(|i| work(i, &mut []));
    }
    assert!(scratch.len() >= each, "{} of {each} numbers of scratch space", scratch.len());
    let parts = scratch.len().checked_div(each).unwrap_or(1);
    if threads.min(parts).min(count) <= 1 {
        return (0..count).for_each(|i| work(i, &mut scratch[..each]));
    }
    let next = AtomicUsize::new(0);
    let parts = scratch.par_chunks_exact_mut(each).with_max_len(1).take(threads);
    parts.for_each(|scratch| {
        loop {
            let i = next.fetch_add(1, Relaxed);
            if i >= count {
                return;
            }
            work(i, scratch);
        }
    });
}
