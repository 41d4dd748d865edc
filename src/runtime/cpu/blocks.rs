//! Work shared between threads in blocks of fixed size: what a block computes never depends on how
//! many threads there are, so neither does any result.
//!
//! Work is shared on threads of a pool only. A run whose every step is small ([`is_worth`]) stays on
//! its caller's thread and outside the pool, where nothing here wakes another one.

use super::matrix::{self, Kernel};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Elements that a step reads and writes below which a second thread costs more than it brings: some
/// 20 µs of one core, where waking a thread takes 5 to 10.
const WORTH: u64 = 1 << 15;

/// Whether a step that moves so many elements, and multiplies so often, is worth a second thread.
pub(super) fn is_worth(elements: u64, macs: u64) -> bool {
    elements >= WORTH || macs >= 2 * matrix::WORTH as u64
}

/// Whether work may be shared here.
pub(super) fn shared() -> bool {
    rayon::current_thread_index().is_some()
}

/// Calls `work` with each block of `to` and its first element's place; the last one may be shorter.
pub(super) fn each<T: Send>(to: &mut [T], block: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let block = block.max(1);
    if to.len() > block && shared() {
        to.par_chunks_mut(block).enumerate().for_each(|(i, part)| work(i * block, part));
    } else {
        to.chunks_mut(block).enumerate().for_each(|(i, part)| work(i * block, part));
    }
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
    each(to, row.saturating_mul(together), |start, part| {
        for (i, to) in part.chunks_mut(row).enumerate() {
            work(start / row + i, to);
        }
    });
}

/// Runs a piece of plain code with the vector instructions that this processor has.
///
/// Only what is inlined into it is compiled for them. It stands here once for each kind of processor, and
/// what is called in several places the compiler inlines of itself only where it is short: closures need
/// `#[inline(always)]`, and loops are `for` loops, not closures that an iterator calls.
#[inline(always)]
pub(super) fn simd<R>(work: impl FnOnce() -> R) -> R {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(Kernel::detect).plain(work)
}
