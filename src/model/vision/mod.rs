//! Models that read images: what an architecture says of itself, and how that becomes a function.
//!
//! | module | what it builds |
//! |---|---|
//! | [`Vision`] | the description: a body and a classifier of what it sees |
//! | [`resnet`] | residual convolutions |
//! | [`vit`] | a transformer over patches |
//!
//! `main` takes `pixel_values` `[1, channels, height, width]`, as the model's image processor makes
//! them, and returns `logits` `[1, classes]` and `last_hidden_state`.

pub mod resnet;
pub mod vit;

use super::blocks::{self, Linear};
use super::emit::{Emitter, Style, Weights};
use crate::Result;
use crate::graph::{DataType, Program, ValueId};
use crate::target::Target;
use resnet::Resnet;
use vit::Vit;

/// A classifier of images.
#[derive(Clone, Debug)]
pub struct Vision {
    /// From the image to what is classified.
    pub body: Body,
    /// From that to the classes.
    pub head: Linear,
    /// What the classes are called.
    pub labels: Vec<String>,
}

/// From the image to what is classified.
#[derive(Clone, Debug)]
pub enum Body {
    /// Residual convolutions.
    Resnet(Resnet),
    /// A transformer over patches.
    Vit(Vit),
}

/// How it becomes a package.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For which hardware.
    pub style: Style,
    /// FP16 or FP32.
    pub float: DataType,
    /// The oldest system that must read it.
    pub target: Target,
}

/// The last hidden values of a body, under the name that callers see.
const HIDDEN: &str = "last_hidden_state";

/// What a body makes of an image.
struct Seen {
    hidden: ValueId,
    about: &'static str,
    /// What is classified, `[1, H]`.
    pooled: ValueId,
}

/// The package of a model: `main`.
///
/// # Errors
/// [`crate::Error::Bug`] for a description that does not hold together.
pub fn build(vision: &Vision, weights: &Weights, options: &Options) -> Result<Program> {
    let mut emitter = Emitter::new(weights, options.float).with_style(options.style);
    let e = &mut emitter;
    let seen = match &vision.body {
        Body::Resnet(resnet) => resnet.emit(e)?,
        Body::Vit(vit) => vit.emit(e, options.target >= Target::Ios18)?,
    };
    let logits = blocks::linear_of_one(e, "logits", seen.pooled, &vision.head)?;
    e.builder().output(logits, "scores of the classes, [1, classes]");
    e.builder().output(seen.hidden, seen.about);
    let mut program = Program::single(emitter.finish());
    program.metadata.user = weights.names();
    Ok(program)
}

impl Body {
    /// What it is in this style, in words.
    pub fn words(&self, style: Style) -> String {
        match self {
            Self::Resnet(resnet) => {
                let resnet::Sides { low, default, high } = Resnet::SIDES;
                let sides = match style {
                    Style::Gpu => format!("{low} to {high} pixels a side"),
                    Style::Ane => format!("{default} × {default} pixels"),
                };
                format!("{} stages; main, images of {sides}", resnet.stages.len())
            }
            Self::Vit(vit) => {
                let [height, width] = vit.image;
                format!("{} layers; main, images of {height} × {width} pixels", vit.layers.len())
            }
        }
    }
}
