//! Operands that do not fit each other: found here, so that nothing later has to ask.

use super::{Data, Operand, Storage, Weight};
use crate::graph::DataType;

/// The number of elements of `shape`, unless it overflows.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

impl Weight {
    /// Whether all operands fit each other and the shape.
    ///
    /// # Errors
    /// A sentence that names the operand and what does not fit.
    pub fn check(&self) -> Result<(), String> {
        let shape = &self.shape;
        require(count(shape).is_some(), || format!("the shape {shape:?} overflows"))?;
        for (part, operand) in self.storage.operands() {
            operand.check().map_err(|why| format!("{part:?}: {why}"))?;
        }
        let Storage::Sparse { mask, values } = &self.storage else {
            return check_values(&self.storage, shape, None);
        };
        mask.check().map_err(|why| format!("mask: {why}"))?;
        require(mask.dtype == DataType::UInt1, || format!("mask: is {}, not uint1", mask.dtype))?;
        let seen = coded_shape(values, shape)?;
        require(mask.shape == seen, || format!("mask: is {:?}, not {seen:?}", mask.shape))?;
        let Data::Bytes(bits) = &mask.data else {
            return Err("mask: its bytes must be known, for they count the values".into());
        };
        let kept = set_bits(bits, mask.elements());
        check_values(values, shape, Some(kept))
    }
}

/// Set bits among the first `len`, least significant first.
pub(super) fn set_bits(bytes: &[u8], len: usize) -> usize {
    let whole: usize = bytes[..len / 8].iter().map(|b| b.count_ones() as usize).sum();
    let rest = len % 8;
    whole + bytes.get(len / 8).map_or(0, |b| (b & ((1 << rest) - 1)).count_ones() as usize)
}

impl Operand {
    fn check(&self) -> Result<(), String> {
        let Self { dtype, shape, data } = self;
        let bits = dtype.bits().ok_or_else(|| format!("{dtype} is no number"))?;
        let all = count(shape).and_then(|n| n.checked_mul(bits as usize));
        let bytes = all.ok_or_else(|| format!("{shape:?} of {dtype} overflows"))?.div_ceil(8);
        match data {
            Data::Bytes(b) => require(b.len() == bytes, || {
                format!("{} bytes instead of {bytes} for {shape:?} of {dtype}", b.len())
            }),
            Data::Later(_) => Ok(()),
        }
    }
}

/// The shape of the codes of `storage` for a weight of this shape, were none left out.
fn coded_shape(storage: &Storage, shape: &[usize]) -> Result<Vec<usize>, String> {
    let Storage::Palette { table, vector_axis, .. } = storage else { return Ok(shape.to_vec()) };
    let mut indices = shape.to_vec();
    let vector = table.shape.last().copied().unwrap_or(0);
    let axis = indices.get_mut(*vector_axis);
    let axis = axis.ok_or_else(|| format!("there is no vector axis {vector_axis}"))?;
    require(vector > 0 && *axis % vector == 0, || {
        format!("vectors of {vector} do not divide the {axis} of axis {vector_axis}")
    })?;
    *axis /= vector;
    Ok(indices)
}

/// `kept`: how many codes a sparse weight holds.
fn check_values(storage: &Storage, shape: &[usize], kept: Option<usize>) -> Result<(), String> {
    use DataType::{Float16, Float32, Int4, Int8, UInt4, UInt8};
    let codes_fit = |name: &str, codes: &Operand, whole: &[usize]| match kept {
        Some(kept) => require(codes.shape == [kept], || {
            format!("{name}: is {:?} beside a mask that keeps {kept}", codes.shape)
        }),
        None => {
            require(codes.shape == whole, || format!("{name}: is {:?}, not {whole:?}", codes.shape))
        }
    };
    let typed = |name: &str, operand: &Operand, allowed: &[DataType]| {
        require(allowed.contains(&operand.dtype), || format!("{name}: cannot be {}", operand.dtype))
    };
    let divides = |name: &str, groups: &[usize], whole: &[usize]| {
        let fits = groups.len() == whole.len()
            && groups.iter().zip(whole).all(|(&g, &d)| g > 0 && d % g == 0);
        require(fits, || format!("{name}: {groups:?} does not divide {whole:?}"))
    };
    let float = [Float16, Float32];
    match storage {
        Storage::Dense(values) => codes_fit("values", values, shape),
        Storage::Linear { codes, scale, offset } => {
            codes_fit("codes", codes, shape)?;
            typed("codes", codes, &[Int4, UInt4, Int8, UInt8, Float16, Float32])?;
            typed("scale", scale, &float)?;
            divides("scale", &scale.shape, shape)?;
            let Some(offset) = offset else { return Ok(()) };
            typed("offset", offset, &[Int4, UInt4, Int8, UInt8, Float16, Float32])?;
            require(offset.shape == scale.shape, || {
                format!("offset: is {:?} beside scales {:?}", offset.shape, scale.shape)
            })
        }
        Storage::Palette { indices, table, table_scale, vector_axis: _, channel_scale } => {
            let whole = coded_shape(storage, shape)?;
            codes_fit("indices", indices, &whole)?;
            typed("table", table, &[Int8, UInt8, Float16, Float32])?;
            let rank = shape.len();
            require(table.shape.len() == rank + 2, || {
                format!("table: has rank {}, not {}", table.shape.len(), rank + 2)
            })?;
            let (groups, entries) = (&table.shape[..rank], table.shape[rank]);
            divides("table", groups, &whole)?;
            let index = u8::try_from(entries.max(1).ilog2()).ok().and_then(DataType::index);
            require(entries.is_power_of_two() && index == Some(indices.dtype), || {
                format!("table: {entries} entries beside {} indices", indices.dtype)
            })?;
            if let Some(scale) = table_scale {
                typed("table scale", scale, &float)?;
                let wanted = [groups, &[1, 1]].concat();
                require(scale.shape == wanted, || {
                    format!("table scale: is {:?}, not {wanted:?}", scale.shape)
                })?;
            }
            if let Some(scale) = channel_scale {
                typed("channel scale", scale, &float)?;
                divides("channel scale", &scale.shape, shape)?;
            }
            Ok(())
        }
        Storage::Sparse { .. } => Err("a sparse weight of sparse weights".into()),
    }
}
