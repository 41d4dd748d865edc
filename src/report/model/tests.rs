use super::*;
use crate::graph::weight::{Operand, Storage, Weight};
use crate::graph::{Builder, Constant, DataType, Dim, SizeRange, TensorType};

fn operand(dtype: DataType, shape: &[usize]) -> Operand {
    let bits = shape.iter().product::<usize>() * dtype.bits().unwrap() as usize;
    Operand::new(dtype, shape, vec![0; bits.div_ceil(8)])
}

/// `x → linear → y` of any number of rows, its weight INT8 with a scale a channel.
fn program() -> Program {
    let mut builder = Builder::new();
    let rows = SizeRange { low: 1, default: 4, high: 64 };
    let columns = SizeRange { low: 32, default: 32, high: 32 };
    let ty = TensorType::new(DataType::Float16, vec![Dim::Flexible, Dim::Fixed(32)]);
    let x = builder.input("x", ty, Sizes::Ranges(vec![rows, columns])).unwrap();
    builder.about("rows of pixels");
    let bias =
        builder.input("bias", TensorType::fixed(DataType::Float16, &[16]), Sizes::Fixed).unwrap();
    let storage = Storage::Linear {
        codes: operand(DataType::Int8, &[16, 32]),
        scale: operand(DataType::Float16, &[16, 1]),
        offset: None,
    };
    let weight = builder.constant("w", Weight { shape: vec![16, 32], storage }).unwrap();
    let y = builder.op("linear", "h", &[("x", x), ("weight", weight)]).unwrap();
    let y = builder.op("add", "biased", &[("x", y), ("y", bias)]).unwrap();
    let axes = builder.constant("axes", Constant::ints(&[-1])).unwrap();
    let y = builder.op("reduce_sum", "y", &[("x", y), ("axes", axes)]).unwrap();
    builder.output(y, "sums");
    let mut function = builder.finish();
    function.inputs[1].default = Some(f64::from(0.1f32));
    let mut program = Program::single(function);
    program.metadata.description = "Sums of layers".into();
    program
}

#[test]
fn a_model_is_shown_function_by_function() {
    let fixed = |function: &Function| {
        crate::runtime::specialize(function, &crate::runtime::Shapes::new()).ok()
    };
    let model = Model::new(&program(), Target::Ios18, &fixed);
    insta::assert_snapshot!(model.to_text(None), @r"
    ML Program for ios18 (macos15)
    Sums of layers

    function main: 3 operations, 2,048 MACs, 548 bytes of constants

            name  type         sizes (default)    about           if left out
    input   x     fp16[?, 32]  [1 to 64 (4), 32]  rows of pixels
    input   bias  fp16[16]                                                0.1
    output  y     fp16[?]                         sums

    operations: add 1, linear 1, reduce_sum 1

    constant  shape     stored as              size
    w         [16, 32]  linear int8, channel  544 B
    and 1 of fewer than 16 elements, 4 B
    ");
    assert_eq!(model.functions[0].weight_bytes, 16 * 32 + 2 * 16 + 4);
    let json: serde_json::Value = serde_json::from_str(&model.to_json()).unwrap();
    assert_eq!(json["functions"][0]["inputs"][0]["default"], "");
    assert_eq!(json["functions"][0]["inputs"][1]["default"], "0.1");
    assert_eq!(json["functions"][0]["macs"], 4 * 16 * 32);
    assert_eq!(json["functions"][0]["weights"][0]["storage"], "linear int8, channel");
}

#[test]
fn every_storage_has_its_words() {
    use DataType::{Float16, Int4, Int8, UInt1, UInt4};
    let linear = |codes: DataType, scale: &[usize], offset: bool| Storage::Linear {
        codes: operand(codes, &[16, 32]),
        scale: operand(Float16, scale),
        offset: offset.then(|| operand(codes, scale)),
    };
    let palette = |table: &[usize], scaled: bool| Storage::Palette {
        indices: operand(UInt4, &[16, 32]),
        table: operand(if scaled { Int8 } else { Float16 }, table),
        table_scale: scaled.then(|| operand(Float16, &[1, 1, 1, 1])),
        vector_axis: 0,
        channel_scale: scaled.then(|| operand(Float16, &[16, 1])),
    };
    let sparse = Storage::Sparse {
        mask: operand(UInt1, &[16, 32]),
        values: Storage::Dense(operand(Float16, &[128])).into(),
    };
    #[rustfmt::skip]
    let cases = [
        (Storage::Dense(operand(Float16, &[16, 32])),  "float16"),
        (linear(Int8, &[1, 1], false),                 "linear int8, tensor"),
        (linear(Int8, &[16, 1], true),                 "linear int8, channel, asymmetric"),
        (linear(Int8, &[1, 32], false),                "linear int8, channel of axis 1"),
        (linear(Int4, &[16, 4], false),                "linear int4, block 8"),
        (linear(Int4, &[8, 4], false),                 "linear int4, block 2x8"),
        (palette(&[1, 1, 16, 1], false),               "palette 4-bit, tensor"),
        (palette(&[2, 1, 16, 1], false),               "palette 4-bit, group 8"),
        (palette(&[1, 4, 16, 2], false),               "palette 4-bit, group 8 of axis 1, vector 2"),
        (palette(&[1, 1, 16, 1], true),                "palette 4-bit, tensor, int8 entries, channel-scale"),
        (sparse,                                       "sparse 75 %, float16"),
    ];
    for (storage, want) in cases {
        assert_eq!(storage_word(&Weight { shape: vec![16, 32], storage }), want);
    }
}
