//! A package for each operation against torch and numpy: see `fixtures/ops/README.md`.

use ndarray::{ArrayD, IxDyn};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use twolane::formats::mlpackage::{
    MANIFEST_PATH, MODEL_PATH, Manifest, WEIGHT_BIN_PATH, WEIGHTS_PATH,
};
use twolane::graph::{Function, ops};
use twolane::runtime::{Backend, Cpu, Data, Label, Reference, Shapes, Tensor, Tensors};
use twolane::source::Package;

/// Largest difference over largest magnitude, where a case does not name its own: sums of at most a
/// few hundred products in f32, or one function of the math library.
const TOLERANCE: f64 = 2e-6;

/// What an output should be.
#[derive(Clone, Debug, PartialEq)]
enum Numbers {
    Floats(Vec<f32>),
    Ints(Vec<i32>),
}

/// A stored array.
type Array = (Vec<usize>, Numbers);

/// One step of a case: inputs and outputs by name.
#[derive(Default)]
struct Step {
    inputs: BTreeMap<String, Array>,
    outputs: BTreeMap<String, Array>,
}

/// A case: the package's files, and its steps in order.
struct Case {
    model: Vec<u8>,
    weights: Option<Vec<u8>>,
    steps: BTreeMap<String, Step>,
    tolerance: f64,
}

/// All cases by name.
fn cases() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ops");
    let packages = fs::read(folder.join("packages.safetensors")).unwrap();
    let expected = fs::read(folder.join("expected.safetensors")).unwrap();
    let notes = SafeTensors::read_metadata(&expected).unwrap().1.metadata().clone().unwrap();
    let tolerances: BTreeMap<String, f64> = serde_json::from_str(&notes["tolerances"]).unwrap();
    let mut cases = BTreeMap::new();
    let packages = SafeTensors::deserialize(&packages).unwrap();
    for key in packages.names() {
        let Some(name) = key.strip_suffix("/model.mlmodel") else { continue };
        let file = |part: &str| packages.tensor(&format!("{name}/{part}")).ok();
        let case = Case {
            model: file("model.mlmodel").unwrap().data().to_vec(),
            weights: file("weight.bin").map(|view| view.data().to_vec()),
            steps: BTreeMap::new(),
            tolerance: tolerances.get(name).copied().unwrap_or(TOLERANCE),
        };
        cases.insert(name.to_owned(), case);
    }
    for (key, view) in SafeTensors::deserialize(&expected).unwrap().tensors() {
        let (name, place) = key.split_once('/').unwrap();
        let (step, place) = match place.split_once('.').unwrap() {
            (step, rest) if step.starts_with("step") => (step, rest),
            _ => ("", place),
        };
        let words = view.data().as_chunks::<4>().0.iter();
        let numbers = match view.dtype() {
            safetensors::Dtype::F32 => {
                Numbers::Floats(words.map(|b| f32::from_le_bytes(*b)).collect())
            }
            safetensors::Dtype::I32 => {
                Numbers::Ints(words.map(|b| i32::from_le_bytes(*b)).collect())
            }
            other => panic!("{key} is {other:?}"),
        };
        let array = (view.shape().to_vec(), numbers);
        let step = cases.get_mut(name).unwrap().steps.entry(step.to_owned()).or_default();
        match place.split_once('.').unwrap() {
            ("in", input) => step.inputs.insert(input.into(), array),
            ("out", output) => step.outputs.insert(output.into(), array),
            _ => panic!("{key} is neither input nor output"),
        };
    }
    cases
}

/// Cases by name, each with its package or why that cannot be opened.
type Opened = BTreeMap<String, (Case, Result<Package, String>)>;

/// Every case with its package.
///
/// All are written into one folder, one after the other: the model is read when a package is opened,
/// and a blob file stays mapped after it is removed.
fn opened() -> &'static Opened {
    static OPENED: OnceLock<Opened> = OnceLock::new();
    OPENED.get_or_init(|| {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("case.mlpackage");
        fs::create_dir_all(dir.join(WEIGHTS_PATH)).unwrap();
        fs::write(dir.join(MANIFEST_PATH), Manifest::new(&[0; 32]).to_json()).unwrap();
        let open = |case: &Case| {
            fs::write(dir.join(MODEL_PATH), &case.model).unwrap();
            if let Some(weights) = &case.weights {
                fs::write(dir.join(WEIGHT_BIN_PATH), weights).unwrap();
            }
            let package = Package::open(&dir).map_err(|error| error.to_string());
            if case.weights.is_some() {
                fs::remove_file(dir.join(WEIGHT_BIN_PATH)).unwrap();
            }
            package
        };
        let with_package = |(name, case)| {
            let package = open(&case);
            (name, (case, package))
        };
        cases().into_iter().map(with_package).collect()
    })
}

impl Case {
    /// Runs all steps; the first thing that is wrong.
    fn run(&self, backend: &dyn Backend, function: &Function) -> Result<(), String> {
        let mut ready =
            backend.prepare(function, &Shapes::new()).map_err(|error| error.to_string())?;
        let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
        for step in self.steps.values() {
            let inputs =
                step.inputs.iter().map(|(name, array)| (name.clone(), feed(function, name, array)));
            ready
                .run(&inputs.collect(), &mut states, &mut outputs)
                .map_err(|error| error.to_string())?;
            for (name, want) in &step.outputs {
                if outputs.contains_key("classLabel") {
                    classified(&outputs, want, self.tolerance)?;
                    continue;
                }
                let got = outputs.get(name).ok_or_else(|| format!("no output `{name}`"))?;
                same(got, want, self.tolerance).map_err(|why| format!("{name}: {why}"))?;
            }
        }
        Ok(())
    }
}

/// The stored array as the input of this name.
fn feed(function: &Function, name: &str, (shape, numbers): &Array) -> Tensor {
    let ty = function.value(function.find(name).unwrap()).ty.tensor().unwrap();
    match numbers.clone() {
        Numbers::Floats(v) => {
            Tensor::float(ty.dtype, ArrayD::from_shape_vec(IxDyn(shape), v).unwrap())
        }
        Numbers::Ints(v) => Tensor::int(ty.dtype, ArrayD::from_shape_vec(IxDyn(shape), v).unwrap()),
    }
}

/// Whether a result is what it should be: integers exactly, numbers within the tolerance.
fn same(got: &Tensor, (shape, want): &Array, tolerance: f64) -> Result<(), String> {
    if got.shape() != shape {
        return Err(format!("is {:?} and should be {shape:?}", got.shape()));
    }
    match (&got.data, want) {
        (Data::Int(got), Numbers::Ints(want)) => match got.iter().eq(want) {
            true => Ok(()),
            false => Err(format!("is {got} and should be {want:?}")),
        },
        (Data::Float(got), Numbers::Floats(want)) => close(got.iter().copied(), want, tolerance),
        _ => Err(format!("is {} and should be {want:?}", got.ty())),
    }
}

fn close(got: impl Iterator<Item = f32>, want: &[f32], tolerance: f64) -> Result<(), String> {
    let got: Vec<f32> = got.collect();
    let finite = want.iter().filter(|x| x.is_finite()).map(|x| f64::from(x.abs()));
    let largest = finite.fold(0.0, f64::max);
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let equal = g == w || (g.is_nan() && w.is_nan());
        let off = (f64::from(g) - f64::from(w)).abs() / largest.max(f64::MIN_POSITIVE);
        if !equal && (off.is_nan() || off > tolerance) {
            let head = |v: &[f32]| format!("{:?}", &v[..v.len().min(12)]);
            return Err(format!(
                "[{i}] is {g}, should be {w} ({off:.1e} off): {} for {}",
                head(&got),
                head(want)
            ));
        }
    }
    Ok(())
}

/// A classifier's two outputs against the share of each of its labels.
fn classified(outputs: &Tensors, (_, want): &Array, tolerance: f64) -> Result<(), String> {
    let (Numbers::Floats(want), Data::Scores(scores)) = (want, &outputs["classLabel_probs"].data)
    else {
        return Err("there are no scores".into());
    };
    let labels: Vec<&Label> = scores.iter().map(|(label, _)| label).collect();
    let texts = ["cat", "dog", "eel"].map(|text| Label::Text(text.into()));
    let numbers = [7, 3, 5].map(Label::Int);
    if labels != texts.iter().collect::<Vec<_>>() && labels != numbers.iter().collect::<Vec<_>>() {
        return Err(format!("the labels are {labels:?}"));
    }
    let best = (0..want.len()).max_by(|&a, &b| want[a].total_cmp(&want[b])).unwrap();
    if outputs["classLabel"].data != Data::Label(labels[best].clone()) {
        return Err(format!("says {:?}, should be {:?}", outputs["classLabel"].data, labels[best]));
    }
    close(scores.iter().map(|(_, score)| *score as f32), want, tolerance)
}

/// Evaluates every case, then says all that is wrong.
fn agrees(backend: &dyn Backend) {
    let mut failures = Vec::new();
    for (name, (case, package)) in opened() {
        let run = |package: &Package| {
            let function = &package.program.functions["main"];
            let caught = catch_unwind(AssertUnwindSafe(|| case.run(backend, function)));
            caught.unwrap_or_else(|_| Err("panics, as told above".into()))
        };
        if let Err(why) = package.as_ref().map_err(String::clone).and_then(run) {
            failures.push(format!("{name}: {why}"));
        }
    }
    let cases = opened().len();
    println!("{}: {} of {cases} cases agree", backend.name(), cases - failures.len());
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(cases > 500, "only {cases} cases");
}

#[test]
fn the_reference_gives_what_torch_and_numpy_give() {
    agrees(&Reference::default());
}

#[test]
fn the_cpu_gives_what_torch_and_numpy_give() {
    agrees(&Cpu);
}

#[test]
fn every_operation_of_the_table_has_a_case() {
    let mut met = BTreeSet::new();
    for (name, (_, package)) in opened() {
        let package = package.as_ref().unwrap_or_else(|why| panic!("{name}: {why}"));
        let operations = &package.program.functions["main"].operations;
        met.extend(operations.iter().map(|operation| operation.row.name));
    }
    let without: Vec<_> =
        ops::rows().map(|row| row.name).filter(|name| !met.contains(name)).collect();
    assert!(without.is_empty(), "no case has {without:?}");
}
