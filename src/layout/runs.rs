//! Where the planes of bands of rows lie in the plane of all rows.

use super::Lanes;
use std::ops::Range;

/// One contiguous piece that a band's own plane and the plane of all rows have in common, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it starts in the plane of all rows.
    pub plane: usize,
    /// Where it starts in the band's plane.
    pub band: usize,
    /// Its length.
    pub len: usize,
}

/// The runs of a band `rows` of a matrix `[n_total, cols]`, one byte a code, in the order of both
/// planes. The band's own plane is the one that [`pack`](super::pack()) makes of its rows alone.
///
/// `row` and `o2` have one run; `k2` and `k4` have one for each group of columns, of
/// `rows.len() · lane` bytes at `(group · n_total + rows.start) · lane`.
///
/// # Panics
/// If the rows lie outside the matrix, or if an `o2` band starts at an odd row, or ends at one
/// that is not the last.
pub fn runs(
    lanes: Lanes,
    n_total: usize,
    cols: usize,
    rows: Range<usize>,
) -> impl ExactSizeIterator<Item = Run> {
    assert!(rows.start <= rows.end && rows.end <= n_total, "{rows:?} of {n_total} rows");
    let [gn, gk] = lanes.group();
    assert!(rows.start.is_multiple_of(gn), "an {lanes} band starts at row {}", rows.start);
    assert!(
        rows.end.is_multiple_of(gn) || rows.end == n_total,
        "an {lanes} band ends at row {} of {n_total}",
        rows.end
    );
    let count = rows.len();
    let (pieces, len, stride) = match lanes {
        Lanes::Row | Lanes::O2 => (1, count.next_multiple_of(gn) * cols, 0),
        Lanes::K2 | Lanes::K4 => (cols.div_ceil(gk), count * gk, n_total * gk),
    };
    let start = match lanes {
        Lanes::Row | Lanes::O2 => rows.start * cols,
        Lanes::K2 | Lanes::K4 => rows.start * gk,
    };
    (0..pieces).map(move |i| Run { plane: i * stride + start, band: i * len, len })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::pack;

    #[test]
    fn bands_put_where_their_runs_say_make_the_whole_plane() {
        for lanes in Lanes::ALL {
            for (n, k, band) in [(1, 1, 1), (6, 5, 2), (7, 9, 4), (40, 34, 16), (33, 64, 32)] {
                let band = if lanes == Lanes::O2 { band.max(2) } else { band };
                let codes: Vec<u8> = (0..n * k).map(|i| (i % 251) as u8 + 1).collect();
                let mut whole = vec![0; lanes.plane_len(n, k)];
                pack(lanes, &codes, n, k, &mut whole);

                let mut pieced = vec![0xEE; whole.len()];
                for first in (0..n).step_by(band) {
                    let rows = first..n.min(first + band);
                    let mut plane = vec![0; lanes.plane_len(rows.len(), k)];
                    pack(lanes, &codes[rows.start * k..rows.end * k], rows.len(), k, &mut plane);
                    for run in runs(lanes, n, k, rows) {
                        pieced[run.plane..][..run.len]
                            .copy_from_slice(&plane[run.band..][..run.len]);
                    }
                }
                assert_eq!(pieced, whole, "{lanes} [{n}, {k}] by {band}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "an o2 band starts at row 3")]
    fn an_o2_band_cannot_start_inside_a_pair() {
        let _ = runs(Lanes::O2, 8, 4, 3..8);
    }
}
