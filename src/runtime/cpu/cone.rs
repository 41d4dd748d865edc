//! Elementwise operations between one value and a `quantize`.

use super::affine::affine;
use super::node::{Node, shape};
use super::schedule::CHAIN;
use super::steps::elementwise;
use crate::graph::{Function, ValueId};

/// What is computed of one value alone, element by element, on the way to its codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cone {
    /// The value.
    pub source: ValueId,
    /// The operations in their order, the last one the `quantize`.
    pub operations: Vec<usize>,
}

/// Who gives and who reads each value.
pub(super) struct Uses<'a> {
    function: &'a Function,
    makers: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
}

impl<'a> Uses<'a> {
    pub(super) fn new(function: &'a Function) -> Self {
        let mut makers = vec![None; function.values.len()];
        let mut readers = vec![Vec::new(); function.values.len()];
        for (i, operation) in function.operations.iter().enumerate() {
            operation.outputs.iter().for_each(|id| makers[id.0] = Some(i));
            operation.arguments.iter().for_each(|argument| readers[argument.value.0].push(i));
        }
        Self { function, makers, readers }
    }

    /// The operation that gives a value.
    pub(super) fn maker(&self, value: ValueId) -> Option<usize> {
        self.makers[value.0]
    }

    /// The cone of each `quantize` to INT8 with one scale; `None` where it reads more than one value.
    pub(super) fn cones(&self) -> Vec<Option<Cone>> {
        (0..self.function.operations.len()).map(|i| self.cone(i)).collect()
    }

    fn cone(&self, quantize: usize) -> Option<Cone> {
        let node =
            |i: usize| Node { function: self.function, operation: &self.function.operations[i] };
        let top = node(quantize);
        affine(top).filter(|_| top.kind() == "quantize")?;
        let wanted = top.shape("input").ok()?;
        let (mut source, mut operations) = (None, vec![quantize]);
        let mut open = vec![top.id("input").ok()?];
        while let Some(id) = open.pop() {
            let value = self.function.value(id);
            if let Some(constant) = &value.constant {
                let one = constant.as_text().is_some()
                    || shape(value).is_ok_and(|shape| shape.iter().product::<usize>() == 1);
                one.then_some(())?;
                continue;
            }
            let inside = |&i: &usize| {
                let pairs = ["quantize", "dequantize"].contains(&node(i).kind());
                !pairs && elementwise::takes(node(i)) && node(i).out_shape(0) == Ok(wanted.clone())
            };
            match self.maker(id).filter(inside) {
                Some(i) if operations.contains(&i) => {}
                Some(i) => {
                    operations.push(i);
                    (operations.len() <= CHAIN).then_some(())?;
                    open.extend(node(i).operation.arguments.iter().map(|argument| argument.value));
                }
                None if source.is_none_or(|source| source == id) => source = Some(id),
                None => return None,
            }
        }
        operations.sort_unstable();
        let source = source?;
        let same = shape(self.function.value(source)).is_ok_and(|shape| shape == wanted);
        same.then_some(Cone { source, operations })
    }

    /// Whether nothing outside a cone reads its source, or what it computes on the way.
    pub(super) fn is_private(&self, cone: &Cone) -> bool {
        let (_, between) = cone.operations.split_last().unwrap_or((&0, &[]));
        let between = between.iter().flat_map(|&i| &self.function.operations[i].outputs);
        let unseen = |id: &ValueId| {
            let inside = self.readers[id.0].iter().all(|reader| cone.operations.contains(reader));
            inside && !self.function.outputs.iter().any(|output| output.value == *id)
        };
        std::iter::once(&cone.source).chain(between).all(unseen)
    }
}
