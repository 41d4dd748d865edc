//! The one pass over the weights that can come before the plan: which tensors hold NaN or infinity.

use crate::source::Source;
use crate::tensor::Weights;
use rayon::prelude::*;

/// Elements of a block.
const BLOCK: usize = 1 << 16;

/// The tensors that hold a non-finite value: place among the source's tensors, first index, value.
pub(super) fn non_finite(source: &Source) -> Vec<(usize, usize, f32)> {
    let first = |tensor| match source.weights(tensor) {
        Some(weights) => first_non_finite(weights),
        None => first_of(&source.values(tensor)?, 0),
    };
    let tensors = source.tensors().iter().enumerate();
    tensors.filter_map(|(i, t)| first(t).map(|(at, value)| (i, at, value))).collect()
}

fn first_non_finite(weights: Weights) -> Option<(usize, f32)> {
    (0..weights.len().div_ceil(BLOCK)).into_par_iter().find_map_first(|block| {
        let elements = block * BLOCK..weights.len().min((block + 1) * BLOCK);
        let mut values = vec![0.0; elements.len()];
        weights.decode(elements.clone(), &mut values);
        first_of(&values, elements.start)
    })
}

/// The first of values that begin at an index.
fn first_of(values: &[f32], start: usize) -> Option<(usize, f32)> {
    let at = values.iter().position(|v| !v.is_finite())?;
    Some((start + at, values[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::FloatType;

    #[test]
    fn the_first_of_several_is_found_across_blocks() {
        let mut values = vec![1f32; 3 * BLOCK];
        values[2 * BLOCK + 1] = f32::NAN;
        values[BLOCK + 7] = f32::NEG_INFINITY;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let weights =
            Weights { name: "w", dtype: FloatType::F32, shape: &[3, BLOCK], bytes: &bytes };
        assert_eq!(first_non_finite(weights), Some((BLOCK + 7, f32::NEG_INFINITY)));
        let sound = Weights { bytes: &bytes[..4 * BLOCK], shape: &[1, BLOCK], ..weights };
        assert_eq!(first_non_finite(sound), None);
    }
}
