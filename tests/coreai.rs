//! Quantized layers against Apple's own runtime: see `fixtures/coreai/README.md`.
//!
//! The layers come from our quantizer, drawn and quantized here; what Core AI made of them on Linux
//! is stored. `tests/coreai.sh` runs Core AI again, on files that `layers_for_the_oracle` writes.

use ndarray::{ArrayD, IxDyn};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use twolane::formats::bits;
use twolane::formats::half::f16;
use twolane::graph::weight::{Data, Operand, Part, Storage, Weight};
use twolane::graph::{Builder, Constant, DataType, Function, Sizes, TensorType};
use twolane::quantize::{Quantized, array};
use twolane::runtime::{Backend, Cpu, Mode, Reference, Shapes, Tensor, Tensors};
use twolane::scheme::{Clip, Scheme};

/// Every form that the weight of a linear layer can have.
const LINEAR: [&str; 26] = [
    "linear-int8",
    "linear-int8,tensor",
    "linear-int8,axis:1",
    "linear-int8,block:32",
    "linear-int8,asymmetric",
    "linear-int8,tensor,asymmetric",
    "linear-int8,axis:1,asymmetric",
    "linear-int8,block:32,asymmetric",
    "linear-int4",
    "linear-int4,block:32",
    "linear-int4,asymmetric",
    "linear-int4,block:32,asymmetric",
    "palette-8",
    "palette-6",
    "palette-4",
    "palette-3",
    "palette-2",
    "palette-1",
    "palette-4,group:16",
    "palette-6,group:16",
    "palette-4,channel-scale",
    "palette-8,lut-int8",
    "palette-4,lut-int8",
    "palette-4,group:16,lut-int8",
    "palette-4,vector:2",
    "palette-6,vector:2",
];
const CONV: [&str; 7] = [
    "linear-int8",
    "linear-int8,tensor",
    "linear-int4,block:4,asymmetric",
    "palette-4",
    "palette-6,group:8",
    "palette-4,lut-int8",
    "palette-4,vector:2",
];
const INT8_INPUTS: [&str; 4] =
    ["linear-int8", "linear-int8,tensor", "palette-4,lut-int8", "palette-8,lut-int8"];

/// A layer of seeded numbers.
struct Layer {
    name: String,
    scheme: Scheme,
    /// FP16 or FP32: of the input, of the weight's parameters, and so of the arithmetic.
    dtype: DataType,
    weight: ArrayD<f32>,
    input: ArrayD<f32>,
    /// Strides and padding of a convolution.
    conv: Option<(usize, usize)>,
    groups: usize,
    /// The scale of an INT8 input: a number that FP16 has.
    input_scale: Option<f32>,
}

fn layers() -> Vec<Layer> {
    let mut layers = Vec::new();
    for (dtype, suffix, dense) in
        [(DataType::Float16, "f16", "float16"), (DataType::Float32, "f32", "float32")]
    {
        let mut layer = |kind: &str,
                         scheme: &str,
                         weight: &[usize],
                         input: &[usize],
                         conv,
                         groups,
                         int8: bool| {
            let name = format!("{kind}.{}.{suffix}", scheme.replace([',', ':'], "-"));
            let seed = layers.len() as u32 + 1;
            let mut input = drawn(input, seed + 1000);
            if dtype == DataType::Float16 {
                input.mapv_inplace(|x| f16::from_f32(x).to_f32());
            }
            let largest = input.fold(0f32, |m, x| m.max(x.abs()));
            layers.push(Layer {
                name,
                scheme: scheme.parse().unwrap(),
                dtype,
                weight: drawn(weight, seed),
                input_scale: int8.then(|| f16::from_f32(largest / 127.0).to_f32()),
                input,
                conv,
                groups,
            });
        };
        for scheme in [dense].into_iter().chain(LINEAR) {
            layer("linear", scheme, &[32, 64], &[4, 64], None, 1, false);
        }
        for scheme in INT8_INPUTS {
            layer("linear-a8", scheme, &[16, 64], &[4, 64], None, 1, true);
        }
        for scheme in CONV {
            layer("conv", scheme, &[16, 8, 3, 3], &[1, 8, 6, 5], Some((1, 1)), 1, false);
        }
        layer("conv-a8", "linear-int8", &[16, 8, 3, 3], &[1, 8, 6, 5], Some((2, 1)), 1, true);
        layer("depthwise", "linear-int8", &[8, 1, 3, 3], &[2, 8, 6, 5], Some((1, 0)), 8, false);
    }
    layers
}

/// Numbers between −1 and 1, more of them near 0: the same ones each time.
fn drawn(shape: &[usize], seed: u32) -> ArrayD<f32> {
    let mut state = seed;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0).powi(3)
    })
}

/// Codes, one a byte, as a file holds them.
fn packed(codes: &[u8], dtype: DataType) -> Vec<u8> {
    let width = dtype.bits().unwrap() as u8;
    let codes: Vec<u8> = codes.iter().map(|code| code & (u8::MAX >> (8 - width))).collect();
    let mut packed = Vec::new();
    bits::pack(&codes, width, &mut packed).unwrap();
    packed
}

fn bytes_of(codes: &[i8]) -> Vec<u8> {
    codes.iter().map(|&code| code as u8).collect()
}

impl Layer {
    fn quantized(&self) -> Option<Quantized> {
        match self.scheme {
            Scheme::Float(_) => None,
            scheme => Some(array(self.weight.view(), scheme, Clip::Mse).unwrap()),
        }
    }

    /// The weight as a program stores it; its parameters in this layer's type, which for FP32 only
    /// widens the FP16 numbers.
    fn stored(&self) -> Weight {
        let shape = self.weight.shape().to_vec();
        let Some(quantized) = self.quantized() else {
            return Weight::dense(Operand::new(
                self.dtype,
                &shape,
                self.floats(self.weight.iter().copied()),
            ));
        };
        let params = &quantized.params;
        let fill = |operand: &mut Operand| {
            let Data::Later(slot) = operand.data else { unreachable!("planned") };
            let bytes = match slot.part {
                Part::Codes => packed(&quantized.codes, operand.dtype),
                Part::Offset => packed(&bytes_of(&params.offset), operand.dtype),
                Part::Table if operand.dtype == DataType::Int8 => bytes_of(&params.table_codes),
                Part::Table => self.halves(&params.table, operand),
                Part::Scale => self.halves(&params.scale, operand),
                Part::TableScale => self.halves(&params.table_scale, operand),
                Part::ChannelScale => self.halves(&params.channel_scale, operand),
                Part::Dense => unreachable!("not quantized"),
            };
            operand.data = Data::Bytes(bytes.into());
        };
        let mut storage = Storage::planned(self.scheme, &shape, 0);
        match &mut storage {
            Storage::Linear { codes, scale, offset } => {
                [codes, scale].into_iter().chain(offset).for_each(fill);
            }
            Storage::Palette { indices, table, table_scale, channel_scale, .. } => {
                [indices, table].into_iter().chain(table_scale).chain(channel_scale).for_each(fill);
            }
            Storage::Dense(_) | Storage::Sparse { .. } => unreachable!("quantized"),
        }
        Weight { shape, storage }
    }

    /// The bytes of parameters in this layer's type, which the operand then has.
    fn halves(&self, halves: &[f16], operand: &mut Operand) -> Vec<u8> {
        operand.dtype = self.dtype;
        self.floats(halves.iter().map(|half| half.to_f32()))
    }

    /// The bytes of numbers in this layer's type.
    fn floats(&self, numbers: impl IntoIterator<Item = f32>) -> Vec<u8> {
        let numbers = numbers.into_iter();
        match self.dtype {
            DataType::Float16 => numbers.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
            _ => numbers.flat_map(f32::to_le_bytes).collect(),
        }
    }

    /// The layer as a function `x → y`, and the input's `codes` where it is INT8.
    fn function(&self) -> Function {
        let mut builder = Builder::new();
        let ty = TensorType::fixed(self.dtype, self.input.shape());
        let mut x = builder.input("x", ty, Sizes::Fixed).unwrap();
        if let Some(scale) = self.input_scale {
            let number = Weight::dense(Operand::new(self.dtype, &[], self.floats([scale])));
            let scale = builder.constant("scale", number).unwrap();
            let int8 = builder.constant("int8", Constant::text("int8")).unwrap();
            let arguments = [("input", x), ("scale", scale), ("output_dtype", int8)];
            let codes = builder.op("quantize", "codes", &arguments).unwrap();
            builder.output(codes, "");
            x = builder.op("dequantize", "x_back", &[("input", codes), ("scale", scale)]).unwrap();
        }
        let weight = builder.constant("weight", self.stored()).unwrap();
        let mut arguments = vec![("x", x), ("weight", weight)];
        let operation = match self.conv {
            None => "linear",
            Some((stride, pad)) => {
                let (stride, pad, groups) = (stride as i32, pad as i32, self.groups as i32);
                for (param, constant) in [
                    ("strides", Constant::ints(&[stride; 2])),
                    ("pad_type", Constant::text("custom")),
                    ("pad", Constant::ints(&[pad; 4])),
                    ("groups", Constant::int(groups)),
                ] {
                    arguments.push((param, builder.constant(param, constant).unwrap()));
                }
                "conv"
            }
        };
        let y = builder.op(operation, "y", &arguments).unwrap();
        builder.output(y, "");
        builder.finish()
    }

    /// The layer as the oracle reads it.
    fn file(&self) -> Vec<u8> {
        let float = match self.dtype {
            DataType::Float16 => Dtype::F16,
            _ => Dtype::F32,
        };
        let mut tensors = vec![(
            "x",
            float,
            self.input.shape().to_vec(),
            self.floats(self.input.iter().copied()),
        )];
        let mut notes: HashMap<String, String> = HashMap::new();
        let mut note = |key: &str, value: String| notes.insert(key.into(), value);
        let stored = self.stored();
        let vectors = matches!(stored.storage, Storage::Palette { .. });
        for (part, operand) in stored.storage.operands() {
            let Data::Bytes(bytes) = &operand.data else { unreachable!("filled") };
            let width = operand.dtype.bits().unwrap() as u8;
            let mut shape = operand.shape.clone();
            let (name, dtype) = match part {
                Part::Dense => ("weight", float),
                Part::Codes if vectors => ("weight.indices", Dtype::U8),
                Part::Codes => ("weight.codes", Dtype::I8),
                Part::Offset => ("weight.offset", Dtype::I8),
                Part::Table if operand.dtype == DataType::Int8 => ("weight.lut", Dtype::I8),
                Part::Table => ("weight.lut", float),
                Part::Scale | Part::ChannelScale => ("weight.scale", float),
                Part::TableScale => {
                    shape.truncate(shape.len() - 2);
                    ("weight.scale", float)
                }
            };
            let mut bytes = bytes.to_vec();
            if matches!(part, Part::Codes | Part::Offset) {
                note("bits", width.to_string());
                bytes = bits::unpack(&bytes, width, operand.elements()).unwrap();
                if dtype == Dtype::I8 {
                    let unused = 8 - width;
                    bytes.iter_mut().for_each(|b| *b = (((*b << unused) as i8) >> unused) as u8);
                }
            }
            tensors.push((name, dtype, shape, bytes));
        }
        if let Some((stride, pad)) = self.conv {
            note("op", "conv".into());
            note("stride", stride.to_string());
            note("pad", pad.to_string());
            note("groups", self.groups.to_string());
        }
        if let Some(scale) = self.input_scale {
            tensors.push(("x.scale", Dtype::F32, vec![], scale.to_le_bytes().to_vec()));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, Some(notes)).unwrap()
    }
}

/// What Core AI gave: `CASE/weight`, `CASE/y`, `CASE/x.codes`, widened to f32.
fn results() -> BTreeMap<String, Vec<f32>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/coreai/results.safetensors");
    let file = fs::read(path).unwrap();
    let numbers = |view: &TensorView<'_>| -> Vec<f32> {
        let data = view.data();
        match view.dtype() {
            Dtype::F16 => {
                data.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::I8 => data.iter().map(|&b| f32::from(b as i8)).collect(),
            other => panic!("{other:?}"),
        }
    };
    let file = SafeTensors::deserialize(&file).unwrap();
    file.tensors().iter().map(|(name, view)| (name.clone(), numbers(view))).collect()
}

/// The weight as Core AI forms it where it rounds twice (8-bit codes whose scales are given a row at
/// least): `code · scale`, rounded, plus `−(offset · scale)`, rounded, and their sum rounded.
fn rounded_twice(layer: &Layer) -> Option<Vec<f32>> {
    let Storage::Linear { codes, scale, offset: Some(offset) } = &layer.stored().storage else {
        return None;
    };
    let rows = codes.shape[..codes.shape.len() - 1] == scale.shape[..codes.shape.len() - 1];
    if codes.dtype != DataType::Int8 || !rows {
        return None;
    }
    let part = |operand: &Operand| {
        let weight = Weight::dense(operand.clone());
        let Data::Bytes(bytes) = &operand.data else { unreachable!("filled") };
        match operand.dtype {
            DataType::Int8 => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
            _ => weight.dequantize().unwrap(),
        }
    };
    let (codes, scales, offsets): (Vec<f32>, Vec<f32>, Vec<f32>) =
        (part(codes), part(scale), part(offset));
    let run = codes.len() / scales.len();
    let round = |x: f32| match layer.dtype {
        DataType::Float16 => f16::from_f32(x).to_f32(),
        _ => x,
    };
    let weight = |(i, code): (usize, &f32)| {
        let (scale, offset) = (scales[i / run], offsets[i / run]);
        round(round(code * scale) + round(-round(offset * scale)))
    };
    Some(codes.iter().enumerate().map(weight).collect())
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// One unit in the last place of a number of this layer's type.
fn unit(layer: &Layer, x: f32) -> f32 {
    let digits = if layer.dtype == DataType::Float16 { 10 } else { 23 };
    2f32.powi(x.abs().log2().floor() as i32 - digits)
}

#[test]
fn weights_are_those_that_core_ai_forms() {
    let results = results();
    let (mut same, mut near, mut failures) = (0, 0, Vec::new());
    for layer in layers() {
        let ours = layer.stored().dequantize().unwrap();
        let theirs = &results[&format!("{}/weight", layer.name)];
        assert_eq!(ours.len(), theirs.len(), "{}", layer.name);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        match rounded_twice(&layer) {
            None if bits(&ours) == bits(theirs) => same += 1,
            Some(twice) if twice == *theirs => {
                near += 1;
                // Each rounding is of a number up to 255 steps long.
                let scale = largest(&ours) + largest(theirs);
                let off = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                if off > unit(&layer, scale) {
                    failures.push(format!("{}: off by {off}", layer.name));
                }
            }
            _ => {
                let differ = ours.iter().zip(theirs).filter(|(a, b)| a.to_bits() != b.to_bits());
                let (count, first) = (differ.clone().count(), differ.clone().next());
                failures.push(format!(
                    "{}: {count} of {} differ, first {first:?}",
                    layer.name,
                    ours.len()
                ));
            }
        }
    }
    println!("{same} weights bit for bit, {near} asymmetric ones by Core AI's two roundings");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((same, near), (76, 4), "a form of the weight is missing");
}

/// Runs every layer and gives the largest error, in units in the last place of the largest output.
fn errors(backend: &dyn Backend, dtype: DataType) -> BTreeMap<String, f32> {
    let results = results();
    let mut errors = BTreeMap::new();
    for layer in layers().into_iter().filter(|layer| layer.dtype == dtype) {
        let mut ready = backend.prepare(&layer.function(), &Shapes::new()).unwrap();
        let input = Tensor::float(layer.dtype, layer.input.clone());
        let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
        ready.run(&[("x".to_owned(), input)].into(), &mut states, &mut outputs).unwrap();
        if let Some(codes) = results.get(&format!("{}/x.codes", layer.name)) {
            let ours: Vec<f32> =
                outputs["codes"].as_int().unwrap().iter().map(|&code| code as f32).collect();
            assert_eq!(ours, *codes, "{}: codes of the input", layer.name);
        }
        let ours: Vec<f32> = outputs["y"].as_float().unwrap().iter().copied().collect();
        let theirs = &results[&format!("{}/y", layer.name)];
        assert_eq!(ours.len(), theirs.len(), "{}", layer.name);
        let off = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        errors.insert(layer.name.clone(), off / unit(&layer, largest(theirs)));
    }
    errors
}

fn within(backend: &dyn Backend, dtype: DataType, units: f32) {
    let errors = errors(backend, dtype);
    let worst = errors.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    println!("{}, {dtype}: {} layers, worst {worst:?}", backend.name(), errors.len());
    let beyond: Vec<_> = errors.iter().filter(|(_, off)| **off > units).collect();
    assert!(beyond.is_empty(), "beyond {units} units in the last place: {beyond:?}");
    assert_eq!(errors.len(), 40);
}

#[test]
fn the_reference_gives_core_ais_outputs_in_f32() {
    within(&Reference { mode: Mode::F32 }, DataType::Float32, 4.0);
}

#[test]
fn the_reference_gives_core_ais_outputs_in_f16() {
    within(&Reference { mode: Mode::F16 }, DataType::Float16, 1.0);
}

#[test]
fn the_cpu_gives_core_ais_outputs_in_f32() {
    within(&Cpu, DataType::Float32, 4.0);
}

/// The oracle's input goes into the folder that `TWOLANE_COREAI` names, where one is named.
#[test]
fn layers_for_the_oracle() {
    let folder = std::env::var_os("TWOLANE_COREAI");
    for layer in layers() {
        let file = layer.file();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        assert!(tensors.tensor("x").is_ok(), "{} has no input", layer.name);
        assert!(tensors.names().iter().any(|name| name.starts_with("weight")), "{}", layer.name);
        if let Some(folder) = &folder {
            let path = Path::new(folder).join(format!("{}.safetensors", layer.name));
            fs::write(path, file).unwrap();
        }
    }
}
