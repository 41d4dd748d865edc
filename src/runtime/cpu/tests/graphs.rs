//! Whole functions: chains, states, threads, errors.

use super::*;
use crate::runtime::cpu::schedule::{Item, schedule};

/// A function of random operations on tensors that broadcast with `[2, 3, 40]`.
fn random(seed: u32) -> Function {
    let mut graph = Graph::new(seed);
    let shapes: [&[usize]; 4] = [&[2, 3, 40], &[40], &[3, 1], &[]];
    let mut values: Vec<ValueId> = shapes.iter().map(|shape| graph.input(Float32, shape)).collect();
    for _ in 0..30 {
        let x = values[graph.numbers.below(values.len())];
        let y = values[graph.numbers.below(values.len())];
        let rank = graph.shape(x).len();
        let value = match graph.numbers.below(12) {
            0 => graph.op("add", &[("x", x), ("y", y)], &[]),
            1 => graph.op("sub", &[("x", x), ("y", y)], &[]),
            2 => {
                let small = graph.op("tanh", &[("x", y)], &[]);
                graph.op("mul", &[("x", x), ("y", small)], &[])
            }
            3 => graph.op("sigmoid", &[("x", x)], &[]),
            4 => graph.op("silu", &[("x", x)], &[]),
            5 => {
                let flag = graph.op("greater", &[("x", x), ("y", y)], &[]);
                graph.op("select", &[("cond", flag), ("a", x), ("b", y)], &[])
            }
            6 if rank > 0 => {
                let rest = [("axes", Constant::ints(&[-1])), ("keep_dims", Constant::bool(true))];
                graph.op("reduce_mean", &[("x", x)], &rest)
            }
            7 if rank > 0 => graph.op("softmax", &[("x", x)], &[]),
            8 => graph.op("gelu", &[("x", x)], &[]),
            9 if rank == 3 => {
                let perm = [("perm", Constant::ints(&[0, 2, 1]))];
                let turned = graph.op("transpose", &[("x", x)], &perm);
                let relu = graph.op("relu", &[("x", turned)], &[]);
                graph.op("transpose", &[("x", relu)], &perm)
            }
            10 => graph.op("maximum", &[("x", x), ("y", y)], &[]),
            _ => graph.op("identity", &[("x", x)], &[]),
        };
        values.push(value);
    }
    for &value in values[4..].iter().rev().step_by(4) {
        graph.output(value);
    }
    graph.function
}

#[test]
fn random_functions_agree_with_the_reference() {
    for seed in 0..60 {
        agree(&format!("function {seed}"), &random(seed));
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut graph = Graph::new(20);
    let x = graph.input(Float32, &[70, 512]);
    let w = graph.weight(Float16, &[300, 512]);
    let y = graph.op("linear", &[("x", x), ("weight", w)], &[]);
    let z = graph.op("gelu", &[("x", y)], &[]);
    let s = graph.op("softmax", &[("x", z)], &[]);
    let flag = [("transpose_y", Constant::bool(true))];
    let m = graph.op("matmul", &[("x", s), ("y", z)], &flag);
    graph.output(m);
    let (inputs, _) = draw(&graph.function, &mut Numbers(1));
    let run = || {
        let mut prepared = Cpu.prepare(&graph.function, &Shapes::new()).unwrap();
        let mut outputs = Tensors::new();
        prepared.run(&inputs, &mut Tensors::new(), &mut outputs).unwrap();
        outputs
    };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(run)
    };
    assert_eq!(on(1), on(3));
    // In no pool, but for the one that the run enters.
    assert_eq!(on(1), run());
}

#[test]
fn only_steps_worth_it_take_more_than_one_thread() {
    let shared = |kind: &str, x: &[usize], w: &[usize]| {
        let mut graph = Graph::new(20);
        let x = graph.input(Float32, x);
        let values = match kind {
            "linear" => vec![("x", x), ("weight", graph.weight(Float16, w))],
            _ => vec![("x", x)],
        };
        let y = graph.op(kind, &values, &[]);
        graph.output(y);
        crate::runtime::cpu::plan::plan(&graph.function, &Default::default()).unwrap().shared
    };
    #[rustfmt::skip]
    let cases: [(&str, &[usize], &[usize], bool); 4] = [
        ("linear", &[64, 64], &[172, 64], false),
        ("linear", &[64, 256], &[128, 256], true),
        ("exp", &[100, 100], &[], false),
        ("exp", &[200, 100], &[], true),
    ];
    for (kind, x, w, want) in cases {
        assert_eq!(shared(kind, x, w), want, "{kind} of {x:?} by {w:?}");
    }
}

#[test]
fn elementwise_operations_wait_and_run_together() {
    let mut graph = Graph::new(21);
    let x = graph.input(Float32, &[4, 8]);
    let (gate, up) = (graph.weight(Float32, &[8, 8]), graph.weight(Float32, &[8, 8]));
    let g = graph.op("linear", &[("x", x), ("weight", gate)], &[]);
    let silu = graph.op("silu", &[("x", g)], &[]);
    let u = graph.op("linear", &[("x", x), ("weight", up)], &[]);
    let y = graph.op("mul", &[("x", silu), ("y", u)], &[]);
    let unread = graph.op("exp", &[("x", y)], &[]);
    let _ = unread;
    graph.output(y);
    let want = [Item::One(0), Item::One(2), Item::Chain(vec![1, 3])];
    assert_eq!(schedule(&graph.function), want);
}

/// Writes rows of a state where `pos` says, and reads it before and after.
fn cache(read_before: bool, read_between: bool) -> Function {
    let mut graph = Graph::new(22);
    let state = graph.state(Float16, &[1, 2, 9, 4]);
    let pos = graph.input(Int32, &[4]);
    let rows = graph.input(Float32, &[1, 2, 3, 4]);
    let old = graph.op("read_state", &[("input", state)], &[]);
    let size = graph.constant(Constant::ints(&[1, 2, 3, 4]));
    let zeros = graph.constant(Constant::ints(&[0, 0, 1, 0]));
    let begin = graph.op("mul", &[("x", pos), ("y", zeros)], &[]);
    let end = graph.op("add", &[("x", begin), ("y", size)], &[]);
    let half = graph.op("cast", &[("x", rows)], &[("dtype", Constant::text("fp16"))]);
    let new = [("x", old), ("update", half), ("begin", begin), ("end", end)];
    let new = graph.op("slice_update", &new, &[]);
    if read_between {
        let between = graph.op("read_state", &[("input", state)], &[]);
        let sum = graph.op("reduce_sum", &[("x", between)], &[]);
        graph.output(sum);
    }
    graph.all("write_state", &[("input", state), ("data", new)], &[]);
    let read = graph.op("read_state", &[("input", state)], &[]);
    let flag = [("transpose_y", Constant::bool(true))];
    let scores = graph.op("matmul", &[("x", half), ("y", read)], &flag);
    graph.output(scores);
    if read_before {
        let sum = graph.op("add", &[("x", old), ("y", read)], &[]);
        graph.output(sum);
    }
    graph.function
}

#[test]
fn states_hold_what_was_written_last() {
    for (before, between) in [(false, false), (true, false), (false, true), (true, true)] {
        agree(&format!("cache {before} {between}"), &cache(before, between));
    }
}

#[test]
fn a_cache_is_written_in_place() {
    let function = cache(false, false);
    let ready = Cpu.prepare(&function, &Shapes::new()).unwrap();
    // The rows, where they begin and end, the scores and nothing of the cache's size.
    assert!(ready.memory().activations < 4 * (9 + 3 * 24 + 2 * 27 + 16), "{:?}", ready.memory());
}

#[test]
fn what_does_not_fit_is_a_usage_error() {
    let mut graph = Graph::new(23);
    let x = graph.input(Float32, &[2, 3]);
    let y = graph.op("relu", &[("x", x)], &[]);
    graph.output(y);
    let mut ready = Cpu.prepare(&graph.function, &Shapes::new()).unwrap();
    let float = |shape: &[usize]| Tensor::float(Float32, ArrayD::zeros(IxDyn(shape)));
    let mut run = |inputs: &[(&str, Tensor)]| {
        let inputs = inputs.iter().map(|(name, t)| ((*name).to_owned(), t.clone())).collect();
        ready.run(&inputs, &mut Tensors::new(), &mut Tensors::new())
    };
    #[rustfmt::skip]
    let cases = [
        (run(&[]), "input `v0` is missing; the function takes fp32[2, 3] there"),
        (run(&[("v0", float(&[3, 2]))]), "input `v0` is fp32[3, 2]; the function takes fp32[2, 3]"),
        (run(&[("v0", float(&[2, 3])), ("w", float(&[]))]), "there is no input `w`; the function takes `v0`"),
    ];
    for (got, want) in cases {
        assert_eq!(got.unwrap_err().to_string(), want);
    }
    assert!(run(&[("v0", float(&[2, 3]))]).is_ok());
}

#[test]
fn an_index_that_is_not_there_names_its_operation() {
    let mut graph = Graph::new(24);
    let (x, indices) = (graph.input(Float32, &[2, 3]), graph.input(Int32, &[1]));
    let y = graph.op("gather", &[("x", x), ("indices", indices)], &[]);
    graph.output(y);
    let mut ready = Cpu.prepare(&graph.function, &Shapes::new()).unwrap();
    let (mut inputs, _) = draw(&graph.function, &mut Numbers(1));
    inputs.insert("v1".into(), Tensor::int(Int32, ArrayD::from_elem(IxDyn(&[1]), 9)));
    let why = ready.run(&inputs, &mut Tensors::new(), &mut Tensors::new()).unwrap_err();
    assert!(
        why.to_string().starts_with("gather `gather_0`: `indices` holds 9 for a dimension of 2"),
        "{why}"
    );
}

#[test]
fn classes_get_labels_and_scores() {
    let mut graph = Graph::new(25);
    let x = graph.input(Float32, &[1, 3]);
    let y = graph.op("softmax", &[("x", x)], &[]);
    let names = ["cat", "dog", "cow"].map(str::to_owned).to_vec();
    let classes = [("classes", Constant::Labels(crate::graph::Labels::Texts(names)))];
    for id in graph.all("classify", &[("probabilities", y)], &classes) {
        graph.output(id);
    }
    let (inputs, _) = draw(&graph.function, &mut Numbers(1));
    let run = |backend: &dyn Backend| {
        let mut ready = backend.prepare(&graph.function, &Shapes::new()).unwrap();
        let mut outputs = Tensors::new();
        ready.run(&inputs, &mut Tensors::new(), &mut outputs).unwrap();
        let scores = outputs.values().find_map(|tensor| match &tensor.data {
            Data::Scores(scores) => Some(scores.iter().map(|(_, score)| *score).sum::<f64>()),
            _ => None,
        });
        let label = outputs.values().find(|tensor| matches!(tensor.data, Data::Label(_)));
        (label.cloned().expect("a label"), scores.expect("scores"))
    };
    let (want, got) = (run(&Reference::default()), run(&Cpu));
    assert_eq!(want.0, got.0);
    assert!((got.1 - 1.0).abs() < 1e-6 && (want.1 - 1.0).abs() < 1e-6);
}
