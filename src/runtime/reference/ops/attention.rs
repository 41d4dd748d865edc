//! Scaled dot-product attention.

use super::super::product::product;
use super::activation::softmax_row;
use super::elementwise::zip;
use super::linear::batched;
use super::rows::each_row;
use super::{Arguments, Data, One, Tensor};
use ndarray::{Array2, ArrayD, ArrayView2};

/// `softmax(q · kᵀ / √E + mask) · v`: q `[.., L, E]`, k `[.., S, E]`, v `[.., S, V]` → `[.., L, V]`.
///
/// The mask broadcasts to `[.., L, S]`: numbers are added, a flag says whether the key takes part.
/// The scores between the two products are f32 in every mode: the operation is one. A row without
/// any key is NaN, as in torch.
pub(in super::super) fn scaled_dot_product_attention(arguments: &Arguments<'_>) -> One {
    let [query, key, value] = ["query", "key", "value"].map(|name| arguments.float(name));
    let (query, key, value) = (query?, key?, value?);
    let dtype = arguments.tensor("query")?.dtype;
    let width = *query.shape().last().ok_or("`query` is a scalar")?;
    let multiply = |a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>| {
        let start = Array2::zeros((a.nrows(), b.ncols()));
        product(arguments, dtype, a, b, start.view())
    };
    let scale = 1.0 / (width as f64).sqrt();
    let scores = batched(query, key, (false, true), multiply)?;
    let mut scores = scores.mapv(|score| (f64::from(score) * scale) as f32);
    if let Some(mask) = arguments.optional("attn_mask") {
        let shape = scores.shape().to_vec();
        scores = masked(&scores, mask)?;
        if scores.shape() != shape {
            return Err(format!("`attn_mask` is {} for scores {shape:?}", mask.ty()));
        }
    }
    let axis = scores.ndim() - 1;
    let weights = each_row(&scores, &[axis], softmax_row)?;
    Ok(Tensor::float(dtype, batched(&weights, value, (false, false), multiply)?))
}

fn masked(scores: &ArrayD<f32>, mask: &Tensor) -> Result<ArrayD<f32>, String> {
    match &mask.data {
        Data::Float(mask) => zip(scores, mask, |&score, &mask| score + mask),
        Data::Bool(mask) => zip(scores, mask, |&s, &on| if on { s } else { f32::NEG_INFINITY }),
        _ => Err(format!("`attn_mask` is {}", mask.ty())),
    }
}
