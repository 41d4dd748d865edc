//! A text that grows: functions, states, position.
//!
//! What a function takes shows in its features, whatever they are called:
//!
//! | feature | type |
//! |---|---|
//! | ids | INT32 `[1, T]` |
//! | position | INT32 `[1]` |
//! | mask | float `[1, 1, T, context]` |
//! | logits | float `[1, T, vocabulary]` |

use crate::graph::{DataType, Dim, Function, Program, Sizes, ValueType};
use crate::runtime::{Backend, Prepared, Shapes, Tensor, Tensors};
use crate::{Error, Result};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// What hidden scores get added.
const MASKED: f32 = -30_000.0;

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
    /// Functions over states, by how many tokens they take, the fewest first.
    Steps { functions: Vec<Step>, states: Tensors },
    /// A function that takes a whole text.
    Whole {
        function: Function,
        roles: Roles,
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

/// What features are called.
#[derive(Clone, Debug)]
struct Roles {
    ids: String,
    /// Of a step: the position, and the mask with its type.
    step: Option<(String, String, DataType)>,
    logits: String,
}

impl Session {
    /// Opens a language model: functions of fixed numbers of tokens over states, or one that takes a
    /// whole text.
    ///
    /// # Errors
    /// [`Error::Input`] for a program that is no such model; as [`Backend::prepare`].
    pub fn open<'f>(
        candidates: impl IntoIterator<Item = &'f Function>,
        backend: Box<dyn Backend>,
    ) -> Result<Self> {
        let mut functions = Vec::new();
        let mut context = usize::MAX;
        for function in candidates {
            let Some((roles, tokens)) = roles(function) else { continue };
            match tokens {
                Tokens::Step { count, context: size } => {
                    let prepared = backend.prepare(function, &Shapes::new())?;
                    functions.push(Step { count, roles, prepared, outputs: Tensors::new() });
                    context = context.min(size);
                }
                Tokens::Whole { context } => {
                    let (function, lengths) = (function.clone(), BTreeMap::new());
                    let form = Form::Whole { function, roles, backend, lengths };
                    return Ok(Self { form, context, text: Vec::new() });
                }
            }
        }
        functions.sort_by_key(|step| step.count);
        if functions.is_empty() {
            return Err(Error::input(
                "the package",
                "no function takes tokens [1, T], a position [1] and a mask [1, 1, T, context], or a whole text [1, T]",
                "give the package of a language model; an encoder's is for `quantize embed`",
            ));
        }
        let form = Form::Steps { functions, states: Tensors::new() };
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

    /// Begins a new text.
    pub fn restart(&mut self) {
        self.text.clear();
        if let Form::Steps { states, .. } = &mut self.form {
            // Rows of the old text are hidden until they are overwritten.
            states.clear();
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

    /// Adds tokens to the text, and shows the logits behind each with its place among them.
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
            Form::Steps { functions, states } => {
                let mut done = 0;
                while done < more {
                    let step = step_for(functions, more - done);
                    let (count, given) = (step.count, step.count.min(more - done));
                    let logits =
                        step.run(&ids[done..done + given], have + done, context, states)?;
                    let width = logits.len() / count;
                    let rows = logits.chunks(width.max(1)).take(given).enumerate();
                    for (row, logits) in rows.filter(|(row, _)| each || done + row + 1 == more) {
                        show(done + row, logits);
                    }
                    done += given;
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
/// A single one is cheaper by one token at a time up to a quarter of the next larger function.
fn step_for(functions: &mut [Step], wanted: usize) -> &mut Step {
    let last = functions.len() - 1;
    let fits = functions.iter().position(|step| step.count >= wanted).unwrap_or(last);
    let place = if fits > 0 && wanted * 4 <= functions[fits].count { fits - 1 } else { fits };
    &mut functions[place]
}

impl Step {
    /// Logits of all rows.
    fn run(
        &mut self,
        ids: &[i32],
        position: usize,
        context: usize,
        states: &mut Tensors,
    ) -> Result<&[f32]> {
        let Some((at, mask, dtype)) = &self.roles.step else {
            return Err(Error::bug("a step", "without a position"));
        };
        let mut hidden = vec![MASKED; self.count * context];
        for (row, shown) in hidden.chunks_mut(context).enumerate() {
            // Rows behind the real tokens see what is there, so that no row is empty.
            shown[..position + row.min(ids.len() - 1) + 1].fill(0.0);
        }
        let hidden = array(&[1, 1, self.count, context], hidden)?;
        let inputs = Tensors::from([
            (self.roles.ids.clone(), ids_tensor(ids, self.count)),
            (at.clone(), Tensor::int(DataType::Int32, array(&[1], vec![position as i32])?)),
            (mask.clone(), Tensor::float(*dtype, hidden)),
        ]);
        self.prepared.run(&inputs, states, &mut self.outputs)?;
        logits(&self.outputs, &self.roles.logits)
    }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>> {
    ArrayD::from_shape_vec(shape, values).map_err(|why| Error::bug("an input", why.to_string()))
}

/// Ids `[1, length]`, padded with token 0.
fn ids_tensor(ids: &[i32], length: usize) -> Tensor {
    let padded = ArrayD::from_shape_fn(vec![1, length], |at| ids.get(at[1]).copied().unwrap_or(0));
    Tensor::int(DataType::Int32, padded)
}

fn logits<'a>(outputs: &'a Tensors, name: &str) -> Result<&'a [f32]> {
    let logits = outputs.get(name).and_then(Tensor::as_float);
    let logits = logits.and_then(|logits| logits.as_slice());
    logits.ok_or_else(|| Error::bug(name, "it is not there in order"))
}

/// The function that reads the most tokens at once, if it is a language model's.
pub fn largest(program: &Program) -> Option<(&str, &Function)> {
    let count = |function: &Function| match roles(function)?.1 {
        Tokens::Step { count, .. } => Some(count),
        Tokens::Whole { .. } => Some(usize::MAX),
    };
    let functions =
        program.functions.iter().filter_map(|(n, f)| Some((count(f)?, (n.as_str(), f))));
    functions.max_by_key(|(count, _)| *count).map(|(_, function)| function)
}

/// How many tokens a function takes.
enum Tokens {
    Step { count: usize, context: usize },
    Whole { context: usize },
}

/// The roles of a function's features; `None` if it is no language model's.
fn roles(function: &Function) -> Option<(Roles, Tokens)> {
    let mut ids = None;
    let (mut position, mut mask) = (None, None);
    for feature in &function.inputs {
        let value = function.value(feature.value);
        let ValueType::Tensor(ty) = &value.ty else { continue };
        let is_float = matches!(ty.dtype, DataType::Float16 | DataType::Float32);
        match (ty.dtype, &ty.dims[..]) {
            (DataType::Int32, [Dim::Fixed(1), tokens]) => {
                let most = match &feature.sizes {
                    Sizes::Ranges(ranges) => ranges.get(1).map(|range| range.high),
                    Sizes::Enumerated(_) | Sizes::Fixed => None,
                };
                let first = ids.replace((value.name.clone(), *tokens, most));
                // An encoder also takes which tokens are none.
                if first.is_some() {
                    return None;
                }
            }
            (DataType::Int32, [Dim::Fixed(1)]) => position = Some(value.name.clone()),
            (_, [Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(_), Dim::Fixed(context)]) if is_float => {
                mask = Some((value.name.clone(), ty.dtype, *context));
            }
            _ => return None,
        }
    }
    let (ids, tokens, most) = ids?;
    let is_logits = |value: &&crate::graph::Value| {
        value.ty.tensor().is_some_and(|ty| ty.rank() == 3 && ty.dtype != DataType::Int32)
    };
    let logits = function.outputs.iter().map(|o| function.value(o.value)).find(is_logits)?;
    let logits = logits.name.clone();
    match (tokens, position, mask, most) {
        (Dim::Fixed(count), Some(position), Some((mask, dtype, context)), _) => {
            let step = Some((position, mask, dtype));
            Some((Roles { ids, step, logits }, Tokens::Step { count, context }))
        }
        (Dim::Flexible, None, None, Some(context)) => {
            Some((Roles { ids, step: None, logits }, Tokens::Whole { context }))
        }
        _ => None,
    }
}
