//! How long a function takes at least on a unit of a chip: the roofline, product by product.
//!
//! A product waits for its weight's bytes or for its multiplications, whichever takes longer; products
//! follow each other; states are read once a call, all of their context. Activations between products,
//! norms and dispatches but the first cost nothing here. So this is a model of what the chip allows,
//! and no measurement: real calls take longer, by a factor that depends on the unit.

use super::roofline::{Arithmetic, Bound, REACHED, Roof, Unit, Work};
use super::{Chip, Stored};
use crate::graph::weight::{Storage, Weight};
use crate::graph::{Function, Program, ValueType};
use crate::int8_path::{FunctionPath, Int8Path, StoredWeight};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The fastest that a Neural Engine was seen to read weights, GB/s: on M5 Max, whose DRAM gives four
/// times that (Anemll/anemll-forge).
const ENGINE_GBPS: f64 = 159.0;

/// What a call of a function reads and multiplies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    products: Vec<Product>,
    /// Bytes of all states.
    pub state_bytes: f64,
    /// Tokens that a call takes, of a language model.
    pub tokens: Option<u64>,
}

/// One product.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Product {
    macs: f64,
    /// The elements of its stored weight, how they are stored, and in how many bits each.
    weight: Option<(f64, Stored, f64)>,
    /// Whether both operands are INT8, and whether they would be if all activations were.
    int8: [bool; 2],
}

/// Which activations are INT8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activations {
    /// Those that are so in the graph.
    AsTheyAre,
    /// All that meet a weight which can be an INT8 operand.
    Int8,
}

/// The least time of a call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Seconds.
    pub seconds: f64,
    /// What most of it waits for.
    pub bound: Bound,
    /// Bytes that are read, as the unit reads them.
    pub bytes: f64,
    /// Multiply-accumulates.
    pub macs: f64,
    /// Whether a rate for INT8 is known there; without one INT8 counts as FP16.
    pub int8_rate: bool,
    /// Whether nobody measured how fast the unit reads weights, and what others reach is assumed.
    pub assumed: bool,
}

impl Load {
    /// Of a function whose sizes are fixed; products of unknown size count for nothing.
    pub fn of(function: &Function, path: &Int8Path) -> Self {
        let operations: HashMap<&str, _> = function
            .operations
            .iter()
            .map(|operation| (operation.name.as_str(), operation))
            .collect();
        let product = |product: &crate::int8_path::Product| {
            let operation = operations.get(product.operation.as_str());
            let weight = operation.and_then(|operation| StoredWeight::of(function, operation));
            Product {
                macs: product.macs.unwrap_or(0) as f64,
                weight: weight.map(|weight| stored(&weight)),
                int8: [
                    product.class.is_int8(),
                    // Attention stays as it is: pairs go around layers.
                    product.class.is_int8()
                        || (product.weight.is_some() && product.with_pairs.is_int8()),
                ],
            }
        };
        let states = function.inputs.iter().filter_map(|input| {
            let ValueType::State(ty) = &function.value(input.value).ty else { return None };
            let elements = ty.dims.iter().map(|dim| dim.size().unwrap_or(0) as f64);
            Some(elements.product::<f64>() * f64::from(ty.dtype.bits()?) / 8.0)
        });
        let ids = function.inputs.iter().map(|input| function.value(input.value));
        let ids = ids.filter(|value| matches!(&value.name[..], "input_ids" | "inputIds"));
        let tokens = ids.filter_map(|value| value.ty.tensor()?.dims.last()?.size()).next();
        Self {
            products: path.products.iter().map(product).collect(),
            state_bytes: states.sum(),
            tokens: tokens.map(|tokens| tokens as u64),
        }
    }

    /// Of each function of a program, by its name; the layers of a layer package are one. `fixed` gives a
    /// function with the default shapes of its inputs, where that can be known.
    pub fn of_program(
        program: &Program,
        fixed: &dyn Fn(&Function) -> Option<Function>,
    ) -> BTreeMap<String, Self> {
        let paths = FunctionPath::of_program(program, fixed);
        let layers = paths.first().filter(|_| paths.len() < program.functions.len());
        let mut loads = BTreeMap::new();
        for (name, function) in &program.functions {
            let fixed = fixed(function);
            let function = fixed.as_ref().unwrap_or(function);
            let load = Self::of(function, &Int8Path::of(function));
            let name = layers.map_or(name, |layers| &layers.function);
            let before: Self = loads.remove(name).unwrap_or_default();
            loads.insert(name.clone(), before.and(load));
        }
        loads
    }

    /// One after the other, as the chunks of a model and the layers of a package are run.
    pub fn and(mut self, other: Self) -> Self {
        self.products.extend(other.products);
        self.state_bytes += other.state_bytes;
        self.tokens = self.tokens.or(other.tokens);
        self
    }

    /// Whether INT8 activations would make a product INT8 that is not.
    pub fn gains_from_pairs(&self) -> bool {
        self.products.iter().any(|product| product.int8 == [false, true])
    }

    /// Bytes of all weights and states, as they are stored.
    pub fn stored_bytes(&self) -> f64 {
        let weights = self.products.iter().filter_map(|product| product.weight);
        weights.map(|(elements, _, bits)| elements * bits / 8.0).sum::<f64>() + self.state_bytes
    }

    /// The least time of a call; `None` where the chip's rate or bandwidth there is not known.
    pub fn on(&self, chip: &Chip, unit: Unit, activations: Activations) -> Option<Forecast> {
        let assumed = (unit == Unit::Ane && chip.ane_weight_gbps.is_none())
            .then(|| (chip.dram_gbps.value * REACHED).min(ENGINE_GBPS) * 1e9);
        let roof = |arithmetic| {
            let roof = chip.roof(unit, arithmetic);
            Roof { bytes: roof.bytes.or(assumed), ..roof }
        };
        let (float, int8) = (roof(Arithmetic::Float), roof(Arithmetic::Int8));
        let known = int8.operations.is_some();
        let (mut reading, mut multiplying, mut bytes, mut macs) = (0.0, 0.0, 0.0, 0.0);
        for product in &self.products {
            let is_int8 = product.int8[usize::from(activations == Activations::Int8)];
            let roof = if is_int8 && known { int8 } else { float };
            let read = product.weight.map_or(0.0, |(elements, stored, bits)| {
                elements * chip.read_bits(unit, stored, bits) / 8.0
            });
            let time = roof.time(Work { bytes: read, operations: 2.0 * product.macs })?;
            match time.bound {
                Bound::Bandwidth => reading += time.seconds,
                Bound::Arithmetic | Bound::Call => multiplying += time.seconds,
            }
            bytes += read;
            macs += product.macs;
        }
        let states = float.time(Work { bytes: self.state_bytes, operations: 0.0 })?;
        reading += states.seconds;
        let call = match unit {
            Unit::Ane => chip.ane_call_ms.map_or(0.0, |ms| ms.value / 1e3),
            Unit::Gpu | Unit::Cpu => 0.0,
        };
        let seconds = f64::max(reading + multiplying, call);
        let bound = if seconds > reading + multiplying {
            Bound::Call
        } else if reading >= multiplying {
            Bound::Bandwidth
        } else {
            Bound::Arithmetic
        };
        let bytes = bytes + self.state_bytes;
        let assumed = assumed.is_some();
        Some(Forecast { seconds, bound, bytes, macs, int8_rate: known, assumed })
    }
}

/// Elements of a weight, how they are stored, and in how many bits each, scales and tables included.
fn stored(weight: &StoredWeight<'_>) -> (f64, Stored, f64) {
    let Weight { shape, storage } = weight.weight;
    let elements: f64 = shape.iter().map(|&size| size as f64).product();
    let bits = weight.weight.byte_len() as f64 * 8.0 / elements.max(1.0);
    let kind = match storage {
        Storage::Linear { scale, .. } if weight.is_inside(&scale.shape) => Stored::Blocks,
        Storage::Linear { .. } => Stored::Linear,
        Storage::Palette { .. } => Stored::Palette,
        Storage::Dense(_) | Storage::Sparse { .. } => Stored::Float,
    };
    (elements, kind, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of 4096 x 4096 in so many bits, on so many rows.
    fn layer(stored: Stored, bits: f64, rows: f64, int8: [bool; 2]) -> Load {
        let elements = 4096.0 * 4096.0;
        let product =
            Product { macs: elements * rows, weight: Some((elements, stored, bits)), int8 };
        Load { products: vec![product], state_bytes: 0.0, tokens: Some(rows as u64) }
    }

    #[test]
    fn one_token_waits_for_bytes_and_many_for_multiplications() {
        let m5 = Chip::find("M5 Pro").unwrap();
        let [one, many] = [1.0, 4096.0].map(|rows| layer(Stored::Linear, 8.0, rows, [false, true]));
        let decode = one.on(m5, Unit::Ane, Activations::AsTheyAre).unwrap();
        assert_eq!(decode.bound, Bound::Bandwidth);
        assert!((decode.seconds - 16.78e6 / 145e9).abs() < 1e-7, "{decode:?}");
        let prefill = many.on(m5, Unit::Gpu, Activations::AsTheyAre).unwrap();
        assert_eq!(prefill.bound, Bound::Arithmetic);
        assert!((prefill.seconds - 2.0 * 6.872e10 / 30.9e12).abs() < 1e-5, "{prefill:?}");
        let int8 = many.on(m5, Unit::Gpu, Activations::Int8).unwrap();
        assert!((prefill.seconds / int8.seconds - 65.5 / 30.9).abs() < 1e-9);
    }

    #[test]
    fn a_chip_that_expands_codes_reads_them_as_floats_and_a_call_costs_its_floor() {
        let m1 = Chip::find("M1").unwrap();
        let float = layer(Stored::Float, 16.0, 1.0, [false; 2]);
        let linear = layer(Stored::Linear, 8.0, 1.0, [false; 2]);
        let palette = layer(Stored::Palette, 4.0, 1.0, [false; 2]);
        let on = |load: &Load| load.on(m1, Unit::Ane, Activations::AsTheyAre).unwrap();
        assert_eq!(on(&float).seconds, on(&linear).seconds);
        assert_eq!((on(&palette).bound, on(&palette).seconds), (Bound::Call, 0.23e-3));
        assert_eq!(on(&palette.clone().and(palette)).bound, Bound::Bandwidth);
    }

    #[test]
    fn what_is_unknown_is_no_forecast() {
        let m2 = Chip::find("M2").unwrap();
        let load = layer(Stored::Linear, 8.0, 1.0, [true; 2]);
        assert_eq!(load.on(m2, Unit::Ane, Activations::AsTheyAre), None, "no rate is known");
        // Its engine's rate is known, and how fast it reads weights is not: as the DRAM, at most.
        let m4 = Chip::find("M4").unwrap();
        let ane = load.on(m4, Unit::Ane, Activations::AsTheyAre).unwrap();
        assert!(ane.assumed && ane.int8_rate, "{ane:?}");
        assert!((ane.seconds - 16.78e6 / (0.83 * 120e9)).abs() < 1e-7, "{ane:?}");
        let gpu = load.on(m2, Unit::Gpu, Activations::AsTheyAre).unwrap();
        assert_eq!(gpu.bound, Bound::Bandwidth);
        assert_eq!(load.stored_bytes(), 4096.0 * 4096.0);
    }
}
