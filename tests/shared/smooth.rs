//! Columns made alike: the model computes the same bits.

use twolane::execute::Inputs;
use twolane::pipeline::prepare;
use twolane::plan::{Options, Output};
use twolane::runtime::{Reference, Tensor, Tensors};
use twolane::smooth::Smooth;
use twolane::source::Package;

/// What the package's `main` makes of drawn inputs.
fn outputs(package: &Package) -> Vec<Tensor> {
    let main = &package.program.functions["main"];
    let inputs = Inputs::drawn("main", main, None, 1).unwrap();
    let mut states = Tensors::new();
    let found = Reference::default()
        .evaluate(main, &inputs.steps[0], &mut states, &mut |_| Ok(()))
        .unwrap();
    found.into_values().collect()
}

#[test]
fn equalized_networks_compute_the_same_bits() {
    let Some(fixtures) = super::fixtures() else { return };
    // Rows and columns of the last two are alike within a factor of 2.
    for (name, changes) in [
        ("resnet20_ios16_f32", true),
        ("mlp_ios16_f32", true),
        ("cnn_ios16_f32", false),
        ("convbn_ios16_f32", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let given = fixtures.join("coreml").join(name).join("model.mlpackage");
        let out = folder.path().join("out");
        let options = Options {
            scheme: "float32".parse().unwrap(),
            smooth: Some(Smooth::Equalized),
            outputs: [Output::Mlpackage].into(),
            output: Some(out.clone()),
            ..Options::default()
        };
        let job = prepare(&given, &options).unwrap();
        let report = job.run(&()).unwrap();
        assert_eq!(!job.plan().smoothing.is_empty(), changes, "{name}");
        let warned = report.warnings.iter().any(|told| told.contains("nothing is scaled"));
        assert_eq!(warned, !changes, "{name}");
        let [before, after] = [&given, &out].map(|path| Package::open(path).unwrap());
        assert!(outputs(&before) == outputs(&after), "{name}");
    }
}
