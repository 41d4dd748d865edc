//! A decoder in chunks, each a package of its own, that run one after the other.
//!
//! The first chunk takes ids and holds the embedding, the last one returns logits and holds the head;
//! between them hidden values `[1, T, coordinates]` go from one to the next. Each holds the caches of
//! its own layers. Chunks are cut where the sum of squares of their sizes is least: as even as whole
//! layers allow, the head's and the embedding's bytes counted where they lie, both if they are tied.

use super::{Decoder, Layer};
use crate::graph::Program;
use crate::model::blocks::{Attention, GateUp, Linear, Mlp, Norm, NormKind, Qkv};
use crate::model::emit::Weights;
use crate::model::parameters::ParameterId;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The key of the package's metadata under which [`Chunk`] stands, as JSON.
pub const CHUNK: &str = "twolane.chunk";

/// The place of a package among those of its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Which, from 1 on: the order in which they run.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// Its layers, from the first up to the one behind the last, counted from 0.
    pub layers: Range<usize>,
    /// What its functions take of the tokens: ids, or hidden values.
    pub input: String,
    /// What they hand on: hidden values, or logits.
    pub output: String,
}

impl Chunk {
    /// What a package's metadata say; `None` for a package that holds a whole model.
    ///
    /// # Errors
    /// [`Error::Input`] for metadata that cannot be read.
    pub fn of(program: &Program) -> Result<Option<Self>> {
        let Some(text) = program.metadata.user.get(CHUNK) else { return Ok(None) };
        let wrong = |why: String| {
            let found = format!("its metadata `{CHUNK}` cannot be read: {why}");
            Error::input("the package", found, "convert the model again")
        };
        let chunk: Self = serde_json::from_str(text).map_err(|why| wrong(why.to_string()))?;
        match (1..=chunk.of).contains(&chunk.number) {
            true => Ok(Some(chunk)),
            false => Err(wrong(format!("number {} of {}", chunk.number, chunk.of))),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are JSON")
    }
}

/// A share of a decoder.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The decoder with the layers of this share alone.
    pub(super) decoder: Decoder,
    /// Which these are.
    pub(super) layers: Range<usize>,
    /// Whether it begins with the embedding.
    pub(super) is_first: bool,
    /// Whether it ends with the head.
    pub(super) is_last: bool,
}

impl Part {
    /// A decoder in so many parts.
    ///
    /// # Errors
    /// [`Error::Usage`] for more parts than layers.
    pub(super) fn all(decoder: &Decoder, weights: &Weights, count: usize) -> Result<Vec<Self>> {
        let layers = decoder.layers.len();
        if count > layers {
            return Err(Error::Usage(format!(
                "--chunks {count}: the model has {layers} layers, and a chunk holds one at least"
            )));
        }
        let bytes = |ids: Vec<ParameterId>| ids.into_iter().map(|id| weights.byte_len(id)).sum();
        let before = [Some(decoder.embedding), decoder.positions].into_iter().flatten().collect();
        let behind = norm(&decoder.norm).chain(linear(&decoder.head)).collect();
        let ends = [bytes(before), bytes(behind)];
        let sizes: Vec<u64> = decoder.layers.iter().map(|layer| bytes(parameters(layer))).collect();
        let part = |layers: Range<usize>| {
            let (is_first, is_last) = (layers.start == 0, layers.end == decoder.layers.len());
            let own = Decoder {
                layers: decoder.layers[layers.clone()].to_vec(),
                positions: decoder.positions.filter(|_| is_first),
                ..decoder.clone()
            };
            Self { decoder: own, layers, is_first, is_last }
        };
        Ok(balanced(&sizes, ends, count).into_iter().map(part).collect())
    }
}

/// Cuts a row of sizes into `count` runs, none empty, with the least sum of squares; the ends belong
/// to the first and the last run. Of equal cuts the earliest is taken.
fn balanced(sizes: &[u64], [before, behind]: [u64; 2], count: usize) -> Vec<Range<usize>> {
    let n = sizes.len();
    let mut sums = vec![0u128];
    for &size in sizes {
        sums.push(sums[sums.len() - 1] + u128::from(size));
    }
    let square = |run: Range<usize>| {
        let mut size = sums[run.end] - sums[run.start];
        size += if run.start == 0 { before.into() } else { 0 };
        size += if run.end == n { behind.into() } else { 0 };
        size.saturating_mul(size)
    };
    // For each number of runs, and each place that they reach: the least sum, and the last run's start.
    let mut best: Vec<Vec<Option<(u128, usize)>>> = vec![vec![None; n + 1]; count + 1];
    best[0][0] = Some((0, 0));
    for runs in 1..=count {
        for end in runs..=n {
            let sum = |start: usize| {
                let (least, _) = best[runs - 1][start]?;
                Some((least.saturating_add(square(start..end)), start))
            };
            best[runs][end] = (runs - 1..end).filter_map(sum).min();
        }
    }
    let mut end = n;
    let mut runs: Vec<Range<usize>> = (1..=count)
        .rev()
        .map_while(|runs| {
            let (_, start) = best[runs][end]?;
            let run = start..end;
            end = start;
            Some(run)
        })
        .collect();
    runs.reverse();
    runs
}

/// All parameters of a layer.
fn parameters(layer: &Layer) -> Vec<ParameterId> {
    let Layer { attention_norm, attention, attention_post_norm, mlp_norm, mlp, mlp_post_norm } =
        layer;
    let Attention { qkv, out, q_norm, k_norm, .. } = attention;
    let norms = [attention_norm, mlp_norm].into_iter();
    let norms =
        norms.chain([attention_post_norm, mlp_post_norm, q_norm, k_norm].into_iter().flatten());
    let mut linears: Vec<&Linear> = vec![out];
    match qkv {
        Qkv::Split(all) => linears.extend(all),
        Qkv::Fused(all) => linears.push(all),
    }
    match mlp {
        Mlp::Gated { gate_up: GateUp::Split(both), down, .. } => {
            linears.extend(both);
            linears.push(down);
        }
        Mlp::Gated { gate_up: GateUp::Fused(both), down, .. } => linears.extend([both, down]),
        Mlp::Plain { up, down, .. } => linears.extend([up, down]),
    }
    norms.flat_map(norm).chain(linears.into_iter().flat_map(linear)).collect()
}

fn norm(of: &Norm) -> impl Iterator<Item = ParameterId> {
    let bias = match of.kind {
        NormKind::Layer { bias } => Some(bias),
        NormKind::Rms { .. } => None,
    };
    [of.weight].into_iter().chain(bias)
}

fn linear(of: &Linear) -> impl Iterator<Item = ParameterId> {
    [of.weight].into_iter().chain(of.bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_as_even_as_whole_layers_allow() {
        for (sizes, ends, count, want) in [
            (&[1, 1, 1, 1][..], [0, 0], 2, vec![0..2, 2..4]),
            (&[1, 1, 1, 1], [0, 2], 2, vec![0..3, 3..4]),
            (&[1, 1, 1, 1], [3, 3], 4, vec![0..1, 1..2, 2..3, 3..4]),
            (&[1; 12], [1, 9], 4, vec![0..3, 3..7, 7..11, 11..12]),
            (&[5, 1, 1, 5], [0, 0], 3, vec![0..1, 1..3, 3..4]),
            (&[0, 0], [0, 0], 2, vec![0..1, 1..2]),
            (&[u64::MAX; 3], [u64::MAX; 2], 3, vec![0..1, 1..2, 2..3]),
        ] {
            assert_eq!(balanced(sizes, ends, count), want, "{sizes:?} {ends:?}");
        }
    }
}
