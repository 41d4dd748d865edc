//! From values to indices: the nearest stored entry, the lower of two equally near.

use super::table::limits;
use crate::tensor::FloatType;
use half::{bf16, f16};

/// Finds indices in a scalar table.
pub(super) struct Lookup {
    limits: Vec<f32>,
}

impl Lookup {
    /// `values` ascend; see [`limits`].
    pub(super) fn new(values: &[f16]) -> Self {
        Self { limits: limits(values) }
    }

    /// The index of a finite value, by bisection without branches.
    #[inline]
    pub(super) fn index(&self, x: f32) -> u8 {
        let mut at = 0;
        let mut step = self.limits.len().div_ceil(2);
        while step > 0 {
            at += if x > self.limits[at + step - 1] { step } else { 0 };
            step /= 2;
        }
        at as u8
    }

    /// The indices of values in ascending order.
    pub(super) fn indices_of_ascending<'s>(
        &'s self,
        x: &'s [f64],
    ) -> impl Iterator<Item = u8> + 's {
        let mut at = 0;
        x.iter().map(move |&x| {
            while self.limits.get(at).is_some_and(|&limit| x > f64::from(limit)) {
                at += 1;
            }
            at as u8
        })
    }

    /// The index of every bit pattern of a 16-bit type. Patterns that no palette can hold have an
    /// index without meaning.
    pub(super) fn by_bits(&self, dtype: FloatType) -> Box<[u8; 1 << 16]> {
        let mut table = vec![0u8; 1 << 16];
        let value = |bits: u16| match dtype {
            FloatType::BF16 => bf16::from_bits(bits).to_f32(),
            FloatType::F16 | FloatType::F32 => f16::from_bits(bits).to_f32(),
        };
        let largest = super::input::largest_bits(dtype);
        // Each index serves one interval of magnitudes on each side of zero.
        for sign in [0, 0x8000] {
            let mut bits = 0;
            while bits <= largest {
                let index = self.index(value(sign | bits));
                let (mut here, mut beyond) = (bits, largest + 1);
                while beyond - here > 1 {
                    let middle = here + (beyond - here) / 2;
                    if self.index(value(sign | middle)) == index {
                        here = middle
                    } else {
                        beyond = middle
                    }
                }
                table[usize::from(sign | bits)..=usize::from(sign | here)].fill(index);
                bits = here + 1;
            }
        }
        table.try_into().expect("65,536 entries")
    }
}

/// Looks every 16-bit value of `bytes` up.
pub(super) fn by_table(bytes: &[u8], table: &[u8; 1 << 16], codes: &mut [u8]) {
    let (bytes, rest) = bytes.split_at(bytes.len() / 8 * 8);
    let (head, tail) = codes.split_at_mut(bytes.len() / 2);
    for (quad, codes) in bytes.chunks_exact(8).zip(head.chunks_exact_mut(4)) {
        let q = u64::from_le_bytes(quad.try_into().expect("eight bytes"));
        codes[0] = table[q as u16 as usize];
        codes[1] = table[(q >> 16) as u16 as usize];
        codes[2] = table[(q >> 32) as u16 as usize];
        codes[3] = table[(q >> 48) as usize];
    }
    for (b, code) in rest.chunks_exact(2).zip(tail) {
        *code = table[usize::from(u16::from_le_bytes([b[0], b[1]]))];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(values: &[f32]) -> Vec<f16> {
        values.iter().map(|&v| f16::from_f32(v)).collect()
    }

    /// The definition, exact: x is nearer to b than to a < b where 2x > a + b.
    fn nearest(x: f64, values: &[f16]) -> u8 {
        let mut best = 0;
        for (i, v) in values.iter().enumerate() {
            if *v > values[best] && 2.0 * x > v.to_f64() + values[best].to_f64() {
                best = i;
            }
        }
        best as u8
    }

    #[test]
    fn every_half_meets_its_nearest_entry_and_the_lower_of_two() {
        #[rustfmt::skip]
        let tables: &[&[f32]] = &[
            &[0.0, 1.0],
            &[-65504.0, 65504.0],
            &[-1.0, -0.25, 0.0, 6e-8],
            &[2.0, 2.0, 2.0, 2.0],
            &[-3.0, 0.5, 1.0, 1.0],
            &[-2.0, -1.0, -0.5, 0.0, 0.001, 3.0, 10.0, 60000.0],
        ];
        for table in tables {
            let values = halves(table);
            let lookup = Lookup::new(&values);
            for dtype in [FloatType::F16, FloatType::BF16] {
                let by_bits = lookup.by_bits(dtype);
                let mut ascending = Vec::new();
                for bits in 0..=u16::MAX {
                    if bits & 0x7FFF > super::super::input::largest_bits(dtype) {
                        continue;
                    }
                    let x = match dtype {
                        FloatType::BF16 => bf16::from_bits(bits).to_f32(),
                        _ => f16::from_bits(bits).to_f32(),
                    };
                    let want = nearest(f64::from(x), &values);
                    assert_eq!(lookup.index(x), want, "{x} in {table:?}");
                    assert_eq!(by_bits[usize::from(bits)], want, "{x} in {table:?} by its bits");
                    ascending.push((f64::from(x), want));
                }
                ascending.sort_by(|a, b| a.0.total_cmp(&b.0));
                let x: Vec<f64> = ascending.iter().map(|a| a.0).collect();
                let got: Vec<u8> = lookup.indices_of_ascending(&x).collect();
                assert!(got.iter().zip(&ascending).all(|(got, want)| *got == want.1));
            }
        }
    }

    #[test]
    fn a_tail_of_any_length_is_looked_up() {
        let values = halves(&[-1.0, 0.0, 1.0, 2.0]);
        let table = Lookup::new(&values).by_bits(FloatType::F16);
        for n in 0..11 {
            let bytes: Vec<u8> =
                (0..n).flat_map(|i| f16::from_f32(i as f32 % 3.0 - 0.9).to_le_bytes()).collect();
            let mut codes = vec![9; n];
            by_table(&bytes, &table, &mut codes);
            let want: Vec<u8> = (0..n).map(|i| (i % 3) as u8).collect();
            assert_eq!(codes, want);
        }
    }
}
