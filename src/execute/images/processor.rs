//! `preprocessor_config.json`: what a model's images go through, as the image processors of Hugging
//! Face's transformers 4.57 do it.
//!
//! 1. resize to fixed sides, or the shorter edge to a length and the other in proportion;
//! 2. cut out the middle, with zeros where the image is smaller;
//! 3. `x · rescale_factor`;
//! 4. `(x − mean) / std` by channel, in f32.
//!
//! | processor | by default |
//! |---|---|
//! | `ViTImageProcessor` | 224 × 224, bilinear; mean and std ½ |
//! | `DeiTImageProcessor` | 256 × 256, bicubic, the middle 224 × 224; ½ |
//! | `ConvNextImageProcessor` | shorter edge 384, bilinear: below 384 `S / crop_pct` and the middle `S × S`, else `S × S` at once; ½ |
//! | `CLIPImageProcessor`, `BitImageProcessor` | shorter edge 224, bicubic, the middle 224 × 224; CLIP's |
//!
//! Those called `..Fast` are read as the same: they resize with torchvision, which may round a pixel
//! otherwise. A key that is none of these is refused unless it is off.

use super::Picture;
use super::decode::MOST_PIXELS;
use super::resample::{Filter, resize};
use crate::model::config::Config;
use crate::{Error, Result};
use std::path::Path;

/// Where it stands in a model's folder.
const NAME: &str = "preprocessor_config.json";

/// The longest edge that an image may get.
const MOST_SIDE: usize = 1 << 14;

/// What images go through.
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    place: String,
    resize: Option<(Size, Filter)>,
    /// Height and width of the middle.
    crop: Option<[usize; 2]>,
    rescale: Option<f64>,
    /// Mean and standard deviation of each channel, or of all.
    normalize: Option<[Vec<f64>; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Height and width.
    Sides([usize; 2]),
    /// Of the shorter edge.
    Shortest(usize),
}

/// A class of transformers: its name, and what holds where the file is silent.
struct Class {
    name: &'static str,
    /// Types of models that have it.
    models: &'static [&'static str],
    /// A size of one number is that of the shorter edge.
    shortest: bool,
    size: usize,
    crop: Crop,
    filter: Filter,
    normalize: [[f64; 3]; 2],
}

#[derive(Clone, Copy, PartialEq)]
enum Crop {
    /// It never does.
    Never,
    /// The middle of this size.
    Middle(usize),
    /// A share of the resized edge, where that is below [`WARPED`].
    Share(f64),
}

/// From this size on, `ConvNextImageProcessor` cuts nothing off.
const WARPED: usize = 384;

const HALF: [[f64; 3]; 2] = [[0.5; 3], [0.5; 3]];
const CLIP: [[f64; 3]; 2] =
    [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]];

#[rustfmt::skip]
const CLASSES: [Class; 5] = [
    Class { name: "ViTImageProcessor", models: &["vit"], shortest: false, size: 224,
            crop: Crop::Never, filter: Filter::Bilinear, normalize: HALF },
    Class { name: "DeiTImageProcessor", models: &["deit"], shortest: false, size: 256,
            crop: Crop::Middle(224), filter: Filter::Bicubic, normalize: HALF },
    Class { name: "ConvNextImageProcessor", models: &["resnet", "convnext"], shortest: true, size: 384,
            crop: Crop::Share(224.0 / 256.0), filter: Filter::Bilinear, normalize: HALF },
    Class { name: "CLIPImageProcessor", models: &["clip"], shortest: true, size: 224,
            crop: Crop::Middle(224), filter: Filter::Bicubic, normalize: CLIP },
    Class { name: "BitImageProcessor", models: &["bit", "dinov2"], shortest: true, size: 224,
            crop: Crop::Middle(224), filter: Filter::Bicubic, normalize: CLIP },
];

impl Processor {
    /// The one in a model's folder.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none; as [`Self::parse`]; [`Error::Io`].
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            let place = path.display().to_string();
            match path.is_file() {
                false => Ok(None),
                true => match std::fs::read(&path) {
                    Ok(bytes) => Config::parse(&place, &bytes).map(Some),
                    Err(why) => Err(Error::io("read", place, why)),
                },
            }
        };
        let Some(config) = read(NAME)? else {
            return Err(Error::Usage(format!(
                "there is no {}, which says how images become inputs; put the model's own there, or \
                 give a .safetensors or .npz file of inputs",
                folder.join(NAME).display()
            )));
        };
        let model = read("config.json")?;
        Self::of(&config, model.as_ref().and_then(Config::model_type))
    }

    /// Reads a file's content; `model_type` tells the class where the file does not.
    ///
    /// # Errors
    /// [`Error::Input`] for a class that is not known, a key that is not understood, and values that
    /// make no image.
    pub fn parse(place: &str, bytes: &[u8], model_type: Option<&str>) -> Result<Self> {
        Self::of(&Config::parse(place, bytes)?, model_type)
    }

    fn of(config: &Config, model_type: Option<&str>) -> Result<Self> {
        let class = class(config, model_type)?;
        // What only says who wrote the file, and in which order others return pixels.
        config.optional_word("processor_class")?;
        config.optional_words("_valid_processor_keys")?;
        config.only("data_format", "channels_first")?;
        config.only("input_data_format", "channels_last")?;
        config.flag_or("do_convert_rgb", true)?;
        config.only("default_to_square", !class.shortest)?;
        let resized = config.flag_or("do_resize", true)?;
        let size = size(config, "size", class.shortest, class.size)?;
        let number = config.count_or("resample", class.filter as usize)?;
        let filter = Filter::numbered(number)
            .ok_or_else(|| config.unsupported("resample", "it must be a number from 0 to 5"))?;
        let mut resize = resized.then_some((size, filter));
        let crop = match (class.crop, size) {
            (Crop::Never, _) => None,
            (Crop::Middle(default), _) => {
                let of = self::size(config, "crop_size", false, default)?;
                let Size::Sides(sides) = of else {
                    return Err(config.unsupported("crop_size", "it must be a height and a width"));
                };
                config.flag_or("do_center_crop", true)?.then_some(sides)
            }
            (Crop::Share(default), Size::Shortest(side)) => {
                let share = config.positive_or("crop_pct", default)?;
                if !resized {
                    None
                } else if side < WARPED {
                    let edge = (side as f64 / share) as usize;
                    if !(1..=MOST_SIDE).contains(&edge) {
                        return Err(unfit(config, "crop_pct"));
                    }
                    resize = Some((Size::Shortest(edge), filter));
                    Some([side; 2])
                } else {
                    resize = Some((Size::Sides([side; 2]), filter));
                    None
                }
            }
            (Crop::Share(_), Size::Sides(_)) => {
                return Err(config.unsupported("size", "it must be {\"shortest_edge\": N}"));
            }
        };
        let factor = config.number_or("rescale_factor", 1.0 / 255.0)?;
        let rescale = config.flag_or("do_rescale", true)?.then_some(factor);
        let [mean, std] = class.normalize;
        let normalize =
            [channels(config, "image_mean", mean)?, channels(config, "image_std", std)?];
        if normalize[1].iter().any(|&std| std as f32 <= 0.0) {
            return Err(config.unsupported("image_std", "it must be numbers above 0"));
        }
        let normalize = config.flag_or("do_normalize", true)?.then_some(normalize);
        config.finish_or("set those that change no pixel to null")?;
        Ok(Self { place: config.place().into(), resize, crop, rescale, normalize })
    }

    /// The file, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The same without what a package does to pixels itself.
    pub(super) fn without_arithmetic(self) -> Self {
        Self { rescale: None, normalize: None, ..self }
    }

    /// Height and width of what comes out, where all images get the same.
    pub(super) fn sides(&self) -> Option<[usize; 2]> {
        match (self.crop, self.resize) {
            (Some(sides), _) | (None, Some((Size::Sides(sides), _))) => Some(sides),
            (None, Some((Size::Shortest(_), _)) | None) => None,
        }
    }

    /// That mean and standard deviation are there for so many channels.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn check_channels(&self, channels: usize) -> Result<()> {
        let fits = |numbers: &Vec<f64>| [1, channels].contains(&numbers.len());
        match &self.normalize {
            Some(numbers) if !numbers.iter().all(fits) => Err(Error::input(
                &self.place,
                format!("its mean and std are not those of {channels} channels"),
                "give the model's own preprocessor_config.json",
            )),
            _ => Ok(()),
        }
    }

    /// What becomes of an image, in 8 bits.
    ///
    /// # Errors
    /// A sentence on an image that would become too large.
    pub(super) fn shape(&self, mut image: Picture) -> std::result::Result<Picture, String> {
        if let Some((size, filter)) = self.resize {
            let sides = size.of([image.height, image.width]);
            let [height, width] = sides.map(|side| side as u64);
            if width.saturating_mul(height) > MOST_PIXELS || width.min(height) == 0 {
                return Err(format!("it would become {width} × {height} pixels"));
            }
            image = resize(image, sides, filter);
        }
        Ok(match self.crop {
            Some(sides) => image.middle(sides),
            None => image,
        })
    }

    /// By channel, what a model gets for each of the 256 values of a pixel.
    pub(super) fn values(&self, channels: usize) -> Vec<[f32; 256]> {
        let of = |numbers: &[f64], channel: usize| numbers[channel.min(numbers.len() - 1)] as f32;
        let value = |channel: usize, pixel: usize| {
            let x = match self.rescale {
                Some(factor) => (pixel as f64 * factor) as f32,
                None => pixel as f32,
            };
            match &self.normalize {
                Some([mean, std]) => (x - of(mean, channel)) / of(std, channel),
                None => x,
            }
        };
        (0..channels).map(|c| std::array::from_fn(|pixel| value(c, pixel))).collect()
    }
}

impl Size {
    /// Height and width of an image of these.
    fn of(self, [height, width]: [usize; 2]) -> [usize; 2] {
        // In floating point, as Python divides.
        let long =
            |short: usize, long: usize, edge: usize| ((edge * long) as f64 / short as f64) as usize;
        match self {
            Self::Sides(sides) => sides,
            Self::Shortest(edge) if width <= height => [long(width, height, edge), edge],
            Self::Shortest(edge) => [edge, long(height, width, edge)],
        }
    }
}

/// The class that the file names, or that models of this type have.
fn class(config: &Config, model_type: Option<&str>) -> Result<&'static Class> {
    let named = match config.optional_word("image_processor_type")? {
        None => config.optional_word("feature_extractor_type")?,
        // Both are written at times, and then the first counts.
        named => config.optional_word("feature_extractor_type").map(|_| named)?,
    };
    let of_model = |class: &&Class| model_type.is_some_and(|of| class.models.contains(&of));
    let Some(named) = named else {
        let found = CLASSES.iter().find(of_model);
        return found.ok_or_else(|| {
            let found = "it does not say which image processor it is for";
            Error::input(
                config.place(),
                found,
                "add image_processor_type, as the model's page has it",
            )
        });
    };
    let bare = named.replace("FeatureExtractor", "ImageProcessor");
    let bare = bare.strip_suffix("Fast").unwrap_or(&bare);
    CLASSES.iter().find(|class| class.name == bare).ok_or_else(|| {
        let known = crate::text::listed(CLASSES.iter().map(|class| class.name));
        let remedy = format!("{known} are supported; give a .safetensors or .npz file of inputs");
        Error::input(config.place(), format!("its image processor is {named}"), remedy)
    })
}

fn unfit(config: &Config, key: &str) -> Error {
    config.unsupported(key, &format!("it must give images of 1 to {MOST_SIDE} pixels a side"))
}

/// A size: one number, height and width, or an object of either.
fn size(config: &Config, key: &str, shortest: bool, default: usize) -> Result<Size> {
    let one = |edge| if shortest { Size::Shortest(edge) } else { Size::Sides([edge; 2]) };
    let size = match config.entries(key) {
        Ok(None) => one(default),
        Ok(Some(_)) => {
            let Some(section) = config.optional_section(key)? else { return Ok(one(default)) };
            let size = match section.optional_size("shortest_edge")? {
                Some(edge) => Size::Shortest(edge),
                None => Size::Sides([section.size("height")?, section.size("width")?]),
            };
            section.finish_or("leave shortest_edge, or height and width")?;
            size
        }
        Err(_) => match config.sides_or(key, default)? {
            [height, width] if height == width && !config.is_list(key) => one(height),
            sides => Size::Sides(sides),
        },
    };
    let largest = match size {
        Size::Sides([height, width]) => height.max(width),
        Size::Shortest(edge) => edge,
    };
    if largest <= MOST_SIDE { Ok(size) } else { Err(unfit(config, key)) }
}

/// A number for each channel, or one for all.
fn channels(config: &Config, key: &str, default: [f64; 3]) -> Result<Vec<f64>> {
    if let Ok(Some(one)) = config.optional_number(key) {
        return Ok(vec![one]);
    }
    match config.optional_numbers(key)? {
        Some(numbers) if !numbers.is_empty() => Ok(numbers),
        Some(_) => Err(config.unsupported(key, "it must be a number for each channel")),
        None => Ok(default.into()),
    }
}
