//! The table of operations: one row each.
//!
//! A row says what an operation is called, which target brought it, what parameters it takes (with
//! the defaults that Core ML assumes), which element types fit them opset by opset, and how the types
//! of its outputs follow. Constants are not operations here: they are values
//! ([`crate::graph::Constant`]), and lowering writes them. Control flow, lists, recurrent and random
//! operations and `non_maximum_suppression` have no row: who meets one names it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Row`], [`Param`], [`Kind`], [`enum@Default`] | the form of a row |
//! | [`mod@domain`] | element types of parameters, opset by opset |
//! | `arguments` | what type inference sees: bound values, defaults, their checks |
//! | `dims` | arithmetic on dimensions, none of which may overflow |
//! | `elementwise`, `activation` | one element, or pairs of them |
//! | `linear`, `attention`, `conv`, `pool`, `norm`, `reduce` | sums over elements |
//! | `reshape`, `arrange`, `slice`, `join`, `fill` | where elements stand |
//! | `index`, `order` | gathering, scattering, sorting |
//! | `image` | resizing and cropping |
//! | `quantize`, `state`, `classify` | INT8 activations, states, labels |
//! | `cost` | multiply-accumulates of an operation |
//!
//! Sources: the operation reference of coremltools' MIL documentation, and coremltools 9.0's own
//! answers, which `fixtures/ops_infer` records and `tests.rs` compares with ours.

mod activation;
mod arguments;
mod arrange;
mod attention;
mod classify;
mod conv;
mod cost;
mod dims;
pub mod domain;
mod elementwise;
mod fill;
mod image;
mod index;
mod join;
mod linear;
mod norm;
mod order;
mod pool;
mod quantize;
mod reduce;
mod reshape;
mod slice;
mod state;
#[cfg(test)]
mod tests;

pub use arguments::Bound;
pub use cost::macs;
pub(in crate::graph) use dims::within_limits;

use super::{Finding, ValueType};
use crate::target::Target;
use arguments::Arguments;
use domain::Domain;
use std::fmt;

/// All rows, family by family.
static FAMILIES: [&[Row]; 18] = [
    elementwise::ROWS,
    activation::ROWS,
    linear::ROWS,
    attention::ROWS,
    conv::ROWS,
    pool::ROWS,
    norm::ROWS,
    reduce::ROWS,
    reshape::ROWS,
    arrange::ROWS,
    slice::ROWS,
    join::ROWS,
    fill::ROWS,
    index::ROWS,
    order::ROWS,
    image::ROWS,
    quantize::ROWS,
    state::ROWS,
];

/// Every operation that the graph knows.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.into_iter().flatten().chain(classify::ROWS)
}

/// One operation of the table.
pub struct Row {
    /// MIL's name.
    pub name: &'static str,
    /// The first target that has it.
    pub since: Target,
    /// Its parameters, in the order in which they are written.
    pub params: &'static [Param],
    /// The types of the outputs.
    infer: Infer,
}

/// Type inference of one row: the types of the outputs, or a sentence on what does not fit.
type Infer = fn(&Arguments<'_>) -> Result<Vec<ValueType>, String>;

/// One parameter of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// MIL's name.
    pub name: &'static str,
    /// What may be bound to it.
    pub kind: Kind,
    /// Which element types fit.
    pub domain: Domain,
    /// What holds when nothing is bound.
    pub default: Default,
    /// The first target that knows it.
    pub since: Target,
    /// The first target that no longer knows it.
    pub gone: Option<Target>,
}

/// What may be bound to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any tensor.
    Tensor,
    /// A tensor that is constant when the program is compiled.
    Constant,
    /// A tensor that must be constant for targets before this one.
    ConstantBefore(Target),
    /// One or more tensors in order, such as the values of a concatenation.
    Many,
    /// The state itself, not its content.
    State,
    /// The labels of a classifier.
    Labels,
    /// Any value.
    Any,
}

/// What holds for a parameter that is not bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// Nothing: it must be bound.
    Required,
    /// As if the term were not there; where the parameter selects axes, all of them.
    Absent,
    /// This number.
    Int(i64),
    /// This number, in the type of the parameter that it stands beside; FP32 where it stands alone.
    Float(f32),
    /// This flag.
    Bool(bool),
    /// This word.
    Text(&'static str),
    /// A vector of this number, one a spatial dimension (two for padding).
    Each(i64),
}

impl Param {
    const fn tensor(name: &'static str, domain: Domain) -> Self {
        let (kind, default) = (Kind::Tensor, Default::Required);
        Self { name, kind, domain, default, since: Target::Ios15, gone: None }
    }

    const fn constant(name: &'static str, domain: Domain) -> Self {
        Self { kind: Kind::Constant, ..Self::tensor(name, domain) }
    }

    const fn int(name: &'static str) -> Self {
        Self::constant(name, domain::INT)
    }

    const fn flag(name: &'static str, default: bool) -> Self {
        Self::constant(name, domain::BOOL).or(Default::Bool(default))
    }

    const fn word(name: &'static str) -> Self {
        Self::constant(name, domain::WORD)
    }

    const fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    const fn or(self, default: Default) -> Self {
        Self { default, ..self }
    }

    const fn since(self, since: Target) -> Self {
        Self { since, ..self }
    }

    const fn until(self, gone: Target) -> Self {
        Self { gone: Some(gone), ..self }
    }
}

impl Row {
    const fn new(name: &'static str, params: &'static [Param], infer: Infer) -> Self {
        Self { name, since: Target::Ios15, params, infer }
    }

    const fn since(self, since: Target) -> Self {
        Self { since, ..self }
    }

    /// The row of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        rows().find(|row| row.name == name)
    }

    /// The parameter of this name.
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// Everything about the bound values that does not fit `target`, parameter by parameter:
    /// operations and parameters that came later or went, and whatever [`Row::infer`] refuses.
    pub fn check(&'static self, bound: &[Bound<'_>], target: Target) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut finding = |param: &str, found: String| {
            findings.push(Finding { param: param.into(), found, ..Finding::default() });
        };
        if self.since > target {
            finding("", format!("needs {}, the target is {target}", self.since));
        }
        for param in self.params.iter().filter(|p| bound.iter().any(|b| b.param == p.name)) {
            if param.since > target {
                finding(param.name, format!("needs {}, the target is {target}", param.since));
            }
            if let Some(gone) = param.gone.filter(|gone| *gone <= target) {
                finding(param.name, format!("is gone since {gone}, the target is {target}"));
            }
        }
        let arguments = Arguments { row: self, bound, target };
        let misfits = arguments.misfits();
        if misfits.is_empty()
            && let Err(why) = self.outputs(&arguments)
        {
            finding("", why);
        }
        misfits.into_iter().for_each(|(param, found)| finding(param, found));
        findings
    }

    /// Infers the types of the outputs as the opset of `target` does. That the target knows the
    /// operation and its parameters at all is [`Row::check`]'s matter.
    ///
    /// # Errors
    /// A sentence that names the parameter and what does not fit.
    pub fn infer(
        &'static self,
        bound: &[Bound<'_>],
        target: Target,
    ) -> Result<Vec<ValueType>, String> {
        let arguments = Arguments { row: self, bound, target };
        match arguments.misfits().first() {
            Some((param, found)) => Err(format!("`{param}` {found}")),
            None => self.outputs(&arguments),
        }
    }

    fn outputs(&self, arguments: &Arguments<'_>) -> Result<Vec<ValueType>, String> {
        let types = (self.infer)(arguments)?;
        types.iter().filter_map(ValueType::tensor).try_for_each(within_limits)?;
        Ok(types)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
