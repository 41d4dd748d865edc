//! Products in f32.
//!
//! One row of activations is multiplied straight from codes, panel by panel. For more, blocks of
//! columns of two panels are converted to f32 in scratch space that the second-level cache holds, and
//! multiplied in tiles of rows. Either way each sum is formed in an order that follows from
//! the shapes alone, whichever thread forms it.

use super::coded::{COLUMNS, Chosen, Coded, Decoder, Gathered, Integers, Itself, Meaning, Shifted};
use super::coded::{Sixteen, quads, with_decoder};
use super::kernel::{Floats, Kernel, PANELS, ROWS, Simd, Sums, Work, tile};
use super::output::Biased;
use super::{jobs, tiles};
use std::ops::Range;

/// Columns that are converted at a time.
const BLOCK: usize = 512;

/// Weights that can be converted panel by panel.
pub(super) trait Panels: Sync {
    /// `[N, K]`.
    fn shape(&self) -> [usize; 2];

    /// What activations are divided by before [`Self::multiply_one`]: a power of two.
    fn unit(&self) -> f32;

    /// Sixteen rows' sums with one row of activations, padded with zeros to whole units.
    fn multiply_one<S: Simd>(&self, s: S, panel: usize, x: &[[f32; COLUMNS]]) -> [f32; ROWS];

    /// Sixteen rows in f32, column by column: `out` has 16 columns for each of the units.
    fn convert<S: Simd>(&self, s: S, panel: usize, units: Range<usize>, out: &mut [[f32; ROWS]]);
}

/// Numbers of scratch space for each thread of a product with `m` rows.
fn each_len(m: usize) -> usize {
    PANELS * ROWS * (BLOCK + m)
}

/// Numbers of scratch space that a product with `m` rows on `threads` threads needs.
pub(super) fn scratch_len([_, cols]: [usize; 2], m: usize, threads: usize) -> usize {
    match m {
        0 => 0,
        1 => cols.next_multiple_of(COLUMNS),
        _ => m * cols + threads * each_len(m),
    }
}

/// `out[i, n] = Σ_k x[i, k] · w[n, k] + bias[n]`.
pub(super) fn multiply<P: Panels>(
    kernel: Kernel,
    weights: &P,
    x: &[f32],
    m: usize,
    sink: &Biased<'_>,
    scratch: &mut [f32],
) {
    let [rows, cols] = weights.shape();
    let panels = rows.div_ceil(ROWS);
    let threads = jobs::threads(rows.saturating_mul(cols).saturating_mul(m));
    if m == 1 {
        let (padded, rest) = scratch.split_at_mut(cols.next_multiple_of(COLUMNS));
        let unit = weights.unit().recip();
        for (to, from) in padded.iter_mut().zip(x) {
            *to = from * unit;
        }
        padded[cols..].fill(0.0);
        let x = padded.as_chunks().0;
        jobs::share(panels, threads, 0, rest, |panel, _| {
            let mut sums = kernel.run(One { weights, panel, x });
            add(&mut sums, &sink.bias(panel));
            // SAFETY: each panel is one job's.
            #[allow(unsafe_code)]
            unsafe {
                sink.put(0, panel, &[sums])
            }
        });
    } else if m > 1 {
        let (laid, scratch) = scratch.split_at_mut(m * cols);
        tiles::lay(x, cols, kernel.run(Largest), laid);
        let x = &*laid;
        jobs::share(panels.div_ceil(PANELS), threads, each_len(m), scratch, |strip, scratch| {
            kernel.run(Strip { weights, panels, strip, x, m, sink, scratch });
        });
    }
}

/// Rows of the largest tile.
struct Largest;

impl Work for Largest {
    type Output = usize;

    fn run<S: Simd>(self, _: S) -> usize {
        S::TILE
    }
}

/// A panel times one row.
struct One<'a, P> {
    weights: &'a P,
    panel: usize,
    x: &'a [[f32; COLUMNS]],
}

impl<P: Panels> Work for One<'_, P> {
    type Output = [f32; ROWS];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; ROWS] {
        self.weights.multiply_one(s, self.panel, self.x)
    }
}

/// Two panels times many rows.
struct Strip<'a, P> {
    weights: &'a P,
    panels: usize,
    strip: usize,
    x: &'a [f32],
    m: usize,
    sink: &'a Biased<'a>,
    scratch: &'a mut [f32],
}

impl<P: Panels> Work for Strip<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weights, panels, strip, x, m, sink, scratch } = self;
        let [_, cols] = weights.shape();
        let (block, sums) = scratch.split_at_mut(PANELS * ROWS * BLOCK);
        let sums: &mut [Sums<f32>] = bytemuck::cast_slice_mut(&mut sums[..PANELS * ROWS * m]);
        sums.fill([[0.0; ROWS]; PANELS]);
        let block: &mut [[f32; ROWS]] = bytemuck::cast_slice_mut(block);
        let (first, second) = block.split_at_mut(BLOCK);
        let pair = PANELS * strip..panels.min(PANELS * (strip + 1));
        for from in (0..cols).step_by(BLOCK) {
            let to = cols.min(from + BLOCK);
            let units = from / COLUMNS..to.div_ceil(COLUMNS);
            for (panel, out) in pair.clone().zip([&mut *first, &mut *second]) {
                weights.convert(s, panel, units.clone(), &mut out[..units.len() * COLUMNS]);
            }
            let w = [&first[..to - from], &second[..to - from]];
            tiles::each(m, S::TILE, &mut Tiles { s, w, x, cols, from, sums: &mut *sums });
        }
        for (p, panel) in pair.enumerate() {
            let bias = sink.bias(panel);
            for (i, sums) in sums.iter_mut().enumerate() {
                let sums = &mut sums[p];
                add(sums, &bias);
                // SAFETY: each strip is one job's.
                #[allow(unsafe_code)]
                unsafe {
                    sink.put(i, panel, std::slice::from_ref(sums))
                }
            }
        }
    }
}

#[inline(always)]
fn add(sums: &mut [f32; ROWS], bias: &[f32; ROWS]) {
    for (sum, bias) in sums.iter_mut().zip(bias) {
        *sum += bias;
    }
}

/// A block of columns times rows of activations.
struct Tiles<'a, S> {
    s: S,
    w: [&'a [[f32; ROWS]]; PANELS],
    x: &'a [f32],
    cols: usize,
    from: usize,
    sums: &'a mut [Sums<f32>],
}

impl<S: Simd> tiles::Tiles for Tiles<'_, S> {
    #[inline(always)]
    fn tile<const M: usize>(&mut self, first: usize) {
        let x = &self.x[first * self.cols..].as_chunks::<M>().0[self.from..][..self.w[0].len()];
        let sums = self.sums[first..].first_chunk_mut().expect("a row of sums for each row");
        tile(Floats(self.s), self.w, x, sums);
    }
}

impl Panels for Coded {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn unit(&self) -> f32 {
        self.unit()
    }

    #[inline(always)]
    fn multiply_one<S: Simd>(&self, s: S, panel: usize, x: &[[f32; COLUMNS]]) -> [f32; ROWS] {
        with_decoder!(self, multiply_panel::<S>(s, self, panel, x))
    }

    #[inline(always)]
    fn convert<S: Simd>(&self, s: S, panel: usize, units: Range<usize>, out: &mut [[f32; ROWS]]) {
        with_decoder!(self, convert_panel::<S>(s, self, panel, units, out))
    }
}

#[inline(always)]
fn multiply_panel<'a, S: Simd, D: Decoder<'a, S>>(
    s: S,
    coded: &'a Coded,
    panel: usize,
    x: &[[f32; COLUMNS]],
) -> [f32; ROWS] {
    let unit_bytes = Coded::unit_bytes(D::BITS);
    let segments = coded.panel(panel).chunks(coded.run * unit_bytes).zip(x.chunks(coded.run));
    let mut total = s.splat(0.0);
    for (segment, (units, x)) in segments.enumerate() {
        let decoder = D::new(s, coded, panel, segment);
        let mut sums = [s.splat(0.0); 4];
        for (unit, x) in units.chunks_exact(unit_bytes).zip(x) {
            for (codes, x) in quads(s, D::BITS, unit).into_iter().zip(x.as_chunks::<4>().0) {
                let w = decoder.numbers(s, codes);
                sums[0] = s.fma(sums[0], w[0], s.splat(x[0]));
                sums[1] = s.fma(sums[1], w[1], s.splat(x[1]));
                sums[2] = s.fma(sums[2], w[2], s.splat(x[2]));
                sums[3] = s.fma(sums[3], w[3], s.splat(x[3]));
            }
        }
        let sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
        total = match coded.scales(s, panel, segment) {
            Some(scale) => s.fma(total, sum, scale),
            None => s.add(total, sum),
        };
    }
    let mut out = [0.0; ROWS];
    s.put(total, &mut out);
    out
}

#[inline(always)]
fn convert_panel<'a, S: Simd, D: Decoder<'a, S>>(
    s: S,
    coded: &'a Coded,
    panel: usize,
    units: Range<usize>,
    out: &mut [[f32; ROWS]],
) {
    let unit_bytes = Coded::unit_bytes(D::BITS);
    let codes = coded.panel(panel).chunks_exact(unit_bytes);
    let mut codes = codes.skip(units.start).zip(out.as_chunks_mut::<COLUMNS>().0);
    let mut from = units.start;
    while from < units.end {
        let segment = from / coded.run;
        let to = units.end.min((segment + 1) * coded.run);
        let decoder = D::new(s, coded, panel, segment);
        let scale = coded.scales(s, panel, segment).unwrap_or(s.splat(1.0));
        let scale = s.mul(scale, s.splat(coded.unit().recip()));
        for (unit, out) in codes.by_ref().take(to - from) {
            for (codes, out) in quads(s, D::BITS, unit).into_iter().zip(out.as_chunks_mut::<4>().0)
            {
                for (number, out) in decoder.numbers(s, codes).into_iter().zip(out) {
                    s.put(s.mul(number, scale), out);
                }
            }
        }
        from = to;
    }
}
