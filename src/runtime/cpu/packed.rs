//! Packed weights that functions share: `prefill` and `decode` of a language model multiply the same.

use super::matrix::Matrix;
use super::node::Found;
use crate::graph::DataType;
use crate::graph::weight::{Data, Identity, Storage, Weight};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The packed weights of functions that are alive.
#[derive(Debug, Default)]
pub(super) struct Packed(Mutex<Vec<(Key, Weak<Matrix>)>>);

/// What a matrix was packed from: the same bytes of the same file, read in the same way.
#[derive(Debug, PartialEq)]
struct Key {
    operands: Vec<(DataType, Vec<usize>, Identity)>,
    shape: Vec<usize>,
    vector_axis: usize,
    rows: Range<usize>,
}

impl Key {
    /// `None` for weights with a mask, which are never stored so that they could be shared.
    fn new(weight: &Weight, rows: &Range<usize>) -> Option<Self> {
        let vector_axis = match &weight.storage {
            Storage::Dense(_) | Storage::Linear { .. } => 0,
            Storage::Palette { vector_axis, .. } => *vector_axis,
            Storage::Sparse { .. } => return None,
        };
        let operands = weight.storage.operands().into_iter().map(|(_, operand)| {
            let Data::Bytes(bytes) = &operand.data else { return None };
            Some((operand.dtype, operand.shape.clone(), bytes.identity()))
        });
        let operands = operands.collect::<Option<_>>()?;
        Some(Self { operands, shape: weight.shape.clone(), vector_axis, rows: rows.clone() })
    }
}

impl Packed {
    /// Some rows of a weight, packed, or the same as a function that is alive holds already.
    pub(super) fn rows(&self, weight: &Weight, rows: Range<usize>) -> Found<Arc<Matrix>> {
        let key = Key::new(weight, &rows);
        let known = || {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, matrix) = known.iter().find(|(known, _)| Some(known) == key.as_ref())?;
            matrix.upgrade()
        };
        if let Some(matrix) = known() {
            return Ok(matrix);
        }
        // Packing waits for other threads: not while they wait for the lock.
        let matrix = Arc::new(Matrix::rows(weight, rows).map_err(|why| why.to_string())?);
        if let Some(key) = key {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|(_, matrix)| matrix.strong_count() > 0);
            known.push((key, Arc::downgrade(&matrix)));
        }
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::weight::{Bytes, Operand};

    fn weight(codes: &Bytes, scale: &Bytes, dtype: DataType) -> Weight {
        let storage = Storage::Linear {
            codes: Operand::new(dtype, &[4, 16], codes.clone()),
            scale: Operand::new(DataType::Float16, &[4, 1], scale.clone()),
            offset: None,
        };
        Weight { shape: vec![4, 16], storage }
    }

    #[test]
    fn the_same_bytes_are_packed_once_for_as_long_as_someone_holds_them() {
        let packed = Packed::default();
        let (codes, scale) = (Bytes::from(vec![3; 64]), Bytes::from(vec![0x3c; 8]));
        let one = weight(&codes, &scale, DataType::Int8);
        let of = |weight: &Weight, rows| packed.rows(weight, rows).unwrap();
        let first = of(&one, 0..4);
        assert!(Arc::ptr_eq(&first, &of(&one.clone(), 0..4)), "another function's");
        let others = [
            ("other rows", of(&one, 0..2)),
            ("other codes", of(&weight(&Bytes::from(vec![3; 64]), &scale, DataType::Int8), 0..4)),
            ("another type", of(&weight(&codes, &scale, DataType::UInt8), 0..4)),
        ];
        for (name, other) in others {
            assert!(!Arc::ptr_eq(&first, &other), "{name}");
        }
        let held = || packed.0.lock().unwrap().iter().filter(|(_, m)| m.strong_count() > 0).count();
        assert_eq!(held(), 1, "the others are gone");
        drop(first);
        assert_eq!(held(), 0);
        let again = of(&one, 0..4);
        assert_eq!((again.shape(), packed.0.lock().unwrap().len()), ([4, 16], 1));
    }
}
