//! Codes as packages store them → panels in lane order.

use super::coded::{COLUMNS, Coded};
use super::kernel::ROWS;
use crate::layout::{Lanes, pack};
use rayon::prelude::*;
use std::ops::Range;

/// Row-major codes of a package.
pub(super) struct Stream<'a> {
    /// The stored bytes: a stream of codes, the first in the lowest bits.
    pub(super) bytes: &'a [u8],
    /// Bits of a code in the stream.
    pub(super) bits: usize,
    /// Columns of the matrix.
    pub(super) cols: usize,
    /// The rows that are wanted.
    pub(super) rows: Range<usize>,
    /// What becomes of codes of eight bits.
    pub(super) change: Change<'a>,
}

/// What becomes of codes before they are stored.
pub(super) enum Change<'a> {
    /// Nothing.
    None,
    /// The sign bit turns: an unsigned byte becomes a signed one that is 128 less.
    Turn,
    /// Entry `table(row, column)[code]`, for a matrix whose tables are of signed bytes.
    LookUp(&'a (dyn Fn(usize, usize) -> &'a [u8] + Sync)),
}

/// What a thread needs while it packs.
#[derive(Default)]
struct Room {
    /// One byte a code, row-major, sixteen rows.
    codes: Vec<u8>,
    /// The same as a `k4` plane.
    plane: Vec<u8>,
}

impl Stream<'_> {
    /// All panels, with codes of `bits` bits.
    pub(super) fn pack(&self, bits: usize) -> Vec<u8> {
        let units = self.cols.div_ceil(COLUMNS);
        let panel_bytes = units * Coded::unit_bytes(bits);
        let mut plane = vec![0; self.rows.len().div_ceil(ROWS) * panel_bytes];
        if panel_bytes > 0 {
            let panels = plane.par_chunks_exact_mut(panel_bytes).enumerate();
            panels.for_each_init(Room::default, |room, (panel, out)| {
                self.pack_panel(panel, bits, out, room);
            });
        }
        plane
    }

    fn pack_panel(&self, panel: usize, bits: usize, out: &mut [u8], room: &mut Room) {
        let first = self.rows.start + panel * ROWS;
        let rows = first..self.rows.end.min(first + ROWS);
        let len = rows.len() * self.cols;
        let whole = rows.len() == ROWS;
        let row_bits = self.cols * bits;
        if self.bits == bits && bits != 8 && row_bits.is_multiple_of(8) {
            let rows = &self.bytes[first * row_bits / 8..][..len * bits / 8];
            return match bits {
                4 => sixteens(rows, row_bits / 8, fours, out),
                _ => sixteens(rows, row_bits / 8, sixes, out),
            };
        }
        let Room { codes, plane } = room;
        let codes = if whole && self.bits == 8 && !matches!(self.change, Change::LookUp(_)) {
            &self.bytes[first * self.cols..][..len]
        } else {
            codes.clear();
            codes.resize(ROWS * self.cols, 0);
            unpack(self.bytes, self.bits, first * self.cols, &mut codes[..len]);
            if let Change::LookUp(table) = self.change {
                for (row, codes) in rows.zip(codes.chunks_exact_mut(self.cols)) {
                    for (column, code) in codes.iter_mut().enumerate() {
                        *code = table(row, column)[usize::from(*code)];
                    }
                }
            }
            codes
        };
        let quads = self.cols.div_ceil(4) * 4 * ROWS;
        if bits == 8 {
            pack(Lanes::K4, codes, ROWS, self.cols, &mut out[..quads]);
            if let Change::Turn = self.change {
                out.iter_mut().for_each(|code| *code ^= 0x80);
            }
            return;
        }
        plane.clear();
        plane.resize(self.cols.div_ceil(COLUMNS) * COLUMNS * ROWS, 0);
        pack(Lanes::K4, codes, ROWS, self.cols, &mut plane[..quads]);
        let units = plane.as_chunks::<{ ROWS * COLUMNS }>().0;
        for (unit, out) in units.iter().zip(out.chunks_exact_mut(Coded::unit_bytes(bits))) {
            squeeze(unit, out);
        }
    }
}

/// Rows of whole bytes → units: `put` places sixteen codes of a row, which `N` bytes hold.
#[inline(always)]
fn sixteens<const N: usize>(
    rows: &[u8],
    row_bytes: usize,
    put: impl Fn(&[u8; N], usize, &mut [u8]),
    out: &mut [u8],
) {
    for (row, bytes) in rows.chunks_exact(row_bytes).enumerate() {
        let (whole, rest) = bytes.as_chunks::<N>();
        let mut last = [0; N];
        last[..rest.len()].copy_from_slice(rest);
        let codes = whole.iter().chain(std::iter::once(&last));
        for (codes, out) in codes.zip(out.chunks_exact_mut(ROWS * N)) {
            put(codes, row, out);
        }
    }
}

/// Codes of four bits.
#[inline(always)]
fn fours(codes: &[u8; 8], row: usize, unit: &mut [u8]) {
    let [first, second] = quads_of(u64::from_le_bytes(*codes));
    unit[4 * row..][..4].copy_from_slice(&first);
    unit[64 + 4 * row..][..4].copy_from_slice(&second);
}

/// Codes of six bits, eight at a time in a word.
#[inline(always)]
fn sixes(codes: &[u8; 12], row: usize, unit: &mut [u8]) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *codes;
    let low = spread_sixes(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]));
    let high = spread_sixes(u64::from_le_bytes([g, h, i, j, k, l, 0, 0]));
    let [a, b, c, d] = [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32];
    const NIBBLES: u32 = 0x0F0F_0F0F;
    let crumbs =
        a >> 4 & 0x0303_0303 | b >> 2 & 0x0C0C_0C0C | c & 0x3030_3030 | d << 2 & 0xC0C0_C0C0;
    let parts = [a & NIBBLES | (b & NIBBLES) << 4, c & NIBBLES | (d & NIBBLES) << 4, crumbs];
    for (part, out) in parts.iter().zip(unit.as_chunks_mut::<64>().0) {
        out[4 * row..][..4].copy_from_slice(&part.to_le_bytes());
    }
}

/// Eight codes of six bits → one byte each: fours into halves, pairs into quarters, codes into bytes.
#[inline(always)]
fn spread_sixes(codes: u64) -> u64 {
    let fours = codes & 0x0000_0000_00FF_FFFF | (codes & 0x0000_FFFF_FF00_0000) << 8;
    let pairs = fours & 0x0000_0FFF_0000_0FFF | (fours & 0x00FF_F000_00FF_F000) << 4;
    pairs & 0x003F_003F_003F_003F | (pairs & 0x0FC0_0FC0_0FC0_0FC0) << 2
}

/// Sixteen codes of a row → the bytes that hold quads 0 and 1, and 2 and 3.
#[inline(always)]
fn quads_of(word: u64) -> [[u8; 4]; 2] {
    // Codes 0 to 3 and 8 to 11, and those four behind, each in 16 of 32 bits; then each in a byte.
    let spread = |codes: u64| {
        let pairs = (codes | codes << 8) & 0x00FF_00FF_00FF_00FF;
        (pairs | pairs << 4) & 0x0F0F_0F0F_0F0F_0F0F
    };
    const HALF: u64 = 0x0000_FFFF_0000_FFFF;
    let bytes = spread(word & HALF) | spread(word >> 16 & HALF) << 4;
    [(bytes as u32).to_le_bytes(), ((bytes >> 32) as u32).to_le_bytes()]
}

/// A unit of one byte a code → four or six bits.
fn squeeze(unit: &[u8; ROWS * COLUMNS], out: &mut [u8]) {
    let [a, b, c, d] = std::array::from_fn(|i| unit.as_chunks::<64>().0[i]);
    let (nibbles, crumbs) = out.split_at_mut(128);
    for (i, out) in nibbles.iter_mut().enumerate() {
        let (low, high) = if i < 64 { (a[i], b[i]) } else { (c[i - 64], d[i - 64]) };
        *out = low & 15 | high << 4;
    }
    for (i, out) in crumbs.iter_mut().enumerate() {
        *out = a[i] >> 4 | b[i] >> 4 << 2 | c[i] >> 4 << 4 | d[i] >> 4 << 6;
    }
}

/// Codes number `from` and on of a stream, one byte each.
pub(in crate::runtime::cpu) fn unpack(bytes: &[u8], bits: usize, from: usize, out: &mut [u8]) {
    let at = from * bits;
    let aligned = at.is_multiple_of(8).then(|| &bytes[at / 8..]);
    match (bits, aligned) {
        (8, _) => out.copy_from_slice(&bytes[from..from + out.len()]),
        (4, Some(bytes)) => {
            let (pairs, rest) = out.as_chunks_mut::<2>();
            for (pair, byte) in pairs.iter_mut().zip(bytes) {
                *pair = [byte & 15, byte >> 4];
            }
            if let [last] = rest {
                *last = bytes[pairs.len()] & 15;
            }
        }
        (6, Some(bytes)) => {
            let (quads, rest) = out.as_chunks_mut::<4>();
            for (quad, bytes) in quads.iter_mut().zip(bytes.as_chunks::<3>().0) {
                let [a, b, c] = *bytes;
                *quad = [a & 63, a >> 6 | b << 2 & 63, b >> 4 | c << 4 & 63, c >> 2];
            }
            slowly(bytes, bits, quads.len() * 4, rest);
        }
        _ => slowly(bytes, bits, from, out),
    }
}

/// The definition, code by code.
fn slowly(bytes: &[u8], bits: usize, from: usize, out: &mut [u8]) {
    for (i, out) in (from..).zip(out) {
        let (byte, shift) = (i * bits / 8, i * bits % 8);
        let next = bytes.get(byte + 1).copied().unwrap_or(0);
        *out = (u16::from_le_bytes([bytes[byte], next]) >> shift) as u8 & (255 >> (8 - bits));
    }
}

#[cfg(test)]
mod tests {
    use super::super::coded::quads;
    use super::super::kernel::Kernel;
    use super::*;

    /// Where a code must come out again: through the decoder's own view of a unit.
    fn read(plane: &[u8], bits: usize, cols: usize, n: usize, k: usize) -> u8 {
        struct Read<'a>(&'a [u8], usize);
        impl super::super::kernel::Work for Read<'_> {
            type Output = Vec<u8>;
            fn run<S: super::super::kernel::Simd>(self, s: S) -> Vec<u8> {
                let mut out = Vec::new();
                for codes in quads(s, self.1, self.0) {
                    let mut quad = [0; 64];
                    s.store(codes, &mut quad);
                    out.extend(quad);
                }
                out
            }
        }
        let units = cols.div_ceil(COLUMNS);
        let unit = n / ROWS * units + k / COLUMNS;
        let len = Coded::unit_bytes(bits);
        let codes = Kernel::portable().run(Read(&plane[unit * len..][..len], bits));
        codes[k % COLUMNS / 4 * 64 + n % ROWS * 4 + k % 4]
    }

    #[test]
    fn every_code_is_found_again() {
        for (bits, stored) in [(1, 4), (2, 4), (3, 4), (4, 4), (6, 6), (8, 8)] {
            for (n, k) in [(1, 1), (16, 16), (17, 5), (17, 20), (33, 70), (5, 129), (32, 64)] {
                let bytes: Vec<u8> =
                    (0..n * k * bits / 8 + 1).map(|i| (i * 89 + 41) as u8).collect();
                let mut codes = vec![0; n * k];
                slowly(&bytes, bits, 0, &mut codes);
                let rows = n / 3..n;
                let stream = Stream {
                    bytes: &bytes,
                    bits,
                    cols: k,
                    rows: rows.clone(),
                    change: Change::None,
                };
                let plane = stream.pack(stored);
                for (row, column) in rows.clone().flat_map(|n| (0..k).map(move |k| (n, k))) {
                    let found = read(&plane, stored, k, row - rows.start, column);
                    assert_eq!(found, codes[row * k + column], "{bits} bits, ({row}, {column})");
                }
            }
        }
    }

    #[test]
    fn codes_change_as_asked() {
        let bytes: Vec<u8> = (0..32).collect();
        let stream = Stream { bytes: &bytes, bits: 8, cols: 2, rows: 0..16, change: Change::Turn };
        assert_eq!(read(&stream.pack(8), 8, 2, 3, 1), 7 ^ 0x80);
        let tables: [Vec<u8>; 2] = [(0..=255).rev().collect(), vec![9; 256]];
        let table = |row: usize, column: usize| &tables[(row + column) % 2][..];
        let change = Change::LookUp(&table);
        let stream = Stream { bytes: &bytes, bits: 8, cols: 2, rows: 0..16, change };
        let plane = stream.pack(8);
        assert_eq!(read(&plane, 8, 2, 3, 1), 255 - 7);
        assert_eq!(read(&plane, 8, 2, 3, 0), 9);
    }
}
