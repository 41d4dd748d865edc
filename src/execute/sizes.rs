//! Sizes of inputs that may have several: what samples of a function are recorded at.

use crate::graph::{Dim, Feature, Function, SizeRange, Sizes, ValueType};
use crate::runtime::Shapes;
use std::collections::BTreeMap;

/// The largest size of a ranged dimension.
const LARGEST: usize = 64;

/// Elements above which an input is not made larger than it must be.
const ELEMENTS: usize = 1 << 18;

/// The shapes of those inputs whose sizes are not fixed, in sample number `sample`.
///
/// A ranged dimension takes three sizes in turn: the middle, the largest, and the smallest above 1, for
/// a batch or a text of one hides what goes wrong between two. The largest is that of the range,
/// but at most 64, and at most what keeps every input of that range within 2¹⁸ elements. Dimensions
/// of one range have one size, in whichever input they are. Of enumerated shapes, sample n has the n-th,
/// and behind the last the first again.
pub(super) fn sizes(function: &Function, sample: usize) -> Shapes {
    let mut widths: BTreeMap<[usize; 2], usize> = BTreeMap::new();
    for (_, feature) in tensors(function) {
        let Sizes::Ranges(ranges) = &feature.sizes else { continue };
        for (axis, range) in ranges.iter().enumerate() {
            let others = ranges.iter().enumerate().filter(|(other, _)| *other != axis);
            let width = others.fold(1, |width: usize, (_, r)| width.saturating_mul(least(r)));
            let known = widths.entry([range.low, range.high]).or_default();
            *known = width.max(*known);
        }
    }
    let size = |range: &SizeRange| {
        let low = least(range);
        let width = widths.get(&[range.low, range.high]).copied().unwrap_or(1).max(1);
        let high = LARGEST.min(ELEMENTS / width).min(range.high).max(low);
        [low.midpoint(high), high, low][sample % 3]
    };
    let shape = |feature: &Feature| match &feature.sizes {
        Sizes::Fixed => None,
        Sizes::Ranges(ranges) => Some(ranges.iter().map(size).collect()),
        Sizes::Enumerated(shapes) => shapes.get(sample % shapes.len().max(1)).cloned(),
    };
    let shapes =
        tensors(function).filter_map(|(name, feature)| Some((name.into(), shape(feature)?)));
    shapes.collect()
}

/// The smallest size of a range above 1, if it has such.
fn least(range: &SizeRange) -> usize {
    range.low.max(2).min(range.high)
}

/// The inputs that are tensors of a size that is not fixed.
fn tensors(function: &Function) -> impl Iterator<Item = (&str, &Feature)> {
    function.inputs.iter().filter_map(|feature| {
        let value = function.value(feature.value);
        let ValueType::Tensor(ty) = &value.ty else { return None };
        ty.dims.contains(&Dim::Flexible).then_some((value.name.as_str(), feature))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, DataType, TensorType};

    #[test]
    fn ranges_are_met_in_the_middle_and_at_both_ends() {
        let range = |low, high| SizeRange { low, default: low, high };
        let one = range(1, 1);
        type Case<'a> = (&'a str, Vec<SizeRange>, [&'a [usize]; 4]);
        #[rustfmt::skip]
        let cases: Vec<Case<'_>> = vec![
            ("a text",             vec![one, range(1, 512)],              [&[1, 33], &[1, 64], &[1, 2], &[1, 33]]),
            ("a short one",        vec![one, range(1, 5)],                [&[1, 3], &[1, 5], &[1, 2], &[1, 3]]),
            ("an image",           vec![one, range(3, 3), range(32, 1024), range(32, 1024)],
             [&[1, 3, 48, 48], &[1, 3, 64, 64], &[1, 3, 32, 32], &[1, 3, 48, 48]]),
            ("images",             vec![range(1, 64), range(3, 3), range(224, 224), range(224, 224)],
             [&[2, 3, 224, 224]; 4]),
            ("a range that is none", vec![one, range(7, 7)],              [&[1, 7]; 4]),
        ];
        for (name, ranges, want) in cases {
            let dims: Vec<Dim> = ranges.iter().map(|_| Dim::Flexible).collect();
            let mut builder = Builder::new();
            let ty = TensorType::new(DataType::Float16, dims);
            let x = builder.input("x", ty, Sizes::Ranges(ranges)).unwrap();
            builder
                .input("fixed", TensorType::fixed(DataType::Float16, &[3]), Sizes::Fixed)
                .unwrap();
            builder.output(x, "");
            let function = builder.finish();
            for (sample, want) in want.iter().enumerate() {
                let shapes = Shapes::from([("x".to_owned(), want.to_vec())]);
                assert_eq!(sizes(&function, sample), shapes, "{name}, {sample}");
            }
        }
    }

    #[test]
    fn inputs_of_one_range_agree_and_enumerated_shapes_take_turns() {
        let mut builder = Builder::new();
        let flexible = |rank| TensorType::new(DataType::Float16, vec![Dim::Flexible; rank]);
        let range = |low, high| SizeRange { low, default: low, high };
        let wide = vec![range(1, 900), range(8192, 8192)];
        builder.input("wide", flexible(2), Sizes::Ranges(wide)).unwrap();
        let mask = builder.input("mask", flexible(1), Sizes::Ranges(vec![range(1, 900)])).unwrap();
        let shapes = vec![vec![4], vec![16]];
        builder.input("one_of", flexible(1), Sizes::Enumerated(shapes)).unwrap();
        builder.output(mask, "");
        let function = builder.finish();
        let second = sizes(&function, 1);
        assert_eq!((&second["wide"][..], &second["mask"][..]), (&[32, 8192][..], &[32][..]));
        let turn = |sample| sizes(&function, sample)["one_of"].clone();
        assert_eq!([turn(0), turn(1), turn(2)], [[4], [16], [4]]);
    }
}
