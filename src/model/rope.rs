//! Rotary position embeddings: the angles, and the scalings that stretch them over longer texts
//! (`scaling`).
//!
//! A pair `(x₁, x₂)` of head coordinates `i` and `i + d/2` at position `p` turns by the angle
//! `p · f_i`: `(x₁ cos − x₂ sin, x₂ cos + x₁ sin)`. Frequencies are `f_i = θ^(−2i/d)`; scalings change
//! them, and may multiply cosine and sine by an attention factor. Angles are computed in f32, as the
//! models were trained, and cosines of them rounded once: angles in FP16 alone cost 1e-2 in logits.
//!
//! Sources: RoFormer (arXiv 2104.09864), YaRN (arXiv 2309.00071), LongRoPE (arXiv 2402.13753), the
//! frequency bands of Llama 3.1, and the keys of Hugging Face's configurations.

mod scaling;
#[cfg(test)]
mod tests;

use super::config::Config;
use crate::{Error, Result};
use scaling::Scaling;
use serde::{Deserialize, Serialize};

/// The angles of one kind of rotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// The frequency of each pair, `d/2` of them, in radians a position.
    pub frequencies: Vec<f32>,
    /// What cosines and sines are multiplied by.
    pub factor: f32,
    /// Where these are LongRoPE's frequencies for long texts: the length, in tokens, up to which the
    /// model itself takes those for short ones. A package has one table; no host needs to know.
    #[serde(skip)]
    pub short_up_to: Option<usize>,
}

/// Which angles a layer wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Coordinates of a head.
    pub head_dim: usize,
    /// The base, where the configuration has none.
    pub default_theta: f64,
    /// The kind of layer, where the configuration has a scaling for each.
    pub kind: Option<&'a str>,
    /// Whether heads may rotate in part (`partial_rotary_factor`).
    pub in_part: bool,
    /// Whether `su` and `yarn`, under the key `type`, are old names of `longrope`.
    pub old_names: bool,
    /// `original_max_position_embeddings`, where the class has one by default.
    pub original: Option<usize>,
    /// The longest text that the model was trained for.
    pub longest: usize,
    /// The longest text that it will see.
    pub context: usize,
}

/// The scaling of layers of this kind: `rope_scaling`, or what newer configurations call
/// `rope_parameters`, which may hold one for each kind of layer; and whether it is the newer.
fn section(config: &Config, kind: Option<&str>) -> Result<Option<(Config, bool)>> {
    let old = config.optional_section("rope_scaling")?.filter(|section| !section.is_empty());
    let new = config.optional_section("rope_parameters")?;
    let section = match (old, new) {
        (Some(old), _) => return Ok(Some((old, false))),
        (None, None) => return Ok(None),
        (None, Some(new)) => match kind {
            Some(kind) if new.has(kind) => new.optional_section(kind)?,
            _ => Some(new),
        },
    };
    Ok(section.map(|section| (section, true)))
}

/// The name of a scaling, under its new key or its old one.
fn kind(scaling: &Config, old_names: bool) -> Result<String> {
    let new = scaling.optional_word("rope_type")?;
    let old = scaling.optional_word("type")?;
    let old =
        old.map(|old| if old_names && matches!(old, "su" | "yarn") { "longrope" } else { old });
    match (new, old) {
        (Some(new), Some(old)) if new != old => {
            Err(scaling.unsupported("type", &format!("`rope_type` is {new:?}; the two must agree")))
        }
        (new, old) => Ok(new.or(old).unwrap_or("default").to_owned()),
    }
}

/// How many coordinates of a head rotate, the first ones.
fn rotated(config: &Config, scaling: Option<&Config>, wanted: &Wanted<'_>) -> Result<usize> {
    const KEY: &str = "partial_rotary_factor";
    let beside = config.optional_positive(KEY)?;
    let within = scaling.map(|scaling| scaling.optional_positive(KEY)).transpose()?.flatten();
    let place = if within.is_some() { scaling.unwrap_or(config) } else { config };
    let (share, head_dim) = (within.or(beside).unwrap_or(1.0), wanted.head_dim);
    if share != 1.0 && !wanted.in_part {
        return Err(
            place.unsupported(KEY, "models of this type rotate whole heads; only 1 is supported")
        );
    }
    let dim = (head_dim as f64 * share) as usize;
    if dim == 0 || !dim.is_multiple_of(2) || dim > head_dim {
        let can = format!("it must leave an even number of the {head_dim} coordinates of a head");
        return Err(place.unsupported(KEY, &can));
    }
    Ok(dim)
}

impl Rope {
    /// Unscaled angles for `dim` rotated coordinates.
    pub fn plain(dim: usize, theta: f64) -> Self {
        Self { frequencies: frequencies(dim, theta), factor: 1.0, short_up_to: None }
    }

    /// The angles that a configuration asks for, over the rotated share of `head_dim` coordinates.
    ///
    /// # Errors
    /// [`Error::Input`] for a scaling that is not known, lacks a key, gives angles that are no numbers,
    /// or means different angles to transformers 4 and 5; and for texts beyond what `dynamic` scaling
    /// leaves alone.
    pub fn read(config: &Config, wanted: &Wanted<'_>) -> Result<Self> {
        let scaling = section(config, wanted.kind)?;
        let within = scaling.as_ref().map(|(keys, _)| keys);
        let dim = rotated(config, within, wanted)?;
        let theta = config.optional_positive("rope_theta")?;
        let theta_within = within.map(|keys| keys.optional_positive("rope_theta")).transpose()?;
        let theta = theta_within.flatten().or(theta).unwrap_or(wanted.default_theta);
        // Phi-3 keeps it beside the scaling.
        let original = config.optional_size(scaling::ORIGINAL)?;
        let rope = match scaling {
            None => Self::plain(dim, theta),
            Some((keys, is_new)) => {
                let kind = kind(&keys, wanted.old_names)?;
                Scaling { keys, is_new, original, dim, theta, wanted }.rope(&kind)?
            }
        };
        let finite = rope.frequencies.iter().all(|f| f.is_finite()) && rope.factor.is_finite();
        match finite {
            true => Ok(rope),
            false => Err(Error::input(
                config.place(),
                format!(
                    "its rotations with `rope_theta` {theta:?} turn by angles that are no numbers"
                ),
                "give the rope_theta and the scaling that the model was trained with",
            )),
        }
    }

    /// Cosines and sines of positions `0..positions`, each `[positions, d/2]`, row-major.
    pub fn tables(&self, positions: usize) -> (Vec<f32>, Vec<f32>) {
        (0..positions).flat_map(|position| self.row(position)).unzip()
    }

    /// Cosine and sine of each pair at this position.
    pub fn row(&self, position: usize) -> impl Iterator<Item = (f32, f32)> {
        let turned = |angle: f32, of: fn(f64) -> f64| of(f64::from(angle)) as f32 * self.factor;
        self.frequencies.iter().map(move |f| {
            let angle = position as f32 * f;
            (turned(angle, f64::cos), turned(angle, f64::sin))
        })
    }
}

/// `θ^(−2i/d)` for `i < d/2`.
fn frequencies(dim: usize, theta: f64) -> Vec<f32> {
    let one = |i: usize| 1.0 / (theta as f32).powf((2 * i) as f32 / dim as f32);
    (0..dim / 2).map(one).collect()
}
