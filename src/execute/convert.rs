//! Stored numbers → the type and shape that an input declares.

use crate::formats::safetensors::Dtype;
use crate::graph::{ColorSpace, DataType, Dim, Feature, Function, Sizes, TensorType};
use crate::runtime::Tensor;
use half::{bf16, f16};
use ndarray::{ArrayD, Dimension, IxDyn};

/// A tensor of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: &'a [usize],
    /// Little-endian elements, as many as the shape has: the file's header was checked.
    pub(super) bytes: &'a [u8],
}

/// Elements of one of the kinds that programs compute with.
enum Elements {
    Float(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

/// The stored tensor as what `feature` declares.
///
/// Numbers are rounded to FP16 where the input is FP16, half to even; integers must fit the declared
/// type; integers may stand for floating-point numbers, but not the other way round. An image
/// `[1, C, H, W]` may also be stored as `[C, H, W]`, `[H, W, C]`, or (C = 1) `[H, W]`; its channels
/// are in the order that the package declares.
///
/// # Errors
/// A sentence on what does not fit.
pub(super) fn convert(
    stored: Stored<'_>,
    function: &Function,
    feature: &Feature,
) -> Result<Tensor, String> {
    let (ty, shape, channels_last) = check_shape(function, feature, stored.shape)?;
    let elements = elements(stored).ok_or_else(|| format!("cannot be {:?}", stored.dtype))?;
    let tensor = typed(elements, ty.dtype, &shape)?;
    Ok(if channels_last { channels_first(tensor) } else { tensor })
}

/// The type of `feature`, the shape in which elements of this shape in a file are one, and whether channels
/// come last in it.
///
/// # Errors
/// As [`convert`].
pub(super) fn check_shape<'f>(
    function: &'f Function,
    feature: &Feature,
    stored: &[usize],
) -> Result<(&'f TensorType, Vec<usize>, bool), String> {
    let value = function.value(feature.value);
    let ty = value.ty.tensor().ok_or_else(|| format!("is {}, no tensor", value.ty))?;
    let shaped = |shape: &[usize]| fits(ty, &feature.sizes, shape);
    let image = || feature.image.and_then(|_| image_shape(stored, &shaped));
    let found = shaped(stored).then(|| (stored.to_vec(), false)).or_else(image);
    let (shape, channels_last) = found.ok_or_else(|| misfit(ty, &feature.sizes, stored))?;
    Ok((ty, shape, channels_last))
}

/// That an image of 8-bit channels holds what such an image can: whole numbers from 0 to 255. A device
/// takes nothing else, and a model that was trained on a share of them scales them itself.
///
/// # Errors
/// A sentence on the first other number.
pub(super) fn check_pixels(tensor: &Tensor, image: Option<ColorSpace>) -> Result<(), String> {
    let eight_bits =
        matches!(image, Some(ColorSpace::Grayscale | ColorSpace::Rgb | ColorSpace::Bgr));
    let Some(array) = tensor.as_float().filter(|_| eight_bits) else { return Ok(()) };
    let is_pixel = |x: f32| (0.0..=255.0).contains(&x) && x.fract() == 0.0;
    let Some((place, x)) = array.indexed_iter().find(|(_, x)| !is_pixel(**x)) else {
        return Ok(());
    };
    let place = match place.slice() {
        [_, channel, row, column] => format!("channel {channel}, row {row}, column {column}"),
        place => format!("{place:?}"),
    };
    Err(format!("holds {x} at {place}; the pixels of an image are whole numbers from 0 to 255"))
}

/// The shape in which an image's elements lie in the file, with a batch of one before it, and whether
/// its channels come last.
fn image_shape(shape: &[usize], shaped: &dyn Fn(&[usize]) -> bool) -> Option<(Vec<usize>, bool)> {
    match *shape {
        [h, w] => shaped(&[1, 1, h, w]).then(|| (vec![1, 1, h, w], false)),
        [a, b, c] if shaped(&[1, a, b, c]) => Some((vec![1, a, b, c], false)),
        [h, w, c] | [1, h, w, c] => shaped(&[1, c, h, w]).then(|| (vec![1, h, w, c], true)),
        _ => None,
    }
}

fn channels_first(mut tensor: Tensor) -> Tensor {
    use crate::runtime::Data;
    fn moved<T: Clone>(array: &ArrayD<T>) -> ArrayD<T> {
        let view = array.view().permuted_axes(IxDyn(&[0, 3, 1, 2]));
        view.as_standard_layout().into_owned()
    }
    match &mut tensor.data {
        Data::Float(array) => *array = moved(array),
        Data::Int(array) => *array = moved(array),
        Data::Bool(array) => *array = moved(array),
        Data::Label(_) | Data::Scores(_) => {}
    }
    tensor
}

/// Whether an input of this type and these sizes takes the shape.
pub(super) fn fits(ty: &TensorType, sizes: &Sizes, shape: &[usize]) -> bool {
    let rank_fits = ty.rank() == shape.len();
    let dims_fit = ty.dims.iter().zip(shape).all(|(dim, &size)| dim.may_equal(Dim::Fixed(size)));
    let sizes_fit = match sizes {
        Sizes::Fixed => true,
        Sizes::Ranges(ranges) => {
            ranges.iter().zip(shape).all(|(range, &size)| (range.low..=range.high).contains(&size))
        }
        Sizes::Enumerated(shapes) => shapes.iter().any(|known| known == shape),
    };
    rank_fits && dims_fit && sizes_fit
}

fn misfit(ty: &TensorType, sizes: &Sizes, shape: &[usize]) -> String {
    let takes = match sizes {
        Sizes::Fixed => ty.to_string(),
        Sizes::Ranges(ranges) => {
            let range = |r: &crate::graph::SizeRange| match r.low == r.high {
                true => r.low.to_string(),
                false => format!("{}..{}", r.low, r.high),
            };
            let ranges: Vec<_> = ranges.iter().map(range).collect();
            format!("{}[{}]", ty.dtype, ranges.join(", "))
        }
        Sizes::Enumerated(shapes) => format!("{} of {shapes:?}", ty.dtype),
    };
    format!("is {shape:?} in the file, and the function takes {takes}")
}

fn elements(Stored { dtype, bytes, .. }: Stored<'_>) -> Option<Elements> {
    fn each<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect()
    }
    use Elements::{Bool, Float, Int};
    Some(match dtype {
        Dtype::F64 => Float(each(bytes, f64::from_le_bytes)),
        Dtype::F32 => Float(each(bytes, |b| f32::from_le_bytes(b).into())),
        Dtype::F16 => Float(each(bytes, |b| f16::from_le_bytes(b).into())),
        Dtype::BF16 => Float(each(bytes, |b| bf16::from_le_bytes(b).into())),
        Dtype::I64 => Int(each(bytes, i64::from_le_bytes)),
        Dtype::I32 => Int(each(bytes, |b| i32::from_le_bytes(b).into())),
        Dtype::I16 => Int(each(bytes, |b| i16::from_le_bytes(b).into())),
        Dtype::I8 => Int(each(bytes, |b| i8::from_le_bytes(b).into())),
        Dtype::U32 => Int(each(bytes, |b| u32::from_le_bytes(b).into())),
        Dtype::U16 => Int(each(bytes, |b| u16::from_le_bytes(b).into())),
        Dtype::U8 => Int(each(bytes, |[b]| b.into())),
        Dtype::BOOL => Bool(each(bytes, |[b]| b != 0)),
        _ => return None,
    })
}

fn typed(elements: Elements, dtype: DataType, shape: &[usize]) -> Result<Tensor, String> {
    fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, String> {
        ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|error| error.to_string())
    }
    let float = |values: Vec<f64>| {
        let round = |x: f64| match dtype {
            DataType::Float16 => f16::from_f64(x).to_f32(),
            _ => x as f32,
        };
        Ok(Tensor::float(dtype, array(shape, values.into_iter().map(round).collect())?))
    };
    match (dtype, elements) {
        (DataType::Float16 | DataType::Float32, Elements::Float(values)) => float(values),
        (DataType::Float16 | DataType::Float32, Elements::Int(values)) => {
            float(values.into_iter().map(|n| n as f64).collect())
        }
        (DataType::Bool, Elements::Bool(values)) => Ok(Tensor::bool(array(shape, values)?)),
        (_, Elements::Int(values)) => {
            let (low, high) =
                dtype.range().ok_or_else(|| format!("is declared {dtype}, which no file gives"))?;
            let fit = |n: i64| (low..=high).contains(&n).then_some(n as i32);
            let narrow = |n: i64| fit(n).ok_or_else(|| format!("holds {n}, beyond {dtype}"));
            let values = values.into_iter().map(narrow).collect::<Result<Vec<_>, _>>()?;
            Ok(Tensor::int(dtype, array(shape, values)?))
        }
        (_, Elements::Float(_)) => Err(format!("holds floating-point numbers for {dtype}")),
        (_, Elements::Bool(_)) => Err(format!("holds flags for {dtype}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, SizeRange};

    /// Converts to an input of this type.
    fn into(
        stored: Stored<'_>,
        ty: TensorType,
        sizes: Sizes,
        image: Option<ColorSpace>,
    ) -> Result<Tensor, String> {
        let mut builder = Builder::new();
        builder.input("x", ty, sizes).unwrap();
        let mut function = builder.finish();
        function.inputs[0].image = image;
        convert(stored, &function, &function.inputs[0].clone())
    }

    #[test]
    fn numbers_become_what_is_declared_or_say_why_not() {
        let f32s = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        let i64s = |values: &[i64]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        let fixed = |dtype| TensorType::fixed(dtype, &[2]);
        let of = |dtype, bytes: &[u8], to| {
            into(Stored { dtype, shape: &[2], bytes }, fixed(to), Sizes::Fixed, None)
        };
        let half = of(Dtype::F32, &f32s(&[0.1, 1e6]), DataType::Float16).unwrap();
        let (tenth, inf) = (f16::from_f32(0.1).to_f32(), f32::INFINITY);
        assert_eq!(half.as_float().unwrap().as_slice().unwrap(), [tenth, inf]);
        let int = of(Dtype::I64, &i64s(&[-3, 511]), DataType::Int32).unwrap();
        assert_eq!(int.as_int().unwrap().as_slice().unwrap(), [-3, 511]);
        let float = of(Dtype::U8, &[0, 255], DataType::Float32).unwrap();
        assert_eq!(float.as_float().unwrap().as_slice().unwrap(), [0.0, 255.0]);
        let told = [
            of(Dtype::I64, &i64s(&[0, 1 << 40]), DataType::Int32),
            of(Dtype::F32, &f32s(&[0.0, 1.0]), DataType::Int32),
            of(Dtype::BOOL, &[0, 1], DataType::Int32),
            into(
                Stored { dtype: Dtype::U8, shape: &[3], bytes: &[0; 3] },
                fixed(DataType::Float32),
                Sizes::Fixed,
                None,
            ),
        ];
        let told: Vec<String> = told.into_iter().map(|r| r.unwrap_err()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        holds 1099511627776, beyond int32
        holds floating-point numbers for int32
        holds flags for int32
        is [3] in the file, and the function takes fp32[2]
        ");
    }

    #[test]
    fn flexible_sizes_bound_the_shape() {
        let ty = TensorType::new(DataType::Float32, vec![Dim::Flexible, Dim::Fixed(2)]);
        let range = |low, high| SizeRange { low, default: low, high };
        let ranges = Sizes::Ranges(vec![range(1, 3), range(2, 2)]);
        let listed = Sizes::Enumerated(vec![vec![1, 2], vec![4, 2]]);
        for (sizes, shape, want) in [
            (&ranges, [3, 2], true),
            (&ranges, [4, 2], false),
            (&ranges, [3, 1], false),
            (&listed, [4, 2], true),
            (&listed, [3, 2], false),
        ] {
            assert_eq!(fits(&ty, sizes, &shape), want, "{sizes:?} {shape:?}");
        }
        insta::assert_snapshot!(misfit(&ty, &ranges, &[9, 2]), @"is [9, 2] in the file, and the function takes fp32[1..3, 2]");
        insta::assert_snapshot!(misfit(&ty, &listed, &[9, 2]), @"is [9, 2] in the file, and the function takes fp32 of [[1, 2], [4, 2]]");
    }

    #[test]
    fn images_lie_in_files_as_people_store_them() {
        let pixels: Vec<u8> = (0..12).collect();
        let ty = || TensorType::fixed(DataType::Float32, &[1, 3, 2, 2]);
        let of = |shape: &[usize]| {
            let stored = Stored { dtype: Dtype::U8, shape, bytes: &pixels };
            into(stored, ty(), Sizes::Fixed, Some(ColorSpace::Rgb))
        };
        let first: Vec<f32> = (0..12u8).map(f32::from).collect();
        for shape in [&[1, 3, 2, 2][..], &[3, 2, 2]] {
            assert_eq!(of(shape).unwrap().as_float().unwrap().as_slice().unwrap(), first);
        }
        for shape in [&[2, 2, 3][..], &[1, 2, 2, 3]] {
            let tensor = of(shape).unwrap();
            assert_eq!(tensor.shape(), [1, 3, 2, 2]);
            let values = tensor.as_float().unwrap().as_slice().unwrap();
            assert_eq!(values[..4], [0.0, 3.0, 6.0, 9.0], "the first channel");
        }
        assert!(of(&[4, 3]).is_err());
    }

    #[test]
    fn pixels_are_what_eight_bits_hold() {
        let told = |values: [f32; 4], image| {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let ty = TensorType::fixed(DataType::Float32, &[1, 1, 2, 2]);
            let stored = Stored { dtype: Dtype::F32, shape: &[1, 1, 2, 2], bytes: &bytes };
            let tensor = into(stored, ty, Sizes::Fixed, image).unwrap();
            check_pixels(&tensor, image).err().unwrap_or_default()
        };
        let gray = Some(ColorSpace::Grayscale);
        for (values, image, fits) in [
            ([0.0, 255.0, 1.0, 128.0], gray, true),
            ([0.0, 1.0, 2.0, 256.0], gray, false),
            ([0.0, -1.0, 2.0, 3.0], gray, false),
            ([0.0, 0.5, 0.25, 1.0], gray, false),
            ([f32::NAN, 0.0, 0.0, 0.0], gray, false),
            ([-0.5, 300.0, 0.25, 1.0], Some(ColorSpace::GrayscaleFloat16), true),
            ([-0.5, 300.0, 0.25, 1.0], None, true),
        ] {
            assert_eq!(told(values, image).is_empty(), fits, "{values:?} {image:?}");
        }
        insta::assert_snapshot!(told([0.0, 1.0, 256.0, 0.0], gray), @"holds 256 at channel 0, row 1, column 0; the pixels of an image are whole numbers from 0 to 255");
    }
}
