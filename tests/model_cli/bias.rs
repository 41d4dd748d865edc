//! Bias correction, on the command line.

use super::bench::Bench;
use super::calibrate::with_checkpoint;
use super::smooth::{constants, done};
use half::f16;
use std::collections::BTreeMap;
use twolane::calibrate::Calibration;
use twolane::source::Package;

/// The linear layers of a package by name: weight, bias and the name of what they read.
fn layers(bench: &Bench, folder: &str) -> BTreeMap<String, (Vec<f32>, Vec<f32>, String)> {
    let program = Package::open(&bench.path(folder)).unwrap().program;
    let function = program.functions.values().next().unwrap();
    let linear = function.operations.iter().filter(|operation| operation.row.name == "linear");
    let layer = linear.map(|operation| {
        let values = |param: &str| {
            let constant = function.value(operation.argument(param).unwrap()).constant.as_ref();
            constant.unwrap().as_weight().unwrap().dequantize().unwrap()
        };
        let input = function.value(operation.argument("x").unwrap()).name.clone();
        (operation.name.clone(), (values("weight"), values("bias"), input))
    });
    layer.collect()
}

#[test]
fn biases_take_what_rounding_adds_on_the_mean_input() {
    let bench = with_checkpoint();
    done(&bench, &["calibrate", "q", "text.txt", "-o", "counts"]);
    let int4 = ["q", "-s", "linear-int4", "--min-elements", "1"];
    let given = ["--bias-correction", "--calibration"];
    done(&bench, &[&int4[..], &["-o", "plain"]].concat());
    done(&bench, &[&int4[..], &given, &["counts", "-o", "corrected"]].concat());
    // Counted at once, it is the same.
    done(&bench, &[&int4[..], &given, &["text.txt", "-o", "at-once"]].concat());
    assert_eq!(constants(&bench, "at-once"), constants(&bench, "corrected"));

    let counts = Calibration::read(&bench.path("counts")).unwrap();
    let [exact, plain, corrected] = ["q", "plain", "corrected"].map(|name| layers(&bench, name));
    assert!(!exact.is_empty());
    let mut changed = 0;
    for (name, (weight, bias, input)) in &exact {
        let (sums, numbers) = counts.values[input].statistics.sums().unwrap();
        let means: Vec<f64> = sums.iter().map(|sum| sum / numbers).collect();
        let (rounded, kept, _) = &plain[name];
        assert_eq!(kept, bias);
        let rows = weight.chunks(means.len()).zip(rounded.chunks(means.len()));
        let shift = rows.map(|(w, q)| {
            let terms = w.iter().zip(q).zip(&means);
            terms.map(|((w, q), mean)| (f64::from(*w) - f64::from(*q)) * mean).sum::<f64>()
        });
        let expected = bias.iter().zip(shift);
        let expected: Vec<f32> = expected
            .map(|(b, shift)| f16::from_f32((f64::from(*b) + shift) as f32).to_f32())
            .collect();
        assert_eq!(corrected[name].0, *rounded, "{name}");
        assert_eq!(corrected[name].1, expected, "{name}");
        changed += expected.iter().zip(bias).filter(|(a, b)| a != b).count();
    }
    assert!(changed > 100, "{changed}");
    // What no weight is rounded for stays.
    let float = ["q", "-s", "float16", "--rule", "layer_1_.*weight=linear-int8", "-o", "one"];
    done(&bench, &[&float[..], &given, &["counts"]].concat());
    let one = layers(&bench, "one");
    let differs = |name: &&String| one[*name].1 != exact[*name].1;
    let differing: Vec<&String> = exact.keys().filter(differs).collect();
    assert!(!differing.is_empty());
    assert!(differing.iter().all(|name| name.starts_with("layers_1")), "{differing:?}");
}

#[test]
fn without_a_bias_to_correct_it_is_refused() {
    let bench = with_checkpoint();
    done(&bench, &["calibrate", "q", "text.txt", "-o", "counts"]);
    for (words, told) in [
        (&["model", "--bias-correction"][..], "--calibration <DATA>"),
        (
            &["model", "-s", "float16", "--bias-correction", "--calibration", "counts"],
            "has both a weight that is quantized and a bias",
        ),
    ] {
        let said = bench.run(&[words, &["-o", "out"]].concat());
        assert_eq!(said.code, 2, "{words:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
    }
}
