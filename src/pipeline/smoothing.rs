//! Columns of a run's weights, made alike.

use super::package::Subject;
use super::roles;
use crate::graph::{Function, ValueId};
use crate::plan::Options;
use crate::smooth::{self, Model, Smooth, Step};
use crate::source::Source;
use crate::{Error, Result};
use std::collections::HashMap;

/// Plans what `--smooth` or `--equalize` asks for, and scales the source's tensors so; what is left to be
/// put into the functions is in the steps.
///
/// # Errors
/// [`Error::Usage`] for an input without a model, for what follows from activations that were counted before
/// columns were scaled, and where nothing could be scaled.
pub(super) fn smooth(
    source: &mut Source,
    subject: &Subject,
    options: &Options,
) -> Result<Vec<Step>> {
    let Some(smooth) = options.smooth else { return Ok(vec![]) };
    let usage = |why: &str| Err(Error::Usage(format!("{smooth}: {why}")));
    let asked = options.counted_for();
    if !asked.is_empty() && options.counts().is_none() {
        return usage(&format!(
            "{} follows from activations once columns are scaled, which are other numbers; let \
             --calibration be data in place of counts, and they are counted then",
            asked.join(" and ")
        ));
    }
    let calibration = options.calibration.as_deref();
    if matches!(smooth, Smooth::Measured(_)) && calibration.is_none() {
        return usage(
            "add --calibration, which says which columns are outliers, or let --equalize follow the \
             weights alone",
        );
    }
    let steps = {
        let read: &Source = source;
        let values = |place: usize| {
            let tensor = read.tensors().get(place)?;
            Some((tensor.shape.clone(), read.values(tensor)?))
        };
        let plan = |functions: Vec<Numbered<'_>>| {
            smooth::plan(&Model { functions, values: &values }, smooth, calibration)
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
        return usage(match smooth {
            Smooth::Measured(_) => {
                "no layer that was calibrated reads a column worth moving; leave it out, or check that \
                 the calibration is of this model"
            }
            Smooth::Equalized => {
                "no two layers, or norm and layer, follow each other so that columns can be scaled, or \
                 all are alike; leave it out"
            }
        });
    }
    for step in &steps {
        for scaled in &step.scaled {
            source.scale(scaled.weight, scaled.axis, scaled.multipliers(&step.factors))?;
        }
    }
    Ok(steps)
}

/// A function, and what tensor each of its constants is.
type Numbered<'f> = (&'f Function, Box<dyn Fn(ValueId) -> Option<usize> + 'f>);
