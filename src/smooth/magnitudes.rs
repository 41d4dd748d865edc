//! How large rows and columns of weights are, once the steps so far are done.

use super::{Model, Repeat, Scaled, Step};
use std::collections::BTreeMap;

/// A model's weights, and what the steps so far multiply them by.
pub(super) struct Weights<'m> {
    model: &'m Model<'m>,
    /// By weight and axis.
    multipliers: BTreeMap<(usize, usize), Vec<f32>>,
}

impl<'m> Weights<'m> {
    /// As they stand.
    pub(super) fn new(model: &'m Model<'m>) -> Self {
        Self { model, multipliers: BTreeMap::new() }
    }

    /// Does a step.
    pub(super) fn apply(&mut self, step: &Step) {
        for scaled in &step.scaled {
            let new = scaled.multipliers(&step.factors);
            let all = self.multipliers.entry((scaled.weight, scaled.axis));
            let all = all.or_insert_with(|| vec![1.0; new.len()]);
            all.iter_mut().zip(new).for_each(|(all, new)| *all *= new);
        }
    }

    /// For each of `count` channels, what `join` makes of 0 and of its elements in these weights, one after the other;
    /// `None` for a weight that cannot be read.
    pub(super) fn fold(
        &self,
        of: impl IntoIterator<Item = Scaled>,
        count: usize,
        join: impl Fn(f64, f64) -> f64,
    ) -> Option<Vec<f64>> {
        let mut folded = vec![0.0; count];
        for Scaled { weight, axis, repeat, .. } in of {
            let (shape, mut values) = (self.model.values)(weight)?;
            let inner = |axis: usize| shape[axis + 1..].iter().product::<usize>().max(1);
            for axis in 0..shape.len() {
                let Some(by) = self.multipliers.get(&(weight, axis)) else { continue };
                let inner = inner(axis);
                let each = values.iter_mut().enumerate();
                each.for_each(|(at, value)| *value *= by[at / inner % by.len()]);
            }
            let (inner, places) = (inner(axis), count * repeat.times);
            let channel: Vec<usize> =
                (0..places).map(|place| Repeat::channel(repeat, place)).collect();
            for (at, &value) in values.iter().enumerate() {
                let folded = &mut folded[channel[at / inner % places]];
                *folded = join(*folded, f64::from(value));
            }
        }
        Some(folded)
    }
}
