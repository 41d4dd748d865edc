//! What llama.cpp calls the weights of a Hugging Face checkpoint.
//!
//! | checkpoint, behind `model.layers.N.` | llama.cpp, behind `blk.N.` |
//! |---|---|
//! | `self_attn.q_proj`, `k_proj`, `v_proj`; `qkv_proj` | `attn_q`, `attn_k`, `attn_v`; `attn_qkv` |
//! | `self_attn.o_proj`, `self_attn.dense` | `attn_output` |
//! | `mlp.gate_proj`, `up_proj`, `down_proj` | `ffn_gate`, `ffn_up`, `ffn_down` |
//! | `mlp.gate_up_proj`, `mlp.fc1`; `mlp.fc2` | `ffn_up`; `ffn_down` |
//! | `mlp.gate`, `block_sparse_moe.gate` | `ffn_gate_inp` |
//! | `mlp.experts.E.gate_proj` and so on, `block_sparse_moe.experts.E.w1`, `w3`, `w2` | matrix E of `ffn_gate_exps`, `ffn_up_exps`, `ffn_down_exps` |
//! | `mlp.shared_expert.gate_proj` and so on, also `shared_experts` | `ffn_gate_shexp`, `ffn_up_shexp`, `ffn_down_shexp` |
//! | `mlp.shared_expert_gate` | `ffn_gate_inp_shexp` |
//! | `lm_head`, without layers before it | `output` |
//!
//! Query, key and value read one input, and so do gate and up: where one of them is missing, as in a file
//! of a model that has them fused or apart, another stands for it.
//!
//! Source: `gguf-py/gguf/tensor_mapping.py` of llama.cpp.

/// What may stand before `layers.N.`.
const BEFORE: [&str; 5] =
    ["model.", "", "model.language_model.", "language_model.model.", "language_model."];

/// By the part behind `layers.N.`: what reads the same input, the weight itself first.
#[rustfmt::skip]
const PARTS: &[(&[&str], &[&str])] = &[
    (&["self_attn.q_proj"],                    &["attn_q", "attn_qkv"]),
    (&["self_attn.k_proj"],                    &["attn_k", "attn_qkv", "attn_q"]),
    (&["self_attn.v_proj"],                    &["attn_v", "attn_qkv", "attn_q"]),
    (&["self_attn.qkv_proj"],                  &["attn_qkv", "attn_q"]),
    (&["self_attn.o_proj", "self_attn.dense"], &["attn_output"]),
    (&["mlp.gate_proj"],                       &["ffn_gate", "ffn_up"]),
    (&["mlp.up_proj"],                         &["ffn_up", "ffn_gate"]),
    (&["mlp.gate_up_proj", "mlp.fc1"],         &["ffn_up", "ffn_gate"]),
    (&["mlp.down_proj", "mlp.fc2"],            &["ffn_down"]),
    (&["mlp.gate", "block_sparse_moe.gate"],   &["ffn_gate_inp"]),
    (&["mlp.shared_expert.gate_proj", "mlp.shared_experts.gate_proj"], &["ffn_gate_shexp", "ffn_up_shexp"]),
    (&["mlp.shared_expert.up_proj", "mlp.shared_experts.up_proj"],     &["ffn_up_shexp", "ffn_gate_shexp"]),
    (&["mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj"], &["ffn_down_shexp"]),
    (&["mlp.shared_expert_gate"],              &["ffn_gate_inp_shexp"]),
];

/// Of an expert, by the part behind `experts.E.`.
#[rustfmt::skip]
const EXPERTS: &[(&[&str], &[&str])] = &[
    (&["gate_proj", "w1"], &["ffn_gate_exps", "ffn_up_exps"]),
    (&["up_proj", "w3"],   &["ffn_up_exps", "ffn_gate_exps"]),
    (&["down_proj", "w2"], &["ffn_down_exps"]),
];

/// Where an imatrix has a tensor's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Names that read it, the tensor's own first.
    pub(super) names: Vec<String>,
    /// Which of the matrices behind one another.
    pub(super) expert: Option<usize>,
}

/// The place of a checkpoint's weight; `None` for one that llama.cpp multiplies nothing with.
pub(super) fn place(tensor: &str) -> Option<Place> {
    let name = tensor.strip_suffix(".weight")?;
    if matches!(name, "lm_head" | "language_model.lm_head") {
        return Some(Place { names: vec!["output.weight".into()], expert: None });
    }
    let rest =
        BEFORE.iter().find_map(|before| name.strip_prefix(before)?.strip_prefix("layers."))?;
    let (layer, part) = rest.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let known = |table: &[(&[&str], &'static [&'static str])], part: &str| {
        table.iter().find(|(parts, _)| parts.contains(&part)).map(|(_, names)| *names)
    };
    let of_expert = || {
        let parts = ["mlp.experts.", "block_sparse_moe.experts."];
        let (expert, part) = parts.iter().find_map(|p| part.strip_prefix(p))?.split_once('.')?;
        Some((known(EXPERTS, part)?, Some(expert.parse().ok()?)))
    };
    let (names, expert) = known(PARTS, part).map(|names| (names, None)).or_else(of_expert)?;
    let names = names.iter().map(|name| format!("blk.{layer}.{name}.weight")).collect();
    Some(Place { names, expert })
}
