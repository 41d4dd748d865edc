//! The pairs, put into a function.

use crate::calibrate::Grid;
use crate::graph::ops::Row;
use crate::graph::weight::{Operand, Weight};
use crate::graph::{Argument, Constant, DataType, Function, Operation, TensorType, Value, ValueId};
use crate::graph::{ValueType, names};
use half::f16;
use std::collections::{BTreeMap, BTreeSet};

/// Behind the maker of each value of `grids` a `quantize` and a `dequantize`; the operations of `reads`,
/// by place, read what the latter gives in place of those of their values that have one.
pub(super) fn pairs(
    function: &mut Function,
    grids: &BTreeMap<ValueId, Grid>,
    reads: &BTreeMap<usize, BTreeSet<ValueId>>,
) {
    let taken = function.values.iter().map(|value| value.name.clone()).collect();
    let operations = std::mem::take(&mut function.operations);
    let mut inserter = Inserter { function, taken, int8: None };
    let mut decoded: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let inputs: Vec<ValueId> = inserter.function.inputs.iter().map(|input| input.value).collect();
    for id in inputs {
        decoded.extend(grids.get(&id).map(|grid| (id, inserter.pair(id, *grid))));
    }
    for (place, mut operation) in operations.into_iter().enumerate() {
        for argument in &mut operation.arguments {
            let is_code = reads.get(&place).is_some_and(|ids| ids.contains(&argument.value));
            if let Some(&decoded) = decoded.get(&argument.value).filter(|_| is_code) {
                argument.value = decoded;
            }
        }
        let outputs = operation.outputs.clone();
        inserter.function.operations.push(operation);
        for id in outputs {
            decoded.extend(grids.get(&id).map(|grid| (id, inserter.pair(id, *grid))));
        }
    }
}

/// A function that grows at its end.
struct Inserter<'f> {
    function: &'f mut Function,
    taken: BTreeSet<String>,
    /// The word `int8`, once it is there.
    int8: Option<ValueId>,
}

impl Inserter<'_> {
    /// A pair behind `id`; what comes out of it.
    fn pair(&mut self, id: ValueId, grid: Grid) -> ValueId {
        let Value { name, ty, .. } = self.function.value(id).clone();
        let ValueType::Tensor(ty) = ty else { unreachable!("only tensors have a grid") };
        let scale_bytes = match ty.dtype {
            DataType::Float16 => f16::from_f32(grid.scale).to_le_bytes().to_vec(),
            _ => grid.scale.to_le_bytes().to_vec(),
        };
        let scale = self.number(&format!("{name}_scale"), ty.dtype, scale_bytes);
        let zero = (grid.zero_point != 0).then(|| {
            let code = (grid.zero_point as i8).to_le_bytes().to_vec();
            self.number(&format!("{name}_zero_point"), DataType::Int8, code)
        });
        let word = match self.int8 {
            Some(word) => word,
            None => self.constant("int8_dtype", Constant::text("int8")),
        };
        self.int8 = Some(word);
        let codes = TensorType::new(DataType::Int8, ty.dims.clone());
        let grid = [Some(("scale", scale)), zero.map(|zero| ("zero_point", zero))];
        let with = |first: &[(&'static str, ValueId)]| {
            let mut all = first.to_vec();
            all.extend(grid.into_iter().flatten());
            all
        };
        let mut arguments = with(&[("input", id)]);
        arguments.push(("output_dtype", word));
        let codes = self.operation("quantize", &format!("{name}_quantized"), &arguments, codes);
        let arguments = with(&[("input", codes)]);
        self.operation("dequantize", &format!("{name}_dequantized"), &arguments, ty)
    }

    fn number(&mut self, name: &str, dtype: DataType, bytes: Vec<u8>) -> ValueId {
        self.constant(name, Weight::dense(Operand::new(dtype, &[], bytes)).into())
    }

    fn constant(&mut self, name: &str, constant: Constant) -> ValueId {
        self.value(name, constant.ty(), Some(constant))
    }

    fn operation(
        &mut self,
        which: &'static str,
        name: &str,
        arguments: &[(&'static str, ValueId)],
        ty: TensorType,
    ) -> ValueId {
        let output = self.value(name, ty.into(), None);
        let row = Row::find(which).expect("a row of the table");
        let arguments = arguments.iter().map(|&(param, value)| Argument { param, value }).collect();
        let name = self.function.value(output).name.clone();
        self.function.operations.push(Operation { name, row, arguments, outputs: vec![output] });
        output
    }

    fn value(&mut self, name: &str, ty: ValueType, constant: Option<Constant>) -> ValueId {
        let name = names::free(name, |taken| self.taken.contains(taken));
        self.taken.insert(name.clone());
        self.function.values.push(Value { name, ty, constant });
        ValueId(self.function.values.len() - 1)
    }
}
