//! The way from checkpoint to outputs, held against its promises: the same bytes on any number of
//! threads, sizes as planned, and the same values whichever output they are read from.

mod support;

use half::f16;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use support::{checkpoint, numbers, tree};
use twolane::Error;
use twolane::formats::metal_blob::{Reader, Values};
use twolane::formats::safetensors::Dtype;
use twolane::graph::weight::Weight;
use twolane::pipeline::prepare;
use twolane::plan::{Lanes, NonFinite, Options, Output, Rule};
use twolane::report::{Report, TensorReport};
use twolane::scheme::{Float, Scheme};
use twolane::source::Package;
use twolane::target::Target;

/// Every kind of parameter, and each of them in every grouping.
const SCHEMES: [&str; 24] = [
    "linear-int8",
    "linear-int8,tensor",
    "linear-int8,axis:1",
    "linear-int8,asymmetric",
    "linear-int8,block:16",
    "linear-int8,tensor,asymmetric",
    "linear-int4",
    "linear-int4,block:32",
    "linear-int4,block:16,asymmetric",
    "palette-8",
    "palette-6",
    "palette-4",
    "palette-3",
    "palette-2",
    "palette-1",
    "palette-4,group:8",
    "palette-4,group:8,axis:1",
    "palette-4,vector:2",
    "palette-3,vector:4,axis:1",
    "palette-4,lut-int8",
    "palette-4,channel-scale",
    "palette-6,group:4,lut-int8,channel-scale",
    "float16",
    "float32",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn options(scheme: &str) -> Options {
    Options {
        scheme: scheme.parse().unwrap(),
        outputs: Output::ALL.iter().copied().collect(),
        ..Options::default()
    }
}

/// A finished run in a folder of its own.
struct Run {
    dir: tempfile::TempDir,
    report: Report,
}

impl Run {
    fn new(input: &Path, options: &Options) -> twolane::Result<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { output: Some(dir.path().join("out")), ..options.clone() };
        let job = prepare(input, &options)?;
        let planned: BTreeMap<_, _> =
            job.plan().outputs.iter().map(|o| (o.path.clone(), o.bytes)).collect();
        let report = job.run(&())?;
        let run = Self { dir, report };
        let mut real = tree(&run.folder());
        let text = real.remove("report.json").expect("a report");
        assert_eq!(text, run.report.to_json().into_bytes());
        let real: BTreeMap<_, _> =
            real.into_iter().map(|(path, bytes)| (path, bytes.len() as u64)).collect();
        // A package without blobs still has their folder.
        let real: BTreeMap<_, _> =
            real.into_iter().filter(|(path, _)| !path.ends_with('/')).collect();
        assert_eq!(real, planned, "sizes");
        Ok(run)
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// The only file or folder of the output whose name ends so.
    fn find(&self, ending: &str) -> PathBuf {
        let entries = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let mut found = entries.filter(|path| path.to_string_lossy().ends_with(ending));
        let path = found.next().expect(ending);
        assert_eq!(found.next(), None);
        path
    }

    /// The dequantized file: type, shape and bytes of each tensor.
    fn dense(&self) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
        let file = fs::read(self.find(".dequantized.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let entry = |(name, view): (String, safetensors::tensor::TensorView)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        tensors.tensors().into_iter().map(entry).collect()
    }

    fn tensor(&self, name: &str) -> &TensorReport {
        self.report.tensors.iter().find(|t| t.name == name).expect(name)
    }

    /// The values of a tensor in the dequantized file, as FP32.
    fn values(&self, name: &str) -> Vec<f32> {
        let (dtype, _, bytes) = &self.dense()[name];
        values(*dtype, bytes)
    }
}

fn values(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        other => panic!("{other:?} holds no weights"),
    }
}

/// A file of its own for a made-up checkpoint.
fn input(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, checkpoint(tensors)).unwrap();
    (dir, path)
}

fn halves(n: usize, seed: u32) -> Vec<u8> {
    numbers(n, seed).flat_map(|v| f16::from_f32(v).to_le_bytes()).collect()
}

fn singles(n: usize, seed: u32) -> Vec<u8> {
    numbers(n, seed).flat_map(f32::to_le_bytes).collect()
}

fn brains(n: usize, seed: u32) -> Vec<u8> {
    numbers(n, seed).flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect()
}

#[test]
fn the_same_bytes_come_out_on_any_number_of_threads() {
    // Tensors of several pieces: the unit that threads share out.
    let (_kept, large) = input(&[
        ("tall.weight", Dtype::BF16, &[301, 1024], brains(301 * 1024, 1)),
        ("wide.weight", Dtype::F32, &[18, 19_998], singles(18 * 19_998, 2)),
        ("bias", Dtype::F16, &[301], halves(301, 3)),
    ]);
    let schemes = [
        "linear-int8",
        "linear-int8,axis:1",
        "linear-int4,block:16,asymmetric",
        "palette-4,group:8",
        "palette-4,vector:2",
        "palette-6,lut-int8,channel-scale",
    ];
    for input in [fixture("edges.safetensors"), fixture("digits-conv"), large] {
        for (scheme, &lanes) in schemes.iter().zip(Lanes::ALL.iter().cycle()) {
            let options = Options { lanes, sha256: true, ..options(scheme) };
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                tree(&pool.install(|| Run::new(&input, &options).unwrap()).folder())
            };
            let one = on(1);
            for threads in [2, 7] {
                for (path, bytes) in on(threads) {
                    assert!(bytes == one[&path], "{path} of {scheme} on {threads} threads");
                }
            }
        }
    }
}

/// Compares every tensor of the Metal blob with the dequantized file, bit by bit.
fn check_blob(run: &Run) {
    let file = fs::read(run.find(".metal").join("weights.safetensors")).unwrap();
    SafeTensors::deserialize(&file).expect("a safetensors file for everybody");
    let reader = Reader::open(&file).unwrap();
    let dense = run.dense();
    assert_eq!(reader.weights().len(), dense.len());
    for (i, weight) in reader.weights().iter().enumerate() {
        let (dtype, shape, bytes) = &dense[&weight.name];
        assert_eq!(&weight.shape, shape, "{}", weight.name);
        let got = match reader.values(i).unwrap() {
            Values::F16(values) => {
                assert_eq!(*dtype, Dtype::F16, "{}", weight.name);
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            Values::F32(values) => {
                assert_eq!(*dtype, Dtype::F32, "{}", weight.name);
                values.iter().flat_map(|v| v.to_le_bytes()).collect()
            }
            Values::Raw(bytes) => bytes.to_vec(),
        };
        assert!(got == *bytes, "{} as {:?}", weight.name, weight.encoding);
    }
}

/// Compares every constant of the package with the dequantized file, bit by bit; what is not there
/// has a note that says so.
fn check_package(run: &Run) {
    let package = Package::open(&run.find(".mlpackage")).unwrap();
    let weights = package.program.functions.values().flat_map(|function| function.weights());
    let weights: BTreeMap<&str, &Weight> =
        weights.map(|(value, weight)| (value.name.as_str(), weight)).collect();
    let names = &package.program.metadata.user;
    let identifiers: BTreeMap<&str, &str> =
        names.iter().map(|(identifier, name)| (name.as_str(), identifier.as_str())).collect();
    for (name, (dtype, _, bytes)) in run.dense() {
        let report = run.tensor(&name);
        let left = report.notes.iter().any(|note| note.starts_with("not in the .mlpackage: "));
        let Some(identifier) = identifiers.get(name.as_str()) else {
            assert!(left, "{name} is not in the package, and nothing says so: {:?}", report.notes);
            continue;
        };
        assert!(!left, "{name} is in the package");
        let got = match weights.get(identifier) {
            Some(weight) => weight.dequantize().unwrap(),
            // Before iOS 26 the channel scales are factors of their own.
            None => {
                let unscaled = weights[format!("{identifier}_unscaled").as_str()];
                let scale = weights[format!("{identifier}_channel_scale").as_str()];
                let (values, scale) = (unscaled.dequantize().unwrap(), scale.dequantize().unwrap());
                let row = values.len() / scale.len();
                let product = |(i, v): (usize, &f32)| f16::from_f32(v * scale[i / row]).to_f32();
                values.iter().enumerate().map(product).collect()
            }
        };
        let want = values(dtype, &bytes);
        let differ = got.iter().zip(&want).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!((differ, got.len()), (0, want.len()), "{name} as {:?}", report.scheme);
    }
}

#[test]
fn every_output_holds_the_same_values_at_the_planned_size() {
    for input in [fixture("edges.safetensors"), fixture("digits-conv")] {
        for scheme in SCHEMES {
            for (&lanes, target) in Lanes::ALL.iter().zip(Target::ALL) {
                let mut options = Options { lanes, target, min_elements: 1, ..options(scheme) };
                let run = match Run::new(&input, &options) {
                    Ok(run) => {
                        check_package(&run);
                        run
                    }
                    Err(Error::Usage(why)) => {
                        assert!(why.contains("--target"), "{scheme} for {target}: {why}");
                        // Golden vectors are of the package's functions.
                        options
                            .outputs
                            .retain(|output| !matches!(output, Output::Mlpackage | Output::Golden));
                        Run::new(&input, &options).unwrap()
                    }
                    Err(error) => panic!("{scheme} for {target}: {error}"),
                };
                check_blob(&run);
                let floats = matches!(options.scheme, Scheme::Float(_));
                assert_eq!(run.report.totals.quantized == 0, floats, "{scheme}");
            }
        }
    }
}

#[test]
fn packed_codes_of_vectors_do_not_overlap_where_pieces_meet() {
    // Several pieces, and an odd number of columns: eight rows of weights are two or four rows of
    // codes, whose bits fill no whole number of bytes.
    let (_kept, tall) = input(&[("tall.weight", Dtype::F16, &[65_536, 3], halves(65_536 * 3, 1))]);
    for scheme in ["palette-1,vector:4", "palette-3,vector:4", "palette-1,vector:2"] {
        let run = Run::new(&tall, &Options { lanes: Lanes::Row, ..options(scheme) }).unwrap();
        check_package(&run);
        check_blob(&run);
    }
}

#[test]
fn every_tensor_of_the_edges_has_an_outcome_that_is_said() {
    let schemes = [
        "linear-int8",
        "linear-int4,block:32",
        "palette-4",
        "palette-4,group:8",
        "palette-4,vector:2",
        "palette-4,lut-int8",
    ];
    let file = fs::read(fixture("edges.safetensors")).unwrap();
    let input = SafeTensors::deserialize(&file).unwrap();
    // What became of a tensor, unless it is what was asked for → under which schemes.
    let mut fates: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for scheme in schemes {
        let run = Run::new(&fixture("edges.safetensors"), &options(scheme)).unwrap();
        assert_eq!(run.report.tensors.len(), input.len());
        for name in input.names() {
            let tensor = run.tensor(name);
            let notes = tensor.notes.join("; ");
            assert!(tensor.error.is_some() || !notes.is_empty(), "{name} is left without a word");
            let dtype = run.dense()[name].0;
            let whole = !matches!(dtype, Dtype::F16 | Dtype::F32)
                || run.values(name).iter().all(|v| v.is_finite());
            assert!(whole, "{name} as {scheme}");
        }
        for t in &run.report.tensors {
            if t.notes.is_empty() && t.requested == Some(options(scheme).scheme) {
                assert_eq!(
                    t.scheme,
                    t.requested,
                    "{name} is something else without a word",
                    name = t.name
                );
                continue;
            }
            let stored = t.scheme.map_or("copied".into(), |scheme| scheme.to_string());
            let fate = format!("{} {stored} | {}", t.name, t.notes.join("; "));
            fates.entry(fate).or_default().push(scheme);
        }
        // The largest numbers of FP16 in one row of small ones.
        let rows = run.values("rows.weight");
        let [a, b] = [rows[6 * 172], rows[6 * 172 + 1]];
        assert!((a - 60000.0).abs() < 6000.0 && (b + 65504.0).abs() < 6000.0, "{scheme}: {a} {b}");
        if scheme.starts_with("linear") {
            assert!(rows[3 * 172..4 * 172].iter().all(|&v| v == 0.0), "a row of zeros stays one");
        }
    }
    let under = |(fate, under): (&String, &Vec<&str>)| match under.len() == schemes.len() {
        true => format!("all: {fate}\n"),
        false => format!("{}: {fate}\n", under.join(" ")),
    };
    let lines: String = fates.iter().map(under).collect();
    insta::assert_snapshot!(lines, @"
    linear-int4,block:32: brain.weight linear-int4,block:24 | block:32 does not divide 48 → block:24 (largest divisor ≥ 4)
    linear-int4,block:32: conv1d.weight linear-int4,block:24 | block:32 does not divide 24 → block:24 (largest divisor ≥ 4)
    all: conv2d.bias float16 | left in float16: rank 1: codes need rows and columns
    linear-int4,block:32: conv2d.weight linear-int4,block:16 | block:32 does not divide 16 → block:16 (largest divisor ≥ 4)
    linear-int4,block:32: conv3d.weight linear-int4,block:8 | block:32 does not divide 8 → block:8 (largest divisor ≥ 4)
    linear-int4,block:32: depthwise.weight linear-int4 | block:32 does not divide 1 → channel (no divisor ≥ 4)
    all: double copied | F64 is not F16, BF16 or F32: copied as it is; not in the .mlpackage: F64 is no type of a weight there
    all: empty.weight float16 | left in float16: it holds no elements; not in the .mlpackage: it is empty
    all: mask copied | BOOL is not F16, BF16 or F32: copied as it is; not in the .mlpackage: BOOL is no type of a weight there
    all: norm.weight float16 | left in float16: rank 1: codes need rows and columns; not in the .mlpackage: a tensor of rank 1 feeds no operation of its own
    linear-int4,block:32: odd.weight linear-int4,block:21 | block:32 does not divide 63 → block:21 (largest divisor ≥ 4)
    palette-4,group:8: odd.weight palette-4 | group:8 does not divide 51 → tensor (no divisor ≥ 4)
    palette-4,vector:2: odd.weight palette-4 | vector:2 does not divide 51 → single weights of 4 bits
    linear-int4,block:32: rank6.weight linear-int4,block:8 | block:32 does not divide 8 → block:8 (largest divisor ≥ 4); not in the .mlpackage: no operation takes a weight of rank 6
    linear-int8: rank6.weight linear-int8 | not in the .mlpackage: no operation takes a weight of rank 6
    palette-4: rank6.weight palette-4 | not in the .mlpackage: no operation takes a weight of rank 6
    palette-4,group:8: rank6.weight palette-4,group:8 | not in the .mlpackage: no operation takes a weight of rank 6
    palette-4,lut-int8: rank6.weight palette-4,lut-int8 | not in the .mlpackage: no operation takes a weight of rank 6
    palette-4,vector:2: rank6.weight palette-4,vector:2 | not in the .mlpackage: no operation takes a weight of rank 6
    linear-int4,block:32: rank8.weight linear-int4,block:8 | block:32 does not divide 8 → block:8 (largest divisor ≥ 4); not in the .mlpackage: no operation takes a weight of rank 8
    linear-int8: rank8.weight linear-int8 | not in the .mlpackage: no operation takes a weight of rank 8
    palette-4: rank8.weight palette-4 | not in the .mlpackage: no operation takes a weight of rank 8
    palette-4,group:8: rank8.weight palette-4,group:4 | group:8 does not divide 4 → group:4 (largest divisor ≥ 4); not in the .mlpackage: no operation takes a weight of rank 8
    palette-4,lut-int8: rank8.weight palette-4,lut-int8 | not in the .mlpackage: no operation takes a weight of rank 8
    palette-4,vector:2: rank8.weight palette-4,vector:2 | not in the .mlpackage: no operation takes a weight of rank 8
    all: rows.bias float16 | left in float16: rank 1: codes need rows and columns
    linear-int4,block:32: rows.weight linear-int4,block:4 | block:32 does not divide 172 → block:4 (largest divisor ≥ 4)
    all: scalar float16 | left in float16: rank 0: codes need rows and columns; not in the .mlpackage: a tensor of rank 0 feeds no operation of its own
    linear-int4,block:32: single.weight linear-int4,block:24 | block:32 does not divide 48 → block:24 (largest divisor ≥ 4)
    all: small.weight float16 | left in float16: 64 elements, fewer than 2048
    all: steps copied | I64 is not F16, BF16 or F32: copied as it is; not in the .mlpackage: I64 is no type of a weight there
    ");
}

/// A matrix of 64 × 64 in each type, with `value` at element 70 of the one called `bad`.
fn with_bad(dtype: Dtype, value: f32) -> (tempfile::TempDir, PathBuf) {
    let (mut bytes, width) = match dtype {
        Dtype::F16 => (halves(4096, 5), 2),
        Dtype::BF16 => (brains(4096, 5), 2),
        _ => (singles(4096, 5), 4),
    };
    // A second one behind the first, which must not be the one that is named.
    for at in [70, 4000] {
        let value = match dtype {
            Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        bytes[at * width..][..width].copy_from_slice(&value);
    }
    input(&[
        ("good.weight", Dtype::F16, &[64, 64], halves(4096, 6)),
        ("bad.weight", dtype, &[64, 64], bytes),
        ("last.weight", Dtype::F32, &[64, 64], singles(4096, 7)),
    ])
}

#[test]
fn a_weight_that_is_not_finite_is_named_and_leaves_nothing_behind() {
    for (dtype, value, shown) in [
        (Dtype::F16, f32::NAN, "NaN"),
        (Dtype::BF16, f32::INFINITY, "inf"),
        (Dtype::F32, f32::NEG_INFINITY, "-inf"),
    ] {
        let (dir, path) = with_bad(dtype, value);
        for scheme in SCHEMES {
            let out = dir.path().join("out");
            let options = Options { output: Some(out), target: Target::Ios26, ..options(scheme) };
            let error = prepare(&path, &options).unwrap().run(&()).unwrap_err();
            assert!(matches!(error, Error::Input { .. }), "{scheme}: {error:?}");
            let words = error.to_string();
            assert!(words.starts_with("tensor `bad.weight`, element 70: "), "{scheme}: {words}");
            assert!(words.contains(shown) && words.contains("--non-finite keep"), "{words}");
            assert_eq!(tree(dir.path()).len(), 1, "{scheme} leaves only the input");
        }
    }
}

#[test]
fn a_tensor_kept_with_its_infinities_is_float_says_so_and_changes_no_other() {
    for (dtype, value) in
        [(Dtype::F16, f32::NAN), (Dtype::BF16, f32::INFINITY), (Dtype::F32, f32::NAN)]
    {
        let (_kept, path) = with_bad(dtype, value);
        for scheme in ["linear-int8", "linear-int4,block:32", "palette-4,group:8", "float32"] {
            let options = Options { non_finite: NonFinite::Keep, ..options(scheme) };
            let run = Run::new(&path, &options).unwrap();
            let float = if scheme == "float32" { Float::F32 } else { Float::F16 };
            let tensor = run.tensor("bad.weight");
            assert_eq!(tensor.scheme, Some(Scheme::Float(float)));
            assert_eq!(tensor.requested, Some(options.scheme), "what was asked for is kept");
            let notes = tensor.notes.join("; ");
            assert!(notes.contains(&format!("element 70 is {value}")), "{notes}");
            let values = run.values("bad.weight");
            let bad: Vec<_> = (0..values.len()).filter(|&i| !values[i].is_finite()).collect();
            assert_eq!(bad, [70, 4000]);
            assert!(values[70].is_nan() == value.is_nan());
            check_blob(&run);
            for name in ["good.weight", "last.weight"] {
                assert_eq!(run.tensor(name).scheme, Some(options.scheme), "{name}");
                assert!(run.values(name).iter().all(|v| v.is_finite()));
            }
        }
    }
}

#[test]
fn numbers_beyond_half_precision_are_an_error_until_a_rule_keeps_them() {
    for dtype in [Dtype::BF16, Dtype::F32] {
        let (_kept, path) = with_bad(dtype, -70_000.0);
        for scheme in SCHEMES.iter().filter(|&&scheme| scheme != "float32") {
            for target in Target::ALL {
                let asked = Options { target, ..options(scheme) };
                let kept = Options {
                    rules: vec![Rule::parse("^bad.weight$=float32").unwrap()],
                    ..asked.clone()
                };
                let error = match Run::new(&path, &asked) {
                    Err(Error::Usage(_)) => continue, // A scheme that the target lacks.
                    Err(error) => error.to_string(),
                    Ok(_) => panic!("{scheme}"),
                };
                assert!(error.starts_with("tensor `bad.weight`, element 70: "), "{error}");
                assert!(error.contains("--rule '^bad.weight$=float32'"), "{error}");
                let run = Run::new(&path, &kept).unwrap();
                let stored: f32 = if dtype == Dtype::BF16 { -70_144.0 } else { -70_000.0 };
                assert_eq!(run.values("bad.weight")[70], stored);
                assert_eq!(run.tensor("bad.weight").scheme, Some(Scheme::Float(Float::F32)));
                check_blob(&run);
                check_package(&run);
            }
        }
    }
}

#[test]
fn numbers_beyond_half_precision_are_found_in_tensors_that_stay_float() {
    let (_kept, path) = input(&[
        ("fc.weight", Dtype::F16, &[64, 64], halves(4096, 1)),
        ("norm", Dtype::F32, &[3], [1.0, 65505.0, 1e9f32].map(f32::to_le_bytes).concat()),
        ("near", Dtype::F32, &[2], [65503.0f32, -65504.0].map(f32::to_le_bytes).concat()),
    ]);
    let error = Run::new(&path, &options("linear-int8")).err().unwrap().to_string();
    insta::assert_snapshot!(error, @"tensor `norm`, element 1: 65505 is beyond FP16's largest number, 65504; keep this tensor in FP32 with --rule '^norm$=float32', or a whole model, which has one type, with --scheme float32");
    let rules = vec![Rule::parse("norm=float32").unwrap()];
    let run = Run::new(&path, &Options { rules, ..options("linear-int8") }).unwrap();
    assert_eq!(run.values("norm"), [1.0, 65505.0, 1e9]);
    assert_eq!(run.values("near"), [65504.0, -65504.0], "rounded to FP16");
}

#[test]
fn every_file_that_was_read_is_hashed_the_index_too() {
    let dir = tempfile::tempdir().unwrap();
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-conv");
    let options = Options { output: Some(dir.path().join("out")), ..Options::default() };
    let report = prepare(&input, &options).unwrap().run(&()).unwrap();
    let listed: Vec<_> =
        report.inputs.iter().map(|f| (f.name.clone(), f.bytes, f.blake3.clone())).collect();
    let names = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ];
    let expected = names.map(|name| {
        let bytes = fs::read(input.join(name)).unwrap();
        (name.to_owned(), bytes.len() as u64, blake3::hash(&bytes).to_hex().to_string())
    });
    assert_eq!(listed, expected);
}
