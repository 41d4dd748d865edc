//! One operation on values.

use super::{Mode, Tensor};
use crate::graph::Labels;
use crate::graph::ops::Row;

/// What a parameter is bound to while a function runs.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A word.
    Text(&'a str),
    /// The labels of a classifier.
    Labels(&'a Labels),
}

/// One operation with its arguments.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which operation.
    pub row: &'static Row,
    /// What is bound, in the operation's order.
    pub arguments: Vec<(&'static str, Argument<'a>)>,
    /// How sums are formed.
    pub mode: Mode,
}

/// The results of an operation.
///
/// # Errors
/// A sentence on what does not fit.
pub fn call(call: &Call<'_>) -> Result<Vec<Tensor>, String> {
    Err(format!("{} cannot be evaluated", call.row.name))
}
