//! The packages that coremltools 9.0 made, as programs: raised without a finding, lowered, and
//! raised again to the same.

use super::packages::packages;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
use twolane::formats::mlpackage::WEIGHTS_PATH;
use twolane::formats::mlpackage::{MANIFEST_PATH, MODEL_PATH, Manifest, WEIGHT_BIN_PATH};
use twolane::graph::weight::Data;
use twolane::graph::{Program, Sizes, ValueType, lower, raise};
use twolane::source::Package;
use twolane::target::Target;

fn all() -> Vec<PathBuf> {
    let Some(fixtures) = super::fixtures() else { return Vec::new() };
    let dir = fixtures.join("coreml");
    [packages(&dir), packages(&dir.join("q"))].concat()
}

/// Writes a program whose bytes are all known as a package.
fn write(program: &Program, target: Target, dir: &Path) {
    let lowered = lower(program, target).unwrap();
    let mut file = vec![0; lowered.plan.byte_len() as usize];
    let mut put = |at: u64, bytes: &[u8]| file[at as usize..][..bytes.len()].copy_from_slice(bytes);
    for (at, record) in lowered.plan.records() {
        put(at, &record);
    }
    for blob in &lowered.blobs {
        let Data::Bytes(bytes) = &blob.data else { panic!("bytes that come later") };
        put(blob.entry.data_offset, bytes);
    }
    fs::create_dir_all(dir.join(WEIGHTS_PATH)).unwrap();
    fs::write(dir.join(MANIFEST_PATH), Manifest::new(&[7; 32]).to_json()).unwrap();
    fs::write(dir.join(MODEL_PATH), lowered.model.to_bytes()).unwrap();
    if !lowered.plan.is_empty() {
        fs::write(dir.join(WEIGHT_BIN_PATH), file).unwrap();
    }
}

#[test]
fn every_package_is_raised_lowered_and_raised_to_the_same_program() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for path in all() {
        let first = Package::open(&path).unwrap();
        for function in first.program.functions.values() {
            assert_eq!(function.check(first.target), [], "{}", path.display());
        }
        let name = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let again = dir.path().join(format!("{name}.mlpackage"));
        write(&first.program, first.target, &again);
        let second = Package::open(&again).unwrap();
        assert_eq!(second.target, first.target, "{name}");
        assert!(
            second.program == first.program,
            "{name}:\n{:#?}\n{:#?}",
            first.program,
            second.program
        );
        written.push(again);
    }
    println!("{} packages written again", written.len());
    strict(&written);
}

/// Lets coremltools and the strict checker judge packages, where they are installed.
fn strict(packages: &[PathBuf]) {
    let Some(fixtures) = super::fixtures() else { return };
    let checker = fixtures.join("../tools/check_mlpackage.py");
    let python = env::var("TWOLANE_PYTHON").unwrap_or_else(|_| "python3".into());
    let import = Command::new(&python).args(["-c", "import coremltools"]).output();
    if !checker.is_file() || !import.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no coremltools, or there is no strict checker");
        return;
    }
    let output = Command::new(&python).arg(&checker).args(packages).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

#[test]
fn what_a_package_says_of_its_inputs_is_in_its_program() {
    let Some(fixtures) = super::fixtures() else { return };
    let open = |name: &str| Package::open(&fixtures.join("coreml").join(name)).unwrap();
    let ranged = open("mlp_rangedim_ios16").program;
    let [x] = &ranged.functions["main"].inputs[..] else { panic!("one input") };
    let Sizes::Ranges(ranges) = &x.sizes else { panic!("{:?}", x.sizes) };
    assert_eq!((ranges[0].low, ranges[0].high, ranges[1].low), (1, 64, 64));
    let listed = open("mlp_enumerated_ios16").program;
    let Sizes::Enumerated(shapes) = &listed.functions["main"].inputs[0].sizes else { panic!() };
    assert_eq!(shapes.len(), 3);
    let classifier = open("cnn_image_classifier_ios16").program;
    let main = &classifier.functions["main"];
    assert!(main.inputs[0].image.is_some());
    assert!(matches!(main.value(main.outputs[1].value).ty, ValueType::Scores(_)));
    let states = open("kv_fixed_ios18").program;
    let main = &states.functions["main"];
    let is_state = |ty: &ValueType| matches!(ty, ValueType::State(_));
    let count = main.inputs.iter().filter(|input| is_state(&main.value(input.value).ty)).count();
    assert_eq!(count, 4);
    let several = open("multifunction_ios18").program;
    assert_eq!(several.default_function, "prefill");
    assert_eq!(several.functions.len(), 2);
}

#[test]
fn a_package_that_is_cut_short_anywhere_is_an_error() {
    let Some(path) = all().into_iter().find(|path| path.to_string_lossy().contains("pal4_lut8"))
    else {
        return;
    };
    let blobs = fs::read(path.join(WEIGHT_BIN_PATH)).unwrap();
    let model = fs::read(path.join(MODEL_PATH)).unwrap();
    let model = twolane::formats::mil::Model::parse(&model).unwrap();
    let raised = |len: usize| {
        let bytes = twolane::graph::weight::Bytes::from(blobs[..len].to_vec());
        raise::program(&model, &mut |_| Ok(bytes.clone()))
    };
    assert!(raised(blobs.len()).is_ok());
    for len in (0..blobs.len()).filter(|len| len % 64 <= 1 || len % 97 == 0) {
        assert!(raised(len).is_err(), "{len} of {} bytes", blobs.len());
    }
}
