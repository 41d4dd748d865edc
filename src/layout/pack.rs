//! Packing row-major codes into planes: blocked transposes.

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
    let inner: usize = lanes.shape(rows, cols)[1..].iter().product();
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
        Lanes::K2 => transpose::<2>(codes, rows, cols, groups, out),
        Lanes::K4 => transpose::<4>(codes, rows, cols, groups, out),
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

/// `[rows, cols / L]` units of `L` bytes → `[cols / L, rows]`, for some groups of columns.
fn transpose<const L: usize>(
    codes: &[u8],
    rows: usize,
    cols: usize,
    groups: Range<usize>,
    out: &mut [u8],
) {
    assert!(groups.end <= cols.div_ceil(L), "groups {groups:?} of {cols} columns");
    for (group, out) in groups.zip(out.chunks_exact_mut(rows * L)) {
        let k = group * L..cols.min((group + 1) * L);
        for (row, out) in codes.chunks_exact(cols).zip(out.as_chunks_mut::<L>().0) {
            *out = [0; L];
            out[..k.len()].copy_from_slice(&row[k.clone()]);
        }
    }
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
