use super::{Model, Step, insert, plan};
use crate::activations::tests::{Net, counted, inputs};
use crate::graph::weight::{Data, Operand, Storage, Weight};
use crate::graph::{Constant, DataType, Function, ValueId};
use crate::runtime::reference::Step as Shown;
use crate::runtime::{Mode, Reference, Tensors};

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
    let id = function.find(name).unwrap();
    let (shape, old) = values(function, id).unwrap();
    let new = old.iter().enumerate().flat_map(|(i, x)| (x * factor(i)).to_le_bytes());
    let new: Vec<u8> = new.collect();
    let weight = Weight::dense(Operand::new(DataType::Float32, &shape, new));
    function.values[id.0].constant = Some(weight.into());
}

fn planned(function: &Function, alpha: f64) -> Vec<Step> {
    let number = |id: ValueId| function.value(id).constant.as_ref()?.as_weight().map(|_| id.0);
    let read = |at: usize| values(function, ValueId(at));
    let model = Model { functions: vec![(function, Box::new(number))], values: &read };
    plan(&model, &counted(function), alpha)
}

/// The steps, done.
fn smoothed(function: &Function, steps: &[Step]) -> Function {
    let mut done = function.clone();
    for step in steps {
        for scaled in &step.scaled {
            let (shape, _) = values(function, ValueId(scaled.weight)).unwrap();
            let inner: usize = shape[scaled.axis + 1..].iter().product();
            let name = function.values[scaled.weight].name.clone();
            multiply(&mut done, &name, &|i| {
                let factor = step.factors[i / inner % step.factors.len()];
                if scaled.divided { 1.0 / factor } else { factor }
            });
        }
    }
    insert(&mut done, steps);
    done
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
        let steps = planned(&function, alpha);
        let told: Vec<(&str, bool)> =
            steps.iter().map(|s| (s.value.as_str(), s.inserted)).collect();
        assert_eq!(told, [("normed", false), ("active", true)], "{alpha}");
        let done = smoothed(&function, &steps);
        assert_eq!(done.check(crate::target::Target::Ios18), []);
        assert_eq!(output(&done), output(&function), "{alpha}");
        // The outlier's factor is among the largest, and grows with the strength.
        if alpha > 0.0 {
            let largest = steps[0].factors.iter().copied().fold(0.0, f32::max);
            assert_eq!(steps[0].factors[3], largest, "{:?}", steps[0].factors);
        }
    }
    let spread = |alpha| planned(&function, alpha)[0].factors[3];
    assert!(spread(1.0) > spread(0.5), "{} {}", spread(1.0), spread(0.5));
}

#[test]
fn a_value_that_is_read_otherwise_is_not_divided_itself() {
    let mut function = network();
    let id = function.find("normed").unwrap();
    function.outputs.push(crate::graph::Feature::new(id));
    let steps = planned(&function, 0.5);
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
    let steps = planned(&function, 0.5);
    let touched = |id: ValueId| steps.iter().any(|s| s.scaled.iter().any(|w| w.weight == id.0));
    assert!(!touched(weight));
    assert_eq!(output(&smoothed(&function, &steps)), output(&function));
}

#[test]
fn quantizing_smoothed_layers_regains_what_the_outlier_cost() {
    // A column of weights 30 times the others: an INT8 scale for each row is the outlier's.
    let mut function = network();
    multiply(&mut function, "up_weight", &|i| if i % 16 == 7 { 30.0 } else { 1.0 });
    let steps = planned(&function, 0.0);
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
