//! Speed of a prepared model: a decoder of llama's shape with about 1 GB of INT8 weights, made in
//! memory.
//!
//! `cargo bench --bench runtime`. Preparing is measured beside a copy of the same bytes into fresh
//! memory, decoding beside the speed at which this machine reads memory, all in the same run.
//! Peaks of memory are Linux's `VmHWM`.

use half::f16;
use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;
use std::time::Instant;
use twolane::graph::weight::{Operand, Storage, Weight};
use twolane::graph::{Builder, Constant, DataType, Function, Sizes, TensorType, ValueId};
use twolane::runtime::{Backend, Cpu, Prepared, Shapes, Tensor, Tensors};

const WIDTH: usize = 2048;
const HIDDEN: usize = 5632;
const HEADS: usize = 32;
const WORDS: usize = 32_000;
const LAYERS: usize = 17;

fn main() {
    let mut model = Model::default();
    let function = model.decoder(1);
    let bytes: usize = model.weights.iter().map(Vec::len).sum();
    let gigabytes = bytes as f64 / 1e9;
    println!("{gigabytes:.2} GB of INT8 weights, {} threads", rayon::current_num_threads());

    let copy = median(3, || {
        let copies: Vec<Vec<u8>> = model.weights.par_iter().map(|weight| weight.clone()).collect();
        assert_eq!(copies.len(), model.weights.len());
    });
    let before = resident("VmRSS:");
    let start = Instant::now();
    let mut prepared = Cpu.prepare(&function, &Shapes::new()).expect("a decoder");
    let prepare = start.elapsed().as_secs_f64();
    let memory = prepared.memory();
    println!(
        "copy into fresh memory {copy:.3} s, prepare {prepare:.3} s: {:.2} of it",
        prepare / copy
    );
    println!(
        "holds {:.2} GB of weights and {:.1} MB of activations; peak {:.2} GB above {before:.2} GB",
        memory.weights as f64 / 1e9,
        memory.activations as f64 / 1e6,
        resident("VmHWM:") - before,
    );

    let read = median(5, || {
        let sum: u64 = model.weights.par_iter().map(|weight| sum(weight)).sum();
        std::hint::black_box(sum);
    });
    let limit = gigabytes / read;
    let token = run(&mut *prepared, 1);
    // The embedding's rows are gathered, not read in full.
    let moved = gigabytes - (WORDS * WIDTH) as f64 / 1e9;
    println!(
        "decode  {:>8.2} tokens/s, {:.1} GB/s of weights: {:.2} of {limit:.1} GB/s read",
        1.0 / token,
        moved / token,
        moved / token / limit,
    );
    drop(prepared);
    let mut prepared = Cpu.prepare(&model.decoder(128), &Shapes::new()).expect("a decoder");
    let prompt = run(&mut *prepared, 128);
    let products = 128.0 * (bytes - WORDS * WIDTH) as f64;
    println!("prefill {:>8.2} tokens/s, {:.1} GMAC/s", 128.0 / prompt, products / prompt / 1e9);
}

/// Seconds of a run.
fn run(prepared: &mut dyn Prepared, tokens: usize) -> f64 {
    let ids = ArrayD::from_shape_fn(IxDyn(&[1, tokens]), |i| (i[1] * 97 % WORDS) as i32);
    let inputs = [("ids".to_owned(), Tensor::int(DataType::Int32, ids))].into();
    let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
    median(5, || prepared.run(&inputs, &mut states, &mut outputs).expect("a run"))
}

fn median(times: usize, mut work: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[times / 2]
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0.iter();
    words.fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// A line of the process's status, in GB; 0 where there is none.
fn resident(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1e6
}

/// A function that is being built, and the codes of its weights.
#[derive(Default)]
struct Model {
    builder: Builder,
    names: usize,
    weights: Vec<Vec<u8>>,
    next: usize,
}

impl Model {
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}_{}", self.names)
    }

    fn op(&mut self, kind: &str, values: &[(&str, ValueId)], rest: &[(&str, Constant)]) -> ValueId {
        let mut all = values.to_vec();
        for (param, constant) in rest {
            let name = self.name(param);
            all.push((param, self.builder.constant(&name, constant.clone()).expect("a constant")));
        }
        let name = self.name(kind);
        self.builder.op(kind, &name, &all).expect("an operation")
    }

    /// INT8 codes with one scale a row; the same bytes each time a decoder is built.
    fn weight(&mut self, rows: usize, cols: usize) -> Constant {
        if self.next == self.weights.len() {
            let mut state = self.next as u64 + 1;
            let mut word = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            };
            self.weights.push((0..rows * cols / 8).flat_map(|_| word()).collect());
        }
        let codes = self.weights[self.next].clone();
        self.next += 1;
        let scale: Vec<u8> =
            std::iter::repeat_n(f16::from_f32(1e-4).to_le_bytes(), rows).flatten().collect();
        let storage = Storage::Linear {
            codes: Operand::new(DataType::Int8, &[rows, cols], codes),
            scale: Operand::new(DataType::Float16, &[rows, 1], scale),
            offset: None,
        };
        Weight { shape: vec![rows, cols], storage }.into()
    }

    fn linear(&mut self, x: ValueId, rows: usize, cols: usize) -> ValueId {
        let weight = self.weight(rows, cols);
        self.op("linear", &[("x", x)], &[("weight", weight)])
    }

    /// x / √(mean(x²) + ε)
    fn norm(&mut self, x: ValueId) -> ValueId {
        let square = self.op("square", &[("x", x)], &[]);
        let axes = [("axes", Constant::ints(&[-1])), ("keep_dims", Constant::bool(true))];
        let mean = self.op("reduce_mean", &[("x", square)], &axes);
        let epsilon = f16::from_f32(1e-5).to_le_bytes().to_vec();
        let epsilon = Weight::dense(Operand::new(DataType::Float16, &[], epsilon)).into();
        let scale = self.op("rsqrt", &[("x", mean)], &[("epsilon", epsilon)]);
        self.op("mul", &[("x", x), ("y", scale)], &[])
    }

    fn heads(&mut self, x: ValueId, tokens: usize) -> ValueId {
        let shape = [1, tokens as i32, HEADS as i32, (WIDTH / HEADS) as i32];
        let split = self.op("reshape", &[("x", x)], &[("shape", Constant::ints(&shape))]);
        self.op("transpose", &[("x", split)], &[("perm", Constant::ints(&[0, 2, 1, 3]))])
    }

    fn decoder(&mut self, tokens: usize) -> Function {
        (self.builder, self.names, self.next) = (Builder::new(), 0, 0);
        let ids = TensorType::fixed(DataType::Int32, &[1, tokens]);
        let ids = self.builder.input("ids", ids, Sizes::Fixed).expect("an input");
        let table = self.weight(WORDS, WIDTH);
        let mut x = self.op("gather", &[("indices", ids)], &[("x", table)]);
        for _ in 0..LAYERS {
            let normed = self.norm(x);
            let [q, k, v] = [(); 3].map(|()| {
                let y = self.linear(normed, WIDTH, WIDTH);
                self.heads(y, tokens)
            });
            let all = [("query", q), ("key", k), ("value", v)];
            let y = self.op("scaled_dot_product_attention", &all, &[]);
            let perm = [("perm", Constant::ints(&[0, 2, 1, 3]))];
            let y = self.op("transpose", &[("x", y)], &perm);
            let shape = Constant::ints(&[1, tokens as i32, WIDTH as i32]);
            let y = self.op("reshape", &[("x", y)], &[("shape", shape)]);
            let y = self.linear(y, WIDTH, WIDTH);
            x = self.op("add", &[("x", x), ("y", y)], &[]);
            let normed = self.norm(x);
            let gate = self.linear(normed, HIDDEN, WIDTH);
            let gate = self.op("silu", &[("x", gate)], &[]);
            let up = self.linear(normed, HIDDEN, WIDTH);
            let both = self.op("mul", &[("x", gate), ("y", up)], &[]);
            let y = self.linear(both, WIDTH, HIDDEN);
            x = self.op("add", &[("x", x), ("y", y)], &[]);
        }
        let normed = self.norm(x);
        let logits = self.linear(normed, WORDS, WIDTH);
        self.builder.output(logits, "");
        std::mem::take(&mut self.builder).finish()
    }
}
