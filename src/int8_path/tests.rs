//! Functions built for one finding each.

use super::*;
use crate::graph::weight::{Operand, Storage, Weight};
use crate::graph::{Builder, Constant, DataType, Sizes, TensorType, ValueId};

/// A function under construction.
pub(crate) struct Net(pub(crate) Builder);

impl Net {
    pub(crate) fn empty() -> Self {
        Self(Builder::new())
    }

    /// With an input `x` of this shape.
    pub(crate) fn new(shape: &[usize]) -> (Self, ValueId) {
        let mut net = Self::empty();
        let x = net.input("x", shape);
        (net, x)
    }

    pub(crate) fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let ty = TensorType::fixed(DataType::Float16, shape);
        self.0.input(name, ty, Sizes::Fixed).unwrap()
    }

    pub(crate) fn op(&mut self, kind: &str, name: &str, bound: &[(&str, ValueId)]) -> ValueId {
        self.0.op(kind, name, bound).unwrap()
    }

    pub(crate) fn constant(&mut self, constant: impl Into<Constant>) -> ValueId {
        let name = self.0.free("c");
        self.0.constant(&name, constant).unwrap()
    }

    pub(crate) fn weight(&mut self, shape: &[usize], storage: Storage) -> ValueId {
        self.constant(Weight { shape: shape.to_vec(), storage })
    }

    /// `x` between `quantize` and `dequantize`.
    pub(crate) fn pair(&mut self, x: ValueId, scale: f32) -> ValueId {
        let scale = half::f16::from_f32(scale).to_le_bytes();
        let scale = Weight::dense(Operand::new(DataType::Float16, &[], scale.to_vec()));
        let (scale, dtype) = (self.constant(scale), self.constant(Constant::text("int8")));
        let (q, dq) = (self.0.free("q"), self.0.free("dq"));
        let bound = [("input", x), ("scale", scale), ("output_dtype", dtype)];
        let codes = self.op("quantize", &q, &bound);
        self.op("dequantize", &dq, &[("input", codes), ("scale", scale)])
    }

    /// A linear layer of `[out, inside]` INT8 codes.
    pub(crate) fn linear(&mut self, name: &str, x: ValueId, [out, inside]: [usize; 2]) -> ValueId {
        let weight = self.weight(&[out, inside], int8(&[out, inside], &[out, 1]));
        self.op("linear", name, &[("x", x), ("weight", weight)])
    }

    pub(crate) fn done(mut self, output: ValueId) -> Function {
        self.0.output(output, "");
        self.0.finish()
    }
}

pub(crate) fn zeros(dtype: DataType, shape: &[usize]) -> Operand {
    let bits = shape.iter().product::<usize>() * dtype.bits().unwrap() as usize;
    Operand::new(dtype, shape, vec![0; bits.div_ceil(8)])
}

/// INT8 codes with scales of this shape.
pub(super) fn int8(shape: &[usize], scale: &[usize]) -> Storage {
    linear(DataType::Int8, shape, scale)
}

/// Codes of this type with scales of this shape.
pub(crate) fn linear(dtype: DataType, shape: &[usize], scale: &[usize]) -> Storage {
    let scale = zeros(DataType::Float16, scale);
    Storage::Linear { codes: zeros(dtype, shape), scale, offset: None }
}

pub(super) fn palette(shape: &[usize], groups: &[usize], entries: DataType) -> Storage {
    let table = [groups, &[16, 1]].concat();
    let scale = [groups, &[1, 1]].concat();
    let coded = entries == DataType::Int8;
    Storage::Palette {
        indices: zeros(DataType::UInt4, shape),
        table: zeros(entries, &table),
        table_scale: coded.then(|| zeros(DataType::Float16, &scale)),
        vector_axis: 0,
        channel_scale: None,
    }
}

/// Operation and reason of each break.
fn found(path: &Int8Path) -> Vec<String> {
    path.breaks.iter().map(|found| format!("{} {}", found.operation, found.reason)).collect()
}

#[test]
fn both_operands_decide_the_arithmetic() {
    use Class::{Float, FpPalette, Lut8a8, W8a8, W8a16};
    use DataType::{Float16, Int4, Int8};
    let shape = [8, 64];
    let asymmetric = match int8(&shape, &[8, 1]) {
        Storage::Linear { codes, scale, .. } => {
            Storage::Linear { codes, scale, offset: Some(zeros(Int8, &[8, 1])) }
        }
        other => other,
    };
    let sparse = Storage::Sparse {
        mask: zeros(DataType::UInt1, &shape),
        values: Box::new(Storage::Dense(zeros(Float16, &[0]))),
    };
    #[rustfmt::skip]
    let cases: Vec<(&str, Storage, Class, Option<&str>, Class)> = vec![
        ("one scale a channel",    int8(&shape, &[8, 1]),             W8a8,      None,                 W8a16),
        ("one scale a tensor",     int8(&shape, &[1, 1]),             W8a8,      None,                 W8a16),
        ("one scale an input",     int8(&shape, &[1, 64]),            W8a16,     Some("input-scales"), W8a16),
        ("one scale a block",      int8(&shape, &[8, 2]),             W8a16,     Some("block-scales"), W8a16),
        ("zero points",            asymmetric,                        W8a16,     Some("zero-points"),  W8a16),
        ("four bits",              linear(Int4, &shape, &[8, 1]),     W8a16,     Some("narrow-codes"), W8a16),
        ("an FP16 table",          palette(&shape, &[1, 1], Float16), FpPalette, Some("float-table"),  FpPalette),
        ("an INT8 table",          palette(&shape, &[1, 1], Int8),    Lut8a8,    None,                 FpPalette),
        ("INT8 tables of groups",  palette(&shape, &[2, 1], Int8),    Lut8a8,    None,                 FpPalette),
        ("INT8 tables along I",    palette(&shape, &[1, 2], Int8),    FpPalette, Some("input-scales"), FpPalette),
        ("a mask and values",      sparse,                            Float,     Some("sparse"),       Float),
        ("floats",                 Storage::Dense(zeros(Float16, &shape)), Float, Some("float-weight"), Float),
    ];
    for (name, storage, with_pairs, reason, without) in cases {
        for (pairs, class) in [(true, with_pairs), (false, without)] {
            let (mut net, x) = Net::new(&[4, 64]);
            let x = if pairs { net.pair(x, 0.1) } else { x };
            let weight = net.weight(&shape, storage.clone());
            let y = net.op("linear", "y", &[("x", x), ("weight", weight)]);
            let path = Int8Path::of(&net.done(y));
            assert_eq!(path.products[0].class, class, "{name}, pairs {pairs}");
            assert_eq!(path.shares.weights.of(class), 4 * 8 * 64);
            let want = match (reason, pairs) {
                (Some(reason), _) => vec![format!("y {reason}")],
                (None, true) => vec![],
                (None, false) => vec!["y activations-in-float".into()],
            };
            assert_eq!(found(&path), want, "{name}, pairs {pairs}");
        }
    }
}

#[test]
fn output_channels_of_other_products_lie_elsewhere() {
    // x · W: outputs second, unless W is transposed.
    for (transposed, scale, reason) in [
        (false, [1, 8], None),
        (false, [64, 1], Some("w input-scales")),
        (true, [64, 1], None),
        (true, [1, 8], Some("w input-scales")),
    ] {
        let (mut net, x) = Net::new(&[4, if transposed { 8 } else { 64 }]);
        let x = net.pair(x, 0.1);
        let weight = net.weight(&[64, 8], int8(&[64, 8], &scale));
        let flag = net.constant(Constant::bool(transposed));
        let y = net.op("matmul", "w", &[("x", x), ("y", weight), ("transpose_y", flag)]);
        let path = Int8Path::of(&net.done(y));
        assert_eq!(found(&path).first().map(String::as_str), reason, "{transposed} {scale:?}");
        assert!(path.products[0].weight.is_some());
    }
    let (mut net, x) = Net::new(&[1, 4, 8, 8]);
    let x = net.pair(x, 0.1);
    let weight = net.weight(&[4, 6, 3, 3], int8(&[4, 6, 3, 3], &[1, 6, 1, 1]));
    let y = net.op("conv_transpose", "up", &[("x", x), ("weight", weight)]);
    assert_eq!(found(&Int8Path::of(&net.done(y))), Vec::<String>::new());
}

#[test]
fn activations_meet_activations() {
    let attention = |pairs: [bool; 2]| {
        let (mut net, x) = Net::new(&[2, 4, 8]);
        let y = net.input("z", &[2, 8, 4]);
        let [x, y] = [(x, pairs[0]), (y, pairs[1])]
            .map(|(value, pair)| if pair { net.pair(value, 0.1) } else { value });
        let scores = net.op("matmul", "scores", &[("x", x), ("y", y)]);
        Int8Path::of(&net.done(scores))
    };
    let both = attention([true, true]);
    assert_eq!((both.shares.all.w8a8, both.shares.weights.total()), (2 * 4 * 8 * 4, 0));
    assert_eq!(found(&both), Vec::<String>::new());
    assert_eq!(found(&attention([true, false])), ["scores computed-weight"]);
    assert_eq!(found(&attention([false, false])), ["scores activations-in-float"]);
}

#[test]
fn a_result_must_become_codes_before_anything_else_takes_it() {
    /// What stands between two products.
    type Between = fn(&mut Net, ValueId) -> ValueId;
    #[rustfmt::skip]
    let cases: &[(&str, Between, &[&str])] = &[
        ("a pair",               |net, y| net.pair(y, 0.1), &[]),
        ("a function and a pair", |net, y| { let y = net.op("relu", "act", &[("x", y)]); net.pair(y, 0.1) }, &[]),
        ("a table between pairs", |net, y| { let y = net.pair(y, 0.1); let y = net.op("silu", "act", &[("x", y)]); net.pair(y, 0.1) }, &[]),
        ("nothing",              |_, y| y, &["second no-pair-between"]),
        ("a function",           |net, y| net.op("relu", "act", &[("x", y)]), &["second no-pair-between"]),
        ("a norm",               |net, y| { let axes = net.constant(Constant::ints(&[-1])); let y = net.op("layer_norm", "norm", &[("x", y), ("axes", axes)]); net.pair(y, 0.1) }, &["norm norm"]),
        ("softmax of a pair",    |net, y| { let y = net.pair(y, 0.1); let y = net.op("softmax", "shares", &[("x", y)]); net.pair(y, 0.1) }, &["shares softmax"]),
        ("a softmax, no pair",   |net, y| net.op("softmax", "shares", &[("x", y)]), &["shares softmax", "second float-activation"]),
        ("a gate",               |net, y| { let y = net.op("mul", "gate", &[("x", y), ("y", y)]); net.pair(y, 0.1) }, &["gate gate"]),
        ("moved, then a pair",   |net, y| { let perm = net.constant(Constant::ints(&[1, 0])); let y = net.op("transpose", "moved", &[("x", y), ("perm", perm)]); net.pair(y, 0.1) }, &["moved moved-result"]),
        ("moved between pairs",  |net, y| { let y = net.pair(y, 0.1); let perm = net.constant(Constant::ints(&[1, 0])); let y = net.op("transpose", "moved", &[("x", y), ("perm", perm)]); net.pair(y, 0.1) }, &[]),
        ("a pair, then moved",   |net, y| { let y = net.pair(y, 0.1); let perm = net.constant(Constant::ints(&[1, 0])); net.op("transpose", "moved", &[("x", y), ("perm", perm)]) }, &["second moved-input"]),
        ("a sum of equal grids", |net, y| { let a = net.pair(y, 0.1); let b = net.pair(y, 0.1); let y = net.op("add", "sum", &[("x", a), ("y", b)]); net.pair(y, 0.1) }, &[]),
        ("of unequal grids",     |net, y| { let a = net.pair(y, 0.1); let b = net.pair(y, 0.2); let y = net.op("add", "sum", &[("x", a), ("y", b)]); net.pair(y, 0.1) }, &["sum unequal-scales"]),
        ("of one side in float", |net, y| { let a = net.pair(y, 0.1); let y = net.op("add", "sum", &[("x", a), ("y", y)]); net.pair(y, 0.1) }, &["sum one-sided"]),
        ("of results in float",  |net, y| { let y = net.op("add", "sum", &[("x", y), ("y", y)]); net.pair(y, 0.1) }, &["sum float-operands"]),
    ];
    for (name, between, want) in cases {
        let (mut net, x) = Net::new(&[64, 64]);
        let x = net.pair(x, 0.1);
        let y = net.linear("first", x, [64, 64]);
        let y = between(&mut net, y);
        let z = net.linear("second", y, [64, 64]);
        let path = Int8Path::of(&net.done(z));
        assert_eq!(found(&path), *want, "{name}");
    }
}

#[test]
fn equal_breaks_of_layers_are_one() {
    let found = |operation: &str, reason: &str, macs| Break {
        operation: operation.into(),
        kind: "linear".into(),
        reason: reason.into(),
        why: "because".into(),
        macs,
    };
    let breaks = [
        found("layers_0_q1", "a", 1),
        found("layers_0_softmax", "b", 0),
        found("layers_1_q1", "a", 2),
        found("layers_1_softmax", "b", 0),
        found("layers_10_q1", "a", 3),
        found("head", "a", 9),
    ];
    let folded: Vec<_> = fold(&breaks)
        .iter()
        .map(|f| format!("{} {} {} {}", f.operations, f.reason, f.times, f.macs))
        .collect();
    assert_eq!(folded, ["head a 1 9", "layers_*_q1 a 3 6", "layers_*_softmax b 2 0"]);
}

/// Two layers of attention and a head in float.
fn transformer() -> Function {
    let (mut net, mut x) = Net::new(&[16, 64]);
    let axes = net.constant(Constant::ints(&[-1]));
    for layer in 0..2 {
        let name = |what: &str| format!("layers_{layer}_{what}");
        let input = net.pair(x, 0.1);
        let [q, k, v] = ["q", "k", "v"].map(|which| {
            let y = net.linear(&name(which), input, [64, 64]);
            net.pair(y, 0.1)
        });
        let flag = net.constant(Constant::bool(true));
        let scores =
            net.op("matmul", &name("scores"), &[("x", q), ("y", k), ("transpose_y", flag)]);
        let shares = net.op("softmax", &name("shares"), &[("x", scores)]);
        let attended = net.op("matmul", &name("attended"), &[("x", shares), ("y", v)]);
        let attended = net.pair(attended, 0.1);
        let y = net.linear(&name("o"), attended, [64, 64]);
        let y = net.op("add", &name("residual"), &[("x", x), ("y", y)]);
        x = net.op("layer_norm", &name("norm"), &[("x", y), ("axes", axes)]);
    }
    let weight = net.weight(&[256, 64], palette(&[256, 64], &[1, 1], DataType::Float16));
    let head = net.op("linear", "head", &[("x", x), ("weight", weight)]);
    net.done(head)
}

#[test]
fn people_read_shares_and_breaks() {
    let path = Int8Path::of(&transformer());
    insta::assert_snapshot!(path.to_text("main", Some(100)), @r"
    main: 13 products, 851,968 MACs

    class        arithmetic                    all MACs                    with weights
    W8A8         INT8 x INT8                     65.4 %  ███████████████▊        66.7 %
    FP palette   palette, multiplied in float    30.8 %  ███████▍                33.3 %
    float        float x float                    3.8 %  ▉                        0.0 %
    INT8 in all  both operands INT8              65.4 %  ███████████████▊        66.7 %

    where INT8 ends    type     times    MACs  reason
    head               linear       1  30.8 %  float-table
    layers_*_attended  matmul       2   3.8 %  computed-weight
    layers_*_shares    softmax      2          softmax
    layers_*_residual  add          2          float-operands

    float-table: the entries of its palette are FP16, and so is the arithmetic; lut-int8 stores INT8
      entries
    computed-weight: both operands are computed, and not both are INT8; a pair in front of each would do
    softmax: exponentials and their sum need more range than 8 bits; INT8 starts anew behind it
    float-operands: reads results of INT8 operations in float, without pairs, and computes in float;
      pairs on all of its operands would do, and pay where an INT8 layer follows
    ");
    insta::assert_snapshot!(path.to_text("main", Some(46)), @r"
    main: 13 products, 851,968 MACs

    class        all MACs  with weights
    W8A8           65.4 %        66.7 %
    FP palette     30.8 %        33.3 %
    float           3.8 %         0.0 %
    INT8 in all    65.4 %        66.7 %

    where INT8 ends   times    MACs  reason
    head                  1  30.8 %  float-table
    …yers_*_attended      2   3.8 %  computed-weight
    layers_*_shares       2          softmax
    …yers_*_residual      2          float-operands

    float-table: the entries of its palette are
      FP16, and so is the arithmetic; lut-int8
      stores INT8 entries
    computed-weight: both operands are computed,
      and not both are INT8; a pair in front of
      each would do
    softmax: exponentials and their sum need more
      range than 8 bits; INT8 starts anew behind
      it
    float-operands: reads results of INT8
      operations in float, without pairs, and
      computes in float; pairs on all of its
      operands would do, and pay where an INT8
      layer follows
    ");
}

#[test]
fn a_report_keeps_the_folded_breaks() {
    let program = crate::graph::Program::single(transformer());
    let paths = FunctionPath::of_program(&program, &|_| None);
    let summary = paths[0].summary();
    assert_eq!(summary.breaks.len(), fold(&paths[0].path.breaks).len());
    let text = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    insta::assert_snapshot!(summary.shares.in_words().unwrap(), @"65.4 % of MACs in INT8, 66.7 % of those with weights");
}

#[test]
fn the_layers_of_a_layer_package_are_one_list() {
    let layer = |pair: bool| {
        let (mut net, x) = Net::new(&[4, 64]);
        let x = if pair { net.pair(x, 0.1) } else { x };
        let y = net.linear("y", x, [8, 64]);
        net.done(y)
    };
    let functions = [("a_weight".to_owned(), layer(true)), ("b_weight".to_owned(), layer(false))];
    let program = crate::graph::Program { functions: functions.into(), ..Default::default() };
    let [layers] = &FunctionPath::of_program(&program, &|_| None)[..] else { panic!("one list") };
    assert_eq!(layers.function, "2 layers, a function each");
    assert_eq!(layers.path.shares.all.int8_share(), Some(0.5));
    assert_eq!(found(&layers.path), ["b_weight activations-in-float"]);
}
