//! From planes back to codes, parameters and values: element by element, by the plain formulas.

use super::check::{code_type, lanes_of};
use super::encoding::{Dims, Encoding, Entries, Granularity, Grouping, Linear, Palette, Part};
use super::reader::Reader;
use super::{Dtype, Lanes};
use crate::{Result, bits};
use half::f16;

/// The parameters of a weight in the quantizer's own order, row-major; empty where the encoding
/// has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// Linear scales, `[N, blocks]`: the blob's `[blocks, N]`, turned around. `[1, 1]` per tensor,
    /// `[N, 1]` per output channel, `[1, I]` per input channel.
    pub scale: Vec<f16>,
    /// Linear zero points in the scales' shape, one byte each: two's complement where codes are.
    pub offset: Vec<u8>,
    /// FP16 table entries, `[groups, P, V]`.
    pub table: Vec<f16>,
    /// INT8 table entries, `[groups, P, V]`.
    pub table_codes: Vec<i8>,
    /// One scale a table of INT8 entries.
    pub table_scale: Vec<f16>,
    /// One scale an output channel.
    pub channel_scale: Vec<f16>,
}

/// The values of a weight, row-major in its logical shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Values<'a> {
    /// Dequantized, or stored in half precision.
    F16(Vec<f16>),
    /// Stored in single precision.
    F32(Vec<f32>),
    /// A tensor passed through, as it stands in the file.
    Raw(&'a [u8]),
}

impl<'a> Reader<'a> {
    /// The codes of weight number `weight` as a row-major matrix
    /// ([`Encoding::code_matrix`]), one byte each, negative ones in two's complement; `None` for
    /// float and raw weights.
    pub fn codes(&self, weight: usize) -> Result<Option<Vec<u8>>> {
        let owner = &self.weights()[weight];
        let Some(plane) = self.part(weight, Part::Codes) else {
            return Ok(None);
        };
        // Open has verified that the encoding fits the shape.
        let Ok(Some([rows, cols])) = owner.encoding.code_matrix(&owner.shape) else {
            return Ok(None);
        };
        if plane.is_empty() {
            // The other dimension may be any number: it is not to be counted up to.
            return Ok(Some(Vec::new()));
        }
        let lanes = lanes_of(&owner.encoding);
        let (bits, signed) = code_type(&owner.encoding);
        if lanes == Lanes::Row && bits < 8 {
            let mut codes = bits::unpack(plane, bits, rows * cols)?;
            if signed {
                let sign = 1 << (bits - 1);
                codes.iter_mut().for_each(|code| *code = (*code ^ sign).wrapping_sub(sign));
            }
            return Ok(Some(codes));
        }
        let elements = (0..rows).flat_map(|n| (0..cols).map(move |k| (n, k)));
        let codes = elements.map(|(n, k)| plane[lanes.position(rows, cols, n, k)]);
        Ok(Some(codes.collect()))
    }

    /// The parameters of weight number `weight`.
    pub fn params(&self, weight: usize) -> Params {
        let halves = |part| -> Vec<f16> {
            let bytes = self.part(weight, part).unwrap_or_default();
            bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b)).collect()
        };
        // The plane's shape is [blocks, n]; the two parts share it.
        let scale_plane =
            self.planes_of(weight).find(|p| matches!(p.holds, Some((_, Part::Scale))));
        let blocks = scale_plane.map_or(1, |plane| plane.shape[0]);
        let mut params = Params {
            scale: turned(&halves(Part::Scale), blocks),
            offset: turned(self.part(weight, Part::Offset).unwrap_or_default(), blocks),
            table_scale: halves(Part::TableScale),
            channel_scale: halves(Part::ChannelScale),
            ..Params::default()
        };
        match self.weights()[weight].encoding {
            Encoding::Palette(Palette { entries: Entries::Int8, .. }) => {
                let table = self.part(weight, Part::Table).unwrap_or_default();
                params.table_codes = table.iter().map(|&b| b as i8).collect();
            }
            _ => params.table = halves(Part::Table),
        }
        params
    }

    /// The values of weight number `weight`:
    ///
    /// - linear: `f16(f32(scale) · (q − offset))`, the product exact in f32, rounded once;
    /// - palette: the table's entry, which for INT8 entries is `f16(f32(table_scale) · entry)`; with
    ///   channel scales `f16(f32(that) · f32(channel_scale))`, also exact in f32 before rounding;
    /// - float and raw: as stored.
    ///
    /// # Source
    /// These are the formulas of Core ML's `constexpr_blockwise_shift_scale` (and of
    /// `constexpr_affine_dequantize`) and `constexpr_lut_to_dense`, table first.
    pub fn values(&self, weight: usize) -> Result<Values<'a>> {
        let stored = || self.part(weight, Part::Values).unwrap_or_default();
        Ok(match self.weights()[weight].encoding {
            Encoding::Linear(linear) => {
                let codes = self.codes(weight)?.unwrap_or_default();
                Values::F16(linear_values(linear, self.dims(weight), &codes, &self.params(weight)))
            }
            Encoding::Palette(palette) => {
                let codes = self.codes(weight)?.unwrap_or_default();
                let params = self.params(weight);
                Values::F16(palette_values(palette, self.dims(weight), &codes, &params))
            }
            Encoding::Float { dtype: Dtype::F16 } => {
                let halves = stored().as_chunks().0.iter();
                Values::F16(halves.map(|&b| f16::from_le_bytes(b)).collect())
            }
            // F32: open has verified that there is no third type.
            Encoding::Float { .. } => {
                let singles = stored().as_chunks().0.iter();
                Values::F32(singles.map(|&b| f32::from_le_bytes(b)).collect())
            }
            Encoding::Raw { .. } => Values::Raw(stored()),
        })
    }

    /// `O`, `I` and taps of a quantized weight.
    fn dims(&self, weight: usize) -> Dims {
        // The default is never met: open has verified that the encoding fits the shape.
        Dims::of(&self.weights()[weight].shape).unwrap_or_default()
    }

    /// The values of the weight of this name ([`Self::values`]); `None` if there is none.
    pub fn dequantize(&self, name: &str) -> Result<Option<Values<'a>>> {
        self.find(name).map(|weight| self.values(weight)).transpose()
    }
}

/// `[blocks, n]` → `[n, blocks]`.
fn turned<T: Copy>(plane: &[T], blocks: usize) -> Vec<T> {
    let n = plane.len().checked_div(blocks).unwrap_or(0);
    (0..n).flat_map(|i| (0..blocks).map(move |b| plane[b * n + i])).collect()
}

/// Every element of `[O, I, taps]` in row-major order.
fn elements(dims: Dims) -> impl Iterator<Item = [usize; 3]> {
    let Dims { o, i, taps } = dims;
    (0..o).flat_map(move |o| (0..i).flat_map(move |i| (0..taps).map(move |t| [o, i, t])))
}

fn linear_values(linear: Linear, dims: Dims, codes: &[u8], params: &Params) -> Vec<f16> {
    let widen = |code: u8| if linear.signed { i32::from(code as i8) } else { i32::from(code) };
    let scale_at = |o: usize, i: usize| match linear.granularity {
        Granularity::Tensor => 0,
        Granularity::Channel { axis: 0 } => o,
        Granularity::Channel { .. } => i,
        Granularity::Block { size } => o * (dims.i / size) + i / size,
    };
    if codes.is_empty() {
        return Vec::new();
    }
    let value = |([o, i, _], &code): ([usize; 3], &u8)| {
        let at = scale_at(o, i);
        let zero = params.offset.get(at).map_or(0, |&z| widen(z));
        f16::from_f32(params.scale[at].to_f32() * (widen(code) - zero) as f32)
    };
    elements(dims).zip(codes).map(value).collect()
}

fn palette_values(palette: Palette, dims: Dims, codes: &[u8], params: &Params) -> Vec<f16> {
    if codes.is_empty() {
        return Vec::new();
    }
    let vector = usize::from(palette.vector);
    let entries = 1 << palette.bits;
    let group_size = match palette.grouping {
        Grouping::Tensor => dims.axis(palette.axis),
        Grouping::Group { size } => size,
    };
    let table: Vec<f16> = match palette.entries {
        Entries::F16 => params.table.clone(),
        Entries::Int8 => {
            let scaled = |(&scale, table): (&f16, &[i8])| -> Vec<f16> {
                table.iter().map(|&e| f16::from_f32(scale.to_f32() * f32::from(e))).collect()
            };
            let tables = params.table_codes.chunks_exact(entries * vector);
            params.table_scale.iter().zip(tables).flat_map(scaled).collect()
        }
    };
    let value = |[o, i, t]: [usize; 3]| {
        let (at, code, component) = if palette.axis == 0 {
            (o, ((o / vector) * dims.i + i) * dims.taps + t, o % vector)
        } else {
            (i, (o * (dims.i / vector) + i / vector) * dims.taps + t, i % vector)
        };
        let index = usize::from(codes[code]);
        let entry = table[((at / group_size) * entries + index) * vector + component];
        match params.channel_scale.get(o) {
            Some(scale) => f16::from_f32(entry.to_f32() * scale.to_f32()),
            None => entry,
        }
    };
    elements(dims).map(value).collect()
}
