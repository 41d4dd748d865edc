//! Drawn ids as a text: what a host would feed beside them, step after step.

use super::roles::{Carried, Given, Roles, Tokens};
use crate::graph::Function;
use crate::model::decoder::ane::Host;
use crate::runtime::{Shapes, Tensor, Tensors};
use crate::{Error, Result};

/// Tokens of the largest step of a function that takes any number.
const LARGEST: usize = 64;

/// The steps of a text through a function that takes some tokens at a time.
pub(crate) struct Script {
    roles: Roles,
    /// Tokens of each step; without it, they change from step to step.
    count: Option<usize>,
    context: usize,
}

impl Script {
    /// `None` for a function that is no language model's, or takes a whole text at once.
    pub(crate) fn of(function: &Function, host: Option<&Host>) -> Option<Self> {
        let (roles, tokens) = Roles::of(function, host)?;
        let count = match tokens {
            Tokens::Step { count, .. } => Some(count),
            Tokens::Ranged { .. } => None,
            Tokens::Whole { .. } => return None,
        };
        Some(Self { roles, count, context: tokens.context() })
    }

    /// How many tokens step number `step` has, and how many stand before them. Where any number may be
    /// taken, a prompt comes first, then a longer one behind it, then a single token, and again.
    fn place(&self, step: usize) -> (usize, usize) {
        let most = LARGEST.min(self.context);
        let count = |step: usize| self.count.unwrap_or([most.div_ceil(2), most, 1][step % 3]);
        let next = |end: usize, count: usize| {
            // A full context: the next text begins.
            let begin = if end + count > self.context { 0 } else { end };
            begin + count
        };
        let end = (0..=step).fold(0, |end, step| next(end, count(step)));
        (count(step), end - count(step))
    }

    /// The shapes of step number `step` where they are not fixed.
    pub(crate) fn shapes(&self, step: usize) -> Shapes {
        let (count, position) = self.place(step);
        match self.count {
            Some(_) => Shapes::new(),
            None => self.roles.shapes(count, position),
        }
    }

    /// Puts position, masks and angles of step number `step` beside the ids of drawn inputs, and empty
    /// caches where a text begins. Drawn ones would be no text's, and a cache that is updated by
    /// chance grows beyond all bounds.
    ///
    /// # Errors
    /// [`Error::Bug`] for ids that are not there.
    pub(crate) fn put(&self, step: usize, inputs: &mut Tensors) -> Result<()> {
        let (count, position) = self.place(step);
        let ids = match &self.roles.tokens {
            // Nothing but their number is looked at.
            Given::Hidden(..) => vec![0; count],
            Given::Ids(name) => {
                let ids = inputs.get(name).and_then(Tensor::as_int);
                let ids = ids.ok_or_else(|| Error::bug(name, "no ids were drawn"))?;
                ids.iter().copied().collect()
            }
        };
        inputs.extend(self.roles.inputs(&ids, count, position)?);
        if position == 0 {
            inputs.extend(self.roles.carried.iter().map(|c| (c.input.clone(), c.zeros())));
        }
        Ok(())
    }

    /// The inputs of step number `step` that the step before returned, in the type that the function
    /// declares; none where a text begins.
    pub(crate) fn carried(&self, step: usize, outputs: &Tensors) -> Tensors {
        let (_, position) = self.place(step);
        let taken = |c: &Carried| {
            let array = outputs.get(&c.output)?.as_float()?.clone();
            Some((c.input.clone(), c.hold(array)))
        };
        self.roles.carried.iter().filter(|_| position > 0).filter_map(taken).collect()
    }
}
