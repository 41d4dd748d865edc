//! All values, while the model runs.

use super::counting::{Columns, Counting};
use super::{Calibration, Data, Entry, Model, Watch};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Counts what it is shown. Values of one name are one value, whichever function shows them: the
/// functions of a language model for one token and for several are the same model.
#[derive(Debug, Default)]
pub struct Recorder {
    places: BTreeMap<String, usize>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    watch: Watch,
    counting: Counting,
}

impl Recorder {
    /// Will be shown a value; returns its number.
    ///
    /// # Errors
    /// [`Error::Input`] for a name under which another function has columns along another axis.
    pub fn expect(&mut self, watch: &Watch) -> Result<usize> {
        let Some(&place) = self.places.get(&watch.name) else {
            self.slots.push(Slot { watch: watch.clone(), counting: Counting::default() });
            self.places.insert(watch.name.clone(), self.slots.len() - 1);
            return Ok(self.slots.len() - 1);
        };
        if self.slots[place].watch.axis != watch.axis {
            return Err(Error::input(
                format!("value `{}`", watch.name),
                "two functions of the package have different values of this name",
                "name the one function that is meant",
            ));
        }
        Ok(place)
    }

    /// Counts tensors of a sample: the number of each value, its elements in row-major order, its
    /// shape. Each value comes at most once.
    ///
    /// # Errors
    /// [`Error::Input`] for a value with another number of columns than before.
    pub fn record<'t>(
        &mut self,
        tensors: impl IntoIterator<Item = (usize, &'t [f32], &'t [usize])>,
    ) -> Result<()> {
        let mut given: Vec<Option<(&[f32], &[usize])>> = vec![None; self.slots.len()];
        for (place, elements, shape) in tensors {
            given[place] = Some((elements, shape));
        }
        let slots = self.slots.par_iter_mut().zip(given);
        slots.try_for_each(|(slot, given)| match given {
            Some((elements, shape)) => slot.add(elements, shape),
            None => Ok(()),
        })
    }

    /// Ends a sample.
    pub fn end_sample(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.counting.end_sample());
    }

    /// What was counted of this model on this data.
    pub fn finish(self, model: Model, data: Data) -> Calibration {
        let entry = |Slot { watch, counting }: Slot| {
            let Watch { name, made_by, read_by, axis } = watch;
            (name, Entry { made_by, read_by, axis, statistics: counting.finish() })
        };
        let values = self.slots.into_iter().map(entry).collect();
        Calibration { model, data: vec![data], values }
    }
}

impl Slot {
    fn add(&mut self, elements: &[f32], shape: &[usize]) -> Result<()> {
        let columns = self.watch.axis.and_then(|axis| Columns::along(axis, shape));
        let known = self.counting.columns();
        if let (Some(Columns { count, .. }), Some(known)) = (columns, known)
            && count != known
        {
            return Err(Error::input(
                format!("value `{}`", self.watch.name),
                format!("it has {count} columns here and {known} before"),
                "name the one function that is meant",
            ));
        }
        self.counting.add(elements, columns);
        Ok(())
    }
}
