//! Each rule: a function that it finds something in, and its neighbour that it finds nothing in.

use super::*;
use crate::graph::weight::{Storage, Weight};
use crate::graph::{Constant, DataType, Dim, SizeRange, Sizes, TensorType, ValueId};
use crate::int8_path::tests::{Net, linear as coded, zeros};

/// A linear layer `y` with this weight.
fn linear(net: &mut Net, x: ValueId, shape: &[usize], storage: Storage) -> ValueId {
    let weight = net.constant(Weight { shape: shape.to_vec(), storage });
    net.op("linear", "y", &[("x", x), ("weight", weight)])
}

fn int8(shape: &[usize]) -> Storage {
    coded(DataType::Int8, shape, &[shape[0], 1])
}

/// A palette with these groups of tables and, where they are given, scales of INT8 entries.
fn palette(
    indices: DataType,
    shape: &[usize],
    groups: &[usize],
    scale: Option<&[usize]>,
) -> Storage {
    let entries = 1 << indices.bits().unwrap();
    let dtype = if scale.is_some() { DataType::Int8 } else { DataType::Float16 };
    Storage::Palette {
        indices: zeros(indices, shape),
        table: zeros(dtype, &[groups, &[entries, 1]].concat()),
        table_scale: scale.map(|scale| zeros(DataType::Float16, &[scale, &[1, 1]].concat())),
        vector_axis: 0,
        channel_scale: None,
    }
}

fn remarks(topic: Topic, function: &Function, chip: Option<&str>) -> Vec<Remark> {
    let program = Program::single(function.clone());
    let chip = chip.map(|name| Chip::find(name).unwrap());
    advise(topic, &program, Target::Ios18, chip, &|function| Some(function.clone()), false)
}

/// Whether a rule finds something.
fn fires(rule: &str, function: &Function) -> bool {
    let all = [Topic::Shapes, Topic::Threads].map(|topic| remarks(topic, function, None));
    all.concat().iter().any(|remark| remark.rule == rule)
}

/// A linear layer of 64 x 64 with this weight, its input between a pair if that is asked for.
fn layer(storage: Storage, pairs: bool) -> Function {
    let mut net = Net::empty();
    let x = net.input("x", &[4, 64]);
    let x = if pairs { net.pair(x, 0.1) } else { x };
    let y = linear(&mut net, x, &[64, 64], storage);
    net.done(y)
}

#[test]
fn storages_that_went_wrong_are_told_and_their_neighbours_are_not() {
    use DataType::{Int4, Int8, UInt4, UInt8};
    let of = |storage| layer(storage, false);
    let shape = [64, 64];
    #[rustfmt::skip]
    let cases: Vec<(&str, Function, Function)> = vec![
        ("per-block", of(coded(Int8, &shape, &[64, 2])), of(int8(&shape))),
        ("int4", of(coded(Int4, &shape, &[64, 1])), of(int8(&shape))),
        ("scales-along-inputs", of(palette(UInt4, &shape, &[1, 2], Some(&[1, 2]))),
            of(palette(UInt4, &shape, &[2, 1], Some(&[2, 1])))),
        ("one-narrow-table", of(palette(UInt4, &shape, &[1, 1], None)),
            of(palette(UInt4, &shape, &[4, 1], None))),
        ("one-narrow-table", of(palette(UInt4, &shape, &[1, 1], None)),
            of(palette(UInt8, &shape, &[1, 1], None))),
        ("weights-alone", of(int8(&shape)), layer(int8(&shape), true)),
        ("int8-table-chip", layer(palette(UInt8, &shape, &[1, 1], Some(&[1, 1])), true),
            layer(palette(UInt8, &shape, &[1, 1], None), true)),
    ];
    for (rule, bad, good) in cases {
        assert!(fires(rule, &bad), "{rule}");
        assert!(!fires(rule, &good), "{rule} of its neighbour");
    }
}

#[test]
fn scales_of_channels_behind_a_palette_fail_only_where_they_stay_there() {
    let shape = [64, 64];
    let Storage::Palette { indices, table, table_scale, vector_axis, .. } =
        palette(DataType::UInt8, &shape, &[1, 1], None)
    else {
        unreachable!("it is one")
    };
    let channel_scale = Some(zeros(DataType::Float16, &[64, 1]));
    let scaled = Storage::Palette { indices, table, table_scale, vector_axis, channel_scale };
    let program = Program::single(layer(scaled, false));
    let told = |target, planned| {
        let fixed = |function: &Function| Some(function.clone());
        let remarks = advise(Topic::Threads, &program, target, None, &fixed, planned);
        remarks.iter().any(|remark| remark.rule == "channel-scale")
    };
    assert!(told(Target::Ios18, false), "it stands in the file");
    assert!(!told(Target::Ios18, true), "it becomes a mul");
    assert!(told(Target::Ios26, true));
    assert!(!fires("channel-scale", &layer(int8(&shape), false)));
}

/// An input `x` of `[1, 8]` that takes these sizes, normed.
fn normed(sizes: Sizes) -> Function {
    let mut net = Net::empty();
    let dims = match &sizes {
        Sizes::Fixed => vec![Dim::Fixed(1), Dim::Fixed(8)],
        Sizes::Ranges(_) | Sizes::Enumerated(_) => vec![Dim::Flexible, Dim::Fixed(8)],
    };
    let x = net.0.input("x", TensorType::new(DataType::Float16, dims), sizes).unwrap();
    let axes = net.constant(Constant::ints(&[1]));
    let y = net.op("layer_norm", "y", &[("x", x), ("axes", axes)]);
    net.done(y)
}

#[test]
fn flexible_shapes_are_told_and_fixed_ones_are_not() {
    let range = |low, high| SizeRange { low, default: low, high };
    let ranges = normed(Sizes::Ranges(vec![range(1, 4), range(8, 8)]));
    let enumerated = normed(Sizes::Enumerated(vec![vec![1, 8], vec![4, 8]]));
    let fixed = normed(Sizes::Fixed);
    for (rule, bad, good) in [
        ("shape-ranges", &ranges, &enumerated),
        ("enumerated-shapes", &enumerated, &ranges),
        ("enumerated-layer-norm", &enumerated, &ranges),
    ] {
        assert!(fires(rule, bad), "{rule}");
        assert!(!fires(rule, good), "{rule}");
        assert!(!fires(rule, &fixed), "{rule}");
    }
}

/// A function with a state of this last axis, into which it writes so many rows; and a product.
fn stateful(last: usize, rows: usize, storage: Storage, sizes: Sizes) -> Function {
    let mut net = Net::empty();
    let state = TensorType::fixed(DataType::Float16, &[64, last]);
    let state = net.0.state("cache", state).unwrap();
    let dims = match sizes {
        Sizes::Fixed => vec![Dim::Fixed(4), Dim::Fixed(64)],
        Sizes::Ranges(_) | Sizes::Enumerated(_) => vec![Dim::Flexible, Dim::Fixed(64)],
    };
    let x = net.0.input("x", TensorType::new(DataType::Float16, dims), sizes).unwrap();
    let update = net.input("update", &[rows, last]);
    let read = net.op("read_state", "read", &[("input", state)]);
    let (begin, end) = (
        net.constant(Constant::ints(&[0, 0])),
        net.constant(Constant::ints(&[rows as i32, last as i32])),
    );
    let bound = [("x", read), ("update", update), ("begin", begin), ("end", end)];
    let written = net.op("slice_update", "written", &bound);
    net.0.effect("write_state", "write", &[("input", state), ("data", written)]).unwrap();
    let y = linear(&mut net, x, &[64, 64], storage);
    net.done(y)
}

#[test]
fn states_are_told_by_their_rows_and_by_what_stands_beside() {
    let shape = [64, 64];
    let plain = || int8(&shape);
    let narrow = || palette(DataType::UInt4, &shape, &[4, 1], None);
    let range = |low, high| SizeRange { low, default: low, high };
    let flexible = Sizes::Ranges(vec![range(1, 4), range(64, 64)]);
    let good = stateful(64, 32, plain(), Sizes::Fixed);
    for (rule, bad) in [
        ("state-row", stateful(72, 32, plain(), Sizes::Fixed)),
        ("wide-state-update", stateful(64, 33, plain(), Sizes::Fixed)),
        ("narrow-palette-with-states", stateful(64, 32, narrow(), Sizes::Fixed)),
        ("flexible-with-states", stateful(64, 32, plain(), flexible)),
    ] {
        assert!(fires(rule, &bad), "{rule}");
        assert!(!fires(rule, &good), "{rule}");
    }
    assert!(!fires("narrow-palette-with-states", &layer(narrow(), false)), "it has no states");
}

#[test]
fn operations_that_went_wrong_are_told() {
    let log = |softmax: bool| {
        let mut net = Net::empty();
        let x = net.input("x", &[1, 32]);
        let axis = net.constant(Constant::int(1));
        let p = match softmax {
            true => net.op("softmax", "p", &[("x", x), ("axis", axis)]),
            false => net.op("exp", "p", &[("x", x)]),
        };
        let y = net.op("log", "y", &[("x", p)]);
        net.done(y)
    };
    assert!(fires("log-softmax", &log(true)));
    assert!(!fires("log-softmax", &log(false)));
    let gate = |behind: bool| {
        let mut net = Net::empty();
        let (a, b) = (net.input("a", &[4, 64]), net.input("b", &[4, 64]));
        let b = net.pair(b, 0.1);
        let product = net.op("mul", "gate", &[("x", a), ("y", b)]);
        let y = if behind { net.pair(product, 0.1) } else { product };
        net.done(y)
    };
    assert!(fires("gate-between-pairs", &gate(true)));
    assert!(!fires("gate-between-pairs", &gate(false)));
}

/// A linear layer of so many outputs.
fn outputs(channels: usize) -> Function {
    let mut net = Net::empty();
    let x = net.input("x", &[4, 64]);
    let y = linear(&mut net, x, &[channels, 64], int8(&[channels, 64]));
    net.done(y)
}

#[test]
fn channels_are_told_what_padding_costs() {
    #[rustfmt::skip]
    let cases: &[(usize, Option<&str>, &str)] = &[
        (31,   Some("odd-channels"), "pad 31 to 32 channels: 3.2 % more MACs"),
        (30,   Some("channels-16"),  "pad 30 to 32 channels: 6.7 % more MACs"),
        (1008, Some("channels-64"),  "pad 1008 to 1024 channels: 1.6 % more MACs"),
        (48,   None,                 "to 64 is a third more"),
        (64,   None,                 ""),
    ];
    for &(channels, rule, remedy) in cases {
        let about_channels = remarks(Topic::Shapes, &outputs(channels), Some("M4"))
            .into_iter()
            .find(|remark| remark.rule.contains("channels"));
        assert_eq!(about_channels.as_ref().map(|remark| &remark.rule[..]), rule, "{channels}");
        if let Some(remark) = about_channels {
            assert_eq!(remark.remedy, remedy);
        }
    }
    let on_m1 = remarks(Topic::Shapes, &outputs(31), Some("M1"));
    assert!(on_m1.iter().all(|remark| remark.rule != "odd-channels"), "it pairs nothing");
    assert!(on_m1.iter().any(|remark| remark.rule == "channels-16"));
}

#[test]
fn shapes_beyond_a_limit_are_told_and_those_at_it_are_not() {
    let unary = |shape: &[usize]| {
        let mut net = Net::empty();
        let x = net.input("x", shape);
        let y = net.op("relu", "y", &[("x", x)]);
        net.done(y)
    };
    let best = |size: usize| {
        let mut net = Net::empty();
        let x = net.input("x", &[1, size]);
        let axis = net.constant(Constant::int(-1));
        let y = net.op("reduce_argmax", "y", &[("x", x), ("axis", axis)]);
        net.done(y)
    };
    let conv = |width: usize| {
        let mut net = Net::empty();
        let x = net.input("x", &[1, 16, 32, 32]);
        let shape = [16, 16, 1, width];
        let weight = Storage::Dense(zeros(DataType::Float16, &shape));
        let weight = net.constant(Weight { shape: shape.to_vec(), storage: weight });
        let y = net.op("conv", "y", &[("x", x), ("weight", weight)]);
        net.done(y)
    };
    let wide = |rows: usize| {
        let mut net = Net::empty();
        let x = net.input("x", &[rows, 64]);
        let y = linear(&mut net, x, &[64, 64], int8(&[64, 64]));
        net.done(y)
    };
    #[rustfmt::skip]
    let cases: Vec<(&str, Function, Function)> = vec![
        ("narrow-row",  unary(&[4, 31]),           unary(&[4, 32])),
        ("rank",        unary(&[1, 2, 2, 2, 2, 32]), unary(&[1, 2, 2, 2, 32])),
        ("axis",        unary(&[1, 16_385]),       unary(&[1, 16_384])),
        ("axis",        unary(&[65_537, 1, 1]),    unary(&[65_536, 1, 1])),
        ("argmax-axis", best(2_049),               best(2_048)),
        ("kernel",      conv(14),                  conv(13)),
        ("operand",     wide(16_385),              wide(16_384)),
        ("linear",      wide(4),                   conv(1)),
    ];
    for (rule, bad, good) in cases {
        assert!(fires(rule, &bad), "{rule}");
        assert!(!fires(rule, &good), "{rule} at its limit");
    }
    let told = |chip| remarks(Topic::Shapes, &unary(&[1, 16_385]), Some(chip));
    assert!(told("M3").iter().any(|remark| remark.rule == "axis"));
    assert!(told("M4").iter().all(|remark| remark.rule != "axis"), "65,536 from M4 on");
}

#[test]
fn every_rule_has_a_name_of_its_own_a_source_and_a_line_in_the_docs() {
    let page = include_str!("../../docs/int8-path.md");
    let mut names = std::collections::BTreeSet::new();
    for rule in [Topic::Shapes, Topic::Threads].iter().flat_map(|topic| topic.rules()) {
        assert!(names.insert(rule.id), "{}", rule.id);
        assert!(!rule.source.is_empty(), "{}", rule.id);
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", rule.id)));
        let row = row.unwrap_or_else(|| panic!("{} is not in the docs", rule.id));
        for thread in rule.source.split(", ").filter(|source| source.starts_with("https://")) {
            assert!(row.contains(thread), "{}: {thread}", rule.id);
        }
    }
    for rule in Topic::Threads.rules() {
        assert!(rule.source.starts_with("https://github.com/"), "{}", rule.id);
    }
}

#[test]
fn repeated_layers_are_one_remark() {
    let mut net = Net::empty();
    let mut x = net.input("x", &[4, 64]);
    for layer in 0..3 {
        let shape = [64, 64];
        let weight =
            Weight { shape: shape.to_vec(), storage: coded(DataType::Int8, &shape, &[64, 2]) };
        let weight = net.constant(weight);
        x = net.op("linear", &format!("layers_{layer}_up"), &[("x", x), ("weight", weight)]);
    }
    let remarks = remarks(Topic::Threads, &net.done(x), None);
    insta::assert_snapshot!(to_text("known to go wrong", &remarks, Some(80)), @r"
    known to go wrong  times  effect        rule
    layers_*_up            3  wrong result  per-block
    weights                1  slower        weights-alone

    per-block: 8-bit codes with a scale for each block gave a cosine of 0.367 on a
      Neural Engine, 0.999 on the GPU, and no error; palette-8,group:32 gave 0.9975
      there; linear-int8 has one scale a channel (measured:
      https://github.com/apple/coreai-models/issues/279)
    weights-alone: codes of weights alone are multiplied in FP16; --activations int8
      makes the other operand INT8 as well (documented:
      https://github.com/apple/coremltools/issues/2227)
    ");
    insta::assert_snapshot!(in_short(&remarks[..1], None), @"remark: layers_*_up, 3 places: per-block: 8-bit codes with a scale for each block gave a cosine of 0.367 on a Neural Engine, 0.999 on the GPU, and no error; palette-8,group:32 gave 0.9975 there; linear-int8 has one scale a channel (measured: https://github.com/apple/coreai-models/issues/279)");
}
