//! Chains of constexpr operations → one weight with its storage.
//!
//! Both forms are read: parameters as attributes (iOS 16) and as inputs (iOS 18). Of the iOS 16 form,
//! packed indices and masks become sub-byte operands, vectors of scales get the rank of the weight,
//! and a zero point of zeros is no zero point: afterwards nothing remembers the target.

use super::finding::{Read, Stop, quoted, wrong};
use super::values::Files;
use crate::formats::mil;
use crate::graph::weight::{Data, Operand, Storage, Weight};
use crate::graph::{Constant, DataType};
use half::f16;
use std::collections::HashMap;

/// The longest vector that an index may stand for: so that no small file asks for a large weight.
const LONGEST_VECTOR: usize = 1024;

/// What a name of the chain stands for.
#[derive(Clone, Debug)]
enum Node {
    /// A constant, or a finished weight.
    Constant(Constant),
    /// The values that a mask keeps, and the shape of the weight.
    Kept { mask: Operand, values: Box<Storage>, shape: Vec<usize> },
    /// The mask beside [`Node::Kept`].
    Mask,
    /// What a finding stands for.
    Broken,
}

/// The constants of a function so far, by name.
#[derive(Default)]
pub(super) struct Chains<'a> {
    nodes: HashMap<&'a str, Node>,
}

impl<'a> Chains<'a> {
    pub(super) fn constant(&mut self, name: &'a str, constant: Constant) {
        self.nodes.insert(name, Node::Constant(constant));
    }

    /// A finding has been made about this constant.
    pub(super) fn broken(&mut self, name: &'a str) {
        self.nodes.insert(name, Node::Broken);
    }

    /// What this name stands for, if it is a whole constant.
    pub(super) fn get(&self, name: &str) -> Option<&Constant> {
        match self.nodes.get(name)? {
            Node::Constant(constant) => Some(constant),
            Node::Kept { .. } | Node::Mask | Node::Broken => None,
        }
    }

    /// Follows one constexpr operation, whose outputs have names of their own.
    pub(super) fn link(
        &mut self,
        operation: &'a mil::Operation,
        files: &mut Files<'_>,
    ) -> Read<()> {
        let mut link = Link { nodes: &self.nodes, operation, files };
        let node = match operation.r#type.as_str() {
            "constexpr_affine_dequantize" => link.affine()?,
            "constexpr_blockwise_shift_scale" => link.blockwise()?,
            "constexpr_lut_to_dense" if operation.attributes.contains_key("indices") => {
                link.packed_palette()?
            }
            "constexpr_lut_to_dense" => link.palette()?,
            "constexpr_sparse_to_dense" => link.sparse()?,
            "constexpr_sparse_blockwise_shift_scale" => link.sparse_blockwise()?,
            "constexpr_lut_to_sparse" => link.sparse_palette()?,
            "constexpr_cast" => link.cast()?,
            other => return Err(wrong(format!("there is no operation {}", quoted(other)))),
        };
        let outputs = &operation.outputs;
        match (node, &outputs[..]) {
            (Node::Constant(constant), [output]) => {
                if let Some(weight) = constant.as_weight() {
                    weight.check().map_err(wrong)?;
                }
                declares(output, &constant)?;
                self.nodes.insert(&output.name, Node::Constant(constant));
            }
            (kept @ Node::Kept { .. }, [mask, values]) => {
                self.nodes.insert(&mask.name, Node::Mask);
                self.nodes.insert(&values.name, kept);
            }
            (_, outputs) => {
                return Err(wrong(format!("{} outputs are not what it has", outputs.len())));
            }
        }
        Ok(())
    }
}

/// Whether an output has the type of what it is.
pub(super) fn declares(output: &mil::NamedValueType, constant: &Constant) -> Read<()> {
    let declared = super::types::value_type(output.r#type.as_ref())?;
    let is = constant.ty();
    match declared == is {
        true => Ok(()),
        false => Err(wrong(format!("it is declared as {declared} and is {is}"))),
    }
}

fn unsupported(found: impl std::fmt::Display) -> Stop {
    wrong(format!(
        "{found}; dense, linear, palettized and sparse weights of coremltools can be read: convert again"
    ))
}

/// One operation being followed.
struct Link<'a, 'f, 'n> {
    nodes: &'a HashMap<&'n str, Node>,
    operation: &'a mil::Operation,
    files: &'a mut Files<'f>,
}

/// What a parameter is bound to.
enum Bound<'a> {
    Literal(Operand),
    Node(&'a Node),
}

impl<'a> Link<'a, '_, '_> {
    fn optional(&mut self, param: &str) -> Read<Option<Bound<'a>>> {
        if let Some(value) = self.operation.attributes.get(param) {
            let operand = self.files.operand(value).map_err(|stop| stop.at(param))?;
            return Ok(Some(Bound::Literal(operand)));
        }
        let Some(argument) = self.operation.inputs.get(param) else { return Ok(None) };
        match argument.only() {
            Some(mil::binding::Binding::Value(value)) => {
                let operand = self.files.operand(value).map_err(|stop| stop.at(param))?;
                Ok(Some(Bound::Literal(operand)))
            }
            Some(mil::binding::Binding::Name(name)) => {
                let node = self.nodes.get(name.as_str());
                let why = || wrong(format!("{} is no constant above it", quoted(name))).at(param);
                // A plain constant is as good as a literal.
                match node.ok_or_else(why)? {
                    Node::Broken => Err(Stop::Known),
                    Node::Constant(Constant::Tensor(weight)) => match &weight.storage {
                        Storage::Dense(operand) => Ok(Some(Bound::Literal(operand.clone()))),
                        _ => Ok(node.map(Bound::Node)),
                    },
                    _ => Ok(node.map(Bound::Node)),
                }
            }
            None => Err(wrong("it is not bound to one value").at(param)),
        }
    }

    fn bound(&mut self, param: &str) -> Read<Bound<'a>> {
        self.optional(param)?.ok_or_else(|| wrong(format!("`{param}` is missing")))
    }

    fn literal(&mut self, param: &str) -> Read<Operand> {
        match self.bound(param)? {
            Bound::Literal(operand) => Ok(operand),
            Bound::Node(_) => Err(wrong(format!("`{param}` is no plain constant"))),
        }
    }

    fn optional_literal(&mut self, param: &str) -> Read<Option<Operand>> {
        match self.optional(param)? {
            None => Ok(None),
            Some(Bound::Literal(operand)) => Ok(Some(operand)),
            Some(Bound::Node(_)) => Err(wrong(format!("`{param}` is no plain constant"))),
        }
    }

    /// A word.
    fn word(&mut self, param: &str) -> Read<Option<String>> {
        let bound = self.operation.inputs.get(param).and_then(mil::Argument::only);
        let value = match bound {
            Some(mil::binding::Binding::Value(value)) => Some(value),
            _ => self.operation.attributes.get(param),
        };
        let constant = value.map(|value| self.files.constant(value)).transpose();
        let constant = constant.map_err(|stop| stop.at(param))?;
        Ok(constant.and_then(|constant| Some(constant.as_text()?.to_owned())))
    }

    /// An axis below `rank`.
    fn axis(&self, operand: Operand, rank: usize) -> Read<usize> {
        let constant = Constant::from(Weight::dense(operand));
        let axis = match constant.as_ints().as_deref() {
            Some(&[axis]) => axis,
            _ => return Err(wrong("its axis is not one INT32")),
        };
        let counted = if axis < 0 { axis + rank as i64 } else { axis };
        let counted = usize::try_from(counted).ok().filter(|&axis| axis < rank);
        counted.ok_or_else(|| wrong(format!("it has no axis {axis}")))
    }

    /// The vector of a shape parameter.
    fn shape(&mut self) -> Read<Vec<usize>> {
        let operand = self.literal("shape")?;
        let (DataType::UInt32, Data::Bytes(bytes)) = (operand.dtype, &operand.data) else {
            return Err(wrong("its shape is not of UINT32"));
        };
        let size = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize;
        Ok(bytes.chunks_exact(4).map(size).collect())
    }

    /// Packed UINT8 bytes as elements of `dtype` in `shape`; their number is checked with the weight.
    fn unpacked(&self, packed: Operand, dtype: DataType, shape: Vec<usize>) -> Read<Operand> {
        if packed.dtype != DataType::UInt8 || packed.shape.len() != 1 {
            return Err(wrong(format!("packed {dtype} is not a vector of UINT8")));
        }
        Ok(Operand { dtype, shape, data: packed.data })
    }

    fn affine(&mut self) -> Read<Node> {
        let codes = self.literal("quantized_data")?;
        let scale = self.literal("scale")?;
        let zero_point = self.literal("zero_point")?;
        let rank = codes.shape.len();
        let axis = self.literal("axis")?;
        let axis = self.axis(axis, rank)?;
        let n = scale.elements().max(zero_point.elements());
        self.files.make(2 * n.saturating_mul(8))?;
        let place = |operand: Operand| {
            let mut shape = vec![1; rank];
            shape[axis] = n;
            let vector = operand.shape.len() <= 1 && [1, n].contains(&operand.elements());
            let vector = vector.then(|| repeated(operand, n)).flatten();
            vector.map(|operand| operand.reshaped(shape))
        };
        let (Some(scale), Some(offset)) = (place(scale), place(zero_point)) else {
            return Err(wrong("its scale and zero point are neither scalars nor one vector"));
        };
        let symmetric = matches!(&offset.data, Data::Bytes(bytes) if bytes.iter().all(|&b| b == 0));
        let shape = codes.shape.clone();
        let offset = (!symmetric).then_some(offset);
        Ok(weight(shape, Storage::Linear { codes, scale, offset }))
    }

    fn blockwise(&mut self) -> Read<Node> {
        let scale = self.literal("scale")?;
        let offset = self.optional_literal("offset")?;
        match self.bound("data")? {
            Bound::Literal(codes) => {
                same_integers(&codes, offset.as_ref())?;
                Ok(weight(codes.shape.clone(), Storage::Linear { codes, scale, offset }))
            }
            Bound::Node(Node::Constant(Constant::Tensor(inner))) => {
                let storage = self.scaled(&inner.storage, scale, offset)?;
                Ok(weight(inner.shape.clone(), storage))
            }
            Bound::Node(_) => Err(wrong("its data is no tensor")),
        }
    }

    /// A palettized weight behind a scale.
    fn scaled(&self, storage: &Storage, scale: Operand, offset: Option<Operand>) -> Read<Storage> {
        let mut storage = storage.clone();
        let Storage::Palette { table, table_scale, channel_scale, .. } = &mut storage else {
            return Err(unsupported("a scale behind a weight that has one"));
        };
        if offset.is_some() || channel_scale.is_some() {
            return Err(unsupported("a palette behind several scales or an offset"));
        }
        let groups = table.shape.len().checked_sub(2).map(|rank| &table.shape[..rank]);
        let coded = matches!(table.dtype, DataType::Int8 | DataType::UInt8);
        if coded && table_scale.is_none() && groups == Some(&scale.shape[..]) {
            let shape = [&scale.shape[..], &[1, 1]].concat();
            *table_scale = Some(scale.reshaped(shape));
        } else {
            *channel_scale = Some(scale);
        }
        Ok(storage)
    }

    fn packed_palette(&mut self) -> Read<Node> {
        let table = self.literal("lut")?;
        let shape = self.shape()?;
        let entries = table.elements();
        let bits = entries.max(1).ilog2() as u8;
        // This form has no tables of 8 entries.
        let dtype = DataType::index(bits).filter(|_| entries.is_power_of_two() && bits != 3);
        let dtype = dtype.ok_or_else(|| {
            wrong(format!("its table has {entries} entries, not 2, 4, 16, 64 or 256")).at("lut")
        })?;
        let indices = self.literal("indices")?;
        let indices = self.unpacked(indices, dtype, shape.clone())?;
        let mut ranked = vec![1; shape.len()];
        ranked.extend([entries, 1]);
        let table = table.reshaped(ranked);
        Ok(weight(shape, palette(indices, table, None, 0)))
    }

    fn palette(&mut self) -> Read<Node> {
        let indices = self.literal("indices")?;
        let (table, table_scale) = self.table()?;
        let (shape, vector_axis) = self.vectors(&indices.shape, &table)?;
        Ok(weight(shape, palette(indices, table, table_scale, vector_axis)))
    }

    /// The table, and its scale where it is made of INT8 entries.
    fn table(&mut self) -> Read<(Operand, Option<Operand>)> {
        let inner = match self.bound("lut")? {
            Bound::Literal(table) => return Ok((table, None)),
            Bound::Node(Node::Constant(Constant::Tensor(weight))) => weight,
            Bound::Node(_) => return Err(wrong("its table is no tensor")),
        };
        if let Storage::Linear { codes, scale, offset: None } = &inner.storage
            && let [groups @ .., _, _] = &codes.shape[..]
            && scale.shape == [groups, &[1, 1]].concat()
            && matches!(codes.dtype, DataType::Int8 | DataType::UInt8)
        {
            return Ok((codes.clone(), Some(scale.clone())));
        }
        // A table that is scaled in another way is what it decodes to. Nothing larger is decoded
        // here: an index of a bit can stand for a long vector.
        if !matches!(inner.storage, Storage::Linear { .. }) {
            return Err(unsupported("a table that is no linear one"));
        }
        self.files.make(inner.shape.iter().product::<usize>().saturating_mul(8))?;
        let values = inner.dequantize()?;
        let dtype = inner.storage.dtype();
        let bytes: Vec<u8> = match dtype {
            DataType::Float16 => {
                values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
            }
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        Ok((Operand::new(dtype, &inner.shape, bytes), None))
    }

    /// The shape of the weight of these indices, and the axis that vectors run along.
    fn vectors(&mut self, indices: &[usize], table: &Operand) -> Read<(Vec<usize>, usize)> {
        let mut shape = indices.to_vec();
        let vector = table.shape.last().copied().unwrap_or(1);
        if vector == 1 {
            return Ok((shape, 0));
        }
        if vector > LONGEST_VECTOR {
            return Err(unsupported(format!("vectors of {vector} elements")));
        }
        let axis = self.literal("vector_axis")?;
        let axis = self.axis(axis, shape.len())?;
        let wide = shape[axis].checked_mul(vector);
        shape[axis] = wide.ok_or_else(|| wrong("its shape overflows"))?;
        Ok((shape, axis))
    }

    fn sparse(&mut self) -> Read<Node> {
        let (values, mask, shape) = match self.bound("nonzero_data")? {
            Bound::Node(Node::Kept { mask, values, shape }) => {
                let same = match self.bound("mask")? {
                    Bound::Node(Node::Mask) => true,
                    Bound::Node(_) => false,
                    Bound::Literal(again) => again == *mask,
                };
                if !same {
                    return Err(wrong("its mask is not the one that its values have"));
                }
                return Ok(weight(
                    shape.clone(),
                    Storage::Sparse { mask: mask.clone(), values: values.clone() },
                ));
            }
            Bound::Node(_) => return Err(wrong("its values are no tensor")),
            Bound::Literal(values) => {
                let mask = self.literal("mask")?;
                if self.operation.attributes.contains_key("mask") {
                    let shape = self.shape()?;
                    (values, self.unpacked(mask, DataType::UInt1, shape.clone())?, shape)
                } else {
                    let shape = mask.shape.clone();
                    (values, mask, shape)
                }
            }
        };
        Ok(weight(shape, Storage::Sparse { mask, values: Storage::Dense(values).into() }))
    }

    fn sparse_blockwise(&mut self) -> Read<Node> {
        let mask = self.literal("data_mask")?;
        let scale = self.literal("scale")?;
        let offset = self.optional_literal("offset")?;
        match self.bound("nonzero_data")? {
            Bound::Literal(codes) => {
                same_integers(&codes, offset.as_ref())?;
                let shape = mask.shape.clone();
                let values = Box::new(Storage::Linear { codes, scale, offset });
                Ok(Node::Kept { mask, values, shape })
            }
            Bound::Node(Node::Kept { mask: kept, values, shape }) if *kept == mask => {
                let values = Box::new(self.scaled(values, scale, offset)?);
                Ok(Node::Kept { mask, values, shape: shape.clone() })
            }
            Bound::Node(_) => Err(wrong("its values are not those of its mask")),
        }
    }

    fn sparse_palette(&mut self) -> Read<Node> {
        let mask = self.literal("indices_mask")?;
        let indices = self.literal("indices_nonzero_data")?;
        let (table, table_scale) = self.table()?;
        let (shape, vector_axis) = self.vectors(&mask.shape, &table)?;
        let values = Box::new(palette(indices, table, table_scale, vector_axis));
        Ok(Node::Kept { mask, values, shape })
    }

    /// FP16 values that are used as FP32: exact, so they become plain FP32 values.
    fn cast(&mut self) -> Read<Node> {
        let source = self.literal("source_val")?;
        if self.word("output_dtype")?.as_deref() != Some("fp32") {
            return Err(wrong("values are cast to fp32 alone").at("output_dtype"));
        }
        let (DataType::Float16, Data::Bytes(bytes)) = (source.dtype, &source.data) else {
            return Err(wrong("only FP16 values can be cast"));
        };
        self.files.make(bytes.len().saturating_mul(2))?;
        let single = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32().to_le_bytes();
        let bytes: Vec<u8> = bytes.chunks_exact(2).flat_map(single).collect();
        let values = Operand::new(DataType::Float32, &source.shape, bytes);
        Ok(weight(source.shape, Storage::Dense(values)))
    }
}

fn weight(shape: Vec<usize>, storage: Storage) -> Node {
    Node::Constant(Weight { shape, storage }.into())
}

fn palette(
    indices: Operand,
    table: Operand,
    table_scale: Option<Operand>,
    vector_axis: usize,
) -> Storage {
    Storage::Palette { indices, table, table_scale, vector_axis, channel_scale: None }
}

/// An offset of integers has the type of the codes.
fn same_integers(codes: &Operand, offset: Option<&Operand>) -> Read<()> {
    let Some(offset) = offset else { return Ok(()) };
    if matches!(offset.dtype, DataType::Float16 | DataType::Float32) || offset.dtype == codes.dtype
    {
        return Ok(());
    }
    Err(wrong(format!("it is of {} beside codes of {}", offset.dtype, codes.dtype)).at("offset"))
}

/// A vector of `n`, from as many elements or from one.
fn repeated(operand: Operand, n: usize) -> Option<Operand> {
    if operand.elements() == n {
        return Some(operand);
    }
    let Data::Bytes(bytes) = &operand.data else { return None };
    Some(Operand::new(operand.dtype, &[n], bytes.repeat(n)))
}
