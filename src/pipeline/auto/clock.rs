//! What weights cost a call on a chip: each one's share of its time, by the roofline.
//!
//! `time of a weight = max(bytes read / B, 2 · multiply-accumulates / R)`, B and R of [`Chip::roof`], bytes as
//! [`Chip::read_bits`] says; R is that of INT8 where the weight meets INT8 inputs. A table that rows are
//! taken from is read in those rows alone. Weights are used one after another, so that times add up;
//! products of activations, keys and values take the same time whatever the weights are, and are not
//! counted.

use super::super::roles::tensor_of;
use super::steps::Steps;
use crate::auto::{Form, Input, Time};
use crate::chips::roofline::{Arithmetic, Roof, Unit, Work};
use crate::chips::{Chip, Stored};
use crate::graph::{Function, Program, macs};
use crate::plan;
use crate::runtime::{Shapes, specialize};
use crate::scheme::{LinearGranularity, Scheme};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Whose time is chosen by.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The chip.
    pub chip: &'static Chip,
    /// The function whose call is timed; without it the default one, of a language model `decode`, and
    /// of bare layers all.
    pub function: Option<String>,
}

/// Shares of a call's time.
pub(super) struct Clock {
    chip: &'static Chip,
    unit: Unit,
    float: Roof,
    int8: Roof,
    /// By tensor, what a call does with it.
    uses: BTreeMap<usize, Use>,
    words: String,
}

/// What a call does with a weight.
#[derive(Clone, Copy, Default)]
struct Use {
    /// Multiply-accumulates.
    macs: u64,
    /// How much of it is read, at most 1.
    share: f64,
}

impl Clock {
    /// What a function's call takes on a unit of a chip. `program` is in float, its weights to come.
    ///
    /// # Errors
    /// [`Error::Usage`] for a function that there is not, one whose shapes are open, and a unit whose
    /// rate nobody measured.
    pub(super) fn new(timed: &Timed, unit: plan::Unit, program: &Program) -> Result<Self> {
        let unit = match unit {
            plan::Unit::Ane => Unit::Ane,
            plan::Unit::Gpu => Unit::Gpu,
            plan::Unit::Cpu => Unit::Cpu,
        };
        let functions = match &timed.function {
            None => Steps::functions(program, false)?,
            Some(name) if program.functions.contains_key(name) => vec![name.clone()],
            Some(name) => {
                let known: Vec<&str> = program.functions.keys().map(String::as_str).collect();
                let known = known.join(", ");
                return Err(Error::Usage(format!(
                    "--time-of {name}: there is no such function; there are {known}"
                )));
            }
        };
        let mut uses = BTreeMap::new();
        for name in &functions {
            count(name, &program.functions[name], &mut uses)?;
        }
        let chip = timed.chip;
        let unit_name = match unit {
            Unit::Ane => "Neural Engine",
            Unit::Gpu => "GPU",
            Unit::Cpu => "CPU",
        };
        let mut float = chip.roof(unit, Arithmetic::Float);
        let Some(rate) = float.operations else {
            return Err(Error::Usage(format!(
                "--chip {}: nobody measured how fast its {unit_name} multiplies; choose another --unit",
                chip.name
            )));
        };
        let is_known = float.bytes.is_some();
        float.bytes = float.bytes.or(Some(chip.dram_gbps.value * 1e9));
        let mut int8 = chip.roof(unit, Arithmetic::Int8);
        int8.bytes = float.bytes;
        // What nobody measured is not believed to be faster, nor what was found not to be.
        let has_path = match unit {
            Unit::Ane => chip.ane_int8_path.is_none_or(|path| path.holds),
            Unit::Gpu | Unit::Cpu => true,
        };
        int8.operations =
            int8.operations.filter(|_| has_path).map(|int8| int8.max(rate)).or(Some(rate));
        let call = match &functions[..] {
            [one] => format!("a call of `{one}`"),
            all => format!("a call of each of {} layers", all.len()),
        };
        let words = format!(
            "{call} on {}, {unit_name}: weights at {}{:.1} GB/s, {:.1} Tops, {:.1} in INT8",
            chip.name,
            if is_known { "" } else { "the DRAM's " },
            float.bytes.unwrap_or(0.0) / 1e9,
            rate / 1e12,
            int8.operations.unwrap_or(0.0) / 1e12
        );
        Ok(Self { chip, unit, float, int8, uses, words })
    }

    /// What is timed, and by which rates.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// The share of a tensor in this form, of so many bytes and elements.
    pub(super) fn time(&self, tensor: usize, form: Form, bytes: u64, elements: u64) -> Time {
        let Some(used) = self.uses.get(&tensor) else { return Time::default() };
        let stored = match form.scheme {
            Scheme::Float(_) => Stored::Float,
            Scheme::Palette(_) => Stored::Palette,
            Scheme::Linear(linear) => match linear.granularity {
                LinearGranularity::Block { .. } => Stored::Blocks,
                LinearGranularity::Tensor | LinearGranularity::Channel { .. } => Stored::Linear,
            },
        };
        let elements = elements.max(1) as f64;
        let bits = self.chip.read_bits(self.unit, stored, bytes as f64 * 8.0 / elements);
        let work =
            Work { bytes: used.share * elements * bits / 8.0, operations: 2.0 * used.macs as f64 };
        let roof = match form.input {
            Input::Float => self.float,
            Input::Int8 => self.int8,
        };
        let seconds = |work| roof.time(work).map_or(0.0, |time| time.seconds);
        let reading = seconds(Work { operations: 0.0, ..work });
        Time { call: seconds(work), reading }
    }
}

/// Counts what a function does with each tensor.
fn count(name: &str, function: &Function, uses: &mut BTreeMap<usize, Use>) -> Result<()> {
    let fixed = specialize(function, &Shapes::new())?;
    for operation in &fixed.operations {
        for argument in &operation.arguments {
            // Constants keep their places; folded ones are none of a tensor.
            let Some(tensor) = tensor_of(&fixed, argument.value) else { continue };
            let open = || {
                let found = format!("sizes of `{}` are open", operation.name);
                Error::Usage(format!("--time-of {name}: {found}; choose another function"))
            };
            let used = uses.entry(tensor).or_default();
            if argument.param != "bias" {
                used.macs += macs(&fixed, operation).ok_or_else(open)?;
            }
            used.share = match operation.row.name {
                "gather" => {
                    let size = |id| -> Option<f64> {
                        let shape = fixed.value(id).ty.tensor()?.shape()?;
                        Some(shape.iter().map(|&size| size as f64).product())
                    };
                    let taken = operation.outputs.first().and_then(|&id| size(id));
                    let all = size(argument.value);
                    let share = taken.zip(all).ok_or_else(open).map(|(taken, all)| taken / all)?;
                    (used.share + share).min(1.0)
                }
                _ => 1.0,
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::package::Subject;
    use super::super::super::{prepare, roles};
    use super::*;
    use crate::plan::Options;
    use std::path::Path;

    /// A model's program for prompts of 128 tokens, and the place of a tensor of its source.
    fn program(tensor: &str) -> (Program, usize) {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stdlib-llama");
        let mut options = Options::default();
        (options.model.context, options.model.prefill_chunk) = (Some(256), Some(128));
        let prepare::Opened { source, subject, .. } = prepare::open(&model, &options).unwrap();
        let Subject::Whole(whole) = subject else { unreachable!("it has a config.json") };
        let mut programs = roles::in_float(&whole, &source, &options).unwrap();
        let place = source.tensors().iter().position(|found| found.name == tensor);
        (programs.remove(0), place.unwrap())
    }

    fn clock(chip: &str, unit: plan::Unit, function: &str, program: &Program) -> Result<Clock> {
        let timed = Timed { chip: Chip::find(chip)?, function: Some(function.into()) };
        Clock::new(&timed, unit, program)
    }

    #[test]
    fn a_token_waits_for_bytes_and_a_prompt_for_products() {
        let (program, gate) = program("model.layers.0.mlp.gate_proj.weight");
        let elements = 352 * 128;
        let scheme = |words: &str| words.parse().unwrap();
        let (palette, w8a16) =
            (Form::float(scheme("palette-4")), Form::float(scheme("linear-int8")));
        let (int8, w8a8) =
            (Form::int8(scheme("palette-4,lut-int8")), Form::int8(scheme("linear-int8")));
        let operations = (2 * elements * 128) as f64;
        #[rustfmt::skip]
        let cases = [
            // What a GPU reads is 0.83 of the DRAM's 153 GB/s, where no one measured it.
            ("M5", plan::Unit::Gpu, "decode",  palette, 22_560, 22_560.0 / (153e9 * 0.83)),
            ("M5", plan::Unit::Gpu, "decode",  w8a8,    45_760, 45_760.0 / (153e9 * 0.83)),
            ("M5", plan::Unit::Gpu, "prefill", palette, 22_560, operations / 16.4e12),
            ("M5", plan::Unit::Gpu, "prefill", w8a16,   45_760, operations / 16.4e12),
            ("M5", plan::Unit::Gpu, "prefill", int8,    22_560, operations / 32.8e12),
            // So fast that bytes are what it waits for.
            ("M5", plan::Unit::Gpu, "prefill", w8a8,    45_760, 45_760.0 / (153e9 * 0.83)),
            // No path for INT8.
            ("M4", plan::Unit::Gpu, "prefill", w8a8,    45_760, operations / 4.04e12),
            // Linear codes are expanded in DRAM before this engine reads them.
            ("M1", plan::Unit::Ane, "decode",  w8a16,   45_760, 2.0 * elements as f64 / 51e9),
        ];
        for (chip, unit, function, form, bytes, seconds) in cases {
            let clock = clock(chip, unit, function, &program).unwrap();
            let got = clock.time(gate, form, bytes, elements).call;
            assert!((got / seconds - 1.0).abs() < 1e-9, "{}: {got} {seconds}", clock.words());
        }
    }

    #[test]
    fn rows_of_a_table_are_read_and_what_a_call_does_not_use_is_not() {
        let (program, norm) = program("model.norm.weight");
        let clock = clock("M4", plan::Unit::Gpu, "decode", &program).unwrap();
        let form = Form::float("float16".parse().unwrap());
        assert_eq!(clock.time(norm, form, 256, 128).reading, 256.0 / 100e9);
        assert_eq!(clock.time(usize::MAX, form, 256, 128), Time::default());
        insta::assert_snapshot!(clock.words(), @"a call of `decode` on M4, GPU: weights at 100.0 GB/s, 4.0 Tops, 4.0 in INT8");
    }

    #[test]
    fn what_cannot_be_timed_is_told() {
        let (program, _) = program("model.norm.weight");
        let told = |chip, unit, function| clock(chip, unit, function, &program).err().unwrap();
        insta::assert_snapshot!(told("M2", plan::Unit::Ane, "decode"), @"--chip M2: nobody measured how fast its Neural Engine multiplies; choose another --unit");
        insta::assert_snapshot!(told("M2", plan::Unit::Gpu, "prompt"), @"--time-of prompt: there is no such function; there are decode, prefill");
    }
}
