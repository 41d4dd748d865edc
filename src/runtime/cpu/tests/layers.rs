//! Layers and products of activations.

use super::*;
use crate::graph::DataType::Int8;
use crate::graph::weight::Storage;

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

/// An INT8 weight with one scale a row.
fn int8(numbers: &mut Numbers, shape: &[usize]) -> Constant {
    let codes: Vec<u8> =
        (0..count(shape)).map(|_| (numbers.below(255) as i16 - 127) as u8).collect();
    let mut scales = vec![1; shape.len()];
    scales[0] = shape[0];
    // Powers of two: products of scales and codes are FP16 numbers, so that nothing is rounded.
    let scale: Vec<u8> = (0..shape[0])
        .flat_map(|i| half::f16::from_f32(0.5f32.powi(i as i32 % 4)).to_le_bytes())
        .collect();
    let storage = Storage::Linear {
        codes: Operand::new(Int8, shape, codes),
        scale: Operand::new(Float16, &scales, scale),
        offset: None,
    };
    Weight { shape: shape.to_vec(), storage }.into()
}

#[test]
fn codes_are_multiplied_as_codes() {
    for conv in [false, true] {
        let mut graph = Graph::new(11);
        let (x, w): (&[usize], &[usize]) =
            if conv { (&[1, 8, 6, 6], &[16, 8, 3, 3]) } else { (&[5, 64], &[16, 64]) };
        let x = graph.input(Float32, x);
        let weight = int8(&mut graph.numbers, w);
        let w = graph.constant(weight);
        let zero = |n: i8| Weight::dense(Operand::new(Int8, &[], vec![n as u8])).into();
        let scale = || ("scale", float(0.015_625));
        let to = ("output_dtype", Constant::text("int8"));
        let q =
            graph.op("quantize", &[("input", x)], &[scale(), ("zero_point", zero(3)), to.clone()]);
        let d = graph.op("dequantize", &[("input", q)], &[scale(), ("zero_point", zero(3))]);
        let pad = [("pad_type", Constant::text("same"))];
        let y = match conv {
            true => graph.op("conv", &[("x", d), ("weight", w)], &pad),
            false => graph.op("linear", &[("x", d), ("weight", w)], &[]),
        };
        let again = graph.op("quantize", &[("input", y)], &[("scale", float(0.75)), to]);
        [q, y, again].into_iter().for_each(|value| graph.output(value));
        let items = crate::runtime::cpu::schedule::schedule(&graph.function);
        assert!(
            items.iter().any(|item| matches!(item, crate::runtime::cpu::schedule::Item::Coded(..)))
        );
        agree("codes", &graph.function);
    }
}
