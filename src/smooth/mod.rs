//! Outlier columns, moved: what a layer reads is divided by a factor for each column, and its weight's
//! columns are multiplied by it, which changes no product.
//!
//! `W x = (W · diag(s)) (diag(1/s) x)`, SmoothQuant's migration (Xiao et al. 2022, arXiv:2211.10438), with
//! `s = rms(x)^α / rms(w)^(1−α)` of each column and `α` the strength: 0.5 shares an outlier between
//! activations and weights, 0 leaves the weights' columns equal (for activations that stay in float), 1
//! those of the activations. The division costs nothing where what makes `x` can take it up: the gains
//! and offsets of a norm, the rows of the layer before, as far back as operations are homogeneous in each
//! channel. Elsewhere a multiplication is put in, if the outlier is worth it.
//!
//! **Factors are powers of two**: a rewritten model in FP16 computes bit for bit what the one before did,
//! but for what leaves the range of normal numbers on the way.
//!
//! | item | what it is |
//! |---|---|
//! | [`plan()`], [`Step`] | what would be done, for a model's functions |
//! | `factors` | columns → powers of two |
//! | `absorb` | what takes the division up |
//! | [`insert()`] | the multiplications, put into a function |

mod absorb;
mod factors;
mod insert;
mod plan;
#[cfg(test)]
mod tests;

pub use insert::insert;
pub use plan::{Model, Scaled, Step, plan};
