//! Operations, types and values, changed in one place at a time.

use super::*;

#[test]
fn operations_parameters_and_names() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 17] = [
        |m, _| op(m, "h").r#type = "linaer".into(),
        |m, _| op(m, "h").r#type = "my_own_layer".into(),
        |m, _| op(m, "h").r#type = "while_loop".into(),
        |m, _| {
            let bound = op(m, "h").inputs.remove("weight").unwrap();
            op(m, "h").inputs.insert("weigth".into(), bound);
        },
        |m, _| drop(op(m, "y").inputs.remove("y")),
        |m, _| drop(op(m, "y").inputs.insert("y".into(), mil::Argument::name("nowhere"))),
        |m, _| block(m).operations.reverse(),
        |m, _| block(m).outputs = vec!["nowhere".into(), "y".into(), "y".into()],
        |m, _| drop(op(m, "y").inputs.insert("y".into(), mil::Argument::names(["z", "s"]))),
        |m, _| drop(op(m, "y").inputs.insert("y".into(), mil::Argument::default())),
        |m, _| drop(op(m, "h").inputs.insert("weight".into(), mil::Argument::name("x"))),
        |m, _| drop(op(m, "y").attributes.insert("alpha".into(), mil::Value::int32(1))),
        |m, _| op(m, "s").outputs[0].name = "h".into(),
        |m, _| op(m, "y").outputs[0].name = "y.1".into(),
        |m, _| op(m, "y").blocks.push(mil::Block::default()),
        |m, _| op(m, "y").outputs.clear(),
        |m, _| {
            let op = mil::Operation::new("write_state", "acc_write")
                .input("input", mil::Argument::name("acc"))
                .input("data", mil::Argument::name("h"));
            block(m).operations.push(op);
        },
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    main: linaer `h`: there is no such operation; is it `linear`?

    main: my_own_layer `h`: it is no operation that can be read; write what it does with others, and convert the model again

    main: while_loop `h`: control flow cannot be read; convert the model with its branches and loops traced, or with one function a branch

    main: linear `h`: weigth: linear has no such parameter; is it `weight`?
    main: linear `h`: weight: is missing

    main: add `y`: y: is missing

    main: add `y`: y: `nowhere` is not defined

    main: add `y`: x: `s` is defined further down, or by what it depends on
    main: add `s`: x: `h` is defined further down, or by what it depends on
    main: add `s`: y: `r` is defined further down, or by what it depends on
    main: linear `h`: weight: `w` is defined further down, or by what it depends on
    main: linear `h`: bias: `b` is defined further down, or by what it depends on

    main: output `nowhere`: nothing defines it
    main: output `y`: it is returned twice

    main: add `y`: y: it is bound to 2 values, not to one

    main: add `y`: y: it is bound to 0 values, not to one

    main: linear `h`: weight: must be constant

    main: add `y`: it has an attribute `alpha`; its parameters are inputs

    main: add `h`: `h` is defined twice
    main: add `y`: x: `s` is not defined

    main: add `y.1`: `y.1` is no identifier; `y_1` would be
    main: output `y`: nothing defines it

    main: add `y`: it has blocks, which only control flow has

    main: add `y`: it returns 1 values and declares 0
    main: output `y`: nothing defines it

    main: write_state `acc_write`: `data` is fp16[?, 16], and the state fp16[16]
    ");
}

#[test]
fn types_and_values() {
    let cases: [fn(&mut mil::Model, &mut Vec<u8>); 15] = [
        |m, _| output_type(m, "y").dimensions[1] = mil::Dimension::fixed(17),
        |m, _| output_type(m, "y").rank = 3,
        |m, _| output_type(m, "y").data_type = 99,
        |m, _| output_type(m, "y").data_type = mil::DataType::BFloat16.number(),
        |m, _| output_type(m, "y").dimensions[1].dimension = None,
        |m, _| output_type(m, "y").dimensions[1] = mil::Dimension::fixed(u64::MAX),
        |m, _| {
            let many = vec![mil::Dimension::flexible(); 1000];
            *output_type(m, "y") = mil::TensorType::new(mil::DataType::Float16, many);
        },
        |m, _| op(m, "y").outputs[0].r#type = None,
        |m, _| output_type(m, "b").data_type = mil::DataType::Float32.number(),
        |m, _| output_type(m, "b").dimensions[0] = mil::Dimension::fixed(8),
        |m, _| output_type(m, "w").data_type = mil::DataType::Float32.number(),
        |m, _| {
            drop(op(m, "b").attributes.insert(
                "val".into(),
                mil::Value::bytes(mil::DataType::Float16, &[16], vec![0; 30]),
            ))
        },
        |m, _| {
            let floats = mil::tensor_value::Floats { values: vec![0.0; 16] };
            let value = mil::Value::tensor(mil::DataType::Float16, &[16], floats.into());
            op(m, "b").attributes.insert("val".into(), value);
        },
        |m, _| op(m, "b").attributes.get_mut("val").unwrap().doc_string = "a bias".into(),
        |m, _| drop(op(m, "b").attributes.remove("val")),
    ];
    let all: Vec<_> = cases.into_iter().map(found).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r"
    main: add `y`: `y`: it is declared as fp16[?, 17] and is fp16[?, 16]

    main: add `y`: `y`: its rank is 3 and it has 2 dimensions

    main: add `y`: `y`: its element type 99 is none of MIL's

    main: add `y`: `y`: it is of bf16, which coremltools 9.0 cannot read either; convert the model again in FP16

    main: add `y`: `y`: a dimension is neither a size nor flexible

    main: add `y`: `y`: fp16[?, 18446744073709551615] has more than 2^40 elements

    main: add `y`: `y`: fp16 of 1000 dimensions has more than 8

    main: add `y`: `y`: it has no type

    main: const `b`: it is declared as fp32[16] and is fp16[16]

    main: const `b`: it is declared as fp16[8] and is fp16[16]

    main: constexpr_blockwise_shift_scale `w`: it is declared as fp32[16, 32] and is fp16[16, 32]

    main: const `b`: val: Dense: 30 bytes instead of 32 for [16] of fp16

    main: const `b`: val: it is fp16[16], and its values have another form

    main: const `b`: val: its docString is set, which Core ML refuses

    main: const `b`: it has no attribute `val`
    ");
}

#[test]
fn everything_is_found_at_once_and_what_follows_from_it_is_not_told() {
    let all = found(|m, _| {
        op(m, "b").attributes.remove("val"); // Then `linear` has no bias to check.
        op(m, "w").inputs.remove("scale"); // Then it has no weight either.
        op(m, "r").r#type = "raed_state".into();
        op(m, "y").inputs.insert("y".into(), mil::Argument::name("zzz"));
        description(m).input.remove(1);
    });
    insta::assert_snapshot!(all, @r"
    main: constexpr_blockwise_shift_scale `w`: `scale` is missing
    main: const `b`: it has no attribute `val`
    main: raed_state `r`: there is no such operation; is it `read_state`?
    main: add `y`: y: `zzz` is not defined
    main: input `z`: the description lacks it
    ");
}
