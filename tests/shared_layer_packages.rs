//! Layer packages of every scheme for every target, judged from outside: `check_mlpackage.py` walks
//! each through coremltools' own loader, and decompresses its weights to exactly ours.
//!
//! The script lies beside the repository, in `../shared/tools` or under the folder that
//! `TWOLANE_SHARED` names; `TWOLANE_PYTHON` names a Python that has coremltools. Without either the
//! test says so and passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, process::Command};
use twolane::formats::half::f16;
use twolane::formats::mlpackage::{MANIFEST_PATH, MODEL_PATH, Manifest, WEIGHT_BIN_PATH};
use twolane::graph::lower::supports;
use twolane::graph::weight::{Data, Operand, Slot, Storage, Weight};
use twolane::graph::{DataType, lower};
use twolane::model::{Layer, Options, layer_package};
use twolane::scheme::Scheme;
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

/// Writes the package that was lowered from these layers.
fn write(layers: &[Layer], target: Target, path: &Path) {
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
        lowered.fill(slot, &bytes(operands[&slot], slot)).unwrap();
    }
    let model = lowered.model.to_bytes();
    assert_eq!(model.len(), planned, "the model's length is planned before its parameters");
    fs::create_dir_all(path.join(WEIGHT_BIN_PATH).parent().unwrap()).unwrap();
    fs::write(path.join(MANIFEST_PATH), Manifest::new(&[7; 32]).to_json()).unwrap();
    fs::write(path.join(MODEL_PATH), model).unwrap();
    fs::write(path.join(WEIGHT_BIN_PATH), file).unwrap();
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
        let layer = |(t, (name, shape)): (usize, &(&str, &[usize]))| {
            let storage = Storage::planned(fitting(scheme, shape), shape, s * TENSORS.len() + t);
            Layer { name: format!("s{s}.{name}"), shape: shape.to_vec(), storage }
        };
        let layers: Vec<_> = TENSORS.iter().enumerate().map(layer).collect();
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
                packages.push(path);
            }
        }
    }
    let reference = dir.path().join("reference.safetensors");
    let views = expected.iter().map(|(name, single, shape, bytes)| {
        let dtype = if *single { safetensors::Dtype::F32 } else { safetensors::Dtype::F16 };
        (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &reference).unwrap();
    let output = Command::new(python)
        .arg(script)
        .args(&packages)
        .arg("--expect")
        .arg(&reference)
        .args(["--max-rel-rmse", "0", "--allow-missing"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the script found faults");
    assert_eq!(text.matches("PASS").count(), packages.len());
    for line in text.lines().filter(|line| line.starts_with("PASS")) {
        let matched = line.split("matched=").nth(1).and_then(|rest| rest.split('/').next());
        let matched: usize = matched.unwrap().parse().unwrap();
        assert!(matched >= LAYERS, "{line}");
        assert!(line.ends_with("warnings=0"), "{line}");
    }
}
