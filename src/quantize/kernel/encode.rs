//! Codes from weights, with the sums of their errors; weights from codes.

use super::{
    Element, FloatType, LANES, Lanes, PACKET, Routine, load_packet, padded, quotient, with_element,
};
use crate::quantize::grid::Codes;
use half::{f16, slice::HalfFloatSliceExt};

/// The grids of one row.
#[derive(Clone, Copy)]
pub(in crate::quantize) struct Grids<'a> {
    /// Successive weights that share a grid; 0 if each has its own.
    pub(in crate::quantize) segment: usize,
    /// One a segment, or one a weight.
    pub(in crate::quantize) scale: &'a [f32],
    /// As many.
    pub(in crate::quantize) zero: &'a [f32],
}

/// Error sums of some weights; see `metrics::Stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::quantize) struct Sums {
    pub(in crate::quantize) signal: f64,
    pub(in crate::quantize) noise: f64,
    pub(in crate::quantize) decoded: f64,
    pub(in crate::quantize) clipped: f64,
    pub(in crate::quantize) clipped_energy: f64,
    pub(in crate::quantize) largest: f32,
}

/// Encodes one row: `q = clamp(round(x / scale), min − zero, max − zero) + zero`, the division in
/// f32, ties to even.
pub(in crate::quantize) struct EncodeRow<'a> {
    pub(in crate::quantize) dtype: FloatType,
    pub(in crate::quantize) bytes: &'a [u8],
    pub(in crate::quantize) grids: Grids<'a>,
    pub(in crate::quantize) codes: Codes,
    /// Nothing falls outside the codes, and there are no zero points.
    pub(in crate::quantize) plain: bool,
    pub(in crate::quantize) out: &'a mut [u8],
    /// Where to put the error sums, if they are wanted.
    pub(in crate::quantize) sums: Option<&'a mut Sums>,
}

impl Routine for EncodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        with_element!(self.dtype, E => match (self.plain, self.sums.is_some()) {
            (true, true) => encode_row::<L, E, true, true>(l, self),
            (true, false) => encode_row::<L, E, true, false>(l, self),
            (false, true) => encode_row::<L, E, false, true>(l, self),
            (false, false) => encode_row::<L, E, false, false>(l, self),
        });
    }
}

#[inline(always)]
fn encode_row<L: Lanes, E: Element, const PLAIN: bool, const SUMS: bool>(l: L, row: EncodeRow) {
    let EncodeRow { bytes, grids, codes, out, sums, .. } = row;
    let mut totals = Totals::new(l);
    if grids.segment == 0 {
        let parts = bytes.chunks(PACKET * E::BYTES).zip(out.chunks_mut(PACKET));
        for (i, (bytes, out)) in parts.enumerate() {
            let from = i * PACKET;
            let scale = spread(&grids.scale[from..], out.len(), 1.0);
            let zero = spread(&grids.zero[from..], out.len(), 0.0);
            let mut spots = [Spot::<L>::new(l, l.splat(1.0), l.splat(1.0), l.splat(0.0), codes); 4];
            for j in 0..4 {
                let (s, z) = (l.get(&scale[j]), l.get(&zero[j]));
                spots[j] = Spot::<L>::new(l, s, l.div(l.splat(1.0), s), z, codes);
            }
            packet::<L, E, PLAIN, SUMS>(l, bytes, out, &mut totals, spots);
        }
    } else {
        let segments = bytes.chunks_exact(grids.segment * E::BYTES);
        let places = grids.scale.iter().zip(grids.zero);
        for ((bytes, out), (&scale, &zero)) in
            segments.zip(out.chunks_exact_mut(grids.segment)).zip(places)
        {
            let recip = l.splat(1.0 / scale);
            let spot = Spot::<L>::new(l, l.splat(scale), recip, l.splat(zero), codes);
            let whole = bytes.len() - bytes.len() % (PACKET * E::BYTES);
            let (bytes, last) = bytes.split_at(whole);
            let (out, last_out) = out.split_at_mut(whole / E::BYTES);
            for (bytes, out) in
                bytes.chunks_exact(PACKET * E::BYTES).zip(out.chunks_exact_mut(PACKET))
            {
                packet::<L, E, PLAIN, SUMS>(l, bytes, out, &mut totals, [spot; 4]);
            }
            if !last.is_empty() {
                packet::<L, E, PLAIN, SUMS>(l, last, last_out, &mut totals, [spot; 4]);
            }
        }
    }
    if let Some(sums) = sums {
        *sums = totals.finish();
    }
}

/// Up to a packet of numbers as vectors, filled up with `rest`.
#[inline(always)]
fn spread(from: &[f32], len: usize, rest: f32) -> [[f32; LANES]; 4] {
    let mut whole = [[rest; LANES]; 4];
    whole.as_flattened_mut()[..len].copy_from_slice(&from[..len]);
    whole
}

/// The grid of each of eight weights.
struct Spot<L: Lanes> {
    scale: L::F,
    recip: L::F,
    zero: L::F,
    low: L::F,
    high: L::F,
}

impl<L: Lanes> Clone for Spot<L> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<L: Lanes> Copy for Spot<L> {}

impl<L: Lanes> Spot<L> {
    #[inline(always)]
    fn new(l: L, scale: L::F, recip: L::F, zero: L::F, codes: Codes) -> Self {
        let low = l.sub(l.splat(codes.min), zero);
        let high = l.sub(l.splat(codes.max), zero);
        Self { scale, recip, zero, low, high }
    }
}

#[inline(always)]
fn packet<L: Lanes, E: Element, const PLAIN: bool, const SUMS: bool>(
    l: L,
    bytes: &[u8],
    out: &mut [u8],
    totals: &mut Totals<L>,
    spots: [Spot<L>; 4],
) {
    let x = load_packet::<L, E>(l, bytes);
    let mut codes = x;
    for j in 0..4 {
        let spot = spots[j];
        let quotient = quotient::<L, E>(l, x[j], spot.scale, spot.recip);
        if PLAIN && !SUMS {
            // Packing rounds.
            codes[j] = quotient;
            continue;
        }
        let rounded = l.round(quotient);
        let kept = if PLAIN { rounded } else { l.max(l.min(rounded, spot.high), spot.low) };
        codes[j] = if PLAIN { kept } else { l.add(kept, spot.zero) };
        if SUMS {
            let decoded = l.through_f16(l.mul(kept, spot.scale));
            let error = l.sub(x[j], decoded);
            let energy = l.mul(error, error);
            totals.largest = l.max(totals.largest, l.abs(error));
            totals.signal = l.add(totals.signal, l.mul(x[j], x[j]));
            totals.noise = l.add(totals.noise, energy);
            totals.decoded = l.add(totals.decoded, l.mul(decoded, decoded));
            if !PLAIN {
                let one = l.where_differ(rounded, kept, l.splat(1.0));
                totals.clipped = l.add(totals.clipped, one);
                let lost = l.where_differ(rounded, kept, energy);
                totals.clipped_energy = l.add(totals.clipped_energy, lost);
            }
        }
    }
    if SUMS {
        totals.step(!PLAIN);
    }
    match <&mut [u8; PACKET]>::try_from(&mut *out) {
        Ok(out) => l.pack(codes, out),
        Err(_) => {
            let mut whole = [0; PACKET];
            l.pack(codes, &mut whole);
            out.copy_from_slice(&whole[..out.len()]);
        }
    }
}

/// Sums in f32 lanes, which are added to f64 lanes after every 16 packets.
struct Totals<L: Lanes> {
    l: L,
    signal: L::F,
    noise: L::F,
    decoded: L::F,
    clipped: L::F,
    clipped_energy: L::F,
    largest: L::F,
    packets: u32,
    wide: [[f64; LANES]; 5],
}

impl<L: Lanes> Totals<L> {
    #[inline(always)]
    fn new(l: L) -> Self {
        let zero = l.splat(0.0);
        Self {
            l,
            signal: zero,
            noise: zero,
            decoded: zero,
            clipped: zero,
            clipped_energy: zero,
            largest: zero,
            packets: 0,
            wide: [[0.0; LANES]; 5],
        }
    }

    #[inline(always)]
    fn step(&mut self, clipped: bool) {
        self.packets += 1;
        if self.packets == 16 {
            self.flush(clipped);
        }
    }

    #[inline(always)]
    fn flush(&mut self, clipped: bool) {
        self.packets = 0;
        let zero = self.l.splat(0.0);
        let sums = [
            &mut self.signal,
            &mut self.noise,
            &mut self.decoded,
            &mut self.clipped,
            &mut self.clipped_energy,
        ];
        let used = if clipped { 5 } else { 3 };
        for (wide, sum) in self.wide.iter_mut().zip(sums).take(used) {
            widen(self.l, wide, *sum);
            *sum = zero;
        }
    }

    #[inline(always)]
    fn finish(mut self) -> Sums {
        self.flush(true);
        let [signal, noise, decoded, clipped, clipped_energy] = self.wide.map(join);
        let largest = self.l.put(self.largest).into_iter().fold(0.0, f32::max);
        Sums { signal, noise, decoded, clipped, clipped_energy, largest }
    }
}

/// Adds f32 lanes to f64 lanes.
#[inline(always)]
pub(super) fn widen<L: Lanes>(l: L, wide: &mut [f64; LANES], sum: L::F) {
    for (wide, lane) in wide.iter_mut().zip(l.put(sum)) {
        *wide += f64::from(lane);
    }
}

/// The sum of lanes, in one order.
#[inline(always)]
pub(super) fn join(w: [f64; LANES]) -> f64 {
    ((w[0] + w[4]) + (w[2] + w[6])) + ((w[1] + w[5]) + (w[3] + w[7]))
}

/// The error of each weight of an encoded row, in order.
pub(in crate::quantize) struct RowErrors<'a> {
    pub(in crate::quantize) dtype: FloatType,
    pub(in crate::quantize) bytes: &'a [u8],
    pub(in crate::quantize) grids: Grids<'a>,
    pub(in crate::quantize) codes: &'a [u8],
    pub(in crate::quantize) out: &'a mut [f32],
}

impl Routine for RowErrors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { dtype, bytes, grids, codes, out } = self;
        products(grids, codes, out);
        with_element!(dtype, E => {
            for (bytes, out) in bytes.chunks(LANES * E::BYTES).zip(out.chunks_mut(LANES)) {
                let whole = padded(bytes);
                let x = E::load(l, &whole[..LANES * E::BYTES]);
                let mut product = [0.0; LANES];
                product[..out.len()].copy_from_slice(out);
                let errors = l.put(l.sub(x, l.through_f16(l.get(&product))));
                out.copy_from_slice(&errors[..out.len()]);
            }
        });
    }
}

/// Decodes a row: `scale · (q − zero)`, which f32 holds exactly, rounded to FP16.
pub(in crate::quantize) struct DecodeRow<'a> {
    pub(in crate::quantize) grids: Grids<'a>,
    pub(in crate::quantize) codes: &'a [u8],
    pub(in crate::quantize) scratch: &'a mut [f32],
    pub(in crate::quantize) out: &'a mut [f16],
}

impl Routine for DecodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        products(self.grids, self.codes, self.scratch);
        self.out.convert_from_f32_slice(self.scratch);
    }
}

/// `scale · (q − zero)`, exact.
#[inline(always)]
fn products(grids: Grids, codes: &[u8], out: &mut [f32]) {
    let Grids { segment, scale, zero } = grids;
    if segment == 0 {
        for (((out, &q), &s), &z) in out.iter_mut().zip(codes).zip(scale).zip(zero) {
            *out = (f32::from(q as i8) - z) * s;
        }
    } else {
        let segments = out.chunks_exact_mut(segment).zip(codes.chunks_exact(segment));
        for ((out, codes), (&s, &z)) in segments.zip(scale.iter().zip(zero)) {
            for (out, &q) in out.iter_mut().zip(codes) {
                *out = (f32::from(q as i8) - z) * s;
            }
        }
    }
}
