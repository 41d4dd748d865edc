//! One operation on values.

use super::functions::{Function, function};
use super::{Arguments, Mode, Tensor, round};
use crate::graph::Labels;
use crate::graph::ops::Row;
use crate::runtime::Data;

/// What a parameter is bound to while a function runs.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A tensor; for a state, what it holds.
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
    /// How sums are formed and results are rounded.
    pub mode: Mode,
}

/// The results of an operation. `write_state` gives what the state holds from now on.
///
/// # Errors
/// A sentence on what does not fit.
pub fn call(call: &Call<'_>) -> Result<Vec<Tensor>, String> {
    counted(call).map(|(results, _)| results)
}

/// The results, and in [`Mode::Ane`] how many sums passed the accumulator's limit.
pub(super) fn counted(call: &Call<'_>) -> Result<(Vec<Tensor>, u64), String> {
    let function = function(call.row.name).ok_or("the reference does not know this operation")?;
    let arguments = Arguments::new(call);
    let mut results = match function {
        Function::Unary(f) => vec![super::ops::elementwise::unary(&arguments, f)?],
        Function::Binary(f, g) => vec![super::ops::elementwise::binary(&arguments, f, g)?],
        Function::Compare(f) => vec![super::ops::elementwise::compare(&arguments, f)?],
        Function::Logic(f) => vec![super::ops::elementwise::logic(&arguments, f)?],
        Function::Reduce(f) => vec![super::ops::reduce::reduce(&arguments, f)?],
        Function::One(f) => vec![f(&arguments)?],
        Function::Many(f) => f(&arguments)?,
    };
    for tensor in &mut results {
        standard(&mut tensor.data);
        round::edge(call.mode, tensor);
    }
    Ok((results, arguments.overflows.get()))
}

/// Puts the elements in row-major order, where a function left them in another.
pub(super) fn standard(data: &mut Data) {
    fn order<T: Clone>(array: &mut ndarray::ArrayD<T>) {
        if !array.is_standard_layout() {
            *array = array.as_standard_layout().into_owned();
        }
    }
    match data {
        Data::Float(array) => order(array),
        Data::Int(array) => order(array),
        Data::Bool(array) => order(array),
        Data::Label(_) | Data::Scores(_) => {}
    }
}
