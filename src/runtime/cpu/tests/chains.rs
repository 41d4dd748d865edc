//! Integers between pairs of `quantize` and `dequantize`: what runs as what, and how far it is from the
//! evaluation number by number.

use super::*;
use crate::graph::DataType::Int8;
use crate::graph::weight::Storage;
use crate::runtime::cpu::codes::rewrite;
use crate::runtime::cpu::schedule::{Item, schedule};
use crate::runtime::specialize;

/// What codes stand for, with a scale that FP16 has.
#[derive(Clone, Copy)]
struct Pair(f32, Option<i8>);

impl Pair {
    fn parameters(self) -> Vec<(&'static str, Constant)> {
        let scale = float(half::f16::from_f32(self.0).to_f32());
        let zero = |n: i8| Weight::dense(Operand::new(Int8, &[], vec![n as u8])).into();
        let mut all = vec![("scale", scale)];
        all.extend(self.1.map(|n| ("zero_point", zero(n))));
        all
    }
}

impl Graph {
    fn quantize(&mut self, x: ValueId, pair: Pair) -> ValueId {
        let mut rest = pair.parameters();
        rest.push(("output_dtype", Constant::text("int8")));
        self.op("quantize", &[("input", x)], &rest)
    }

    fn dequantize(&mut self, codes: ValueId, pair: Pair) -> ValueId {
        self.op("dequantize", &[("input", codes)], &pair.parameters())
    }

    fn pair(&mut self, x: ValueId, pair: Pair) -> ValueId {
        let codes = self.quantize(x, pair);
        self.dequantize(codes, pair)
    }

    /// An INT8 weight with one scale a row.
    fn int8(&mut self, shape: &[usize]) -> ValueId {
        let numbers = &mut self.numbers;
        let codes: Vec<u8> =
            (0..count(shape)).map(|_| (numbers.below(255) as i16 - 127) as u8).collect();
        let mut scales = vec![1; shape.len()];
        scales[0] = shape[0];
        let scale = |n: &mut Numbers| half::f16::from_f32(2e-4 + 1e-3 * n.float().abs());
        let scale: Vec<u8> = (0..shape[0]).flat_map(|_| scale(numbers).to_le_bytes()).collect();
        let storage = Storage::Linear {
            codes: Operand::new(Int8, shape, codes),
            scale: Operand::new(Float16, &scales, scale),
            offset: None,
        };
        self.constant(Weight { shape: shape.to_vec(), storage }.into())
    }

    fn linear(&mut self, x: ValueId, n: usize) -> ValueId {
        let k = *self.shape(x).last().unwrap();
        let (w, b) = (self.int8(&[n, k]), self.weight(Float16, &[n]));
        self.op("linear", &[("x", x), ("weight", w), ("bias", b)], &[])
    }

    fn conv(&mut self, x: ValueId, n: usize, side: usize, groups: usize) -> ValueId {
        let inside = self.shape(x)[1] / groups;
        let (w, b) = (self.int8(&[n, inside, side, side]), self.weight(Float16, &[n]));
        let rest = [("pad_type", Constant::text("same")), ("groups", Constant::int(groups as i32))];
        self.op("conv", &[("x", x), ("weight", w), ("bias", b)], &rest)
    }

    /// What runs, in a word each.
    fn steps(&self) -> Vec<String> {
        let mut function = specialize(&self.function, &Shapes::new()).unwrap();
        rewrite(&mut function);
        let kind = |&i: &usize| function.operations[i].row.name;
        let word = |item: Item| match &item {
            Item::One(i) => kind(i).to_owned(),
            Item::Chain(all) => format!("({})", all.iter().map(kind).collect::<Vec<_>>().join(" ")),
            Item::Coded { operations, .. } => {
                format!("int8 {}", operations.iter().map(kind).collect::<Vec<_>>().join(" "))
            }
            Item::Table(all) => {
                let between = all[1..all.len() - 1].iter().map(kind).collect::<Vec<_>>();
                format!("table[{}]", between.join(" "))
            }
        };
        schedule(&function).into_iter().map(word).collect()
    }
}

/// How codes and numbers of the two backends differ.
#[derive(Default)]
struct Differences {
    codes: usize,
    different: usize,
}

/// Runs both: codes differ by one at most.
fn compare(name: &str, graph: &Graph, all: &mut Differences) {
    let mut numbers = Numbers(name.bytes().map(u32::from).sum());
    let function = &graph.function;
    let prepare = |backend: &dyn Backend| backend.prepare(function, &Shapes::new()).unwrap();
    let (mut reference, mut cpu) = (prepare(&Reference::default()), prepare(&Cpu));
    let (mut want, mut got) = (Tensors::new(), Tensors::new());
    for _ in 0..4 {
        let (inputs, _) = draw(function, &mut numbers);
        reference.run(&inputs, &mut Tensors::new(), &mut want).unwrap();
        cpu.run(&inputs, &mut Tensors::new(), &mut got).unwrap();
        for ((key, want), got) in want.iter().zip(got.values()) {
            let (Data::Int(x), Data::Int(y)) = (&want.data, &got.data) else {
                near(name, want, got);
                continue;
            };
            assert_eq!(x.shape(), y.shape());
            let most = x.iter().zip(y).map(|(x, y)| x.abs_diff(*y)).max().unwrap();
            assert!(most <= 1, "{name} `{key}`: codes differ by {most}");
            all.codes += x.len();
            all.different += x.iter().zip(y).filter(|(x, y)| x != y).count();
            let first = x.iter().next();
            assert!(x.iter().any(|x| Some(x) != first), "{name}: all codes are the same");
        }
    }
}

const A: Pair = Pair(0.017, None);
const B: Pair = Pair(0.023, Some(-9));

#[test]
fn layers_give_codes_at_once() {
    let none = |_: &mut Graph, x| x;
    fn op(kind: &'static str) -> impl Fn(&mut Graph, ValueId) -> ValueId {
        move |graph: &mut Graph, x| graph.op(kind, &[("x", x)], &[])
    }
    let clip = |graph: &mut Graph, x| {
        let ends = [("alpha", float(-0.7)), ("beta", float(1.1))];
        graph.op("clip", &[("x", x)], &ends)
    };
    let scaled = |graph: &mut Graph, x| {
        let x = graph.op("mul", &[("x", x)], &[("y", float(0.5))]);
        let x = graph.op("sub", &[("y", x)], &[("x", float(0.25))]);
        graph.op("tanh", &[("x", x)], &[])
    };
    let leaky =
        |graph: &mut Graph, x| graph.op("leaky_relu", &[("x", x)], &[("alpha", float(0.1))]);
    type Then<'a> = &'a dyn Fn(&mut Graph, ValueId) -> ValueId;
    #[rustfmt::skip]
    let cases: [(&str, Then<'_>); 11] = [
        ("", &none), (" relu", &op("relu")), (" relu6", &op("relu6")), (" clip", &clip),
        (" gelu", &op("gelu")), (" silu", &op("silu")), (" sigmoid", &op("sigmoid")),
        (" tanh", &op("tanh")), (" softplus", &op("softplus")), (" leaky_relu", &leaky),
        (" mul sub tanh", &scaled),
    ];
    let mut all = Differences::default();
    for (words, then) in cases {
        for (rows, k, n, pair) in [(1, 64, 48, A), (7, 33, 19, B), (40, 129, 65, A)] {
            let mut graph = Graph::new(3);
            let x = graph.input(Float32, &[rows, k]);
            let x = graph.pair(x, pair);
            let y = graph.linear(x, n);
            let y = then(&mut graph, y);
            let y = graph.quantize(y, B);
            graph.output(y);
            assert_eq!(graph.steps(), ["(quantize)", &format!("int8 linear{words} quantize")]);
            compare(words, &graph, &mut all);
        }
        for (channels, n, side, groups) in [(8, 16, 3, 1), (6, 10, 1, 1), (6, 9, 3, 3)] {
            let mut graph = Graph::new(4);
            let x = graph.input(Float32, &[2, channels, 7, 6]);
            let x = graph.pair(x, B);
            let y = graph.conv(x, n, side, groups);
            let y = then(&mut graph, y);
            let y = graph.quantize(y, A);
            graph.output(y);
            assert_eq!(graph.steps(), ["(quantize)", &format!("int8 conv{words} quantize")]);
            compare(words, &graph, &mut all);
        }
    }
    assert!(all.different * 5000 < all.codes, "{} of {}", all.different, all.codes);
}

#[test]
fn what_is_read_elsewhere_is_not_swallowed() {
    let mut graph = Graph::new(5);
    let x = graph.input(Float32, &[5, 40]);
    let x = graph.pair(x, A);
    let y = graph.linear(x, 24);
    let z = graph.op("relu", &[("x", y)], &[]);
    let q = graph.quantize(z, B);
    graph.output(q);
    graph.output(y);
    assert_eq!(graph.steps(), ["(quantize)", "int8 linear", "(relu quantize)"]);
    compare("both", &graph, &mut Differences::default());
}

#[test]
fn weights_that_no_integers_multiply_give_codes_too() {
    let mut graph = Graph::new(6);
    let x = graph.input(Float32, &[9, 64]);
    let x = graph.pair(x, B);
    let codes: Vec<u8> = (0..32 * 64).map(|i| (i * 37 % 251) as u8).collect();
    let scale = (0..32 * 2).flat_map(|i| half::f16::from_f32(1e-3 + i as f32 * 1e-5).to_le_bytes());
    let storage = Storage::Linear {
        codes: Operand::new(Int8, &[32, 64], codes),
        scale: Operand::new(Float16, &[32, 2], scale.collect::<Vec<_>>()),
        offset: None,
    };
    let w = graph.constant(Weight { shape: vec![32, 64], storage }.into());
    let b = graph.weight(Float16, &[32]);
    let y = graph.op("linear", &[("x", x), ("weight", w), ("bias", b)], &[]);
    let y = graph.op("relu", &[("x", y)], &[]);
    let y = graph.quantize(y, A);
    graph.output(y);
    assert_eq!(graph.steps(), ["(quantize)", "int8 linear relu quantize"]);
    compare("blocks", &graph, &mut Differences::default());
}

#[test]
fn functions_between_pairs_are_tables_and_exact() {
    let mut graph = Graph::new(7);
    let x = graph.input(Float32, &[3, 50]);
    let x = graph.pair(x, B);
    let soft = graph.op("softplus", &[("x", x)], &[]);
    let same = graph.op("clip", &[("x", x)], &[("alpha", float(-3.0)), ("beta", float(3.0))]);
    // x · σ(x), of two readers of one value.
    let swish = graph.op("sigmoid", &[("x", x)], &[]);
    let swish = graph.op("mul", &[("x", x), ("y", swish)], &[]);
    let gelu = graph.op("gelu", &[("x", x)], &[]);
    let gelu = graph.op("mul", &[("x", gelu)], &[("y", float(3.0))]);
    for y in [soft, same, swish, gelu, x] {
        let q = graph.quantize(y, A);
        graph.output(q);
    }
    let steps = ["(quantize)", "table[softplus]", "table[clip]", "table[sigmoid mul]"];
    assert_eq!(graph.steps(), [&steps[..], &["table[gelu mul]", "table[]"]].concat());
    let mut all = Differences::default();
    compare("tables", &graph, &mut all);
    assert_eq!(all.different, 0);
}

/// Codes are moved, and a pair of one scale disappears.
#[test]
fn moves_are_moves_of_codes() {
    let mut graph = Graph::new(8);
    let x = graph.input(Float32, &[1, 6, 8, 8]);
    let y = graph.input(Float32, &[1, 2, 8, 8]);
    let [x, y] = [x, y].map(|x| graph.pair(x, A));
    let all = graph.op("concat", &[("values", x), ("values", y)], &[("axis", Constant::int(1))]);
    let sizes = [("kernel_sizes", Constant::ints(&[3, 3])), ("strides", Constant::ints(&[2, 2]))];
    let pad = [("pad_type", Constant::text("custom")), ("pad", Constant::ints(&[1, 1, 1, 1]))];
    let pooled = graph.op("max_pool", &[("x", all)], &[&sizes[..], &pad].concat());
    let again = graph.pair(pooled, A);
    let turned = graph.op("transpose", &[("x", again)], &[("perm", Constant::ints(&[0, 2, 3, 1]))]);
    let flat = graph.op("reshape", &[("x", turned)], &[("shape", Constant::ints(&[16, 8]))]);
    let again = graph.pair(flat, A);
    let y = graph.linear(again, 24);
    let y = graph.op("reshape", &[("x", y)], &[("shape", Constant::ints(&[4, 4, 24]))]);
    let y = graph.op("transpose", &[("x", y)], &[("perm", Constant::ints(&[1, 0, 2]))]);
    let y = graph.quantize(y, B);
    graph.output(y);
    #[rustfmt::skip]
    let steps = ["(quantize)", "(quantize)", "concat", "max_pool", "transpose", "reshape",
        "int8 linear quantize", "reshape", "transpose"];
    assert_eq!(graph.steps(), steps);
    let mut all = Differences::default();
    compare("moves", &graph, &mut all);
    assert!(all.different <= 1, "{} of {}", all.different, all.codes);
}

#[test]
fn other_scales_stay_apart() {
    let mut graph = Graph::new(9);
    let x = graph.input(Float32, &[2, 3]);
    let y = graph.input(Float32, &[2, 3]);
    let (x, y) = (graph.pair(x, A), graph.pair(y, B));
    let all = graph.op("concat", &[("values", x), ("values", y)], &[("axis", Constant::int(0))]);
    let q = graph.quantize(all, A);
    graph.output(q);
    let mut found = Differences::default();
    compare("apart", &graph, &mut found);
    assert_eq!(found.different, 0);
}

#[test]
fn what_is_quantized_twice_is_quantized_once() {
    let mut graph = Graph::new(10);
    let x = graph.input(Float32, &[4, 32]);
    let layers = [(); 3].map(|()| {
        let x = graph.pair(x, A);
        graph.linear(x, 16)
    });
    layers.into_iter().for_each(|y| graph.output(y));
    assert_eq!(graph.steps(), ["(quantize)", "int8 linear", "int8 linear", "int8 linear"]);
    compare("three", &graph, &mut Differences::default());
}

#[test]
fn averages_and_sums_of_codes_become_codes_at_once() {
    for (exclude, pad, pair) in [(false, 1, A), (true, 1, B), (false, 0, B)] {
        let mut graph = Graph::new(11);
        let x = graph.input(Float32, &[2, 3, 9, 7]);
        let d = graph.pair(x, pair);
        let rest = [
            ("kernel_sizes", Constant::ints(&[3, 2])),
            ("strides", Constant::ints(&[2, 2])),
            ("pad_type", Constant::text("custom")),
            ("pad", Constant::ints(&[pad; 4])),
            ("exclude_padding_from_average", Constant::bool(exclude)),
        ];
        let pooled = graph.op("avg_pool", &[("x", d)], &rest);
        let pooled = graph.op("relu", &[("x", pooled)], &[]);
        let pooled = graph.quantize(pooled, B);
        graph.output(pooled);
        let other = graph.input(Float32, &[2, 3, 9, 7]);
        let other = graph.pair(other, B);
        let both = graph.op("add", &[("x", d), ("y", other)], &[]);
        let both = graph.op("relu", &[("x", both)], &[]);
        let both = graph.quantize(both, A);
        graph.output(both);
        let add = "(dequantize quantize dequantize add relu quantize)";
        assert_eq!(graph.steps(), ["(quantize)", "int8 avg_pool relu quantize", add]);
        let mut all = Differences::default();
        compare("pool", &graph, &mut all);
        assert!(all.different * 1000 < all.codes, "{} of {}", all.different, all.codes);
    }
}

/// Layers side by side, as a package has them: from the first `quantize` on there are only codes.
#[test]
fn chains_stay_in_integers() {
    let mut graph = Graph::new(12);
    let x = graph.input(Float32, &[1, 4, 12, 12]);
    let (mut x, mut pair) = (graph.quantize(x, A), A);
    for n in [16, 24, 8] {
        let y = graph.dequantize(x, pair);
        let y = graph.conv(y, n, 3, 1);
        let y = graph.op("relu", &[("x", y)], &[]);
        pair = Pair(0.03, Some(-128));
        x = graph.quantize(y, pair);
    }
    graph.output(x);
    let steps = graph.steps();
    assert!(steps[1..].iter().all(|step| step.starts_with("int8 conv relu")), "{steps:?}");
    let mut all = Differences::default();
    compare("deep", &graph, &mut all);
    assert!(all.different * 1000 < all.codes, "{} of {}", all.different, all.codes);
}
