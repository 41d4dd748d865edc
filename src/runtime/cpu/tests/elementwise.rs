//! One element, or pairs of them.

use super::*;

#[test]
fn functions_of_one_element() {
    let shapes: [&[usize]; 3] = [&[], &[3, 5], &[2, 1, 700]];
    for shape in shapes {
        #[rustfmt::skip]
        let plain = [
            "abs", "atan", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor", "gelu", "relu", "relu6", "round",
            "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "softsign", "square", "tan", "tanh",
        ];
        for kind in plain {
            one(kind, &[("x", Float32, shape)], &[]);
        }
        for mode in ["TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"] {
            one("gelu", &[("x", Float16, shape)], &[("mode", Constant::text(mode))]);
        }
        for kind in ["clamped_relu", "clip", "linear_activation", "scaled_tanh", "sigmoid_hard"] {
            let rest = [("alpha", float(0.25)), ("beta", float(0.75))];
            one(kind, &[("x", Float32, shape)], &rest);
        }
        for kind in ["elu", "leaky_relu", "threshold", "thresholded_relu"] {
            one(kind, &[("x", Float32, shape)], &[("alpha", float(0.3))]);
        }
        one("logical_not", &[("x", Bool, shape)], &[]);
        for dtype in ["fp16", "bool", "int32"] {
            one("cast", &[("x", Float32, shape)], &[("dtype", Constant::text(dtype))]);
        }
        for dtype in ["fp32", "bool"] {
            one("cast", &[("x", Int32, shape)], &[("dtype", Constant::text(dtype))]);
        }
    }
    // Where only part of the line is in the domain: of squares, or of sigmoids.
    for (kind, before) in [
        ("sqrt", "square"),
        ("log", "square"),
        ("rsqrt", "square"),
        ("inverse", "square"),
        ("acos", "sigmoid"),
        ("asin", "sigmoid"),
        ("atanh", "sigmoid"),
    ] {
        let mut graph = Graph::new(2);
        let x = graph.input(Float32, &[4, 300]);
        let inside = graph.op(before, &[("x", x)], &[]);
        let y = graph.op(kind, &[("x", inside)], &[]);
        graph.output(y);
        agree(kind, &graph.function);
    }
}

#[test]
fn functions_of_two_elements_broadcast() {
    #[rustfmt::skip]
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 4], &[3, 4]), (&[2, 3, 4], &[4]), (&[2, 1, 4], &[1, 3, 1]), (&[], &[5]), (&[7, 300], &[7, 1]), (&[1], &[1]),
    ];
    #[rustfmt::skip]
    let kinds = [
        "add", "sub", "mul", "maximum", "minimum", "floor_div", "mod", "equal", "not_equal", "greater",
        "greater_equal", "less", "less_equal",
    ];
    for (x, y) in shapes {
        for kind in kinds.into_iter().chain(["real_div"]) {
            one(kind, &[("x", Float32, x), ("y", Float32, y)], &[]);
        }
        for kind in kinds.into_iter().filter(|kind| !["floor_div", "mod"].contains(kind)) {
            one(kind, &[("x", Int32, x), ("y", Int32, y)], &[]);
        }
        for kind in ["logical_and", "logical_or", "logical_xor"] {
            one(kind, &[("x", Bool, x), ("y", Bool, y)], &[]);
        }
        for dtype in [Float32, Int32, Bool] {
            one("select", &[("cond", Bool, x), ("a", dtype, y), ("b", dtype, x)], &[]);
        }
    }
}
