//! What classifiers of images share.

use crate::Result;
use crate::model::blocks::Linear;
use crate::model::config::Config;
use crate::model::parameters::Checkpoint;
use crate::model::vision::{Body, Vision};

/// The names of the classes: as many as the head has outputs.
pub(super) fn labels(config: &Config) -> Result<Vec<String>> {
    let unnamed = |count: usize| (0..count).map(|label| format!("LABEL_{label}")).collect();
    let count = config.size_or("num_labels", 2)?;
    Ok(config.optional_labels("id2label")?.unwrap_or_else(|| unnamed(count)))
}

/// A body with the classifier of this whole name, a linear layer with a bias.
pub(super) fn classifier(
    c: &mut Checkpoint<'_>,
    body: Body,
    name: &str,
    hidden: usize,
    labels: Vec<String>,
) -> Vision {
    let shape = [hidden, labels.len()];
    let weight = c.take_whole(&format!("{name}.weight"), &[labels.len(), hidden]);
    let bias = Some(c.take_whole(&format!("{name}.bias"), &[labels.len()]));
    Vision { body, head: Linear { weight, bias, shape }, labels }
}
