//! A package on data, its activations counted.
//!
//! [`Watching`] stands between whoever feeds a model and the backend that evaluates it: each function
//! that is prepared through it also returns the values that
//! [`calibrate::watched`](crate::calibrate::watched) names, and each run shows them to a
//! [`Recorder`](crate::calibrate::Recorder). So a text goes through a model exactly as `generate` and
//! `embed` feed it.
//!
//! | item | what it does |
//! |---|---|
//! | [`Watching`] | the backend between |
//! | `tokens` | along which axes places are tokens, so that padding is not counted |
//! | [`calibrate()`], [`Samples`], [`Counted`] | data through a model: windows of a text, texts, rows of tensors |

mod feed;
#[cfg(test)]
mod tests;
mod tokens;
mod watching;

pub use feed::{Counted, Samples, calibrate};
pub use watching::Watching;
