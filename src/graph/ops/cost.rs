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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::weight::{Operand, Weight};
    use crate::graph::{Builder, Constant, DataType, Sizes, ValueId};

    #[test]
    fn products_are_counted_and_nothing_else_is() {
        /// Parameters, and the shapes of inputs; a size of 0 stands for a flexible one.
        type Shapes = &'static [(&'static str, &'static [usize])];
        #[rustfmt::skip]
        let cases: &[(&str, Shapes, &[&str], Option<u64>)] = &[
            ("linear", &[("x", &[2, 3, 4]), ("weight", &[5, 4])], &[], Some(2 * 3 * 4 * 5)),
            ("linear", &[("x", &[0, 4]), ("weight", &[5, 4])], &[], None),
            ("conv", &[("x", &[1, 4, 8]), ("weight", &[6, 4, 3])], &[], Some(6 * 6 * 4 * 3)),
            ("conv_transpose", &[("x", &[1, 4, 5]), ("weight", &[4, 6, 3])], &[], Some(5 * 4 * 6 * 3)),
            ("matmul", &[("x", &[2, 3, 4]), ("y", &[4, 5])], &[], Some(2 * 3 * 4 * 5)),
            ("matmul", &[("x", &[2, 4, 3]), ("y", &[4, 5])], &["transpose_x"], Some(2 * 3 * 4 * 5)),
            ("matmul", &[("x", &[4]), ("y", &[4, 5])], &[], Some(4 * 5)),
            ("scaled_dot_product_attention",
             &[("query", &[2, 3, 8]), ("key", &[2, 5, 8]), ("value", &[2, 5, 4])], &[],
             Some(2 * 3 * 5 * (8 + 4))),
            ("relu", &[("x", &[0, 4])], &[], Some(0)),
            ("add", &[("x", &[3, 4]), ("y", &[4])], &[], Some(0)),
        ];
        for (operation, shapes, flags, want) in cases {
            let mut builder = Builder::new();
            let mut bound: Vec<(&str, ValueId)> = Vec::new();
            for (param, shape) in *shapes {
                let value = if *param == "weight" {
                    let bytes = vec![0; 2 * shape.iter().product::<usize>()];
                    let weight = Operand::new(DataType::Float16, shape, bytes);
                    builder.constant(param, Weight::dense(weight)).unwrap()
                } else {
                    let dim =
                        |&size: &usize| if size == 0 { Dim::Flexible } else { Dim::Fixed(size) };
                    let ty = TensorType::new(DataType::Float16, shape.iter().map(dim).collect());
                    builder.input(param, ty, Sizes::Fixed).unwrap()
                };
                bound.push((param, value));
            }
            for flag in *flags {
                bound.push((flag, builder.constant(flag, Constant::bool(true)).unwrap()));
            }
            builder.op(operation, "result", &bound).unwrap();
            let function = builder.finish();
            assert_eq!(macs(&function, &function.operations[0]), *want, "{operation} {shapes:?}");
        }
    }
}
