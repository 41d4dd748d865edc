//! Cutting rows of activations into tiles that registers hold.

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
}
