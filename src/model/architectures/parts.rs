//! Parts that architectures of every kind are made of, by the names of their weights, and keys that
//! many of them have.

use crate::Result;
use crate::model::blocks::{Activation, Linear, Norm, NormKind};
use crate::model::config::Config;
use crate::model::parameters::{Checkpoint, ParameterId};
use crate::plan::ModelOptions;

/// A linear layer `NAME.weight` of `[inputs, outputs]`, with `NAME.bias` if it has one.
pub(super) fn linear(c: &mut Checkpoint<'_>, name: &str, shape: [usize; 2], bias: bool) -> Linear {
    let [inputs, outputs] = shape;
    let weight = c.take(&format!("{name}.weight"), &[outputs, inputs]);
    let bias = bias.then(|| c.take(&format!("{name}.bias"), &[outputs]));
    Linear { weight, bias, shape }
}

/// The same of a whole name, which no prefix precedes: a head, with a bias.
pub(super) fn linear_whole(c: &mut Checkpoint<'_>, name: &str, shape: [usize; 2]) -> Linear {
    let [inputs, outputs] = shape;
    let weight = c.take_whole(&format!("{name}.weight"), &[outputs, inputs]);
    let bias = Some(c.take_whole(&format!("{name}.bias"), &[outputs]));
    Linear { weight, bias, shape }
}

/// A layer norm of `size` coordinates, `NAME.GAINS` and `NAME.OFFSETS`.
pub(super) fn layer_norm(
    c: &mut Checkpoint<'_>,
    name: &str,
    [gains, offsets]: [&str; 2],
    size: usize,
    epsilon: f32,
) -> Norm {
    let mut part = |part: &str| c.take(&format!("{name}.{part}"), &[size]);
    let weight = part(gains);
    Norm { kind: NormKind::Layer { bias: part(offsets) }, weight, epsilon, size }
}

/// A decoder's head `[hidden, vocabulary]`: the embedding again where the two are tied.
pub(super) fn head(
    c: &mut Checkpoint<'_>,
    tied: bool,
    embedding: ParameterId,
    shape: [usize; 2],
) -> Linear {
    let weight = match tied {
        true => {
            c.pass_over_copy("lm_head.weight", embedding);
            embedding
        }
        false => c.take_whole("lm_head.weight", &[shape[1], shape[0]]),
    };
    Linear { weight, bias: None, shape }
}

/// The activation that a key names.
pub(super) fn activation(config: &Config, key: &str, default: Activation) -> Result<Activation> {
    let Some(word) = config.optional_word(key)? else { return Ok(default) };
    Activation::find(word).ok_or_else(|| config.unsupported(key, Activation::KNOWN))
}

/// The names of a classifier's classes: as many as its head has outputs.
pub(super) fn labels(config: &Config) -> Result<Vec<String>> {
    let count = config.size_or("num_labels", 2)?;
    let unnamed = || (0..count).map(|label| format!("LABEL_{label}")).collect();
    Ok(config.optional_labels("id2label")?.unwrap_or_else(unnamed))
}

/// The longest text that a decoder's package takes: the one asked for, or the longest that the model
/// was trained for, but not so long that caches nobody asked for fill a device.
pub(super) fn context(asked: Option<usize>, longest: usize) -> usize {
    asked.unwrap_or(longest.min(ModelOptions::LONGEST))
}
