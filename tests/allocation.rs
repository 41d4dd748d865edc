//! A prepared function runs without allocating. In a binary of its own, for it counts what the whole
//! process allocates.

use ndarray::{ArrayD, IxDyn};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use twolane::graph::weight::{Operand, Weight};
use twolane::graph::{Builder, Constant, DataType, Function, Sizes, TensorType, ValueId};
use twolane::runtime::{Backend, Cpu, Shapes, Tensor, Tensors};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted.
struct Counting;

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator with the arguments that came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

const WIDTH: usize = 64;

/// FP16 numbers between −0.1 and 0.1.
fn weight(shape: &[usize]) -> Constant {
    let number = |i: usize| ((i * 37) % 101) as f32 / 500.0 - 0.1;
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|i| half::f16::from_f32(number(i)).to_le_bytes());
    Weight::dense(Operand::new(DataType::Float16, shape, bytes.collect::<Vec<u8>>())).into()
}

/// One token through a decoder's layer and a convolution: every family but those that the reference
/// evaluates.
fn decoder() -> Function {
    let mut b = Builder::new();
    let ids = TensorType::fixed(DataType::Int32, &[1, 1]);
    let ids = b.input("ids", ids, Sizes::Fixed).unwrap();
    let past = TensorType::fixed(DataType::Float16, &[1, 4, 20, 16]);
    let past = b.state("past", past).unwrap();
    let mut n = 0;
    let mut op =
        |b: &mut Builder, kind: &str, values: &[(&str, ValueId)], rest: &[(&str, Constant)]| {
            let constants = rest.iter().map(|(name, constant)| {
                n += 1;
                (*name, b.constant(&format!("c{n}"), constant.clone()).unwrap())
            });
            let all = [values, &constants.collect::<Vec<_>>()].concat();
            n += 1;
            b.op(kind, &format!("{kind}_{n}"), &all).unwrap()
        };
    let b = &mut b;
    let axis = |axis: i32| ("axis", Constant::int(axis));
    let linear = |out: usize| ("weight", weight(&[out, WIDTH]));
    let x = op(b, "gather", &[("indices", ids)], &[("x", weight(&[50, WIDTH]))]);
    let axes = ("axes", Constant::ints(&[-1]));
    let normed = op(b, "layer_norm", &[("x", x)], &[axes]);
    let q = op(b, "linear", &[("x", normed)], &[linear(WIDTH)]);
    let heads = ("shape", Constant::ints(&[1, 1, 4, 16]));
    let q = op(b, "reshape", &[("x", q)], &[heads]);
    let q = op(b, "transpose", &[("x", q)], &[("perm", Constant::ints(&[0, 2, 1, 3]))]);
    let keys = op(b, "read_state", &[("input", past)], &[]);
    let keys = op(b, "concat", &[("values", keys), ("values", q)], &[axis(2)]);
    let all = [("query", q), ("key", keys), ("value", keys)];
    let attended = op(b, "scaled_dot_product_attention", &all, &[]);
    let rows = ("shape", Constant::ints(&[1, 1, WIDTH as i32]));
    let y = op(b, "reshape", &[("x", attended)], &[rows]);
    let gate = op(b, "linear", &[("x", y)], &[linear(WIDTH)]);
    let gate = op(b, "silu", &[("x", gate)], &[]);
    let y = op(b, "mul", &[("x", gate), ("y", y)], &[]);
    let image = op(b, "reshape", &[("x", y)], &[("shape", Constant::ints(&[1, 4, 4, 4]))]);
    let same = ("pad_type", Constant::text("same"));
    let image = op(b, "conv", &[("x", image)], &[("weight", weight(&[8, 4, 3, 3])), same]);
    let kernel = ("kernel_sizes", Constant::ints(&[2, 2]));
    let valid = ("pad_type", Constant::text("valid"));
    let pooled = op(b, "max_pool", &[("x", image)], &[kernel, valid]);
    let summed = op(b, "reduce_sum", &[("x", pooled)], &[("axes", Constant::ints(&[1]))]);
    let scores = op(b, "softmax", &[("x", summed)], &[]);
    let best = op(b, "reduce_argmax", &[("x", scores)], &[]);
    let mut b = std::mem::take(b);
    b.output(y, "");
    b.output(scores, "");
    b.output(best, "");
    b.finish()
}

#[test]
fn a_run_allocates_nothing() {
    // One thread: what rayon allocates to wake others is its own business.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut prepared = Cpu.prepare(&decoder(), &Shapes::new()).unwrap();
    let ids = Tensor::int(DataType::Int32, ArrayD::from_elem(IxDyn(&[1, 1]), 7));
    let inputs: Tensors = [("ids".to_owned(), ids)].into();
    let (mut states, mut outputs) = (Tensors::new(), Tensors::new());
    pool.install(|| {
        // The first run makes the state, the outputs, and what libraries keep for each thread.
        prepared.run(&inputs, &mut states, &mut outputs).unwrap();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..10 {
            prepared.run(&inputs, &mut states, &mut outputs).unwrap();
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    });
    assert!(outputs.len() == 3 && ALLOCATIONS.load(Ordering::Relaxed) > 0);
}
