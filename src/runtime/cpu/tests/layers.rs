//! Layers and products of activations.

use super::*;

#[test]
fn activations_are_multiplied() {
    #[rustfmt::skip]
    let cases: [(&[usize], &[usize], bool, bool); 7] = [
        (&[3, 4], &[4, 5], false, false),
        (&[4, 3], &[4, 5], true, false),
        (&[2, 3, 40], &[2, 50, 40], false, true),
        (&[2, 1, 3, 4], &[3, 4, 5], false, false),
        (&[1, 8, 1, 64], &[1, 8, 33, 64], false, true),
        (&[2, 4, 3], &[2, 5, 4], true, true),
        (&[1, 8, 1, 33], &[1, 8, 33, 64], false, false),
    ];
    for (x, y, left, right) in cases {
        let rest = [("transpose_x", Constant::bool(left)), ("transpose_y", Constant::bool(right))];
        one("matmul", &[("x", Float32, x), ("y", Float32, y)], &rest);
    }
}

#[test]
fn queries_attend_to_keys() {
    for (l, mask) in [(1, &[1, 1, 1, 70][..]), (45, &[45, 70]), (45, &[1, 2, 45, 70])] {
        for dtype in [Bool, Float32] {
            let mut graph = Graph::new(8);
            let [q, k] = [l, 70].map(|rows| graph.input(Float32, &[1, 2, rows, 16]));
            let (v, mask) = (graph.input(Float32, &[1, 2, 70, 24]), graph.input(dtype, mask));
            let values = [("query", q), ("key", k), ("value", v), ("attn_mask", mask)];
            let y = graph.op("scaled_dot_product_attention", &values, &[]);
            graph.output(y);
            agree("attention", &graph.function);
        }
    }
}

#[test]
fn constants_are_multiplied() {
    for dtype in [Float16, Float32] {
        for rows in [1, 9] {
            let mut graph = Graph::new(9);
            let x = graph.input(dtype, &[rows, 48]);
            let (w, b) = (graph.weight(dtype, &[37, 48]), graph.weight(dtype, &[37]));
            let y = graph.op("linear", &[("x", x), ("weight", w), ("bias", b)], &[]);
            let v = graph.weight(dtype, &[37, 20]);
            let z = graph.op("matmul", &[("x", y), ("y", v)], &[]);
            let u = graph.weight(dtype, &[12, 20]);
            let flag = [("transpose_y", Constant::bool(true))];
            let t = graph.op("matmul", &[("x", z), ("y", u)], &flag);
            [y, z, t].into_iter().for_each(|value| graph.output(value));
            agree("linear", &graph.function);
        }
    }
}

/// A convolution or its transpose.
fn conv(kind: &str, x: &[usize], w: &[usize], out: usize, rest: &[(&str, Constant)]) {
    let mut graph = Graph::new(10);
    let (x, w) = (graph.input(Float32, x), graph.weight(Float32, w));
    let b = graph.weight(Float32, &[out]);
    let y = graph.op(kind, &[("x", x), ("weight", w), ("bias", b)], rest);
    graph.output(y);
    agree(&format!("{kind} {:?}", graph.shape(y)), &graph.function);
}

#[test]
fn patches_are_multiplied() {
    let ints = Constant::ints;
    let groups = |n| ("groups", Constant::int(n));
    let same = || ("pad_type", Constant::text("same"));
    let custom = |pad: &[i32]| [("pad_type", Constant::text("custom")), ("pad", ints(pad))];
    conv("conv", &[2, 5, 6, 7], &[4, 5, 1, 1], 4, &[]);
    conv("conv", &[2, 5, 6, 7], &[4, 5, 3, 2], 4, &[same(), ("strides", ints(&[2, 1]))]);
    conv("conv", &[1, 6, 20], &[4, 3, 3], 4, &[groups(2), ("dilations", ints(&[2]))]);
    conv("conv", &[1, 2, 5, 4, 6], &[3, 2, 2, 3, 2], 3, &custom(&[1, 0, 0, 2, 1, 1]));
    conv("conv", &[2, 6, 9, 8], &[6, 1, 3, 3], 6, &[groups(6), same(), ("strides", ints(&[2, 2]))]);
    conv("conv", &[1, 3, 9, 8], &[6, 1, 3, 3], 6, &[groups(3), same()]);
    conv("conv", &[1, 3, 70, 70], &[8, 3, 3, 3], 8, &[("strides", ints(&[2, 2]))]);
    conv("conv_transpose", &[2, 3, 4, 5], &[3, 4, 3, 2], 4, &[("strides", ints(&[2, 1]))]);
    conv("conv_transpose", &[1, 4, 9], &[4, 3, 4], 6, &[groups(2), ("strides", ints(&[2]))]);
    let [kind, pad] = custom(&[1, 1, 0, 1]);
    conv(
        "conv_transpose",
        &[1, 2, 6, 6],
        &[2, 5, 3, 3],
        5,
        &[kind, pad, ("strides", ints(&[2, 2]))],
    );
}
