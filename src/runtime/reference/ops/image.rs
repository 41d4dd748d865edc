//! Resizing, cropping and resampling of images: height and width are the last two axes.

use super::super::places::{array, flat, grid as taken_grid, take};
use super::super::shape::{elements, size};
use super::elementwise::convert;
use super::{Arguments, One, Tensor};
use crate::graph::DataType;
use ndarray::{ArrayD, Axis};

/// Where `count` samples of `length` elements stand, by the words of resize_bilinear; clamped to the
/// elements. One sample stands on the first element where the formula has 0 / 0.
fn grid(length: f64, count: usize, mode: &str) -> Result<Vec<f64>, String> {
    let (last, samples) = (length - 1.0, count as f64);
    let point = |i: f64| match mode {
        "STRICT_ALIGN_CORNERS" => Ok(i * last / (samples - 1.0).max(1.0)),
        "ALIGN_CORNERS" if count == 1 => Ok(last / 2.0),
        "ALIGN_CORNERS" => Ok(i * last / (samples - 1.0)),
        "DEFAULT" => Ok(i * length / samples),
        "OFFSET_CORNERS" => Ok((i + 0.5) * last.max(1.0) / samples),
        "UNALIGN_CORNERS" => Ok((i + 0.5) * length / samples - 0.5),
        _ => Err(format!("`sampling_mode` is `{mode}`")),
    };
    let clamped = |point: f64| point.min(last).max(0.0);
    (0..count).map(|i| point(i as f64).map(clamped)).collect()
}

/// Linear interpolation between neighbours along an axis.
fn interpolate(x: &ArrayD<f64>, axis: usize, points: &[f64]) -> ArrayD<f64> {
    let last = x.shape()[axis] - 1;
    let low: Vec<_> = points.iter().map(|&point| (point as usize).min(last)).collect();
    let high: Vec<_> = low.iter().map(|&low| (low + 1).min(last)).collect();
    let mut y = x.select(Axis(axis), &low);
    let above = x.select(Axis(axis), &high);
    let pairs = y.axis_iter_mut(Axis(axis)).zip(above.axis_iter(Axis(axis)));
    for ((mut y, above), (point, &low)) in pairs.zip(points.iter().zip(&low)) {
        let share = point - low as f64;
        y.zip_mut_with(&above, |y, above| *y = *y * (1.0 - share) + above * share);
    }
    y
}

/// x with other sizes along its last axes, sampled as `mode` says. An axis that keeps its size
/// keeps its elements.
fn resized(x: &Tensor, sizes: &[usize], mode: &str) -> One {
    let first = spatial(x, sizes)?;
    let mut y = match convert(x, DataType::Float32)?.as_float() {
        Some(array) => array.mapv(f64::from),
        None => return Err(format!("`x` is {}", x.ty())),
    };
    for (axis, &count) in (first..).zip(sizes) {
        if count != y.shape()[axis] {
            y = interpolate(&y, axis, &grid(y.shape()[axis] as f64, count, mode)?);
        }
    }
    convert(&Tensor::float(DataType::Float32, y.mapv(|y| y as f32)), x.dtype)
}

/// x with other sizes along its last axes: sample i is element ⌊i · length / count⌋.
fn nearest(x: &Tensor, sizes: &[usize]) -> One {
    let first = spatial(x, sizes)?;
    let mut taken: Vec<Vec<_>> = x.shape().iter().map(|&n| (0..n).collect()).collect();
    for (axis, &count) in (first..).zip(sizes) {
        let length = x.shape()[axis];
        // Sizes are at most 2³⁰ here, so the products fit.
        taken[axis] = (0..count).map(|i| i * length / count).collect();
    }
    Ok(take(x, &taken_grid(x.shape(), &taken)?))
}

/// The first of the axes that take these sizes; the result is within limits, and no source is empty.
fn spatial(x: &Tensor, sizes: &[usize]) -> Result<usize, String> {
    let first = x.shape().len().checked_sub(sizes.len());
    let first = first.ok_or_else(|| format!("`x` is {} for sizes {sizes:?}", x.ty()))?;
    if x.shape()[first..].contains(&0) {
        return Err(format!("`x` is {}, without elements", x.ty()));
    }
    elements(&[&x.shape()[..first], sizes].concat())?;
    Ok(first)
}

/// Bilinear, to `target_size_height` and `target_size_width`.
pub(in super::super) fn resize_bilinear(arguments: &Arguments<'_>) -> One {
    let sizes = [arguments.size("target_size_height")?, arguments.size("target_size_width")?];
    resized(arguments.tensor("x")?, &sizes, arguments.text("sampling_mode")?)
}

/// The nearest element, to `target_size_height` and `target_size_width`.
pub(in super::super) fn resize_nearest_neighbor(arguments: &Arguments<'_>) -> One {
    let sizes = [arguments.size("target_size_height")?, arguments.size("target_size_width")?];
    nearest(arguments.tensor("x")?, &sizes)
}

/// The last `resized_dims` dimensions to the last sizes of `shape`, where 0 keeps one. The nearest
/// element is [`nearest`]'s in every sampling mode; linear results of integers lose their fraction.
pub(in super::super) fn resize(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let (shape, count) = (arguments.ints("shape", 0)?, arguments.size("resized_dims")?);
    let places = shape.len().checked_sub(count).zip(x.shape().len().checked_sub(count));
    let (from, first) =
        places.ok_or_else(|| format!("`resized_dims` is {count} for {}", x.ty()))?;
    let sizes = shape[from..].iter().zip(&x.shape()[first..]);
    let sizes = sizes.map(|(&n, &kept)| if n == 0 { Ok(kept) } else { size(n) });
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    match arguments.text("interpolation_mode")? {
        "NEAREST_NEIGHBOR" => nearest(x, &sizes),
        "LINEAR" => resized(x, &sizes, arguments.text("sampling_mode")?),
        mode => Err(format!("`interpolation_mode` is `{mode}`")),
    }
}

/// Bilinear, by factors; the spacing follows from the sizes, not from the factors. Corners are
/// aligned, or else pixels by their centres, or with neither by their first corner.
pub(in super::super) fn upsample_bilinear(arguments: &Arguments<'_>) -> One {
    let align = arguments.flag("align_corners")?;
    let centres = arguments.flags("half_pixel_centers")?.first().copied().unwrap_or(!align);
    let mode = match (align, centres) {
        (true, _) => "STRICT_ALIGN_CORNERS",
        (false, true) => "UNALIGN_CORNERS",
        (false, false) => "DEFAULT",
    };
    resized(arguments.tensor("x")?, &scaled(arguments)?, mode)
}

/// The nearest element, by factors.
pub(in super::super) fn upsample_nearest_neighbor(arguments: &Arguments<'_>) -> One {
    nearest(arguments.tensor("x")?, &scaled(arguments)?)
}

/// Height and width times their factors, rounded down; in f32, as coremltools computes it.
fn scaled(arguments: &Arguments<'_>) -> Result<[usize; 2], String> {
    let x = arguments.tensor("x")?;
    let &[.., height, width] = x.shape() else { return Err(format!("`x` is {}", x.ty())) };
    let scale = |name, size: usize| {
        let scaled = (arguments.number(name)? as f32 * size as f32).floor();
        // A number too large saturates, and is refused as a shape.
        if scaled >= 1.0 { Ok(scaled as usize) } else { Err(format!("`{name}` leaves nothing")) }
    };
    Ok([scale("scale_factor_height", height)?, scale("scale_factor_width", width)?])
}

/// Rows and columns cut off at each end.
pub(in super::super) fn crop(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    if rank < 2 {
        return Err(format!("`x` is {}, no image", x.ty()));
    }
    let mut taken: Vec<Vec<_>> = x.shape().iter().map(|&size| (0..size).collect()).collect();
    for (name, axis) in [("crop_height", rank - 2), ("crop_width", rank - 1)] {
        let cut = arguments.sizes(name, 2, 0)?;
        let end = x.shape()[axis].checked_sub(cut[1]).filter(|&end| end >= cut[0]);
        let end = end.ok_or_else(|| format!("`{name}` is {cut:?} for {}", x.ty()))?;
        taken[axis] = (cut[0]..end).collect();
    }
    Ok(take(x, &taken_grid(x.shape(), &taken)?))
}

/// Boxes of images, resized: each box is an image of its own, sampled bilinearly at the grid of the
/// mode over its length, `end − start + 1`, from its start. A sample outside the image is
/// `pad_value`, as in TensorFlow's crop_and_resize.
///
/// `roi` `[N, 1, 4, 1, 1]`: every box of every image, `[N, B, C, h, w]`; with a fifth number in front
/// the image that a box is cut from, `[N, 1, C, h, w]`. `boxes` `[N, 4]` with `box_indices`, by
/// default 0, 1, …: `[N, C, h, w]`. Normalized coordinates are shares of H − 1 and W − 1; all are
/// multiplied by `spatial_scale`.
pub(in super::super) fn crop_resize(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let &[images, channels, height, width] = x.shape() else {
        return Err(format!("`x` has shape {:?}, not [B, C, H, W]", x.shape()));
    };
    let size = [arguments.size("target_height")?, arguments.size("target_width")?];
    let mode = arguments.text("sampling_mode")?;
    let padding = arguments.number("pad_value")?;
    let (boxes, wide) = boxes(arguments, images)?;
    let mut shape = vec![boxes.len() / wide.unwrap_or(1).max(1)];
    shape.extend(wide);
    shape.extend([channels, size[0], size[1]]);
    let mut y = Vec::with_capacity(elements(&shape)?);
    let pixels = flat(x);
    for (image, corners) in boxes {
        let [top, left, bottom, right] = corners_of(arguments, corners, [height, width])?;
        let rows = along(top, bottom, size[0], mode)?;
        let columns = along(left, right, size[1], mode)?;
        for channel in 0..channels {
            let start = (image * channels + channel) * height * width;
            let plane = Plane { pixels: &pixels[start..start + height * width], height, width };
            for &row in &rows {
                for &column in &columns {
                    let inside = plane.contains(row, column);
                    y.push(if inside { plane.bilinear(row, column, 0.0) } else { padding } as f32);
                }
            }
        }
    }
    Ok(Tensor::float(arguments.tensor("x")?.dtype, array(&shape, y)?))
}

/// Boxes with their images, in the order of the result, and the size of the result's second
/// dimension where it has one.
type Boxes = (Vec<(usize, [f64; 4])>, Option<usize>);

fn boxes(arguments: &Arguments<'_>, images: usize) -> Result<Boxes, String> {
    let name = if arguments.optional("roi").is_some() { "roi" } else { "boxes" };
    let tensor = convert(arguments.tensor(name)?, DataType::Float32)?;
    let numbers: Vec<f64> = tensor.as_float().into_iter().flatten().map(|&x| x.into()).collect();
    let image = |n: i64| {
        let image = usize::try_from(n).ok().filter(|&image| image < images);
        image.ok_or_else(|| format!("a box is cut from image {n} of {images}"))
    };
    match (name, tensor.shape()) {
        ("roi", [_, 1, 4, 1, 1]) => {
            let all =
                numbers.chunks_exact(4).flat_map(|b| (0..images).map(move |i| (i, corners(b))));
            Ok((all.collect(), Some(images)))
        }
        ("roi", [_, 1, 5, 1, 1]) => {
            let own = numbers.chunks_exact(5).map(|b| Ok((image(b[0] as i64)?, corners(&b[1..]))));
            Ok((own.collect::<Result<_, String>>()?, Some(1)))
        }
        ("boxes", [count, 4]) => {
            let indices = arguments.optional_ints("box_indices")?;
            let indices = indices.unwrap_or_else(|| (0..*count as i64).collect());
            if indices.len() != *count {
                return Err(format!("`box_indices` are {} for {count} boxes", indices.len()));
            }
            let own = numbers.chunks_exact(4).zip(indices);
            let own = own.map(|(b, index)| Ok((image(index)?, corners(b))));
            Ok((own.collect::<Result<_, String>>()?, None))
        }
        (name, shape) => Err(format!("`{name}` has shape {shape:?}")),
    }
}

fn corners(numbers: &[f64]) -> [f64; 4] {
    [numbers[0], numbers[1], numbers[2], numbers[3]]
}

/// Top, left, bottom and right in pixels.
fn corners_of(
    arguments: &Arguments<'_>,
    given: [f64; 4],
    [height, width]: [usize; 2],
) -> Result<[f64; 4], String> {
    let [a, b, c, d] = given;
    let [top, left, bottom, right] = match arguments.text("box_coordinate_mode")? {
        "CORNERS_HEIGHT_FIRST" => [a, b, c, d],
        "CORNERS_WIDTH_FIRST" => [b, a, d, c],
        "CENTER_SIZE_HEIGHT_FIRST" => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
        "CENTER_SIZE_WIDTH_FIRST" => [b - d / 2.0, a - c / 2.0, b + d / 2.0, a + c / 2.0],
        mode => return Err(format!("`box_coordinate_mode` is `{mode}`")),
    };
    let scale = arguments.number("spatial_scale")?;
    let [y, x] = match arguments.flag("normalized_coordinates")? {
        true => [height, width].map(|size| scale * (size as f64 - 1.0)),
        false => [scale; 2],
    };
    Ok([top * y, left * x, bottom * y, right * x])
}

/// Samples of a box along one axis.
fn along(start: f64, end: f64, count: usize, mode: &str) -> Result<Vec<f64>, String> {
    Ok(grid(end - start + 1.0, count, mode)?.iter().map(|point| start + point).collect())
}

/// One channel of one image.
struct Plane<'a> {
    pixels: &'a [f32],
    height: usize,
    width: usize,
}

impl Plane<'_> {
    fn contains(&self, row: f64, column: f64) -> bool {
        let inside = |place: f64, size: usize| place >= 0.0 && place <= size as f64 - 1.0;
        inside(row, self.height) && inside(column, self.width)
    }

    /// The pixel at a whole place; `padding` outside.
    fn at(&self, row: f64, column: f64, padding: f64) -> f64 {
        match self.contains(row, column) {
            true => self.pixels[row as usize * self.width + column as usize].into(),
            false => padding,
        }
    }

    /// The four pixels around a place, each by its nearness.
    fn bilinear(&self, row: f64, column: f64, padding: f64) -> f64 {
        let (top, left) = (row.floor(), column.floor());
        let (down, across) = (row - top, column - left);
        let line = |row: f64| {
            let (left_pixel, right) =
                (self.at(row, left, padding), self.at(row, left + 1.0, padding));
            if across == 0.0 { left_pixel } else { left_pixel * (1.0 - across) + right * across }
        };
        if down == 0.0 { line(top) } else { line(top) * (1.0 - down) + line(top + 1.0) * down }
    }
}

/// The image at `coordinates` `[B, h, w, 2]`, each (x, y): torch's grid_sample, with a padding value.
///
/// Shares of [−1, 1] or [0, 1] are of the distance between the centres of the corner pixels, or
/// without `align_corners` between the image's edges. `border` is the nearest pixel, `reflection`
/// mirrors at the centres of the border pixels, `symmetric` at the edges. `nearest` rounds half to
/// even.
pub(in super::super) fn resample(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let points = convert(arguments.tensor("coordinates")?, DataType::Float32)?;
    let (&[images, _, height, width], &[batch, rows, columns, 2]) = (x.shape(), points.shape())
    else {
        return Err(format!("`coordinates` is {} for {}", points.ty(), x.ty()));
    };
    if batch != images {
        return Err(format!("`coordinates` is {} for {}", points.ty(), x.ty()));
    }
    let mode = arguments.text("coordinates_mode")?;
    let align = arguments.flag("align_corners")?;
    let pixel = |share: f64, size: usize| {
        let (size, last) = (size as f64, size as f64 - 1.0);
        match (mode, align) {
            ("unnormalized", _) => Ok(share),
            ("normalized_zero_to_one", true) => Ok(share * last),
            ("normalized_zero_to_one", false) => Ok(share * size - 0.5),
            ("normalized_minus_one_to_one", true) => Ok((share + 1.0) / 2.0 * last),
            ("normalized_minus_one_to_one", false) => Ok(((share + 1.0) * size - 1.0) / 2.0),
            _ => Err(format!("`coordinates_mode` is `{mode}`")),
        }
    };
    let numbers: Vec<f64> = points.as_float().into_iter().flatten().map(|&p| p.into()).collect();
    let places = numbers.chunks_exact(2).map(|p| Ok((pixel(p[1], height)?, pixel(p[0], width)?)));
    sample(arguments, [rows, columns], &places.collect::<Result<Vec<_>, String>>()?)
}

/// The image under a linear map of its result, `x' = a0 x + a1 y + a2`, `y' = b0 x + b1 y + b2`, in
/// coordinates where −1 and 1 are the centres of the corner pixels: torch's affine_grid and
/// grid_sample with `align_corners`. One matrix, or one an image. A result of one pixel lies at 0.
pub(in super::super) fn affine(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let matrices = arguments.float("transform_matrix")?;
    let (&[images, _, height, width], &[count, 6]) = (x.shape(), matrices.shape()) else {
        return Err(format!("`transform_matrix` has shape {:?} for {}", matrices.shape(), x.ty()));
    };
    if !arguments.flag("align_corners")? || (count != 1 && count != images) {
        return Err(format!("{count} matrices for {images} images, corners aligned"));
    }
    let [rows, columns] = [arguments.size("output_height")?, arguments.size("output_width")?];
    elements(&[images, rows, columns])?;
    let share =
        |i: usize, n: usize| if n > 1 { 2.0 * i as f64 / (n - 1) as f64 - 1.0 } else { 0.0 };
    let matrices: Vec<f64> = matrices.iter().map(|&m| m.into()).collect();
    let mut places = Vec::with_capacity(images * rows * columns);
    for image in 0..images {
        let m = &matrices[if count == 1 { 0 } else { image * 6 }..][..6];
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (share(column, columns), share(row, rows));
                let (x, y) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
                let pixel = |share: f64, size: usize| (share + 1.0) / 2.0 * (size as f64 - 1.0);
                places.push((pixel(y, height), pixel(x, width)));
            }
        }
    }
    sample(arguments, [rows, columns], &places)
}

/// Each image at its places (row, column), `rows · columns` of them, in every channel.
fn sample(arguments: &Arguments<'_>, [rows, columns]: [usize; 2], places: &[(f64, f64)]) -> One {
    let x = arguments.float("x")?;
    let &[images, channels, height, width] = x.shape() else {
        return Err("`x` is no image".into());
    };
    let padding = arguments.number("padding_value")?;
    let padding_mode = arguments.text("padding_mode")?;
    let nearest = match arguments.text("sampling_mode")? {
        "nearest" => true,
        "bilinear" => false,
        mode => return Err(format!("`sampling_mode` is `{mode}`")),
    };
    let padded = |place: f64, size: usize| {
        let last = size as f64 - 1.0;
        match padding_mode {
            "constant" => Ok(place),
            "border" => Ok(place.clamp(0.0, last.max(0.0))),
            "reflection" => Ok(mirrored(place, 0.0, last)),
            "symmetric" => Ok(mirrored(place, -0.5, last + 0.5).clamp(0.0, last.max(0.0))),
            mode => Err(format!("`padding_mode` is `{mode}`")),
        }
    };
    let shape = [images, channels, rows, columns];
    let mut y = Vec::with_capacity(elements(&shape)?);
    let pixels = flat(x);
    let padded =
        places.iter().map(|&(row, column)| Ok((padded(row, height)?, padded(column, width)?)));
    let places = padded.collect::<Result<Vec<_>, String>>()?;
    let area = height * width;
    for image in 0..images {
        let places = &places[image * rows * columns..(image + 1) * rows * columns];
        for channel in 0..channels {
            let start = (image * channels + channel) * area;
            let plane = Plane { pixels: &pixels[start..start + area], height, width };
            y.extend(places.iter().map(|&(row, column)| match nearest {
                true => plane.at(row.round_ties_even(), column.round_ties_even(), padding) as f32,
                false => plane.bilinear(row, column, padding) as f32,
            }));
        }
    }
    Ok(Tensor::float(arguments.tensor("x")?.dtype, array(&shape, y)?))
}

/// A place brought between `low` and `high` by mirrors at both.
fn mirrored(place: f64, low: f64, high: f64) -> f64 {
    let span = high - low;
    if span <= 0.0 {
        return 0.0;
    }
    let turn = (place - low).abs() % (2.0 * span);
    low + if turn > span { 2.0 * span - turn } else { turn }
}
