//! Schemes as words. Every combination that means nothing is refused with what would do instead.

use super::{Entries, Float, Linear, LinearBits, LinearGranularity};
use super::{Palette, PaletteGranularity, Scheme};
use crate::Error;
use std::{fmt, str::FromStr};

/// Words that name no scheme or no range: what is wrong, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(super) String);

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::Usage(error.0)
    }
}

type Result<T> = std::result::Result<T, ParseError>;

/// An [`Err`] with these words.
pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(ParseError(why.into()))
}

/// The options after the head, as written: each at most once, whatever the head.
#[derive(Default)]
struct Words {
    channel: bool,
    tensor: bool,
    block: Option<u32>,
    group: Option<u32>,
    axis: Option<u8>,
    symmetric: bool,
    asymmetric: bool,
    vector: Option<u8>,
    lut_int8: bool,
    channel_scale: bool,
    unique: bool,
}

impl FromStr for Scheme {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let mut parts = lower.split(',').map(str::trim);
        let head = parts.next().unwrap_or_default();
        let scheme = Head::parse(head)?;
        let words =
            Words::parse(parts).map_err(|why| ParseError(format!("`{text}`: {}", why.0)))?;
        let made = match scheme {
            Head::Float(float) => words.float(float),
            Head::Linear(bits) => words.linear(bits),
            Head::Palette(bits) => words.palette(bits),
        };
        made.map_err(|why| ParseError(format!("`{text}`: {}", why.0)))
    }
}

/// What stands before the first comma.
enum Head {
    Float(Float),
    Linear(LinearBits),
    Palette(u8),
}

impl Head {
    fn parse(word: &str) -> Result<Self> {
        match word {
            "float16" => return Ok(Self::Float(Float::F16)),
            "float32" => return Ok(Self::Float(Float::F32)),
            "linear-int8" => return Ok(Self::Linear(LinearBits::Int8)),
            "linear-int4" => return Ok(Self::Linear(LinearBits::Int4)),
            "auto" => {
                return refuse(
                    "`auto` is no scheme of one weight: --scheme auto chooses for all; name a scheme, \
                     such as linear-int8",
                );
            }
            _ => {}
        }
        if let Some(bits) = word.strip_prefix("palette-") {
            return match bits {
                "1" | "2" | "3" | "4" | "6" | "8" => Ok(Self::Palette(bits.as_bytes()[0] - b'0')),
                "5" | "7" => refuse(format!(
                    "no index type has {bits} bits; use palette-{}",
                    if bits == "5" { "6 (or palette-4)" } else { "8 (or palette-6)" }
                )),
                _ => refuse(format!(
                    "unknown palette `{word}`; a palette has 8, 6, 4, 3, 2 or 1 bits"
                )),
            };
        }
        if word.starts_with("linear-") {
            return refuse(format!(
                "unknown linear scheme `{word}`; use linear-int8 or linear-int4 (3, 6 and other \
                 widths exist as palettes, such as palette-6)"
            ));
        }
        let meant = match word {
            "int8" | "linear" | "linear8" | "linear_int8" | "w8" | "q8" | "q8_0" | "uint8" => {
                "linear-int8"
            }
            "int4" | "linear4" | "linear_int4" | "w4" | "q4" | "q4_0" | "uint4" => "linear-int4",
            "fp16" | "f16" | "half" | "none" => "float16",
            "fp32" | "f32" => "float32",
            "palette" | "lut" | "kmeans" | "palettize" => "palette-4",
            "palette8" | "lut8" => "palette-8",
            "palette6" | "lut6" => "palette-6",
            "palette4" | "lut4" => "palette-4",
            _ => {
                return refuse(format!(
                    "unknown scheme `{word}`; schemes are linear-int8, linear-int4, palette-8, -6, \
                     -4, -3, -2, -1, float16 and float32, with options such as linear-int4,block:32"
                ));
            }
        };
        refuse(format!("unknown scheme `{word}`; did you mean `{meant}`?"))
    }
}

impl Words {
    fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut words = Self::default();
        for option in options {
            let (name, value) = match option.split_once(':') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            match name {
                "channel" => flag(&mut words.channel, name, value)?,
                "tensor" => flag(&mut words.tensor, name, value)?,
                "symmetric" => flag(&mut words.symmetric, name, value)?,
                "asymmetric" => flag(&mut words.asymmetric, name, value)?,
                "lut-int8" => flag(&mut words.lut_int8, name, value)?,
                "channel-scale" => flag(&mut words.channel_scale, name, value)?,
                "unique" => flag(&mut words.unique, name, value)?,
                "block" => number(&mut words.block, name, value, "block:32")?,
                "group" => number(&mut words.group, name, value, "group:16")?,
                "axis" => number(&mut words.axis, name, value, "axis:1")?,
                "vector" => number(&mut words.vector, name, value, "vector:2")?,
                "" => return refuse("an option is empty; write them as linear-int4,block:32"),
                _ => {
                    return refuse(format!(
                        "unknown option `{option}`; options are channel, tensor, block:B, axis:N, \
                     asymmetric (linear) and tensor, group:G, vector:V, axis:N, lut-int8, \
                     channel-scale, unique (palette)"
                    ));
                }
            }
        }
        if let Some(axis @ 2..) = words.axis {
            return refuse(format!(
                "axis:{axis} is not one that parameters can follow; use axis:0 (output channels) \
                 or axis:1 (input channels)"
            ));
        }
        Ok(words)
    }

    fn float(self, float: Float) -> Result<Scheme> {
        if let Some(option) = self.first_given() {
            return refuse(format!(
                "`{option}` says how to quantize, and a float scheme does not; leave it out"
            ));
        }
        Ok(Scheme::Float(float))
    }

    fn linear(self, bits: LinearBits) -> Result<Scheme> {
        let palette_only: [(bool, &str, &str); 5] = [
            (
                self.group.is_some(),
                "group:",
                "linear codes share a scale by block:B along the input",
            ),
            (self.vector.is_some(), "vector:", "a linear code stands for one weight"),
            (self.lut_int8, "lut-int8", "linear codes have no table"),
            (self.channel_scale, "channel-scale", "`channel` (the default) is one scale a channel"),
            (self.unique, "unique", "float16 is the lossless choice"),
        ];
        if let Some((_, option, instead)) = palette_only.iter().find(|row| row.0) {
            return refuse(format!("`{option}` is an option of palettes; {instead}"));
        }
        if self.symmetric && self.asymmetric {
            return refuse("symmetric and asymmetric exclude each other; name one");
        }
        let granularity = match (self.channel, self.tensor, self.block) {
            (_, false, None) => LinearGranularity::Channel { axis: self.axis.unwrap_or(0) },
            (false, true, None) => LinearGranularity::Tensor,
            (false, false, Some(size)) => LinearGranularity::Block { size },
            _ => return refuse("channel, tensor and block:B exclude each other; name one"),
        };
        if let (Some(axis), Some(size)) = (self.axis, self.block) {
            return refuse(format!(
                "blocks always run along the input channels, so axis:{axis} cannot go with \
                 block:{size}; leave axis out"
            ));
        }
        if let (Some(axis), true) = (self.axis, self.tensor) {
            return refuse(format!(
                "one scale for the whole tensor has no axis; use channel,axis:{axis} or leave axis out"
            ));
        }
        Ok(Scheme::Linear(Linear { bits, asymmetric: self.asymmetric, granularity }))
    }

    fn palette(self, bits: u8) -> Result<Scheme> {
        if self.asymmetric || self.symmetric {
            let option = if self.asymmetric { "asymmetric" } else { "symmetric" };
            return refuse(format!(
                "`{option}` is an option of linear schemes; a table has no zero point, its entries \
                 lie wherever the weights are"
            ));
        }
        if let Some(size) = self.block {
            return refuse(format!(
                "`block:{size}` is an option of linear schemes; a palette is shared by channels: \
                 use group:{size} (or group:{size},axis:1 along the input)"
            ));
        }
        if self.channel {
            return refuse(
                "`channel` is an option of linear schemes; one table a channel is group:1",
            );
        }
        if self.tensor && self.group.is_some() {
            return refuse("tensor and group:G exclude each other; name one");
        }
        let granularity = match self.group {
            Some(size) => PaletteGranularity::Group { size },
            None => PaletteGranularity::Tensor,
        };
        let vector = self.vector.unwrap_or(1);
        if !matches!((self.vector, vector), (None, _) | (_, 2 | 4)) {
            return refuse(format!("vector:{vector} does not exist; use vector:2 or vector:4"));
        }
        if let Some(group) = self.group.filter(|group| group % u32::from(vector) != 0) {
            return refuse(format!(
                "vector:{vector} does not divide group:{group}, so a vector would lie in two \
                 groups; use group:{}",
                group.next_multiple_of(u32::from(vector))
            ));
        }
        if let (Some(axis), None, None) = (self.axis, self.group, self.vector) {
            return refuse(format!(
                "one table for the whole tensor has no axis; axis:{axis} goes with group:G or vector:V"
            ));
        }
        if self.channel_scale && self.group == Some(1) && self.axis.unwrap_or(0) == 0 {
            return refuse(
                "group:1 gives each output channel a table of its own, which channel-scale adds \
                 nothing to; leave channel-scale out",
            );
        }
        if self.unique {
            let lossy = [
                (vector > 1, "vector:"),
                (self.lut_int8, "lut-int8"),
                (self.channel_scale, "channel-scale"),
            ];
            if let Some((_, option)) = lossy.iter().find(|row| row.0) {
                return refuse(format!(
                    "unique keeps every weight exactly, and `{option}` changes weights; leave one out"
                ));
            }
        }
        Ok(Scheme::Palette(Palette {
            bits,
            granularity,
            vector,
            axis: self.axis.unwrap_or(0),
            entries: if self.lut_int8 { Entries::Int8 } else { Entries::F16 },
            channel_scale: self.channel_scale,
            unique: self.unique,
        }))
    }

    /// Any option that was given.
    fn first_given(&self) -> Option<&'static str> {
        [
            (self.channel, "channel"),
            (self.tensor, "tensor"),
            (self.block.is_some(), "block:"),
            (self.group.is_some(), "group:"),
            (self.axis.is_some(), "axis:"),
            (self.symmetric, "symmetric"),
            (self.asymmetric, "asymmetric"),
            (self.vector.is_some(), "vector:"),
            (self.lut_int8, "lut-int8"),
            (self.channel_scale, "channel-scale"),
            (self.unique, "unique"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

fn flag(slot: &mut bool, name: &str, value: Option<&str>) -> Result<()> {
    if let Some(value) = value {
        return refuse(format!("`{name}` takes no value, and `:{value}` follows it; leave it out"));
    }
    if std::mem::replace(slot, true) {
        return refuse(format!("`{name}` is given twice; once is enough"));
    }
    Ok(())
}

fn number<T: TryFrom<u32>>(
    slot: &mut Option<T>,
    name: &str,
    value: Option<&str>,
    example: &str,
) -> Result<()> {
    let Some(value) = value else {
        return refuse(format!("`{name}` needs a number, such as {example}"));
    };
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let parsed = value.parse::<u32>().ok().filter(|&n| digits && (n > 0 || name == "axis"));
    let Some(parsed) = parsed.and_then(|n| T::try_from(n).ok()) else {
        return refuse(format!(
            "`{name}:{value}` is not a number that fits; write it like {example}"
        ));
    };
    if slot.replace(parsed).is_some() {
        return refuse(format!("`{name}` is given twice; once is enough"));
    }
    Ok(())
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        match self {
            Self::Float(Float::F16) => text += "float16",
            Self::Float(Float::F32) => text += "float32",
            Self::Linear(Linear { bits, asymmetric, granularity }) => {
                text += match bits {
                    LinearBits::Int8 => "linear-int8",
                    LinearBits::Int4 => "linear-int4",
                };
                match granularity {
                    LinearGranularity::Channel { axis: 0 } => {}
                    LinearGranularity::Channel { axis } => text += &format!(",axis:{axis}"),
                    LinearGranularity::Tensor => text += ",tensor",
                    LinearGranularity::Block { size } => text += &format!(",block:{size}"),
                }
                text += if *asymmetric { ",asymmetric" } else { "" };
            }
            Self::Palette(p) => {
                text += &format!("palette-{}", p.bits);
                match p.granularity {
                    PaletteGranularity::Tensor => {}
                    PaletteGranularity::Group { size } => text += &format!(",group:{size}"),
                }
                if p.vector > 1 {
                    text += &format!(",vector:{}", p.vector);
                }
                if p.axis > 0 {
                    text += &format!(",axis:{}", p.axis);
                }
                text += if p.entries == Entries::Int8 { ",lut-int8" } else { "" };
                text += if p.channel_scale { ",channel-scale" } else { "" };
                text += if p.unique { ",unique" } else { "" };
            }
        }
        f.pad(&text)
    }
}

impl serde::Serialize for Scheme {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Scheme {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let words = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        words.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
