//! Scalings against their formulas, and what is refused of them.

use super::{Rope, Wanted};
use crate::Result;
use crate::model::config::Config;

const WANTED: Wanted<'static> = Wanted {
    head_dim: 4,
    default_theta: 100.0,
    kind: None,
    in_part: false,
    old_names: false,
    original: None,
    longest: 64,
    context: 64,
};

fn read(keys: &str, wanted: &Wanted<'_>) -> Result<Rope> {
    Rope::read(&Config::parse("config.json", keys.as_bytes()).unwrap(), wanted)
}

fn refused(keys: &str) -> String {
    read(keys, &WANTED).unwrap_err().to_string()
}

/// A base of 100 over four coordinates turns by 1 and by 0.1.
fn near(rope: &Rope, frequencies: [f32; 2], factor: f32) {
    let got: Vec<f32> = rope.frequencies.iter().copied().chain([rope.factor]).collect();
    let want = [frequencies[0], frequencies[1], factor];
    let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs() / b).fold(0.0, f32::max);
    assert!(got.len() == 3 && apart < 1e-6, "{got:?}, not {want:?}");
}

#[test]
fn scalings_follow_their_formulas() {
    near(&read("{}", &WANTED).unwrap(), [1.0, 0.1], 1.0);
    near(&read(r#"{"rope_theta": 10000}"#, &WANTED).unwrap(), [1.0, 0.01], 1.0);
    let linear = r#"{"rope_scaling": {"type": "linear", "factor": 4}}"#;
    near(&read(linear, &WANTED).unwrap(), [0.25, 0.025], 1.0);
    // Wavelengths 6.28 and 62.8 of an original length of 64: fast, and on the ramp at
    // s = (64/62.8 − 0.5) / (8 − 0.5).
    let llama3 = r#"{"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 0.5,
        "high_freq_factor": 8, "original_max_position_embeddings": 64}}"#;
    let smooth = (64.0 / 62.831_853 - 0.5) / 7.5;
    near(&read(llama3, &WANTED).unwrap(), [1.0, (1.0 - smooth) * 0.1 / 8.0 + smooth * 0.1], 1.0);
    // c(1) = 4 ln(64/2π) / (2 ln 100) = 1.008: the ramp goes from 0 to 2.
    let yarn = r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4}}"#;
    let sharp = 0.1 * 4.0_f32.ln() + 1.0;
    near(&read(yarn, &WANTED).unwrap(), [1.0, 0.5 * 0.1 + 0.5 * 0.1 / 4.0], sharp);
    let zero =
        r#"{"rope_scaling": {"rope_type": "yarn", "factor": 4, "beta_fast": 0, "beta_slow": 0}}"#;
    assert_eq!(read(zero, &WANTED).unwrap(), read(yarn, &WANTED).unwrap(), "0 is the default");
}

const LONGROPE: &str = r#"{"rope_scaling": {"rope_type": "longrope", "short_factor": [1, 2],
    "long_factor": [4, 5]}, "original_max_position_embeddings": 16}"#;

#[test]
fn longropes_list_follows_from_the_context_and_its_stretch_from_the_lengths() {
    let sharp = (1.0 + 4.0_f32.ln() / 16.0_f32.ln()).sqrt();
    let long = read(LONGROPE, &WANTED).unwrap();
    near(&long, [0.25, 0.02], sharp);
    assert_eq!(long.short_up_to, Some(16));
    let short = read(LONGROPE, &Wanted { context: 16, ..WANTED }).unwrap();
    near(&short, [1.0, 0.05], sharp);
    assert_eq!(short.short_up_to, None);
    let alone = LONGROPE.replace(r#", "original_max_position_embeddings": 16"#, "");
    near(&read(&alone, &WANTED).unwrap(), [1.0, 0.05], 1.0);
    let phi3 = Wanted { original: Some(16), ..WANTED };
    near(&read(&alone, &phi3).unwrap(), [0.25, 0.02], sharp);
}

/// A configuration with a scaling under this key, and an original length beside it.
fn scaled(key: &str, scaling: serde_json::Value, beside: Option<usize>) -> String {
    serde_json::json!({ key: scaling, "original_max_position_embeddings": beside }).to_string()
}

#[test]
fn what_two_versions_of_transformers_read_differently_is_refused() {
    let yarn = |key: &str, within: Option<usize>, beside| {
        let length = "original_max_position_embeddings";
        let scaling = serde_json::json!({ "rope_type": "yarn", "factor": 4, length: within });
        scaled(key, scaling, beside)
    };
    let longrope = |more: serde_json::Value, beside| {
        let mut scaling = serde_json::json!({ "rope_type": "longrope", "short_factor": [1, 2],
            "long_factor": [4, 5] });
        scaling.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scaled("rope_scaling", scaling, beside)
    };
    let within = serde_json::json!({ "original_max_position_embeddings": 16 });
    let lines = [
        refused(&yarn("rope_scaling", Some(32), Some(16))),
        refused(&yarn("rope_scaling", None, Some(16))),
        refused(&longrope(within, None)),
        refused(&longrope(serde_json::json!({ "factor": 2 }), Some(16))),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    config.json, `rope_scaling`: `original_max_position_embeddings` means 32 to transformers 4 and 16 to transformers 5; write the one that the model was trained with beside the scaling and within it
    config.json, `rope_scaling`: `original_max_position_embeddings` means 64 to transformers 4 and 16 to transformers 5; write the one that the model was trained with beside the scaling and within it
    config.json, `rope_scaling`: `original_max_position_embeddings` means 64 to transformers 4 and 16 to transformers 5; write the one that the model was trained with beside the scaling and within it
    config.json, `rope_scaling`: `factor` means 4 to transformers 4 and 2 to transformers 5; write the one that the model was trained with, or none where it is the first
    ");
    let read = |keys: &str| read(keys, &WANTED).unwrap();
    let agreed = read(&yarn("rope_scaling", Some(16), None));
    assert_eq!(read(&yarn("rope_scaling", Some(16), Some(16))), agreed);
    assert_eq!(read(&yarn("rope_parameters", None, Some(16))), agreed, "version 4 reads none");
    assert_eq!(
        read(&longrope(serde_json::json!({ "factor": 4 }), Some(16))),
        read(&longrope(serde_json::json!({}), Some(16)))
    );
    read(&longrope(serde_json::json!({ "factor": 2, "attention_factor": 1.5 }), Some(16)));
}

#[test]
fn angles_that_are_no_numbers_and_heads_in_part_are_refused() {
    let lines = [
        r#"{"rope_theta": 0}"#,
        r#"{"rope_theta": -10000.0}"#,
        r#"{"rope_theta": 1e-60}"#,
        r#"{"rope_scaling": {"type": "linear", "factor": 0}}"#,
        r#"{"rope_scaling": {"type": "linear", "factor": 1e-60}}"#,
        r#"{"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": -1}}"#,
        r#"{"rope_scaling": {"type": "longrope", "short_factor": [1, 0], "long_factor": [1, 2]}}"#,
        r#"{"partial_rotary_factor": 0.5}"#,
        r#"{"rope_parameters": {"partial_rotary_factor": 0.5}}"#,
    ];
    insta::assert_snapshot!(lines.map(refused).join("\n"), @r"
    config.json: `rope_theta` is 0; it must be a number above 0
    config.json: `rope_theta` is -10000.0; it must be a number above 0
    config.json: its rotations with `rope_theta` 1e-60 turn by angles that are no numbers; give the rope_theta and the scaling that the model was trained with
    config.json, `rope_scaling`: `factor` is 0; it must be a number above 0
    config.json: its rotations with `rope_theta` 100.0 turn by angles that are no numbers; give the rope_theta and the scaling that the model was trained with
    config.json, `rope_scaling`: `beta_fast` is -1; it must be a number above 0
    config.json, `rope_scaling`: `short_factor` is [1,0]; it must be a list of 2 numbers above 0
    config.json: `partial_rotary_factor` is 0.5; models of this type rotate whole heads; only 1 is supported
    config.json, `rope_parameters`: `partial_rotary_factor` is 0.5; models of this type rotate whole heads; only 1 is supported
    ");
    let half = read(r#"{"partial_rotary_factor": 0.5}"#, &Wanted { in_part: true, ..WANTED });
    assert_eq!(half.unwrap().frequencies, [1.0]);
    read(r#"{"partial_rotary_factor": 1.0}"#, &WANTED).unwrap();
}
