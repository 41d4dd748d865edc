use super::factors::choose;
use super::{Model, Smooth, Step, insert, plan, strip};
use crate::activations::tests::{Net, counted, inputs};
use crate::calibrate::{Grid, Observer, Symmetry};
use crate::graph::weight::{Data, Operand, Storage, Weight};
use crate::graph::{Constant, DataType, Function, ValueId};
use crate::runtime::reference::Step as Shown;
use crate::runtime::{Mode, Reference, Tensors};
use crate::scheme::Clip;
use crate::source::Source;

/// `linear(gelu(linear(layer_norm(x))))`: the norm can take a division up, GELU cannot.
fn network() -> Function {
    let mut net = Net::new();
    let x = net.input("x", &[7, 16]);
    let axes = net.0.constant("axes", Constant::ints(&[-1])).unwrap();
    let (gamma, beta) = (net.float("gamma", &[16]), net.float("beta", &[16]));
    let arguments = [("x", x), ("axes", axes), ("gamma", gamma), ("beta", beta)];
    let normed = net.op("layer_norm", "normed", &arguments);
    let up_weight = net.float("up_weight", &[24, 16]);
    let up = net.op("linear", "up", &[("x", normed), ("weight", up_weight)]);
    let active = net.op("gelu", "active", &[("x", up)]);
    let down_weight = net.float("down_weight", &[8, 24]);
    let down = net.op("linear", "down", &[("x", active), ("weight", down_weight)]);
    let mut function = net.finish(down);
    // An outlier column in what either layer reads.
    for (name, at) in [("gamma", 3..4), ("up_weight", 5 * 16..6 * 16)] {
        multiply(&mut function, name, &|i| if at.contains(&i) { 30.0 } else { 1.0 });
    }
    function
}

/// A constant's elements.
fn values(function: &Function, id: ValueId) -> Option<(Vec<usize>, Vec<f32>)> {
    let constant = function.value(id).constant.as_ref()?;
    Some((constant.as_weight()?.shape.clone(), constant.as_floats()?))
}

fn multiply(function: &mut Function, name: &str, factor: &dyn Fn(usize) -> f32) {
    replace(function, name, &|i, old| old * factor(i));
}

fn replace(function: &mut Function, name: &str, new: &dyn Fn(usize, f32) -> f32) {
    let id = function.find(name).unwrap();
    let (shape, old) = values(function, id).unwrap();
    let new = old.iter().enumerate().flat_map(|(i, &old)| new(i, old).to_le_bytes());
    let new: Vec<u8> = new.collect();
    let weight = Weight::dense(Operand::new(DataType::Float32, &shape, new));
    function.values[id.0].constant = Some(weight.into());
}

fn planned(function: &Function, smooth: Smooth) -> Vec<Step> {
    let number = |id: ValueId| function.value(id).constant.as_ref()?.as_weight().map(|_| id.0);
    let read = |at: usize| values(function, ValueId(at));
    let model = Model { functions: vec![(function, Box::new(number))], values: &read };
    plan(&model, smooth, Some(&counted(function)))
}

/// The steps, done.
fn smoothed(function: &Function, steps: &[Step]) -> Function {
    let mut done = function.clone();
    for step in steps {
        for scaled in &step.scaled {
            let (shape, _) = values(function, ValueId(scaled.weight)).unwrap();
            let inner: usize = shape[scaled.axis + 1..].iter().product();
            let name = function.values[scaled.weight].name.clone();
            let by = scaled.multipliers(&step.factors);
            assert_eq!(by.len(), shape[scaled.axis]);
            multiply(&mut done, &name, &|i| by[i / inner % by.len()]);
        }
    }
    insert(&mut done, steps);
    done
}

/// What a function makes of [`inputs`] under this name, `[rows, columns]`.
fn value_of(function: &Function, name: &str) -> ndarray::Array2<f32> {
    let mut function = function.clone();
    function.outputs = vec![crate::graph::Feature::new(function.find(name).unwrap())];
    let reference = Reference { mode: Mode::F32 };
    let mut ignore = |_: &Shown<'_>| Ok(());
    let inputs = inputs(&function);
    let outputs = reference.evaluate(&function, &inputs, &mut Tensors::new(), &mut ignore).unwrap();
    outputs[name].as_float().unwrap().clone().into_dimensionality().unwrap()
}

fn output(function: &Function) -> Vec<f32> {
    let reference = Reference { mode: Mode::F32 };
    let mut ignore = |_: &Shown<'_>| Ok(());
    let inputs = inputs(function);
    let outputs = reference.evaluate(function, &inputs, &mut Tensors::new(), &mut ignore).unwrap();
    outputs["down"].as_float().unwrap().iter().copied().collect()
}

#[test]
fn outliers_move_and_no_bit_of_the_output_changes() {
    let function = network();
    for alpha in [0.0, 0.5, 1.0] {
        let steps = planned(&function, Smooth::Measured(alpha));
        let told: Vec<(&str, bool)> =
            steps.iter().map(|s| (s.value.as_str(), s.inserted)).collect();
        assert_eq!(told, [("normed", false), ("active", true)], "{alpha}");
        let done = smoothed(&function, &steps);
        assert_eq!(done.check(crate::target::Target::Ios18), []);
        assert_eq!(output(&done), output(&function), "{alpha}");
        let mut stripped = done;
        strip(&mut stripped);
        assert_eq!(stripped.operations, function.operations, "{alpha}");
        // The outlier's factor is among the largest, and grows with the strength.
        if alpha > 0.0 {
            let largest = steps[0].factors.iter().copied().fold(0.0, f32::max);
            assert_eq!(steps[0].factors[3], largest, "{:?}", steps[0].factors);
        }
    }
    let spread = |alpha| planned(&function, Smooth::Measured(alpha))[0].factors[3];
    assert!(spread(1.0) > spread(0.5), "{} {}", spread(1.0), spread(0.5));
}

#[test]
fn a_value_that_is_read_otherwise_is_not_divided_itself() {
    let mut function = network();
    let id = function.find("normed").unwrap();
    function.outputs.push(crate::graph::Feature::new(id));
    let steps = planned(&function, Smooth::Measured(0.5));
    assert!(steps[0].inserted, "callers read it as it was");
    assert_eq!(output(&smoothed(&function, &steps)), output(&function));
}

#[test]
fn a_weight_that_something_else_reads_stays() {
    let mut function = network();
    let weight = function.find("up_weight").unwrap();
    // Another layer with the same weight.
    let mut other = function.operations.iter().find(|o| o.name == "up").unwrap().clone();
    other.name = "other".into();
    let x = function.find("x").unwrap();
    other.arguments.iter_mut().find(|a| a.param == "x").unwrap().value = x;
    let mut value = function.value(other.outputs[0]).clone();
    value.name = "other".into();
    function.values.push(value);
    other.outputs = vec![ValueId(function.values.len() - 1)];
    function.operations.insert(0, other);
    let steps = planned(&function, Smooth::Measured(0.5));
    let touched = |id: ValueId| steps.iter().any(|s| s.scaled.iter().any(|w| w.weight == id.0));
    assert!(!touched(weight));
    assert_eq!(output(&smoothed(&function, &steps)), output(&function));
}

#[test]
fn quantizing_smoothed_layers_regains_what_the_outlier_cost() {
    // A column of weights 30 times the others: an INT8 scale for each row is the outlier's.
    let mut function = network();
    multiply(&mut function, "up_weight", &|i| if i % 16 == 7 { 30.0 } else { 1.0 });
    let steps = planned(&function, Smooth::Measured(0.0));
    let scaled = smoothed(&function, &steps);
    let noise = |of: &Function| {
        let mut rounded = of.clone();
        let (shape, old) = values(of, of.find("up_weight").unwrap()).unwrap();
        let cols = shape[1];
        let most: Vec<f32> =
            old.chunks(cols).map(|row| row.iter().fold(0f32, |m, w| m.max(w.abs()))).collect();
        let bytes = old.iter().enumerate().flat_map(|(i, w)| {
            let scale = most[i / cols] / 127.0;
            ((w / scale).round_ties_even() * scale).to_le_bytes()
        });
        let storage = Storage::Dense(Operand {
            dtype: DataType::Float32,
            shape: shape.clone(),
            data: Data::Bytes(bytes.collect::<Vec<u8>>().into()),
        });
        let id = rounded.find("up_weight").unwrap();
        rounded.values[id.0].constant = Some(Weight { shape, storage }.into());
        let (a, b) = (output(of), output(&rounded));
        a.iter().zip(&b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
    };
    let gained = 10.0 * (noise(&function) / noise(&scaled)).log10();
    assert!(gained >= 10.0, "{gained} dB");
}

/// `conv(relu(depthwise(max_pool(relu(batch_norm(conv(x)))))))`, two rows of the depthwise one for each
/// channel, and channels of unlike size in either of its ends.
fn convolutions() -> Function {
    let mut net = Net::new();
    let x = net.input("x", &[1, 3, 8, 8]);
    let weight = net.float("first_weight", &[8, 3, 3, 3]);
    let first = net.op("conv", "first", &[("x", x), ("weight", weight)]);
    let parts = ["mean", "variance", "gamma", "beta"].map(|name| (name, net.float(name, &[8])));
    let normed = net.op("batch_norm", "normed", &[&[("x", first)], &parts[..]].concat());
    let active = net.op("relu", "active", &[("x", normed)]);
    let sizes = net.0.constant("sizes", Constant::ints(&[2, 2])).unwrap();
    let valid = net.0.constant("valid", Constant::text("valid")).unwrap();
    let pool = [("x", active), ("kernel_sizes", sizes), ("pad_type", valid)];
    let pooled = net.op("max_pool", "pooled", &pool);
    let groups = net.0.constant("groups", Constant::int(8)).unwrap();
    let weight = net.float("deep_weight", &[16, 1, 3, 3]);
    let bias = net.float("deep_bias", &[16]);
    let deep = [("x", pooled), ("weight", weight), ("bias", bias), ("groups", groups)];
    let deep = net.op("conv", "deep", &deep);
    let spread = net.op("relu", "spread", &[("x", deep)]);
    let weight = net.float("last_weight", &[4, 16, 1, 1]);
    let down = net.op("conv", "down", &[("x", spread), ("weight", weight)]);
    let mut function = net.finish(down);
    replace(&mut function, "variance", &|i, _| 0.5 + i as f32);
    replace(&mut function, "gamma", &|i, _| 1.5f32.powi(i as i32 * 3 % 8));
    multiply(&mut function, "last_weight", &|i| 1.5f32.powi(i as i32 * 5 % 16 / 2));
    function
}

/// The largest magnitude along an axis of each place of it.
fn largest(function: &Function, name: &str, axis: usize) -> Vec<f32> {
    let (shape, all) = values(function, function.find(name).unwrap()).unwrap();
    let inner: usize = shape[axis + 1..].iter().product();
    let mut most = vec![0f32; shape[axis]];
    for (at, w) in all.iter().enumerate() {
        let most = &mut most[at / inner % shape[axis]];
        *most = most.max(w.abs());
    }
    most
}

#[test]
fn convolutions_are_equalized_and_no_bit_of_the_output_changes() {
    let function = convolutions();
    let steps = planned(&function, Smooth::Equalized);
    let told: Vec<(&str, bool)> = steps.iter().map(|s| (s.value.as_str(), s.inserted)).collect();
    assert_eq!(told, [("pooled", false), ("spread", false)]);
    let done = smoothed(&function, &steps);
    assert_eq!(output(&done), output(&function));
    // Each ratio of what is before to what is behind is that of all others, within what powers of two
    // leave of a root.
    for (before, behind) in
        [(("deep_weight", 0), ("last_weight", 1)), (("gamma", 0), ("deep_weight", 0))]
    {
        let ratios = |of: &Function| {
            let (a, b) = (largest(of, before.0, before.1), largest(of, behind.0, behind.1));
            let times = b.len() / a.len();
            // Of a depthwise weight, the larger of a channel's rows.
            let b = b.chunks(times).map(|rows| rows.iter().copied().fold(0.0, f32::max));
            let ratios: Vec<f32> = a.iter().zip(b).map(|(a, b)| a / b).collect();
            let most = ratios.iter().copied().fold(0.0, f32::max);
            most / ratios.iter().copied().fold(f32::MAX, f32::min)
        };
        assert!(ratios(&function) > 4.0, "{}", ratios(&function));
        assert!(ratios(&done) <= 4.0, "{before:?} {}", ratios(&done));
    }
    // Once more, nothing is left to do.
    assert_eq!(planned(&done, Smooth::Equalized), []);
}

#[test]
fn measured_columns_of_a_depthwise_convolution_move_too() {
    let function = convolutions();
    let steps = planned(&function, Smooth::Measured(0.5));
    let told: Vec<&str> = steps.iter().map(|s| s.value.as_str()).collect();
    assert_eq!(told, ["pooled", "spread"]);
    assert_eq!(output(&smoothed(&function, &steps)), output(&function));
}

#[test]
fn what_cuts_at_a_fixed_place_takes_no_division_up() {
    let mut function = convolutions();
    let relu6 = crate::graph::ops::Row::find("relu6").unwrap();
    function.operations.iter_mut().find(|o| o.name == "active").unwrap().row = relu6;
    let steps = planned(&function, Smooth::Equalized);
    let told: Vec<&str> = steps.iter().map(|s| s.value.as_str()).collect();
    assert_eq!(told, ["spread"]);
}

/// `linear(joined)` behind attention with two heads of values and four of queries, four coordinates each,
/// either as one operation or as products.
fn attention(fused: bool) -> Function {
    let mut net = Net::new();
    let x = net.input("x", &[1, 5, 16]);
    let part = |net: &mut Net, name: &str, heads: i32| {
        let weight = net.float(&format!("{name}_weight"), &[heads as usize * 4, 16]);
        let all = net.op("linear", name, &[("x", x), ("weight", weight)]);
        let shape = Constant::ints(&[1, 5, heads, 4]);
        let shape = net.0.constant(&format!("{name}_shape"), shape).unwrap();
        let apart = net.op("reshape", &format!("{name}_apart"), &[("x", all), ("shape", shape)]);
        let order =
            net.0.constant(&format!("{name}_order"), Constant::ints(&[0, 2, 1, 3])).unwrap();
        net.op("transpose", &format!("{name}_heads"), &[("x", apart), ("perm", order)])
    };
    let [q, k, v] = [("q", 4), ("k", 2), ("v", 2)].map(|(name, heads)| part(&mut net, name, heads));
    let reshaped = |net: &mut Net, name: &str, x: ValueId, shape: &[i32]| {
        let shape = net.0.constant(&format!("{name}_shape"), Constant::ints(shape)).unwrap();
        net.op("reshape", name, &[("x", x), ("shape", shape)])
    };
    let q = reshaped(&mut net, "grouped", q, &[1, 2, 10, 4]);
    let found = if fused {
        let all = [("query", q), ("key", k), ("value", v)];
        net.op("scaled_dot_product_attention", "found", &all)
    } else {
        let yes = net.0.constant("yes", Constant::bool(true)).unwrap();
        let scores = net.op("matmul", "scores", &[("x", q), ("y", k), ("transpose_y", yes)]);
        let axis = net.0.constant("last", Constant::int(-1)).unwrap();
        let shares = net.op("softmax", "shares", &[("x", scores), ("axis", axis)]);
        net.op("matmul", "found", &[("x", shares), ("y", v)])
    };
    let heads = reshaped(&mut net, "heads", found, &[1, 4, 5, 4]);
    let order = net.0.constant("order", Constant::ints(&[0, 2, 1, 3])).unwrap();
    let last = net.op("transpose", "heads_last", &[("x", heads), ("perm", order)]);
    let joined = reshaped(&mut net, "joined", last, &[1, 5, 16]);
    let weight = net.float("o_weight", &[6, 16]);
    let down = net.op("linear", "down", &[("x", joined), ("weight", weight)]);
    let mut function = net.finish(down);
    multiply(&mut function, "v_weight", &|i| if i / 16 == 6 { 30.0 } else { 1.0 });
    function
}

#[test]
fn values_of_attention_move_with_all_heads_that_share_them() {
    for fused in [false, true] {
        let function = attention(fused);
        assert_eq!(function.check(crate::target::Target::Ios18), []);
        for smooth in [Smooth::Measured(0.5), Smooth::Equalized] {
            let steps = planned(&function, smooth);
            let step = steps.iter().find(|s| s.value == "joined").unwrap();
            assert!(!step.inserted);
            // Coordinate 2 of the second head of values: columns 2 of the third and fourth head.
            assert_eq!(step.factors.len(), 8);
            assert!(step.factors[6] > step.factors[5], "{:?}", step.factors);
            let o = function.find("o_weight").unwrap();
            let columns = step.scaled.iter().find(|scaled| scaled.weight == o.0).unwrap();
            let by = columns.multipliers(&step.factors);
            assert_eq!([by[10], by[14]], [step.factors[6]; 2]);
            assert_eq!(output(&smoothed(&function, &steps)), output(&function), "{fused}");
        }
    }
}

/// The SQNR of what the first layer of `columns` gives, both operands in INT8 of one scale a tensor and one
/// a row.
fn w8a8_db(function: &Function) -> f64 {
    let x = value_of(function, "normed");
    let (shape, w) = values(function, function.find("up_weight").unwrap()).unwrap();
    let w = ndarray::Array2::from_shape_vec([shape[0], shape[1]], w).unwrap();
    let statistics = &counted(function).values["normed"].statistics;
    let range = Observer::Mse.range(statistics, Symmetry::Symmetric).unwrap();
    let scale = Grid::of(range, Symmetry::Symmetric).scale;
    let codes = x.mapv(|x| (x / scale).round_ties_even().clamp(-128.0, 127.0) * scale);
    let scheme = "linear-int8".parse().unwrap();
    let rounded = crate::quantize::array(w.view().into_dyn(), scheme, Clip::Mse).unwrap();
    let rounded = rounded.dequantize().into_dimensionality::<ndarray::Ix2>().unwrap();
    let (exact, found) = (x.dot(&w.t()), codes.dot(&rounded.t()));
    let energy = |y: &ndarray::Array2<f32>| y.iter().map(|y| f64::from(y * y)).sum::<f64>();
    10.0 * (energy(&exact) / energy(&(&exact - &found))).log10()
}

/// `linear(layer_norm(x))` over 64 columns, one of them 30 times the others.
fn outlier() -> Function {
    let mut net = Net::new();
    let x = net.input("x", &[128, 64]);
    let axes = net.0.constant("axes", Constant::ints(&[-1])).unwrap();
    let (gamma, beta) = (net.float("gamma", &[64]), net.float("beta", &[64]));
    let normed = net.op(
        "layer_norm",
        "normed",
        &[("x", x), ("axes", axes), ("gamma", gamma), ("beta", beta)],
    );
    let weight = net.float("up_weight", &[64, 64]);
    let up = net.op("linear", "down", &[("x", normed), ("weight", weight)]);
    let mut function = net.finish(up);
    replace(&mut function, "beta", &|_, _| 0.0);
    replace(&mut function, "gamma", &|i, _| if i == 7 { 30.0 } else { 1.0 });
    function
}

#[test]
fn moving_an_outlier_column_of_activations_regains_ten_decibels() {
    let function = outlier();
    let steps = planned(&function, Smooth::Measured(0.5));
    let done = smoothed(&function, &steps);
    assert_eq!(output(&done), output(&function));
    let (before, after) = (w8a8_db(&function), w8a8_db(&done));
    assert!(after - before >= 10.0, "{before:.1} dB, then {after:.1} dB");
}
#[test]
fn factors_are_numpys_and_near_the_papers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/calibration/smooth.safetensors");
    let file = Source::open(path).unwrap();
    let rms = |names: &[&str]| {
        let mut sums = vec![0.0; 40];
        for tensor in file.tensors().iter().filter(|tensor| names.contains(&&*tensor.name)) {
            let weights = file.weights(tensor).unwrap();
            let mut x = vec![0.0; weights.len()];
            weights.decode(0..weights.len(), &mut x);
            x.iter().enumerate().for_each(|(i, &x)| sums[i % 40] += f64::from(x).powi(2));
        }
        sums.into_iter().map(f64::sqrt).collect::<Vec<_>>()
    };
    let (x, w) = (rms(&["x"]), rms(&["q", "k"]));
    let expected = &file.files()[0].metadata()["expected"];
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    for (alpha, expected) in expected.as_object().unwrap() {
        let factors = choose(&x, &w, alpha.parse().unwrap());
        for (column, factor) in factors.iter().enumerate() {
            let of = |whose: &str| expected[whose][column].as_f64().unwrap();
            let exponent = f64::from(factor.log2());
            assert_eq!(exponent, of("ours"), "{alpha}, column {column}");
            // Half an octave of rounding, and what root mean squares differ from maxima by.
            let paper = of("paper").clamp(-6.0, 6.0);
            assert!((exponent - paper).abs() < 0.9, "{alpha}, column {column}: {paper}");
        }
    }
}

#[test]
fn a_mean_over_all_places_lies_between_layers_too() {
    for keeps in [true, false] {
        let mut net = Net::new();
        let x = net.input("x", &[1, 3, 8, 8]);
        let weight = net.float("first_weight", &[8, 3, 3, 3]);
        let first = net.op("conv", "first", &[("x", x), ("weight", weight)]);
        let active = net.op("relu", "active", &[("x", first)]);
        let axes = net.0.constant("axes", Constant::ints(&[-2, -1])).unwrap();
        let keep = net.0.constant("keep", Constant::bool(keeps)).unwrap();
        let mean = [("x", active), ("axes", axes), ("keep_dims", keep)];
        let mut mean = net.op("reduce_mean", "mean", &mean);
        if keeps {
            let shape = net.0.constant("shape", Constant::ints(&[1, 8])).unwrap();
            mean = net.op("reshape", "flat", &[("x", mean), ("shape", shape)]);
        }
        let weight = net.float("last_weight", &[4, 8]);
        let down = net.op("linear", "down", &[("x", mean), ("weight", weight)]);
        let mut function = net.finish(down);
        multiply(&mut function, "last_weight", &|i| 2f32.powi(i as i32 % 8));
        let steps = planned(&function, Smooth::Equalized);
        let told: Vec<bool> = steps.iter().map(|s| s.inserted).collect();
        assert_eq!(told, [false], "{keeps}");
        assert_eq!(output(&smoothed(&function, &steps)), output(&function));
    }
}
