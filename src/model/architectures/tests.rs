//! What configurations mean, where nothing has to be computed to see it.

use super::{Architecture, Model};
use crate::Result;
use crate::graph::weight::{Operand, Storage};
use crate::graph::{DataType, Program};
use crate::model::config::Config;
use crate::model::decoder::Decoder;
use crate::model::emit::{Style, Weights};
use crate::model::parameters::{Checkpoint, Parameter};
use crate::model::vision;
use crate::target::Target;
use serde_json::{Value, json};

/// A configuration of two small layers with these keys besides.
fn config(model_type: &str, more: Value) -> String {
    let mut keys = json!({
        "model_type": model_type, "hidden_size": 8, "intermediate_size": 12, "vocab_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    });
    if model_type == "gpt2" {
        keys = json!({ "model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2,
            "vocab_size": 16 });
    }
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    keys.to_string()
}

/// The model, over a checkpoint without tensors, and what it asks for.
fn describe(config: &str, context: Option<usize>) -> Result<(Model, Vec<Parameter>)> {
    let config = Config::parse("config.json", config.as_bytes()).unwrap();
    let mut checkpoint = Checkpoint::new([]);
    let architecture = Architecture::find(config.model_type().unwrap()).unwrap();
    let model = architecture.describe(&config, &mut checkpoint, context, None)?;
    Ok((model, checkpoint.asked().to_vec()))
}

fn decoder(config: &str, context: Option<usize>) -> Decoder {
    let (Model::Decoder(decoder), _) = describe(config, context).unwrap() else {
        panic!("no decoder")
    };
    *decoder
}

fn refused(model_type: &str, more: Value) -> String {
    describe(&config(model_type, more), None).unwrap_err().to_string()
}

const DECODERS: [&str; 9] =
    ["gemma2", "gemma3_text", "gpt2", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"];

#[test]
fn longropes_list_is_that_of_the_context_that_the_package_gets() {
    let scaling = json!({ "type": "longrope", "short_factor": [1, 1], "long_factor": [2, 2] });
    let long = |more: Value| {
        let mut keys = json!({ "max_position_embeddings": 131_072, "rope_scaling": scaling });
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config("phi3", keys)
    };
    let with = long(json!({ "original_max_position_embeddings": 4096 }));
    // Without the key, 4096 is the class's own.
    for config in [&with, &long(json!({}))] {
        let usual = decoder(config, None);
        assert_eq!((usual.context, usual.longest), (2048, 131_072));
        assert_eq!((usual.ropes[0].frequencies[0], usual.ropes[0].short_up_to), (1.0, None));
        let whole = decoder(config, Some(4096));
        assert_eq!(whole.ropes, usual.ropes);
        let beyond = decoder(config, Some(4097));
        let rope = &beyond.ropes[0];
        assert_eq!((rope.frequencies[0], rope.short_up_to), (0.5, Some(4096)));
        assert_eq!(rope.factor, usual.ropes[0].factor);
        assert!(rope.factor > 1.1);
    }
    for model_type in DECODERS {
        let keys = config(model_type, json!({ "max_position_embeddings": 4096 }));
        assert_eq!(decoder(&keys, None).context, 2048, "{model_type}");
        assert_eq!(decoder(&keys, Some(7)).context, 7, "{model_type}");
    }
}

#[test]
fn decoders_that_see_what_follows_are_refused() {
    for model_type in DECODERS {
        let told = refused(model_type, json!({ "is_causal": false }));
        assert_eq!(told, "config.json: `is_causal` is false; only true is supported");
        describe(&config(model_type, json!({ "is_causal": true })), None).unwrap();
    }
}

#[test]
fn numbers_that_make_nan_of_a_model_are_refused() {
    let lines = [
        refused("llama", json!({ "rms_norm_eps": -1 })),
        refused("gpt2", json!({ "layer_norm_epsilon": 0 })),
        refused("bert", json!({ "layer_norm_eps": 0 })),
        refused("gemma2", json!({ "final_logit_softcapping": -30 })),
        refused("gemma3_text", json!({ "rope_local_base_freq": 0 })),
        refused("llama", json!({ "partial_rotary_factor": 0.5 })),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    config.json: `rms_norm_eps` is -1; it must be a number above 0
    config.json: `layer_norm_epsilon` is 0; it must be a number above 0
    config.json: `layer_norm_eps` is 0; it must be a number above 0
    config.json: `final_logit_softcapping` is -30; it must be a number above 0
    config.json: `rope_local_base_freq` is 0; it must be a number above 0
    config.json: `partial_rotary_factor` is 0.5; models of this type rotate whole heads; only 1 is supported
    ");
    let half = decoder(&config("phi3", json!({ "partial_rotary_factor": 0.5 })), None);
    assert_eq!(half.ropes[0].frequencies.len(), 1);
}

#[test]
fn keys_that_released_folders_carry_are_no_obstacle() {
    for (model_type, keys) in [
        (
            "llama",
            json!({ "is_llama_config": true, "rope_interleaved": false,
            "transformers.js_config": { "kv_cache_dtype": {} }, "pretraining_tp": 1 }),
        ),
        ("llama", json!({ "unsloth_fixed": true, "unsloth_version": "2025.1" })),
        ("smollm3", json!({ "max_window_layers": 28, "transformers.js_config": {} })),
        ("phi3", json!({ "full_attn_mod": 1, "interpolate_factor": 1 })),
        ("gemma2", json!({ "sliding_window_size": 4096 })),
        ("gpt2", json!({ "_num_labels": 1, "hidden_size": 8, "num_hidden_layers": 2 })),
        (
            "bert",
            json!({ "sbert_ce_default_activation_function": "x",
            "sentence_transformers": { "version": "4" }, "num_key_value_heads": null }),
        ),
    ] {
        describe(&config(model_type, keys), None).unwrap();
    }
    let told = refused("phi3", json!({ "full_attn_mod": 2 }));
    assert!(told.ends_with("`full_attn_mod` is 2; only 1 is supported"), "{told}");
}

#[test]
fn a_resnets_activation_is_that_of_stem_and_sums_alone() {
    let keys = json!({ "model_type": "resnet", "embedding_size": 4, "hidden_sizes": [8],
        "depths": [2], "layer_type": "basic", "hidden_act": "gelu" });
    let (Model::Vision(described), parameters) = describe(&keys.to_string(), None).unwrap() else {
        panic!("no classifier of images")
    };
    let storage = |parameter: &Parameter| {
        let bytes = vec![0; parameter.shape.iter().product::<usize>() * 4];
        Storage::Dense(Operand::new(DataType::Float32, &parameter.shape, bytes))
    };
    let weights = Weights::new(parameters.clone(), parameters.iter().map(storage).collect());
    let (style, float, target) = (Style::Gpu, DataType::Float32, Target::Ios18);
    let options = vision::Options { style, float, target };
    let program: Program = vision::build(&described, &weights, &options).unwrap();
    let count = |kind: &str| {
        let all = program.functions["main"].operations.iter();
        all.filter(|operation| operation.row.name == kind).count()
    };
    assert_eq!((count("relu"), count("gelu")), (2, 3));
}
