//! Columns of a run's weights, made alike.

use super::package::Subject;
use super::roles;
use crate::plan::Options;
use crate::smooth::{self, Model, Smooth, Step};
use crate::source::Source;
use crate::{Error, Result};

/// Plans what `--smooth` or `--equalize` asks for, and scales the source's tensors so; what is left to be
/// put into the functions is in the steps.
///
/// # Errors
/// [`Error::Usage`] for an input without a model, for what follows from activations that were counted before
/// columns were scaled, and where no outlier was counted that could be moved.
pub(super) fn smooth(
    source: &mut Source,
    subject: &Subject,
    options: &Options,
    warnings: &mut Vec<String>,
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
    let read: &Source = source;
    let values = |place: usize| {
        let tensor = read.tensors().get(place)?;
        Some((tensor.shape.clone(), read.values(tensor)?))
    };
    let steps = roles::with_functions(subject, read, options, |functions| {
        smooth::plan(&Model { functions, values: &values }, smooth, calibration)
    })?;
    let Some(steps) = steps else {
        return usage("bare layers read nothing of each other; give a model or a package");
    };
    if steps.is_empty() {
        match smooth {
            Smooth::Measured(_) => {
                return usage(
                    "no layer that was calibrated reads a column worth moving; leave it out, or check \
                     that the calibration is of this model",
                );
            }
            Smooth::Equalized => warnings.push(format!(
                "{smooth}: nothing is scaled: no two layers, or norm and layer, follow each other whose \
                 rows and columns differ by more than a factor of 2"
            )),
        }
    }
    for step in &steps {
        for scaled in &step.scaled {
            source.scale(scaled.weight, scaled.axis, scaled.multipliers(&step.factors))?;
        }
    }
    Ok(steps)
}
