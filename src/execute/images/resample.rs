//! Images in another size, bit for bit as Pillow makes them: the crates that resize round otherwise
//! (`fast_image_resize` 6.1 has coefficients of 16 bits, Pillow of 32).
//!
//! A pixel of the result is the mean of pixels about its place, weighted by a filter that is stretched
//! where the image shrinks (so that nothing is passed over), along rows first and then along columns,
//! with pixels rounded to 8 bits in between:
//!
//! ```text
//! center = (x + 1/2) · scale, scale = from / to
//! k_i ∝ filter((i − center + 1/2) / max(scale, 1)), Σ k_i = 1, stored in units of 2⁻²²
//! y = clip((Σ k_i · x_i + 2²¹) >> 22, 0, 255)
//! ```
//!
//! Source: `Resample.c` and, for the nearest pixel, `Geometry.c` of Pillow up to 12. From 13 on it takes
//! columns first where an image loses much more height than width (python-pillow/Pillow#9549).

use super::Picture;
use std::f64::consts::PI;

/// Bits behind the point of a coefficient.
const PRECISION: u32 = 32 - 8 - 2;

/// How pixels are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// No mean: the one pixel at the place.
    Nearest,
    /// sinc windowed by a sinc three times as wide.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// Keys' cubic, a = −1/2.
    Bicubic,
    /// All alike.
    Box,
    /// sinc windowed by Hamming's cosine.
    Hamming,
}

impl Filter {
    /// By Pillow's number, as processors' files have it.
    pub(super) fn numbered(number: usize) -> Option<Self> {
        use Filter::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming].get(number).copied()
    }

    /// How far it reaches from its middle, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Its value at this distance.
    fn at(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let distance = x.abs();
        match self {
            Self::Nearest => 0.0,
            // Half open, so that no pixel counts twice.
            Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => {
                // Pillow has these two in f32.
                let [a, b] = [0.54_f32, 0.46].map(f64::from);
                sinc(distance) * (a + b * (distance * PI).cos())
            }
            Self::Bicubic => {
                const A: f64 = -0.5;
                match distance {
                    d if d < 1.0 => ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0,
                    d if d < 2.0 => (((d - 5.0) * d + 8.0) * d - 4.0) * A,
                    _ => 0.0,
                }
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// The image in another size, `[height, width]`, neither of them 0.
pub(super) fn resize(image: Picture, [height, width]: [usize; 2], filter: Filter) -> Picture {
    if filter == Filter::Nearest {
        return nearest(&image, [height, width]);
    }
    let image = match image.width == width {
        true => image,
        false => along_rows(&image, &spans(image.width, width, filter)),
    };
    match image.height == height {
        true => image,
        false => along_columns(&image, &spans(image.height, height, filter)),
    }
}

/// Each pixel from the one that its middle falls on.
fn nearest(image: &Picture, [height, width]: [usize; 2]) -> Picture {
    // Summed up step by step, as Pillow does: the rounding of these sums chooses pixels.
    let places = |from: usize, to: usize| {
        let step = from as f64 / to as f64;
        let sum = std::iter::successors(Some(step * 0.5), move |at| Some(at + step));
        sum.take(to).map(|at| (at as usize).min(from - 1)).collect::<Vec<_>>()
    };
    let (rows, columns) = (places(image.height, height), places(image.width, width));
    let pixel = |row: usize, column: usize| {
        let at = (row * image.width + column) * image.channels;
        &image.bytes[at..at + image.channels]
    };
    let pixels = rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column)));
    let bytes = pixels.flat_map(|(row, column)| pixel(row, column)).copied().collect();
    Picture { width, height, channels: image.channels, bytes }
}

/// What one pixel of the result is made of: the first pixel, and a coefficient for it and each behind it.
struct Span {
    first: usize,
    coefficients: Vec<i32>,
}

fn spans(from: usize, to: usize, filter: Filter) -> Vec<Span> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let span = |place: usize| {
        let center = (place as f64 + 0.5) * scale;
        // Towards zero, as C rounds.
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let reciprocal = 1.0 / stretch;
        let weight = |i: usize| filter.at((i as f64 - center + 0.5) * reciprocal);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let share = |w: f64| if sum == 0.0 { w } else { w / sum };
        let fixed = |w: f64| {
            let scaled = share(w) * f64::from(1 << PRECISION);
            (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Span { first, coefficients: weights.into_iter().map(fixed).collect() }
    };
    (0..to).map(span).collect()
}

/// The sum, rounded to 8 bits.
fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

fn along_rows(image: &Picture, spans: &[Span]) -> Picture {
    let Picture { width, height, channels, .. } = *image;
    let mut bytes = Vec::with_capacity(spans.len() * height * channels);
    for row in image.bytes.chunks_exact(width * channels) {
        for Span { first, coefficients } in spans {
            for channel in 0..channels {
                let pixels = row[first * channels + channel..].iter().step_by(channels);
                let terms = pixels.zip(coefficients).map(|(&x, k)| i32::from(x) * k);
                bytes.push(rounded(HALF + terms.sum::<i32>()));
            }
        }
    }
    Picture { width: spans.len(), height, channels, bytes }
}

fn along_columns(image: &Picture, spans: &[Span]) -> Picture {
    let row = image.width * image.channels;
    let mut bytes = Vec::with_capacity(spans.len() * row);
    let mut sums = vec![0; row];
    for Span { first, coefficients } in spans {
        sums.fill(HALF);
        let rows = image.bytes.chunks_exact(row).skip(*first);
        for (pixels, k) in rows.zip(coefficients) {
            sums.iter_mut().zip(pixels).for_each(|(sum, &x)| *sum += i32::from(x) * k);
        }
        bytes.extend(sums.iter().map(|&sum| rounded(sum)));
    }
    Picture { width: image.width, height: spans.len(), channels: image.channels, bytes }
}
