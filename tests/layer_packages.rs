//! Layer packages of every scheme for every target: read back by our own reader as they were planned,
//! and judged from outside.
//!
//! From outside: `check_mlpackage.py` walks each package through coremltools' own loader, and
//! decompresses its weights to exactly ours. The script lies beside the repository, in
//! `../shared/tools` or under the folder that `TWOLANE_SHARED` names; `TWOLANE_PYTHON` names a Python
//! that has coremltools. Without either that test says so and passes.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, process::Command};
use twolane::formats::half::f16;
use twolane::formats::mil::{self, Model};
use twolane::formats::mlpackage::{MANIFEST_PATH, MODEL_PATH, Manifest, WEIGHT_BIN_PATH};
use twolane::graph::lower::supports;
use twolane::graph::weight::{Bytes, Data, Operand, Slot, Storage, Weight};
use twolane::graph::{Constant, DataType, Function, Value, lower, raise};
use twolane::model::{Layer, Options, layer_package};
use twolane::scheme::Scheme;
use twolane::source::Package;
use twolane::target::Target;

const SCHEMES: [&str; 30] = [
    "float16",
    "float32",
    "linear-int8",
    "linear-int8,tensor",
    "linear-int8,axis:1",
    "linear-int8,block:16",
    "linear-int8,asymmetric",
    "linear-int8,tensor,asymmetric",
    "linear-int8,block:16,asymmetric",
    "linear-int4",
    "linear-int4,tensor",
    "linear-int4,block:16",
    "linear-int4,block:16,asymmetric",
    "palette-8",
    "palette-6",
    "palette-4",
    "palette-3",
    "palette-2",
    "palette-1",
    "palette-4,group:8",
    "palette-4,group:1",
    "palette-4,group:8,axis:1",
    "palette-4,vector:2",
    "palette-6,vector:4,group:8",
    "palette-4,vector:2,axis:1",
    "palette-4,lut-int8",
    "palette-6,lut-int8,group:8",
    "palette-4,channel-scale",
    "palette-4,channel-scale,lut-int8,group:8",
    "palette-2,channel-scale,vector:2",
];

/// Names and shapes that bring each operation, a clash and a reserved word.
const TENSORS: &[(&str, &[usize])] = &[
    ("fc.weight", &[32, 64]),
    ("fc.bias", &[32]),
    ("fc_weight", &[48, 16]),
    ("odd.weight", &[5, 63]),
    ("thin.weight", &[1, 3]),
    ("thin.bias", &[1]),
    ("embed_tokens.weight", &[64, 32]),
    ("conv.weight", &[32, 64, 3, 3]),
    ("conv.bias", &[32]),
    ("conv1d.weight", &[32, 64, 17]),
    ("conv3d.weight", &[8, 16, 2, 2, 2]),
    ("dwconv.weight", &[16, 1, 3, 3]),
    ("mlp.experts.gate_proj", &[4, 32, 64]),
    ("norm.weight", &[64]),
];

/// Those of a rank that operations take.
const MATRICES: usize = 10;
/// Weights that the script compares at least: not those of fewer than ten elements that stay float.
const LAYERS: usize = 9;

fn script() -> Option<(PathBuf, String)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("TWOLANE_SHARED").map_or(beside, PathBuf::from);
    let script = shared.join("tools/check_mlpackage.py");
    if !script.is_file() {
        println!("skipped: no ../shared/tools/check_mlpackage.py");
        return None;
    }
    let python = std::env::var("TWOLANE_PYTHON").unwrap_or_else(|_| "python3".into());
    let import = Command::new(&python).args(["-c", "import coremltools"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no coremltools");
        return None;
    }
    Some((script, python))
}

/// The scheme, if it divides the shape and quantizes such tensors; else half precision.
fn fitting(scheme: Scheme, shape: &[usize]) -> Scheme {
    let float = "float16".parse().unwrap();
    if shape.len() < 2 {
        return if scheme == "float32".parse().unwrap() { scheme } else { float };
    }
    let divides = |axis: usize, n: usize| shape[axis].is_multiple_of(n);
    let fits = match scheme {
        Scheme::Float(_) => true,
        Scheme::Linear(linear) => match linear.granularity {
            twolane::scheme::LinearGranularity::Block { size } => divides(1, size as usize),
            _ => true,
        },
        Scheme::Palette(palette) => {
            let group = match palette.granularity {
                twolane::scheme::PaletteGranularity::Tensor => 1,
                twolane::scheme::PaletteGranularity::Group { size } => size as usize,
            };
            let axis = usize::from(palette.axis);
            divides(axis, group) && divides(axis, usize::from(palette.vector))
        }
    };
    if fits { scheme } else { float }
}

/// Some bytes for an operand, the same for the same slot: whole-valued scales beside codes of any
/// bits, with the unused bits of the last byte cleared.
fn bytes(operand: &Operand, slot: Slot) -> Vec<u8> {
    let mut state = (slot.tensor as u64) << 8 | slot.part as u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32
    };
    let n = operand.elements();
    match operand.dtype {
        DataType::Float16 => {
            let value = |r: u32| f16::from_f32((r % 2000) as f32 / 512.0 - 2.0);
            (0..n).flat_map(|_| value(random()).to_le_bytes()).collect()
        }
        DataType::Float32 => {
            (0..n).flat_map(|_| ((random() % 2000) as f32 / 3.0).to_le_bytes()).collect()
        }
        _ => {
            let mut all: Vec<u8> = (0..operand.byte_len()).map(|_| random() as u8).collect();
            let used = n * operand.dtype.bits().unwrap() as usize % 8;
            if let (Some(last), true) = (all.last_mut(), used != 0) {
                *last &= (1 << used) - 1;
            }
            all
        }
    }
}

/// The same storage with its bytes.
fn filled(mut storage: Storage) -> Storage {
    let fill = |operand: &mut Operand| {
        if let Data::Later(slot) = operand.data {
            operand.data = Data::Bytes(bytes(operand, slot).into());
        }
    };
    match &mut storage {
        Storage::Dense(values) => fill(values),
        Storage::Linear { codes, scale, offset } => {
            [codes, scale].into_iter().chain(offset).for_each(fill);
        }
        Storage::Palette { indices, table, table_scale, channel_scale, .. } => {
            [indices, table].into_iter().chain(table_scale).chain(channel_scale).for_each(fill);
        }
        Storage::Sparse { .. } => unreachable!("no scheme is sparse"),
    }
    storage
}

/// The model and the `weight.bin` of these layers.
fn built(layers: &[Layer], target: Target) -> (Vec<u8>, Vec<u8>) {
    let package = layer_package(layers, target, &Options::default()).unwrap();
    let mut lowered = lower(&package.program, target).unwrap();
    let operands: BTreeMap<Slot, &Operand> = layers
        .iter()
        .flat_map(|layer| layer.storage.operands())
        .filter_map(|(_, operand)| match operand.data {
            Data::Later(slot) => Some((slot, operand)),
            Data::Bytes(_) => None,
        })
        .collect();
    let mut file = vec![0; lowered.plan.byte_len() as usize];
    for (offset, record) in lowered.plan.records() {
        file[offset as usize..][..64].copy_from_slice(&record);
    }
    for blob in &lowered.blobs {
        let bytes = match &blob.data {
            Data::Bytes(bytes) => bytes.to_vec(),
            Data::Later(slot) => bytes(operands[slot], *slot),
        };
        assert_eq!(bytes.len() as u64, blob.entry.byte_len);
        file[blob.entry.data_offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    let planned = lowered.model.to_bytes().len();
    for slot in lowered.small().collect::<Vec<_>>() {
        assert_eq!(lowered.blob(slot), None, "an operand stands in one place");
        lowered.fill(slot, &bytes(operands[&slot], slot)).unwrap();
    }
    let model = lowered.model.to_bytes();
    assert_eq!(model.len(), planned, "the model's length is planned before its parameters");
    (model, file)
}

fn write(layers: &[Layer], target: Target, path: &Path) {
    let (model, file) = built(layers, target);
    fs::create_dir_all(path.join(WEIGHT_BIN_PATH).parent().unwrap()).unwrap();
    fs::write(path.join(MANIFEST_PATH), Manifest::new(&[7; 32]).to_json()).unwrap();
    fs::write(path.join(MODEL_PATH), model).unwrap();
    fs::write(path.join(WEIGHT_BIN_PATH), file).unwrap();
}

/// The layers of a scheme, named and numbered apart from those of other schemes.
fn layers(s: usize, scheme: Scheme) -> Vec<Layer> {
    let layer = |(t, (name, shape)): (usize, &(&str, &[usize]))| {
        let storage = Storage::planned(fitting(scheme, shape), shape, s * TENSORS.len() + t);
        Layer { name: format!("s{s}.{name}"), shape: shape.to_vec(), storage }
    };
    TENSORS.iter().enumerate().map(layer).collect()
}

/// The constants of each function, by name.
fn raised(
    model: &[u8],
    file: Vec<u8>,
) -> twolane::Result<BTreeMap<String, BTreeMap<String, Constant>>> {
    let model = Model::parse(model)?;
    let file = Bytes::from(file);
    let raised = raise::program(&model, &mut |_| Ok(file.clone()))?;
    let constants = |function: Function| {
        let values = function.values.into_iter();
        values.filter_map(|value| Some((value.name, value.constant?))).collect()
    };
    let functions = raised.program.functions.into_iter();
    Ok(functions.map(|(name, function)| (name, constants(function))).collect())
}

#[test]
fn every_scheme_for_every_target_reads_back_as_it_was_planned() {
    for (s, word) in SCHEMES.iter().enumerate() {
        let scheme: Scheme = word.parse().unwrap();
        let layers = layers(s, scheme);
        for target in Target::ALL.into_iter().filter(|t| supports(scheme, *t).is_ok()) {
            let (model, file) = built(&layers, target);
            let functions = raised(&model, file).unwrap();
            assert_eq!(functions.len(), if target < Target::Ios18 { 1 } else { MATRICES });
            let all: BTreeMap<_, _> = functions.into_values().flatten().collect();
            let names =
                layer_package(&layers, target, &Options::default()).unwrap().program.metadata.user;
            for (identifier, name) in &names {
                let layer = layers.iter().find(|layer| layer.name == *name).unwrap();
                let mut storage = filled(layer.storage.clone());
                let mut identifier = identifier.clone();
                if let Storage::Palette { channel_scale, .. } = &mut storage
                    && target < Target::Ios26
                    && channel_scale.is_some()
                {
                    *channel_scale = None;
                    identifier.push_str("_unscaled");
                }
                let weight = Weight { shape: layer.shape.clone(), storage };
                let read = all.get(&identifier).and_then(Constant::as_weight).cloned();
                // A bias behind a `mul` has the rank of the output.
                let read = read.map(|mut read| {
                    if let ([_], Storage::Dense(values)) = (&weight.shape[..], &mut read.storage) {
                        values.shape.retain(|&size| size != 1 || weight.shape == [1]);
                        values.shape.truncate(1);
                        read.shape.clone_from(&values.shape);
                    }
                    read
                });
                assert_eq!(read, Some(weight), "{word} {target} {identifier}");
            }
        }
    }
}

#[test]
fn sparse_and_joint_weights_read_back_as_they_were_lowered() {
    let mask = || Operand::new(DataType::UInt1, &[4, 8], vec![0x0f, 0xf1, 0x00, 0x80]);
    let kept = 4 + 5 + 1;
    let half = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let values = (0..n).flat_map(|i| f16::from_f32(i as f32 + 0.5).to_le_bytes());
        Operand::new(DataType::Float16, shape, values.collect::<Vec<_>>())
    };
    let codes = |dtype, bytes: usize| Operand::new(dtype, &[kept], vec![0b1001; bytes]);
    let palette = |table: Operand, vector_axis| Storage::Palette {
        indices: codes(DataType::UInt4, 5),
        table,
        table_scale: None,
        vector_axis,
        channel_scale: None,
    };
    let linear =
        |offset| Storage::Linear { codes: codes(DataType::Int8, 10), scale: half(&[4, 2]), offset };
    let offset = Operand::new(DataType::Int8, &[4, 2], vec![3; 8]);
    #[rustfmt::skip]
    let cases = [
        ("sparse",              Target::Ios16, [4, 8],  Storage::Dense(half(&[kept]))),
        ("sparse linear",       Target::Ios18, [4, 8],  linear(None)),
        ("sparse with offset",  Target::Ios18, [4, 8],  linear(Some(offset))),
        ("sparse palette",      Target::Ios18, [4, 8],  palette(half(&[2, 1, 16, 1]), 0)),
        ("sparse vectors",      Target::Ios18, [4, 16], palette(half(&[1, 1, 16, 2]), 1)),
    ];
    for (name, first, shape, values) in cases {
        let storage = Storage::Sparse { mask: mask(), values: values.into() };
        let layers = [Layer { name: "w".into(), shape: shape.to_vec(), storage: storage.clone() }];
        for target in Target::ALL {
            if target < first {
                let package = layer_package(&layers, target, &Options::default()).unwrap();
                let refused = lower(&package.program, target).unwrap_err();
                assert!(matches!(refused, twolane::Error::Usage(_)), "{name} {target}: {refused}");
                continue;
            }
            let (model, file) = built(&layers, target);
            let functions = raised(&model, file).unwrap();
            let weight = functions.values().next().unwrap()["w"].as_weight();
            let want = Weight { shape: shape.to_vec(), storage: storage.clone() };
            assert_eq!(weight, Some(&want), "{name} {target}");
            assert!(want.dequantize().unwrap().contains(&0.0), "{name}");
        }
    }
}

/// One operation a line.
fn text(function: &mil::Function) -> String {
    let block = function.block_specializations.values().next().unwrap();
    let mut text = String::new();
    for operation in &block.operations {
        let named = |(param, argument): (&String, &mil::Argument)| match argument.only() {
            Some(mil::binding::Binding::Name(name)) => format!("{param}={name}"),
            _ => format!("{param}: {}", literal(argument)),
        };
        let mut params: Vec<_> = operation.inputs.iter().map(named).collect();
        let attributes = operation.attributes.iter().filter(|(name, _)| *name != "name");
        params.extend(attributes.map(|(name, value)| format!("{name}: {}", value_text(value))));
        let outputs: Vec<_> = operation
            .outputs
            .iter()
            .map(|o| format!("{}: {}", o.name, type_text(o.r#type.as_ref().unwrap())))
            .collect();
        text += &format!("{} = {}({})\n", outputs.join(", "), operation.r#type, params.join(", "));
    }
    text
}

fn literal(argument: &mil::Argument) -> String {
    match argument.only() {
        Some(mil::binding::Binding::Value(value)) => value_text(value),
        _ => String::from("?"),
    }
}

fn value_text(value: &mil::Value) -> String {
    let ty = type_text(value.r#type.as_ref().unwrap());
    match value.as_blob() {
        Some(blob) => format!("{ty} at {}", blob.offset),
        None => ty,
    }
}

fn type_text(ty: &mil::ValueType) -> String {
    let tensor = ty.as_tensor().unwrap();
    format!("{}{:?}", tensor.dtype().unwrap().name(), tensor.shape().unwrap())
}

/// The operations of a linear layer with a bias.
fn operations(scheme: &str, target: Target) -> String {
    let layer = |(t, name, shape): (usize, &str, &[usize])| Layer {
        name: name.into(),
        shape: shape.to_vec(),
        storage: Storage::planned(
            if shape.len() == 1 { "float16" } else { scheme }.parse().unwrap(),
            shape,
            t,
        ),
    };
    let layers = [(0, "fc.weight", &[32, 64][..]), (1, "fc.bias", &[32])].map(layer);
    let (model, _) = built(&layers, target);
    let model = Model::parse(&model).unwrap();
    let program = model.ml_program.unwrap();
    text(program.functions.values().next().unwrap())
}

#[test]
fn the_form_follows_from_storage_and_target() {
    #[rustfmt::skip]
    let cases = [
        ("linear-int8",                     Target::Ios16),
        ("linear-int8,asymmetric,block:16", Target::Ios18),
        ("palette-4,vector:2,lut-int8",     Target::Ios18),
        ("palette-4,vector:2,lut-int8",     Target::Ios26),
        ("palette-6,channel-scale",         Target::Ios17),
        ("palette-6,channel-scale",         Target::Ios26),
    ];
    let text = |(scheme, target)| format!("{scheme}, {target}\n{}", operations(scheme, target));
    insta::assert_snapshot!(cases.map(text).join("\n"), @r"
    linear-int8, ios16
    fc_weight: fp16[32, 64] = constexpr_affine_dequantize(axis: int32[], quantized_data: int8[32, 64] at 64, scale: fp16[32] at 2176, zero_point: int8[32] at 2304)
    fc_bias: fp16[32] = const(val: fp16[32] at 2432)
    y_0: fp16[64, 32] = linear(bias=fc_bias, weight=fc_weight, x=x_0)

    linear-int8,asymmetric,block:16, ios18
    fc_weight: fp16[32, 64] = constexpr_blockwise_shift_scale(data: int8[32, 64] at 64, offset: int8[32, 4] at 2496, scale: fp16[32, 4] at 2176)
    fc_bias: fp16[32] = const(val: fp16[32] at 2688)
    y: fp16[64, 32] = linear(bias=fc_bias, weight=fc_weight, x=x)

    palette-4,vector:2,lut-int8, ios18
    fc_weight_table: fp16[1, 1, 16, 2] = constexpr_blockwise_shift_scale(data: int8[1, 1, 16, 2] at 64, scale: fp16[1, 1, 1, 1])
    fc_weight: fp16[32, 64] = constexpr_lut_to_dense(indices: uint4[16, 64] at 192, lut=fc_weight_table, vector_axis: int32[])
    fc_bias: fp16[32] = const(val: fp16[32] at 768)
    y: fp16[64, 32] = linear(bias=fc_bias, weight=fc_weight, x=x)

    palette-4,vector:2,lut-int8, ios26
    fc_weight_looked_up: int8[32, 64] = constexpr_lut_to_dense(indices: uint4[16, 64] at 64, lut: int8[1, 1, 16, 2] at 640, vector_axis: int32[])
    fc_weight: fp16[32, 64] = constexpr_blockwise_shift_scale(data=fc_weight_looked_up, scale: fp16[1, 1])
    fc_bias: fp16[32] = const(val: fp16[32] at 768)
    y: fp16[64, 32] = linear(bias=fc_bias, weight=fc_weight, x=x)

    palette-6,channel-scale, ios17
    fc_weight_unscaled: fp16[32, 64] = constexpr_lut_to_dense(indices: uint8[1536] at 64, lut: fp16[64] at 1664, shape: uint32[2])
    y_0_unscaled: fp16[64, 32] = linear(weight=fc_weight_unscaled, x=x_0)
    fc_weight_channel_scale: fp16[1, 32] = const(val: fp16[1, 32] at 1856)
    y_0_unbiased: fp16[64, 32] = mul(x=y_0_unscaled, y=fc_weight_channel_scale)
    fc_bias: fp16[1, 32] = const(val: fp16[1, 32] at 1984)
    y_0: fp16[64, 32] = add(x=y_0_unbiased, y=fc_bias)

    palette-6,channel-scale, ios26
    fc_weight_looked_up: fp16[32, 64] = constexpr_lut_to_dense(indices: uint6[32, 64] at 64, lut: fp16[1, 1, 64, 1] at 1664)
    fc_weight: fp16[32, 64] = constexpr_blockwise_shift_scale(data=fc_weight_looked_up, scale: fp16[32, 1] at 1856)
    fc_bias: fp16[32] = const(val: fp16[32] at 1984)
    y: fp16[64, 32] = linear(bias=fc_bias, weight=fc_weight, x=x)
    ");
}

proptest! {
    #[test]
    fn a_mutated_package_is_an_error_or_sound_weights(
        scheme in 0..SCHEMES.len(),
        changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let layers = layers(scheme, SCHEMES[scheme].parse().unwrap());
        let (mut model, mut file) = built(&layers[..4], Target::Ios26);
        for (in_model, at, byte) in changes {
            let bytes = if in_model { &mut model } else { &mut file };
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(functions) = raised(&model, file) {
            for constant in functions.values().flat_map(|constants| constants.values()) {
                if let Some(weight) = constant.as_weight() {
                    prop_assert_eq!(weight.check(), Ok(()));
                    // An error for integers, values for floats; never a panic.
                    let _ = weight.dequantize();
                }
            }
        }
    }
}

/// A tensor of the reference: name, single precision or half, shape, bytes.
type Reference = (String, bool, Vec<usize>, Vec<u8>);

fn reference_of(name: String, shape: &[usize], storage: &Storage) -> Reference {
    let weight = Weight { shape: shape.to_vec(), storage: storage.clone() };
    let values = weight.dequantize().unwrap();
    let single = storage.dtype() == DataType::Float32;
    let bytes = if single {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
    };
    (name, single, shape.to_vec(), bytes)
}

#[test]
fn coremltools_loads_every_scheme_for_every_target_and_sees_our_weights() {
    let Some((script, python)) = script() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut packages = Vec::new();
    let mut expected = Vec::new();
    for (s, word) in SCHEMES.iter().enumerate() {
        let scheme: Scheme = word.parse().unwrap();
        let layers = layers(s, scheme);
        // The script finds a reference by its mapped name, and knows no clashes.
        let program = layer_package(&layers, Target::Ios18, &Options::default()).unwrap().program;
        for (identifier, name) in &program.metadata.user {
            let layer = layers.iter().find(|layer| layer.name == *name).unwrap();
            let mut storage = filled(layer.storage.clone());
            expected.push(reference_of(identifier.clone(), &layer.shape, &storage));
            // Before iOS 26 a `mul` behind the operation carries the channel scales.
            if let Storage::Palette { channel_scale: scale @ Some(_), .. } = &mut storage {
                *scale = None;
                let name = format!("{identifier}_unscaled");
                expected.push(reference_of(name, &layer.shape, &storage));
            }
        }
        for target in Target::ALL {
            if supports(scheme, target).is_ok() {
                let path = dir.path().join(format!("s{s}_{target}.mlpackage"));
                write(&layers, target, &path);
                packages.push((path, LAYERS));
            }
        }
    }
    let text = checked(&script, &python, dir.path(), &packages, expected);
    for line in text.lines().filter(|line| line.starts_with("PASS")) {
        assert!(matched(line) >= LAYERS, "{line}");
        assert!(line.ends_with("warnings=0"), "{line}");
    }
}

/// How many weights the script compared.
fn matched(line: &str) -> usize {
    let rest = line.split("matched=").nth(1).and_then(|rest| rest.split('/').next());
    rest.unwrap().parse().unwrap()
}

/// What the script says of packages that must pass and hold exactly the expected weights.
fn checked(
    script: &Path,
    python: &str,
    dir: &Path,
    packages: &[(PathBuf, usize)],
    expected: Vec<Reference>,
) -> String {
    let reference = dir.join("reference.safetensors");
    let views = expected.iter().map(|(name, single, shape, bytes)| {
        let dtype = if *single { safetensors::Dtype::F32 } else { safetensors::Dtype::F16 };
        (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &reference).unwrap();
    let output = Command::new(python)
        .arg(script)
        .args(packages.iter().map(|(path, _)| path))
        .arg("--expect")
        .arg(&reference)
        .args(["--max-rel-rmse", "0", "--allow-missing"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the script found faults");
    assert_eq!(text.matches("PASS").count(), packages.len());
    text
}

/// The weights of a package's `main` that are compressed, as layers.
fn compressed(package: &Path, prefix: &str) -> Vec<Layer> {
    let package = Package::open(package).unwrap();
    let layer = |(value, weight): (&Value, &Weight)| {
        let Weight { shape, storage } = weight.clone();
        let is = !matches!(storage, Storage::Dense(_));
        is.then(|| Layer { name: format!("{prefix}.{}", value.name), shape, storage })
    };
    package.program.functions["main"].weights().filter_map(layer).collect()
}

#[test]
fn coremltools_weights_are_lowered_again_for_their_target_and_newer_ones() {
    let Some((script, python)) = script() else { return };
    let dir = tempfile::tempdir().unwrap();
    let fixtures = script.parent().unwrap().join("../fixtures/coreml/q");
    let mut names: Vec<_> =
        fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let (mut packages, mut expected) = (Vec::new(), Vec::new());
    for path in &names {
        let name = path.file_name().unwrap().to_str().unwrap();
        let layers = compressed(&path.join("model.mlpackage"), name);
        for layer in &layers {
            let name = twolane::graph::names::sanitize(&layer.name);
            expected.push(reference_of(name, &layer.shape, &layer.storage));
        }
        let own = if name.contains("ios16") { Target::Ios16 } else { Target::Ios18 };
        for target in Target::ALL.into_iter().filter(|target| *target >= own) {
            let path = dir.path().join(format!("{name}_{target}.mlpackage"));
            write(&layers, target, &path);
            packages.push((path, layers.len()));
        }
    }
    let text = checked(&script, &python, dir.path(), &packages, expected);
    for (line, (_, layers)) in text.lines().filter(|line| line.starts_with("PASS")).zip(&packages) {
        assert_eq!(matched(line), *layers, "{line}");
    }
}
