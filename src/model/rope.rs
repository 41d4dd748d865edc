//! Rotary position embeddings: the angles, and the scalings that stretch them over longer texts.
//!
//! A pair `(x₁, x₂)` of head coordinates `i` and `i + d/2` at position `p` turns by the angle
//! `p · f_i`: `(x₁ cos − x₂ sin, x₂ cos + x₁ sin)`. Frequencies are `f_i = θ^(−2i/d)`; scalings change
//! them, and may multiply cosine and sine by an attention factor. Angles are computed in f32, as the
//! models were trained, and cosines of them rounded once: angles in FP16 alone cost 1e-2 in logits.
//!
//! Sources: RoFormer (arXiv 2104.09864), YaRN (arXiv 2309.00071), LongRoPE (arXiv 2402.13753), the
//! frequency bands of Llama 3.1, and the keys of Hugging Face's configurations.

use super::config::Config;
use crate::Result;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The angles of one kind of rotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    /// The frequency of each pair, `d/2` of them, in radians a position.
    pub frequencies: Vec<f32>,
    /// What cosines and sines are multiplied by.
    pub factor: f32,
}

/// Which angles a layer wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Coordinates of a head.
    pub head_dim: usize,
    /// The base, where the configuration has none.
    pub default_theta: f64,
    /// The base, whatever the configuration says of others.
    pub theta: Option<f64>,
    /// The kind of layer, where the configuration has a scaling for each.
    pub kind: Option<&'a str>,
    /// Whether `su` and `yarn`, under the key `type`, are old names of `longrope`.
    pub old_names: bool,
    /// The longest text that the model was trained for.
    pub longest: usize,
    /// The longest text that it will see.
    pub context: usize,
}

/// The scaling of layers of this kind: `rope_scaling`, or what newer configurations call
/// `rope_parameters`, which may hold one for each kind of layer.
fn section(config: &Config, kind: Option<&str>) -> Result<Option<Config>> {
    let old = config.optional_section("rope_scaling")?.filter(|section| !section.is_empty());
    let new = config.optional_section("rope_parameters")?;
    let Some(new) = new.filter(|_| old.is_none()) else { return Ok(old) };
    match kind {
        Some(kind) if new.has(kind) => new.optional_section(kind),
        _ => Ok(Some(new)),
    }
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

impl Rope {
    /// Unscaled angles for `dim` rotated coordinates.
    pub fn plain(dim: usize, theta: f64) -> Self {
        Self { frequencies: frequencies(dim, theta), factor: 1.0 }
    }

    /// The angles that a configuration asks for, over the rotated share of `head_dim` coordinates.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a scaling that is not known or lacks a key, and for texts beyond
    /// what `dynamic` scaling leaves alone.
    pub fn read(config: &Config, wanted: &Wanted<'_>) -> Result<Self> {
        let Wanted { head_dim, context, longest, .. } = *wanted;
        let scaling = section(config, wanted.kind)?;
        let of = |key: &str| -> Result<Option<f64>> {
            let outside = config.optional_number(key)?;
            Ok(scaling.as_ref().map(|s| s.optional_number(key)).transpose()?.flatten().or(outside))
        };
        let theta = match wanted.theta {
            Some(theta) => theta,
            None => of("rope_theta")?.unwrap_or(wanted.default_theta),
        };
        let share = of("partial_rotary_factor")?.unwrap_or(1.0);
        let dim = (head_dim as f64 * share) as usize;
        if dim == 0 || !dim.is_multiple_of(2) || dim > head_dim {
            let can =
                format!("it must leave an even number of the {head_dim} coordinates of a head");
            return Err(config.unsupported("partial_rotary_factor", &can));
        }
        // Phi-3 keeps it beside the scaling.
        let beside = config.optional_size("original_max_position_embeddings")?;
        let Some(scaling) = scaling else { return Ok(Self::plain(dim, theta)) };
        let rope = match kind(&scaling, wanted.old_names)?.as_str() {
            "default" => Self::plain(dim, theta),
            "linear" => Self::linear(dim, theta, scaling.number("factor")?),
            "dynamic" => {
                scaling.number("factor")?;
                if context > longest {
                    let can = format!(
                        "its angles change with the length beyond {longest} tokens; choose a shorter --context"
                    );
                    return Err(scaling.unsupported("rope_type", &can));
                }
                Self::plain(dim, theta)
            }
            "llama3" => Self::llama3(&scaling, dim, theta)?,
            "yarn" => Self::yarn(&scaling, dim, theta, longest)?,
            "longrope" => Self::longrope(&scaling, dim, theta, longest, beside, context)?,
            _ => {
                let can = "scalings are default, linear, dynamic, llama3, yarn and longrope";
                let key = if scaling.has("rope_type") { "rope_type" } else { "type" };
                return Err(scaling.unsupported(key, can));
            }
        };
        scaling.finish()?;
        Ok(rope)
    }

    /// Positions divided by `factor`.
    pub fn linear(dim: usize, theta: f64, factor: f64) -> Self {
        let divide = |f: f32| f / factor as f32;
        Self { frequencies: frequencies(dim, theta).into_iter().map(divide).collect(), factor: 1.0 }
    }

    /// Slow turns are stretched by `factor`, fast ones stay, with a ramp between.
    fn llama3(scaling: &Config, dim: usize, theta: f64) -> Result<Self> {
        let factor = scaling.number("factor")?;
        let low = scaling.number("low_freq_factor")?;
        let high = scaling.number("high_freq_factor")?;
        let original = scaling.size("original_max_position_embeddings")? as f64;
        let stretch = |f: f32| {
            let wavelength = 2.0 * PI / f64::from(f);
            if wavelength > original / low {
                (f64::from(f) / factor) as f32
            } else if wavelength < original / high {
                f
            } else {
                let smooth = (original / wavelength - low) / (high - low);
                ((1.0 - smooth) * f64::from(f) / factor + smooth * f64::from(f)) as f32
            }
        };
        let frequencies = frequencies(dim, theta).into_iter().map(stretch).collect();
        Ok(Self { frequencies, factor: 1.0 })
    }

    /// YaRN: coordinates that turn more than `beta_fast` times in the original context stay, those
    /// that turn less than `beta_slow` times are stretched, with a ramp between; attention is
    /// sharpened by `0.1 ln(factor) + 1`.
    fn yarn(scaling: &Config, dim: usize, theta: f64, longest: usize) -> Result<Self> {
        let original = scaling.optional_size("original_max_position_embeddings")?;
        let factor = scaling.number("factor")?;
        let fast = scaling.number_or("beta_fast", 32.0)?;
        let slow = scaling.number_or("beta_slow", 1.0)?;
        let truncate = scaling.flag_or("truncate", true)?;
        let sharpened =
            |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
        let mscale = scaling.optional_number("mscale")?;
        let mscale_all = scaling.optional_number("mscale_all_dim")?;
        let given = scaling.optional_number("attention_factor")?;
        let attention = match (given, mscale, mscale_all) {
            (Some(given), ..) => given,
            (None, Some(a), Some(b)) if a != 0.0 && b != 0.0 => sharpened(a) / sharpened(b),
            _ => sharpened(1.0),
        };
        let original = original.unwrap_or(longest) as f64;
        // The coordinate that turns so many times within the original context.
        let coordinate =
            |turns: f64| dim as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
        let (mut first, mut last) = (coordinate(fast), coordinate(slow));
        if truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(dim as f64 - 1.0));
        if first == last {
            last += 0.001; // A ramp of no width would divide by zero.
        }
        let blend = |(i, f): (usize, f32)| {
            let ramp = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
            let stretched = f64::from(f) / factor;
            (stretched * ramp + f64::from(f) * (1.0 - ramp)) as f32
        };
        let frequencies = frequencies(dim, theta).into_iter().enumerate().map(blend).collect();
        Ok(Self { frequencies, factor: attention as f32 })
    }

    /// LongRoPE: each frequency divided by a factor of its own, from the list for short texts or
    /// from that for long ones. A package has one context, and the list follows from it.
    fn longrope(
        scaling: &Config,
        dim: usize,
        theta: f64,
        longest: usize,
        beside: Option<usize>,
        context: usize,
    ) -> Result<Self> {
        let within = scaling.optional_size("original_max_position_embeddings")?;
        let original = beside.or(within).unwrap_or(longest);
        let short = scaling.optional_numbers("short_factor")?;
        let long = scaling.optional_numbers("long_factor")?;
        let stretch = scaling.optional_number("factor")?;
        let stretch = stretch.unwrap_or(longest as f64 / original as f64);
        let given = scaling.optional_number("attention_factor")?;
        let factor = given.unwrap_or_else(|| {
            let grows = stretch > 1.0 && original > 1;
            if grows { (1.0 + stretch.ln() / (original as f64).ln()).sqrt() } else { 1.0 }
        });
        let (key, factors) =
            if context > original { ("long_factor", long) } else { ("short_factor", short) };
        let needed =
            || scaling.unsupported(key, &format!("it must be a list of {} numbers", dim / 2));
        let factors = factors.filter(|f| f.len() == dim / 2).ok_or_else(needed)?;
        let divide = |(f, by): (f32, f64)| f / by as f32;
        let frequencies = frequencies(dim, theta).into_iter().zip(factors).map(divide).collect();
        Ok(Self { frequencies, factor: factor as f32 })
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
