//! Which operation a bare tensor feeds.
//!
//! | tensor | operation | input |
//! |---|---|---|
//! | name says embedding, rank 2 to 5 | `gather` of rows | indices, INT32 `[64]` |
//! | `[O, I]` | `linear` | `[64, I]` |
//! | `[E, O, I]`, name says experts | `matmul`, one matrix an expert | `[E, 64, I]` |
//! | `[O, I, k]`, `[O, I, k, k]`, `[O, I, k, k, k]` | `conv`, no padding | `[1, I, s, ..]`, s = max(16, k) |
//! | `[C, 1, k, ..]`, name says depthwise | `conv` in C groups | `[1, C, s, ..]` |
//!
//! What a shape cannot tell follows the name, by the [`Rules`].

use regex::Regex;
use std::sync::LazyLock;

/// Inputs of `linear`, `matmul` and `gather` have this many rows.
pub const ROWS: usize = 64;
/// Inputs of `conv` are this long in each spatial dimension, or as long as the kernel.
pub const SPATIAL: usize = 16;

/// Names that say what shapes cannot.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Embeddings: rows are looked up.
    pub embeddings: Regex,
    /// Rank 3 is a matrix an expert, not a convolution.
    pub experts: Regex,
    /// `[C, 1, k, ..]` is C groups, not one input channel.
    pub depthwise: Regex,
}

impl Default for Rules {
    fn default() -> Self {
        static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
            embeddings: regex(
                r"(^|[._])(embed_tokens|tok_embeddings|word_embeddings|position_embeddings|token_type_embeddings|embed_positions|wte|wpe|embeddings?)(\.weight)?$",
            ),
            experts: regex(r"(^|[._])experts?([._]|$)"),
            depthwise: regex(r"(?i)depth_?wise|(^|[._])(dw|dw_?conv|conv_?dw)\d*([._]|$)"),
        });
        RULES.clone()
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the rules' own patterns are regular expressions")
}

/// The operation that a tensor feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `x · Wᵀ`.
    Linear,
    /// Rows by index.
    Embedding,
    /// `x[e] · W[e]ᵀ` for each expert e.
    Experts,
    /// Convolution.
    Conv {
        /// In how many groups.
        groups: usize,
    },
}

/// The operation that this tensor feeds.
///
/// # Errors
/// Why there is none, in words for the report.
pub fn kind(name: &str, shape: &[usize], rules: &Rules) -> Result<Kind, String> {
    if shape.contains(&0) {
        return Err("it is empty".into());
    }
    let rank = shape.len();
    match rank {
        0 | 1 => Err(format!("a tensor of rank {rank} feeds no operation of its own")),
        2..=5 if rules.embeddings.is_match(name) => Ok(Kind::Embedding),
        2 => Ok(Kind::Linear),
        3 if rules.experts.is_match(name) => Ok(Kind::Experts),
        3..=5 => {
            let depthwise = shape[1] == 1 && rules.depthwise.is_match(name);
            Ok(Kind::Conv { groups: if depthwise { shape[0] } else { 1 } })
        }
        _ => Err(format!("no operation takes a weight of rank {rank}")),
    }
}

/// The name with its layer numbers taken out: what a tensor is for.
pub fn role(name: &str) -> String {
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> =
        name.split('.').map(|part| if number(&part) { "N" } else { part }).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_name_tell_the_operation() {
        use Kind::{Conv, Embedding, Experts, Linear};
        #[rustfmt::skip]
        let cases: &[(&str, &[usize], Result<Kind, &str>)] = &[
            ("model.layers.0.self_attn.q_proj.weight",          &[64, 64],         Ok(Linear)),
            ("lm_head.weight",                                  &[512, 64],        Ok(Linear)),
            ("model.embed_tokens.weight",                       &[512, 64],        Ok(Embedding)),
            ("wte.weight",                                      &[512, 64],        Ok(Embedding)),
            ("embeddings.word_embeddings.weight",               &[512, 64],        Ok(Embedding)),
            ("vit.embeddings.position_embeddings",              &[1, 197, 768],    Ok(Embedding)),
            ("token_embedding.weight",                          &[512, 64],        Ok(Embedding)),
            ("embeddings.dense.weight",                         &[64, 64],         Ok(Linear)),
            ("model.layers.0.mlp.experts.gate_up_proj",         &[8, 64, 64],      Ok(Experts)),
            ("encoder.conv1.weight",                            &[64, 80, 3],      Ok(Conv { groups: 1 })),
            ("conv1.weight",                                    &[16, 1, 3, 3],    Ok(Conv { groups: 1 })),
            ("blocks.1.dwconv.weight",                          &[96, 1, 7, 7],    Ok(Conv { groups: 96 })),
            ("blocks.1.conv_dw.weight",                         &[96, 2, 7, 7],    Ok(Conv { groups: 1 })),
            ("patch_embed.proj.weight",                         &[8, 3, 2, 16, 16], Ok(Conv { groups: 1 })),
            ("norm.weight",                                     &[64],             Err("a tensor of rank 1 feeds no operation of its own")),
            ("scale",                                           &[],               Err("a tensor of rank 0 feeds no operation of its own")),
            ("w",                                               &[2, 2, 2, 2, 2, 2], Err("no operation takes a weight of rank 6")),
            ("w",                                               &[0, 2],           Err("it is empty")),
        ];
        for (name, shape, want) in cases {
            let got = kind(name, shape, &Rules::default());
            assert_eq!(got, want.map_err(String::from), "{name} {shape:?}");
        }
    }

    #[test]
    fn a_role_is_a_name_without_layer_numbers() {
        assert_eq!(
            role("model.layers.12.mlp.experts.3.w1.weight"),
            "model.layers.N.mlp.experts.N.w1.weight"
        );
        assert_eq!(role("conv1.weight"), "conv1.weight");
    }
}
