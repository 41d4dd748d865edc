//! The order of the work: windows of a bounded number of elements, made of pieces of whole rows.
//!
//! A piece is the unit of arithmetic and of error sums. Its size depends on the tensor alone, so the
//! same bytes come out whatever the number of threads. A window is the unit of memory: the codes of
//! all its pieces are held at once, for the lane orders that need many rows together.

use std::ops::Range;

/// Elements of a window: 32 MiB of codes.
pub(super) const WINDOW: usize = 32 << 20;

/// Elements that a piece aims at: its codes and its input fit a core's cache.
const PIECE: usize = 128 << 10;

/// The shape of one tensor's work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Rows in all.
    pub(super) rows: usize,
    /// Elements of a row.
    pub(super) cols: usize,
    /// Pieces start at multiples of this many rows.
    pub(super) granule: usize,
    /// Rows of weights behind one row of codes: several where vectors run along the rows.
    pub(super) rows_per_code: usize,
}

/// Some rows of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    /// The tensor's place in the plan.
    pub(super) tensor: usize,
    /// Which rows.
    pub(super) rows: Range<usize>,
}

impl Extent {
    /// Rows of a piece: about [`PIECE`] elements, and a multiple of the granule and of 8 rows of
    /// codes, so that a stream of any number of bits starts each piece on a whole byte.
    pub(super) fn piece_rows(self) -> usize {
        let unit = lcm(self.granule.max(1), 8 * self.rows_per_code.max(1));
        (PIECE / self.cols.max(1) / unit).max(1) * unit
    }

    /// Rows of the largest part of this tensor that a window of so many elements takes.
    fn window_rows(self, window: usize) -> usize {
        let piece = self.piece_rows();
        (window / self.cols.max(1) / piece).max(1) * piece
    }
}

/// Cuts tensors, in order, into windows of at most `bound` elements, or one piece. A tensor that does
/// not fit a window of its own is spread over several; one without elements appears once, with no
/// rows.
///
/// Tensors join a window up to a quarter of the bound only: its codes are then still in the
/// processor's cache when they are put in lane order.
pub(super) fn windows(extents: &[Extent], bound: usize) -> Vec<Vec<Rows>> {
    let mut windows = Vec::new();
    let mut open: Vec<Rows> = Vec::new();
    let mut filled = 0;
    for (tensor, extent) in extents.iter().enumerate() {
        let step = extent.window_rows(bound);
        let mut start = 0;
        loop {
            let end = extent.rows.min(start + step);
            let size = (end - start) * extent.cols;
            if filled + size > bound / 4 && !open.is_empty() {
                windows.push(std::mem::take(&mut open));
                filled = 0;
            }
            open.push(Rows { tensor, rows: start..end });
            filled += size;
            start = end;
            if start >= extent.rows {
                break;
            }
        }
    }
    if !open.is_empty() {
        windows.push(open);
    }
    windows
}

/// Cuts rows into pieces of `step` rows, the last one shorter.
pub(super) fn pieces(rows: &Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.clone().step_by(step.max(1)).map(move |start| start..end.min(start + step))
}

fn lcm(a: usize, b: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    a / gcd(a, b) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_row_once_in_order_and_respect_the_bound() {
        let extents = [
            Extent { rows: 0, cols: 16, granule: 1, rows_per_code: 1 },
            Extent { rows: 20_000, cols: 4096, granule: 1, rows_per_code: 1 },
            Extent { rows: 1, cols: 1, granule: 1, rows_per_code: 1 },
            Extent { rows: 4096, cols: 14_336, granule: 16, rows_per_code: 1 },
            Extent { rows: 3, cols: 40_000_000, granule: 1, rows_per_code: 1 },
        ];
        let mut next = vec![0; extents.len()];
        let mut last = 0;
        for window in windows(&extents, WINDOW) {
            let size: usize = window.iter().map(|r| r.rows.len() * extents[r.tensor].cols).sum();
            let rows = |r: &Rows| extents[r.tensor].piece_rows();
            assert!(
                size <= WINDOW || (window.len() == 1 && window[0].rows.len() <= rows(&window[0]))
            );
            for part in &window {
                assert!(part.tensor >= last);
                last = part.tensor;
                assert_eq!(part.rows.start, next[part.tensor]);
                assert_eq!(part.rows.start % extents[part.tensor].piece_rows(), 0);
                next[part.tensor] = part.rows.end;
            }
        }
        assert_eq!(next, extents.map(|e| e.rows));
    }

    #[test]
    fn a_piece_starts_on_a_whole_byte_at_any_width_and_on_a_granule() {
        for (granule, rows_per_code) in [(1, 1), (2, 1), (3, 1), (12, 1), (2, 2), (4, 4), (12, 4)] {
            for cols in [1, 3, 27, 63, 172, 14_336, 1 << 24] {
                let extent = Extent { rows: 1 << 20, cols, granule, rows_per_code };
                let rows = extent.piece_rows();
                assert_eq!(rows % granule, 0);
                for bits in [1, 2, 3, 4, 6, 8] {
                    let stream = rows / rows_per_code * cols * bits;
                    assert_eq!(stream % 8, 0, "{bits} bits, {extent:?}");
                }
            }
        }
    }
}
