//! Large, circular and mutated packages.

use super::*;
use proptest::prelude::*;

/// A function of `n` additions, each of which reads the one before it.
fn chain(n: usize) -> mil::Model {
    let (mut model, _) = package(&sound(), Target::Ios18);
    let typed = mil::ValueType::tensor(mil::DataType::Float16, &[16]);
    let mut operations = Vec::with_capacity(n);
    for i in 0..n {
        let before = if i == 0 { "z".to_owned() } else { format!("v{}", i - 1) };
        let name = format!("v{i}");
        let literal = mil::Value::bytes(mil::DataType::Float16, &[], vec![0, 0x3c]);
        let op = mil::Operation::new("add", &name)
            .input("x", mil::Argument::name(before))
            .input("y", mil::Argument::value(literal))
            .output(&name, typed.clone());
        operations.push(op);
    }
    block(&mut model).operations = operations;
    block(&mut model).outputs = vec![format!("v{}", n - 1)];
    let described = &mut description(&mut model).output[0];
    described.name = format!("v{}", n - 1);
    array(described).shape = vec![16];
    model
}

#[test]
fn a_hundred_thousand_operations_take_a_moment() {
    let start = std::time::Instant::now();
    let program = raised(&chain(100_000), &[]).unwrap().program;
    assert_eq!(program.functions["main"].operations.len(), 100_000);
    // Linear, this is below a second; quadratic, ten minutes.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn a_hundred_thousand_findings_are_counted() {
    let mut model = chain(100_000);
    for op in &mut block(&mut model).operations {
        op.r#type = "nothing_like_this".repeat(100);
    }
    let Err(Error::Findings { findings, .. }) = raised(&model, &[]) else { panic!() };
    assert_eq!(findings.len(), 10_001);
    insta::assert_snapshot!(findings[10_000], @"90000 more findings are left out");
    let longest = findings.iter().map(|finding| finding.to_string().len()).max();
    assert!(longest < Some(1000), "{longest:?}");
}

#[test]
fn operations_that_wait_for_each_other_are_found() {
    let mut model = chain(3);
    block(&mut model).operations[0].inputs.insert("x".into(), mil::Argument::name("v2"));
    insta::assert_snapshot!(findings(raised(&model, &[])), @"main: add `v0`: x: `v2` is defined further down, or by what it depends on");
}

#[test]
fn a_value_that_is_stored_once_is_not_expanded_without_end() {
    let (mut model, file) = package(&sound(), Target::Ios18);
    let wide = 1 << 20;
    let typed = mil::ValueType::tensor(mil::DataType::Float32, &[wide]);
    let source = mil::Value::bytes(mil::DataType::Float16, &[wide], vec![0; 2 << 20]);
    let source = mil::Operation::constant("half", source);
    let casts = (0..1000).map(|i| {
        let name = format!("cast_{i}");
        mil::Operation::new("constexpr_cast", &name)
            .input("source_val", mil::Argument::name("half"))
            .input("output_dtype", mil::Argument::value(mil::Value::string("fp32")))
            .output(&name, typed.clone())
    });
    block(&mut model).operations.splice(0..0, std::iter::once(source).chain(casts));
    let found = findings(raised(&model, &file));
    insta::assert_snapshot!(found.lines().next().unwrap(), @"main: constexpr_cast `cast_16`: constants that are decoded take more than 4 times the size of the weights");
    assert!(found.lines().count() > 900);
}

proptest! {
    #[test]
    fn a_mutated_model_is_findings_or_sound_never_a_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        blobs in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (model, mut file) = package(&sound(), Target::Ios18);
        let mut bytes = model.to_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for (at, byte) in blobs {
            let at = at.index(file.len());
            file[at] = byte;
        }
        mil::unknown_fields(&bytes);
        let Ok(model) = mil::Model::parse(&bytes) else { return Ok(()) };
        if let Ok(once) = raised(&model, &file) {
            for function in once.program.functions.values() {
                prop_assert_eq!(function.check(once.target), vec![]);
            }
            if once.target >= Target::Ios16 {
                let (model, file) = package(&once.program, once.target);
                prop_assert_eq!(raised(&model, &file).unwrap(), once);
            }
        }
    }
}
