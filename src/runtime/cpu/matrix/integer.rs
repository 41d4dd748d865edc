//! Products of integers: exact sums in i32, of which numbers or codes are made at once.

use super::coded::{Coded, Integer, Meaning, quads};
use super::kernel::{Dot, IntegerWork, Kernel, PANELS, Quad, Quads, ROWS, Simd, Sums, tile};
use super::output::{Biased, Sink};
use super::stage::Stage;
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

/// What becomes of sums.
pub(super) trait End: Sync {
    /// Takes a panel's sums with the activation rows from `first` on.
    ///
    /// # Safety
    /// No other thread works on this panel of these rows at the same time.
    #[allow(unsafe_code)]
    unsafe fn rows<D: Dot, const M: usize>(
        &self,
        d: D,
        first: usize,
        panel: usize,
        sums: &[[i32; ROWS]; M],
    );
}

/// Numbers: `x.scale · scale[n] · sum + bias[n]`.
pub(super) struct ToNumbers<'a> {
    pub(super) coded: &'a Coded,
    pub(super) scale: f32,
    pub(super) sink: Biased<'a>,
}

impl End for ToNumbers<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn rows<D: Dot, const M: usize>(
        &self,
        d: D,
        first: usize,
        panel: usize,
        sums: &[[i32; ROWS]; M],
    ) {
        let s = d.simd();
        let scale = self.coded.scales(s, panel, 0).unwrap_or(s.splat(1.0));
        let scale = s.mul(scale, s.splat(self.scale));
        let bias = s.get(&self.sink.bias(panel));
        let mut rows = [[0.0; ROWS]; M];
        for (row, sums) in rows.iter_mut().zip(sums) {
            let number = s.mul(s.number(s.load(bytemuck::cast_ref(sums))), scale);
            s.put(s.add(number, bias), row);
        }
        // SAFETY: the caller's promise.
        unsafe { self.sink.put(first, panel, &rows) }
    }
}

/// Codes of the output.
pub(super) struct ToCodes<'a> {
    pub(super) stage: &'a Stage,
    pub(super) sink: Sink<'a, i8>,
}

impl End for ToCodes<'_> {
    #[allow(unsafe_code)]
    #[inline(always)]
    unsafe fn rows<D: Dot, const M: usize>(
        &self,
        d: D,
        first: usize,
        panel: usize,
        sums: &[[i32; ROWS]; M],
    ) {
        let codes = self.stage.codes(d, panel, sums);
        // SAFETY: the caller's promise.
        unsafe { self.sink.put(first, panel, &codes) }
    }
}

/// Gives `end` the sums `Σ_k (x[i, k] − x.zero_point) · (w[n, k] − offset[n])`.
///
/// # Panics
/// If the matrix does not take codes.
pub(super) fn multiply(
    kernel: Kernel,
    coded: &Coded,
    x: Codes<'_>,
    m: usize,
    end: &impl End,
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
    let product = Product { coded, zero: x.zero_point.into(), width, laid, totals, end };
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
struct Product<'a, E> {
    coded: &'a Coded,
    /// The activations' zero point.
    zero: i32,
    width: usize,
    laid: &'a [[u8; 4]],
    totals: &'a [i32],
    end: &'a E,
}

/// Two panels times all rows.
struct Strip<'a, E> {
    product: &'a Product<'a, E>,
    strip: usize,
    scratch: &'a mut [u8],
}

impl<E: End> IntegerWork for Strip<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<D: Dot>(self, d: D) {
        let Self { product, strip, scratch } = self;
        let coded = product.coded;
        let first = PANELS * strip;
        // The last panel may stand alone: then it is multiplied twice.
        let pair = [first, (first + 1).min(coded.panels() - 1)];
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
        let mut tiles = Tiles { d, product, pair, room: [a, b], taken_apart };
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
struct Tiles<'a, D, E> {
    d: D,
    product: &'a Product<'a, E>,
    pair: [usize; PANELS],
    /// For codes of one byte, and whether all of them are there.
    room: [&'a mut [u8]; PANELS],
    taken_apart: bool,
}

impl<D: Dot, E: End> tiles::Tiles for Tiles<'_, D, E> {
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
        for (p, &panel) in self.pair.iter().enumerate().take(fresh) {
            let mut ready = [[0; ROWS]; M];
            for (i, (ready, sums)) in ready.iter_mut().zip(&sums).enumerate() {
                *ready = self.product.finish(D::UNSIGNED, first + i, panel, &sums[p]);
            }
            // SAFETY: each strip is one job's.
            #[allow(unsafe_code)]
            unsafe {
                self.product.end.rows(d, first, panel, &ready)
            }
        }
    }
}

impl<E> Product<'_, E> {
    /// Takes zero points and offsets into account.
    ///
    /// `Σ (x − z)(w − o) = Σ x·w − z · Σ w − o · (Σ x − z · K)` with K as padded: there, x is z. Whole
    /// terms may leave i32, the sum does not: arithmetic wraps.
    #[inline(always)]
    fn finish(&self, unsigned: bool, i: usize, panel: usize, sums: &[i32; ROWS]) -> [i32; ROWS] {
        let lanes = |all: &[i32]| -> [i32; ROWS] {
            *all[panel * ROWS..].first_chunk().expect("whole panels")
        };
        let beyond = if unsigned { self.zero + 128 } else { self.zero };
        let mut sums = *sums;
        if beyond != 0 {
            let integer = self.coded.integer.as_ref().expect("a matrix that takes codes");
            for (sum, row) in sums.iter_mut().zip(lanes(&integer.sums)) {
                *sum = sum.wrapping_sub(beyond.wrapping_mul(row));
            }
        }
        if let Some(offset) = &self.coded.offset {
            let rest = self.totals[i].wrapping_sub(self.zero.wrapping_mul(self.width as i32));
            let offset: &[i8; ROWS] = offset[panel * ROWS..].first_chunk().expect("whole panels");
            for (sum, &offset) in sums.iter_mut().zip(offset) {
                *sum = sum.wrapping_sub(i32::from(offset).wrapping_mul(rest));
            }
        }
        sums
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
