//! Storage × target → constexpr operations.
//!
//! | storage | iOS 16, 17: parameters are attributes | iOS 18, 26: parameters are inputs |
//! |---|---|---|
//! | linear | `affine_dequantize` | `blockwise_shift_scale` |
//! | palette | `lut_to_dense`, packed UINT8 indices | `lut_to_dense` |
//! | palette of INT8 entries | – | iOS 18: `blockwise_shift_scale` of the table → `lut_to_dense`; iOS 26: `lut_to_dense` → `blockwise_shift_scale` |
//! | palette and channel scale | – | `lut_to_dense` → `blockwise_shift_scale` |
//! | sparse | `sparse_to_dense`, packed UINT8 mask | `sparse_to_dense` |
//! | sparse and linear | – | `sparse_blockwise_shift_scale` → `sparse_to_dense` |
//! | sparse and palette | – | `lut_to_sparse` → `sparse_to_dense` |
//!
//! The order of tables and scales follows Apple's converter, which says that scales behind the table
//! had a runtime problem before iOS 26. Where a `mul` can carry channel scales, they are no longer in
//! the storage when it comes here (see [`super::channel_scale`]).

use super::support::{novelty_of, refuse, scaled_axis};
use crate::graph::weight::{Operand, Storage, Weight};
use crate::graph::{DataType, TensorType};
use crate::target::Target;
use crate::{Error, Result};

/// One constexpr operation.
pub(super) struct Step {
    /// MIL's name.
    pub(super) kind: &'static str,
    /// Parameters, by name.
    pub(super) params: Vec<(&'static str, Param)>,
    /// Names and types of what it returns; the first name is the operation's.
    pub(super) outputs: Vec<(String, TensorType)>,
}

/// What a parameter is bound to.
pub(super) enum Param {
    /// A literal.
    Literal(Operand),
    /// The output of an earlier step.
    Name(String),
}

/// What a weight lowers to, and the names it may use.
struct Chain<'a> {
    name: &'a str,
    shape: &'a [usize],
    target: Target,
    free: &'a mut dyn FnMut(&str) -> String,
    steps: Vec<Step>,
}

/// The operations that make the weight, the last of which returns `name`; none for a dense one.
///
/// # Errors
/// [`Error::Usage`] where the target has no form.
pub(super) fn steps(
    name: &str,
    weight: &Weight,
    target: Target,
    free: &mut dyn FnMut(&str) -> String,
) -> Result<Vec<Step>> {
    let novelty = novelty_of(&weight.storage);
    refuse(novelty, target).map_err(|error| match error {
        Error::Usage(why) => Error::Usage(format!("`{name}`: {why}")),
        other => other,
    })?;
    let mut chain = Chain { name, shape: &weight.shape, target, free, steps: Vec::new() };
    match &weight.storage {
        Storage::Dense(_) => {}
        Storage::Linear { codes, scale, offset } => {
            chain.linear(codes, scale, offset.as_ref())?;
        }
        Storage::Palette { .. } => chain.palette(&weight.storage)?,
        Storage::Sparse { mask, values } => chain.sparse(mask, values)?,
    }
    Ok(chain.steps)
}

impl Chain<'_> {
    fn packs(&self) -> bool {
        self.target < Target::Ios18
    }

    fn push(
        &mut self,
        kind: &'static str,
        params: Vec<(&'static str, Param)>,
        outputs: Vec<(String, TensorType)>,
    ) {
        self.steps.push(Step { kind, params, outputs });
    }

    /// The weight itself: the last step's output.
    fn result(&self, dtype: DataType) -> Vec<(String, TensorType)> {
        vec![(self.name.to_owned(), TensorType::fixed(dtype, self.shape))]
    }

    /// The weight before the last step, under a free name.
    fn between(&mut self, what: &str, ty: TensorType) -> (String, TensorType) {
        let name = (self.free)(&format!("{}_{what}", self.name));
        (name, ty)
    }

    fn linear(&mut self, codes: &Operand, scale: &Operand, offset: Option<&Operand>) -> Result<()> {
        if !self.packs() {
            let params = blockwise(Param::Literal(codes.clone()), scale, offset);
            let outputs = self.result(scale.dtype);
            self.push("constexpr_blockwise_shift_scale", params, outputs);
            return Ok(());
        }
        let axis = scaled_axis(&scale.shape, &codes.shape)
            .ok_or_else(|| Error::bug(self.name, "blocks passed as channels"))?;
        let n = scale.elements();
        let vector =
            |operand: &Operand| operand.reshaped(if n == 1 { Vec::new() } else { vec![n] });
        // The zero point is required. coremltools writes a vector of zeros beside a vector of
        // scales; layers of equal width share it.
        let zeros = || Operand::new(codes.dtype, &[n], vec![0; n]);
        let zero_point = offset.cloned().unwrap_or_else(zeros);
        let params = vec![
            ("axis", Param::Literal(int32(axis)?)),
            ("quantized_data", Param::Literal(codes.clone())),
            ("scale", Param::Literal(vector(scale))),
            ("zero_point", Param::Literal(vector(&zero_point))),
        ];
        let outputs = self.result(scale.dtype);
        self.push("constexpr_affine_dequantize", params, outputs);
        Ok(())
    }

    fn palette(&mut self, storage: &Storage) -> Result<()> {
        let Storage::Palette { indices, table, table_scale, vector_axis, channel_scale } = storage
        else {
            return Err(Error::bug(self.name, "no palette"));
        };
        if self.packs() {
            let entries = table.elements();
            let params = vec![
                ("indices", Param::Literal(packed(indices))),
                ("lut", Param::Literal(table.reshaped(vec![entries]))),
                ("shape", Param::Literal(uint32s(self.shape)?)),
            ];
            let outputs = self.result(table.dtype);
            self.push("constexpr_lut_to_dense", params, outputs);
            return Ok(());
        }
        let mut lut = Param::Literal(table.clone());
        let mut dtype = table.dtype;
        // Scales that are still to be applied to the dense result, in order.
        let mut scales = Vec::new();
        if let Some(scale) = table_scale {
            if self.target < Target::Ios26 {
                let ty = TensorType::fixed(scale.dtype, &table.shape);
                let output = self.between("table", ty);
                let params = blockwise(lut, scale, None);
                lut = Param::Name(output.0.clone());
                dtype = scale.dtype;
                self.push("constexpr_blockwise_shift_scale", params, vec![output]);
            } else {
                let rank = self.shape.len();
                scales.push(scale.reshaped(scale.shape[..rank].to_vec()));
            }
        }
        scales.extend(channel_scale.clone());
        let mut params = vec![("indices", Param::Literal(indices.clone())), ("lut", lut)];
        if table.shape.last() != Some(&1) {
            params.push(("vector_axis", Param::Literal(int32(*vector_axis)?)));
        }
        let mut last = self.stage(scales.is_empty(), "looked_up", dtype);
        self.push("constexpr_lut_to_dense", params, vec![last.clone()]);
        for (i, scale) in scales.iter().enumerate() {
            let data = Param::Name(last.0);
            last = self.stage(i + 1 == scales.len(), "scaled", scale.dtype);
            let params = blockwise(data, scale, None);
            self.push("constexpr_blockwise_shift_scale", params, vec![last.clone()]);
        }
        Ok(())
    }

    /// The dense weight under its own name when it is done, else under another.
    fn stage(&mut self, done: bool, what: &str, dtype: DataType) -> (String, TensorType) {
        let ty = TensorType::fixed(dtype, self.shape);
        if done { (self.name.to_owned(), ty) } else { self.between(what, ty) }
    }

    fn sparse(&mut self, mask: &Operand, values: &Storage) -> Result<()> {
        let dtype = values.dtype();
        let mask_type = |shape: &[usize]| TensorType::fixed(DataType::UInt1, shape);
        let outputs = self.result(dtype);
        let literal_mask = || {
            let bits = if self.target < Target::Ios18 { packed(mask) } else { mask.clone() };
            Param::Literal(bits)
        };
        let (kind, params, kept) = match values {
            Storage::Dense(values) => {
                let mut params = vec![
                    ("mask", literal_mask()),
                    ("nonzero_data", Param::Literal(values.clone())),
                ];
                if self.packs() {
                    params.push(("shape", Param::Literal(uint32s(self.shape)?)));
                }
                self.push("constexpr_sparse_to_dense", params, outputs);
                return Ok(());
            }
            Storage::Linear { codes, scale, offset } => {
                let mut params = vec![
                    ("data_mask", literal_mask()),
                    ("nonzero_data", Param::Literal(codes.clone())),
                    ("scale", Param::Literal(scale.clone())),
                ];
                params.extend(offset.clone().map(|o| ("offset", Param::Literal(o))));
                ("constexpr_sparse_blockwise_shift_scale", params, codes.elements())
            }
            Storage::Palette {
                indices,
                table,
                table_scale: None,
                vector_axis,
                channel_scale: None,
            } => {
                let vector = table.shape.last().copied().unwrap_or(1);
                let mut params = vec![
                    ("indices_mask", literal_mask()),
                    ("indices_nonzero_data", Param::Literal(indices.clone())),
                    ("lut", Param::Literal(table.clone())),
                ];
                if vector != 1 {
                    params.push(("vector_axis", Param::Literal(int32(*vector_axis)?)));
                }
                ("constexpr_lut_to_sparse", params, indices.elements() * vector)
            }
            Storage::Palette { .. } | Storage::Sparse { .. } => {
                return Err(Error::Usage(format!(
                    "`{}`: a sparse palette with scales has no form that is known to load; \
                     quantize it again, or leave it dense",
                    self.name
                )));
            }
        };
        let shape = self.shape;
        let whole = self.between("mask", mask_type(shape));
        let nonzero = self.between("nonzero", TensorType::fixed(dtype, &[kept]));
        let params_of_dense = vec![
            ("mask", Param::Name(whole.0.clone())),
            ("nonzero_data", Param::Name(nonzero.0.clone())),
        ];
        self.push(kind, params, vec![whole, nonzero]);
        self.push("constexpr_sparse_to_dense", params_of_dense, outputs);
        Ok(())
    }
}

fn blockwise(data: Param, scale: &Operand, offset: Option<&Operand>) -> Vec<(&'static str, Param)> {
    let mut params = vec![("data", data), ("scale", Param::Literal(scale.clone()))];
    params.extend(offset.map(|offset| ("offset", Param::Literal(offset.clone()))));
    params
}

/// The same bytes as plain UINT8, as iOS 16 holds packed indices and masks.
fn packed(codes: &Operand) -> Operand {
    let bytes = codes.byte_len() as usize;
    Operand { dtype: DataType::UInt8, shape: vec![bytes], data: codes.data.clone() }
}

fn int32(value: usize) -> Result<Operand> {
    let value = i32::try_from(value).map_err(|_| Error::bug("an axis", "beyond INT32"))?;
    Ok(Operand::new(DataType::Int32, &[], value.to_le_bytes().to_vec()))
}

fn uint32s(values: &[usize]) -> Result<Operand> {
    let mut bytes = Vec::with_capacity(4 * values.len());
    for &value in values {
        let value = u32::try_from(value).map_err(|_| {
            Error::Usage(format!(
                "a dimension of {value} needs the target ios18: older ones count in 32 bits"
            ))
        })?;
        bytes.extend(value.to_le_bytes());
    }
    Ok(Operand::new(DataType::UInt32, &[values.len()], bytes))
}
