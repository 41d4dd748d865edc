//! Scalings: what becomes of the frequencies `f_i` of `d` rotated coordinates.

use super::{Rope, Wanted, frequencies};
use crate::model::config::Config;
use crate::{Error, Result};
use std::f64::consts::PI;

/// The key of the length that a model was trained for before it was stretched.
pub(super) const ORIGINAL: &str = "original_max_position_embeddings";

/// A scaling that a configuration asks for.
pub(super) struct Scaling<'a> {
    /// Its own keys.
    pub(super) keys: Config,
    /// Whether they stand under `rope_parameters`, which transformers 4 does not read.
    pub(super) is_new: bool,
    /// [`ORIGINAL`] beside the scaling.
    pub(super) original: Option<usize>,
    /// Rotated coordinates `d`.
    pub(super) dim: usize,
    /// The base `θ`.
    pub(super) theta: f64,
    pub(super) wanted: &'a Wanted<'a>,
}

impl Scaling<'_> {
    /// The angles of a scaling of this name.
    ///
    /// # Errors
    /// As [`Rope::read`].
    pub(super) fn rope(&self, name: &str) -> Result<Rope> {
        let rope = match name {
            "default" => Rope::plain(self.dim, self.theta),
            "linear" => self.linear()?,
            "dynamic" => self.dynamic()?,
            "llama3" => self.llama3()?,
            "yarn" => self.yarn()?,
            "longrope" => self.longrope()?,
            _ => {
                let can = "scalings are default, linear, dynamic, llama3, yarn and longrope";
                let key = if self.keys.has("rope_type") { "rope_type" } else { "type" };
                return Err(self.keys.unsupported(key, can));
            }
        };
        self.keys.finish()?;
        Ok(rope)
    }

    /// Each frequency, by its number `i`, as this says.
    fn each(&self, stretch: impl Fn(usize, f32) -> f32) -> Rope {
        let all = frequencies(self.dim, self.theta).into_iter().enumerate();
        let frequencies = all.map(|(i, f)| stretch(i, f)).collect();
        Rope { frequencies, factor: 1.0, short_up_to: None }
    }

    /// `f_i / factor`.
    fn linear(&self) -> Result<Rope> {
        let factor = self.keys.positive("factor")? as f32;
        Ok(self.each(|_, f| f / factor))
    }

    /// `f_i` up to the length that the model was trained for; beyond it the base grows with the text,
    /// and no table holds that.
    fn dynamic(&self) -> Result<Rope> {
        self.keys.positive("factor")?;
        let longest = self.wanted.longest;
        if self.wanted.context > longest {
            let can = format!(
                "its angles change with the length beyond {longest} tokens; choose a shorter --context"
            );
            return Err(self.keys.unsupported("rope_type", &can));
        }
        Ok(Rope::plain(self.dim, self.theta))
    }

    /// Llama 3.1: with the wavelength `λ = 2π / f` and the original length `L`,
    /// - `f / factor` where `λ > L / low`,
    /// - `f` where `λ < L / high`,
    /// - `(1 − s) f / factor + s f` between, with `s = (L/λ − low) / (high − low)`.
    fn llama3(&self) -> Result<Rope> {
        let factor = self.keys.positive("factor")?;
        let low = self.keys.positive("low_freq_factor")?;
        let high = self.keys.positive("high_freq_factor")?;
        let original = match self.original(None)? {
            Some(original) => original as f64,
            None => self.keys.size(ORIGINAL)? as f64,
        };
        Ok(self.each(|_, f| {
            let wide = f64::from(f);
            let wavelength = 2.0 * PI / wide;
            if wavelength > original / low {
                (wide / factor) as f32
            } else if wavelength < original / high {
                f
            } else {
                let smooth = (original / wavelength - low) / (high - low);
                ((1.0 - smooth) * wide / factor + smooth * wide) as f32
            }
        }))
    }

    /// YaRN: `(1 − r_i) f_i + r_i f_i / factor`, with a ramp `r_i = (i − a) / (b − a)`, kept within 0
    /// and 1. It begins at `a = ⌊c(beta_fast)⌋` and ends at `b = ⌈c(beta_slow)⌉`, where
    /// `c(t) = d ln(L / 2πt) / (2 ln θ)` is the number of the frequency that turns `t` times within the
    /// original length `L`; both are kept within the coordinates.
    ///
    /// Cosines and sines are multiplied by `attention_factor`, else by `m(mscale) / m(mscale_all_dim)`,
    /// else by `m(1)`, with `m(x) = 0.1 x ln(factor) + 1`, or 1 for a factor up to 1.
    fn yarn(&self) -> Result<Rope> {
        let (keys, dim) = (&self.keys, self.dim as f64);
        let factor = keys.positive("factor")?;
        let original = self.original(Some(self.wanted.longest))?;
        let original = original.unwrap_or(self.wanted.longest) as f64;
        // 0 means the default, as in transformers.
        let beta = |key: &str, default: f64| match keys.optional_number(key)? {
            None | Some(0.0) => Ok(default),
            Some(_) => keys.positive(key),
        };
        let number =
            |turns: f64| dim * (original / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let (first, last) = (number(beta("beta_fast", 32.0)?), number(beta("beta_slow", 1.0)?));
        let (first, last) = match keys.flag_or("truncate", true)? {
            true => (first.floor(), last.ceil()),
            false => (first, last),
        };
        let (first, mut last) = (first.max(0.0), last.min(dim - 1.0));
        if first == last {
            last += 0.001; // A ramp of no width would divide by zero.
        }
        let blend = |i: usize, f: f32| {
            let ramp = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
            let stretched = f64::from(f) / factor;
            (stretched * ramp + f64::from(f) * (1.0 - ramp)) as f32
        };
        Ok(Rope { factor: self.sharpened(factor)? as f32, ..self.each(blend) })
    }

    /// YaRN's attention factor.
    fn sharpened(&self, factor: f64) -> Result<f64> {
        let m = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let scale = self.keys.optional_number("mscale")?.filter(|&scale| scale != 0.0);
        let all = self.keys.optional_number("mscale_all_dim")?.filter(|&scale| scale != 0.0);
        let given = self.keys.optional_positive("attention_factor")?;
        Ok(given.unwrap_or_else(|| match (scale, all) {
            (Some(scale), Some(all)) => m(scale) / m(all),
            _ => m(1.0),
        }))
    }

    /// LongRoPE: `f_i / λ_i`, each by a factor of its own, from the list for texts up to the original
    /// length `L` or from that for longer ones. A package has one context, and the list follows from it.
    ///
    /// Cosines and sines are multiplied by `attention_factor`, else by `√(1 + ln s / ln L)` for a
    /// stretch `s > 1`.
    fn longrope(&self) -> Result<Rope> {
        let original = self.longrope_original()?;
        let is_long = self.wanted.context > original;
        let short = self.keys.optional_numbers("short_factor")?;
        let long = self.keys.optional_numbers("long_factor")?;
        let (key, factors) = if is_long { ("long_factor", long) } else { ("short_factor", short) };
        let count = self.dim / 2;
        let factors = factors.filter(|all| all.len() == count && all.iter().all(|&by| by > 0.0));
        let Some(factors) = factors else {
            let can = format!("it must be a list of {count} numbers above 0");
            return Err(self.keys.unsupported(key, &can));
        };
        let stretch = self.longrope_stretch(original)?;
        let factor = self.keys.optional_positive("attention_factor")?.unwrap_or_else(|| {
            let grows = stretch > 1.0 && original > 1;
            if grows { (1.0 + stretch.ln() / (original as f64).ln()).sqrt() } else { 1.0 }
        });
        Ok(Rope {
            factor: factor as f32,
            short_up_to: is_long.then_some(original),
            ..self.each(|i, f| f / factors[i] as f32)
        })
    }

    /// LongRoPE's original length: both versions of transformers take the one beside the scaling, or
    /// the class's own; without them, version 4 takes the longest text, and 5 what stands within.
    fn longrope_original(&self) -> Result<usize> {
        let (within, longest) = (self.keys.optional_size(ORIGINAL)?, self.wanted.longest);
        match (self.original.or(self.wanted.original), within) {
            (Some(beside), _) => Ok(beside),
            (None, Some(within)) if !self.is_new && within != longest => {
                Err(self.disagreement(ORIGINAL, longest as f64, within as f64))
            }
            (None, within) => Ok(within.unwrap_or(longest)),
        }
    }

    /// LongRoPE's stretch: `factor`, or the longest text over the original one. Where both are known,
    /// version 4 takes the quotient and version 5 the factor.
    fn longrope_stretch(&self, original: usize) -> Result<f64> {
        let quotient = self.wanted.longest as f64 / original as f64;
        let is_beside = self.original.or(self.wanted.original).is_some();
        let unused = self.keys.has("attention_factor");
        match self.keys.optional_positive("factor")? {
            Some(factor) if is_beside && !unused && (factor / quotient - 1.0).abs() > 1e-6 => {
                Err(self.disagreement("factor", quotient, factor))
            }
            factor => Ok(factor.unwrap_or(quotient)),
        }
    }

    /// The original length of YaRN and Llama 3: version 4 of transformers takes the one within the
    /// scaling, or `absent`; version 5 first looks beside it.
    fn original(&self, absent: Option<usize>) -> Result<Option<usize>> {
        let four = self.keys.optional_size(ORIGINAL)?.or(absent);
        let five = self.original.or(four);
        match (four, five) {
            (Some(four), Some(five)) if four != five && !self.is_new => {
                Err(self.disagreement(ORIGINAL, four as f64, five as f64))
            }
            _ => Ok(five),
        }
    }

    fn disagreement(&self, key: &str, four: f64, five: f64) -> Error {
        let found = format!("`{key}` means {four} to transformers 4 and {five} to transformers 5");
        let remedy = match key {
            ORIGINAL => {
                "write the one that the model was trained with beside the scaling and within it"
            }
            _ => "write the one that the model was trained with, or none where it is the first",
        };
        Error::input(self.keys.place(), found, remedy)
    }
}
