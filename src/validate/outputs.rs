//! Outputs beside the source's, and which of them are distributions.

use super::Options;
use super::layers::numbers;
use crate::graph::{Function, ValueId};
use crate::metrics::{Closeness, Divergence, Rows};
use crate::report::validation::{Classes, Figures, OutputCheck};
use crate::runtime::Tensor;
use std::borrow::Cow;

/// One output over all steps.
#[derive(Default)]
pub(super) struct Compared {
    figures: Closeness,
    classes: Divergence,
}

impl Compared {
    /// Adds one step; false if the two have different numbers of elements. Labels have no numbers.
    /// Along `class_axis` lie the classes of a distribution; each position of the other dimensions is
    /// a row.
    pub(super) fn add(
        &mut self,
        expected: &[f32],
        got: &Tensor,
        class_axis: Option<usize>,
    ) -> bool {
        let Some(numbers) = numbers(got) else { return true };
        let Some(figures) = Closeness::of(expected, &numbers) else { return false };
        self.figures.merge(&figures);
        let Some(axis) = class_axis else { return true };
        // Scores have no shape: they are one row.
        let (classes, inner) = match got.shape() {
            [] => (numbers.len(), 1),
            shape => (shape[axis], shape[axis + 1..].iter().product()),
        };
        if classes >= 2 {
            let (x, y) = (rows(expected, classes, inner), rows(&numbers, classes, inner));
            self.classes.add(Rows::guess(&x, classes), classes, &x, &y);
        }
        true
    }

    /// What came of it; `None` if nothing was compared.
    pub(super) fn finish(self, function: &str, output: &str) -> Option<OutputCheck> {
        (self.figures.elements > 0).then(|| OutputCheck {
            function: function.into(),
            output: output.into(),
            figures: Figures::new(&self.figures),
            classes: (!self.classes.is_empty()).then(|| Classes::new(&self.classes)),
        })
    }
}

/// Values `[outer, classes, inner]` as rows `[outer · inner, classes]`.
fn rows(values: &[f32], classes: usize, inner: usize) -> Cow<'_, [f32]> {
    if inner <= 1 {
        return values.into();
    }
    let slabs = values.chunks_exact(classes * inner);
    let row = |slab: &'_ [f32], place: usize| {
        slab.iter().skip(place).step_by(inner).copied().collect::<Vec<_>>()
    };
    slabs.flat_map(|slab| (0..inner).flat_map(move |place| row(slab, place))).collect()
}

/// The axis of an output's classes, if it is a distribution over classes: one that `--logits` names,
/// whose name holds `logit` or `prob`, that `softmax` or `classify` makes.
///
/// It is the axis of the `softmax`; else the last, but of `[N, C, 1, 1]`, what a convolution or a pool
/// over the whole image gives, axis 1.
pub(super) fn class_axis(
    options: &Options,
    function: &Function,
    output: ValueId,
    shape: &[usize],
) -> Option<usize> {
    let name = function.value(output).name.as_str();
    let named = options.logits.iter().any(|logits| logits == name);
    let lower = name.to_ascii_lowercase();
    let told = lower.contains("logit") || lower.contains("prob");
    let maker = function.operations.iter().find(|operation| operation.outputs.contains(&output));
    let made = maker.filter(|maker| ["softmax", "classify"].contains(&maker.row.name));
    if !(named || told || made.is_some()) {
        return None;
    }
    let softmax = made.and_then(|maker| {
        let axis = function.value(maker.argument("axis")?).constant.as_ref()?;
        let axis = *axis.as_ints()?.first()?;
        let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
        usize::try_from(axis).ok().filter(|axis| *axis < shape.len())
    });
    Some(match shape {
        _ if softmax.is_some() => softmax?,
        [_, _, 1, 1] => 1,
        shape => shape.len().saturating_sub(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::Engine;
    use crate::graph::{Builder, Constant, DataType, Sizes, TensorType};
    use crate::runtime::Mode;
    use ndarray::ArrayD;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        let array = ArrayD::from_shape_vec(shape.to_vec(), values.to_vec()).unwrap();
        Tensor::float(DataType::Float32, array)
    }

    #[test]
    fn every_position_of_every_step_is_a_row() {
        let mut compared = Compared::default();
        let x = [0.0, 1.0, 3.0, 2.0, 0.0, 1.0];
        // One step of three positions, another of two: the last position changes its mind.
        assert!(compared.add(&x, &tensor(&[1, 3, 2], &x), Some(2)));
        assert!(compared.add(&x[..4], &tensor(&[1, 2, 2], &[0.0, 1.0, 2.0, 3.0]), Some(2)));
        let check = compared.finish("main", "logits").unwrap();
        let classes = check.classes.unwrap();
        assert_eq!((classes.rows, classes.top1), (5, 0.8));
    }

    #[test]
    fn classes_may_lie_along_any_axis() {
        // [1, 2 classes, 3 places]: the likeliest of places 0 and 1 is class 1, of place 2 class 0.
        let x = [0.0, 0.0, 5.0, 1.0, 1.0, 0.0];
        let y = [0.0, 2.0, 5.0, 1.0, 1.0, 0.0];
        let mut compared = Compared::default();
        assert!(compared.add(&x, &tensor(&[1, 2, 3], &y), Some(1)));
        let classes = compared.finish("main", "probs").unwrap().classes.unwrap();
        assert_eq!((classes.rows, classes.top1), (3, 2.0 / 3.0));
    }

    #[test]
    fn distributions_are_told_by_name_and_making() {
        let mut builder = Builder::new();
        let ty = TensorType::fixed(DataType::Float32, &[1, 4, 3]);
        let x = builder.input("x", ty, Sizes::Fixed).unwrap();
        let axis = builder.constant("axis", Constant::int(-2)).unwrap();
        let soft = builder.op("softmax", "y", &[("x", x), ("axis", axis)]).unwrap();
        let logits = builder.op("relu", "my_logits", &[("x", x)]).unwrap();
        let plain = builder.op("relu", "z", &[("x", x)]).unwrap();
        let function = builder.finish();
        let options = Options {
            package: "p".into(),
            against: None,
            golden: None,
            inputs: None,
            function: None,
            samples: 1,
            engines: vec![Engine::Cpu],
            mode: Mode::F32,
            logits: vec![],
            speed: false,
            text: None,
        };
        let shape = [1, 4, 3];
        let axis = |output, shape: &[usize]| class_axis(&options, &function, output, shape);
        assert_eq!(axis(soft, &shape), Some(1));
        assert_eq!(axis(logits, &shape), Some(2));
        assert_eq!(axis(logits, &[1, 10, 1, 1]), Some(1));
        assert_eq!(axis(logits, &[10]), Some(0));
        assert_eq!(axis(plain, &shape), None);
    }
}
