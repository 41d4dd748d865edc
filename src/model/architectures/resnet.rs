//! `resnet`: residual convolutions, each with a batch norm behind it.

use super::parts::{activation, labels, linear_whole};
use crate::Result;
use crate::model::blocks::{Activation, Conv};
use crate::model::config::Config;
use crate::model::parameters::Checkpoint;
use crate::model::vision::resnet::{Block, Resnet};
use crate::model::vision::{Body, Vision};

/// The library's own; the configuration has no key for it.
const EPSILON: f64 = 1e-5;

/// No model has stages so deep, and each block becomes operations.
const MOST_BLOCKS: usize = 1024;

/// What blocks are like.
#[derive(Clone, Copy)]
struct Kind {
    bottleneck: bool,
    /// Of a bottleneck's first convolution instead of its second.
    stride_first: bool,
}

/// Describes a ResNet.
pub(super) fn describe(config: &Config, c: &mut Checkpoint<'_>) -> Result<Vision> {
    let channels = config.size_or("num_channels", 3)?;
    let embedded = config.size_or("embedding_size", 64)?;
    let sizes = config.sizes_or("hidden_sizes", &[256, 512, 1024, 2048])?;
    let depths = config.sizes_or("depths", &[3, 4, 6, 3])?;
    if depths.is_empty() || depths.len() != sizes.len() {
        let can = format!("it must hold a number for each of {} stages", sizes.len());
        return Err(config.unsupported("depths", &can));
    }
    if depths.iter().any(|&depth| depth > MOST_BLOCKS) {
        let can = format!("a stage has {MOST_BLOCKS} blocks at the most");
        return Err(config.unsupported("depths", &can));
    }
    let bottleneck = match config.optional_word("layer_type")? {
        None | Some("bottleneck") => true,
        Some("basic") => false,
        Some(_) => {
            return Err(config.unsupported("layer_type", "basic and bottleneck are supported"));
        }
    };
    if bottleneck && sizes.iter().any(|&size| size < 4) {
        return Err(config.unsupported("hidden_sizes", "a bottleneck has a quarter of them"));
    }
    let activation = activation(config, "hidden_act", Activation::Relu)?;
    let halve_first = config.flag_or("downsample_in_first_stage", false)?;
    let kind =
        Kind { bottleneck, stride_first: config.flag_or("downsample_in_bottleneck", false)? };
    let labels = labels(config)?;
    // Which stages a backbone returns.
    for key in ["out_features", "out_indices", "stage_names"] {
        config.has(key);
    }
    config.finish()?;

    let last = sizes[sizes.len() - 1];
    c.find_prefix("embedder.embedder.convolution.weight", &["resnet.", ""]);
    let stem = folded(c, "embedder.embedder", [embedded, channels, 7, 7], 2);
    let mut inputs = embedded;
    let mut stages = Vec::new();
    for (stage, (&outputs, &depth)) in sizes.iter().zip(&depths).enumerate() {
        let mut blocks = Vec::new();
        for number in 0..depth {
            let halves = number == 0 && (stage > 0 || halve_first);
            let name = format!("encoder.stages.{stage}.layers.{number}");
            blocks.push(block(c, &name, kind, [inputs, outputs], if halves { 2 } else { 1 }));
            inputs = outputs;
        }
        stages.push(blocks);
    }
    let body = Body::Resnet(Resnet { channels, stem, stages, activation });
    let head = linear_whole(c, "classifier.1", [last, labels.len()]);
    Ok(Vision { body, head, labels })
}

fn block(
    c: &mut Checkpoint<'_>,
    name: &str,
    kind: Kind,
    [inputs, outputs]: [usize; 2],
    stride: usize,
) -> Block {
    let reshapes = inputs != outputs || stride != 1;
    let shortcut = format!("{name}.shortcut");
    let shortcut = reshapes.then(|| folded(c, &shortcut, [outputs, inputs, 1, 1], stride));
    let inner = outputs / 4;
    let (first, second) = if kind.stride_first { (stride, 1) } else { (1, stride) };
    // Inputs, outputs, kernel, stride.
    let layers = match kind.bottleneck {
        true => vec![[inner, inputs, 1, first], [inner, inner, 3, second], [outputs, inner, 1, 1]],
        false => vec![[outputs, inputs, 3, stride], [outputs, outputs, 3, 1]],
    };
    let layers = layers.into_iter().enumerate();
    let layers = layers.map(|(number, [outputs, inputs, kernel, stride])| {
        folded(c, &format!("{name}.layer.{number}"), [outputs, inputs, kernel, kernel], stride)
    });
    Block { shortcut, layers: layers.collect() }
}

/// A convolution that keeps the sides but for its stride, with the norm behind it.
fn folded(c: &mut Checkpoint<'_>, name: &str, shape: [usize; 4], stride: usize) -> Conv {
    let (conv, norm) = (format!("{name}.convolution"), format!("{name}.normalization"));
    let [weight, bias] = c.take_folded(&conv, &norm, EPSILON, &shape);
    Conv { weight, bias: Some(bias), shape, strides: [stride; 2], pad: shape[2] / 2 }
}
