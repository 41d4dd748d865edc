//! What the evaluator itself promises; what operations compute is held by `tests/ops.rs`.

use super::{Argument, Call, Evaluator, Mode, Reference, call};
use crate::graph::DataType::{Float16, Float32};
use crate::graph::ops::Row;
use crate::graph::weight::{Operand, Weight};
use crate::graph::{Builder, Dim, Function, SizeRange, Sizes, TensorType};
use crate::runtime::{Shapes, Tensor, Tensors};
use ndarray::{ArrayD, IxDyn};

fn tensor(dtype: crate::graph::DataType, shape: &[usize], numbers: &[f32]) -> Tensor {
    Tensor::float(dtype, ArrayD::from_shape_vec(IxDyn(shape), numbers.to_vec()).unwrap())
}

/// `y = x · Wᵀ` in FP16 with W `[1, 2]`, x `[1 to 4, 2]`.
fn linear(weight: [f32; 2]) -> Function {
    let mut builder = Builder::new();
    let sizes =
        [SizeRange { low: 1, default: 1, high: 4 }, SizeRange { low: 2, default: 2, high: 2 }];
    let ty = TensorType::new(Float16, vec![Dim::Flexible, Dim::Fixed(2)]);
    let x = builder.input("x", ty, Sizes::Ranges(sizes.to_vec())).unwrap();
    let bytes =
        weight.iter().flat_map(|&w| half::f16::from_f32(w).to_le_bytes()).collect::<Vec<_>>();
    let weight = Weight::dense(Operand::new(Float16, &[1, 2], bytes));
    let weight = builder.constant("w", weight).unwrap();
    let y = builder.op("linear", "y", &[("x", x), ("weight", weight)]).unwrap();
    builder.output(y, "");
    builder.finish()
}

fn run(mode: Mode, function: &Function, x: Tensor) -> crate::Result<(Tensor, u64)> {
    let mut overflows = 0;
    let inputs = [("x".to_owned(), x)].into();
    let outputs =
        Reference { mode }.evaluate(function, &inputs, &mut Tensors::new(), &mut |step| {
            overflows += step.overflows;
            assert!(step.value(step.operation.outputs[0]).is_some());
            Ok(())
        })?;
    Ok((outputs["y"].clone(), overflows))
}

#[test]
fn each_mode_rounds_in_its_own_way() {
    // 2049 lies between two FP16 numbers; 32768 is the accumulator's limit.
    #[rustfmt::skip]
    let cases = [
        (Mode::F32, [1.0, 1.0],     [2048.0, 1.0],  2049.0,        0),
        (Mode::F16, [1.0, 1.0],     [2048.0, 1.0],  2048.0,        0),
        (Mode::Ane, [1.0, 1.0],     [2048.0, 1.0],  2050.0,        0),
        (Mode::F16, [256.0, -16.0], [128.0, 128.0], 30720.0,       0),
        (Mode::Ane, [256.0, -16.0], [128.0, 128.0], f32::INFINITY, 1),
    ];
    for (mode, weight, x, want, overflows) in cases {
        let got = run(mode, &linear(weight), tensor(Float16, &[1, 2], &x)).unwrap();
        assert_eq!(got, (tensor(Float16, &[1, 1], &[want]), overflows), "{mode:?}");
    }
}

#[test]
fn an_fp16_input_is_rounded_at_entry_in_every_mode() {
    for mode in [Mode::F32, Mode::F16, Mode::Ane] {
        let (y, _) =
            run(mode, &linear([1.0, 0.0]), tensor(Float16, &[1, 2], &[2049.0, 0.0])).unwrap();
        assert_eq!(y, tensor(Float16, &[1, 1], &[2048.0]), "{mode:?}");
    }
}

#[test]
fn what_does_not_fit_a_function_is_said() {
    let function = linear([1.0, 1.0]);
    let refused = |x| run(Mode::F32, &function, x).unwrap_err().to_string();
    insta::assert_snapshot!(refused(tensor(Float32, &[1, 2], &[0.0; 2])), @"input `x` is fp32[1, 2]; the function takes fp16[?, 2]");
    insta::assert_snapshot!(refused(tensor(Float16, &[1, 3], &[0.0; 3])), @"input `x` is fp16[1, 3]; the function takes fp16[?, 2]");
    insta::assert_snapshot!(refused(tensor(Float16, &[5, 2], &[0.0; 10])), @"input `x` is fp16[5, 2]; dimension 0 takes 1 to 4, not 5");
    let with = |names: &[&str]| {
        let x = tensor(Float16, &[1, 2], &[0.0; 2]);
        let inputs = names.iter().map(|&name| (name.to_owned(), x.clone())).collect();
        let mut ready = Evaluator::new(&function, &Shapes::new(), Mode::F32).unwrap();
        ready.run(&inputs, &mut Tensors::new(), &mut |_| Ok(())).unwrap_err().to_string()
    };
    insta::assert_snapshot!(with(&[]), @"input `x` is missing; the function takes fp16[?, 2] there");
    insta::assert_snapshot!(with(&["x", "z"]), @"there is no input `z`; the function takes `x`");
}

#[test]
fn a_promised_shape_is_kept() {
    let function = linear([1.0, 1.0]);
    let promise =
        |rows| Evaluator::new(&function, &[("x".into(), vec![rows, 2])].into(), Mode::F32);
    assert!(promise(5).is_err());
    let inputs = [("x".to_owned(), tensor(Float16, &[1, 2], &[0.0; 2]))].into();
    let refused = promise(2).unwrap().run(&inputs, &mut Tensors::new(), &mut |_| Ok(()));
    insta::assert_snapshot!(refused.unwrap_err(), @"input `x` is fp16[1, 2]; the function was prepared for [2, 2]");
}

#[test]
fn a_result_beyond_the_limit_is_refused_before_it_is_made() {
    let huge = Tensor::int(
        crate::graph::DataType::Int32,
        ArrayD::from_shape_vec(IxDyn(&[3]), vec![i32::MAX; 3]).unwrap(),
    );
    let fill = Call {
        row: Row::find("fill").unwrap(),
        arguments: vec![("shape", Argument::Tensor(&huge))],
        mode: Mode::F32,
    };
    insta::assert_snapshot!(call(&fill).unwrap_err(), @"the shape [2147483647, 2147483647, 2147483647] is above the limit of 2^30 elements");
    let one = tensor(Float32, &[1, 1, 1], &[1.0]);
    let tile = Call {
        row: Row::find("tile").unwrap(),
        arguments: vec![("x", Argument::Tensor(&one)), ("reps", Argument::Tensor(&huge))],
        mode: Mode::F32,
    };
    assert!(call(&tile).is_err());
}
