//! What each weight is multiplied with, and what a calibration knows of it.

use super::bias::Means;
use crate::calibrate::{Calibration, Feed, Hessian, Imatrix, Window};
use crate::graph::{Function, Role, ValueId};
use crate::plan::{Options, Plan};
use crate::quantize::{Feedback, Guide, Importance, Order};
use crate::scheme::Scheme;
use crate::text::listed;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Hessians whose factors are kept: the layers that read one value stand near each other in a file,
/// with one of another input between them at the most.
const KEPT: usize = 2;

/// The Hessians that were asked for last, ready for use: query, key and value share one.
#[derive(Debug, Default)]
struct Ready(Mutex<Vec<(Key, Arc<Feedback>)>>);

/// A weight's inputs, and whether its rows are looked up.
type Key = (BTreeSet<Input>, bool);

impl Ready {
    /// The one of this key; `make` makes it if it is not kept.
    fn of(&self, key: Key, make: impl FnOnce() -> Result<Feedback>) -> Result<Arc<Feedback>> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept().iter().find(|(of, _)| *of == key) {
            return Ok(Arc::clone(found));
        }
        // Room first: a factor is large.
        kept().truncate(KEPT - 1);
        let made = Arc::new(make()?);
        kept().insert(0, (key, Arc::clone(&made)));
        Ok(made)
    }
}

/// What guides the codes of one tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    calibration: Option<Arc<Calibration>>,
    imatrix: Option<Arc<Imatrix>>,
    ready: Arc<Ready>,
    inputs: BTreeSet<Input>,
    importance: bool,
    order: Option<Order>,
    /// Whether rows of it are looked up as well, as of an embedding that is also the head. Such a row
    /// comes out as it is: each column then counts as much again as a layer's inputs do on average.
    looked_up: bool,
    /// Its mean input, where a bias makes up for what rounding does to it.
    pub(super) means: Option<Arc<Means>>,
}

/// What is known of each tensor's inputs, where options ask for it; says what is not known in the
/// tensors' notes.
///
/// # Errors
/// [`Error::Usage`] where a calibration is missing, lacks what is asked for, or is of another model.
pub(super) fn known(
    plan: &mut Plan,
    inputs: &[BTreeSet<Input>],
    roles: &[Option<Role>],
) -> Result<Vec<Known>> {
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
    let ready = Arc::new(Ready::default());
    for (place, tensor) in plan.tensors.iter_mut().enumerate() {
        let (inputs, known) = (&inputs[place], &mut all[place]);
        let looked_up = roles.get(place).and_then(Option::as_ref);
        let looked_up = looked_up.is_some_and(|role| role.operations.contains("gather"));
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
        let rows = if looked_up { ", and for rows that are looked up" } else { "" };
        if let Some(by) = &by {
            tensor.notes.push(format!("errors weighted by E[x²] of {by}{rows}"));
        }
        if fed {
            tensor.notes.push(format!("GPTQ by the Hessian of {}{rows}", names()));
        }
        if by.is_some() || fed {
            guided = true;
            *known = Known {
                calibration: calibration.clone(),
                imatrix: imatrix.clone(),
                ready: Arc::clone(&ready),
                inputs: inputs.clone(),
                importance: by.is_some(),
                order: gptq.filter(|_| fed),
                looked_up,
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
    /// Bytes that GPTQ takes for a weight with so many columns: a Hessian and its factors, beside those
    /// of the layer before.
    pub(super) fn bytes(&self, columns: usize) -> u64 {
        let matrix = 8 * (columns as u64).saturating_mul(columns as u64);
        let factors = 2 * (KEPT as u64 - 1);
        self.order.map_or(0, |_| matrix.saturating_mul(3 + factors))
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
            let mut sums = self.energies(name).ok_or_else(wrong)?;
            if self.looked_up {
                let mean = mean(sums.iter().copied());
                sums.iter_mut().for_each(|sum| *sum += mean);
            }
            // An input that was always zero leaves nothing to weigh by.
            if sums.iter().any(|&sum| sum > 0.0) {
                let importance = Importance::new(&sums, shape).ok_or_else(wrong)?;
                guide.importance = Some(Arc::new(importance));
            }
        }
        if let Some((order, calibration)) = self.order.zip(self.calibration.as_ref()) {
            let make = || {
                let hessians = self.hessians(calibration).ok_or_else(wrong)?;
                let columns = shape.iter().skip(1).product();
                Feedback::new(&hessians, columns, order).ok_or_else(wrong)
            };
            let feedback = self.ready.of((self.inputs.clone(), self.looked_up), make)?;
            if !feedback.fits(shape) {
                return Err(wrong());
            }
            guide.feedback = Some(feedback);
        }
        Ok(guide)
    }

    /// The sums of its inputs' Hessians, one for each group; `None` where their sizes differ.
    fn hessians(&self, calibration: &Calibration) -> Option<Vec<Vec<f64>>> {
        let mut groups: Vec<Vec<f64>> = Vec::new();
        for hessian in self.inputs.iter().filter_map(|input| hessian(calibration, input)) {
            groups.resize(hessian.groups.max(groups.len()), Vec::new());
            for (group, sums) in groups.iter_mut().enumerate() {
                add(sums, &(group < hessian.groups).then(|| hessian.of_group(group))?)?;
            }
        }
        if self.looked_up {
            for sums in &mut groups {
                let columns = sums.len().isqrt();
                let mean = mean(sums.iter().copied().step_by(columns + 1));
                sums.iter_mut().step_by(columns + 1).for_each(|sum| *sum += mean);
            }
        }
        Some(groups)
    }
}

fn mean(x: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = x.len().max(1);
    x.sum::<f64>() / count as f64
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
