//! Every package of `fixtures/coreml`, evaluated: outputs and states against the networks that they
//! came from, on every backend.

use half::f16;
use ndarray::{ArrayD, Axis, IxDyn};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use twolane::graph::weight::{Operand, Storage, Weight};
use twolane::graph::{Constant, DataType, Function};
use twolane::runtime::{
    Backend, Cpu, Data, Label, Mode, Prepared, Reference, Shapes, Tensor, Tensors,
};
use twolane::source::Package;

/// Who evaluates, what its outputs are compared with, and how near they must be: largest difference
/// over largest magnitude. The reference's own bounds are those of `fixtures/README.md`, "Agreement";
/// another backend may add its bound.
struct Suite {
    backend: Box<dyn Backend>,
    /// What sums in another order than the definition may add.
    more: f32,
    /// The tag of FP16 packages: `w16` for the mathematics, `f16` for FP16 arithmetic.
    tag: &'static str,
}

impl Suite {
    /// The tag of the expected outputs of a package, and the bound.
    fn bound(&self, package: &str) -> (&'static str, f32) {
        let (tag, bound) = match package {
            _ if package.starts_with("q/") => ("dq", 1e-6),
            _ if package.ends_with("_f32") => ("f32", 2e-6),
            // Rounding elsewhere than torch does: neither is nearer to the mathematics.
            _ if self.tag == "f16" && package.starts_with("resnet20") => ("f16", 3.6e-3),
            _ if self.tag == "f16" && package.starts_with("kv_range") => ("f16", 1.3e-3),
            _ if self.tag == "f16" => ("f16", 1.05e-3),
            // Batch norm was folded into the weights before they were rounded.
            "cnn_image_classifier_ios16" => ("f32", 8e-4),
            _ if package.starts_with("cnn") => ("w16", 8e-4),
            _ if package.starts_with("convbn") => ("w16", 3.2e-5),
            _ if package.starts_with("resnet20") => ("w16", 2.51e-3),
            _ => ("w16", 1e-6),
        };
        (tag, bound + self.more)
    }
}

/// The stored arrays of a case.
struct Arrays<'a>(SafeTensors<'a>);

impl Arrays<'_> {
    fn floats(&self, key: &str) -> ArrayD<f32> {
        let view = self.0.tensor(key).unwrap_or_else(|_| panic!("no {key}"));
        ArrayD::from_shape_vec(IxDyn(view.shape()), floats(&view)).unwrap()
    }

    /// The tensors whose keys start with `prefix`, by the rest of the key, as the function takes them.
    fn inputs(&self, prefix: &str, function: &Function) -> Tensors {
        let names = self.0.names();
        let names = names.iter().filter_map(|key| key.strip_prefix(prefix));
        let input = |name: &str| {
            let value = function.value(function.find(name).unwrap());
            let ty = value.ty.tensor().unwrap();
            let array = self.floats(&format!("{prefix}{name}"));
            let tensor = match ty.dtype {
                DataType::Int32 => Tensor::int(ty.dtype, array.mapv(|x| x as i32)),
                dtype => Tensor::float(dtype, array),
            };
            (name.to_owned(), tensor)
        };
        names.map(input).collect()
    }

    /// The names between `prefix` and a tag.
    fn outputs(&self, prefix: &str, tag: &str) -> Vec<String> {
        let names = self.0.names();
        let name = |key: &&str| {
            Some(key.strip_prefix(prefix)?.strip_suffix(tag)?.strip_suffix('.')?.to_owned())
        };
        names.iter().filter_map(name).collect()
    }
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => {
            bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
        Dtype::I32 => {
            bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b) as f32).collect()
        }
        Dtype::I64 => {
            bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect()
        }
        Dtype::U8 => bytes.iter().map(|&b| b.into()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Largest difference over largest magnitude.
fn off(got: &Tensor, want: &ArrayD<f32>) -> f32 {
    let numbers: Vec<f32> = match &got.data {
        Data::Float(array) => array.iter().copied().collect(),
        Data::Scores(scores) => scores.iter().map(|(_, score)| *score as f32).collect(),
        _ => panic!("{} is not of numbers", got.ty()),
    };
    assert_eq!(numbers.len(), want.len());
    let largest = want.iter().fold(0_f32, |top, x| top.max(x.abs()));
    let difference = numbers.iter().zip(want).map(|(got, want)| (got - want).abs());
    // Unlike `f32::max`, this keeps a NaN.
    difference.fold(0.0, |top, d| if d > top || d.is_nan() { d } else { top }) / largest
}

/// Packages by name: `mlp_ios16_f16`, `q/mlp_ios16_pal4`.
fn packages(fixtures: &Path) -> Vec<String> {
    let folders = |dir: &Path, prefix: &str| {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let packages = entries.filter(|entry| entry.path().join("model.mlpackage").is_dir());
        packages
            .map(|entry| format!("{prefix}{}", entry.file_name().to_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let coreml = fixtures.join("coreml");
    let mut names = folders(&coreml, "");
    names.extend(folders(&coreml.join("q"), "q/"));
    names.sort();
    assert_eq!(names.len(), 24 + 74);
    names
}

/// The largest error over all functions, steps, outputs and final states of a package.
fn evaluate(suite: &Suite, dir: &Path, tag: &str) -> f32 {
    let package = Package::open(&dir.join("model.mlpackage")).unwrap_or_else(|e| panic!("{e}"));
    let file = fs::read(dir.join("io.safetensors")).unwrap();
    let arrays = Arrays(SafeTensors::deserialize(&file).unwrap());
    let functions = &package.program.functions;
    let mut worst = 0_f32;
    for (name, function) in functions {
        // Those outputs are of weights that coremltools decompressed, and so rounded to FP16.
        let function = &if tag == "dq" { decompressed(function) } else { function.clone() };
        let own = if functions.len() > 1 { format!("{name}.") } else { String::new() };
        let mut states = Tensors::new();
        let mut steps: Vec<String> = (0..)
            .map(|i| format!("step{i}."))
            .take_while(|step| !arrays.inputs(&format!("{step}in."), function).is_empty())
            .collect();
        let stateful = !steps.is_empty();
        if !stateful {
            steps.push(own);
        }
        for step in &steps {
            let inputs = arrays.inputs(&format!("{step}in."), function);
            let shapes =
                inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec()));
            let shapes: Shapes = shapes.collect();
            let mut ready = prepare(suite, function, &shapes);
            let mut outputs = Tensors::new();
            ready.run(&inputs, &mut states, &mut outputs).unwrap_or_else(|e| panic!("{e}"));
            let wanted = arrays.outputs(&format!("{step}out."), tag);
            assert!(!wanted.is_empty(), "nothing to compare with under {tag}");
            for output in wanted {
                let want = arrays.floats(&format!("{step}out.{output}.{tag}"));
                let got = outputs.get(&output).or_else(|| {
                    outputs
                        .values()
                        .find(|t| t.shape() == want.shape() || matches!(t.data, Data::Scores(_)))
                });
                worst = larger(worst, off(got.expect(&output), &want));
            }
        }
        for (name, state) in &states {
            worst = larger(worst, off(state, &arrays.floats(&format!("final.{name}.{tag}"))));
        }
        assert_eq!(stateful, !states.is_empty());
    }
    worst
}

/// The function with plain weights: what the compressed ones are declared to stand for.
fn decompressed(function: &Function) -> Function {
    let mut plain = function.clone();
    for value in &mut plain.values {
        if let Some(Constant::Tensor(weight)) = &value.constant
            && !matches!(weight.storage, Storage::Dense(_))
        {
            let values = weight.dequantize().unwrap();
            let bytes: Vec<u8> = match weight.storage.dtype() {
                DataType::Float16 => {
                    values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
                }
                _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
            let dense = Operand::new(weight.storage.dtype(), &weight.shape, bytes);
            value.constant = Some(Weight::dense(dense).into());
        }
    }
    plain
}

fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

fn prepare(suite: &Suite, function: &Function, shapes: &Shapes) -> Box<dyn Prepared> {
    suite.backend.prepare(function, shapes).unwrap_or_else(|e| panic!("{e}"))
}

/// Every package within its bound; the table of errors is printed.
fn agrees(suite: &Suite) {
    let Some(fixtures) = super::fixtures() else { return };
    let mut failures = vec![];
    for name in packages(&fixtures) {
        if suite.tag == "f16"
            && (name.starts_with("q/") || name.ends_with("_f32") || name.contains("classifier"))
        {
            continue;
        }
        let (tag, bound) = suite.bound(&name);
        let error = evaluate(suite, &fixtures.join("coreml").join(&name), tag);
        let line =
            format!("{:10} {name:36} {tag:4} {error:.1e} of {bound:.1e}", suite.backend.name());
        println!("{line}");
        // A NaN is no agreement either.
        if error.is_nan() || error > bound {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_reference_is_the_mathematics_of_every_package() {
    agrees(&Suite { backend: Box::new(Reference::default()), more: 0.0, tag: "w16" });
}

#[test]
fn the_cpu_gives_the_same_numbers() {
    agrees(&Suite { backend: Box::new(Cpu), more: 1e-5, tag: "w16" });
}

#[test]
fn rounded_at_each_edge_it_is_near_to_fp16_arithmetic() {
    let reference = Reference { mode: Mode::F16 };
    agrees(&Suite { backend: Box::new(reference), more: 0.0, tag: "f16" });
}

#[test]
fn compressed_weights_are_multiplied_as_the_reference_multiplies_them() {
    let Some(fixtures) = super::fixtures() else { return };
    let mut worst = 0_f32;
    for name in packages(&fixtures).into_iter().filter(|name| name.starts_with("q/")) {
        let dir = fixtures.join("coreml").join(&name);
        let package = Package::open(&dir.join("model.mlpackage")).unwrap();
        let file = fs::read(dir.join("io.safetensors")).unwrap();
        let arrays = Arrays(SafeTensors::deserialize(&file).unwrap());
        let function = &package.program.functions["main"];
        let inputs = arrays.inputs("in.", function);
        let of = |backend: &dyn Backend| {
            let mut ready = backend.prepare(function, &Shapes::new()).unwrap();
            let mut outputs = Tensors::new();
            ready.run(&inputs, &mut Tensors::new(), &mut outputs).unwrap();
            outputs["logits"].clone()
        };
        let error = off(&of(&Cpu), of(&Reference::default()).as_float().unwrap());
        assert!(error < 3e-6, "{name}: {error}");
        worst = larger(worst, error);
    }
    println!("worst {worst:.1e}");
}

#[test]
fn every_compressed_digits_net_names_as_many_digits_as_coremltools_counted() {
    let Some(fixtures) = super::fixtures() else { return };
    let file = fs::read(fixtures.join("digits/test.safetensors")).unwrap();
    let arrays = Arrays(SafeTensors::deserialize(&file).unwrap());
    let images = arrays.floats("images").mapv(|pixel| pixel / 16.0);
    let labels = arrays.floats("labels");
    for name in packages(&fixtures).into_iter().filter(|name| name.starts_with("q/")) {
        let dir = fixtures.join("coreml").join(&name);
        let meta: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.join("meta.json")).unwrap()).unwrap();
        let package = Package::open(&dir.join("model.mlpackage")).unwrap();
        let function = &package.program.functions["main"];
        let ty = function.value(function.inputs[0].value).ty.tensor().unwrap();
        let shape = ty.shape().unwrap();
        let correct = correct(function, ty.dtype, &shape, &images, &labels);
        assert_eq!(meta["correct_of_360"], correct, "{name}");
    }
}

/// How many images the function names rightly, a batch of its own size at a time.
fn correct(
    function: &Function,
    dtype: DataType,
    shape: &[usize],
    images: &ArrayD<f32>,
    labels: &ArrayD<f32>,
) -> usize {
    let mut ready = Reference::default().prepare(function, &Shapes::new()).unwrap();
    let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
    let batch = shape[0];
    let mut correct = 0;
    for (images, labels) in
        images.axis_chunks_iter(Axis(0), batch).zip(labels.axis_chunks_iter(Axis(0), batch))
    {
        let mut pixels: Vec<f32> = images.iter().copied().collect();
        pixels.resize(shape.iter().product(), 0.0);
        let x = Tensor::float(dtype, ArrayD::from_shape_vec(IxDyn(shape), pixels).unwrap());
        let inputs = BTreeMap::from([("x".to_owned(), x)]);
        ready.run(&inputs, &mut states, &mut outputs).unwrap();
        let logits = outputs["logits"].as_float().unwrap();
        for (row, &label) in logits.outer_iter().zip(&labels) {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            correct += usize::from(best as f32 == label);
        }
    }
    correct
}

#[test]
fn the_image_classifier_names_the_digit() {
    let Some(fixtures) = super::fixtures() else { return };
    let dir = fixtures.join("coreml/cnn_image_classifier_ios16");
    let package = Package::open(&dir.join("model.mlpackage")).unwrap();
    let file = fs::read(dir.join("io.safetensors")).unwrap();
    let arrays = Arrays(SafeTensors::deserialize(&file).unwrap());
    let function = &package.program.functions["main"];
    let inputs = arrays.inputs("in.", function);
    let mut states = Tensors::new();
    let outputs =
        Reference::default().evaluate(function, &inputs, &mut states, &mut |_| Ok(())).unwrap();
    let probabilities = arrays.floats("out.probs.f32");
    let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    let said = outputs.values().find_map(|tensor| match &tensor.data {
        Data::Label(label) => Some(label.clone()),
        _ => None,
    });
    assert_eq!(said, Some(Label::Text(best.to_string())));
}
