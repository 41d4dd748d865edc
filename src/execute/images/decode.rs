//! An image's file → its pixels.

use super::Picture;
use crate::{Error, Result};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::io::{self, Cursor};
use std::path::Path;

/// The most pixels of an image, before and after it is resized: 128 Mi, at three bytes each.
pub(super) const MOST_PIXELS: u64 = 1 << 27;

/// The largest file.
const MOST_BYTES: u64 = 1 << 28;

/// The image in `path`, turned as its EXIF orientation says, with one channel (luma) or three (red,
/// green, blue); what it says of its transparency is left out, as Pillow's `convert("RGB")` does.
///
/// # Errors
/// [`Error::Input`] for a file that is no sound PNG or JPEG of 8 bits a channel, and for one that is
/// larger than any that is meant for a model, before memory is taken for it; [`Error::Io`].
pub(super) fn decode(path: &Path, channels: usize) -> Result<Picture> {
    let place = path.display().to_string();
    let wrong = |found: String, remedy: &str| Error::input(&place, found, remedy);
    let failed = |why: io::Error| Error::io("read", &place, why);
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > MOST_BYTES {
        return Err(wrong(
            format!("it has {len} bytes"),
            &format!("give {MOST_BYTES} at the most"),
        ));
    }
    let file = std::fs::read(path).map_err(failed)?;
    let broken = |why: ImageError| {
        wrong(format!("it cannot be decoded: {why}"), "give a whole PNG or JPEG, or take it away")
    };
    let mut reader = ImageReader::new(Cursor::new(&file)).with_guessed_format().map_err(failed)?;
    let format = reader.format().filter(|f| [ImageFormat::Png, ImageFormat::Jpeg].contains(f));
    let format = format
        .ok_or_else(|| wrong("it is neither PNG nor JPEG".into(), "convert it, or take it away"))?;
    if format == ImageFormat::Jpeg && is_cut_off(&file) {
        return Err(wrong(
            "its data end early".into(),
            "give a whole PNG or JPEG, or take it away",
        ));
    }
    // Dimensions are refused below, with their reason; this is what decoders take beside the pixels.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(4 * MOST_PIXELS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        let found = format!("it has {width} × {height} pixels");
        return Err(wrong(found, &format!("give images of {MOST_PIXELS} pixels at the most")));
    }
    use ColorType::{L8, La8, Rgb8, Rgba8};
    if ![L8, La8, Rgb8, Rgba8].contains(&decoder.color_type()) {
        let found = format!("its pixels are {:?}", decoder.original_color_type());
        return Err(wrong(found, "save it with 8 bits a channel"));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let bytes = match (channels, image) {
        (1, DynamicImage::ImageLuma8(gray)) => gray.into_raw(),
        (1, image) => image.into_rgb8().as_raw().as_chunks().0.iter().map(luma).collect(),
        (_, image) => image.into_rgb8().into_raw(),
    };
    Ok(Picture { width, height, channels, bytes })
}

/// ITU-R BT.601's luma, as Pillow's `convert("L")` rounds it.
fn luma(&[red, green, blue]: &[u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}

/// Whether no end of image follows the last scan: the decoder would fill up what is missing in gray.
fn is_cut_off(jpeg: &[u8]) -> bool {
    let last = |marker| jpeg.windows(2).rposition(|pair| pair == [0xFF, marker]);
    last(0xD9) < last(0xDA)
}
