use super::*;
use crate::plan::Plan;

fn header(name: &str, dtype: &str, shape: &[usize]) -> Header {
    let size = if dtype == "F16" || dtype == "BF16" {
        2
    } else if dtype == "F32" {
        4
    } else {
        8
    };
    let bytes = shape.iter().product::<usize>() as u64 * size;
    Header {
        name: name.into(),
        file: "model.safetensors".into(),
        dtype: dtype.into(),
        shape: shape.to_vec(),
        bytes,
        role: None,
        keeps_type: false,
    }
}

/// One line a tensor: name, scheme, bytes, rule, notes; then the warnings.
fn told(headers: &[Header], options: &Options) -> String {
    let plan = match Plan::new(headers, options) {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let line = |t: &PlannedTensor| {
        let scheme = t.scheme.map_or("copied".into(), |s| s.to_string());
        let notes = t.notes.join("; ");
        format!(
            "{} | {scheme} | {} → {} | {} | {notes}",
            t.name, t.bytes_before, t.bytes_after, t.rule
        )
    };
    plan.tensors.iter().map(line).chain(plan.warnings).collect::<Vec<_>>().join("\n")
}

fn options(scheme: &str, rules: &[&str]) -> Options {
    Options {
        scheme: scheme.parse().unwrap(),
        rules: rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect(),
        ..Options::default()
    }
}

fn model() -> Vec<Header> {
    vec![
        header("embed", "BF16", &[512, 64]),
        header("l0.attn.weight", "F16", &[64, 64]),
        header("l0.mlp.weight", "F32", &[64, 172]),
        header("l0.norm", "F16", &[64]),
        header("l0.conv", "F16", &[16, 3, 3, 3]),
        header("scale", "F32", &[]),
        header("none", "F16", &[0, 64]),
        header("ids", "I64", &[64, 64]),
        header("wide", "F64", &[64, 64]),
    ]
}

#[test]
fn built_in_rows_choose_when_no_rule_does() {
    insta::assert_snapshot!(told(&model(), &options("linear-int4,block:32", &[])), @r"
    embed | linear-int4,block:32 | 65536 → 18432 | default | 
    l0.attn.weight | linear-int4,block:32 | 8192 → 2304 | default | 
    l0.mlp.weight | linear-int4,block:4 | 44032 → 11008 | default | block:32 does not divide 172 → block:4 (largest divisor ≥ 4)
    l0.norm | float16 | 128 → 128 | rank < 2 | left in float16: rank 1: codes need rows and columns
    l0.conv | float16 | 864 → 864 | < 2048 elements | left in float16: 432 elements, fewer than 2048
    scale | float16 | 4 → 2 | rank < 2 | left in float16: rank 0: codes need rows and columns
    none | float16 | 0 → 0 | empty | left in float16: it holds no elements
    ids | copied | 32768 → 32768 | not float | I64 is not F16, BF16 or F32: copied as it is
    wide | copied | 32768 → 32768 | not float | F64 is not F16, BF16 or F32: copied as it is
    ");
}

#[test]
fn the_first_rule_that_matches_wins_and_overrides_the_size_only() {
    let rules = [
        "embed=palette-8",
        "l0=palette-4,group:16",
        "conv=float32",
        "ids|norm|none=linear-int8",
        "nothing=float16",
    ];
    insta::assert_snapshot!(told(&model(), &options("linear-int8", &rules)), @r"
    embed | palette-8 | 65536 → 33280 | --rule 'embed=palette-8' | 
    l0.attn.weight | palette-4,group:16 | 8192 → 2176 | --rule 'l0=palette-4,group:16' | 
    l0.mlp.weight | palette-4,group:16 | 44032 → 5632 | --rule 'l0=palette-4,group:16' | 
    l0.norm | float16 | 128 → 128 | --rule 'l0=palette-4,group:16' | left in float16: rank 1: codes need rows and columns
    l0.conv | palette-4,group:16 | 864 → 248 | --rule 'l0=palette-4,group:16' | 
    scale | float16 | 4 → 2 | rank < 2 | left in float16: rank 0: codes need rows and columns
    none | float16 | 0 → 0 | --rule 'ids|norm|none=linear-int8' | left in float16: it holds no elements
    ids | copied | 32768 → 32768 | --rule 'ids|norm|none=linear-int8' | I64 is not F16, BF16 or F32: copied as it is
    wide | copied | 32768 → 32768 | not float | F64 is not F16, BF16 or F32: copied as it is
    --rule 'conv=float32' has no effect: earlier rules take every tensor that it matches
    --rule 'nothing=float16' matches no tensor
    ");
}

#[test]
fn a_float_default_is_the_type_of_all_that_stays_float() {
    insta::assert_snapshot!(told(&model()[1..5], &options("float32", &["conv=palette-1,group:1"])), @r"
    l0.attn.weight | float32 | 8192 → 16384 | default | left in float32: --scheme says so
    l0.mlp.weight | float32 | 44032 → 44032 | default | left in float32: --scheme says so
    l0.norm | float32 | 128 → 256 | rank < 2 | left in float32: rank 1: codes need rows and columns
    l0.conv | palette-1,group:1 | 864 → 118 | --rule 'conv=palette-1,group:1' |
    ");
}

#[test]
fn a_scheme_that_the_target_lacks_names_the_first_that_has_it() {
    let refused = |scheme: &str| {
        let options = Options { target: Target::Ios17, ..options(scheme, &[]) };
        told(&model(), &options)
    };
    let told: Vec<String> = [
        "linear-int4",
        "linear-int8,block:32",
        "palette-3",
        "palette-6,group:16",
        "palette-2,lut-int8",
    ]
    .map(refused)
    .to_vec();
    insta::assert_snapshot!(told.join("\n"), @r"
    `embed` as linear-int4: ios17 has no form for 4-bit linear codes: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios17 palette-4
    `embed` as linear-int8,block:32: ios17 has no form for one scale a block: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios17 one scale a channel (`channel`)
    `embed` as palette-3: ios17 has no form for a palette of 3 bits: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios17 palette-4
    `embed` as palette-6,group:16: ios17 has no form for a table a group of channels: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios17 one table a tensor (`tensor`)
    `embed` as palette-2,lut-int8: ios17 has no form for INT8 palette entries: ios18 (macos15) is the first target that has; use `--target ios18`, or on ios17 a palette without `lut-int8`
    ");
    let mut blob_only = Options { target: Target::Ios16, ..options("linear-int4", &[]) };
    blob_only.outputs.remove(&Output::Mlpackage);
    assert!(Plan::new(&model(), &blob_only).is_ok(), "a blob has no target");
}
