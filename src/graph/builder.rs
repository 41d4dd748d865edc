//! Builds functions, one checked step at a time.

use super::ops::Row;
use super::{Argument, Constant, Feature, Function, Operation, Sizes, TensorType};
use super::{Value, ValueId, ValueType, names};
use crate::target::Target;
use crate::{Error, Result};
use std::collections::BTreeSet;

/// Builds a [`Function`]. What does not fit is an error at the step that brought it, and
/// [`Error::Bug`]: architectures and rewrites must only build what holds.
#[derive(Debug, Default)]
pub struct Builder {
    function: Function,
    names: BTreeSet<String>,
}

impl Builder {
    /// An empty function.
    pub fn new() -> Self {
        Self::default()
    }

    /// An input of fixed or flexible shape.
    pub fn input(&mut self, name: &str, ty: TensorType, sizes: Sizes) -> Result<ValueId> {
        self.feature(name, ValueType::Tensor(ty), sizes)
    }

    /// A state.
    pub fn state(&mut self, name: &str, ty: TensorType) -> Result<ValueId> {
        self.feature(name, ValueType::State(ty), Sizes::Fixed)
    }

    /// Tells people what the latest input or state is.
    pub fn about(&mut self, text: &str) {
        if let Some(input) = self.function.inputs.last_mut() {
            input.about = text.into();
        }
    }

    /// A constant.
    pub fn constant(&mut self, name: &str, constant: impl Into<Constant>) -> Result<ValueId> {
        let constant = constant.into();
        if let Some(Err(why)) = constant.as_weight().map(|weight| weight.check()) {
            return Err(bug(name, why));
        }
        self.define(name, constant.ty(), Some(constant))
    }

    /// An operation with one output; `name` is the output's.
    pub fn op(
        &mut self,
        operation: &str,
        name: &str,
        arguments: &[(&str, ValueId)],
    ) -> Result<ValueId> {
        let (row, arguments, types) = self.bind(operation, name, arguments)?;
        let [ty] = <[ValueType; 1]>::try_from(types)
            .map_err(|types| bug(name, format!("{operation} has {} outputs", types.len())))?;
        let output = self.define(name, ty, None)?;
        let (name, outputs) = (name.to_owned(), vec![output]);
        self.function.operations.push(Operation { name, row, arguments, outputs });
        Ok(output)
    }

    /// An operation without outputs, such as `write_state`.
    pub fn effect(
        &mut self,
        operation: &str,
        name: &str,
        arguments: &[(&str, ValueId)],
    ) -> Result<()> {
        let (row, arguments, types) = self.bind(operation, name, arguments)?;
        if !types.is_empty() {
            return Err(bug(name, format!("{operation} has {} outputs", types.len())));
        }
        let (name, outputs) = (name.to_owned(), vec![]);
        self.function.operations.push(Operation { name, row, arguments, outputs });
        Ok(())
    }

    /// Finds the operation and its parameters, and infers what it returns.
    fn bind(
        &self,
        operation: &str,
        name: &str,
        arguments: &[(&str, ValueId)],
    ) -> Result<(&'static Row, Vec<Argument>, Vec<ValueType>)> {
        let row = Row::find(operation)
            .ok_or_else(|| bug(name, format!("there is no operation `{operation}`")))?;
        let bind = |&(param, value): &(&str, ValueId)| {
            let known = row.param(param).filter(|_| value.0 < self.function.values.len());
            let unknown = || bug(name, format!("{operation} cannot bind `{param}`"));
            Ok(Argument { param: known.ok_or_else(unknown)?.name, value })
        };
        let arguments = arguments.iter().map(bind).collect::<Result<Vec<_>>>()?;
        // Whether a target has all of it is checked when the function is lowered.
        let newest = Target::Ios26;
        let types = self.function.infer(row, &arguments, newest).map_err(|why| bug(name, why))?;
        Ok((row, arguments, types))
    }

    /// A name that no value has yet: `name`, or with the first free of the suffixes `_2`, `_3`, …
    pub fn free(&self, name: &str) -> String {
        names::free(name, |taken| self.names.contains(taken))
    }

    /// Makes a value an output, with a text for people.
    pub fn output(&mut self, value: ValueId, about: &str) {
        self.function.outputs.push(Feature { about: about.into(), ..Feature::new(value) });
    }

    /// The function.
    pub fn finish(self) -> Function {
        self.function
    }

    fn feature(&mut self, name: &str, ty: ValueType, sizes: Sizes) -> Result<ValueId> {
        let value = self.define(name, ty, None)?;
        self.function.inputs.push(Feature { sizes, ..Feature::new(value) });
        Ok(value)
    }

    fn define(&mut self, name: &str, ty: ValueType, constant: Option<Constant>) -> Result<ValueId> {
        if !names::is_identifier(name) {
            return Err(bug(name, "that is no identifier".into()));
        }
        if !self.names.insert(name.into()) {
            return Err(bug(name, "the name is taken".into()));
        }
        self.function.values.push(Value { name: name.into(), ty, constant });
        Ok(ValueId(self.function.values.len() - 1))
    }
}

fn bug(name: &str, why: String) -> Error {
    Error::bug(format!("graph value `{name}`"), why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::DataType::{Float16, Float32, Int32};
    use crate::graph::weight::{Operand, Weight};

    fn zeros(dtype: crate::graph::DataType, shape: &[usize]) -> Constant {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.bits().unwrap() as usize / 8];
        Weight::dense(Operand::new(dtype, shape, bytes)).into()
    }

    #[test]
    fn output_types_follow_from_the_arguments() {
        type Case<'a> = (&'a str, &'a [(&'a str, Constant)], &'a str);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            ("linear", &[("x", zeros(Float16, &[64, 8])), ("weight", zeros(Float16, &[3, 8]))], "fp16[64, 3]"),
            ("linear", &[("x", zeros(Float16, &[64, 9])), ("weight", zeros(Float16, &[3, 8]))],
             "`x` is fp16[64, 9] beside `weight`, which is fp16[3, 8]"),
            ("linear", &[("x", zeros(Float16, &[64, 8]))], "`weight` is missing"),
            ("linear", &[("x", zeros(Float16, &[8])), ("weight", zeros(Float16, &[3, 8])), ("bias", zeros(Float16, &[4]))],
             "`bias` is fp16[4] for 3 outputs"),
            ("conv", &[("x", zeros(Float16, &[1, 4, 16, 16])), ("weight", zeros(Float16, &[6, 2, 3, 3])), ("groups", Constant::int(2))],
             "fp16[1, 6, 14, 14]"),
            ("conv", &[("x", zeros(Float16, &[1, 4, 9])), ("weight", zeros(Float16, &[6, 4, 3])), ("strides", Constant::ints(&[2])), ("pad_type", Constant::text("custom")), ("pad", Constant::ints(&[1, 2]))],
             "fp16[1, 6, 5]"),
            ("conv", &[("x", zeros(Float16, &[1, 4, 2])), ("weight", zeros(Float16, &[6, 4, 3]))],
             "`weight` fp16[6, 4, 3] reaches over the end of `x` fp16[1, 4, 2]"),
            ("conv", &[("x", zeros(Float16, &[1, 4, 8])), ("weight", zeros(Float16, &[6, 4, 3])), ("groups", Constant::int(4))],
             "`x` is fp16[1, 4, 8] beside `weight` fp16[6, 4, 3] in 4 groups"),
            ("gather", &[("x", zeros(Float16, &[100, 8])), ("indices", zeros(Int32, &[64]))], "fp16[64, 8]"),
            ("gather", &[("x", zeros(Float16, &[100, 8])), ("indices", zeros(Float16, &[64]))],
             "`indices` is fp16[64]; int8, int16, int32, uint8, uint16 would do for ios26"),
            ("matmul", &[("x", zeros(Float16, &[7, 64, 8])), ("y", zeros(Float16, &[7, 5, 8])), ("transpose_y", Constant::bool(true))],
             "fp16[7, 64, 5]"),
            ("matmul", &[("x", zeros(Float16, &[64, 8])), ("y", zeros(Float16, &[5, 8]))],
             "fp16[64, 8] and fp16[5, 8] do not multiply"),
            ("mul", &[("x", zeros(Float16, &[64, 8])), ("y", zeros(Float16, &[1, 8]))], "fp16[64, 8]"),
            ("add", &[("x", zeros(Float16, &[64, 8])), ("y", zeros(Float32, &[8]))],
             "`y` is fp32[8] beside `x`, which is fp16[64, 8]; ios26 needs one type"),
            ("cast", &[("x", zeros(Float16, &[2])), ("dtype", Constant::text("fp32"))], "fp32[2]"),
        ];
        for (operation, arguments, want) in cases {
            let mut builder = Builder::new();
            let bound: Vec<_> = arguments
                .iter()
                .map(|(param, c)| {
                    (*param, builder.constant(&format!("{param}_"), c.clone()).unwrap())
                })
                .collect();
            match builder.op(operation, "y", &bound) {
                Ok(y) => {
                    let function = builder.finish();
                    assert_eq!(function.value(y).ty.to_string(), *want, "{operation}");
                    assert_eq!(function.check(Target::Ios18), []);
                }
                Err(error) => assert_eq!(
                    error.to_string(),
                    format!("bug in twolane, graph value `y`: {want}; please report it"),
                ),
            }
        }
    }

    #[test]
    fn a_name_is_an_identifier_and_taken_once() {
        let mut builder = Builder::new();
        builder.constant("a", Constant::int(1)).unwrap();
        assert!(builder.constant("a", Constant::int(1)).is_err());
        assert!(builder.constant("a.b", Constant::int(1)).is_err());
        assert_eq!(builder.free("a"), "a_2");
        assert_eq!(builder.free("b"), "b");
    }

    #[test]
    fn an_input_is_no_constant() {
        let mut builder = Builder::new();
        let x = builder.input("x", TensorType::fixed(Float16, &[8, 8]), Sizes::Fixed).unwrap();
        let refused = builder.op("linear", "y", &[("x", x), ("weight", x)]).unwrap_err();
        insta::assert_snapshot!(refused, @"bug in twolane, graph value `y`: `weight` must be constant; please report it");
    }
}
