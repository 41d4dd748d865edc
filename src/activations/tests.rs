use super::{Activations, Given, Pairs, Quantized, Zero, quantize, strip};
use crate::calibrate::{Calibration, Data, Model, Observer, Recorder, watched};
use crate::graph::weight::{Operand, Weight};
use crate::graph::{Builder, Constant, DataType, Function, Sizes, TensorType, ValueId};
use crate::runtime::reference::Step;
use crate::runtime::{Mode, Reference, Tensor, Tensors};
use crate::target::Target;
use ndarray::{ArrayD, IxDyn};

/// A builder with short words.
pub(crate) struct Net(pub(crate) Builder);

impl Net {
    pub(crate) fn new() -> Self {
        Self(Builder::new())
    }

    pub(crate) fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        self.0.input(name, TensorType::fixed(DataType::Float32, shape), Sizes::Fixed).unwrap()
    }

    /// Codes of a fixed pattern; one scale an output channel.
    fn int8(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let count = shape.iter().product::<usize>();
        let codes: Vec<u8> = (0..count).map(|i| ((i * 37 + 11) % 255) as u8).collect();
        let mut scales = vec![1; shape.len()];
        scales[0] = shape[0];
        let scale: Vec<u8> =
            (0..shape[0]).flat_map(|i| (0.002 + 0.0001 * i as f32).to_le_bytes()).collect();
        let storage = crate::graph::weight::Storage::Linear {
            codes: Operand::new(DataType::Int8, shape, codes),
            scale: Operand::new(DataType::Float32, &scales, scale),
            offset: None,
        };
        self.0.constant(name, Weight { shape: shape.to_vec(), storage }).unwrap()
    }

    pub(crate) fn float(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<u8> =
            (0..count).flat_map(|i| (((i * 29) % 17) as f32 * 0.1 - 0.8).to_le_bytes()).collect();
        self.0.constant(name, Weight::dense(Operand::new(DataType::Float32, shape, bytes))).unwrap()
    }

    pub(crate) fn op(&mut self, which: &str, name: &str, arguments: &[(&str, ValueId)]) -> ValueId {
        self.0.op(which, name, arguments).unwrap()
    }

    fn linear(&mut self, name: &str, x: ValueId, shape: [usize; 2]) -> ValueId {
        let weight = self.int8(&format!("{name}_weight"), &shape);
        self.op("linear", name, &[("x", x), ("weight", weight)])
    }

    fn conv(&mut self, name: &str, x: ValueId, shape: [usize; 4]) -> ValueId {
        let weight = self.int8(&format!("{name}_weight"), &shape);
        let same = self.0.constant(&format!("{name}_same"), Constant::text("same")).unwrap();
        self.op("conv", name, &[("x", x), ("weight", weight), ("pad_type", same)])
    }

    pub(crate) fn finish(mut self, output: ValueId) -> Function {
        self.0.output(output, "");
        self.0.finish()
    }
}

/// Inputs that look like noise, a little to one side.
pub(crate) fn inputs(function: &Function) -> Tensors {
    let draw = |feature: &crate::graph::Feature| {
        let value = function.value(feature.value);
        let shape = value.ty.tensor().unwrap().shape().unwrap();
        let mut state = 12345u32;
        let array = ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 24) as f32 * 2.0 - 0.9
        });
        (value.name.clone(), Tensor::float(DataType::Float32, array))
    };
    function.inputs.iter().map(draw).collect()
}

/// What the function computes on [`inputs`], counted.
pub(crate) fn counted(function: &Function) -> Calibration {
    let mut all = inputs(function);
    let mut observe = |step: &Step<'_>| {
        for id in &step.operation.outputs {
            all.insert(function.value(*id).name.clone(), step.value(*id).unwrap().clone());
        }
        Ok(())
    };
    let reference = Reference { mode: Mode::F32 };
    reference.evaluate(function, &inputs(function), &mut Tensors::new(), &mut observe).unwrap();
    let mut recorder = Recorder::default();
    let mut seen = Vec::new();
    for watch in watched(function) {
        let array = all[&watch.name].as_float().unwrap();
        seen.push((recorder.expect(&watch).unwrap(), array.as_slice().unwrap(), array.shape()));
    }
    recorder.record(seen).unwrap();
    recorder.end_sample();
    let model = Model { package: String::new(), blake3: String::new(), function: None };
    recorder.finish(model, Data { blake3: String::new(), file: String::new(), samples: 1 })
}

fn quantized(function: &Function, how: &str) -> (Function, Quantized) {
    let how: Activations = how.parse().unwrap();
    quantized_with(function, &how)
}

fn quantized_with(function: &Function, how: &Activations) -> (Function, Quantized) {
    let mut pairs = function.clone();
    let calibration = &counted(function);
    let done = quantize(&mut pairs, Given { calibration, how, original: &|_| None });
    assert_eq!(pairs.check(Target::Ios18), [], "{}", listing(&pairs));
    (pairs, done)
}

/// The operations, one a line: what they read that is no constant, and the numbers of pairs.
fn listing(function: &Function) -> String {
    let mut text = String::new();
    for operation in &function.operations {
        let name = |id: ValueId| function.value(id).name.as_str();
        let read =
            operation.arguments.iter().filter(|a| function.value(a.value).constant.is_none());
        let read: Vec<&str> = read.map(|a| name(a.value)).collect();
        let zero = operation.argument("zero_point").map_or("", |_| ", zero point");
        let outputs: Vec<&str> = operation.outputs.iter().map(|&id| name(id)).collect();
        let (row, outputs, read) = (operation.row.name, outputs.join(", "), read.join(", "));
        text.push_str(&format!("{outputs} = {row}({read}{zero})\n"));
    }
    text
}

/// Signal over noise of the function's first output, beside another's.
fn decibels(function: &Function, other: &Function) -> f64 {
    let run = |function: &Function| {
        let reference = Reference { mode: Mode::F32 };
        let inputs = inputs(function);
        let mut ignore = |_: &Step<'_>| Ok(());
        let outputs =
            reference.evaluate(function, &inputs, &mut Tensors::new(), &mut ignore).unwrap();
        let name = &function.value(function.outputs[0].value).name;
        outputs[name].as_float().unwrap().iter().map(|&x| f64::from(x)).collect::<Vec<_>>()
    };
    let (a, b) = (run(function), run(other));
    let signal: f64 = a.iter().map(|x| x * x).sum();
    let noise: f64 = a.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum();
    10.0 * (signal / noise).log10()
}

/// Two layers with GELU between, as in a feed-forward network, behind a norm and before a sum.
fn feed_forward() -> Function {
    let mut net = Net::new();
    let x = net.input("x", &[5, 16]);
    let axes = net.0.constant("axes", Constant::ints(&[-1])).unwrap();
    let normed = net.op("layer_norm", "normed", &[("x", x), ("axes", axes)]);
    let up = net.linear("up", normed, [32, 16]);
    let active = net.op("gelu", "active", &[("x", up)]);
    let down = net.linear("down", active, [16, 32]);
    let sum = net.op("add", "sum", &[("x", x), ("y", down)]);
    let y = net.op("layer_norm", "y", &[("x", sum), ("axes", axes)]);
    net.finish(y)
}

#[test]
fn layers_read_codes_and_a_sum_before_a_norm_stays_in_float() {
    let function = feed_forward();
    let (pairs, done) = quantized(&function, "int8,min-max");
    insta::assert_snapshot!(listing(&pairs), @r"
    normed = layer_norm(x)
    normed_quantized = quantize(normed)
    normed_dequantized = dequantize(normed_quantized)
    up = linear(normed_dequantized)
    active = gelu(up)
    active_quantized = quantize(active, zero point)
    active_dequantized = dequantize(active_quantized, zero point)
    down = linear(active_dequantized)
    sum = add(x, down)
    y = layer_norm(sum)
    ");
    assert_eq!((done.values, done.layers.len(), done.left.len()), (2, 2, 0));
    assert!(decibels(&function, &pairs) > 30.0, "{}", decibels(&function, &pairs));
}

#[test]
fn one_sided_ranges_get_a_zero_point_unless_none_is_wanted() {
    let function = feed_forward();
    let zeros = |how: &str| listing(&quantized(&function, how).0).matches("zero point").count();
    assert_eq!(zeros("int8,symmetric"), 0);
    assert_eq!(zeros("int8,asymmetric"), 4);
    let (symmetric, auto) =
        (quantized(&function, "int8,symmetric").0, quantized(&function, "int8").0);
    assert!(decibels(&function, &auto) >= decibels(&function, &symmetric));
}

/// A residual block with pooling and a join behind it: `out = conv(concat(max_pool(relu(a + b)), c))`.
fn residual() -> Function {
    let mut net = Net::new();
    let x = net.input("x", &[1, 4, 8, 8]);
    let a = net.conv("a", x, [4, 4, 3, 3]);
    let a = net.op("relu", "a_active", &[("x", a)]);
    let b = net.conv("b", a, [4, 4, 3, 3]);
    let sum = net.op("add", "sum", &[("x", a), ("y", b)]);
    let active = net.op("relu", "active", &[("x", sum)]);
    let sizes = net.0.constant("sizes", Constant::ints(&[2, 2])).unwrap();
    let valid = net.0.constant("valid", Constant::text("valid")).unwrap();
    let pooled = net.op(
        "max_pool",
        "pooled",
        &[("x", active), ("kernel_sizes", sizes), ("strides", sizes), ("pad_type", valid)],
    );
    let c = net.conv("c", pooled, [4, 4, 1, 1]);
    let axis = net.0.constant("axis", Constant::int(1)).unwrap();
    let interleave = net.0.constant("interleave", Constant::bool(false)).unwrap();
    let joined = net.op(
        "concat",
        "joined",
        &[("values", pooled), ("values", c), ("axis", axis), ("interleave", interleave)],
    );
    let out = net.conv("out", joined, [4, 8, 1, 1]);
    net.finish(out)
}

#[test]
fn chains_of_convolutions_stay_in_int8() {
    let function = residual();
    let (pairs, done) = quantized(&function, "int8");
    insta::assert_snapshot!(listing(&pairs), @r"
    x_quantized = quantize(x)
    x_dequantized = dequantize(x_quantized)
    a = conv(x_dequantized)
    a_active = relu(a)
    a_active_quantized = quantize(a_active)
    a_active_dequantized = dequantize(a_active_quantized)
    b = conv(a_active_dequantized)
    b_quantized = quantize(b)
    b_dequantized = dequantize(b_quantized)
    sum = add(a_active_dequantized, b_dequantized)
    active = relu(sum)
    active_quantized = quantize(active, zero point)
    active_dequantized = dequantize(active_quantized, zero point)
    pooled = max_pool(active_dequantized)
    pooled_quantized = quantize(pooled, zero point)
    pooled_dequantized = dequantize(pooled_quantized, zero point)
    c = conv(pooled_dequantized)
    c_quantized = quantize(c, zero point)
    c_dequantized = dequantize(c_quantized, zero point)
    joined = concat(pooled_dequantized, c_dequantized)
    joined_quantized = quantize(joined, zero point)
    joined_dequantized = dequantize(joined_quantized, zero point)
    out = conv(joined_dequantized)
    ");
    assert_eq!(done.left.len(), 0);
    assert!(decibels(&function, &pairs) > 25.0, "{}", decibels(&function, &pairs));
    // Codes that meet have one scale.
    let scale = |name: &str| {
        let quantize = pairs.operations.iter().find(|o| o.name == format!("{name}_quantized"));
        let id = quantize.unwrap().argument("scale").unwrap();
        pairs.value(id).constant.as_ref().unwrap().as_floats().unwrap()
    };
    assert_eq!(scale("a_active"), scale("b"));
    assert_eq!(scale("active"), scale("pooled"));
    assert_eq!(scale("pooled"), scale("joined"));
    assert_eq!(scale("c"), scale("joined"));
}

/// `tests/interop/pairs.py` compares all of it with what coremltools itself writes.
#[test]
fn coremltools_puts_pairs_behind_layers_as_well() {
    let how = Activations { pairs: Pairs::Coremltools, ..Activations::default() };
    let (pairs, done) = quantized_with(&feed_forward(), &how);
    insta::assert_snapshot!(listing(&pairs), @r"
    x_quantized = quantize(x)
    x_dequantized = dequantize(x_quantized)
    normed = layer_norm(x)
    normed_quantized = quantize(normed)
    normed_dequantized = dequantize(normed_quantized)
    up = linear(normed_dequantized)
    up_quantized = quantize(up)
    up_dequantized = dequantize(up_quantized)
    active = gelu(up_dequantized)
    active_quantized = quantize(active)
    active_dequantized = dequantize(active_quantized)
    down = linear(active_dequantized)
    down_quantized = quantize(down)
    down_dequantized = dequantize(down_quantized)
    sum = add(x_dequantized, down_dequantized)
    sum_quantized = quantize(sum)
    sum_dequantized = dequantize(sum_quantized)
    y = layer_norm(sum_dequantized)
    ");
    assert_eq!((done.values, done.layers.len(), done.left.len()), (6, 2, 0));
    let (pairs, _) = quantized_with(&residual(), &how);
    insta::assert_snapshot!(listing(&pairs), @r"
    x_quantized = quantize(x)
    x_dequantized = dequantize(x_quantized)
    a = conv(x_dequantized)
    a_active = relu(a)
    a_active_quantized = quantize(a_active)
    a_active_dequantized = dequantize(a_active_quantized)
    b = conv(a_active_dequantized)
    b_quantized = quantize(b)
    b_dequantized = dequantize(b_quantized)
    sum = add(a_active_dequantized, b_dequantized)
    active = relu(sum)
    active_quantized = quantize(active)
    active_dequantized = dequantize(active_quantized)
    pooled = max_pool(active_dequantized)
    pooled_quantized = quantize(pooled)
    pooled_dequantized = dequantize(pooled_quantized)
    c = conv(pooled_dequantized)
    c_quantized = quantize(c)
    c_dequantized = dequantize(c_quantized)
    joined = concat(pooled_dequantized, c_dequantized)
    joined_quantized = quantize(joined)
    joined_dequantized = dequantize(joined_quantized)
    out = conv(joined_dequantized)
    ");
    // A join alone has one range.
    let scale = |name: &str| {
        let id = pairs.operations.iter().find(|o| o.name == format!("{name}_quantized")).unwrap();
        let scale = &pairs.value(id.argument("scale").unwrap()).constant;
        scale.as_ref().unwrap().as_floats().unwrap()[0]
    };
    assert_eq!((scale("pooled"), scale("c")), (scale("joined"), scale("joined")));
    assert_ne!(scale("a_active"), scale("b"));
    // Extremes, unless something else is asked for.
    let (observer, zero) = how.ranges();
    assert_eq!((observer, zero), (Observer::MinMax, Zero::Symmetric));
    let (observer, _) = Activations { observer: Some(Observer::Mse), ..how }.ranges();
    assert_eq!(observer, Observer::Mse);
}

#[test]
fn what_cannot_multiply_in_int8_says_why() {
    let mut net = Net::new();
    let x = net.input("x", &[5, 16]);
    let a = net.linear("a", x, [16, 16]);
    let weight = net.float("b_weight", &[16, 16]);
    let b = net.op("linear", "b", &[("x", a), ("weight", weight)]);
    let c = net.linear("c", b, [8, 16]);
    let function = net.finish(c);
    let how =
        Activations { float: vec![regex::Regex::new("^c").unwrap()], ..Activations::default() };
    let (pairs, done) = quantized_with(&function, &how);
    assert_eq!(done.layers, ["a"]);
    let left: Vec<String> = done.left.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert_eq!(left, ["b: its weight is not quantized", "c: a rule keeps what it reads in float"]);
    assert_eq!(listing(&pairs).matches("= quantize").count(), 1);
}

#[test]
fn a_layer_whose_input_was_not_counted_stays_in_float() {
    let function = feed_forward();
    let mut calibration = counted(&function);
    calibration.values.remove("active").unwrap();
    let mut pairs = function.clone();
    let (calibration, how) = (&calibration, &Activations::default());
    let done = quantize(&mut pairs, Given { calibration, how, original: &|_| None });
    assert_eq!(done.layers, ["up"]);
    assert_eq!(done.left["down"], "its input was not counted in the calibration");
}

#[test]
fn products_of_activations_are_quantized_where_asked_for() {
    let mut net = Net::new();
    let x = net.input("x", &[6, 16]);
    let q = net.linear("q", x, [8, 16]);
    let k = net.linear("k", x, [8, 16]);
    let turned = net.0.constant("turned", Constant::bool(true)).unwrap();
    let scores = net.op("matmul", "scores", &[("x", q), ("y", k), ("transpose_y", turned)]);
    let function = net.finish(scores);
    assert_eq!(quantized(&function, "int8").1.layers, ["q", "k"]);
    let (pairs, done) = quantized(&function, "int8,matmul");
    assert_eq!(done.layers, ["q", "k", "scores"]);
    insta::assert_snapshot!(listing(&pairs), @r"
    x_quantized = quantize(x)
    x_dequantized = dequantize(x_quantized)
    q = linear(x_dequantized)
    q_quantized = quantize(q)
    q_dequantized = dequantize(q_quantized)
    k = linear(x_dequantized)
    k_quantized = quantize(k)
    k_dequantized = dequantize(k_quantized)
    scores = matmul(q_dequantized, k_dequantized)
    ");
}

#[test]
fn stripping_undoes_it() {
    for function in [feed_forward(), residual()] {
        let (mut pairs, _) = quantized(&function, "int8");
        strip(&mut pairs);
        assert_eq!(listing(&pairs), listing(&function));
    }
    // Halves with other numbers are no pair.
    let (mut pairs, _) = quantized(&feed_forward(), "int8");
    let other = ValueId(pairs.values.len());
    let mut scale = pairs.values[pairs.find("active_scale").unwrap().0].clone();
    scale.name = "other".into();
    let two = 2.0f32.to_le_bytes().to_vec();
    scale.constant = Some(Weight::dense(Operand::new(DataType::Float32, &[], two)).into());
    pairs.values.push(scale);
    let decoded = pairs.operations.iter_mut().find(|o| o.name == "active_dequantized").unwrap();
    decoded.arguments.iter_mut().find(|a| a.param == "scale").unwrap().value = other;
    strip(&mut pairs);
    assert_eq!(listing(&pairs).matches("quantize(").count(), 2);
}

#[test]
fn words_are_read_as_they_are_printed() {
    for words in
        ["int8", "int8,symmetric", "int8,asymmetric,matmul,percentile:99.9", "int8,entropy"]
    {
        let how: Activations = words.parse().unwrap();
        assert_eq!(how.to_string(), words);
    }
    for pairs in [Pairs::Chains, Pairs::Coremltools] {
        assert_eq!(pairs.to_string().parse(), Ok(pairs));
    }
    assert!("apple".parse::<Pairs>().unwrap_err().contains("not `apple`"));
    assert!("int4".parse::<Activations>().unwrap_err().contains("not `int4`"));
    assert!("int8,matmull".parse::<Activations>().unwrap_err().contains("`matmull`"));
}
