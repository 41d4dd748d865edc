//! INT8 activations of what a package is to hold.

use super::package::Subject;
use crate::activations::{self, Activations, Given, Quantized};
use crate::calibrate::Calibration;
use crate::graph::Program;
use crate::graph::weight::{Data, Weight};
use crate::plan::Plan;
use crate::text::listed;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Attention as one operation.
const FUSED: &str = "scaled_dot_product_attention";

/// What is asked for, and from what it follows; `None` for activations in float.
///
/// # Errors
/// [`Error::Usage`] for what has no activations to be known, or no ranges for them.
fn asked<'p>(
    plan: &'p Plan,
    subject: &Subject,
) -> Result<Option<(&'p Activations, &'p Calibration)>> {
    let Some(how) = &plan.options.activations else { return Ok(None) };
    let usage = |why: String| Err(Error::Usage(format!("--activations {how}: {why}")));
    if matches!(subject, Subject::Layers) {
        return usage(
            "the layers of a bare checkpoint read nothing of each other; give a folder with a \
             config.json that describes the model, or an .mlpackage"
                .into(),
        );
    }
    how.check(plan.options.target)?;
    match plan.options.counts() {
        Some(calibration) => Ok(Some((how, calibration))),
        None => usage(
            "ranges come from data; add --calibration with them, or with what `quantize calibrate` \
             counted on them"
                .into(),
        ),
    }
}

/// Puts pairs into all functions, where that is asked for; says what stays in float.
///
/// # Errors
/// As [`asked`]; [`Error::Usage`] where the statistics are of another model, and where no layer can
/// multiply in INT8.
pub(super) fn pair(programs: &mut [Program], plan: &mut Plan, subject: &Subject) -> Result<()> {
    let Some((how, calibration)) = asked(plan, subject)? else { return Ok(()) };
    let original = |weight: &Weight| {
        let operands = weight.storage.operands();
        operands.into_iter().find_map(|(_, operand)| match operand.data {
            Data::Later(slot) => Some(plan.tensors[slot.tensor].name.as_str()),
            Data::Bytes(_) => None,
        })
    };
    let mut all = Quantized::default();
    let mut fused = false;
    for function in programs.iter_mut().flat_map(|program| program.functions.values_mut()) {
        fused |= function.operations.iter().any(|operation| operation.row.name == FUSED);
        let one = activations::quantize(function, Given { calibration, how, original: &original });
        all.values += one.values;
        all.layers.extend(one.layers);
        all.left.extend(one.left);
    }
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (layer, why) in &all.left {
        reasons.entry(why).or_default().push(layer);
    }
    let told = reasons
        .iter()
        .map(|(why, layers)| format!("not in INT8: {why}: {}", listed(layers.iter().copied())));
    let told: Vec<String> = told.collect();
    if all.layers.is_empty() && !how.planned {
        let why = match told.is_empty() {
            true => "the model has no linear or conv with a constant weight".into(),
            false => told.join("; "),
        };
        return Err(Error::Usage(format!(
            "--activations {how}: no layer can multiply in INT8; {why}"
        )));
    }
    if how.matmul && fused {
        let instead = match subject {
            Subject::Program { .. } => {
                "convert the model's own folder with --unit ane or --target ios17"
            }
            Subject::Whole(_) | Subject::Layers => "--unit ane or --target ios17",
        };
        let told = format!(
            "--activations {how}: attention is one operation here ({FUSED}), whose products stay in \
             float; {instead} writes them out, as matmul"
        );
        plan.warnings.push(told);
    }
    plan.warnings.extend(told);
    Ok(())
}
