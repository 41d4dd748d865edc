//! Images in a folder as samples.
//!
//! | item | what it is |
//! |---|---|
//! | [`Folder`] | the images' files, by name |
//! | [`Processor`] | what they go through, as the model's `preprocessor_config.json` says |
//! | [`Images`] | both, for one function: a [`RowFile`] of one tensor, made as it is read |
//! | `decode` | a PNG or JPEG → pixels |
//! | `resample` | pixels in another size, as Pillow rounds them |

mod decode;
mod processor;
mod resample;
#[cfg(test)]
mod tests;

pub use processor::Processor;

use super::RowFile;
use super::convert::check_shape;
use crate::formats::safetensors::Dtype;
use crate::graph::{ColorSpace, Dim, Feature, Function};
use crate::map::Map;
use crate::{Error, Result};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Endings of files that are read.
const READ: [&str; 3] = ["png", "jpg", "jpeg"];

/// Endings of images that are not, and that nobody wants to be left out in silence.
const OTHERS: [&str; 9] = ["avif", "bmp", "gif", "heic", "heif", "jxl", "tif", "tiff", "webp"];

/// The most folders below one another.
const MOST_DEPTH: usize = 16;

/// An image: `[height, width, channels]` of 8 bits.
struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    bytes: Vec<u8>,
}

impl Picture {
    /// The middle, `[height, width]`, with zeros where there is no image.
    fn middle(&self, [height, width]: [usize; 2]) -> Self {
        let from = |side: usize, wanted: usize| (side as i64 - wanted as i64).div_euclid(2);
        let (top, left) = (from(self.height, height), from(self.width, width));
        let mut bytes = vec![0; height * width * self.channels];
        let (skipped, first) = (left.max(0) as usize, (-left).max(0) as usize);
        let count = (self.width - skipped).min(width - first) * self.channels;
        for (y, row) in bytes.chunks_exact_mut(width * self.channels).enumerate() {
            let source = usize::try_from(y as i64 + top).ok().filter(|&y| y < self.height);
            if let Some(y) = source {
                let at = (y * self.width + skipped) * self.channels;
                row[first * self.channels..][..count].copy_from_slice(&self.bytes[at..at + count]);
            }
        }
        Self { width, height, channels: self.channels, bytes }
    }
}

/// The images of a folder and of those below it, by their paths.
#[derive(Clone, Debug)]
pub struct Folder {
    name: String,
    files: Vec<PathBuf>,
}

impl Folder {
    /// Finds them: whatever ends in `.png`, `.jpg` or `.jpeg`; hidden files and others are passed over.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, and for an image of another kind; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let mut files = Vec::new();
        find(path, 0, &mut files)?;
        if files.is_empty() {
            let found = "there is no image in the folder";
            return Err(Error::input(path.display().to_string(), found, "put PNGs or JPEGs there"));
        }
        files.sort();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, files })
    }

    /// The BLAKE3 of all files' bytes, in order, with their lengths.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty file; [`Error::Io`].
    pub fn hash(&self) -> Result<blake3::Hash> {
        let mut hash = blake3::Hasher::new();
        for file in &self.files {
            let map = Map::open(file)?;
            // With its length, nothing can move from one file to the next.
            hash.update(&(map.bytes().len() as u64).to_le_bytes());
            hash.update_rayon(map.bytes());
        }
        Ok(hash.finalize())
    }

    /// At most so many of them, spread over all.
    pub fn spread(&self, most: usize) -> Self {
        let (all, wanted) = (self.files.len(), self.files.len().min(most));
        let files = (0..wanted).map(|i| self.files[i * all / wanted].clone()).collect();
        Self { name: self.name.clone(), files }
    }
}

fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |why| Error::io("read", folder.display().to_string(), why);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let place = || path.display().to_string();
        if path.is_dir() {
            if depth == MOST_DEPTH {
                let found = format!("it lies more than {MOST_DEPTH} folders deep");
                return Err(Error::input(place(), found, "name the folder of the images"));
            }
            find(&path, depth + 1, files)?;
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if OTHERS.contains(&ending.as_str()) {
            return Err(Error::input(
                place(),
                "PNG and JPEG are read, and no other images",
                "convert it, or take it away",
            ));
        }
        if READ.contains(&ending.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

/// The images of a folder as the input `[B, C, H, W]` of a function: one tensor `[N, C, H, W]`, an image
/// of which is decoded when it is read.
#[derive(Debug)]
pub struct Images<'a> {
    folder: &'a Folder,
    processor: Processor,
    /// The input's name.
    input: &'a str,
    /// `[N, C, H, W]`.
    shape: [usize; 4],
    /// Whether blue comes first.
    turned: bool,
}

impl<'a> Images<'a> {
    /// For the one image that a function takes, with one channel or three. Where the package declares it
    /// an image, whose numbers are pixels that it scales itself, only size and crop are the processor's.
    ///
    /// # Errors
    /// [`Error::Usage`] for a function that takes no image, or several; [`Error::Input`] for a processor
    /// whose images it does not take.
    pub fn new(folder: &'a Folder, processor: &Processor, function: &'a Function) -> Result<Self> {
        let (feature, dims) = image_of(function)?;
        let channels = dims[1].size().unwrap_or(3);
        let processor = match feature.image {
            Some(_) => processor.clone().without_arithmetic(),
            None => processor.clone(),
        };
        processor.check_channels(channels)?;
        let declared = dims[2].size().zip(dims[3].size()).map(|(h, w)| [h, w]);
        let Some([height, width]) = processor.sides().or(declared) else {
            return Err(Error::input(
                processor.place(),
                "it gives images of different sizes, and the function takes any",
                "set size to a height and a width, or cut out the middle",
            ));
        };
        let batch = dims[0].size().unwrap_or(1).max(1);
        check_shape(function, feature, &[batch, channels, height, width]).map_err(|_| {
            let ty = &function.value(feature.value).ty;
            let found = format!("it makes images of {height} × {width} pixels, and {ty} is taken");
            Error::input(processor.place(), found, "give the model's own preprocessor_config.json")
        })?;
        let shape = [folder.files.len(), channels, height, width];
        let input = &function.value(feature.value).name;
        let turned = feature.image == Some(ColorSpace::Bgr);
        Ok(Self { folder, processor, input, shape, turned })
    }

    /// What a model gets for one image: `[C, H, W]`, f32, little-endian.
    fn image(&self, path: &Path, values: &[[f32; 256]]) -> Result<Vec<u8>> {
        let [_, channels, height, width] = self.shape;
        let wrong = |found: String| {
            let remedy = "take it away, or give another preprocessor_config.json";
            Error::input(path.display().to_string(), found, remedy)
        };
        let picture = decode::decode(path, channels)?;
        let picture = self.processor.shape(picture).map_err(wrong)?;
        if [picture.height, picture.width] != [height, width] {
            let (h, w) = (picture.height, picture.width);
            return Err(wrong(format!(
                "it has {h} × {w} pixels, and {height} × {width} are taken"
            )));
        }
        let place = |channel| if self.turned { channels - 1 - channel } else { channel };
        let plane = |channel: usize| {
            let of_this = picture.bytes.iter().skip(place(channel)).step_by(channels);
            of_this.flat_map(move |&pixel| values[channel][usize::from(pixel)].to_le_bytes())
        };
        Ok((0..channels).flat_map(plane).collect())
    }
}

/// The image that a function takes: the input, and its four dimensions.
fn image_of(function: &Function) -> Result<(&Feature, [Dim; 4])> {
    let image = |feature: &'_ Feature| {
        let ty = function.value(feature.value).ty.tensor()?;
        let dims: [Dim; 4] = ty.dims.clone().try_into().ok()?;
        matches!(dims[1], Dim::Fixed(1 | 3)).then_some(dims)
    };
    let mut needed = function.inputs.iter().filter(|feature| feature.default.is_none());
    let found = needed.next().filter(|_| needed.next().is_none());
    found.and_then(|feature| Some((feature, image(feature)?))).ok_or_else(|| {
        let inputs = function.inputs.iter().map(|feature| function.value(feature.value));
        let inputs: Vec<String> = inputs.map(|v| format!("`{}` {}", v.name, v.ty)).collect();
        Error::Usage(format!(
            "a folder of images is for a function that takes one image [1, 3, H, W] or [1, 1, H, W], and \
             this one takes {}; give text, or a .safetensors or .npz file of inputs",
            inputs.join(", ")
        ))
    })
}

impl RowFile for Images<'_> {
    fn stem(&self) -> &str {
        &self.folder.name
    }

    fn tensors(&self) -> Vec<(&str, Dtype, &[usize])> {
        vec![(self.input, Dtype::F32, &self.shape)]
    }

    fn read(&self, _: usize) -> Result<Box<dyn Read + '_>> {
        let values = self.processor.values(self.shape[1]);
        Ok(Box::new(Stream { images: self, values, next: 0, image: Vec::new(), given: 0 }))
    }
}

/// One image after the other.
struct Stream<'a> {
    images: &'a Images<'a>,
    /// See [`Processor::values`].
    values: Vec<[f32; 256]>,
    /// The next file.
    next: usize,
    /// The image, and how much of it was given.
    image: Vec<u8>,
    given: usize,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.image.len() {
            let Some(file) = self.images.folder.files.get(self.next) else { return Ok(0) };
            self.image = self.images.image(file, &self.values).map_err(io::Error::other)?;
            (self.next, self.given) = (self.next + 1, 0);
        }
        let read = (&self.image[self.given..]).read(buffer)?;
        self.given += read;
        Ok(read)
    }
}
