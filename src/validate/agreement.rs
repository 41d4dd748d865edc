//! Backends beside each other.
//!
//! A backend that computes in f32 is the reference in mode f32 but for the order of its sums: both take
//! a compressed weight as the codes, scales and tables that are stored, and round nothing to FP16. So
//! their difference says whether a backend reads a package rightly, whatever FP16 would cost a device,
//! which `--mode f16` and `ane` show beside the source.
//!
//! Where activations become codes on the way, roundings of f32 decide ties, and a code that falls the other
//! way is a whole step: there the difference in root mean square is told too.

use super::golden::recorded;
use crate::execute::{Engine, Ran};
use crate::graph::Function;
use crate::metrics::Closeness;
use crate::report::validation::AgreementCheck;
use crate::runtime::Tensors;

/// The outputs of the first backend beside those of each other one, over all steps.
pub(super) fn checks(
    name: &str,
    function: &Function,
    runs: &[(&Engine, Ran)],
) -> Vec<AgreementCheck> {
    let Some(((first, one), others)) = runs.split_first() else { return vec![] };
    let quantizes = function.operations.iter().any(|operation| operation.row.name == "quantize");
    let mut checks = vec![];
    for (second, other) in others {
        for output in &function.outputs {
            let output = &function.value(output.value).name;
            let mut sums = Closeness::default();
            for (one, other) in one.steps.iter().zip(&other.steps) {
                let numbers = |t: &Tensors| t.get(output).and_then(recorded);
                if let (Some(x), Some(y)) = (numbers(one), numbers(other)) {
                    sums.add(&x, &y);
                    sums.broken += x.len().abs_diff(y.len()) as u64;
                }
            }
            checks.push(AgreementCheck {
                function: name.into(),
                output: output.clone(),
                between: [first.to_string(), second.to_string()],
                elements: sums.elements,
                relative: sums.relative(),
                rms: quantizes.then(|| sums.rms()),
            });
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::{Inputs, run};
    use crate::graph::weight::{Data, Operand, Storage, Weight};
    use crate::graph::{Builder, Constant, DataType, Sizes, TensorType, Value};
    use crate::report::Validation;
    use crate::report::validation::Limits;
    use crate::runtime::Mode;
    use half::f16;

    const SIDE: usize = 48;

    /// Four linear layers of INT8 codes, a scale a channel, with `tanh` behind each.
    fn layers() -> Function {
        let mut builder = Builder::new();
        let ty = TensorType::fixed(DataType::Float16, &[5, SIDE]);
        let mut x = builder.input("x", ty, Sizes::Fixed).unwrap();
        for layer in 0..4 {
            let code = |i: usize| ((i * 7919 + layer * 271) % 251) as i8 as u8;
            let codes: Vec<u8> = (0..SIDE * SIDE).map(code).collect();
            let scale = |n: usize| f16::from_f32(0.002 + n as f32 * 1.7e-5).to_le_bytes();
            let scales: Vec<u8> = (0..SIDE).flat_map(scale).collect();
            let storage = Storage::Linear {
                codes: Operand::new(DataType::Int8, &[SIDE, SIDE], codes),
                scale: Operand::new(DataType::Float16, &[SIDE, 1], scales),
                offset: None,
            };
            let weight = Weight { shape: vec![SIDE, SIDE], storage };
            let weight = builder.constant(&format!("w{layer}"), weight).unwrap();
            let arguments = [("x", x), ("weight", weight)];
            let y = builder.op("linear", &format!("y{layer}"), &arguments).unwrap();
            x = builder.op("tanh", &format!("t{layer}"), &[("x", y)]).unwrap();
        }
        builder.output(x, "");
        builder.finish()
    }

    /// The codes of channel `n`, one step away, or its scale, doubled.
    fn broken(value: &Value, n: usize, doubled: bool) -> Constant {
        let Some(Constant::Tensor(weight)) = &value.constant else { panic!("no weight") };
        let mut weight = weight.as_ref().clone();
        let Storage::Linear { codes, scale, .. } = &mut weight.storage else { panic!("no codes") };
        let operand = if doubled { scale } else { codes };
        let Data::Bytes(bytes) = &operand.data else { panic!("no bytes") };
        let mut bytes = bytes.to_vec();
        if doubled {
            // The exponent, one more.
            bytes[2 * n + 1] += 4;
        } else {
            let row = &mut bytes[n * SIDE..(n + 1) * SIDE];
            row.iter_mut().for_each(|code| *code = (*code as i8).saturating_add(1) as u8);
        }
        operand.data = Data::Bytes(bytes.into());
        weight.into()
    }

    #[test]
    fn one_wrong_channel_is_seen_and_a_right_backend_passes() {
        let right = layers();
        let inputs = Inputs::drawn("main", &right, None, 2).unwrap();
        let want = run(&right, &inputs, Engine::Reference, Mode::F32).unwrap();
        let judged = |function: &Function| {
            let got = run(function, &inputs, Engine::Cpu, Mode::F32).unwrap();
            let runs = [(&Engine::Reference, want.clone()), (&Engine::Cpu, got)];
            let mut found = Validation::new("p".into(), "drawn".into());
            found.agreement = checks("main", &right, &runs);
            assert_eq!(found.agreement[0].elements, 2 * 5 * SIDE as u64);
            found.judge(&Limits::default());
            (found.agreement[0].relative, found.failed)
        };
        let (relative, failed) = judged(&right);
        assert!(relative < 2e-6 && failed.is_empty(), "{relative} {failed:?}");
        for layer in 0..4 {
            for (n, doubled) in [(0, false), (17, true), (30, false), (47, true)] {
                let mut wrong = right.clone();
                let id = wrong.find(&format!("w{layer}")).unwrap();
                wrong.values[id.0].constant = Some(broken(right.value(id), n, doubled));
                let (relative, failed) = judged(&wrong);
                assert!(failed.len() == 1, "layer {layer}, channel {n}: {relative}");
            }
        }
    }
}
