//! One operation: parameters, and the types of its outputs.

use super::finding::{Read, Stop, quoted, quoted_all, wrong};
use super::function::{Entry, Scope};
use super::types::value_type;
use crate::Result;
use crate::formats::mil;
use crate::graph::ops::{Bound, Default, Kind, Param, Row, TABLE};
use crate::graph::{Argument, Dim, Operation, TensorType, ValueId, ValueType};
use mil::binding::Binding;

/// Operations of MIL that are refused by name, and what would do.
#[rustfmt::skip]
const REFUSED: &[(&[&str], &str)] = &[
    (&["cond", "while_loop"],
     "control flow cannot be read; convert the model with its branches and loops traced, or with one function a branch"),
    (&["make_list", "list_length", "list_read", "list_write", "list_gather", "list_scatter"],
     "lists cannot be read; convert the model with tensors of fixed shape in their place"),
    (&["lstm", "gru", "rnn"],
     "recurrent layers cannot be read; convert the model with one step written out, whose state is an input and an output"),
    (&["random_bernoulli", "random_categorical", "random_normal", "random_uniform"],
     "random numbers cannot be read, for no two runs would agree; convert the model with the numbers as an input"),
    (&["non_maximum_suppression"],
     "how much it returns depends on the data; convert the model without it, and call it on the outputs"),
];

impl<'a> Scope<'a, '_> {
    /// Reads an operation that runs.
    pub(super) fn operation(&mut self, message: &'a mil::Operation) -> Result<()> {
        let kind = message.r#type.as_str();
        let Some(row) = Row::find(kind) else {
            let refused = REFUSED.iter().find(|(names, _)| names.contains(&kind));
            let meant = crate::text::nearest(kind, TABLE.iter().map(|row| row.name));
            let why = match (refused, meant) {
                (Some((_, why)), _) => (*why).to_owned(),
                (None, Some(meant)) => format!("there is no such operation; is it `{meant}`?"),
                (None, None) => "it is no operation that can be read; write what it does with others, and convert the model again".to_owned(),
            };
            self.found(&why);
            self.declared(message);
            return Ok(());
        };
        for name in message.attributes.keys().filter(|name| *name != "name") {
            self.found(&format!("it has an attribute {}; its parameters are inputs", quoted(name)));
        }
        if !message.blocks.is_empty() {
            self.found("it has blocks, which only control flow has");
        }
        if row.since > self.target {
            self.found(&format!("it needs {}, the package is for {}", row.since, self.target));
        }
        match self.arguments(message, row)? {
            Some(arguments) => self.returns(message, row, arguments),
            None => self.declared(message),
        }
        Ok(())
    }

    /// What the parameters are bound to, in the order of the row; nothing where that is not known.
    fn arguments(
        &mut self,
        message: &'a mil::Operation,
        row: &'static Row,
    ) -> Result<Option<Vec<Argument>>> {
        let mut sound = true;
        for name in message.inputs.keys().filter(|name| row.param(name).is_none()) {
            let known = quoted_all(row.params.iter().map(|param| param.name));
            let why = match crate::text::nearest(name, row.params.iter().map(|param| param.name)) {
                Some(meant) => format!("{} has no such parameter; is it `{meant}`?", row.name),
                None => format!("{} has no such parameter; it has {known}", row.name),
            };
            self.found_at(name, &why);
            sound = false;
        }
        let mut arguments = Vec::new();
        for param in row.params {
            let Some(bound) = message.inputs.get(param.name) else {
                if param.default == Default::Required {
                    self.found_at(param.name, "it is missing");
                    sound = false;
                }
                continue;
            };
            if param.since > self.target {
                let (since, target) = (param.since, self.target);
                self.found_at(
                    param.name,
                    &format!("it needs {since}, the package is for {target}"),
                );
            }
            if bound.arguments.is_empty() || (bound.arguments.len() > 1 && param.kind != Kind::Many)
            {
                let count = bound.arguments.len();
                self.found_at(param.name, &format!("it is bound to {count} values, not to one"));
                sound = false;
                continue;
            }
            for binding in &bound.arguments {
                match self.bound(message, param, binding)? {
                    Some(value) => arguments.push(Argument { param: param.name, value }),
                    None => sound = false,
                }
            }
        }
        Ok(sound.then_some(arguments))
    }

    /// The value that a parameter is bound to.
    fn bound(
        &mut self,
        message: &'a mil::Operation,
        param: &'static Param,
        binding: &'a mil::Binding,
    ) -> Result<Option<ValueId>> {
        let id = match &binding.binding {
            Some(Binding::Name(name)) => self.read(name, param.name),
            Some(Binding::Value(value)) => {
                let read = self.files.constant(value).map_err(|stop| stop.at(param.name));
                let constant = self.settle(read)?;
                constant.map(|constant| {
                    let name = self.free(&format!("{}_{}", name(message), param.name));
                    self.value(&name, constant.ty(), Some(constant))
                })
            }
            None => {
                self.found_at(param.name, "it is bound to nothing");
                None
            }
        };
        let Some(id) = id else { return Ok(None) };
        if param.kind == Kind::Constant && self.function.value(id).constant.is_none() {
            let name = quoted(&self.function.value(id).name);
            self.found_at(param.name, &format!("{name} is computed; it must be constant"));
            return Ok(None);
        }
        Ok(Some(id))
    }

    /// Adds the operation, whose outputs have the types that follow from its arguments.
    fn returns(
        &mut self,
        message: &'a mil::Operation,
        row: &'static Row,
        arguments: Vec<Argument>,
    ) {
        let bound: Vec<_> = arguments
            .iter()
            .map(|argument| {
                let value = self.function.value(argument.value);
                Bound { param: argument.param, ty: &value.ty, constant: value.constant.as_ref() }
            })
            .collect();
        let inferred = match row.infer(&bound, self.target) {
            Ok(inferred) => inferred,
            Err(why) => {
                self.found(&why);
                return self.declared(message);
            }
        };
        if inferred.len() != message.outputs.len() {
            let (is, declares) = (inferred.len(), message.outputs.len());
            self.found(&format!("it returns {is} values and declares {declares}"));
            return self.declared(message);
        }
        let mut outputs = Vec::new();
        for (output, inferred) in message.outputs.iter().zip(inferred) {
            let ty = match value_type(output.r#type.as_ref()).and_then(|ty| joined(ty, &inferred)) {
                Ok(ty) => ty,
                Err(stop) => {
                    if let Stop::Found { found, .. } = stop {
                        self.found(&format!("{}: {found}", quoted(&output.name)));
                    }
                    inferred
                }
            };
            let id = self.value(&output.name, ty, None);
            self.output(output, Entry::Value(id));
            outputs.push(id);
        }
        let name = match name(message) {
            name if message.outputs.is_empty() => self.free(name),
            name => name.to_owned(),
        };
        self.function.operations.push(Operation { name, row, arguments, outputs });
    }

    /// The outputs of an operation that is wrong: they have the types that they declare.
    fn declared(&mut self, message: &'a mil::Operation) {
        for output in &message.outputs {
            let entry = match value_type(output.r#type.as_ref()) {
                Ok(ty) => Entry::Value(self.value(&output.name, ty, None)),
                Err(Stop::Found { found, .. }) => {
                    self.found(&format!("{}: {found}", quoted(&output.name)));
                    Entry::Broken
                }
                Err(Stop::Known | Stop::Fatal(_)) => Entry::Broken,
            };
            self.output(output, entry);
        }
    }
}

/// What an operation is called: its first output, or, without outputs, its `name`.
fn name(message: &mil::Operation) -> &str {
    let named = || message.attributes.get("name").and_then(mil::Value::as_string);
    match message.outputs.first() {
        Some(output) => &output.name,
        None => named().unwrap_or(&message.r#type),
    }
}

/// The type that is both: declared and inferred dimensions may each leave open what the other knows.
fn joined(declared: ValueType, inferred: &ValueType) -> Read<ValueType> {
    let differs = || wrong(format!("it is declared as {declared} and is {inferred}"));
    let (ValueType::Tensor(a), ValueType::Tensor(b)) = (&declared, inferred) else {
        return if declared == *inferred { Ok(declared) } else { Err(differs()) };
    };
    let fits = a.dims.iter().zip(&b.dims).all(|(a, b)| a.may_equal(*b));
    if a.dtype != b.dtype || a.rank() != b.rank() || !fits {
        return Err(differs());
    }
    let known = |(a, b): (&Dim, &Dim)| if *a == Dim::Flexible { *b } else { *a };
    let dims = a.dims.iter().zip(&b.dims).map(known).collect();
    Ok(TensorType::new(a.dtype, dims).into())
}
