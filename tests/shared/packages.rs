//! The packages that coremltools 9.0 made, read by our own readers.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use twolane::formats::mil::{
    BlobFileValue, Block, DataType, Immediate, Model, Value, ValueType, binding, immediate_value,
    tensor_value, value, value_type,
};
use twolane::formats::mlpackage::{MANIFEST_PATH, MODEL_PATH, Package, WEIGHT_BIN_PATH};
use twolane::formats::weight_blob::{Blob, Plan, Reader};

/// Every package in `dir` and in the folders of `dir`.
pub(crate) fn packages(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable entry").path().join("model.mlpackage"))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// Calls `visit` with every value in a program: attributes and bound literals, blocks included.
fn visit_values<'a>(model: &'a Model, visit: &mut dyn FnMut(&'a Value)) {
    let program = model.ml_program.as_ref().expect("an ML Program");
    for function in program.functions.values() {
        function.block_specializations.values().for_each(|block| visit_block(block, visit));
    }
}

fn visit_block<'a>(block: &'a Block, visit: &mut dyn FnMut(&'a Value)) {
    for op in &block.operations {
        op.attributes.values().for_each(|v| visit_value(v, visit));
        for binding in op.inputs.values().flat_map(|a| &a.arguments) {
            if let Some(binding::Binding::Value(v)) = &binding.binding {
                visit_value(v, visit);
            }
        }
        op.blocks.iter().for_each(|b| visit_block(b, visit));
    }
}

fn visit_value<'a>(value: &'a Value, visit: &mut dyn FnMut(&'a Value)) {
    visit(value);
    let Some(value::Value::Immediate(immediate)) = &value.value else { return };
    match immediate.value.as_ref().expect("a form") {
        immediate_value::Value::Tensor(_) => {}
        immediate_value::Value::Tuple(v) | immediate_value::Value::List(v) => {
            v.values.iter().for_each(|v| visit_value(v, visit));
        }
        immediate_value::Value::Dictionary(pairs) => {
            for pair in &pairs.values {
                pair.key.iter().chain(&pair.value).for_each(|v| visit_value(v, visit));
            }
        }
    }
}

/// An immediate tensor keeps as many values as its type says, in the member that the table names.
fn check_immediate(value: &Value) {
    let (Some(tensor), Some(values)) = (value.tensor_type(), value.as_tensor()) else { return };
    let dtype = tensor.dtype().expect("a known type");
    let elements = tensor.elements().expect("a fixed shape");
    let (member, len) = match values {
        tensor_value::Value::Floats(v) => (Immediate::Floats, v.values.len()),
        tensor_value::Value::Ints(v) => (Immediate::Ints, v.values.len()),
        tensor_value::Value::Bools(v) => (Immediate::Bools, v.values.len()),
        tensor_value::Value::Strings(v) => (Immediate::Strings, v.values.len()),
        tensor_value::Value::LongInts(v) => (Immediate::LongInts, v.values.len()),
        tensor_value::Value::Doubles(v) => (Immediate::Doubles, v.values.len()),
        tensor_value::Value::Bytes(v) => (Immediate::Bytes, v.values.len()),
    };
    assert_eq!(dtype.immediate(), Some(member), "{dtype:?}");
    let want = match member {
        Immediate::Bytes => dtype.byte_len(elements).expect("a width"),
        _ => elements,
    };
    assert_eq!(len as u64, want, "{dtype:?} {:?}", tensor.shape());
}

/// Reads one package in every way that we have; the number of blobs that its values name.
fn check_package(dir: &Path) -> usize {
    let package = Package::open(dir).expect("a sound package");
    let model = package.model().expect("an ML Program");
    let text = fs::read_to_string(dir.join(MANIFEST_PATH)).expect("the manifest");
    assert_eq!(package.manifest().to_json(), text, "the manifest's layout is coremltools'");

    // Nothing is lost and nothing is added: maps may be in another order, so the length tells.
    let stored = fs::read(dir.join(MODEL_PATH)).expect("the model");
    let written = model.to_bytes();
    assert_eq!(Model::parse(&written).expect("own bytes"), model);
    assert_eq!(written.len(), stored.len(), "a field is unknown to us, or written differently");
    let histogram = |bytes: &[u8]| {
        let mut counts = [0u32; 256];
        bytes.iter().for_each(|&b| counts[usize::from(b)] += 1);
        counts
    };
    assert_eq!(histogram(&written), histogram(&stored), "the same bytes, in any order of maps");

    let mut blobs: Vec<(&BlobFileValue, &ValueType)> = Vec::new();
    visit_values(&model, &mut |value| {
        let ty = value.r#type.as_ref().expect("every value is typed");
        check_immediate(value);
        if let Some(blob) = value.as_blob() {
            blobs.push((blob, ty));
        }
    });
    let Some((first, _)) = blobs.first() else { return 0 };
    let mut bytes = Vec::new();
    let mut file = package.open_blob_file(&first.file_name).expect("the blob file");
    file.read_to_end(&mut bytes).expect("a readable file");
    let reader = Reader::new(&bytes).expect("a sound header");
    let all = reader.walk().expect("sound blobs from end to end");
    for (place, ty) in &blobs {
        assert_eq!(place.file_name, first.file_name);
        let Some(value_type::Type::Tensor(tensor)) = &ty.r#type else { panic!("{ty:?} in a blob") };
        let blob = reader.get(place.offset).expect("a blob at every offset");
        assert_eq!(Some(blob.dtype), tensor.dtype(), "at {}", place.offset);
        assert_eq!(Some(blob.elements), tensor.elements(), "at {}", place.offset);
        assert!(all.contains(&blob), "the walk passes {}", place.offset);
    }
    check_plan(&all, &bytes);
    blobs.len()
}

/// Our plan of the same blobs is the same file, but for reserved bytes.
fn check_plan(blobs: &[Blob<'_>], bytes: &[u8]) {
    let mut plan = Plan::new();
    for blob in blobs {
        let entry = plan.add(blob.dtype, blob.elements).expect("a small file");
        assert_eq!(
            (entry.metadata_offset, entry.data_offset),
            (blob.metadata_offset, blob.data_offset)
        );
    }
    assert_eq!(plan.byte_len(), bytes.len() as u64);
    for (at, record) in plan.records() {
        let at = usize::try_from(at).expect("a small file");
        assert_eq!(record[..32], bytes[at..at + 32], "the record at {at}");
    }
}

#[test]
fn every_package_of_coremltools_reads_and_writes_back() {
    let Some(dir) = super::fixtures().map(|fixtures| fixtures.join("coreml")) else { return };
    let (plain, quantized) = (packages(&dir), packages(&dir.join("q")));
    assert_eq!((plain.len(), quantized.len()), (24, 74), "packages in {}", dir.display());
    let mut blobs = 0;
    for package in plain.iter().chain(&quantized) {
        println!("{}", package.display());
        blobs += check_package(package);
    }
    println!("{} packages, {blobs} blobs", plain.len() + quantized.len());
    assert!(blobs > 98, "most packages have several blobs");
}

#[test]
fn a_package_of_sub_byte_codes_has_sub_byte_blobs() {
    let Some(dir) = super::fixtures().map(|fixtures| fixtures.join("coreml")) else { return };
    #[rustfmt::skip]
    let cases = [
        ("mlp_ios18_pal1",           DataType::UInt1),
        ("mlp_ios18_pal2",           DataType::UInt2),
        ("mlp_ios18_pal3",           DataType::UInt3),
        ("mlp_ios18_pal4",           DataType::UInt4),
        ("mlp_ios18_pal6",           DataType::UInt6),
        ("mlp_ios18_lin4_sym_block", DataType::Int4),
        ("mlp_ios18_sparse50",       DataType::UInt1),
        ("mlp_ios16_pal4",           DataType::UInt8),
    ];
    for (name, dtype) in cases {
        let path = dir.join("q").join(name).join("model.mlpackage");
        let bytes = fs::read(path.join(WEIGHT_BIN_PATH)).expect(name);
        let blobs = Reader::new(&bytes).expect(name).walk().expect(name);
        assert!(blobs.iter().any(|b| b.dtype == dtype), "{name} has no {}", dtype.name());
    }
}
