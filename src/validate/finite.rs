//! Outputs that are no longer numbers.

use super::layers::numbers;
use crate::execute::{Engine, Ran};
use crate::report::validation::NotFinite;
use std::collections::BTreeMap;

/// The NaNs and infinities of an output, over all steps, but for those that the source has in the same
/// places; `None` if there are none. `expected` holds what is known of the source's outputs, by step
/// and name.
pub(super) fn not_finite(
    function: &str,
    output: &str,
    engine: Engine,
    ran: &Ran,
    expected: &[BTreeMap<String, Vec<f32>>],
) -> Option<NotFinite> {
    let mut found: Option<NotFinite> = None;
    let mut elements = 0;
    for (step, outputs) in ran.steps.iter().enumerate() {
        let Some(tensor) = outputs.get(output) else { continue };
        let Some(values) = numbers(tensor) else { continue };
        let source = expected.get(step).and_then(|known| known.get(output));
        elements += values.len() as u64;
        for (place, &y) in values.iter().enumerate().filter(|(_, y)| !y.is_finite()) {
            let known = source.and_then(|source| source.get(place));
            if known.is_some_and(|&x| x == y || x.is_nan() && y.is_nan()) {
                continue;
            }
            let first = || NotFinite {
                function: function.into(),
                output: output.into(),
                backend: engine.to_string(),
                count: 0,
                elements: 0,
                step: step as u64,
                index: index(place, tensor.shape()),
                value: y.to_string(),
            };
            found.get_or_insert_with(first).count += 1;
        }
    }
    found.map(|found| NotFinite { elements, ..found })
}

/// The index of the element at `place` in row-major order; of scores, which have no shape, the place.
fn index(place: usize, shape: &[usize]) -> Vec<usize> {
    if shape.is_empty() {
        return vec![place];
    }
    let mut rest = place;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let size = size.max(1);
            let here = rest % size;
            rest /= size;
            here
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::DataType;
    use crate::runtime::Tensor;
    use ndarray::ArrayD;

    #[test]
    fn what_is_not_finite_is_counted_unless_the_source_has_it_too() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let step = |values: [f32; 6]| {
            let array = ArrayD::from_shape_vec(vec![2, 3], values.to_vec()).unwrap();
            [("y".to_owned(), Tensor::float(DataType::Float32, array))].into()
        };
        let steps = vec![step([1.0; 6]), step([1.0, nan, 2.0, inf, -inf, 0.0])];
        let ran = Ran { steps, ..Ran::default() };
        let found = |expected: &[BTreeMap<String, Vec<f32>>]| {
            not_finite("main", "y", Engine::Cpu, &ran, expected)
        };
        let alone = found(&[]).unwrap();
        assert_eq!((alone.count, alone.elements, alone.step), (3, 12, 1));
        assert_eq!((alone.index, alone.value.as_str()), (vec![0, 1], "NaN"));
        let source = |last: f32| {
            let known = |values: [f32; 6]| [("y".to_owned(), values.to_vec())].into();
            [known([1.0; 6]), known([1.0, nan, 2.0, inf, last, 0.0])]
        };
        assert_eq!(found(&source(-inf)), None, "the source's are the same");
        let other = found(&source(inf)).unwrap();
        assert_eq!((other.count, other.index), (1, vec![1, 1]), "infinite the other way");
        assert_eq!(
            not_finite("main", "z", Engine::Cpu, &ran, &[]),
            None,
            "there is no such output"
        );
    }
}
