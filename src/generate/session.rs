//! A text that grows: functions, states, position.

use super::roles::{Given, Roles, Tokens};
use crate::graph::{Function, Program};
use crate::model::decoder::ane::Host;
use crate::runtime::{Backend, Prepared, Shapes, Tensor, Tensors};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Tokens by which the text of a stateless package is padded, which is prepared once for each length;
/// and the most that a function for any number over a cache is fed at once.
const STRIDE: usize = 64;

/// A text in a language model.
pub struct Session {
    form: Form,
    context: usize,
    /// Ids are below it; `None` where the package does not show it.
    vocabulary: Option<usize>,
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
    Steps { functions: Vec<Step>, kept: Vec<Kept> },
    /// A function for any number of tokens over caches, prepared for each step.
    Ranged { links: Vec<Unprepared>, kept: Vec<Kept>, backend: Box<dyn Backend> },
    /// A function that takes a whole text.
    Whole {
        links: Vec<Unprepared>,
        backend: Box<dyn Backend>,
        lengths: BTreeMap<usize, Vec<Link>>,
        /// Texts are padded to a multiple of so many tokens.
        stride: usize,
    },
}

/// A function of so many tokens.
struct Step {
    count: usize,
    links: Vec<Link>,
}

impl Step {
    fn is_last_only(&self) -> bool {
        self.links.last().is_some_and(|link| link.roles.is_last_only())
    }
}

/// A function of one package, ready.
struct Link {
    roles: Roles,
    prepared: Box<dyn Prepared>,
    outputs: Tensors,
}

/// A function whose shapes are not known yet.
struct Unprepared {
    roles: Roles,
    function: Function,
}

impl Unprepared {
    fn prepare(&self, backend: &dyn Backend, count: usize, position: usize) -> Result<Link> {
        let prepared = backend.prepare(&self.function, &self.roles.shapes(count, position))?;
        Ok(Link { roles: self.roles.clone(), prepared, outputs: Tensors::new() })
    }
}

/// What one package keeps of the text so far.
#[derive(Default)]
struct Kept {
    states: Tensors,
    /// Inputs of the next step that the last one returned.
    carried: Tensors,
}

impl Session {
    /// Opens a language model: functions of fixed numbers of tokens over caches, or one for any number,
    /// with a cache or for a whole text. `host` is what the package's metadata says of their inputs.
    ///
    /// # Errors
    /// [`Error::Input`] for a program that is no such model; as [`Backend::prepare`].
    pub fn open<'f>(
        candidates: impl IntoIterator<Item = &'f Function>,
        host: Option<&Host>,
        backend: Box<dyn Backend>,
    ) -> Result<Self> {
        Self::chain([(candidates, host)], backend)
    }

    /// Opens a language model in packages that run one after the other: each takes what the one before
    /// made of the tokens.
    ///
    /// # Errors
    /// As [`Session::open`], and [`Error::Input`] for packages whose functions are not alike.
    pub fn chain<'f, 'h, F: IntoIterator<Item = &'f Function>>(
        packages: impl IntoIterator<Item = (F, Option<&'h Host>)>,
        backend: Box<dyn Backend>,
    ) -> Result<Self> {
        let mut forms: BTreeMap<Tokens, Vec<Unprepared>> = BTreeMap::new();
        let mut vocabulary: Option<usize> = None;
        let mut count = 0;
        for (candidates, host) in packages {
            for function in candidates {
                let Some((roles, tokens)) = Roles::of(function, host) else { continue };
                let links = forms.entry(tokens).or_default();
                let takes_ids = matches!(roles.tokens, Given::Ids(_));
                if takes_ids == (count == 0) && links.len() == count {
                    let rows = match &roles.tokens {
                        Given::Ids(name) => function.rows_chosen_by(name),
                        Given::Hidden(..) => None,
                    };
                    vocabulary = vocabulary.into_iter().chain(rows).min();
                    links.push(Unprepared { roles, function: function.clone() });
                }
            }
            count += 1;
        }
        forms.retain(|_, links| links.len() == count);
        let kept = || (0..count).map(|_| Kept::default()).collect();
        let of_any = |tokens: &Tokens| !matches!(tokens, Tokens::Step { .. });
        if let Some(tokens) = forms.keys().copied().find(of_any) {
            let links = forms.remove(&tokens).expect("found above");
            let form = match tokens {
                Tokens::Ranged { .. } => Form::Ranged { links, kept: kept(), backend },
                _ => Form::Whole { links, backend, lengths: BTreeMap::new(), stride: STRIDE },
            };
            let context = tokens.context();
            return Ok(Self { form, context, vocabulary, text: Vec::new() });
        }
        let mut functions = Vec::new();
        let mut context = usize::MAX;
        for (tokens, links) in forms {
            let Tokens::Step { count, context: size } = tokens else { continue };
            context = context.min(size);
            let links = links.iter().map(|link| {
                let prepared = backend.prepare(&link.function, &Shapes::new())?;
                Ok(Link { roles: link.roles.clone(), prepared, outputs: Tensors::new() })
            });
            functions.push(Step { count, links: links.collect::<Result<_>>()? });
        }
        if functions.is_empty() {
            return Err(no_model(count));
        }
        functions.sort_by_key(|step| step.count);
        let form = Form::Steps { functions, kept: kept() };
        Ok(Self { form, context, vocabulary, text: Vec::new() })
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
        let rows = |step: &Step| if step.is_last_only() { 1 } else { step.count };
        match &self.form {
            Form::Steps { functions, .. } => functions.iter().map(rows).max().unwrap_or(0),
            Form::Ranged { .. } | Form::Whole { .. } => self.context,
        }
    }

    /// The same, padding nothing that a package for whole texts is fed: for those who look inside.
    pub fn unpadded(mut self) -> Self {
        if let Form::Whole { stride, .. } = &mut self.form {
            *stride = 1;
        }
        self
    }

    /// How many of so many tokens one call takes with no padding behind them: all, or as the functions
    /// over caches are, whose smallest pads what is less.
    pub fn piece(&self, wanted: usize) -> usize {
        let Form::Steps { functions, .. } = &self.form else { return wanted };
        let fitting = functions.iter().map(|step| step.count).filter(|&count| count <= wanted);
        fitting.max().unwrap_or(wanted)
    }

    /// Whether these tokens can follow.
    ///
    /// # Errors
    /// [`Error::Usage`] for no tokens, more than there is room for, or ids that the model has not.
    pub fn check(&self, ids: &[i32]) -> Result<()> {
        if ids.is_empty() {
            return Err(Error::Usage("there is no token to feed; give a prompt".into()));
        }
        let (all, context) = (self.text.len() + ids.len(), self.context);
        if all > context {
            return Err(Error::Usage(format!(
                "{all} tokens are more than the {context} that the package takes; shorten the text, or \
                 convert with a larger --context"
            )));
        }
        within(ids, self.vocabulary)
    }

    /// Begins a new text.
    pub fn restart(&mut self) {
        self.text.clear();
        if let Form::Steps { kept, .. } | Form::Ranged { kept, .. } = &mut self.form {
            kept.fill_with(Kept::default);
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
        self.check(ids)?;
        let (have, more, context) = (self.text.len(), ids.len(), self.context);
        self.text.extend_from_slice(ids);
        match &mut self.form {
            Form::Steps { functions, kept } => {
                let mut done = 0;
                while done < more {
                    let step = step_for(functions, more - done, each);
                    let is_last_only = step.is_last_only();
                    let most = if each && is_last_only { 1 } else { step.count };
                    let given = most.min(more - done);
                    let rows = if is_last_only { 1 } else { step.count };
                    let of = &ids[done..done + given];
                    let logits =
                        run(&mut step.links, of, step.count, have + done, kept)?.rows(rows)?;
                    // What is shown begins with this token.
                    let first = if is_last_only { done + given - 1 } else { done };
                    done += given;
                    for (logits, token) in
                        logits.zip(first..done).filter(|(_, t)| each || t + 1 == more)
                    {
                        show(token, logits);
                    }
                }
            }
            Form::Ranged { links, kept, backend } => {
                for (step, ids) in ids.chunks(STRIDE).enumerate() {
                    let (count, done) = (ids.len(), step * STRIDE);
                    let prepare = |link: &Unprepared| link.prepare(&**backend, count, have + done);
                    let mut ready = links.iter().map(prepare).collect::<Result<Vec<_>>>()?;
                    let logits = run(&mut ready, ids, count, have + done, kept)?.rows(count)?;
                    for (logits, token) in logits.zip(done..).filter(|(_, t)| each || t + 1 == more)
                    {
                        show(token, logits);
                    }
                }
            }
            Form::Whole { links, backend, lengths, stride } => {
                let length = self.text.len().next_multiple_of(*stride).min(context);
                let ready = match lengths.entry(length) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => {
                        let prepare = |link: &Unprepared| link.prepare(&**backend, length, 0);
                        new.insert(links.iter().map(prepare).collect::<Result<_>>()?)
                    }
                };
                // No token sees a later one, so padding changes nothing.
                let mut nothing: Vec<Kept> = links.iter().map(|_| Kept::default()).collect();
                let logits = run(ready, &self.text, length, 0, &mut nothing)?.rows(length)?;
                let rows = logits.enumerate().skip(have).take(more);
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
    let returns_each = |step: &Step| !step.is_last_only();
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

/// What a step returned.
struct Logits<'l> {
    /// `[1, T, vocabulary]`.
    shape: Vec<usize>,
    values: &'l [f32],
}

impl<'l> Logits<'l> {
    /// The logits row by row, of which there are to be so many.
    ///
    /// # Errors
    /// [`Error::Input`] for another number.
    fn rows(&self, wanted: usize) -> Result<std::slice::Chunks<'l, f32>> {
        match self.shape[..] {
            [1, rows, width] if rows == wanted && width > 0 => Ok(self.values.chunks(width)),
            _ => Err(Error::input(
                "the package",
                format!("returns logits of the shape {:?} for {wanted} rows", self.shape),
                "[1, rows, vocabulary] is needed; give a package that returns the logits of each token, \
                 or one of quantize's own",
            )),
        }
    }
}

/// Runs the packages one after the other.
fn run<'l>(
    links: &'l mut [Link],
    ids: &[i32],
    count: usize,
    position: usize,
    kept: &mut [Kept],
) -> Result<Logits<'l>> {
    let mut hidden = None;
    for (link, kept) in links.iter_mut().zip(kept) {
        link.run(ids, count, position, hidden.take(), kept)?;
        hidden = link.outputs.get(&link.roles.result).cloned();
    }
    let last = links.last().ok_or_else(|| Error::bug("a step", "without a package"))?;
    let logits = last.outputs.get(&last.roles.result).and_then(Tensor::as_float);
    let whole =
        logits.and_then(|l| Some(Logits { shape: l.shape().into(), values: l.as_slice()? }));
    whole.ok_or_else(|| Error::bug(&last.roles.result, "it is not there in order"))
}

impl Link {
    fn run(
        &mut self,
        ids: &[i32],
        count: usize,
        position: usize,
        hidden: Option<Tensor>,
        kept: &mut Kept,
    ) -> Result<()> {
        let mut inputs = self.roles.inputs(ids, count, position)?;
        if let Given::Hidden(name, _) = &self.roles.tokens {
            let hidden = hidden.ok_or_else(|| Error::bug(name, "nothing stands before it"))?;
            inputs.insert(name.clone(), hidden);
        }
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
        Ok(())
    }
}

/// That this many packages are no language model.
fn no_model(packages: usize) -> Error {
    match packages {
        1 => Error::input(
            "the package",
            "no function takes tokens [1, T], a position [1] and a mask [1, 1, T, context], or a whole \
             text [1, T], or what its metadata says",
            "give the package of a language model; an encoder's is for `quantize embed`",
        ),
        n => Error::input(
            format!("the {n} packages"),
            "they have no function alike of which the first takes ids, and each other the hidden \
             values of the one before",
            "give the output folder as `quantize --chunks` wrote it",
        ),
    }
}

/// A language model's function that returns the logits of the most tokens at once; of several that
/// return those of the last alone, the smallest.
pub fn widest(program: &Program) -> Option<(&str, &Function)> {
    let host = Host::of(program).ok().flatten();
    let rank = |function: &Function| match Roles::of(function, host.as_ref())? {
        (_, Tokens::Whole { .. } | Tokens::Ranged { .. }) => Some((usize::MAX, 0)),
        (roles, Tokens::Step { count, .. }) if roles.is_last_only() => {
            Some((1, usize::MAX - count))
        }
        (_, Tokens::Step { count, .. }) => Some((count, usize::MAX - count)),
    };
    let functions = program.functions.iter().filter_map(|(n, f)| Some((rank(f)?, (n.as_str(), f))));
    functions.max_by_key(|(rank, _)| *rank).map(|(_, function)| function)
}

/// Checks that ids are tokens of a vocabulary of this size.
///
/// # Errors
/// [`Error::Usage`] for the first that is none.
pub(crate) fn within(ids: &[i32], vocabulary: Option<usize>) -> Result<()> {
    let below = |id: i32| usize::try_from(id).is_ok_and(|id| vocabulary.is_none_or(|all| id < all));
    match ids.iter().find(|&&id| !below(id)) {
        None => Ok(()),
        Some(id) => {
            let all = vocabulary.map_or("from 0 on".into(), |all| format!("0 to {}", all - 1));
            Err(Error::Usage(format!(
                "token {id} is none of the model's, which are {all}; give other ids, or the tokenizer \
                 that belongs to the model"
            )))
        }
    }
}
