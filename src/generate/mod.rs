//! Text from a language model, one token after the other, on any machine.
//!
//! | module | what it does |
//! |---|---|
//! | [`Session`] | a package's functions, its caches, and how far the text is |
//! | `roles` | what features are for, and what a step puts there |
//! | `script` | drawn ids as the steps of a text, for golden vectors and validation |
//! | [`Sampler`] | logits → the next token |
//! | [`generate()`] | a prompt and what follows it, with times |

mod roles;
mod sample;
mod script;
mod session;

pub use sample::Sampler;
pub(crate) use script::Script;
pub(crate) use session::within;
pub use session::{Session, widest};

use crate::Result;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// What came of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Generated {
    /// The tokens behind the prompt, without the one that ends a text.
    pub ids: Vec<i32>,
    /// Why there are no more.
    pub stop: Stop,
    /// Time for the prompt.
    #[serde(skip)]
    pub prefill: Duration,
    /// Time for all tokens behind it but the first.
    #[serde(skip)]
    pub decode: Duration,
}

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The model ended it.
    End,
    /// It has as many tokens as were asked for.
    Length,
    /// The package takes no longer ones.
    Context,
    /// Whoever listens wants no more.
    Interrupted,
}

/// Feeds a prompt, then takes up to `most` tokens, each of which `listen` hears of as soon as it is
/// known. A token of `ends` ends the text.
///
/// # Errors
/// As [`Session::feed`] and [`Sampler::next`].
pub fn generate(
    session: &mut Session,
    prompt: &[i32],
    sampler: &mut Sampler,
    most: usize,
    ends: &[i32],
    listen: &mut dyn FnMut(i32) -> Result<ControlFlow<()>>,
) -> Result<Generated> {
    let start = Instant::now();
    let mut logits = session.feed(prompt)?;
    let mut generated = Generated {
        ids: Vec::new(),
        stop: Stop::Length,
        prefill: start.elapsed(),
        decode: Duration::ZERO,
    };
    let start = Instant::now();
    while generated.ids.len() < most {
        let token = sampler.next(&logits)?;
        if ends.contains(&token) {
            generated.stop = Stop::End;
            break;
        }
        generated.ids.push(token);
        if listen(token)?.is_break() {
            generated.stop = Stop::Interrupted;
            break;
        }
        if generated.ids.len() == most {
            break;
        }
        if session.position() == session.context() {
            generated.stop = Stop::Context;
            break;
        }
        logits = session.feed(&[token])?;
        generated.decode = start.elapsed();
    }
    Ok(generated)
}
