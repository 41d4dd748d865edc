//! Packing row-major codes into planes: blocked transposes.
//!
//! `k2` and `k4` are transposes of 2- and 4-byte units. They go by tiles that fit in the first-level
//! cache, and within a tile by squares of 64-bit words, whose halves and quarters change places.

use super::Lanes;
use std::ops::Range;

/// Packs a row-major matrix of codes `[rows, cols]`, one byte each, into its plane: `out` has
/// [`Lanes::plane_len`] bytes, all of which are written, zeros where the plane pads.
///
/// Signed codes are bytes in two's complement, and so zero pads them too.
///
/// # Panics
/// If `codes` or `out` has another length.
pub fn pack(lanes: Lanes, codes: &[u8], rows: usize, cols: usize, out: &mut [u8]) {
    let [gn, gk] = lanes.group();
    let groups = match lanes {
        Lanes::Row | Lanes::O2 => rows.div_ceil(gn),
        Lanes::K2 | Lanes::K4 => cols.div_ceil(gk),
    };
    pack_groups(lanes, codes, rows, cols, 0..groups, out);
}

/// Packs some groups of the outermost dimension of the plane of a matrix `[rows, cols]`: rows of
/// `row`, groups of columns of `k2` and `k4`, pairs of rows of `o2`. They are contiguous in the
/// plane, so that threads can share the work by splitting `out`, which has exactly their bytes.
///
/// # Panics
/// If `codes` or `out` has another length, or the groups lie outside the plane.
pub fn pack_groups(
    lanes: Lanes,
    codes: &[u8],
    rows: usize,
    cols: usize,
    groups: Range<usize>,
    out: &mut [u8],
) {
    assert_eq!(codes.len(), rows * cols, "codes of a matrix [{rows}, {cols}]");
    // All but the outermost of [`Lanes::shape`], without a vector: kernels pack small squares.
    let [gn, gk] = lanes.group();
    let inner = match lanes {
        Lanes::Row | Lanes::O2 => cols * gn,
        Lanes::K2 | Lanes::K4 => rows * gk,
    };
    assert_eq!(out.len(), groups.len() * inner, "{lanes} groups {groups:?} of [{rows}, {cols}]");
    if codes.is_empty() {
        out.fill(0);
        return;
    }
    match lanes {
        Lanes::Row => out.copy_from_slice(&codes[groups.start * cols..groups.end * cols]),
        Lanes::O2 => {
            let pairs = codes.chunks(2 * cols).skip(groups.start);
            assert!(groups.end <= rows.div_ceil(2), "groups {groups:?} of {rows} rows");
            for (pair, out) in pairs.zip(out.chunks_exact_mut(2 * cols)) {
                interleave(pair, cols, out);
            }
        }
        Lanes::K2 => transpose::<2, 4, 8>(codes, rows, cols, groups, out, square_of_pairs),
        Lanes::K4 => transpose::<4, 2, 16>(codes, rows, cols, groups, out, square_of_quads),
    }
}

/// One `o2` group: two rows, or the last one with zeros beside it.
fn interleave(pair: &[u8], cols: usize, out: &mut [u8]) {
    let (a, b) = pair.split_at(cols);
    if b.is_empty() {
        for (out, &a) in out.chunks_exact_mut(2).zip(a) {
            out.copy_from_slice(&[a, 0]);
        }
    } else {
        for ((out, &a), &b) in out.chunks_exact_mut(2).zip(a).zip(b) {
            out.copy_from_slice(&[a, b]);
        }
    }
}

/// Rows of a tile of a transpose.
const ROWS: usize = 32;
/// Bytes of each row of a tile: two cache lines. With [`ROWS`], a tile is 4 KiB, and each row of
/// its transpose at least one cache line, so that every line is read once and written once.
const LINE: usize = 128;

/// `[rows, cols / L]` units of `L` bytes → `[cols / L, rows]`, for some groups of columns.
///
/// `S = 8 / L` units fill a word, so that `square` turns S words of S rows into S words of S
/// groups; a tile is `ROWS / S` (= `WORDS`) by `LINE / 8` such squares.
fn transpose<const L: usize, const S: usize, const WORDS: usize>(
    codes: &[u8],
    rows: usize,
    cols: usize,
    groups: Range<usize>,
    out: &mut [u8],
    square: impl Fn([u64; S]) -> [u64; S],
) {
    const { assert!(L * S == 8 && S * WORDS == ROWS) };
    assert!(groups.end <= cols.div_ceil(L), "groups {groups:?} of {cols} columns");
    let bytes = groups.start * L..cols.min(groups.end * L);
    let mut edge = [[0; LINE]; ROWS];
    for (band, first_row) in codes.chunks(ROWS * cols).zip((0..rows).step_by(ROWS)) {
        let count = band.len() / cols;
        for first in bytes.clone().step_by(LINE) {
            let end = bytes.end.min(first + LINE);
            // A tile that is cut by the matrix's edge is taken from a copy, padded with zeros.
            let whole = count == ROWS && end - first == LINE;
            if !whole {
                edge = [[0; LINE]; ROWS];
                for (line, row) in edge.iter_mut().zip(band.chunks_exact(cols)) {
                    line[..end - first].copy_from_slice(&row[first..end]);
                }
            }
            let mut lines = edge.each_ref();
            if whole {
                for (line, row) in lines.iter_mut().zip(band.chunks_exact(cols)) {
                    *line = row[first..].first_chunk().expect("a whole line");
                }
            }
            let tile: [[[u64; WORDS]; S]; LINE / 8] = turn(&lines, &square);

            let first_group = first / L - groups.start;
            let turned = tile.as_flattened().iter().take((end - first).div_ceil(L));
            for (words, group) in turned.zip(first_group..) {
                let out = &mut out[(group * rows + first_row) * L..][..count * L];
                put(words, out);
            }
        }
    }
}

/// The transpose of one tile: for each square of columns, its groups, each a run of rows.
#[inline(always)]
fn turn<const S: usize, const WORDS: usize>(
    lines: &[&[u8; LINE]; ROWS],
    square: impl Fn([u64; S]) -> [u64; S],
) -> [[[u64; WORDS]; S]; LINE / 8] {
    let mut tile = [[[0; WORDS]; S]; LINE / 8];
    for (i, rows) in lines.as_chunks::<S>().0.iter().enumerate() {
        let rows = rows.map(|line| line.as_chunks::<8>().0);
        for (j, groups) in tile.iter_mut().enumerate() {
            let turned = square(rows.map(|row| u64::from_le_bytes(row[j])));
            for (group, word) in groups.iter_mut().zip(turned) {
                group[i] = word;
            }
        }
    }
    tile
}

/// The first bytes of a run of words.
#[inline(always)]
fn put<const WORDS: usize>(words: &[u64; WORDS], out: &mut [u8]) {
    let (whole, rest) = out.as_chunks_mut::<8>();
    for (out, word) in whole.iter_mut().zip(words) {
        *out = word.to_le_bytes();
    }
    if let Some(word) = words.get(whole.len()) {
        rest.copy_from_slice(&word.to_le_bytes()[..rest.len()]);
    }
}

/// Four rows of four pairs → four pairs of four rows: first the 32-bit halves of rows two apart
/// change places, then the 16-bit ones of neighbours (Warren, Hacker's Delight, 2nd ed., 7-3).
#[inline(always)]
fn square_of_pairs([a, b, c, d]: [u64; 4]) -> [u64; 4] {
    const EVEN: u64 = 0x0000_ffff_0000_ffff;
    let [a, c] = square_of_quads([a, c]);
    let [b, d] = square_of_quads([b, d]);
    let even = |x: u64, y: u64| x & EVEN | (y & EVEN) << 16;
    let odd = |x: u64, y: u64| x >> 16 & EVEN | y & !EVEN;
    [even(a, b), odd(a, b), even(c, d), odd(c, d)]
}

/// Two rows of two quads → two quads of two rows.
#[inline(always)]
fn square_of_quads([a, b]: [u64; 2]) -> [u64; 2] {
    const LOW: u64 = 0xffff_ffff;
    [a & LOW | b << 32, a >> 32 | b & !LOW]
}

/// Transposes a row-major `[n, blocks]` of scales or offsets to the blob's `[blocks, n]`.
///
/// # Panics
/// If `params` has another length.
pub fn transpose_params<T: Copy>(params: &[T], n: usize, blocks: usize) -> Vec<T> {
    assert_eq!(params.len(), n * blocks, "parameters [{n}, {blocks}]");
    (0..blocks).flat_map(|b| (0..n).map(move |row| params[row * blocks + b])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, element by element.
    fn slow(lanes: Lanes, codes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
        let mut plane = vec![0; lanes.plane_len(rows, cols)];
        for n in 0..rows {
            for k in 0..cols {
                plane[lanes.position(rows, cols, n, k)] = codes[n * cols + k];
            }
        }
        plane
    }

    fn codes(len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
    }

    /// Sizes around every edge of the tiles.
    const SIZES: [usize; 14] = [0, 1, 2, 3, 4, 5, 15, 16, 31, 33, 64, 67, 130, 257];

    #[test]
    fn packing_is_the_definition_at_every_edge() {
        for (rows, cols) in SIZES.iter().flat_map(|&n| SIZES.iter().map(move |&k| (n, k))) {
            let codes = codes(rows * cols);
            for lanes in Lanes::ALL {
                let mut plane = vec![0xEE; lanes.plane_len(rows, cols)];
                pack(lanes, &codes, rows, cols, &mut plane);
                assert_eq!(plane, slow(lanes, &codes, rows, cols), "{lanes} [{rows}, {cols}]");
            }
        }
    }

    #[test]
    fn groups_packed_apart_make_the_same_plane() {
        for (rows, cols) in [(1, 1), (5, 3), (34, 70), (67, 130), (130, 515)] {
            let codes = codes(rows * cols);
            for (lanes, step) in Lanes::ALL.into_iter().flat_map(|l| [1, 3, 64].map(|s| (l, s))) {
                let shape = lanes.shape(rows, cols);
                let inner: usize = shape[1..].iter().product();
                let mut plane = vec![0xEE; lanes.plane_len(rows, cols)];
                for (i, out) in plane.chunks_mut(step * inner).enumerate() {
                    let groups = i * step..shape[0].min((i + 1) * step);
                    pack_groups(lanes, &codes, rows, cols, groups, out);
                }
                let want = slow(lanes, &codes, rows, cols);
                assert_eq!(plane, want, "{lanes} [{rows}, {cols}] by {step}");
            }
        }
    }

    #[test]
    fn parameters_turn_around() {
        assert_eq!(transpose_params(&[1, 2, 3, 4, 5, 6], 2, 3), [1, 4, 2, 5, 3, 6]);
        assert!(transpose_params::<u8>(&[], 0, 3).is_empty());
        assert_eq!(transpose_params(&[7, 8], 2, 1), [7, 8]);
    }
}
