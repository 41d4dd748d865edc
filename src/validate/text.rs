//! A text through the source and the quantized model: perplexity, and how far each prediction moves.
//!
//! The text is cut into windows of the package's context that do not overlap. Each begins with the
//! tokens that the model expects before a text; every token behind the first of a window counts:
//! `NLL = −ln softmax(logits)[token]`, perplexity `= exp(mean NLL)`.

use super::Options;
use super::source::Against;
use crate::execute::Engine;
use crate::generate::{Session, widest};
use crate::graph::{Function, Program};
use crate::metrics::{Divergence, Rows};
use crate::model::decoder::ane::Host;
use crate::progress::Progress;
use crate::report::validation::{Classes, Perplexity, TextCheck};
use crate::runtime::Mode;
use crate::{Error, Result};

/// A text as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the model expects before any text, such as a token for its beginning.
    pub begin: Vec<i32>,
    /// The text.
    pub ids: Vec<i32>,
}

/// Tokens that are fed and compared at once: what is held is their logits.
const CHUNK: usize = 64;

/// Negative log-likelihoods, summed.
#[derive(Default)]
struct Likelihood {
    sum: f64,
    squares: f64,
}

impl Likelihood {
    fn add(&mut self, logits: &[f32], token: usize) {
        let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|&x| (f64::from(x) - most).exp()).sum();
        let nll = most + sum.ln() - f64::from(logits[token]);
        self.sum += nll;
        self.squares += nll * nll;
    }

    fn finish(&self, tokens: usize) -> Perplexity {
        let n = tokens as f64;
        let nll = self.sum / n;
        let variance = (self.squares / n - nll * nll).max(0.0);
        // The standard error of the mean, carried through the exponential.
        let error = (variance / (n - 1.0).max(1.0)).sqrt();
        Perplexity { nll, perplexity: nll.exp(), error: nll.exp() * error }
    }
}

/// The function of a language model that returns the most logits.
///
/// # Errors
/// [`Error::Usage`] for a package that is none.
pub(super) fn language_model(program: &Program) -> Result<(&str, &Function)> {
    widest(program).ok_or_else(|| Error::Usage("--text: the package is no language model".into()))
}

/// Feeds the text to the package, or to the packages of a model in chunks, in their order, and to its source if there is one.
///
/// # Errors
/// [`Error::Usage`] for a package that is no language model, ids that it does not know, and a text
/// too short; as [`Session::feed`].
pub(super) fn check<'p>(
    options: &Options,
    text: &Text,
    programs: &[&'p Program],
    against: Option<&Against>,
    progress: &dyn Progress,
) -> Result<TextCheck> {
    // Of a model in chunks the last returns logits.
    let last = programs.last().ok_or_else(|| Error::bug("a text", "for no package"))?;
    let (name, _) = language_model(last)?;
    let function = |program: &&'p Program| {
        let function = program.functions.get(name);
        function.ok_or_else(|| Error::Usage(format!("--text: a package has no function `{name}`")))
    };
    let functions = programs.iter().map(function).collect::<Result<Vec<&Function>>>()?;
    let engine = options.engines.first().copied().unwrap_or(Engine::Cpu);
    let hosts = programs.iter().map(|program| Host::of(program)).collect::<Result<Vec<_>>>()?;
    let chain = |functions: &[&Function], backend| {
        let packages = functions.iter().zip(&hosts).map(|(f, host)| ([*f], host.as_ref()));
        Session::chain(packages, backend)
    };
    let mut quantized = chain(&functions, engine.backend(options.mode))?;
    let counterpart = |against: &Against| {
        let mut all = Vec::new();
        for (program, function) in programs.iter().zip(&functions) {
            all.extend(against.counterpart(program, name, function)?.function);
        }
        Ok::<_, Error>(all)
    };
    let source = against.map(counterpart).transpose()?.unwrap_or_default();
    let mut source = (source.len() == programs.len())
        .then(|| chain(&source.iter().collect::<Vec<_>>(), Engine::Cpu.backend(Mode::F32)))
        .transpose()?;
    let context = quantized.context();
    let room = context.saturating_sub(text.begin.len());
    if room == 0 || text.ids.len() + text.begin.len() < 2 {
        let found =
            format!("--text: {} tokens in windows of {context} predict nothing", text.ids.len());
        return Err(Error::Usage(found));
    }
    let mut tokens = 0;
    let (mut ours, mut theirs) = (Likelihood::default(), Likelihood::default());
    let mut divergence = Divergence::default();
    progress.start(text.ids.len() as u64);
    let windows = text.ids.chunks(room);
    let count = windows.len();
    for part in windows {
        let window = [&text.begin[..], part].concat();
        quantized.restart();
        source.iter_mut().for_each(Session::restart);
        // Nothing follows the last.
        let fed = &window[..window.len() - 1];
        for (at, chunk) in fed.chunks(CHUNK).enumerate() {
            let next = &window[at * CHUNK + 1..];
            let mut rows: Vec<Vec<f32>> = Vec::new();
            if let Some(source) = &mut source {
                source.feed_each(chunk, &mut |_, logits| rows.push(logits.to_vec()))?;
            }
            let mut unknown = None;
            quantized.feed_each(chunk, &mut |row, logits| {
                let token = next[row] as usize;
                if next[row] < 0 || token >= logits.len() {
                    unknown = Some(next[row]);
                    return;
                }
                ours.add(logits, token);
                tokens += 1;
                if let Some(from) = rows.get(row) {
                    theirs.add(from, token);
                    divergence.add(Rows::Logits, logits.len(), from, logits);
                }
            })?;
            if let Some(token) = unknown {
                let found = format!("--text: token {token} is beyond the model's vocabulary");
                return Err(Error::Usage(found));
            }
        }
        progress.advance(part.len() as u64);
    }
    Ok(TextCheck {
        tokens: tokens as u64,
        windows: count as u64,
        window: context as u64,
        at_once: quantized.each_at_once() as u64,
        quantized: ours.finish(tokens),
        source: source.is_some().then(|| theirs.finish(tokens)),
        classes: source.is_some().then(|| Classes::new(&divergence)),
    })
}
