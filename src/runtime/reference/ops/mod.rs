//! The functions, a file for each family of `graph::ops`.
//!
//! | module | what it holds |
//! |---|---|
//! | `elementwise`, `activation` | one element, or pairs of them |
//! | `linear`, `attention`, `conv`, `pool`, `norm`, `reduce` | sums over elements |
//! | `reshape`, `arrange`, `slice`, `join`, `fill` | where elements stand |
//! | `index`, `order` | gathering, scattering, sorting |
//! | `image` | resizing and cropping |
//! | `quantize`, `classify` | INT8 activations, labels |
//! | `rows`, `window` | rows along some axes; windows over spatial dimensions |
//!
//! Formulas are those of coremltools' operation reference; where its words leave something open, the
//! function says what was decided, and by what.

pub(super) mod activation;
pub(super) mod arrange;
pub(super) mod attention;
pub(super) mod classify;
pub(super) mod conv;
pub(super) mod elementwise;
pub(super) mod fill;
pub(super) mod image;
pub(super) mod index;
pub(super) mod join;
pub(super) mod linear;
pub(super) mod norm;
pub(super) mod order;
pub(super) mod pool;
pub(super) mod quantize;
pub(super) mod reduce;
pub(super) mod reshape;
mod rows;
pub(super) mod slice;
mod window;

use super::{Arguments, Tensor, places};
use crate::runtime::Data;

/// What a function with one result returns.
type One = Result<Tensor, String>;
