//! All values, while the model runs.

use super::counting::{Columns, Counting};
use super::hessian::Gathering;
use super::{Calibration, Data, Entry, Model, Watch, Window};
use crate::{Error, Result};
use rayon::prelude::*;
use regex::Regex;
use std::collections::BTreeMap;

/// Counts what it is shown. Values of one name are one value, whichever function shows them: the
/// functions of a language model for one token and for several are the same model.
#[derive(Debug, Default)]
pub struct Recorder {
    places: BTreeMap<String, usize>,
    slots: Vec<Slot>,
    hessians: Option<Regex>,
}

#[derive(Debug)]
struct Slot {
    watch: Watch,
    counting: Counting,
    /// By how the value meets weights.
    gatherings: BTreeMap<Option<Window>, Gathering>,
}

impl Recorder {
    /// Will be shown a value; returns its number.
    ///
    /// # Errors
    /// [`Error::Input`] for a name under which another function has columns along another axis.
    pub fn expect(&mut self, watch: &Watch) -> Result<usize> {
        let Some(&place) = self.places.get(&watch.name) else {
            let mut slot = Slot::new(watch);
            if self.wants_hessians(watch) {
                slot.gather(watch);
            }
            self.places.insert(watch.name.clone(), self.slots.len());
            self.slots.push(slot);
            return Ok(self.slots.len() - 1);
        };
        if self.slots[place].watch.axis != watch.axis {
            return Err(Error::input(
                format!("value `{}`", watch.name),
                "two functions of the package have different values of this name",
                "name the one function that is meant",
            ));
        }
        if self.wants_hessians(watch) {
            self.slots[place].gather(watch);
        }
        Ok(place)
    }

    /// Also gathers the Hessians of layers that read values whose names a pattern matches, of all that
    /// are expected from now on.
    pub fn gather_hessians(&mut self, of: &Regex) {
        self.hessians = Some(of.clone());
    }

    fn wants_hessians(&self, watch: &Watch) -> bool {
        self.hessians.as_ref().is_some_and(|of| of.is_match(&watch.name))
    }

    /// Counts tensors of a sample: the number of each value, its elements in row-major order, its
    /// shape. Each value comes at most once.
    ///
    /// # Errors
    /// [`Error::Input`] for a value with another number of columns than before; [`Error::Usage`] for one
    /// with more than a Hessian may have.
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
        let entry = |Slot { watch, counting, gatherings }: Slot| {
            let Watch { name, made_by, read_by, axis, windows: _ } = watch;
            let finished = gatherings.into_values().filter_map(Gathering::finish);
            let hessians = finished.collect();
            let statistics = counting.finish();
            (name, Entry { made_by, read_by, axis, statistics, hessians })
        };
        let values = self.slots.into_par_iter().map(entry).collect();
        Calibration { model, data: vec![data], values }
    }
}

impl Slot {
    fn new(watch: &Watch) -> Self {
        let counting = Counting::default();
        Self { watch: watch.clone(), counting, gatherings: BTreeMap::new() }
    }

    /// Gathers a Hessian for each way of meeting a weight that is new.
    fn gather(&mut self, watch: &Watch) {
        for window in &watch.windows {
            let new = || Gathering::new(window.clone());
            self.gatherings.entry(window.clone()).or_insert_with(new);
        }
    }

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
        let Some(axis) = self.watch.axis.filter(|_| !elements.is_empty()) else { return Ok(()) };
        let name = &self.watch.name;
        self.gatherings.values_mut().try_for_each(|g| g.add(name, elements, shape, axis))
    }
}
