//! Types of messages → types of the graph.

use super::finding::{Read, wrong};
use crate::formats::mil;
use crate::graph::ops::within_limits;
use crate::graph::{DataType, Dim, TensorType, ValueType};

/// The type of a value.
pub(super) fn value_type(ty: Option<&mil::ValueType>) -> Read<ValueType> {
    use mil::value_type::Type;
    match ty.and_then(|ty| ty.r#type.as_ref()).ok_or_else(|| wrong("it has no type"))? {
        Type::Tensor(tensor) => Ok(ValueType::Tensor(tensor_type(tensor)?)),
        Type::State(state) => {
            let wrapped = state.wrapped_type.as_ref().and_then(|wrapped| wrapped.as_tensor());
            let wrapped = wrapped.ok_or_else(|| wrong("it is a state of no tensor"))?;
            Ok(ValueType::State(tensor_type(wrapped)?))
        }
        Type::List(list) => {
            let length = list.length.and_then(|length| length.size());
            let length = length.and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or_else(|| wrong("it is a list of unknown length"))?;
            Ok(ValueType::Labels(label(list.r#type.as_deref())?, length))
        }
        Type::Dictionary(dictionary) => {
            let scores = dictionary.value_type.as_deref().and_then(scalar);
            if scores != Some(DataType::Float64) {
                return Err(wrong("it is a dictionary of other values than fp64"));
            }
            Ok(ValueType::Scores(label(dictionary.key_type.as_deref())?))
        }
        Type::Tuple(_) => Err(wrong("it is a tuple; operations return several values instead")),
    }
}

/// The type of a label: string or int64.
fn label(ty: Option<&mil::ValueType>) -> Read<DataType> {
    match ty.and_then(scalar) {
        Some(dtype @ (DataType::String | DataType::Int64)) => Ok(dtype),
        Some(other) => Err(wrong(format!("labels are strings or int64, not {other}"))),
        None => Err(wrong("labels are strings or int64")),
    }
}

fn scalar(ty: &mil::ValueType) -> Option<DataType> {
    let tensor = tensor_type(ty.as_tensor()?).ok()?;
    tensor.dims.is_empty().then_some(tensor.dtype)
}

/// The type of a tensor of fixed or flexible dimensions, of a size that can be computed with.
pub(super) fn tensor_type(ty: &mil::TensorType) -> Read<TensorType> {
    let stored = ty
        .dtype()
        .ok_or_else(|| wrong(format!("its element type {} is none of MIL's", ty.data_type)))?;
    let dtype = data_type(stored).ok_or_else(|| {
        let name = stored.name();
        wrong(format!(
            "it is of {name}, which coremltools 9.0 cannot read either; convert the model again in FP16"
        ))
    })?;
    let rank = ty.dimensions.len();
    if usize::try_from(ty.rank) != Ok(rank) {
        return Err(wrong(format!("its rank is {} and it has {rank} dimensions", ty.rank)));
    }
    if let Some(name) = ty.attributes.keys().next() {
        return Err(wrong(format!("its type has an attribute {}", super::finding::quoted(name))));
    }
    let dims = ty.dimensions.iter().map(dim).collect::<Result<Vec<_>, _>>()?;
    let tensor = TensorType::new(dtype, dims);
    within_limits(&tensor).map_err(wrong)?;
    Ok(tensor)
}

fn dim(dim: &mil::Dimension) -> Read<Dim> {
    use mil::dimension::Dimension;
    match &dim.dimension {
        Some(Dimension::Constant(constant)) => {
            let size = usize::try_from(constant.size);
            size.map(Dim::Fixed).map_err(|_| wrong("its shape overflows"))
        }
        Some(Dimension::Unknown(unknown)) if unknown.variadic => {
            Err(wrong("a dimension stands for several, which Core ML does not load"))
        }
        Some(Dimension::Unknown(_)) => Ok(Dim::Flexible),
        None => Err(wrong("a dimension is neither a size nor flexible")),
    }
}

/// The element type of a message's number; `None` for what operations cannot compute with.
pub(super) fn data_type(dtype: mil::DataType) -> Option<DataType> {
    Some(match dtype {
        mil::DataType::Bool => DataType::Bool,
        mil::DataType::String => DataType::String,
        mil::DataType::Float16 => DataType::Float16,
        mil::DataType::Float32 => DataType::Float32,
        mil::DataType::Float64 => DataType::Float64,
        mil::DataType::Int4 => DataType::Int4,
        mil::DataType::Int8 => DataType::Int8,
        mil::DataType::Int16 => DataType::Int16,
        mil::DataType::Int32 => DataType::Int32,
        mil::DataType::Int64 => DataType::Int64,
        mil::DataType::UInt1 => DataType::UInt1,
        mil::DataType::UInt2 => DataType::UInt2,
        mil::DataType::UInt3 => DataType::UInt3,
        mil::DataType::UInt4 => DataType::UInt4,
        mil::DataType::UInt6 => DataType::UInt6,
        mil::DataType::UInt8 => DataType::UInt8,
        mil::DataType::UInt16 => DataType::UInt16,
        mil::DataType::UInt32 => DataType::UInt32,
        mil::DataType::UInt64 => DataType::UInt64,
        mil::DataType::BFloat16 | mil::DataType::Float8E4M3FN | mil::DataType::Float8E5M2 => {
            return None;
        }
    })
}
