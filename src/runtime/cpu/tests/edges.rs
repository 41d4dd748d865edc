//! Where arithmetic ends: NaN, infinities, the ends of INT32, indices that lead outside. Both
//! backends say the same, or refuse in the same words.

use super::*;

/// One operation on these tensors, on both backends: its first result, or why there is none.
fn both(
    kind: &str,
    inputs: &[(&str, Tensor)],
    rest: &[(&str, Constant)],
) -> [Result<Tensor, String>; 2] {
    let mut graph = Graph::new(1);
    let (mut values, mut given) = (Vec::new(), Tensors::new());
    for (name, tensor) in inputs {
        let id = graph.input(tensor.dtype, tensor.shape());
        given.insert(graph.function.value(id).name.clone(), tensor.clone());
        values.push((*name, id));
    }
    let y = graph.op(kind, &values, rest);
    graph.output(y);
    let backends: [&dyn Backend; 2] = [&Reference::default(), &Cpu];
    backends.map(|backend| {
        let mut outputs = Tensors::new();
        let mut prepared =
            backend.prepare(&graph.function, &Shapes::new()).map_err(|why| why.to_string())?;
        let done = prepared.run(&given, &mut Tensors::new(), &mut outputs);
        done.map_err(|why| why.to_string())?;
        Ok(outputs.into_values().next().expect("an output"))
    })
}

/// The same results, each element by itself.
fn same(kind: &str, inputs: &[(&str, Tensor)], rest: &[(&str, Constant)]) {
    let [want, got] = both(kind, inputs, rest).map(|result| result.expect(kind));
    let (Data::Float(wants), Data::Float(gots)) = (&want.data, &got.data) else {
        return assert_eq!(want, got, "{kind}");
    };
    for (i, (want, got)) in wants.iter().zip(gots).enumerate() {
        let close = (want - got).abs() <= 1e-5 * want.abs() + 1e-6;
        let same = want == got || (want.is_nan() && got.is_nan()) || close;
        let x: Vec<_> =
            inputs.iter().map(|(_, x)| x.as_float().and_then(|x| x.iter().nth(i))).collect();
        assert!(same, "{kind} of {x:?}: {got}, not {want}");
    }
}

fn floats(numbers: &[f32]) -> Tensor {
    Tensor::float(Float32, ArrayD::from_shape_vec(vec![numbers.len()], numbers.to_vec()).unwrap())
}

fn ints(numbers: &[i32]) -> Tensor {
    Tensor::int(Int32, ArrayD::from_shape_vec(vec![numbers.len()], numbers.to_vec()).unwrap())
}

/// Every pair of some numbers.
fn pairs<T: Copy>(numbers: &[T]) -> [Vec<T>; 2] {
    let pairs = || numbers.iter().flat_map(|&a| numbers.iter().map(move |&b| (a, b)));
    [pairs().map(|pair| pair.0).collect(), pairs().map(|pair| pair.1).collect()]
}

const EDGES: [f32; 12] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    3e38,
    -3e38,
    1e-40,
    0.5,
    -0.5,
    2.5,
    -7.0,
];

#[test]
fn functions_of_one_number_keep_nan_and_infinity() {
    let x = [("x", floats(&EDGES))];
    #[rustfmt::skip]
    let plain = [
        "abs", "acos", "asin", "atan", "atanh", "ceil", "cosh", "erf", "exp", "exp2", "floor", "gelu", "relu", "relu6",
        "round", "sigmoid", "sign", "silu", "sinh", "softplus", "softsign", "sqrt", "square", "tanh",
    ];
    for kind in plain {
        same(kind, &x, &[]);
    }
    for (alpha, beta) in [(0.25, 0.75), (0.75, 0.25), (-1.0, 2.0)] {
        let rest = [("alpha", float(alpha)), ("beta", float(beta))];
        // The graph refuses to clip from above to below.
        let clip = (alpha < beta).then_some("clip");
        for kind in ["clamped_relu", "linear_activation", "scaled_tanh", "sigmoid_hard"]
            .into_iter()
            .chain(clip)
        {
            same(kind, &x, &rest);
        }
        for kind in ["elu", "leaky_relu", "threshold", "thresholded_relu"] {
            same(kind, &x, &rest[..1]);
        }
    }
    for dtype in ["fp16", "bool", "int32"] {
        same("cast", &x, &[("dtype", Constant::text(dtype))]);
    }
}

#[test]
fn functions_of_two_numbers_keep_nan_and_infinity() {
    let [x, y] = pairs(&EDGES);
    let operands = [("x", floats(&x)), ("y", floats(&y))];
    #[rustfmt::skip]
    let kinds = [
        "add", "sub", "mul", "real_div", "maximum", "minimum", "floor_div", "mod", "pow", "equal", "not_equal",
        "greater", "greater_equal", "less", "less_equal",
    ];
    for kind in kinds {
        same(kind, &operands, &[]);
    }
}

#[test]
fn integers_wrap_and_divide_by_zero_alike() {
    let [x, y] = pairs(&[i32::MIN, -7, -2, -1, 0, 1, 3, i32::MAX]);
    let operands = [("x", ints(&x)), ("y", ints(&y))];
    #[rustfmt::skip]
    let kinds = [
        "add", "sub", "mul", "real_div", "maximum", "minimum", "floor_div", "mod", "pow", "equal", "less", "greater_equal",
    ];
    for kind in kinds {
        same(kind, &operands, &[]);
    }
}

#[test]
fn nan_is_the_zero_point() {
    let zero = Weight::dense(Operand::new(DataType::Int8, &[], vec![5u8]));
    let rest = [
        ("scale", float(0.1)),
        ("zero_point", zero.into()),
        ("output_dtype", Constant::text("int8")),
    ];
    same("quantize", &[("input", floats(&EDGES))], &rest);
}

#[test]
fn what_leads_outside_is_refused_in_the_same_words() {
    let table = |graph: &[f32]| ("x", floats(graph));
    let x = || table(&[1.0, 2.0, 3.0, 4.0]);
    let size = || ("size", Constant::ints(&[2]));
    for index in [4, -5, i32::MIN, i32::MAX] {
        let [want, got] = both("gather", &[x(), ("indices", ints(&[0, index]))], &[]);
        let want = want.expect_err("an index outside");
        assert!(want.contains(&format!("`indices` holds {index} for a dimension of 4")), "{want}");
        assert_eq!(got, Err(want));
    }
    for begin in [3, -5, i32::MIN, i32::MAX] {
        for result in both("slice_by_size", &[x(), ("begin", ints(&[begin]))], &[size()]) {
            result.expect_err("a slice outside");
        }
    }
    for begin in [-1, -4, 2] {
        same(
            "slice_by_index",
            &[x(), ("begin", ints(&[begin]))],
            &[
                ("end", Constant::ints(&[i32::MAX])),
                ("squeeze_mask", Weight::dense(Operand::new(Bool, &[1], vec![1u8])).into()),
            ],
        );
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_in_the_same_words() {
    let mut graph = Graph::new(1);
    let x = graph.input(Float32, &[2]);
    let y = graph.op("relu", &[("x", x)], &[]);
    graph.output(y);
    let name = graph.function.value(x).name.clone();
    let given = |name: &str, tensor: Tensor| [(name.to_owned(), tensor)].into();
    let cases: [(&str, Tensors); 4] = [
        ("missing", Tensors::new()),
        ("unknown", given("z", floats(&[1.0, 2.0]))),
        ("another shape", given(&name, floats(&[1.0]))),
        ("another type", given(&name, ints(&[1, 2]))),
    ];
    for (case, inputs) in cases {
        let backends: [&dyn Backend; 2] = [&Reference::default(), &Cpu];
        let [want, got] = backends.map(|backend| {
            let mut prepared = backend.prepare(&graph.function, &Shapes::new()).unwrap();
            let done = prepared.run(&inputs, &mut Tensors::new(), &mut Tensors::new());
            done.expect_err(case).to_string()
        });
        assert_eq!(want, got, "{case}");
    }
}
