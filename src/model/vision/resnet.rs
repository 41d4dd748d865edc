//! Residual convolutions: a stem, stages of blocks, and the mean over all places.
//!
//! A block is `activation(shortcut(x) + layers(x))`, with ReLU between its layers whatever the activation
//! is: transformers hands the configured one to the stem and to sums only. Batch norms are folded into the convolutions in
//! front of them. Source: arXiv 1512.03385, and version 1.5 of its bottleneck, where the 3 × 3
//! convolution has the stride.

use super::{HIDDEN, Seen};
use crate::Result;
use crate::graph::{Dim, SizeRange, Sizes, TensorType, ValueId};
use crate::model::blocks::{self, Activation, Conv};
use crate::model::emit::{Emitter, Style};

/// A residual network.
#[derive(Clone, Debug)]
pub struct Resnet {
    /// Channels of an image.
    pub channels: usize,
    /// The first convolution; a pool of 3 × 3 with a stride of 2 follows.
    pub stem: Conv,
    /// Blocks, stage by stage.
    pub stages: Vec<Vec<Block>>,
    /// Behind the stem, and behind every sum.
    pub activation: Activation,
}

/// A residual block.
#[derive(Clone, Debug)]
pub struct Block {
    /// What is added where the block changes the shape; without, the input.
    pub shortcut: Option<Conv>,
    /// One after the other, with ReLU between them.
    pub layers: Vec<Conv>,
}

/// Which sides an image may have, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Sides {
    /// The smallest.
    pub low: usize,
    /// The one that is assumed by default.
    pub default: usize,
    /// The largest.
    pub high: usize,
}

impl Resnet {
    /// The configuration names no size: the mean over all places takes any.
    pub const SIDES: Sides = Sides { low: 32, default: 224, high: 1024 };

    pub(super) fn emit(&self, e: &mut Emitter<'_>) -> Result<Seen> {
        let pixels = self.input(e)?;
        let x = blocks::conv(e, "stem", pixels, &self.stem)?;
        let x = blocks::activation(e, "stem_active", x, self.activation)?;
        let (kernel, strides) = (e.ints(&[3, 3])?, e.ints(&[2, 2])?);
        let (custom, pad) = (e.word("custom")?, e.ints(&[1; 4])?);
        let arguments = [
            ("x", x),
            ("kernel_sizes", kernel),
            ("strides", strides),
            ("pad_type", custom),
            ("pad", pad),
        ];
        let mut x = e.op("max_pool", "embedded", &arguments)?;
        for (stage, blocks) in self.stages.iter().enumerate() {
            for (number, block) in blocks.iter().enumerate() {
                e.enter(format!("stages_{stage}_blocks_{number}"));
                x = self.block(e, x, block)?;
                let last = stage + 1 == self.stages.len() && number + 1 == blocks.len();
                let name = if last { HIDDEN } else { "active" };
                if last {
                    e.enter("");
                }
                x = blocks::activation(e, name, x, self.activation)?;
            }
        }
        let (axes, keep) = (e.ints(&[2, 3])?, e.flag(false)?);
        let arguments = [("x", x), ("axes", axes), ("keep_dims", keep)];
        let pooled = e.op("reduce_mean", "pooled", &arguments)?;
        let about = "what the last stage sees, [1, channels, height, width]";
        Ok(Seen { hidden: x, about, pooled })
    }

    fn input(&self, e: &mut Emitter<'_>) -> Result<ValueId> {
        let Sides { low, default, high } = Self::SIDES;
        let (name, about) = ("pixel_values", "an image, normalized, [1, channels, height, width]");
        // The Neural Engine compiles for one shape.
        if e.style() == Style::Ane {
            let ty = TensorType::fixed(e.float(), &[1, self.channels, default, default]);
            return e.input(name, ty, Sizes::Fixed, about);
        }
        let fixed = |size| SizeRange { low: size, default: size, high: size };
        let side = SizeRange { low, default, high };
        let sizes = Sizes::Ranges(vec![fixed(1), fixed(self.channels), side, side]);
        let dims = [Dim::Fixed(1), Dim::Fixed(self.channels), Dim::Flexible, Dim::Flexible];
        let ty = TensorType::new(e.float(), dims.into());
        e.input(name, ty, sizes, about)
    }

    /// The sum of a block, before its activation.
    fn block(&self, e: &mut Emitter<'_>, x: ValueId, block: &Block) -> Result<ValueId> {
        let mut y = x;
        for (number, layer) in block.layers.iter().enumerate() {
            if number > 0 {
                let name = format!("layers_{}_active", number - 1);
                y = blocks::activation(e, &name, y, Activation::Relu)?;
            }
            y = blocks::conv(e, &format!("layers_{number}"), y, layer)?;
        }
        let x = match &block.shortcut {
            None => x,
            Some(conv) => blocks::conv(e, "shortcut", x, conv)?,
        };
        e.add("sum", x, y)
    }
}
