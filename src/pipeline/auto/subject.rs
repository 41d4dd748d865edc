//! Which weights are chosen for, and what they could become.

use super::super::inputs::{self, Known};
use super::super::package::{self, Subject};
use super::super::prepare::{Opened, headers};
use super::clock::Clock;
use super::pairs::{Pairs, multiplies_in_int8};
use super::{CANDIDATES, INT8_CANDIDATES, Wanted};
use crate::auto::{self, Budget, Form, Input, Price, Time, Variant};
use crate::graph::Program;
use crate::model::architectures::Model;
use crate::plan::{Chosen, FeatureNames, Options, Output, Plan, PlannedTensor, PrefillLogits};
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
    /// How pairs are put, where activations become INT8.
    pub(super) pairs: Option<Pairs>,
    /// Whose time is chosen by.
    pub(super) clock: Option<Clock>,
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

    /// What becomes of all tensors that are not chosen for: layers read INT8 wherever they can.
    pub(super) fn others(&self) -> impl Iterator<Item = (usize, Form)> {
        let free: BTreeSet<usize> = self.tensors.iter().flatten().copied().collect();
        let planned = self.plans.iter().take(1).flat_map(|(plan, _)| plan.tensors.iter());
        planned
            .enumerate()
            .filter(move |(tensor, _)| !free.contains(tensor))
            .filter_map(|(tensor, planned)| Some((tensor, Form::int8(planned.scheme?))))
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
    let pairs = Pairs::of(options)?;
    let forms = forms(wanted, pairs.is_some());
    let mut schemes: Vec<Scheme> = Vec::new();
    for form in &forms {
        if !schemes.contains(&form.scheme) {
            schemes.push(form.scheme);
        }
    }
    for scheme in schemes.into_iter().filter(|scheme| *scheme != float) {
        match plan(scheme) {
            Ok(planned) => plans.push(planned),
            // What this target lacks is no candidate for it.
            Err(Error::Usage(_)) if wanted.candidates.is_empty() => {}
            Err(other) => return Err(other),
        }
    }
    let all_logits = Some(PrefillLogits::All);
    let program = in_float(&mut plans[0].0.clone(), &opened.subject, all_logits)?;
    let clock = match &wanted.timed {
        None => None,
        Some(timed) => {
            let logits = options.model.prefill_logits;
            let program = in_float(&mut plans[0].0.clone(), &opened.subject, logits)?;
            Some(Clock::new(timed, options.model.unit, &program)?)
        }
    };
    let sources = opened.source.tensors();
    let readers = pairs.as_ref().map(|pairs| pairs.readers(&program, sources)).unwrap_or_default();
    let price = |tensor: usize, form: Form, of: &PlannedTensor| {
        let time = |clock: &Clock| clock.time(tensor, form, of.bytes_after, of.elements);
        Price { bytes: of.bytes_after, time: clock.as_ref().map(time) }
    };
    let multiplies = |tensor: usize, scheme: Scheme| {
        readers.contains(&tensor) && multiplies_in_int8(scheme, &plans[0].0.tensors[tensor].shape)
    };
    let used = super::trial::places(&program);
    let copies = match &opened.subject {
        Subject::Whole(whole) => whole.copies.as_slice(),
        Subject::Layers | Subject::Program { .. } => &[],
    };
    let nothing = Price { bytes: 0, time: clock.as_ref().map(|_| Time::default()) };
    let mut subject = auto::Subject { others: nothing, ..auto::Subject::default() };
    let mut tensors: Vec<Vec<usize>> = Vec::new();
    for (at, planned) in plans[0].0.tensors.iter().enumerate() {
        // As in reports: all tensors that are not copied.
        subject.elements += planned.scheme.map_or(0, |_| planned.elements);
        if planned.rule != Chosen::Default || !used.contains(&at) {
            continue;
        }
        let name = &planned.name;
        let is_copy = |tensor: &&str| copies.iter().any(|[copy, of]| copy == tensor && of == name);
        let all = plans[0].0.tensors.iter().enumerate();
        let twins = all.filter(|(_, t)| is_copy(&t.name.as_str())).map(|(place, _)| place);
        let of_this: Vec<usize> = std::iter::once(at).chain(twins).collect();
        let mut variants: Vec<Variant> = Vec::new();
        for &Form { scheme, input } in &forms {
            let Some((plan, _)) = plans.iter().find(|(p, _)| p.options.scheme == scheme) else {
                continue;
            };
            // As it fits this shape.
            let Some(scheme) = plan.tensors[at].scheme else { continue };
            let form = Form { scheme, input };
            let is_new = !variants.iter().any(|known| known.form == form);
            if is_new && (input == Input::Float || multiplies(at, scheme)) {
                let each = of_this.iter().map(|&tensor| price(tensor, form, &plan.tensors[tensor]));
                variants.push(Variant { form, price: each.fold(nothing, Price::and) });
            }
        }
        // Bytes would never choose an INT8 input: what it gains is time.
        let by_time = clock.is_some() && !matches!(wanted.budget, Budget::Bits(_));
        if !by_time && variants.iter().any(|variant| variant.form.input == Input::Int8) {
            variants.retain(|Variant { form, .. }| {
                form.input == Input::Int8 || matches!(form.scheme, Scheme::Float(_))
            });
        }
        variants.sort_by_key(|variant| variant.price.bytes);
        if !variants.is_empty() {
            let name = name.clone();
            subject.weights.push(auto::Weight { name, elements: planned.elements, variants });
            tensors.push(of_this);
        }
    }
    let free: BTreeSet<usize> = tensors.iter().flatten().copied().collect();
    for (at, planned) in plans[0].0.tensors.iter().enumerate().filter(|(at, _)| !free.contains(at))
    {
        let Some(scheme) = planned.scheme else { continue };
        let input = if multiplies(at, scheme) { Input::Int8 } else { Input::Float };
        subject.others = subject.others.and(price(at, Form { scheme, input }, planned));
    }
    if subject.weights.is_empty() {
        return Err(Error::Usage(
            "--scheme auto: there is no weight to choose for; rules choose for all, or all are small"
                .into(),
        ));
    }
    Ok(Found { opened, subject, tensors, plans, program, pairs, clock })
}

/// What weights may become: what was asked for, beside both kinds of activations where those become INT8.
fn forms(wanted: &Wanted, with_int8: bool) -> Vec<Form> {
    let parse = |words: &&str| words.parse().ok();
    let (float, int8): (Vec<Scheme>, Vec<Scheme>) = match wanted.candidates.is_empty() {
        true => (
            CANDIDATES.iter().filter_map(parse).collect(),
            INT8_CANDIDATES.iter().filter_map(parse).collect(),
        ),
        false => (wanted.candidates.clone(), wanted.candidates.clone()),
    };
    let int8 = int8.into_iter().filter(|_| with_int8).map(Form::int8);
    float.into_iter().map(Form::float).chain(int8).collect()
}

/// The program in float, in one package, of a language model with these logits of a prompt.
fn in_float(plan: &mut Plan, subject: &Subject, logits: Option<PrefillLogits>) -> Result<Program> {
    let options = &mut plan.options;
    options.rules.clear();
    options.activations = None;
    options.outputs = [Output::Mlpackage].into();
    options.model.chunks = 1;
    if let Subject::Whole(whole) = subject
        && matches!(whole.model, Model::Decoder(_))
    {
        options.model.names = FeatureNames::Transformers;
        options.model.prefill_logits = logits;
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
