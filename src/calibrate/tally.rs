//! How often each FP16 number occurred, while numbers come in.

use half::f16;

/// Numbers of one sign and exponent.
const PAGE: usize = 1 << 10;

const SIGN: u16 = 0x8000;
const INFINITY: u16 = 0x7C00;
const NAN: u16 = 0x7E00;

/// Counts by FP16 number, at full resolution. −0 is counted as 0, and every NaN as one.
///
/// A page of 1,024 counts is made when a number of its sign and exponent first occurs: what a value
/// takes is 8 KiB for each, 508 KiB at the most.
#[derive(Clone, Debug)]
pub(super) struct Tally(Vec<Vec<u64>>);

impl Default for Tally {
    fn default() -> Self {
        Self(vec![Vec::new(); (1 << 16) / PAGE])
    }
}

/// The bits under which a number is counted.
pub(super) fn canonical(number: f16) -> u16 {
    let bits = number.to_bits();
    match bits & !SIGN {
        0 => 0,
        magnitude if magnitude > INFINITY => NAN,
        _ => bits,
    }
}

/// Whether the bits are those of a finite number.
pub(super) fn is_finite(bits: u16) -> bool {
    bits & INFINITY != INFINITY
}

/// A finite FP16 number in units of 2⁻²⁴, at most 2⁴⁰ in magnitude.
pub(super) fn units(bits: u16) -> i64 {
    let (exponent, fraction) = ((bits & INFINITY) >> 10, i64::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => fraction,
        _ => (1024 + fraction) << (exponent - 1),
    };
    if bits & SIGN == 0 { magnitude } else { -magnitude }
}

impl Tally {
    /// Counts a number, by its canonical bits, once more.
    pub(super) fn count(&mut self, bits: u16) {
        let page = &mut self.0[usize::from(bits) / PAGE];
        if page.is_empty() {
            page.resize(PAGE, 0);
        }
        page[usize::from(bits) % PAGE] += 1;
    }

    /// The numbers that occurred, by ascending bits, and how often.
    pub(super) fn counts(&self) -> Vec<(u16, u64)> {
        let pages = self.0.iter().enumerate();
        let all = pages.flat_map(|(page, counts)| {
            counts.iter().enumerate().map(move |(i, &n)| ((page * PAGE + i) as u16, n))
        });
        all.filter(|(_, n)| *n > 0).collect()
    }
}
