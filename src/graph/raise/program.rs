//! Functions, operations and features → the whole program.

use crate::formats::mil;
use crate::graph::Program;
use crate::graph::weight::Bytes;
use crate::target::Target;
use crate::{Error, Result};

/// A package as a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// The program; its weights are parts of the blob files, not copies.
    pub program: Program,
    /// The target that it was written for.
    pub target: Target,
}

/// Reads a model and checks all of it. `open` gives the bytes of a blob file, as for
/// [`super::constants`].
///
/// # Errors
/// [`Error::Findings`] with everything that is wrong; [`Error::Input`] for what cannot be looked at
/// any further; whatever `open` returns.
pub fn program(model: &mil::Model, open: &mut dyn FnMut(&str) -> Result<Bytes>) -> Result<Raised> {
    let _ = (model, open);
    Err(Error::bug("raise", "not written yet"))
}
