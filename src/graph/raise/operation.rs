//! One operation: parameters, and the types of its outputs.

use super::finding::{Read, Stop, quoted, quoted_all, wrong};
use super::function::{Entry, Scope};
use super::types::value_type;
use crate::Result;
use crate::formats::mil;
use crate::graph::ops::{Kind, Param, Row, rows};
use crate::graph::{Argument, Dim, Finding, Operation, TensorType, ValueId, ValueType};
use crate::text::nearest;
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
            let meant = nearest(kind, rows().map(|row| row.name));
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
        let (arguments, unread) = self.arguments(message, row)?;
        let misfits = row.check(&self.function.bound(&arguments), self.target);
        // Of a parameter that was not read, and of all of them together, nothing more can be said.
        let told = |finding: &Finding| {
            unread.is_empty()
                || !(finding.param.is_empty() || unread.contains(&finding.param.as_str()))
        };
        for finding in misfits.iter().filter(|finding| told(finding)) {
            self.found_at(&finding.param, &finding.found);
        }
        match unread.is_empty() && misfits.is_empty() {
            true => self.returns(message, row, arguments),
            false => self.declared(message),
        }
        Ok(())
    }

    /// What the parameters are bound to, in the order of the row; and those that findings stand for.
    fn arguments(
        &mut self,
        message: &'a mil::Operation,
        row: &'static Row,
    ) -> Result<(Vec<Argument>, Vec<&'a str>)> {
        let mut unread = Vec::new();
        for name in message.inputs.keys().filter(|name| row.param(name).is_none()) {
            let known = quoted_all(row.params.iter().map(|param| param.name));
            let why = match nearest(name, row.params.iter().map(|param| param.name)) {
                Some(meant) => format!("{} has no such parameter; is it `{meant}`?", row.name),
                None => format!("{} has no such parameter; it has {known}", row.name),
            };
            self.found_at(name, &why);
            unread.push(name.as_str());
        }
        let mut arguments = Vec::new();
        for param in row.params {
            let Some(bound) = message.inputs.get(param.name) else { continue };
            let count = bound.arguments.len();
            if count == 0 || (count > 1 && param.kind != Kind::Many) {
                self.found_at(param.name, &format!("it is bound to {count} values, not to one"));
                unread.push(param.name);
                continue;
            }
            for binding in &bound.arguments {
                match self.bound(message, param, binding)? {
                    Some(value) => arguments.push(Argument { param: param.name, value }),
                    None if unread.last() == Some(&param.name) => {}
                    None => unread.push(param.name),
                }
            }
        }
        Ok((arguments, unread))
    }

    /// The value that a parameter is bound to.
    fn bound(
        &mut self,
        message: &'a mil::Operation,
        param: &'static Param,
        binding: &'a mil::Binding,
    ) -> Result<Option<ValueId>> {
        match &binding.binding {
            Some(Binding::Name(name)) => Ok(self.read(name, param.name)),
            Some(Binding::Value(value)) => {
                let read = self.files.constant(value).map_err(|stop| stop.at(param.name));
                let constant = self.settle(read)?;
                Ok(constant.map(|constant| {
                    let name = self.free(&format!("{}_{}", name(message), param.name));
                    self.value(&name, constant.ty(), Some(constant))
                }))
            }
            None => {
                self.found_at(param.name, "it is bound to nothing");
                Ok(None)
            }
        }
    }

    /// Adds the operation, whose outputs have the types that follow from its arguments.
    fn returns(
        &mut self,
        message: &'a mil::Operation,
        row: &'static Row,
        arguments: Vec<Argument>,
    ) {
        let inferred = match row.infer(&self.function.bound(&arguments), self.target) {
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
        let name = match (given_name(message), message.outputs.first()) {
            (Some(given), _) => given.to_owned(),
            (None, Some(output)) => output.name.clone(),
            (None, None) => self.free(&message.r#type),
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

/// What an operation is called in messages: its first output, or, without outputs, its `name`.
fn name(message: &mil::Operation) -> &str {
    match message.outputs.first() {
        Some(output) => &output.name,
        None => given_name(message).unwrap_or(&message.r#type),
    }
}

/// The `name` by which tools that place and time operations know one.
fn given_name(message: &mil::Operation) -> Option<&str> {
    message.attributes.get("name").and_then(mil::Value::as_string).filter(|name| !name.is_empty())
}

/// The type that is both: declared and inferred dimensions may each leave open what the other knows.
fn joined(declared: ValueType, inferred: &ValueType) -> Read<ValueType> {
    if !declared.may_equal(inferred) {
        return Err(wrong(format!("it is declared as {declared} and is {inferred}")));
    }
    let (ValueType::Tensor(a), ValueType::Tensor(b)) = (&declared, inferred) else {
        return Ok(declared);
    };
    let known = |(a, b): (&Dim, &Dim)| if *a == Dim::Flexible { *b } else { *a };
    let dims = a.dims.iter().zip(&b.dims).map(known).collect();
    Ok(TensorType::new(a.dtype, dims).into())
}
