//! Operations that move, gather and reduce.

use super::*;

fn ints(values: &[i32]) -> Constant {
    Constant::ints(values)
}

fn flags(values: &[u8]) -> Constant {
    Weight::dense(Operand::new(Bool, &[values.len()], values.to_vec())).into()
}

#[test]
fn elements_move_to_where_the_definition_says() {
    let x = |shape: &'static [usize]| [("x", Float32, shape)];
    for dtype in [Float32, Int32, Bool] {
        one("transpose", &[("x", dtype, &[2, 3, 4])], &[("perm", ints(&[2, 0, 1]))]);
        one("transpose", &[("x", dtype, &[1, 1, 7])], &[("perm", ints(&[0, 2, 1]))]);
        one(
            "split",
            &[("x", dtype, &[2, 6, 3])],
            &[("num_splits", Constant::int(3)), ("axis", Constant::int(1))],
        );
    }
    one("split", &x(&[5, 2]), &[("split_sizes", ints(&[1, 4])), ("axis", Constant::int(-2))]);
    one("reverse", &x(&[2, 3, 4]), &[("axes", ints(&[0, 2]))]);
    one("tile", &x(&[2, 3]), &[("reps", ints(&[3, 2]))]);
    one("depth_to_space", &x(&[2, 8, 3, 2]), &[("block_size", Constant::int(2))]);
    one("space_to_depth", &x(&[2, 3, 4, 6]), &[("block_size", Constant::int(2))]);
    one("pixel_shuffle", &x(&[1, 18, 2, 3]), &[("upscale_factor", Constant::int(3))]);
    one(
        "sliding_windows",
        &x(&[2, 9, 3]),
        &[("axis", Constant::int(1)), ("size", Constant::int(4)), ("stride", Constant::int(2))],
    );
    one("reshape", &x(&[2, 6]), &[("shape", ints(&[3, -1]))]);
    one("expand_dims", &x(&[2, 6]), &[("axes", ints(&[0, -1]))]);
    one("squeeze", &x(&[1, 6, 1]), &[("axes", ints(&[0]))]);
    one("flatten2d", &x(&[2, 3, 4]), &[]);
    one("identity", &x(&[2, 3]), &[]);
    one("band_part", &x(&[4, 5]), &[("lower", Constant::int(1)), ("upper", Constant::int(0))]);
    one("cumsum", &x(&[4, 5]), &[("axis", Constant::int(1))]);
    for (mode, pads) in
        [("constant", [1, 2, 0, 3]), ("reflect", [1, 2, 2, 1]), ("replicate", [4, 0, 0, 5])]
    {
        let rest =
            [("pad", ints(&pads)), ("mode", Constant::text(mode)), ("constant_val", float(0.5))];
        one("pad", &x(&[2, 4, 5]), &rest);
    }
    let begin = |b: &[i32]| ("begin", ints(b));
    one("slice_by_size", &x(&[5, 6]), &[begin(&[1, 2]), ("size", ints(&[3, -1]))]);
    one("slice_by_index", &x(&[5, 6]), &[begin(&[1, -4]), ("end", ints(&[4, -1]))]);
    one(
        "slice_by_index",
        &x(&[5, 6]),
        &[begin(&[-1, 0]), ("end", ints(&[0, 6])), ("stride", ints(&[-2, 3]))],
    );
    #[rustfmt::skip]
    one("slice_by_index", &x(&[5, 6]), &[
        begin(&[3, 1]), ("end", ints(&[0, 0])), ("end_mask", flags(&[0, 1])),
        ("squeeze_mask", flags(&[1, 0])),
    ]);
}

#[test]
fn values_are_joined() {
    for dtype in [Float32, Int32, Bool] {
        for axis in [0, 1, -1] {
            let values = [("values", dtype, &[2, 3, 4][..]), ("values", dtype, &[2, 3, 4])];
            one("concat", &values, &[("axis", Constant::int(axis))]);
            one("stack", &values, &[("axis", Constant::int(axis))]);
        }
    }
    let uneven = [("values", Float32, &[2, 1, 4][..]), ("values", Float32, &[2, 5, 4])];
    one("concat", &uneven, &[("axis", Constant::int(1))]);
    let even = [("values", Float32, &[2, 3][..]), ("values", Float32, &[2, 3])];
    one("concat", &even, &[("axis", Constant::int(1)), ("interleave", Constant::bool(true))]);
}

#[test]
fn slices_begin_where_the_data_says() {
    let mut graph = Graph::new(3);
    let (x, begin) = (graph.input(Float32, &[6, 7]), graph.input(Int32, &[2]));
    let part = graph.op("slice_by_size", &[("x", x), ("begin", begin)], &[("size", ints(&[3, 4]))]);
    graph.output(part);
    agree("slice_by_size", &graph.function);
    let mut graph = Graph::new(4);
    let (x, begin) = (graph.input(Float32, &[6, 7]), graph.input(Int32, &[2]));
    let size = graph.constant(ints(&[2, 3]));
    let end = graph.op("add", &[("x", begin), ("y", size)], &[]);
    let update = graph.input(Float32, &[2, 3]);
    let places = [("x", x), ("update", update), ("begin", begin), ("end", end)];
    let y = graph.op("slice_update", &places, &[]);
    let z = graph.op("add", &[("x", y), ("y", x)], &[]);
    graph.output(z);
    agree("slice_update", &graph.function);
}

#[test]
fn slices_are_gathered() {
    for (x, indices, axis) in
        [(&[5, 4][..], &[3][..], 0), (&[5, 4], &[2, 2], 1), (&[2, 5, 3], &[4], -2), (&[7], &[], 0)]
    {
        let inputs = [("x", Float32, x), ("indices", Int32, indices)];
        one("gather", &inputs, &[("axis", Constant::int(axis))]);
        let ints = [("x", Int32, x), ("indices", Int32, indices)];
        one("gather", &ints, &[("axis", Constant::int(axis))]);
    }
    let mut graph = Graph::new(5);
    let (table, ids) = (graph.weight(Float16, &[9, 40]), graph.input(Int32, &[2, 6]));
    let rows = graph.op("gather", &[("x", table), ("indices", ids)], &[]);
    graph.output(rows);
    agree("embedding", &graph.function);
}

#[test]
fn axes_are_reduced() {
    #[rustfmt::skip]
    let kinds = [
        "reduce_sum", "reduce_mean", "reduce_sum_square", "reduce_l1_norm", "reduce_l2_norm",
        "reduce_log_sum_exp", "reduce_prod", "reduce_max", "reduce_min",
    ];
    let axes: [&[i32]; 5] = [&[-1], &[0], &[1], &[1, 2], &[0, 2]];
    for kind in kinds {
        for axes in axes {
            for keep in [false, true] {
                let rest = [("axes", ints(axes)), ("keep_dims", Constant::bool(keep))];
                one(kind, &[("x", Float32, &[3, 5, 37])], &rest);
            }
        }
        one(kind, &[("x", Float32, &[2, 3])], &[]);
    }
    for axis in [0, 1, -1] {
        one("reduce_argmax", &[("x", Float32, &[3, 5, 7])], &[("axis", Constant::int(axis))]);
        one("softmax", &[("x", Float32, &[3, 5, 37])], &[("axis", Constant::int(axis))]);
    }
    one("topk", &[("x", Float32, &[3, 50])], &[("k", Constant::int(4))]);
}

#[test]
fn rows_are_normalized() {
    let mut graph = Graph::new(6);
    let x = graph.input(Float32, &[2, 3, 70]);
    let (gamma, beta) = (graph.weight(Float32, &[70]), graph.weight(Float32, &[70]));
    let axes = [("axes", ints(&[-1]))];
    let y = graph.op("layer_norm", &[("x", x), ("gamma", gamma), ("beta", beta)], &axes);
    graph.output(y);
    agree("layer_norm", &graph.function);
    let mut graph = Graph::new(7);
    let x = graph.input(Float32, &[2, 3, 4, 5]);
    let channel = |graph: &mut Graph| graph.weight(Float32, &[3]);
    let [gamma, beta, mean] = [(); 3].map(|()| channel(&mut graph));
    let squares = graph.constant(
        Weight::dense(Operand::new(
            Float32,
            &[3],
            [0.5f32, 1.0, 2.0].map(f32::to_le_bytes).concat(),
        ))
        .into(),
    );
    let y = graph.op("instance_norm", &[("x", x), ("gamma", gamma), ("beta", beta)], &[]);
    let of = [("x", y), ("mean", mean), ("variance", squares), ("gamma", gamma), ("beta", beta)];
    let z = graph.op("batch_norm", &of, &[]);
    let l2 = graph.op("l2_norm", &[("x", z)], &[]);
    let prelu = graph.op("prelu", &[("x", x), ("alpha", gamma)], &[]);
    [z, l2, prelu].into_iter().for_each(|value| graph.output(value));
    agree("norms", &graph.function);
}

#[test]
fn windows_are_pooled() {
    for kind in ["max_pool", "avg_pool", "l2_pool"] {
        for (x, kernel, rest) in [
            (&[2, 3, 9][..], &[3][..], "valid"),
            (&[2, 3, 9, 8], &[3, 2], "same"),
            (&[1, 2, 6, 5, 4], &[2, 2, 3], "valid"),
        ] {
            // Of volumes there is no l2 pool.
            if kind == "l2_pool" && x.len() == 5 {
                continue;
            }
            let strides: Vec<i32> = kernel.iter().map(|&k| k - 1).collect();
            let rest = [
                ("kernel_sizes", ints(kernel)),
                ("strides", ints(&strides)),
                ("pad_type", Constant::text(rest)),
            ];
            one(kind, &[("x", Float32, x)], &rest);
        }
    }
    let custom = [
        ("kernel_sizes", ints(&[3, 3])),
        ("strides", ints(&[2, 2])),
        ("pad_type", Constant::text("custom")),
        ("pad", ints(&[1, 0, 1, 1])),
        ("ceil_mode", Constant::bool(false)),
        ("exclude_padding_from_average", Constant::bool(true)),
    ];
    one("avg_pool", &[("x", Float32, &[1, 2, 7, 7])], &custom);
}
