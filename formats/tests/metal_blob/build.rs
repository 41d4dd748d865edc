//! Builds blobs from logical tensors, element by element as the specification reads.

use half::f16;
use twolane_formats::metal_blob::*;

/// What a weight means, in the order of quantizers: row-major codes, `[N, blocks]` parameters.
#[derive(Clone, Debug)]
pub(crate) struct Logical {
    pub(crate) weight: Weight,
    pub(crate) codes: Vec<u8>,
    pub(crate) params: Params,
    /// The bytes of float and raw weights.
    pub(crate) values: Vec<u8>,
}

pub(crate) fn weight(name: &str, shape: &[usize], encoding: Encoding) -> Weight {
    Weight { name: name.into(), shape: shape.into(), encoding }
}

pub(crate) fn linear(bits: u8, granularity: Granularity, offset: bool, lanes: Lanes) -> Encoding {
    Encoding::Linear(Linear { bits, signed: true, granularity, offset, lanes })
}

pub(crate) fn palette(bits: u8, lanes: Lanes) -> Palette {
    let (grouping, entries) = (Grouping::Tensor, Entries::F16);
    Palette { bits, grouping, axis: 0, vector: 1, entries, channel_scale: false, lanes }
}

/// Bits, signedness and lanes of a weight's codes.
pub(crate) fn code_type(encoding: &Encoding) -> (u8, bool, Lanes) {
    match encoding {
        Encoding::Linear(l) => (l.bits, l.signed, l.lanes),
        Encoding::Palette(p) => (p.bits, false, p.lanes),
        Encoding::Float { .. } | Encoding::Raw { .. } => panic!("no codes"),
    }
}

/// The file of these weights.
pub(crate) fn file(weights: &[Logical]) -> Vec<u8> {
    let plan = Plan::new(weights.iter().map(|w| w.weight.clone()).collect()).unwrap();
    let mut file = Vec::new();
    plan.write_to(&mut file, |plane, out| {
        let (index, part) = plane.holds.unwrap();
        out.write_all(&bytes(&weights[index], part, plane))
    })
    .unwrap();
    file
}

fn bytes(logical: &Logical, part: Part, plane: &Plane) -> Vec<u8> {
    let halves = |v: &[f16]| v.iter().flat_map(|h| h.to_le_bytes()).collect();
    let params = &logical.params;
    match part {
        Part::Values => logical.values.clone(),
        Part::Codes => codes(logical, plane.len as usize),
        Part::Scale => halves(&columns(&params.scale, plane.shape[0])),
        Part::Offset => columns(&params.offset, plane.shape[0]),
        Part::Table if params.table.is_empty() => {
            params.table_codes.iter().map(|&e| e as u8).collect()
        }
        Part::Table => halves(&params.table),
        Part::TableScale => halves(&params.table_scale),
        Part::ChannelScale => halves(&params.channel_scale),
    }
}

/// `[n, blocks]` → `[blocks, n]`.
fn columns<T: Copy>(rows: &[T], blocks: usize) -> Vec<T> {
    (0..blocks).flat_map(|b| rows.chunks_exact(blocks).map(move |row| row[b])).collect()
}

fn codes(logical: &Logical, len: usize) -> Vec<u8> {
    let Weight { shape, encoding, .. } = &logical.weight;
    let [rows, cols] = encoding.code_matrix(shape).unwrap().unwrap();
    let (bits, _, lanes) = code_type(encoding);
    let mut plane = vec![0; len];
    for (i, &code) in logical.codes.iter().enumerate() {
        if lanes == Lanes::Row && bits < 8 {
            for b in 0..usize::from(bits) {
                let at = i * usize::from(bits) + b;
                plane[at / 8] |= (code >> b & 1) << (at % 8);
            }
        } else {
            plane[lanes.position(rows, cols, i / cols, i % cols)] = code;
        }
    }
    plane
}

/// A small generator (xorshift64*), so that tests are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A code of this type, in a byte.
    fn code(&mut self, bits: u8, signed: bool) -> u8 {
        let code = (self.next() & ((1 << bits) - 1)) as u8;
        let sign = 1 << (bits - 1);
        if signed { (code ^ sign).wrapping_sub(sign) } else { code }
    }

    /// A finite half from 2^-14 to 2^5 or so, of either sign.
    fn half(&mut self) -> f16 {
        f16::from_bits((self.next() % 0x5000) as u16 | (self.next() as u16 & 0x8000))
    }

    /// A weight full of noise.
    pub(crate) fn logical(&mut self, weight: Weight) -> Logical {
        let mut logical =
            Logical { weight, codes: Vec::new(), params: Params::default(), values: Vec::new() };
        let Weight { shape, encoding, .. } = &logical.weight;
        for plane in encoding.planes(shape).unwrap() {
            let n: usize = plane.shape.iter().product();
            let params = &mut logical.params;
            match plane.part {
                Part::Values => {
                    let len = plane.byte_len().unwrap();
                    logical.values = (0..len).map(|_| (self.next() & 0x3b) as u8).collect();
                }
                Part::Codes => {
                    let [rows, cols] = encoding.code_matrix(shape).unwrap().unwrap();
                    let (bits, signed, _) = code_type(encoding);
                    logical.codes = (0..rows * cols).map(|_| self.code(bits, signed)).collect();
                }
                Part::Scale => params.scale = (0..n).map(|_| self.half()).collect(),
                Part::Offset => {
                    let (bits, signed, _) = code_type(encoding);
                    params.offset = (0..n).map(|_| self.code(bits, signed)).collect();
                }
                Part::Table if plane.dtype == Dtype::I8 => {
                    params.table_codes = (0..n).map(|_| self.next() as i8).collect();
                }
                Part::Table => params.table = (0..n).map(|_| self.half()).collect(),
                Part::TableScale => params.table_scale = (0..n).map(|_| self.half()).collect(),
                Part::ChannelScale => params.channel_scale = (0..n).map(|_| self.half()).collect(),
            }
        }
        logical
    }
}
