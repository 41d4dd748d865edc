//! Cutting rows of activations into tiles that registers hold.

use rayon::prelude::*;

/// Work on some rows at a time.
pub(super) trait Tiles {
    /// Works on the `M` rows from `first` on.
    fn tile<const M: usize>(&mut self, first: usize);
}

/// Covers `m` rows by tiles of at most `largest` rows, which is a constant wherever this is called,
/// so that only the tiles in use are compiled.
#[inline(always)]
pub(super) fn each(m: usize, largest: usize, work: &mut impl Tiles) {
    let mut first = 0;
    while first < m {
        let left = largest.min(m - first);
        first += if largest >= 12 && left >= 12 {
            work.tile::<12>(first);
            12
        } else if largest >= 8 && left >= 8 {
            work.tile::<8>(first);
            8
        } else if largest >= 6 && left >= 6 {
            work.tile::<6>(first);
            6
        } else if largest >= 4 && left >= 4 {
            work.tile::<4>(first);
            4
        } else if largest >= 3 && left >= 3 {
            work.tile::<3>(first);
            3
        } else if largest >= 2 && left >= 2 {
            work.tile::<2>(first);
            2
        } else {
            work.tile::<1>(first);
            1
        };
    }
}

/// Turns rows `[m, width]` into tiles: for each tile its columns, each with one element of every row.
/// The tile of the rows from `first` on starts at `first · width`.
pub(super) fn lay<T: Copy + Send + Sync>(rows: &[T], width: usize, largest: usize, out: &mut [T]) {
    if width == 0 {
        return;
    }
    let chunk = largest * width;
    let chunks = out.par_chunks_mut(chunk).zip(rows.par_chunks(chunk));
    chunks.with_min_len((1 << 14) / chunk + 1).for_each(|(out, rows)| {
        each(out.len() / width, largest, &mut Lay { rows, width, out });
    });
}

struct Lay<'a, T> {
    rows: &'a [T],
    width: usize,
    out: &'a mut [T],
}

impl<T: Copy> Tiles for Lay<'_, T> {
    fn tile<const M: usize>(&mut self, first: usize) {
        let rows = &self.rows[first * self.width..];
        let out = self.out[first * self.width..].as_chunks_mut::<M>().0;
        for (k, out) in out[..self.width].iter_mut().enumerate() {
            for (i, out) in out.iter_mut().enumerate() {
                *out = rows[i * self.width + k];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Seen(Vec<usize>, usize);

    impl Tiles for Seen {
        fn tile<const M: usize>(&mut self, first: usize) {
            assert!(M <= self.1);
            self.0.extend(first..first + M);
        }
    }

    #[test]
    fn each_row_is_in_one_tile() {
        for largest in [1, 2, 3, 4, 6, 8, 12] {
            for m in 0..40 {
                let mut seen = Seen(Vec::new(), largest);
                each(m, largest, &mut seen);
                assert_eq!(seen.0, (0..m).collect::<Vec<_>>(), "{m} rows by {largest}");
            }
        }
    }

    #[test]
    fn tiles_hold_columns() {
        let rows: Vec<usize> = (0..5 * 3).collect();
        let mut out = vec![0; 15];
        lay(&rows, 3, 4, &mut out);
        assert_eq!(out, [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, 12, 13, 14]);
    }
}
