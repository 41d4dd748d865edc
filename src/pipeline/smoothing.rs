//! Outlier columns of a run's weights, moved.

use super::package::Subject;
use super::roles;
use crate::graph::{Function, ValueId};
use crate::plan::Options;
use crate::smooth::{self, Model, Step};
use crate::source::Source;
use crate::{Error, Result};
use std::collections::HashMap;

/// Plans what `--smooth` asks for, and scales the source's tensors so; what is left to be put into the
/// functions is in the steps.
///
/// # Errors
/// [`Error::Usage`] for an input without a model, for ranges of INT8 that were counted before outliers
/// moved, and where nothing was counted that could be moved.
pub(super) fn smooth(
    source: &mut Source,
    subject: &Subject,
    options: &Options,
) -> Result<Vec<Step>> {
    let Some(alpha) = options.smooth else { return Ok(vec![]) };
    let usage = |why: &str| Err(Error::Usage(format!("--smooth {alpha}: {why}")));
    if options.activations.is_some() {
        return usage(
            "activations are other numbers once outliers have moved; convert with --smooth and \
             --scheme float16, calibrate that package, and quantize it",
        );
    }
    let Some(calibration) = options.calibration.as_deref() else {
        return usage("add --calibration, which says which columns are outliers");
    };
    let steps = {
        let read: &Source = source;
        let values = |place: usize| {
            let tensor = read.tensors().get(place)?;
            Some((tensor.shape.clone(), read.values(tensor)?))
        };
        let plan = |functions: Vec<Numbered<'_>>| {
            smooth::plan(&Model { functions, values: &values }, calibration, alpha)
        };
        match subject {
            Subject::Layers => {
                return usage("bare layers read nothing of each other; give a model or a package");
            }
            Subject::Whole(whole) => {
                let programs = roles::in_float(whole, read, options)?;
                let functions = programs.iter().flat_map(|program| program.functions.values());
                let number = |function| -> Numbered<'_> {
                    (function, Box::new(move |id| roles::tensor_of(function, id)))
                };
                plan(functions.map(number).collect())
            }
            Subject::Program { program, constants } => {
                let mut places: HashMap<(&str, ValueId), usize> = HashMap::new();
                for (place, constant) in constants.iter().enumerate().filter(|(_, c)| !c.compressed)
                {
                    let stands = constant.places.iter();
                    places.extend(stands.map(|(name, id)| ((name.as_str(), *id), place)));
                }
                let number = |(name, function)| -> Numbered<'_> {
                    let (name, places): (&String, _) = (name, &places);
                    (function, Box::new(move |id| places.get(&(name.as_str(), id)).copied()))
                };
                plan(program.functions.iter().map(number).collect())
            }
        }
    };
    if steps.is_empty() {
        return usage(
            "no layer that was calibrated reads a column worth moving; leave it out, or check that \
             the calibration is of this model",
        );
    }
    for step in &steps {
        for scaled in &step.scaled {
            let factors = step.factors.iter().map(|&s| if scaled.divided { 1.0 / s } else { s });
            source.scale(scaled.weight, scaled.axis, factors.collect())?;
        }
    }
    Ok(steps)
}

/// A function, and what tensor each of its constants is.
type Numbered<'f> = (&'f Function, Box<dyn Fn(ValueId) -> Option<usize> + 'f>);
