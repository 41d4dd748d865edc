//! What each weight is multiplied with, and what a calibration knows of it.

use super::bias::Means;
use crate::calibrate::{Calibration, Feed, Hessian, Imatrix, Window};
use crate::graph::{Function, ValueId};
use crate::plan::{Options, Plan};
use crate::quantize::{Feedback, Guide, Importance, Order};
use crate::scheme::Scheme;
use crate::text::listed;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A value that operations multiply with a weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Input {
    /// Its name, in whatever functions it stands.
    name: String,
    /// How its numbers meet the weight.
    window: Option<Window>,
    /// Whether the weight has its inputs first.
    turned: bool,
}

/// Calls `found` with each constant of a function that is multiplied with a value, and that value.
pub(super) fn each(function: &Function, mut found: impl FnMut(ValueId, Input)) {
    for feed in function.operations.iter().filter_map(|operation| Feed::of(function, operation)) {
        let Feed { value, weight, window, turned, .. } = feed;
        let name = function.value(value).name.clone();
        found(weight, Input { name, window, turned });
    }
}

/// Why a weight with its inputs first is not guided by them.
const TURNED: &str = "its inputs lie along its first axis";

/// What guides the codes of one tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    calibration: Option<Arc<Calibration>>,
    imatrix: Option<Arc<Imatrix>>,
    inputs: BTreeSet<Input>,
    importance: bool,
    order: Option<Order>,
    /// Its mean input, where a bias makes up for what rounding does to it.
    pub(super) means: Option<Arc<Means>>,
}

/// What is known of each tensor's inputs, where options ask for it; says what is not known in the
/// tensors' notes.
///
/// # Errors
/// [`Error::Usage`] where a calibration is missing, lacks what is asked for, or is of another model.
pub(super) fn known(plan: &mut Plan, inputs: &[BTreeSet<Input>]) -> Result<Vec<Known>> {
    let Options { importance, gptq, .. } = plan.options;
    let nothing = vec![Known::default(); plan.tensors.len()];
    let asked: Vec<&str> = [("--importance", importance), ("--gptq", gptq.is_some())]
        .into_iter()
        .filter_map(|(word, is)| is.then_some(word))
        .collect();
    if asked.is_empty() {
        return Ok(nothing);
    }
    let usage = |why: &str| Err(Error::Usage(format!("{}: {why}", asked.join(" and "))));
    let (calibration, imatrix) = (plan.options.counts().cloned(), plan.options.imatrix.clone());
    if calibration.is_none() && imatrix.is_none() {
        return usage(
            "what inputs are comes from data; add --calibration with what `quantize calibrate` wrote",
        );
    }
    let counted = || calibration.iter().flat_map(|calibration| calibration.values.values());
    if gptq.is_some() && counted().all(|entry| entry.hessians.is_empty()) {
        return usage("the calibration holds no Hessians; run `quantize calibrate --hessians`");
    }
    let mut all = nothing;
    let mut guided = false;
    for ((tensor, inputs), known) in plan.tensors.iter_mut().zip(inputs).zip(&mut all) {
        if !matches!(tensor.scheme, Some(Scheme::Linear(_) | Scheme::Palette(_))) {
            continue;
        }
        let names = || listed(inputs.iter().map(|input| input.name.as_str()));
        let entry = |input: &Input| calibration.as_ref()?.values.get(&input.name);
        let has_squares =
            |input: &Input| entry(input).is_some_and(|e| !e.statistics.squares().is_empty());
        let has_hessian =
            |input: &Input| calibration.as_ref().is_some_and(|c| hessian(c, input).is_some());
        let name = tensor.name.clone();
        let mut left = |what: &str, why: String| tensor.notes.push(format!("{what}: {why}"));
        let mut usable = |what: &str, has: &dyn Fn(&Input) -> bool| {
            let why = match () {
                () if inputs.is_empty() => "no layer multiplies it with an activation".into(),
                () if inputs.iter().any(|input| input.turned) => TURNED.into(),
                () if !inputs.iter().all(has) => {
                    format!("not counted in the calibration: {}", names())
                }
                () => return true,
            };
            left(what, why);
            false
        };
        const UNWEIGHTED: &str = "not weighted by its inputs";
        let fed = gptq.is_some() && usable("rounded, without GPTQ", &has_hessian);
        let by = match (&imatrix, inputs.iter().any(|input| input.turned)) {
            _ if !importance => None,
            (None, _) => usable(UNWEIGHTED, &has_squares).then(names),
            (Some(_), true) => {
                left(UNWEIGHTED, TURNED.into());
                None
            }
            (Some(imatrix), false) => match imatrix.energies(&name) {
                Ok(energies) => Some(energies.name.to_owned()),
                Err(why) => {
                    left(UNWEIGHTED, why);
                    None
                }
            },
        };
        let one_by_one = match tensor.scheme {
            Some(Scheme::Palette(palette)) => palette.vector == 1 && !palette.unique,
            _ => true,
        };
        if fed && !one_by_one {
            tensor.notes.push("rounded, without GPTQ: it chooses single weights' entries".into());
        }
        let fed = fed && one_by_one;
        if let Some(by) = &by {
            tensor.notes.push(format!("errors weighted by E[x²] of {by}"));
        }
        if fed {
            tensor.notes.push(format!("GPTQ by the Hessian of {}", names()));
        }
        if by.is_some() || fed {
            guided = true;
            *known = Known {
                calibration: calibration.clone(),
                imatrix: imatrix.clone(),
                inputs: inputs.clone(),
                importance: by.is_some(),
                order: gptq.filter(|_| fed),
                means: None,
            };
        }
    }
    if let Some(imatrix) = imatrix.filter(|_| !guided) {
        return usage(&format!(
            "the imatrix knows the input of none of the weights that are quantized: it has {}, and is for \
             checkpoints of the same model with Hugging Face's names (model.layers.0.self_attn.q_proj.weight)",
            imatrix.some_names()
        ));
    }
    if !guided {
        return usage(
            "the calibration counted the input of none of the weights that are quantized; calibrate the \
             package that the same folder, --unit and --names give in float",
        );
    }
    Ok(all)
}

/// The Hessian of the layers that read a value in this way.
fn hessian<'c>(calibration: &'c Calibration, input: &Input) -> Option<&'c Hessian> {
    let entry = calibration.values.get(&input.name)?;
    entry.hessians.iter().find(|hessian| hessian.window == input.window)
}

impl Known {
    /// Bytes that GPTQ takes for a weight with so many columns.
    pub(super) fn bytes(&self, columns: usize) -> u64 {
        let matrix = 8 * (columns as u64).saturating_mul(columns as u64);
        self.order.map_or(0, |_| matrix.saturating_mul(3))
    }

    /// The energies of the columns that the weight `name` is multiplied with, up to a factor; `None` where
    /// they do not fit together.
    fn energies(&self, name: &str) -> Option<Vec<f64>> {
        if let Some(imatrix) = &self.imatrix {
            return imatrix.energies(name).ok().map(|energies| energies.columns);
        }
        let mut sums = Vec::new();
        for input in &self.inputs {
            add(
                &mut sums,
                &self.calibration.as_ref()?.values.get(&input.name)?.statistics.squares(),
            )?;
        }
        Some(sums)
    }

    /// What guides the codes of a weight `name` of this shape.
    ///
    /// # Errors
    /// [`Error::Input`] where the calibration's columns are not the weight's.
    pub(super) fn guide(&self, name: &str, shape: &[usize]) -> Result<Guide> {
        let wrong = || {
            let found = "the columns that were counted of its input are not its own";
            Error::input(format!("tensor `{name}`"), found, "calibrate this model again")
        };
        let mut guide = Guide::default();
        if self.importance {
            let sums = self.energies(name).ok_or_else(wrong)?;
            // An input that was always zero leaves nothing to weigh by.
            if sums.iter().any(|&sum| sum > 0.0) {
                let importance = Importance::new(&sums, shape).ok_or_else(wrong)?;
                guide.importance = Some(Arc::new(importance));
            }
        }
        if let Some((order, calibration)) = self.order.zip(self.calibration.as_ref()) {
            let mut groups: Vec<Vec<f64>> = Vec::new();
            for hessian in self.inputs.iter().filter_map(|input| hessian(calibration, input)) {
                groups.resize(hessian.groups.max(groups.len()), Vec::new());
                for (group, sums) in groups.iter_mut().enumerate() {
                    let more = (group < hessian.groups).then(|| hessian.of_group(group));
                    add(sums, &more.ok_or_else(wrong)?).ok_or_else(wrong)?;
                }
            }
            let feedback = Feedback::new(&groups, shape, order).ok_or_else(wrong)?;
            guide.feedback = Some(Arc::new(feedback));
        }
        Ok(guide)
    }
}

/// Adds numbers to as many, or to none yet.
fn add(sums: &mut Vec<f64>, more: &[f64]) -> Option<()> {
    if sums.is_empty() {
        sums.extend_from_slice(more);
        return Some(());
    }
    (sums.len() == more.len()).then_some(())?;
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    Some(())
}
