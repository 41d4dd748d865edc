//! W8A8 beside f32 on the same weights: encoder layers of MiniLM's shape and a chain of convolutions,
//! made in memory: `cargo bench --bench integer [-- FILTER]`.
//!
//! Rates are of the multiplications of layers with weights, beside a probe of what INT8 dot products
//! and f32 multiply-adds the processor does at most, in the same run. Times are the shortest of
//! many runs: the machine may be shared. `TWOLANE_KERNEL` picks the instructions.

use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::time::{Duration, Instant};
use twolane::graph::weight::{Operand, Storage, Weight};
use twolane::graph::{Builder, Constant, DataType, Function, Sizes, TensorType, ValueId, macs};
use twolane::runtime::cpu::matrix::{Kernel, probe};
use twolane::runtime::{Backend, Cpu, Shapes, Tensor, Tensors, specialize};

/// Tokens, and sizes of an encoder like MiniLM-L6.
const TOKENS: usize = 128;
const WIDTH: usize = 384;
const HIDDEN: usize = 1536;
const HEADS: usize = 12;
const LAYERS: usize = 6;

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|f| name.contains(f.as_str()));
    let kernel = Kernel::detect();
    let most = |probe: fn(Kernel) -> f64| (0..5).map(|_| probe(kernel)).fold(0.0, f64::max) / 1e9;
    let (int8, float) = (most(probe::dot_products), most(probe::multiply_adds));
    let threads = rayon::current_num_threads();
    println!("{}, {threads} threads: {int8:.0} GMAC/s INT8, {float:.0} f32", kernel.name());
    println!(
        "{:<34} {:>9} {:>9} {:>8} {:>8} {:>7}",
        "", "f32 ms", "W8A8 ms", "GMAC/s", "of INT8", "x f32"
    );
    type Model = fn(&mut Net) -> ValueId;
    let models: [(&str, Model); 5] = [
        ("encoder, pairs before layers", |net| net.encoder(false)),
        ("encoder, pairs around layers", |net| net.encoder(true)),
        ("linear 384 -> 1536 -> 384, x6", Net::linears),
        ("conv 3x3, 64 channels, 28 x 28, x6", |net| net.convolutions(3, 64)),
        ("conv 1x1, 128 channels, 28 x 28, x6", |net| net.convolutions(1, 128)),
    ];
    for (name, model) in models.into_iter().filter(|(name, _)| wanted(name)) {
        let [(slow, count), (fast, _)] = [false, true].map(|int8| {
            let mut net = Net { builder: Builder::new(), names: 0, int8, state: 1 };
            let y = model(&mut net);
            net.builder.output(y, "");
            time(&net.builder.finish())
        });
        let rate = count as f64 / fast / 1e9;
        println!(
            "{name:<34} {:>9.3} {:>9.3} {rate:>8.1} {:>8.2} {:>7.2}",
            slow * 1e3,
            fast * 1e3,
            rate / int8,
            slow / fast
        );
    }
}

/// Seconds of a run, and multiplications of layers with weights.
fn time(function: &Function) -> (f64, u64) {
    let fixed = specialize(function, &Shapes::new()).expect("fixed shapes");
    let weighted = fixed.operations.iter().filter(|op| op.argument("weight").is_some());
    let count = weighted.map(|op| macs(&fixed, op).unwrap_or(0)).sum();
    let mut prepared = Cpu.prepare(function, &Shapes::new()).expect("a sound function");
    let value = function.value(function.inputs[0].value);
    let shape = value.ty.tensor().and_then(TensorType::shape).expect("a fixed shape");
    let len: usize = shape.iter().product();
    let x = (0..len).map(|i| (i * 7919 % 1013) as f32 / 506.0 - 1.0).collect();
    let x = ArrayD::from_shape_vec(IxDyn(&shape), x).expect("as long as its shape says");
    let inputs = [(value.name.clone(), Tensor::float(DataType::Float32, x))].into();
    let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 20 || start.elapsed() < Duration::from_secs(1) {
        let one = Instant::now();
        prepared.run(&inputs, &mut states, &mut outputs).expect("a run");
        best = best.min(one.elapsed().as_secs_f64());
        runs += 1;
    }
    (best, count)
}

/// A function that is being built.
struct Net {
    builder: Builder,
    names: usize,
    /// Whether there are pairs.
    int8: bool,
    state: u64,
}

impl Net {
    fn op(&mut self, kind: &str, values: &[(&str, ValueId)], rest: &[(&str, Constant)]) -> ValueId {
        let mut all = values.to_vec();
        for (param, constant) in rest {
            self.names += 1;
            let name = format!("{param}_{}", self.names);
            all.push((param, self.builder.constant(&name, constant.clone()).expect("a constant")));
        }
        self.names += 1;
        let name = format!("{kind}_{}", self.names);
        self.builder.op(kind, &name, &all).expect("an operation")
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let ty = TensorType::fixed(DataType::Float32, shape);
        self.builder.input("x", ty, Sizes::Fixed).expect("an input")
    }

    fn number(x: f32) -> Constant {
        Weight::dense(Operand::new(DataType::Float32, &[], x.to_le_bytes().to_vec())).into()
    }

    fn vector(len: usize, x: f32) -> Constant {
        let bytes = x.to_le_bytes().repeat(len);
        Weight::dense(Operand::new(DataType::Float32, &[len], bytes)).into()
    }

    /// `x` through a pair, where there are pairs.
    fn pair(&mut self, x: ValueId) -> ValueId {
        if !self.int8 {
            return x;
        }
        let scale = || ("scale", Self::number(0.031));
        let word = ("output_dtype", Constant::text("int8"));
        let codes = self.op("quantize", &[("input", x)], &[scale(), word]);
        self.op("dequantize", &[("input", codes)], &[scale()])
    }

    /// INT8 codes with one scale a row.
    fn weight(&mut self, shape: &[usize]) -> Constant {
        let len: usize = shape.iter().product();
        let codes: Vec<u8> = std::iter::repeat_with(|| {
            self.state = self.state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            ((self.state >> 33) as u8).max(1)
        })
        .map(|code| if code == 0x80 { 0 } else { code })
        .take(len)
        .collect();
        // Results are about as large as what they are made of.
        let scale = (shape[0] as f32 / len as f32).sqrt() / 74.0;
        let scale = f16::from_f32(scale).to_f32().to_le_bytes();
        let mut scales = vec![1; shape.len()];
        scales[0] = shape[0];
        let storage = Storage::Linear {
            codes: Operand::new(DataType::Int8, shape, codes),
            scale: Operand::new(DataType::Float32, &scales, scale.repeat(shape[0])),
            offset: None,
        };
        Weight { shape: shape.to_vec(), storage }.into()
    }

    fn linear(&mut self, x: ValueId, rows: usize, cols: usize) -> ValueId {
        let rest = [("weight", self.weight(&[rows, cols])), ("bias", Self::vector(rows, 0.1))];
        self.op("linear", &[("x", x)], &rest)
    }

    fn norm(&mut self, x: ValueId) -> ValueId {
        let [gamma, beta] = [1.0, 0.01].map(|x| Self::vector(WIDTH, x));
        let rest = [("axes", Constant::ints(&[-1])), ("gamma", gamma), ("beta", beta)];
        self.op("layer_norm", &[("x", x)], &rest)
    }

    fn turned(&mut self, x: ValueId, shape: &[usize]) -> ValueId {
        let shape: Vec<i32> = shape.iter().map(|&size| size as i32).collect();
        let x = self.op("reshape", &[("x", x)], &[("shape", Constant::ints(&shape))]);
        self.op("transpose", &[("x", x)], &[("perm", Constant::ints(&[0, 2, 1, 3]))])
    }

    /// Encoder layers. `around`: pairs behind layers and around sums as well.
    fn encoder(&mut self, around: bool) -> ValueId {
        let (size, plain) = (WIDTH / HEADS, [1, TOKENS, WIDTH]);
        let mut x = self.input(&plain);
        let behind = |net: &mut Self, x| if around { net.pair(x) } else { x };
        for _ in 0..LAYERS {
            let read = self.pair(x);
            let [q, k, v] = [(); 3].map(|()| {
                let y = self.linear(read, WIDTH, WIDTH);
                let y = behind(self, y);
                self.turned(y, &[1, TOKENS, HEADS, size])
            });
            let flag = [("transpose_y", Constant::bool(true))];
            let scores = self.op("matmul", &[("x", q), ("y", k)], &flag);
            let scores = self.op("mul", &[("x", scores)], &[("y", Self::number(0.177))]);
            let shares = self.op("softmax", &[("x", scores)], &[]);
            let y = self.op("matmul", &[("x", shares), ("y", v)], &[]);
            let y = self.op("transpose", &[("x", y)], &[("perm", Constant::ints(&[0, 2, 1, 3]))]);
            let shape = Constant::ints(&plain.map(|size| size as i32));
            let y = self.op("reshape", &[("x", y)], &[("shape", shape)]);
            let y = self.pair(y);
            let y = self.linear(y, WIDTH, WIDTH);
            let (y, other) = (behind(self, y), behind(self, x));
            let y = self.op("add", &[("x", y), ("y", other)], &[]);
            x = self.norm(y);
            let y = self.pair(x);
            let y = self.linear(y, HIDDEN, WIDTH);
            let y = self.op("gelu", &[("x", y)], &[]);
            let y = self.pair(y);
            let y = self.linear(y, WIDTH, HIDDEN);
            let (y, other) = (behind(self, y), behind(self, x));
            let y = self.op("add", &[("x", y), ("y", other)], &[]);
            x = self.norm(y);
        }
        x
    }

    fn linears(&mut self) -> ValueId {
        let mut x = self.input(&[TOKENS, WIDTH]);
        for _ in 0..LAYERS {
            for (rows, cols) in [(HIDDEN, WIDTH), (WIDTH, HIDDEN)] {
                let y = self.pair(x);
                let y = self.linear(y, rows, cols);
                x = self.op("relu", &[("x", y)], &[]);
            }
        }
        self.pair(x)
    }

    fn convolutions(&mut self, side: usize, channels: usize) -> ValueId {
        let mut x = self.input(&[1, channels, 28, 28]);
        for _ in 0..LAYERS {
            let y = self.pair(x);
            let weight = self.weight(&[channels, channels, side, side]);
            let rest = [
                ("weight", weight),
                ("bias", Self::vector(channels, 0.1)),
                ("pad_type", Constant::text("same")),
            ];
            let y = self.op("conv", &[("x", y)], &rest);
            x = self.op("relu", &[("x", y)], &[]);
        }
        self.pair(x)
    }
}
