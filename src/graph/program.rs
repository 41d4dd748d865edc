//! Programs, functions, operations and values.

use super::ops::{Bound, Row};
use super::{Constant, Finding, Sizes, ValueType};
use crate::target::Target;
use std::collections::{BTreeMap, BTreeSet};

/// Functions that share weights, and what the package says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// By name. `main` alone is a package with one function; anything else needs iOS 18.
    pub functions: BTreeMap<String, Function>,
    /// Which of several functions a caller gets without asking; empty: the first by name.
    pub default_function: String,
    /// Texts for people and tools.
    pub metadata: Metadata,
}

/// What a package says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// What the model does.
    pub description: String,
    /// Which version of it this is.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// Under which terms.
    pub license: String,
    /// Anything else; among it, each identifier's original name.
    pub user: BTreeMap<String, String>,
}

/// A function: inputs, operations in an order in which they can run, outputs.
///
/// Constants are values without an operation. Built by [`super::Builder`]; [`Function::check`] holds
/// for what it builds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Inputs and states.
    pub inputs: Vec<Feature>,
    /// Outputs.
    pub outputs: Vec<Feature>,
    /// Each reads only what stands above it.
    pub operations: Vec<Operation>,
    /// All values, found by [`ValueId`].
    pub values: Vec<Value>,
}

/// An input or an output as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The value; its name is the feature's.
    pub value: ValueId,
    /// A text for people.
    pub about: String,
    /// The sizes that it takes.
    pub sizes: Sizes,
    /// For an image: how a pixel is stored. The value is then `[1, C, H, W]`.
    pub image: Option<ColorSpace>,
    /// What every element of an array input is, rounded to its type, where a caller leaves the input
    /// out; `None`: it must be given.
    pub default: Option<f64>,
}

impl Feature {
    /// An array of fixed size without a text, which must be given.
    pub fn new(value: ValueId) -> Self {
        Self { value, about: String::new(), sizes: Sizes::Fixed, image: None, default: None }
    }
}

/// How the pixels of an image input or output are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColorSpace {
    /// One channel of 8 bits.
    Grayscale,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel of FP16.
    GrayscaleFloat16,
}

/// A value of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// A value: an input, a constant, or what an operation returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique in its function, an identifier of MIL.
    pub name: String,
    /// Its type.
    pub ty: ValueType,
    /// Its content, where it is known now.
    pub constant: Option<Constant>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What tools call it: mostly as its first output, where it has outputs.
    pub name: String,
    /// Which.
    pub row: &'static Row,
    /// What its parameters are bound to, in order; a parameter of several values ([`Kind::Many`])
    /// stands here once for each. One that is left out has its default.
    ///
    /// [`Kind::Many`]: super::ops::Kind::Many
    pub arguments: Vec<Argument>,
    /// What it returns.
    pub outputs: Vec<ValueId>,
}

impl Operation {
    /// The value bound to `param`, the first of several.
    pub fn argument(&self, param: &str) -> Option<ValueId> {
        self.arguments.iter().find(|argument| argument.param == param).map(|a| a.value)
    }
}

/// A parameter and what it is bound to.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// A parameter of the operation's row.
    pub param: &'static str,
    /// The value.
    pub value: ValueId,
}

impl Function {
    /// A value.
    ///
    /// # Panics
    /// For an identity of another function.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The value of this name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|value| value.name == name).map(ValueId)
    }

    /// Constants with a stored tensor, in the order of the values.
    pub fn weights(&self) -> impl Iterator<Item = (&Value, &super::weight::Weight)> {
        self.values.iter().filter_map(|v| Some((v, v.constant.as_ref()?.as_weight()?)))
    }

    /// The types that the outputs of `row` would have for these arguments.
    pub(super) fn infer(
        &self,
        row: &'static Row,
        arguments: &[Argument],
        target: Target,
    ) -> Result<Vec<ValueType>, String> {
        row.infer(&self.bound(arguments), target)
    }

    /// What type inference sees of these arguments.
    pub(super) fn bound(&self, arguments: &[Argument]) -> Vec<Bound<'_>> {
        let bound = |argument: &Argument| {
            let value = self.value(argument.value);
            Bound { param: argument.param, ty: &value.ty, constant: value.constant.as_ref() }
        };
        arguments.iter().map(bound).collect()
    }

    /// Everything that is wrong with this function under `target`: names, order, types, operands,
    /// operations and parameters that came later. The findings do not name the function.
    pub fn check(&self, target: Target) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut finding = |found| findings.push(Finding { found, ..Finding::default() });
        let mut names = BTreeSet::new();
        for Value { name, ty, constant } in &self.values {
            if !super::names::is_identifier(name) {
                finding(format!("`{name}` is no identifier"));
            }
            if !names.insert(name) {
                finding(format!("`{name}` is defined twice"));
            }
            if let Some(Err(why)) = ty.tensor().map(super::ops::within_limits) {
                finding(format!("`{name}`: {why}"));
            }
            let Some(constant) = constant else { continue };
            if constant.ty() != *ty {
                finding(format!("`{name}` is declared {ty} and holds {}", constant.ty()));
            }
            if let Some(Err(why)) = constant.as_weight().map(|weight| weight.check()) {
                finding(format!("`{name}`: {why}"));
            }
        }
        let constants = self.values.iter().map(|value| value.constant.is_some());
        let mut defined: Vec<bool> = constants.collect();
        for input in &self.inputs {
            defined[input.value.0] = true;
        }
        for operation in &self.operations {
            let place = format!("{} `{}`", operation.row.name, operation.name);
            let found = self.check_operation(operation, target, &defined).into_iter();
            findings.extend(found.map(|found| Finding { operation: place.clone(), ..found }));
            for id in &operation.outputs {
                if std::mem::replace(&mut defined[id.0], true) {
                    let found = format!("`{}` is defined twice", self.value(*id).name);
                    findings.push(Finding { found, ..Finding::default() });
                }
            }
        }
        for output in self.outputs.iter().filter(|output| !defined[output.value.0]) {
            let found = format!("output `{}` is not defined", self.value(output.value).name);
            findings.push(Finding { found, ..Finding::default() });
        }
        findings
    }

    fn check_operation(&self, op: &Operation, target: Target, defined: &[bool]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for argument in op.arguments.iter().filter(|argument| !defined[argument.value.0]) {
            let found = format!("reads `{}` before it is defined", self.value(argument.value).name);
            findings.push(Finding { param: argument.param.into(), found, ..Finding::default() });
        }
        let bound = self.bound(&op.arguments);
        let misfits = op.row.check(&bound, target);
        // Where an operand does not fit, nothing can be said of the results.
        let inferred = if misfits.is_empty() { op.row.infer(&bound, target).ok() } else { None };
        findings.extend(misfits);
        let declared: Vec<_> = op.outputs.iter().map(|id| &self.value(*id).ty).collect();
        let same = |inferred: &Vec<ValueType>| {
            inferred.len() == declared.len()
                && inferred.iter().zip(&declared).all(|(inferred, ty)| inferred.may_equal(ty))
        };
        if let Some(inferred) = inferred.filter(|inferred| !same(inferred)) {
            let found = format!("declares {} and returns {}", listed(declared), listed(&inferred));
            findings.push(Finding { found, ..Finding::default() });
        }
        findings
    }
}

/// Types for a message.
fn listed<'a>(types: impl IntoIterator<Item = &'a ValueType>) -> String {
    let types: Vec<_> = types.into_iter().map(ValueType::to_string).collect();
    if types.is_empty() { "nothing".to_owned() } else { types.join(" and ") }
}

impl Program {
    /// A program of one function, `main`.
    pub fn single(main: Function) -> Self {
        Self { functions: [("main".to_owned(), main)].into(), ..Self::default() }
    }

    /// Whether it is `main` alone.
    pub fn is_single(&self) -> bool {
        self.functions.len() == 1 && self.functions.contains_key("main")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::weight::{Operand, Weight};
    use crate::graph::{Builder, DataType, Dim, TensorType};

    fn zeros(dtype: DataType, shape: &[usize]) -> Weight {
        let bytes = shape.iter().product::<usize>() * dtype.bits().unwrap() as usize / 8;
        Weight::dense(Operand::new(dtype, shape, vec![0; bytes]))
    }

    /// `x` [2, ?] → `linear` with an FP32 weight → `relu`.
    fn two_operations() -> Function {
        let mut builder = Builder::new();
        let dims = vec![Dim::Fixed(2), Dim::Flexible];
        let ty = TensorType::new(DataType::Float16, dims);
        let x = builder.input("x", ty, Sizes::Fixed).unwrap();
        let weight = builder.constant("w", zeros(DataType::Float32, &[4, 3])).unwrap();
        let y = builder.op("linear", "y", &[("x", x), ("weight", weight)]).unwrap();
        let z = builder.op("relu", "z", &[("x", y)]).unwrap();
        builder.output(z, "");
        builder.finish()
    }

    fn found(function: &Function, target: Target) -> String {
        let findings: Vec<_> =
            function.check(target).iter().map(|finding| format!("{finding}\n")).collect();
        findings.concat()
    }

    #[test]
    fn all_findings_are_named_with_their_place() {
        let mut function = two_operations();
        assert_eq!(found(&function, Target::Ios17), "");
        function.operations.swap(0, 1);
        let float = |shape: &[usize]| TensorType::fixed(DataType::Float32, shape).into();
        function.values[0].name = "a b".into();
        function.values[1].ty = float(&[4, 2]);
        function.values[2].ty = float(&[2, 4]);
        function.values[3].ty = float(&[2, 5]);
        insta::assert_snapshot!(found(&function, Target::Ios16), @r"
        `a b` is no identifier
        `w` is declared fp32[4, 2] and holds fp32[4, 3]
        relu `z`: x: reads `y` before it is defined
        relu `z`: declares fp32[2, 5] and returns fp32[2, 4]
        linear `y`: weight: is fp32[4, 2] beside `x`, which is fp16[2, ?]; ios16 needs one type
        ");
    }

    #[test]
    fn a_declared_type_may_be_nearer_to_the_truth_than_the_inferred_one() {
        let mut function = two_operations();
        let fp16 = |dims| TensorType::new(DataType::Float16, dims).into();
        for (dims, fits) in [
            (vec![Dim::Fixed(2), Dim::Flexible], true),
            (vec![Dim::Flexible, Dim::Fixed(4)], true),
            (vec![Dim::Fixed(3), Dim::Fixed(4)], false),
            (vec![Dim::Fixed(2)], false),
        ] {
            function.values[3].ty = fp16(dims);
            assert_eq!(function.check(Target::Ios18).is_empty(), fits);
        }
    }
}
