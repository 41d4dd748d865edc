//! A text through a language model, beside the model in float.

use super::trial::Shared;
use crate::auto::Metric;
use crate::generate::{Session, widest};
use crate::graph::{Function, Program};
use crate::metrics::{Closeness, Divergence, Rows};
use crate::model::decoder::ane::Host;
use crate::validate::Text;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Tokens of a window at most: what stands before a token further away hardly changes how much it
/// matters which codes its weights have.
const WINDOW: usize = 256;

/// Tokens that single weights are tried on.
const SAMPLE: usize = 1024;

/// Tokens that a plan is run on.
const ALL: usize = 16_384;

/// Windows of a text, and the model in float.
pub(super) struct Texts {
    metric: Metric,
    host: Option<Host>,
    backend: Shared,
    float: Session,
    /// Windows, each with what stands before a text.
    windows: Vec<Vec<i32>>,
    /// Those that single weights are tried on, with the logits of the model in float, row by row.
    sample: Vec<(usize, Vec<Vec<f32>>)>,
}

/// How far logits move.
#[derive(Default)]
struct Moved {
    kl: Divergence,
    closeness: Closeness,
}

impl Moved {
    fn add(&mut self, expected: &[f32], got: &[f32]) {
        self.kl.add(Rows::Logits, expected.len(), expected, got);
        self.closeness.add(expected, got);
    }

    fn told(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Kl => self.kl.mean(),
            Metric::Noise => super::steps::noise(&self.closeness),
        }
    }
}

impl Texts {
    /// The name of the function that a text is fed to.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no language model.
    pub(super) fn function(program: &Program) -> Result<String> {
        let found = widest(program).map(|(name, _)| name.to_owned());
        found.ok_or_else(|| {
            Error::Usage(
                "--data: a text is for language models; give a .safetensors file of inputs, or leave \
                 it out"
                    .into(),
            )
        })
    }

    /// Cuts the text, and runs the model in float on what single weights are tried on.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text that is too short, or of tokens that the model has not; as
    /// [`Session::open`].
    pub(super) fn new(
        function: &Function,
        host: Option<Host>,
        text: &Text,
        metric: Metric,
        backend: Shared,
    ) -> Result<Self> {
        let float = Session::open([function], host.as_ref(), Box::new(backend.clone()))?;
        let room = float.context().min(WINDOW).saturating_sub(text.begin.len());
        let windows: Vec<&[i32]> =
            text.ids.chunks(room.max(1)).filter(|part| part.len() * 2 > room).collect();
        if room == 0 || windows.is_empty() {
            let found = format!("{} tokens are too few to measure on", text.ids.len());
            return Err(Error::Usage(format!("--data: {found}; give {room} or more")));
        }
        let window = |at: usize| [&text.begin[..], windows[at]].concat();
        let windows: Vec<Vec<i32>> =
            spread(windows.len(), ALL.div_ceil(room)).map(window).collect();
        let sampled = spread(windows.len(), SAMPLE.div_ceil(room));
        let mut texts =
            Self { metric, host, backend, float, sample: Vec::new(), windows: Vec::new() };
        for at in sampled {
            let mut rows = Vec::new();
            texts.float.restart();
            texts.float.feed_each(&windows[at], &mut |_, logits| rows.push(logits.to_vec()))?;
            texts.sample.push((at, rows));
        }
        texts.windows = windows;
        Ok(texts)
    }

    /// The model with changed weights on the sample.
    pub(super) fn sample(&mut self, changed: &BTreeMap<String, Function>) -> Result<f64> {
        let Some(mut session) = self.session(changed)? else { return Ok(0.0) };
        let mut moved = Moved::default();
        for (at, rows) in &self.sample {
            session.restart();
            session.feed_each(&self.windows[*at], &mut |row, got| moved.add(&rows[row], got))?;
        }
        Ok(moved.told(self.metric))
    }

    /// The model with changed weights on all windows.
    pub(super) fn all(&mut self, changed: &BTreeMap<String, Function>) -> Result<f64> {
        let Some(mut session) = self.session(changed)? else { return Ok(0.0) };
        let mut moved = Moved::default();
        for window in &self.windows {
            let mut rows = Vec::new();
            self.float.restart();
            self.float.feed_each(window, &mut |_, logits| rows.push(logits.to_vec()))?;
            session.restart();
            session.feed_each(window, &mut |row, got| moved.add(&rows[row], got))?;
        }
        Ok(moved.told(self.metric))
    }

    /// The changed function, ready; `None` if nothing is changed.
    fn session(&self, changed: &BTreeMap<String, Function>) -> Result<Option<Session>> {
        let open = |function| {
            Session::open([function], self.host.as_ref(), Box::new(self.backend.clone()))
        };
        changed.values().next().map(open).transpose()
    }
}

/// At most `wanted` of `count` places, as far from each other as they can be.
fn spread(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.clamp(1, count);
    (0..wanted).map(move |i| i * count / wanted)
}
