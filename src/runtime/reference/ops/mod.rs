//! The functions, a file for each family.
//!
//! Formulas are those of coremltools' operation reference; where its words leave something open, the
//! function says what was decided, and by what.

pub(super) mod activation;
pub(super) mod attention;
pub(super) mod conv;
pub(super) mod elementwise;
pub(super) mod image;
pub(super) mod index;
pub(super) mod matmul;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod reduce;
pub(super) mod rows;
pub(super) mod shape;
pub(super) mod slice;
pub(super) mod various;
mod window;

use super::{Arguments, Tensor, places};
use crate::runtime::Data;

/// What a function with one result returns.
type One = Result<Tensor, String>;
