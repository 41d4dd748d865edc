//! A scheme in the words of the Metal blob.

use crate::formats::metal_blob::{self, Dtype, Encoding, Granularity, Grouping, Lanes};
use crate::graph::weight;
use crate::scheme::{Entries, Float, LinearGranularity, PaletteGranularity, Scheme};

/// How the blob stores a weight under this scheme, its codes in these lanes.
pub fn encoding(scheme: Scheme, lanes: Lanes) -> Encoding {
    match scheme {
        Scheme::Float(float) => {
            let dtype = match float {
                Float::F16 => Dtype::F16,
                Float::F32 => Dtype::F32,
            };
            Encoding::Float { dtype }
        }
        Scheme::Linear(linear) => Encoding::Linear(metal_blob::Linear {
            bits: linear.bits.bits(),
            signed: true,
            granularity: match linear.granularity {
                LinearGranularity::Tensor => Granularity::Tensor,
                LinearGranularity::Channel { axis } => Granularity::Channel { axis },
                LinearGranularity::Block { size } => Granularity::Block { size: size as usize },
            },
            offset: linear.asymmetric,
            lanes,
        }),
        Scheme::Palette(palette) => Encoding::Palette(metal_blob::Palette {
            bits: palette.bits,
            grouping: match palette.granularity {
                PaletteGranularity::Tensor => Grouping::Tensor,
                PaletteGranularity::Group { size } => Grouping::Group { size: size as usize },
            },
            axis: palette.axis,
            vector: palette.vector,
            entries: match palette.entries {
                Entries::F16 => metal_blob::Entries::F16,
                Entries::Int8 => metal_blob::Entries::Int8,
            },
            channel_scale: palette.channel_scale,
            lanes,
        }),
    }
}

/// The blob's word for a part of a weight.
pub fn part(part: weight::Part) -> metal_blob::Part {
    match part {
        weight::Part::Dense => metal_blob::Part::Values,
        weight::Part::Codes => metal_blob::Part::Codes,
        weight::Part::Scale => metal_blob::Part::Scale,
        weight::Part::Offset => metal_blob::Part::Offset,
        weight::Part::Table => metal_blob::Part::Table,
        weight::Part::TableScale => metal_blob::Part::TableScale,
        weight::Part::ChannelScale => metal_blob::Part::ChannelScale,
    }
}
