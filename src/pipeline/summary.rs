//! Plan and outcomes → report.

use super::run::Outcome;
use crate::plan::{Plan, PlannedTensor};
use crate::quantize;
use crate::report::TensorReport;
use crate::report::{ClipCurve, ClipPoint, ErrorReport, InputFile, OutputFile, Parts, Report};
use crate::scheme::Clip;

/// The report of a finished run.
pub(super) fn report(plan: &Plan, inputs: Vec<InputFile>, outcomes: Vec<Outcome>) -> Report {
    let mut warnings = plan.warnings.clone();
    warnings.extend(losing_percentiles(plan, &outcomes));
    let outputs = plan.outputs.iter().map(|output| OutputFile {
        kind: output.kind.to_string(),
        path: output.path.clone(),
        bytes: output.bytes,
    });
    let options = match serde_json::to_value(&plan.options) {
        Ok(serde_json::Value::Object(options)) => options,
        Ok(_) | Err(_) => unreachable!("options are a struct of words and numbers"),
    };
    Report::new(Parts {
        options,
        inputs,
        outputs: outputs.collect(),
        tensors: plan.tensors.iter().zip(outcomes).map(|(t, o)| tensor(t, o)).collect(),
        int8_path: plan.int8_path.clone(),
        remarks: plan.remarks.clone(),
        warnings,
    })
}

fn tensor(planned: &PlannedTensor, outcome: Outcome) -> TensorReport {
    let curve = outcome.curve.map(|curve| ClipCurve {
        points: curve.points.iter().map(point).collect(),
        chosen: point(&curve.chosen),
    });
    let error = planned.scheme.zip(outcome.stats);
    TensorReport {
        name: planned.name.clone(),
        dtype: planned.dtype.clone(),
        shape: planned.shape.clone(),
        scheme: planned.scheme,
        requested: planned.requested,
        rule: planned.rule.to_string(),
        notes: planned.notes.clone(),
        elements: planned.elements,
        bytes_before: planned.bytes_before,
        bytes_after: planned.bytes_after,
        error: error.map(|(scheme, stats)| ErrorReport::new(scheme, &stats, curve)),
    }
}

fn point(point: &quantize::ClipPoint) -> ClipPoint {
    ClipPoint::new(point.factor, point.sqnr_db)
}

/// A warning for each tensor that a percentile makes worse than clipping nothing would.
fn losing_percentiles(plan: &Plan, outcomes: &[Outcome]) -> Vec<String> {
    let clip = plan.options.clip;
    // A range that importances chose may lose plain SQNR, and means to.
    let percentile = matches!(clip, Clip::Percentile(_));
    let pairs = plan.tensors.iter().zip(outcomes).filter(|_| percentile);
    let losing = pairs.filter_map(|(planned, outcome)| {
        let curve = outcome.curve.as_ref().filter(|curve| curve.loses_to_none())?;
        let (chosen, none) = (curve.chosen.sqnr_db?, curve.points.first()?.sqnr_db?);
        Some(format!(
            "{}: --clip {clip} costs {:.1} dB ({chosen:.1} dB against {none:.1} dB with --clip none); \
             --clip mse never loses",
            planned.name,
            none - chosen
        ))
    });
    losing.collect()
}
