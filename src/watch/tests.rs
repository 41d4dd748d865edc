use super::{Watching, tokens};
use crate::calibrate::{Calibration, Data, Model, Recorder};
use crate::graph::weight::{Operand, Weight};
use crate::graph::{Builder, DataType, Dim, Function, SizeRange, Sizes, TensorType};
use crate::runtime::reference::Step;
use crate::runtime::{Backend, Mode, Reference, Shapes, Tensor, Tensors};
use ndarray::{ArrayD, IxDyn};
use std::collections::BTreeMap;

/// `x` [T, 4] and `y` [4] → linear, add, relu, matmul with a constant; `y` is added to a state, which is
/// read before and after. All are small whole numbers, whose sums no backend rounds.
fn function() -> Function {
    let mut builder = Builder::new();
    let size = |low, high| SizeRange { low, default: low, high };
    let ty = TensorType::new(DataType::Float32, vec![Dim::Flexible, Dim::Fixed(4)]);
    let x = builder.input("x", ty, Sizes::Ranges(vec![size(1, 8), size(4, 4)])).unwrap();
    let ty = TensorType::fixed(DataType::Float32, &[4]);
    let y = builder.input("y", ty, Sizes::Fixed).unwrap();
    let weights: Vec<u8> = (0..16).flat_map(|i| ((i * 7 % 5) as f32 - 2.0).to_le_bytes()).collect();
    let weight = Weight::dense(Operand::new(DataType::Float32, &[4, 4], weights));
    let weight = builder.constant("w", weight).unwrap();
    let h = builder.op("linear", "h", &[("x", x), ("weight", weight)]).unwrap();
    let state = builder.state("k", TensorType::fixed(DataType::Float32, &[4])).unwrap();
    let old = builder.op("read_state", "old", &[("input", state)]).unwrap();
    let new = builder.op("add", "new", &[("x", old), ("y", y)]).unwrap();
    builder.effect("write_state", "write", &[("input", state), ("data", new)]).unwrap();
    let read = builder.op("read_state", "read", &[("input", state)]).unwrap();
    let s = builder.op("add", "s", &[("x", h), ("y", read)]).unwrap();
    let r = builder.op("relu", "r", &[("x", s)]).unwrap();
    let m = builder.op("matmul", "m", &[("x", r), ("y", weight)]).unwrap();
    let e = builder.op("add", "e", &[("x", m), ("y", r)]).unwrap();
    builder.output(e, "");
    builder.finish()
}

fn inputs(rows: usize) -> Tensors {
    let x =
        ArrayD::from_shape_fn(IxDyn(&[rows, 4]), |at| ((at[0] * 5 + at[1] * 3) % 7) as f32 - 3.0);
    let y = ArrayD::from_shape_fn(IxDyn(&[4]), |at| at[0] as f32);
    let tensor = |array| Tensor::float(DataType::Float32, array);
    [("x".into(), tensor(x)), ("y".into(), tensor(y))].into()
}

fn finished(recorder: Recorder) -> Calibration {
    let model = Model { package: String::new(), blake3: String::new(), function: None };
    recorder.finish(model, Data { blake3: String::new(), file: String::new(), samples: 2 })
}

#[test]
fn what_is_counted_is_what_the_reference_computes() {
    let function = function();
    let watching = Watching::default();
    let samples = [3, 8];
    let mut states = Tensors::new();
    for rows in samples {
        let shapes: Shapes = [("x".to_owned(), vec![rows, 4])].into();
        let mut prepared = watching.prepare(&function, &shapes).unwrap();
        let mut outputs = Tensors::new();
        prepared.run(&inputs(rows), &mut states, &mut outputs).unwrap();
        assert_eq!(outputs["e"].shape(), [rows, 4], "the function's own output is there too");
        watching.recorder().lock().unwrap().end_sample();
    }
    let recorder = std::mem::take(&mut *watching.recorder().lock().unwrap());
    let counted = finished(recorder);

    let mut expected: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut extend = |name: &str, tensor: &Tensor| {
        let numbers = tensor.as_float().unwrap().iter().map(|&x| f64::from(x));
        expected.entry(name.into()).or_default().extend(numbers);
    };
    let mut states = Tensors::new();
    for rows in samples {
        let inputs = inputs(rows);
        inputs.iter().for_each(|(name, tensor)| extend(name, tensor));
        let mut observe = |step: &Step<'_>| {
            for id in &step.operation.outputs {
                extend(&function.value(*id).name, step.value(*id).unwrap());
            }
            Ok(())
        };
        let reference = Reference { mode: Mode::F32 };
        reference.evaluate(&function, &inputs, &mut states, &mut observe).unwrap();
    }
    assert!(expected.keys().eq(counted.values.keys()), "{:?}", counted.values.keys());
    for (name, mut numbers) in expected {
        numbers.sort_by(f64::total_cmp);
        let counts = counted.values[&name].statistics.counts();
        let all: Vec<f64> =
            counts.iter().flat_map(|&(x, n)| std::iter::repeat_n(x, n as usize)).collect();
        assert_eq!(all, numbers.iter().map(|x| x + 0.0).collect::<Vec<_>>(), "{name}");
        assert_eq!(counted.values[&name].statistics.samples(), 2);
    }
}

#[test]
fn what_follows_from_shapes_alone_is_no_activation() {
    let mut builder = Builder::new();
    let ty = TensorType::fixed(DataType::Float32, &[2, 4]);
    let x = builder.input("x", ty, Sizes::Fixed).unwrap();
    let ones = |values: [f32; 2]| {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Weight::dense(Operand::new(DataType::Float32, &[2, 1], bytes))
    };
    let a = builder.constant("a", ones([1.0, 2.0])).unwrap();
    let b = builder.constant("b", ones([3.0, 4.0])).unwrap();
    let sum = builder.op("add", "sum", &[("x", a), ("y", b)]).unwrap();
    let y = builder.op("add", "y", &[("x", x), ("y", sum)]).unwrap();
    builder.output(y, "");
    let watching = Watching::default();
    watching.prepare(&builder.finish(), &Shapes::new()).unwrap();
    let recorder = std::mem::take(&mut *watching.recorder().lock().unwrap());
    let counted = finished(recorder);
    assert_eq!(counted.values.keys().collect::<Vec<_>>(), ["x", "y"]);
}

/// Attention with as many tokens as coordinates, so that sizes tell nothing: ids [1, 4] → a table's rows,
/// query, scores, what they take, its first token and its mean.
#[test]
fn axes_of_tokens_are_followed_where_sizes_tell_nothing() {
    let mut builder = Builder::new();
    let ty = TensorType::fixed(DataType::Int32, &[1, 4]);
    let ids = builder.input("input_ids", ty.clone(), Sizes::Fixed).unwrap();
    let mask = builder.input("attention_mask", ty, Sizes::Fixed).unwrap();
    let dense = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let bytes: Vec<u8> = (0..n).flat_map(|i| (i as f32 / 16.0).to_le_bytes()).collect();
        Weight::dense(Operand::new(DataType::Float32, shape, bytes))
    };
    let ints = |values: &[i32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Weight::dense(Operand::new(DataType::Int32, &[values.len()], bytes))
    };
    let table = builder.constant("table", dense(&[9, 4])).unwrap();
    let weight = builder.constant("w", dense(&[4, 4])).unwrap();
    let kernel = builder.constant("kernel", dense(&[4, 4, 1, 1])).unwrap();
    let axis = builder
        .constant("axis", Weight::dense(Operand::new(DataType::Int32, &[], vec![0; 4])))
        .unwrap();
    let x = builder.op("gather", "x", &[("x", table), ("indices", ids), ("axis", axis)]).unwrap();
    let query = builder.op("linear", "query", &[("x", x), ("weight", weight)]).unwrap();
    let perm = builder.constant("perm", ints(&[0, 2, 1])).unwrap();
    let turned = builder.op("transpose", "turned", &[("x", x), ("perm", perm)]).unwrap();
    let scores = builder.op("matmul", "scores", &[("x", query), ("y", turned)]).unwrap();
    let taken = builder.op("matmul", "taken", &[("x", scores), ("y", x)]).unwrap();
    let shape = builder.constant("shape", ints(&[1, 4, 1, 4])).unwrap();
    let channels = builder.op("reshape", "channels", &[("x", turned), ("shape", shape)]).unwrap();
    let conv = builder.op("conv", "conv", &[("x", channels), ("weight", kernel)]).unwrap();
    let both = builder.op("add", "both", &[("x", taken), ("y", x)]).unwrap();
    let begin = builder.constant("begin", ints(&[0, 0, 0])).unwrap();
    let [first, last] = [("first", 1), ("last", 3)].map(|(name, end)| {
        let from = builder.constant(&format!("{name}_from"), ints(&[0, end - 1, 0])).unwrap();
        let end = builder.constant(&format!("{name}_end"), ints(&[1, end, 4])).unwrap();
        let from = if name == "first" { begin } else { from };
        let arguments = [("x", both), ("begin", from), ("end", end)];
        builder.op("slice_by_index", name, &arguments).unwrap()
    });
    let over = builder.constant("over", ints(&[1])).unwrap();
    let mean = builder.op("reduce_mean", "mean", &[("x", both), ("axes", over)]).unwrap();
    let flipped = builder.op("linear", "flipped", &[("x", turned), ("weight", weight)]).unwrap();
    for output in [scores, conv, first, last, mean, flipped] {
        builder.output(output, "");
    }
    let function = builder.finish();
    let found = tokens::axes(&function, &[ids, mask]);
    let of = |name: &str| match found.get(&function.find(name).unwrap()) {
        None => "none".to_owned(),
        Some(None) => "unknown".to_owned(),
        Some(Some(axes)) => format!("{axes:?}"),
    };
    for (name, wanted) in [
        ("x", "{1}"),
        ("query", "{1}"),
        ("turned", "{2}"),
        ("scores", "{1, 2}"),
        ("taken", "{1}"),
        ("channels", "{3}"),
        ("conv", "{3}"),
        ("both", "{1}"),
        ("first", "none"),
        ("last", "unknown"),
        ("mean", "none"),
        ("flipped", "unknown"),
    ] {
        assert_eq!(of(name), wanted, "{name}");
    }
}
