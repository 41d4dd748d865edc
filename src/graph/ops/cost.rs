//! What an operation computes.

use crate::graph::{Dim, Function, Operation, TensorType};

/// Multiply-accumulates of an operation: 0 for those that are not sums of products; `None` where a
/// size is flexible, or beyond 2^64.
///
/// | operation | for each element of the result |
/// |---|---|
/// | `linear` | I, the inputs |
/// | `conv` | C / groups · taps |
/// | `matmul`, `einsum` | the inner dimension |
/// | `conv_transpose` | for each element of x: O / groups · taps |
/// | `scaled_dot_product_attention` | batch · L · S · (E + V) in all |
pub fn macs(function: &Function, operation: &Operation) -> Option<u64> {
    let tensor = |param: &str| {
        let bound = operation.argument(param)?;
        function.value(bound).ty.tensor()
    };
    let result = || function.value(*operation.outputs.first()?).ty.tensor();
    match operation.row.name {
        "linear" => product([&result()?.dims[..], tensor("weight")?.dims.get(1..)?]),
        "conv" => product([&result()?.dims[..], tensor("weight")?.dims.get(1..)?]),
        "conv_transpose" => product([&tensor("x")?.dims[..], tensor("weight")?.dims.get(1..)?]),
        "matmul" => {
            let x = tensor("x")?;
            let transposed = operation.argument("transpose_x").is_some_and(|flag| {
                let constant = function.value(flag).constant.as_ref();
                constant.and_then(|flag| flag.as_bool()) == Some(true)
            });
            product([&result()?.dims[..], inner(x, if transposed { 2 } else { 1 })?])
        }
        "einsum" => product([&result()?.dims[..], inner(tensor("values")?, 1)?]),
        "scaled_dot_product_attention" => {
            let (query, key, value) = (tensor("query")?, tensor("key")?, tensor("value")?);
            let scores = [&query.dims[..query.rank().checked_sub(1)?], inner(key, 2)?];
            let both = [inner(query, 1)?, inner(value, 1)?].map(|dims| product([dims, &[]]));
            product(scores)?.checked_mul(both[0]?.checked_add(both[1]?)?)
        }
        _ => Some(0),
    }
}

/// The dimension that stands so many from the end.
fn inner(tensor: &TensorType, from_end: usize) -> Option<&[Dim]> {
    let place = tensor.rank().checked_sub(from_end)?;
    tensor.dims.get(place..=place)
}

fn product(lists: [&[Dim]; 2]) -> Option<u64> {
    let mut dims = lists.into_iter().flatten();
    dims.try_fold(1u64, |product, dim| product.checked_mul(dim.size()? as u64))
}
