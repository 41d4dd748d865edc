//! The program and its description, changed in one place at a time.

use super::*;

#[test]
fn the_program_and_its_description() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 24] = [
        |m, _| m.ml_program.as_mut().unwrap().version = 0,
        |m, _| m.ml_program.as_mut().unwrap().doc_string = "text".into(),
        |m, _| m.specification_version = 11,
        |m, _| main(m).opset = "CoreML7".into(),
        |m, _| {
            let program = m.ml_program.as_mut().unwrap();
            let main = program.functions.remove("main").unwrap();
            program.functions.insert("decode".into(), main);
        },
        |m, _| description(m).default_function_name = "main".into(),
        |m, _| {
            let function = mil::FunctionDescription { name: "other".into(), ..Default::default() };
            description(m).functions.push(function);
        },
        |m, _| drop(description(m).input.remove(1)),
        |m, _| description(m).input[1].name = "zz".into(),
        |m, _| array(&mut description(m).input[1]).shape = vec![17],
        |m, _| array(&mut description(m).input[1]).data_type = mil::array_data_type::FLOAT32,
        |m, _| array(&mut description(m).input[1]).data_type = mil::array_data_type::INT8,
        |m, _| description(m).output[0].name = "logits".into(),
        |m, _| array(&mut description(m).state[0]).data_type = mil::array_data_type::FLOAT32,
        |m, _| {
            let state = description(m).state.remove(0);
            description(m).input.push(state);
        },
        |m, _| array(&mut description(m).input[0]).shape[0] = 65,
        |m, _| array(&mut description(m).input[0]).shape_flexibility = None,
        |m, _| {
            use mil::array_feature_type::ShapeFlexibility;
            let flexibility = &mut array(&mut description(m).input[0]).shape_flexibility;
            let Some(ShapeFlexibility::ShapeRange(ranges)) = flexibility else { panic!() };
            ranges.size_ranges[0].upper_bound = -1;
        },
        |m, _| shapes(m, (1..=129).collect()),
        |m, _| shapes(m, vec![1, 2, 3]),
        |m, _| main(m).inputs[0].name = "1x".into(),
        |m, _| description(m).predicted_feature_name = "y".into(),
        |m, _| {
            main(m).inputs[2].r#type = Some(mil::ValueType::state(mil::DataType::Float32, &[16]))
        },
        |m, _| {
            main(m).inputs[0].r#type =
                Some(mil::ValueType::tensor(mil::DataType::Float16, &[0, 32]))
        },
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    the program's version is 0, and must be 1

    the program's docString is set, which Core ML refuses

    model.mlmodel: its specification version is 11; 6 to 10 have ML Programs that can be read

    main: its opset is `CoreML7`; that of ios18 is `CoreML8`
    main: it has blocks for [`CoreML8`], and must have one, for its opset

    without described functions there is one, `main`, and not: `decode`

    `main` is its default function, and no functions are described

    inputs, outputs or states are described beside functions that have their own
    the default function `` is none of its functions: `main`
    the function `other` is described and does not exist
    the function `main` is not described

    main: input `z`: the description lacks it

    main: input `zz`: it is described, and the function has no such input
    main: input `z`: the description lacks it

    main: input `z`: its shape is described as [17], and the function has fp16[16]

    main: input `z`: it is described as fp32, and the function has fp16[16]

    main: input `z`: it is described as int8, and the function has fp16[16]

    main: output `logits`: it is described, and the function has no such output
    main: output `y`: the description lacks it

    main: state `acc`: it is described as fp32, and the function has fp16[16]

    main: input `acc`: it is described, and the function has no such input
    main: state `acc`: the description lacks it

    main: input `x`: the default of dimension 0, 65, is not within its range, 1 to 64

    main: input `x`: the function has fp16[?, 32], and no range or list of shapes is described

    main: input `x`: dimension 0 has no upper bound; ML Programs need one

    main: input `x`: 129 shapes are listed; Core ML takes up to 128

    main: input `x`: the default shape [4, 32] is none of the 3 listed

    main: input `1x`: `1x` is no identifier; `_1x` would be
    main: linear `h`: x: `x` is not defined
    main: input `x`: it is described, and the function has no such input
    main: input `1x`: the description lacks it

    main: the description names `y` as its label; no output is that

    main: read_state `r`: `r`: it is declared as fp16[16] and is fp32[16]
    main: add `s`: y: is fp32[16] beside `x`, which is fp16[?, 16]; ios18 needs one type
    main: state `acc`: it is described as fp16, and the function has fp32[16]

    main: input `x`: its shape is described as [4, 32], and the function has fp16[0, 32]
    ");
}

/// The rows that the first input may have.
/// Makes the second input, `z`, optional.
fn optional(
    model: &mut mil::Model,
    default: Option<mil::array_feature_type::DefaultOptionalValue>,
) {
    let z = &mut description(model).input[1];
    z.r#type.as_mut().unwrap().is_optional = true;
    array(z).default_optional_value = default;
}

#[test]
fn what_may_be_left_out_keeps_its_default_value() {
    use mil::array_feature_type::DefaultOptionalValue as Stored;
    let with = |default| {
        let (mut model, file) = package(&sound(), Target::Ios18);
        optional(&mut model, default);
        (raised(&model, &file), model.description)
    };
    for default in [Stored::Float(0.5), Stored::Float(-1e30), Stored::Double(0.1)] {
        let (once, described) = with(Some(default));
        let once = once.unwrap();
        assert!(once.program.functions["main"].inputs[1].default.is_some(), "{default:?}");
        let (model, file) = package(&once.program, once.target);
        assert_eq!(model.description, described, "{default:?}");
        assert_eq!(raised(&model, &file).unwrap(), once, "{default:?}");
    }
    let (once, _) = with(Some(Stored::Int(3)));
    let described =
        lower(&once.unwrap().program, Target::Ios18).unwrap().model.description.unwrap();
    let mut z = described.input[1].clone();
    assert_eq!(array(&mut z).default_optional_value, Some(Stored::Float(3.0)), "as coremltools");

    let told = [
        found(|m, _| optional(m, None)),
        found(|m, _| optional(m, Some(Stored::Float(f32::NAN)))),
        found(|m, _| description(m).state[0].r#type.as_mut().unwrap().is_optional = true),
        found(|m, _| description(m).output[0].r#type.as_mut().unwrap().is_optional = true),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    main: input `z`: it is optional, without a default value; only an array input with a default value may be left out; convert the model with one that must be given, or with a default value
    main: input `z`: its default value is NaN, which is no fp16
    main: state `acc`: it is optional; only an array input with a default value may be left out; convert the model with one that must be given, or with a default value
    main: output `y`: it is optional; only an array input with a default value may be left out; convert the model with one that must be given, or with a default value
    ");
}

#[test]
fn a_default_value_is_one_of_the_type() {
    use mil::array_feature_type::DefaultOptionalValue as Stored;
    let with = |default| {
        let mut builder = Builder::new();
        let ty = TensorType::fixed(DataType::Int32, &[2]);
        let x = builder.input("x", ty, Sizes::Fixed).unwrap();
        builder.output(x, "");
        let y = builder.op("identity", "y", &[("x", x)]).unwrap();
        builder.output(y, "");
        let mut function = builder.finish();
        function.outputs.remove(0);
        let (mut model, file) = package(&Program::single(function), Target::Ios18);
        let x = &mut description(&mut model).input[0];
        x.r#type.as_mut().unwrap().is_optional = true;
        array(x).default_optional_value = Some(default);
        raised(&model, &file).map(|raised| raised.program.functions["main"].inputs[0].default)
    };
    // coremltools 9.0 writes a float for INT32.
    assert_eq!(with(Stored::Float(3.0)).unwrap(), Some(3.0));
    assert_eq!(with(Stored::Int(i32::MAX)).unwrap(), Some(f64::from(i32::MAX)));
    for misfit in [Stored::Float(0.5), Stored::Float(3e9), Stored::Double(f64::INFINITY)] {
        let told = with(misfit).unwrap_err().to_string();
        assert!(told.contains("which is no int32"), "{told}");
    }
}

fn shapes(model: &mut mil::Model, rows: Vec<i64>) {
    let shape = |rows| mil::array_feature_type::Shape { shape: vec![rows, 32] };
    let shapes = rows.into_iter().map(shape).collect();
    let listed = mil::array_feature_type::EnumeratedShapes { shapes };
    array(&mut description(model).input[0]).shape_flexibility =
        Some(mil::array_feature_type::ShapeFlexibility::EnumeratedShapes(listed));
}
