//! Resizing and cropping: the last two dimensions are height and width.

use super::arguments::{Arguments, Inferred, listed, one, require};
use super::dims::{fixed, map};
use super::domain::{
    BOOL, BOX_INDICES, BOXES, COORDINATES, COUNT, FACTOR, FLOAT, FLOAT32, INT, NUMBER, TARGET_SIZES,
};
use super::{Default, Param, Row};
use crate::graph::{Dim, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", FLOAT);
const ALIGN: Param = Param::constant("align_corners", BOOL);
const SAMPLING: Param = Param::word("sampling_mode").or(Default::Text("DEFAULT"));
const PADDING_MODE: Param = Param::word("padding_mode");
const PADDING: Param = Param::constant("padding_value", FLOAT);
const COORDINATES_MODE: Param = Param::word("coordinates_mode");

const SAMPLING_MODES: &[&str] =
    &["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "UNALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS"];
const BOX_MODES: &[&str] = &[
    "CORNERS_HEIGHT_FIRST",
    "CORNERS_WIDTH_FIRST",
    "CENTER_SIZE_HEIGHT_FIRST",
    "CENTER_SIZE_WIDTH_FIRST",
];

/// A size that the result takes, 1 by default.
const fn target(name: &'static str) -> Param {
    Param::int(name).or(Default::Int(1))
}

/// INT32 or FP32, both factors of one type.
const fn factor(name: &'static str) -> Param {
    Param::constant(name, FACTOR).or(Default::Int(1))
}

pub(super) static ROWS: &[Row] = &[
    // Bilinear, with zeros around; the matrix maps result to source, [a0, a1, a2, b0, b1, b2].
    Row::new(
        "affine",
        &[
            X,
            Param::tensor("transform_matrix", FLOAT),
            Param::int("output_height"),
            Param::int("output_width"),
            Param::word("sampling_mode"),
            PADDING_MODE,
            PADDING,
            COORDINATES_MODE,
            ALIGN,
        ],
        affine,
    ),
    // [before, after] of either dimension.
    Row::new(
        "crop",
        &[X, Param::constant("crop_height", INT), Param::constant("crop_width", INT)],
        crop,
    ),
    // Before iOS 17: roi [N, 1, 4 or 5, 1, 1] → [N, B, C, h, w]. From iOS 17: boxes [N, 4] and the
    // image that each is cut from → [N, C, h, w]. `pad_value` came with iOS 16.
    Row::new(
        "crop_resize",
        &[
            X,
            Param::tensor("roi", FLOAT).or(Default::Absent).until(Target::Ios17),
            Param::tensor("boxes", BOXES).or(Default::Absent).since(Target::Ios17),
            Param::tensor("box_indices", BOX_INDICES).or(Default::Absent).since(Target::Ios17),
            target("target_height"),
            target("target_width"),
            Param::flag("normalized_coordinates", false),
            Param::constant("spatial_scale", FLOAT32).or(Default::Float(1.0)),
            Param::word("box_coordinate_mode").or(Default::Text("CORNERS_HEIGHT_FIRST")),
            SAMPLING,
            Param::constant("pad_value", FLOAT).or(Default::Float(0.0)).since(Target::Ios16),
        ],
        crop_resize,
    ),
    Row::new(
        "resample",
        &[
            X,
            Param::tensor("coordinates", COORDINATES),
            Param::word("sampling_mode"),
            PADDING_MODE,
            PADDING,
            COORDINATES_MODE,
            ALIGN,
        ],
        resample,
    ),
    // The last `resized_dims` dimensions take the last sizes of `shape`; 0 keeps one.
    Row::new(
        "resize",
        &[
            Param::tensor("x", NUMBER),
            Param::tensor("shape", TARGET_SIZES),
            Param::constant("resized_dims", COUNT),
            Param::word("interpolation_mode").or(Default::Text("LINEAR")),
            SAMPLING,
        ],
        resize,
    )
    .since(Target::Ios17),
    Row::new(
        "resize_bilinear",
        &[X, target("target_size_height"), target("target_size_width"), SAMPLING],
        resize_bilinear,
    ),
    Row::new(
        "resize_nearest_neighbor",
        &[X, Param::int("target_size_height"), Param::int("target_size_width")],
        to_size,
    ),
    // `half_pixel_centers` came with iOS 16; left out, it is what `align_corners` is not.
    Row::new(
        "upsample_bilinear",
        &[
            X,
            factor("scale_factor_height"),
            factor("scale_factor_width"),
            ALIGN.or(Default::Bool(true)),
            Param::constant("half_pixel_centers", BOOL).or(Default::Absent).since(Target::Ios16),
        ],
        upsample,
    ),
    Row::new(
        "upsample_nearest_neighbor",
        &[X, factor("scale_factor_height"), factor("scale_factor_width")],
        upsample,
    ),
];

/// `x` with its height and width, the last two dimensions, replaced.
fn resized(x: &TensorType, height: Dim, width: Dim) -> Inferred {
    let mut dims = x.dims[..x.rank() - 2].to_vec();
    dims.extend([height, width]);
    one(x.dtype, dims)
}

fn image<'a>(args: &Arguments<'a>) -> Result<&'a TensorType, String> {
    let x = args.tensor("x")?;
    require(x.rank() >= 3, || format!("`x` is {x}, not of rank 3 or more"))?;
    Ok(x)
}

fn size(args: &Arguments<'_>, name: &str) -> Result<Dim, String> {
    args.size(name, 1).map(Dim::Fixed)
}

fn to_size(args: &Arguments<'_>) -> Inferred {
    let (height, width) = ("target_size_height", "target_size_width");
    resized(image(args)?, size(args, height)?, size(args, width)?)
}

fn resize_bilinear(args: &Arguments<'_>) -> Inferred {
    args.word("sampling_mode", SAMPLING_MODES)?;
    to_size(args)
}

/// Sizes times factors, rounded down.
fn upsample(args: &Arguments<'_>) -> Inferred {
    let x = image(args)?;
    let scaled = |name: &str, dim: Dim| {
        let scaled = match args.ints(name, 1) {
            Ok(Some(factor)) if factor.len() == 1 => {
                map(dim, |size| size.checked_mul(factor[0].into()))
            }
            _ => {
                let factor = args.float(name)?;
                // In f32, as coremltools computes it.
                map(dim, |size| Some((factor * size as f32).floor() as i128))
            }
        };
        let positive = scaled.filter(|&dim| dim != Dim::Fixed(0));
        positive.ok_or_else(|| format!("`{name}` does not fit `x`, which is {x}"))
    };
    let (height, width) = (x.dims[x.rank() - 2], x.dims[x.rank() - 1]);
    resized(x, scaled("scale_factor_height", height)?, scaled("scale_factor_width", width)?)
}

fn crop(args: &Arguments<'_>) -> Inferred {
    let x = image(args)?;
    let cropped = |name: &str, dim: Dim| {
        let edges = args.vector(name, 2, 0)?;
        let sum = i128::from(edges[0]) + i128::from(edges[1]);
        let left = map(dim, |size| Some(size - sum).filter(|&left| left > 0));
        left.ok_or_else(|| format!("`{name}` is {}, and `x` is {x}", listed(&edges)))
    };
    let (height, width) = (x.dims[x.rank() - 2], x.dims[x.rank() - 1]);
    resized(x, cropped("crop_height", height)?, cropped("crop_width", width)?)
}

fn crop_resize(args: &Arguments<'_>) -> Inferred {
    let x = args.of_rank("x", 4)?;
    args.word("box_coordinate_mode", BOX_MODES)?;
    args.word("sampling_mode", SAMPLING_MODES)?;
    let result = [size(args, "target_height")?, size(args, "target_width")?];
    match (args.optional("roi"), args.optional("boxes")) {
        (Some(roi), None) => {
            args.of_rank("roi", 5)?;
            one(x.dtype, [&[roi.dims[0], x.dims[0], x.dims[1]][..], &result].concat())
        }
        (None, Some(boxes)) => {
            let [count, Dim::Fixed(4)] = boxes.dims[..] else {
                return Err(format!("`boxes` is {boxes}, not [N, 4]"));
            };
            let normalized = args.flag("normalized_coordinates")?;
            let float = super::domain::stage_of(FLOAT, args.target);
            let floats = float.is_some_and(|float| float.types.contains(boxes.dtype));
            require(!normalized || floats, || {
                format!("`boxes` is {boxes}, and `normalized_coordinates` needs fp16 or fp32")
            })?;
            image_of_each_box(args, x, count)?;
            one(x.dtype, [&[count, x.dims[1]][..], &result].concat())
        }
        _ => Err("exactly one of `roi` and `boxes` is needed".to_owned()),
    }
}

/// Without indices, box i is cut from image i.
fn image_of_each_box(args: &Arguments<'_>, x: &TensorType, count: Dim) -> Result<(), String> {
    let images = x.dims[0].size();
    let Some(indices) = args.optional("box_indices") else {
        let fits = images.zip(count.size()).is_none_or(|(images, count)| count <= images);
        return require(fits, || format!("`boxes` are {count}, and `x` is {x}"));
    };
    let fits = matches!(indices.dims[..], [n] if n.may_equal(count));
    require(fits, || format!("`box_indices` is {indices} for {count} boxes"))?;
    let known = args.ints("box_indices", 0)?.unwrap_or_default();
    let inside = |&index: &i64| images.is_none_or(|n| usize::try_from(index).is_ok_and(|i| i < n));
    require(known.iter().all(inside), || format!("`box_indices` pass the end of `x`, {x}"))
}

fn affine(args: &Arguments<'_>) -> Inferred {
    let (x, matrix) = (args.of_rank("x", 4)?, args.of_rank("transform_matrix", 2)?);
    require(matrix.dims[1].may_equal(Dim::Fixed(6)), || {
        format!("`transform_matrix` is {matrix}, not [n, 6]")
    })?;
    args.word("sampling_mode", &["bilinear"])?;
    args.word("padding_mode", &["constant"])?;
    args.word("coordinates_mode", &["normalized_minus_one_to_one"])?;
    args.flag("align_corners")?;
    let padding = args.float("padding_value")?;
    require(padding == 0.0, || format!("`padding_value` is {padding}, not 0"))?;
    resized(x, size(args, "output_height")?, size(args, "output_width")?)
}

fn resample(args: &Arguments<'_>) -> Inferred {
    let (x, places) = (args.of_rank("x", 4)?, args.of_rank("coordinates", 4)?);
    let fits = x.dims[0].may_equal(places.dims[0]) && places.dims[3].may_equal(Dim::Fixed(2));
    require(fits, || format!("`coordinates` is {places} beside `x`, which is {x}"))?;
    args.word("sampling_mode", &["nearest", "bilinear"])?;
    args.word("padding_mode", &["constant", "border", "reflection", "symmetric"])?;
    let modes = ["unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"];
    args.word("coordinates_mode", &modes)?;
    args.flag("align_corners")?;
    resized(x, places.dims[1], places.dims[2])
}

fn resize(args: &Arguments<'_>) -> Inferred {
    let (x, shape) = (args.tensor("x")?, args.of_rank("shape", 1)?);
    args.word("interpolation_mode", &["LINEAR", "NEAREST_NEIGHBOR"])?;
    args.word("sampling_mode", SAMPLING_MODES)?;
    let resized = args.size("resized_dims", 1)?;
    let given = shape.dims[0].size().filter(|&given| resized <= given && given <= x.rank());
    let given =
        given.ok_or_else(|| format!("`resized_dims` is {resized}, `shape` {shape} and `x` {x}"))?;
    let sizes = args.ints("shape", 0)?;
    let mut dims = x.dims.clone();
    for (place, dim) in dims[x.rank() - resized..].iter_mut().enumerate() {
        *dim = match sizes.as_ref().map(|sizes| sizes[given - resized + place]) {
            None => Dim::Flexible,
            Some(0) => *dim,
            Some(size) => fixed(size.into()).ok_or_else(|| format!("`shape` holds {size}"))?,
        };
    }
    one(x.dtype, dims)
}
