//! What reading a stored weight costs on a unit, which is not always its bytes.

use super::Chip;
use super::roofline::Unit;
use serde::Serialize;

/// How weights are stored, as far as reading them is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stored {
    /// Numbers in floating point.
    Float,
    /// Linear codes with one scale a tensor or channel.
    Linear,
    /// Linear codes with a scale for each block of inputs.
    Blocks,
    /// Indices of a palette.
    Palette,
}

impl Chip {
    /// The bits that reading a weight of `bits` stored bits costs on a unit.
    ///
    /// On the Neural Engine codes that are expanded before they are read cost 16, and indices of
    /// fewer than 8 bits cost 8 where they are read no faster than bytes. What is not known costs what
    /// is stored; other units expand in their registers.
    pub fn read_bits(&self, unit: Unit, stored: Stored, bits: f64) -> f64 {
        let fails = |fact: Option<super::Fact>| fact.is_some_and(|fact| !fact.holds);
        match (unit, stored) {
            (Unit::Ane, Stored::Linear) if fails(self.ane_streams_linear) => bits.max(16.0),
            (Unit::Ane, Stored::Blocks) if fails(self.ane_streams_blocks) => bits.max(16.0),
            (Unit::Ane, Stored::Palette) if fails(self.ane_streams_narrow_palettes) => {
                bits.max(8.0)
            }
            (Unit::Ane, Stored::Float | Stored::Linear | Stored::Blocks | Stored::Palette)
            | (Unit::Gpu | Unit::Cpu, _) => bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expanded_before_it_is_read_costs_floats() {
        #[rustfmt::skip]
        let cases: &[(&str, Unit, Stored, f64, f64)] = &[
            // M1 expands linear codes in DRAM, and reads palettes as they are.
            ("M1",     Unit::Ane, Stored::Linear,  8.0, 16.0),
            ("M1",     Unit::Ane, Stored::Palette, 4.0,  4.0),
            ("M1",     Unit::Gpu, Stored::Linear,  8.0,  8.0),
            ("M2",     Unit::Ane, Stored::Linear,  8.0,  8.0),
            ("M2",     Unit::Ane, Stored::Blocks,  4.5, 16.0),
            ("M3",     Unit::Ane, Stored::Blocks,  4.5,  4.5),
            // M5 Max reads no palette faster than bytes, M6 does.
            ("M5 Max", Unit::Ane, Stored::Palette, 4.0,  8.0),
            ("M5 Max", Unit::Gpu, Stored::Palette, 4.0,  4.0),
            ("M6",     Unit::Ane, Stored::Palette, 2.0,  2.0),
            ("M4",     Unit::Ane, Stored::Float,  16.0, 16.0),
        ];
        for &(name, unit, stored, bits, read) in cases {
            let chip = Chip::find(name).unwrap();
            assert_eq!(chip.read_bits(unit, stored, bits), read, "{name} {unit:?} {stored:?}");
        }
    }
}
