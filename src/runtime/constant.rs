//! Constants of a program as tensors to compute with, and back.

use super::{Data, Mode, Tensor};
use crate::graph::weight::{Data as Stored, Operand, Storage, Weight};
use crate::graph::{Constant, DataType};
use half::f16;
use ndarray::{ArrayD, IxDyn};

/// The elements of a stored tensor as operations see them in this mode; a compressed one is decoded.
///
/// # Errors
/// A sentence on operands that do not fit each other, whose bytes are not here, or whose type no
/// tensor holds.
pub(crate) fn tensor_of(weight: &Weight, mode: Mode) -> Result<Tensor, String> {
    let dtype = weight.storage.dtype();
    let shape = || IxDyn(&weight.shape);
    let shaped = |why: ndarray::ShapeError| why.to_string();
    if matches!(dtype, DataType::Float16 | DataType::Float32) {
        let values = match mode {
            Mode::F32 => weight.unrounded(),
            Mode::F16 | Mode::Ane => weight.dequantize(),
        };
        let values = values.map_err(|why| why.to_string())?;
        return Ok(Tensor::float(dtype, ArrayD::from_shape_vec(shape(), values).map_err(shaped)?));
    }
    weight.check()?;
    let Storage::Dense(Operand { data: Stored::Bytes(bytes), .. }) = &weight.storage else {
        return Err(format!("a constant of {dtype} is not plain bytes"));
    };
    let array = |ints: Vec<i32>| ArrayD::from_shape_vec(shape(), ints).map_err(shaped);
    let each = |size: usize, int: fn(&[u8]) -> i32| {
        Ok::<_, String>(Tensor::int(dtype, array(bytes.chunks_exact(size).map(int).collect())?))
    };
    match dtype {
        DataType::Bool => {
            let flags = bytes.iter().map(|&b| b != 0).collect();
            Ok(Tensor::bool(ArrayD::from_shape_vec(shape(), flags).map_err(shaped)?))
        }
        DataType::Int8 => each(1, |b| i32::from(b[0] as i8)),
        DataType::UInt8 => each(1, |b| i32::from(b[0])),
        DataType::Int16 => each(2, |b| i32::from(i16::from_le_bytes([b[0], b[1]]))),
        DataType::UInt16 => each(2, |b| i32::from(u16::from_le_bytes([b[0], b[1]]))),
        DataType::Int32 => each(4, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        // Only counts of dimensions have this type; the largest stands for what is out of reach.
        DataType::UInt32 => {
            each(4, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]).min(i32::MAX as u32) as i32)
        }
        _ => Err(format!("no tensor holds {dtype}")),
    }
}

/// A tensor as a constant of its own type; `None` where that type cannot hold the elements exactly
/// (FP16 between two of its values), or holds none.
pub(crate) fn constant_of(tensor: &Tensor) -> Option<Constant> {
    let fitting = |low: i32, high: i32, array: &ArrayD<i32>| {
        array.iter().all(|value| (low..=high).contains(value)).then_some(())
    };
    let bytes: Vec<u8> = match (tensor.dtype, &tensor.data) {
        (DataType::Float32, Data::Float(array)) => {
            array.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        (DataType::Float16, Data::Float(array)) => {
            let exact = |v: f32| Some(f16::from_f32(v)).filter(|h| h.to_f32() == v || v.is_nan());
            let halves: Option<Vec<f16>> = array.iter().map(|&v| exact(v)).collect();
            halves?.iter().flat_map(|half| half.to_le_bytes()).collect()
        }
        (DataType::Bool, Data::Bool(array)) => array.iter().map(|&flag| u8::from(flag)).collect(),
        (DataType::Int32, Data::Int(array)) => array.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (DataType::Int16, Data::Int(array)) => {
            fitting(i16::MIN.into(), i16::MAX.into(), array)?;
            array.iter().flat_map(|&v| (v as i16).to_le_bytes()).collect()
        }
        (DataType::UInt16, Data::Int(array)) => {
            fitting(0, u16::MAX.into(), array)?;
            array.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect()
        }
        (DataType::Int8, Data::Int(array)) => {
            fitting(i8::MIN.into(), i8::MAX.into(), array)?;
            array.iter().map(|&v| v as i8 as u8).collect()
        }
        (DataType::UInt8, Data::Int(array)) => {
            fitting(0, u8::MAX.into(), array)?;
            array.iter().map(|&v| v as u8).collect()
        }
        _ => return None,
    };
    Some(Weight::dense(Operand::new(tensor.dtype, tensor.shape(), bytes)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::{Bool, Float16, Float32, Int8, Int16, Int32, UInt8, UInt16};

    #[test]
    fn a_constant_comes_back_as_it_was() {
        for dtype in [Int8, UInt8, Int16, UInt16, Int32, Float16, Float32, Bool] {
            let size = dtype.bits().unwrap() as usize / 8;
            // Flags are 0 or 1; everything else takes any bits that are no NaN.
            let bytes: Vec<u8> = match dtype {
                Bool => vec![0, 1, 1, 0],
                _ => (0..4 * size).map(|i| (i as u8).wrapping_mul(37) ^ 0x85).collect(),
            };
            let weight = Weight::dense(Operand::new(dtype, &[2, 2], bytes));
            let tensor = tensor_of(&weight, Mode::F16).expect("a tensor");
            assert_eq!(constant_of(&tensor), Some(weight.into()), "{dtype}");
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_no_constant() {
        let float = |v: f32| Tensor::float(Float16, ArrayD::from_elem(IxDyn(&[]), v));
        assert!(constant_of(&float(0.1)).is_none());
        assert!(constant_of(&float(0.5)).is_some());
        let int = |dtype, v: i32| Tensor::int(dtype, ArrayD::from_elem(IxDyn(&[]), v));
        assert!(constant_of(&int(UInt8, -1)).is_none());
        assert!(constant_of(&int(Int16, 32768)).is_none());
        assert!(constant_of(&int(Int16, 32767)).is_some());
    }
}
