//! The table of operations: one row each.
//!
//! A row says what an operation is called, which target brought it, what parameters it takes (with
//! the defaults that CoreML assumes), and how the types of its outputs follow. Constants are not
//! operations here: they are values ([`crate::graph::Constant`]), and lowering writes them.
//!
//! Source: the operation reference of coremltools' MIL documentation.

mod infer;
mod table;

pub use table::TABLE;

use super::{Constant, TensorType, ValueType};
use crate::target::Target;
use std::fmt;

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
    /// What holds when nothing is bound.
    pub default: Default,
    /// The first target that knows it.
    pub since: Target,
}

/// What may be bound to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any tensor.
    Tensor,
    /// A tensor that is constant when the program is compiled.
    Constant,
    /// One or more tensors in order, such as the values of a concatenation.
    Many,
}

/// What holds for a parameter that is not bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// Nothing: it must be bound.
    Required,
    /// As if the term were not there.
    Absent,
    /// This number.
    Int(i64),
    /// This flag.
    Bool(bool),
    /// This word.
    Text(&'static str),
    /// A vector of this number, one a spatial dimension.
    Each(i64),
}

impl Param {
    const fn tensor(name: &'static str) -> Self {
        Self { name, kind: Kind::Tensor, default: Default::Required, since: Target::Ios16 }
    }

    const fn constant(name: &'static str) -> Self {
        Self { kind: Kind::Constant, ..Self::tensor(name) }
    }

    const fn or(self, default: Default) -> Self {
        Self { default, ..self }
    }

    const fn since(self, since: Target) -> Self {
        Self { since, ..self }
    }
}

impl Row {
    /// The row of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.name == name)
    }

    /// The parameter of this name.
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// Infers the types of the outputs as the opset of `target` does.
    ///
    /// # Errors
    /// A sentence that names the parameter and what does not fit.
    pub fn infer(
        &'static self,
        bound: &[Bound<'_>],
        target: Target,
    ) -> Result<Vec<ValueType>, String> {
        for argument in bound {
            let Some(param) = self.param(argument.param) else {
                return Err(format!("there is no parameter `{}`", argument.param));
            };
            if param.kind == Kind::Constant && argument.constant.is_none() {
                return Err(format!("`{}` must be constant", param.name));
            }
        }
        let arguments = Arguments { row: self, bound, target };
        for param in self.params.iter().filter(|p| p.default == Default::Required) {
            if arguments.get(param.name).is_none() {
                return Err(format!("`{}` is missing", param.name));
            }
        }
        (self.infer)(&arguments)
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

/// What type inference sees of a value that is bound to a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The parameter.
    pub param: &'a str,
    /// The value's type.
    pub ty: &'a ValueType,
    /// The value itself, where it is constant.
    pub constant: Option<&'a Constant>,
}

/// The arguments of one operation, defaults included.
struct Arguments<'a> {
    row: &'static Row,
    bound: &'a [Bound<'a>],
    /// What the operation must run on: opsets differ in the types that they take.
    #[allow(dead_code)]
    target: Target,
}

impl<'a> Arguments<'a> {
    fn get(&self, name: &str) -> Option<&'a Bound<'a>> {
        self.bound.iter().find(|b| b.param == name)
    }

    fn default(&self, name: &str) -> Default {
        self.row.param(name).map_or(Default::Required, |param| param.default)
    }

    fn optional(&self, name: &str) -> Option<&'a TensorType> {
        self.get(name)?.ty.tensor()
    }

    fn tensor(&self, name: &str) -> Result<&'a TensorType, String> {
        let bound = self.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        bound.ty.tensor().ok_or_else(|| format!("`{name}` is {}, no tensor", bound.ty))
    }

    fn constant(&self, name: &str) -> Option<&'a Constant> {
        self.get(name)?.constant
    }

    /// A vector of integers; `spatial` of them by default.
    fn ints(&self, name: &str, spatial: usize) -> Result<Vec<i64>, String> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_ints().ok_or_else(|| format!("`{name}` holds no integers"))
            }
            (None, Default::Each(n)) => Ok(vec![n; spatial]),
            (None, Default::Int(n)) => Ok(vec![n]),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    fn int(&self, name: &str) -> Result<i64, String> {
        match self.ints(name, 1)?[..] {
            [n] => Ok(n),
            ref several => Err(format!("`{name}` holds {} integers, not one", several.len())),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_bool().ok_or_else(|| format!("`{name}` holds no flag"))
            }
            (None, Default::Bool(flag)) => Ok(flag),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_text().ok_or_else(|| format!("`{name}` holds no word"))
            }
            (None, Default::Text(text)) => Ok(text),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }
}
