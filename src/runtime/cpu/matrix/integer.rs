//! Products of integers: exact sums in i32, scaled once at the end.

use super::coded::{Coded, Integer, Meaning, quads};
use super::kernel::{Dot, IntegerWork, Kernel, PANELS, Quad, Quads, ROWS, Simd, Sums, tile};
use super::output::Sink;
use super::{Codes, jobs, tiles};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of a row of activations, padded to whole units.
fn padded(coded: &Coded) -> usize {
    coded.units() * super::coded::COLUMNS
}

/// Numbers of scratch space for each thread: two panels of codes of one byte, where they are smaller.
fn each_len(coded: &Coded) -> usize {
    match coded.meaning {
        Meaning::Integers(_) => PANELS * ROWS * padded(coded) / 4,
        _ => 0,
    }
}

/// Numbers of scratch space that a product with `m` rows on `threads` threads needs.
pub(super) fn scratch_len(coded: &Coded, m: usize, threads: usize) -> usize {
    m * (padded(coded) / 2 + 1) + threads * each_len(coded)
}

/// `out[i, n] = x.scale · scale[n] · Σ_k (x[i, k] − x.zero_point) · (w[n, k] − offset[n]) + bias[n]`.
///
/// # Panics
/// If the matrix does not take codes.
pub(super) fn multiply(
    kernel: Kernel,
    coded: &Coded,
    x: Codes<'_>,
    m: usize,
    sink: &Sink<'_>,
    scratch: &mut [f32],
) {
    let integer = coded.integer.as_ref().expect("a matrix that takes codes");
    let [rows, cols] = coded.shape;
    let width = padded(coded);
    let (bytes, rest) = scratch.split_at_mut(m * width / 4);
    let (laid, rest) = rest.split_at_mut(m * width / 4);
    let (totals, rest) = rest.split_at_mut(m);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(bytes);
    let totals: &mut [i32] = bytemuck::cast_slice_mut(totals);
    if width > 0 {
        let rows = bytes.par_chunks_exact_mut(width).zip(&mut *totals);
        let rows = rows.zip(x.codes[..m * cols].par_chunks_exact(cols));
        rows.with_min_len((1 << 16) / width + 1).for_each(|((bytes, total), codes)| {
            *total = kernel.run_integer(integer.narrow, Lay { codes, pad: x.zero_point, bytes });
        });
    }
    let laid: &mut [[u8; 4]] = bytemuck::cast_slice_mut(laid);
    let quads = bytes.as_chunks().0;
    tiles::lay(quads, width / 4, kernel.run_integer(integer.narrow, Largest), laid);
    let product = Product { coded, x, width, laid, totals, sums: &integer.sums, sink };
    let strips = coded.panels().div_ceil(PANELS);
    let threads = jobs::threads(rows.saturating_mul(cols).saturating_mul(m) / 4);
    jobs::share(strips, threads, each_len(coded), rest, |strip, scratch| {
        let scratch = bytemuck::cast_slice_mut(scratch);
        kernel.run_integer(integer.narrow, Strip { product: &product, strip, scratch });
    });
}

/// Rows of the largest tile.
struct Largest;

impl IntegerWork for Largest {
    type Output = usize;

    fn run<D: Dot>(self, _: D) -> usize {
        D::TILE
    }
}

/// Pads a row of activations as the kernel takes it, and sums it.
struct Lay<'a> {
    codes: &'a [i8],
    pad: i8,
    bytes: &'a mut [u8],
}

impl IntegerWork for Lay<'_> {
    type Output = i32;

    #[inline(always)]
    fn run<D: Dot>(self, _: D) -> i32 {
        // Adding 128 turns the sign bit.
        let sign = if D::UNSIGNED { 0x80 } else { 0 };
        let (codes, rest) = self.bytes.split_at_mut(self.codes.len());
        let mut total = 0;
        for (byte, &code) in codes.iter_mut().zip(self.codes) {
            *byte = code as u8 ^ sign;
            total += i32::from(code);
        }
        rest.fill(self.pad as u8 ^ sign);
        total + rest.len() as i32 * i32::from(self.pad)
    }
}

/// What the strips of a product share.
struct Product<'a> {
    coded: &'a Coded,
    x: Codes<'a>,
    width: usize,
    laid: &'a [[u8; 4]],
    totals: &'a [i32],
    sums: &'a [i32],
    sink: &'a Sink<'a>,
}

/// Two panels times all rows.
struct Strip<'a> {
    product: &'a Product<'a>,
    strip: usize,
    scratch: &'a mut [u8],
}

impl IntegerWork for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Dot>(self, d: D) {
        let Self { product, strip, scratch } = self;
        let coded = product.coded;
        let first = PANELS * strip;
        // The last panel may stand alone: then it is multiplied twice.
        let pair = [first, (first + 1).min(coded.panels() - 1)];
        let s = d.simd();
        let mut scales = [[0.0; ROWS]; PANELS];
        for (panel, scales) in pair.into_iter().zip(&mut scales) {
            let scale = coded.scales(s, panel, 0).unwrap_or(s.splat(1.0));
            s.put(s.mul(scale, s.splat(product.x.scale)), scales);
        }
        let m = product.totals.len();
        let (a, b) = scratch.split_at_mut(scratch.len() / 2);
        // Where there is one tile, smaller codes are taken apart as they come, so that memory is read all the
        // time; for more, before.
        let taken_apart = m > D::TILE;
        if taken_apart {
            let units = 0..coded.units();
            codes(d, coded, pair[0], units.clone(), a);
            codes(d, coded, pair[1], units, b);
        }
        let mut tiles = Tiles { d, product, pair, room: [a, b], taken_apart, scales };
        tiles::each(m, D::TILE, &mut tiles);
    }
}

/// Units that are taken apart at a time.
const PIECE: usize = 16;

/// Some units of a panel as codes of one byte: its own, or made in scratch space.
#[inline(always)]
fn codes<'a, D: Dot>(
    d: D,
    coded: &'a Coded,
    panel: usize,
    units: Range<usize>,
    out: &'a mut [u8],
) -> &'a [Quad] {
    let len = Coded::unit_bytes(coded.bits);
    let codes = &coded.panel(panel)[units.start * len..units.end * len];
    let Meaning::Integers(_) = coded.meaning else { return codes.as_chunks().0 };
    let s = d.simd();
    let table = coded.integers(panel, 0);
    let out = &mut out.as_chunks_mut().0[..4 * units.len()];
    for (unit, out) in codes.chunks_exact(len).zip(out.as_chunks_mut::<4>().0) {
        for (codes, out) in quads(s, 4, unit).into_iter().zip(out) {
            s.store(s.look_up(codes, table), out);
        }
    }
    out
}

/// Rows of activations times two panels.
struct Tiles<'a, D> {
    d: D,
    product: &'a Product<'a>,
    pair: [usize; PANELS],
    /// For codes of one byte, and whether all of them are there.
    room: [&'a mut [u8]; PANELS],
    taken_apart: bool,
    scales: [[f32; ROWS]; PANELS],
}

impl<D: Dot> tiles::Tiles for Tiles<'_, D> {
    #[inline(always)]
    fn tile<const M: usize>(&mut self, first: usize) {
        let quads = self.product.width / 4;
        let x = &self.product.laid[first * quads..].as_chunks::<M>().0[..quads];
        let mut sums: [Sums<i32>; M] = [[[0; ROWS]; PANELS]; M];
        let Self { d, pair, taken_apart, .. } = *self;
        let coded = self.product.coded;
        let [a, b] = &mut self.room;
        let packed = matches!(coded.meaning, Meaning::Integers(_));
        if packed && taken_apart {
            tile(Quads(d), [a.as_chunks().0, b.as_chunks().0], x, &mut sums);
        } else {
            let piece = if packed { PIECE } else { coded.units().max(1) };
            for from in (0..coded.units()).step_by(piece) {
                let units = from..coded.units().min(from + piece);
                let x = &x[4 * units.start..4 * units.end];
                let first = codes(d, coded, pair[0], units.clone(), a);
                tile(Quads(d), [first, codes(d, coded, pair[1], units, b)], x, &mut sums);
            }
        }
        let fresh = if self.pair[0] == self.pair[1] { 1 } else { PANELS };
        for (i, sums) in (first..).zip(&sums) {
            for (p, (&panel, sums)) in self.pair.iter().zip(sums).take(fresh).enumerate() {
                let sums = self.product.finish(D::UNSIGNED, i, panel, sums);
                let values = std::array::from_fn(|lane| sums[lane] as f32 * self.scales[p][lane]);
                // SAFETY: each strip is one job's.
                #[allow(unsafe_code)]
                unsafe {
                    self.product.sink.put(i, panel, &values)
                }
            }
        }
    }
}

impl Product<'_> {
    /// Takes zero points and offsets into account.
    ///
    /// `Σ (x − z)(w − o) = Σ x·w − z · Σ w − o · (Σ x − z · K)` with K as padded: there, x is z. Whole
    /// sums are known to fit i32, so parts of them may wrap.
    #[inline(always)]
    fn finish(&self, unsigned: bool, i: usize, panel: usize, sums: &[i32; ROWS]) -> [i32; ROWS] {
        let zero = i32::from(self.x.zero_point);
        let beyond = if unsigned { zero + 128 } else { zero };
        let rest = self.totals[i].wrapping_sub(zero.wrapping_mul(self.width as i32));
        let at = panel * ROWS;
        std::array::from_fn(|lane| {
            let sum = sums[lane].wrapping_sub(beyond.wrapping_mul(self.sums[at + lane]));
            let offset =
                self.coded.offset.as_ref().map_or(0, |offset| i32::from(offset[at + lane]));
            sum.wrapping_sub(offset.wrapping_mul(rest))
        })
    }
}

impl Coded {
    /// Sums the rows, for products of integers.
    pub(super) fn sum_rows(&self, kernel: Kernel) -> Integer {
        let ones = vec![[[1; 4]]; self.units() * 4];
        let mut sums = vec![0; self.panels() * ROWS];
        let panels = sums.par_chunks_exact_mut(ROWS).enumerate();
        let narrow = panels.map_init(
            || vec![0; each_len(self) * 4 / PANELS],
            |scratch, (panel, sums)| {
                let work = SumPanel { coded: self, panel, scratch, ones: &ones, sums };
                kernel.run_integer(false, work)
            },
        );
        let narrow = narrow.reduce(|| true, |a, b| a && b);
        Integer { sums, narrow }
    }
}

/// Sums a panel's rows, and says whether none of its integers is −128.
struct SumPanel<'a> {
    coded: &'a Coded,
    panel: usize,
    scratch: &'a mut [u8],
    ones: &'a [[[u8; 4]; 1]],
    sums: &'a mut [i32],
}

impl IntegerWork for SumPanel<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<D: Dot>(self, d: D) -> bool {
        let w = codes(d, self.coded, self.panel, 0..self.coded.units(), self.scratch);
        let mut sums = [[[0; ROWS]; PANELS]];
        tile(Quads(d), [w, w], self.ones, &mut sums);
        self.sums.copy_from_slice(&sums[0][0]);
        w.as_flattened().iter().fold(true, |narrow, &code| narrow & (code != 0x80))
    }
}
