//! Which weights are chosen for, and what they could become.

use super::super::inputs::{self, Known};
use super::super::package::{self, Subject};
use super::super::prepare::{Opened, headers};
use super::{CANDIDATES, Wanted};
use crate::auto;
use crate::graph::Program;
use crate::model::architectures::Model;
use crate::plan::{Chosen, FeatureNames, Options, Output, Plan, PrefillLogits};
use crate::scheme::{Float, Scheme};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// The weights, and all that trying them takes.
pub(super) struct Found {
    pub(super) opened: Opened,
    /// The weights, in the order of the source's tensors.
    pub(super) subject: auto::Subject,
    /// Each one's tensors: its own, then its copies.
    pub(super) tensors: Vec<Vec<usize>>,
    /// The plan of each candidate scheme for all tensors, with what guides their codes.
    plans: Vec<(Plan, Vec<Known>)>,
    /// The model in float: its weights are still to come, and name their tensors.
    pub(super) program: Program,
}

impl Found {
    /// The names of a weight's copies.
    pub(super) fn copies(&self, weight: usize) -> impl Iterator<Item = &str> {
        let tensors = self.opened.source.tensors();
        self.tensors[weight].iter().skip(1).map(|&tensor| tensors[tensor].name.as_str())
    }

    /// What guides a tensor's codes in this scheme.
    pub(super) fn known(&self, tensor: usize, scheme: Scheme) -> Option<&Known> {
        let plan = self.plans.iter().find(|(plan, _)| plan.tensors[tensor].scheme == Some(scheme));
        plan.map(|(_, known)| &known[tensor])
    }

    /// What becomes of all tensors that are not chosen for.
    pub(super) fn others(&self) -> impl Iterator<Item = (usize, Scheme)> {
        let free: BTreeSet<usize> = self.tensors.iter().flatten().copied().collect();
        let planned = self.plans.iter().take(1).flat_map(|(plan, _)| plan.tensors.iter());
        planned
            .enumerate()
            .filter(move |(tensor, _)| !free.contains(tensor))
            .filter_map(|(tensor, planned)| Some((tensor, planned.scheme?)))
    }
}

/// Finds them.
///
/// # Errors
/// [`Error::Usage`] where no candidate or no weight is left, and for a candidate of the command line
/// that the target lacks.
pub(super) fn of(mut opened: Opened, options: &Options, wanted: &Wanted) -> Result<Found> {
    let headers = headers(&opened);
    opened.inputs.resize_with(headers.len(), BTreeSet::new);
    let plan = |scheme: Scheme| -> Result<(Plan, Vec<Known>)> {
        let options = Options { scheme, target: opened.options.target, ..options.clone() };
        let mut plan = Plan::new(&headers, &options)?;
        let known = match scheme {
            Scheme::Float(_) => vec![Known::default(); plan.tensors.len()],
            _ => inputs::known(&mut plan, &opened.inputs, &opened.roles)?,
        };
        Ok((plan, known))
    };
    // In float first: what all others are beside.
    let float = Scheme::Float(Float::F16);
    let mut plans = vec![plan(float)?];
    let schemes: Vec<Scheme> = match wanted.candidates.is_empty() {
        true => CANDIDATES.iter().filter_map(|words| words.parse().ok()).collect(),
        false => wanted.candidates.clone(),
    };
    let offers_float = schemes.contains(&float);
    for scheme in schemes.into_iter().filter(|scheme| *scheme != float) {
        match plan(scheme) {
            Ok(planned) => plans.push(planned),
            // What this target lacks is no candidate for it.
            Err(Error::Usage(_)) if wanted.candidates.is_empty() => {}
            Err(other) => return Err(other),
        }
    }
    let program = in_float(&mut plans[0].0.clone(), &opened.subject)?;
    let used = super::trial::places(&program);
    let copies = match &opened.subject {
        Subject::Whole(whole) => whole.copies.as_slice(),
        Subject::Layers | Subject::Program { .. } => &[],
    };
    let mut subject = auto::Subject::default();
    let mut tensors = Vec::new();
    for (at, planned) in plans[0].0.tensors.iter().enumerate() {
        // As in reports: all tensors that are not copied.
        if planned.scheme.is_some() {
            subject.elements += planned.elements;
            subject.other_bytes += planned.bytes_after;
        }
        if planned.rule != Chosen::Default || !used.contains(&at) {
            continue;
        }
        let name = &planned.name;
        let is_copy = |tensor: &&str| copies.iter().any(|[copy, of]| copy == tensor && of == name);
        let all = plans[0].0.tensors.iter().enumerate();
        let twins = all.filter(|(_, t)| is_copy(&t.name.as_str())).map(|(place, _)| place);
        let of_this: Vec<usize> = std::iter::once(at).chain(twins).collect();
        let skip = usize::from(!offers_float);
        let mut candidates: Vec<(Scheme, u64)> = Vec::new();
        for (plan, _) in plans.iter().skip(skip) {
            let Some(scheme) = plan.tensors[at].scheme else { continue };
            let bytes = of_this.iter().map(|&tensor| plan.tensors[tensor].bytes_after).sum();
            if !candidates.iter().any(|(known, _)| *known == scheme) {
                candidates.push((scheme, bytes));
            }
        }
        candidates.sort_by_key(|(_, bytes)| *bytes);
        if !candidates.is_empty() {
            let name = name.clone();
            subject.weights.push(auto::Weight { name, elements: planned.elements, candidates });
            tensors.push(of_this);
        }
    }
    for &tensor in tensors.iter().flatten() {
        subject.other_bytes -= plans[0].0.tensors[tensor].bytes_after;
    }
    if subject.weights.is_empty() {
        return Err(Error::Usage(
            "--scheme auto: there is no weight to choose for; rules choose for all, or all are small"
                .into(),
        ));
    }
    Ok(Found { opened, subject, tensors, plans, program })
}

/// The program in float, in one package, of a language model with the logits of every token.
fn in_float(plan: &mut Plan, subject: &Subject) -> Result<Program> {
    let options = &mut plan.options;
    options.rules.clear();
    options.activations = None;
    options.outputs = [Output::Mlpackage].into();
    options.model.chunks = 1;
    if let Subject::Whole(whole) = subject
        && matches!(whole.model, Model::Decoder(_))
    {
        options.model.names = FeatureNames::Transformers;
        options.model.prefill_logits = Some(PrefillLogits::All);
    }
    let float = Scheme::Float(Float::F16);
    for (place, tensor) in plan.tensors.iter_mut().enumerate() {
        if tensor.storage.is_some() && tensor.is_quantized() {
            tensor.storage =
                Some(crate::graph::weight::Storage::planned(float, &tensor.shape, place));
        }
    }
    let places: Vec<usize> =
        (0..plan.tensors.len()).filter(|&i| plan.tensors[i].storage.is_some()).collect();
    let programs = package::programs(plan, subject, &places)?;
    programs.into_iter().next().ok_or_else(|| Error::bug("--scheme auto", "no program"))
}
