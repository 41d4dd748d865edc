//! A text that grows: functions, states, position.

use super::roles::{Roles, Tokens, ids_tensor};
use crate::graph::{Function, Program};
use crate::model::decoder::ane::Host;
use crate::runtime::{Backend, Prepared, Shapes, Tensor, Tensors};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Tokens by which the text of a stateless package is padded: it is prepared once for each length.
const STRIDE: usize = 64;

/// A text in a language model.
pub struct Session {
    form: Form,
    context: usize,
    /// Tokens so far.
    text: Vec<i32>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("position", &self.position()).finish_non_exhaustive()
    }
}

enum Form {
    /// Functions over caches, by how many tokens they take, the fewest first.
    Steps { functions: Vec<Step>, kept: Kept },
    /// A function that takes a whole text.
    Whole {
        function: Function,
        roles: Box<Roles>,
        backend: Box<dyn Backend>,
        lengths: BTreeMap<usize, Box<dyn Prepared>>,
    },
}

/// A function of so many tokens.
struct Step {
    count: usize,
    roles: Roles,
    prepared: Box<dyn Prepared>,
    outputs: Tensors,
}

/// Keys and values of the text so far.
#[derive(Default)]
struct Kept {
    states: Tensors,
    /// Inputs of the next step that the last one returned.
    carried: Tensors,
}

impl Session {
    /// Opens a language model: functions of fixed numbers of tokens over caches, or one that takes a
    /// whole text. `host` is what the package's metadata says of their inputs.
    ///
    /// # Errors
    /// [`Error::Input`] for a program that is no such model; as [`Backend::prepare`].
    pub fn open<'f>(
        candidates: impl IntoIterator<Item = &'f Function>,
        host: Option<&Host>,
        backend: Box<dyn Backend>,
    ) -> Result<Self> {
        let mut functions = Vec::new();
        let mut context = usize::MAX;
        for function in candidates {
            let Some((roles, tokens)) = Roles::of(function, host) else { continue };
            match tokens {
                Tokens::Step { count, context: size } => {
                    let prepared = backend.prepare(function, &Shapes::new())?;
                    functions.push(Step { count, roles, prepared, outputs: Tensors::new() });
                    context = context.min(size);
                }
                Tokens::Whole { context } => {
                    let (function, lengths, roles) =
                        (function.clone(), BTreeMap::new(), Box::new(roles));
                    let form = Form::Whole { function, roles, backend, lengths };
                    return Ok(Self { form, context, text: Vec::new() });
                }
            }
        }
        functions.sort_by_key(|step| step.count);
        if functions.is_empty() {
            return Err(Error::input(
                "the package",
                "no function takes tokens [1, T], a position [1] and a mask [1, 1, T, context], or a \
                 whole text [1, T], or what its metadata says",
                "give the package of a language model; an encoder's is for `quantize embed`",
            ));
        }
        let form = Form::Steps { functions, kept: Kept::default() };
        Ok(Self { form, context, text: Vec::new() })
    }

    /// How long a text may be, in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// How long it is.
    pub fn position(&self) -> usize {
        self.text.len()
    }

    /// The most tokens that one call returns the logits of.
    pub fn each_at_once(&self) -> usize {
        let rows = |step: &Step| if step.roles.is_last_only() { 1 } else { step.count };
        match &self.form {
            Form::Steps { functions, .. } => functions.iter().map(rows).max().unwrap_or(0),
            Form::Whole { .. } => self.context,
        }
    }

    /// Begins a new text.
    pub fn restart(&mut self) {
        self.text.clear();
        if let Form::Steps { kept, .. } = &mut self.form {
            *kept = Kept::default();
        }
    }

    /// Adds tokens to the text; returns the logits behind the last.
    ///
    /// # Errors
    /// [`Error::Usage`] for no tokens, or more than there is room for; as [`Prepared::run`].
    pub fn feed(&mut self, ids: &[i32]) -> Result<Vec<f32>> {
        let mut last = Vec::new();
        self.advance(ids, &mut |_, logits| last = logits.to_vec(), false)?;
        Ok(last)
    }

    /// Adds tokens to the text, and shows the logits behind each with its place among them. Where every
    /// function of several tokens returns those of the last alone, they are fed one by one.
    ///
    /// # Errors
    /// As [`Session::feed`].
    pub fn feed_each(&mut self, ids: &[i32], show: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.advance(ids, show, true)
    }

    fn advance(
        &mut self,
        ids: &[i32],
        show: &mut dyn FnMut(usize, &[f32]),
        each: bool,
    ) -> Result<()> {
        let (have, more, context) = (self.text.len(), ids.len(), self.context);
        if more == 0 {
            return Err(Error::Usage("there is no token to feed; give a prompt".into()));
        }
        if have + more > context {
            return Err(Error::Usage(format!(
                "{} tokens are more than the {context} that the package takes; shorten the text, or \
                 convert with a larger --context",
                have + more
            )));
        }
        self.text.extend_from_slice(ids);
        match &mut self.form {
            Form::Steps { functions, kept } => {
                let mut done = 0;
                while done < more {
                    let step = step_for(functions, more - done, each);
                    let is_last_only = step.roles.is_last_only();
                    let most = if each && is_last_only { 1 } else { step.count };
                    let given = most.min(more - done);
                    let rows = if is_last_only { 1 } else { step.count };
                    let logits = step.run(&ids[done..done + given], have + done, kept)?;
                    // What is shown begins with this token.
                    let first = if is_last_only { done + given - 1 } else { done };
                    done += given;
                    let logits = logits.chunks((logits.len() / rows).max(1)).zip(first..done);
                    for (logits, token) in logits.filter(|(_, t)| each || t + 1 == more) {
                        show(token, logits);
                    }
                }
            }
            Form::Whole { function, roles, backend, lengths } => {
                let length = self.text.len().next_multiple_of(STRIDE).min(context);
                let prepared = match lengths.entry(length) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => {
                        let shapes = Shapes::from([(roles.ids.clone(), vec![1, length])]);
                        new.insert(backend.prepare(function, &shapes)?)
                    }
                };
                // No token sees a later one, so padding changes nothing.
                let inputs = Tensors::from([(roles.ids.clone(), ids_tensor(&self.text, length))]);
                let mut outputs = Tensors::new();
                prepared.run(&inputs, &mut Tensors::new(), &mut outputs)?;
                let logits = logits(&outputs, &roles.logits)?;
                let width = logits.len() / length;
                let rows = logits.chunks(width.max(1)).enumerate().skip(have).take(more);
                for (row, logits) in rows.filter(|(row, _)| each || row + 1 == have + more) {
                    show(row - have, logits);
                }
            }
        }
        Ok(())
    }
}

/// The function for so many tokens: the smallest that takes them at once, or the largest there is.
/// A single one is cheaper by one token at a time up to a quarter of the next larger function. Where
/// `each` token's logits are wanted, it is one that returns them, if there is any.
fn step_for(functions: &mut [Step], wanted: usize, each: bool) -> &mut Step {
    let returns_each = |step: &Step| !step.roles.is_last_only();
    let last = match each {
        // The smallest of those that return one row, for one token at a time.
        true => functions.iter().rposition(returns_each).unwrap_or(0),
        false => functions.len() - 1,
    };
    let functions = &mut functions[..=last];
    let fits = functions.iter().position(|step| step.count >= wanted).unwrap_or(last);
    let place = if fits > 0 && wanted * 4 <= functions[fits].count { fits - 1 } else { fits };
    &mut functions[place]
}

impl Step {
    /// Logits of all rows.
    fn run(&mut self, ids: &[i32], position: usize, kept: &mut Kept) -> Result<&[f32]> {
        let mut inputs = self.roles.inputs(ids, self.count, position)?;
        for carried in &self.roles.carried {
            let before = kept.carried.remove(&carried.input).unwrap_or_else(|| carried.zeros());
            inputs.insert(carried.input.clone(), before);
        }
        self.prepared.run(&inputs, &mut kept.states, &mut self.outputs)?;
        for carried in &self.roles.carried {
            // The buffer that was read is written next.
            let (Some(before), Some(after)) =
                (inputs.remove(&carried.input), self.outputs.remove(&carried.output))
            else {
                return Err(Error::bug(&carried.output, "the function did not return it"));
            };
            self.outputs.insert(carried.output.clone(), before);
            kept.carried.insert(carried.input.clone(), after);
        }
        logits(&self.outputs, &self.roles.logits)
    }
}

fn logits<'a>(outputs: &'a Tensors, name: &str) -> Result<&'a [f32]> {
    let logits = outputs.get(name).and_then(Tensor::as_float);
    let logits = logits.and_then(|logits| logits.as_slice());
    logits.ok_or_else(|| Error::bug(name, "it is not there in order"))
}

/// A language model's function that returns the logits of the most tokens at once; of several that
/// return those of the last alone, the smallest.
pub fn widest(program: &Program) -> Option<(&str, &Function)> {
    let host = Host::of(program).ok().flatten();
    let rank = |function: &Function| match Roles::of(function, host.as_ref())? {
        (_, Tokens::Whole { .. }) => Some((usize::MAX, 0)),
        (roles, Tokens::Step { count, .. }) if roles.is_last_only() => {
            Some((1, usize::MAX - count))
        }
        (_, Tokens::Step { count, .. }) => Some((count, usize::MAX - count)),
    };
    let functions = program.functions.iter().filter_map(|(n, f)| Some((rank(f)?, (n.as_str(), f))));
    functions.max_by_key(|(rank, _)| *rank).map(|(_, function)| function)
}
