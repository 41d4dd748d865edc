//! Work shared between threads in blocks of fixed size: what a block computes never depends on how
//! many threads there are, so neither does any result.

use rayon::prelude::*;

/// Calls `work` with each block of `to` and its first element's place; the last one may be shorter.
pub(super) fn each<T: Send>(to: &mut [T], block: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let block = block.max(1);
    if to.len() <= block {
        if !to.is_empty() {
            work(0, to);
        }
        return;
    }
    to.par_chunks_mut(block).enumerate().for_each(|(i, part)| work(i * block, part));
}

/// Calls `work` with each row of `to`; cheap rows go to a thread several at a time. `cost`: elements
/// that are read for a row.
pub(super) fn rows<T: Send>(
    to: &mut [T],
    row: usize,
    cost: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    const GRAIN: usize = 1 << 14;
    let row = row.max(1);
    let together = (GRAIN / cost.max(1)).max(1);
    each(to, row * together, |start, part| {
        for (i, to) in part.chunks_mut(row).enumerate() {
            work(start / row + i, to);
        }
    });
}

/// Runs a short piece of work with the vector instructions that this processor has.
#[inline(always)]
pub(super) fn simd<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
