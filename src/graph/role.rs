//! What operations do with a constant.

use super::{Function, Operation, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// What the operations that take a constant do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Those that take it as their weight, by type: what is multiplied with activations, and tables
    /// whose rows are chosen.
    pub operations: BTreeSet<String>,
    /// Those that take it as anything else, by type: what is added, gains of norms, biases.
    pub others: BTreeSet<String>,
    /// Whether its output channels lie along its second axis, as in `x · W` of `matmul` and in
    /// `conv_transpose`.
    pub outputs_second: bool,
}

impl Role {
    /// Adds what other operations do with it.
    pub fn extend(&mut self, other: Self) {
        self.operations.extend(other.operations);
        self.others.extend(other.others);
        self.outputs_second |= other.outputs_second;
    }
}

impl Function {
    /// What operations do with each constant that one takes.
    pub fn roles(&self) -> BTreeMap<ValueId, Role> {
        let mut roles: BTreeMap<ValueId, Role> = BTreeMap::new();
        for operation in &self.operations {
            for argument in &operation.arguments {
                if self.value(argument.value).constant.is_none() {
                    continue;
                }
                let role = roles.entry(argument.value).or_default();
                let name = operation.row.name;
                let flag = |param: &str| {
                    let constant = self.value(operation.argument(param)?).constant.as_ref()?;
                    constant.as_bool()
                };
                let outputs_second = match (name, argument.param) {
                    ("linear" | "conv", "weight") | ("gather", "x") => false,
                    ("conv_transpose", "weight") => true,
                    ("matmul", "y") => !flag("transpose_y").unwrap_or(false),
                    // `W · x` has its outputs first.
                    ("matmul", "x") => flag("transpose_x").unwrap_or(false),
                    _ => {
                        role.others.insert(name.to_owned());
                        continue;
                    }
                };
                role.operations.insert(name.to_owned());
                role.outputs_second |= outputs_second;
            }
        }
        roles
    }

    /// How many rows the table has of which the input called `indices`, or the same in another type,
    /// chooses some: the vocabulary, of token ids. `None` if it chooses none.
    pub fn rows_chosen_by(&self, indices: &str) -> Option<usize> {
        self.rows_chosen(self.find(indices)?)
    }

    fn rows_chosen(&self, indices: ValueId) -> Option<usize> {
        let takes = |param: &str, operation: &Operation| operation.argument(param) == Some(indices);
        self.operations.iter().find_map(|operation| match operation.row.name {
            "gather" if takes("indices", operation) => {
                let table = self.value(operation.argument("x")?).ty.tensor()?.shape()?;
                table.first().copied()
            }
            // Operations read what stands above them, so this ends.
            "cast" if takes("x", operation) => self.rows_chosen(*operation.outputs.first()?),
            _ => None,
        })
    }
}
