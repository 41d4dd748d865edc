//! Who makes and who reads each value of a function.

use super::{DataType, Function, Operation, ValueId, ValueType};

/// A function, and the way of its values.
#[derive(Debug)]
pub struct Flow<'f> {
    /// The function.
    pub function: &'f Function,
    /// By value: the operation that makes it.
    makers: Vec<Option<usize>>,
    /// By value: the operations that read it, as often as they do.
    readers: Vec<Vec<usize>>,
}

impl<'f> Flow<'f> {
    /// Of this function.
    pub fn new(function: &'f Function) -> Self {
        let mut makers = vec![None; function.values.len()];
        let mut readers = vec![Vec::new(); function.values.len()];
        for (place, operation) in function.operations.iter().enumerate() {
            operation.outputs.iter().for_each(|id| makers[id.0] = Some(place));
            operation.arguments.iter().for_each(|a| readers[a.value.0].push(place));
        }
        Self { function, makers, readers }
    }

    /// The operation that makes a value, and its place.
    pub fn maker(&self, id: ValueId) -> Option<(usize, &'f Operation)> {
        let place = self.makers[id.0]?;
        Some((place, &self.function.operations[place]))
    }

    /// The operations that read a value, with their places.
    pub fn readers(&self, id: ValueId) -> impl Iterator<Item = (usize, &'f Operation)> + '_ {
        self.readers[id.0].iter().map(|&place| (place, &self.function.operations[place]))
    }

    /// The one operation that reads a value, if there is no other and the function does not return it.
    pub fn only_reader(&self, id: ValueId) -> Option<&'f Operation> {
        match self.readers[id.0][..] {
            [place] if !self.is_output(id) => Some(&self.function.operations[place]),
            _ => None,
        }
    }

    /// Whether the function returns it.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.function.outputs.iter().any(|output| output.value == id)
    }

    /// Whether it is computed anew in each run, in floating point.
    pub fn is_activation(&self, id: ValueId) -> bool {
        let value = self.function.value(id);
        let ValueType::Tensor(ty) = &value.ty else { return false };
        value.constant.is_none() && matches!(ty.dtype, DataType::Float16 | DataType::Float32)
    }

    /// What an operation reads that is no constant.
    pub fn activations(&self, operation: &Operation) -> Vec<ValueId> {
        let read = operation.arguments.iter().map(|argument| argument.value);
        read.filter(|&id| self.function.value(id).constant.is_none()).collect()
    }
}
