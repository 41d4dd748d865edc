//! Along which axes the places of a value are tokens.
//!
//! A text that is shorter than what a package takes is padded, and `attention_mask` says where. What the
//! model makes of padding is no activation: it depends on nothing that anyone reads. So the axes of
//! tokens are followed from the inputs `[B, T]` through the operations, and places of padding along them
//! are left out.
//!
//! | operation | where the axes go |
//! |---|---|
//! | `linear`, `conv` with a window of one place | they stay; they may not be the one that is summed over |
//! | `matmul`, `scaled_dot_product_attention` | rows of the first and columns of the second; of the queries |
//! | `transpose`, `reshape`, `expand_dims`, `squeeze` | where their places are afterwards |
//! | `gather` from a table | those of the indices |
//! | `concat`, `split` along another axis | they stay |
//! | `slice_by_index`, `gather` of the first token; sums and means over tokens | they end |
//! | whatever gives the shape that its operands broadcast to | they stay |
//!
//! Anything else that reads tokens is not understood, nor is what follows from it.

use crate::graph::{Function, Operation, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Axes whose places are tokens; `None` where they are not known.
pub(super) type Axes = Option<BTreeSet<usize>>;

/// The axes of all values that follow from `inputs`, whose axis 1 is that of the tokens, in a function
/// whose shapes are all fixed. Values that are not here have none.
pub(super) fn axes(function: &Function, inputs: &[ValueId]) -> BTreeMap<ValueId, Axes> {
    let mut known: BTreeMap<ValueId, Axes> =
        inputs.iter().map(|&id| (id, Some([1].into()))).collect();
    for operation in &function.operations {
        let reads = operation.arguments.iter().any(|argument| known.contains_key(&argument.value));
        if !reads {
            continue;
        }
        let step = Step { function, operation, known: &known };
        let of = operation.outputs.iter().map(|&output| (output, step.of(output)));
        // No axis is nothing to follow.
        let of: Vec<(ValueId, Axes)> =
            of.filter(|(_, axes)| axes.as_ref().is_none_or(|axes| !axes.is_empty())).collect();
        known.extend(of);
    }
    known
}

struct Step<'s> {
    function: &'s Function,
    operation: &'s Operation,
    known: &'s BTreeMap<ValueId, Axes>,
}

impl Step<'_> {
    /// The axes of an output.
    fn of(&self, output: ValueId) -> Axes {
        let out = self.shape(output)?;
        match self.operation.row.name {
            "linear" => self.apart_from(self.argument("x")?, |rank| rank - 1),
            "conv" => self.conv(),
            "matmul" => self.matmul(&out),
            "scaled_dot_product_attention" => {
                self.apart_from(self.argument("query")?, |rank| rank - 1)
            }
            "transpose" => {
                let axes = self.axes(self.argument("x")?)?;
                let perm = self.ints("perm")?;
                let rank = out.len() as i64;
                let from = |to: &usize| {
                    let from = perm.get(*to).map(|&p| if p < 0 { p + rank } else { p });
                    from.is_some_and(|from| axes.contains(&(from as usize)))
                };
                Some((0..out.len()).filter(from).collect())
            }
            "reshape" | "expand_dims" | "squeeze" => self.reshaped(&out),
            "concat" | "split" => {
                let rank = out.len() as i64;
                let axis = self.ints("axis").and_then(|axis| axis.first().copied())?;
                let axis = (if axis < 0 { axis + rank } else { axis }) as usize;
                self.union(&out).filter(|axes| !axes.contains(&axis))
            }
            "slice_by_index" => self.sliced(&out),
            "gather" => self.gathered(&out),
            name if name.starts_with("reduce_") && name != "reduce_argmax" => self.reduced(),
            // They move places, in a shape that could be one that stays.
            "argsort" | "gather_along_axis" | "reverse" | "reverse_sequence" | "stack" | "topk" => {
                None
            }
            _ => self.union(&out),
        }
    }

    fn argument(&self, param: &str) -> Option<ValueId> {
        self.operation.argument(param)
    }

    fn shape(&self, id: ValueId) -> Option<Vec<usize>> {
        self.function.value(id).ty.tensor()?.shape()
    }

    fn ints(&self, param: &str) -> Option<Vec<i64>> {
        self.function.value(self.argument(param)?).constant.as_ref()?.as_ints()
    }

    fn flag(&self, param: &str) -> bool {
        let value = self.argument(param).map(|id| self.function.value(id));
        value.and_then(|value| value.constant.as_ref()?.as_bool()).unwrap_or(false)
    }

    /// The axes of an operand.
    fn axes(&self, id: ValueId) -> Axes {
        self.known.get(&id).cloned().unwrap_or(Some(BTreeSet::new()))
    }

    /// Those of an operand, none of which may be the axis that is chosen by its rank.
    fn apart_from(&self, id: ValueId, axis: impl Fn(usize) -> usize) -> Axes {
        let axis = axis(self.shape(id)?.len());
        self.axes(id).filter(|axes| !axes.contains(&axis))
    }

    /// Those of all operands, which must broadcast to the output.
    fn union(&self, out: &[usize]) -> Axes {
        let mut all = BTreeSet::new();
        for argument in &self.operation.arguments {
            let axes = self.axes(argument.value)?;
            if axes.is_empty() {
                continue;
            }
            let shape = self.shape(argument.value)?;
            let shift = out.len().checked_sub(shape.len())?;
            for axis in axes {
                let same = out[shift + axis] == shape[axis];
                all.extend(same.then_some(shift + axis));
                (same).then_some(())?;
            }
        }
        Some(all)
    }

    fn conv(&self) -> Axes {
        let x = self.argument("x")?;
        let kernel = self.shape(self.argument("weight")?)?;
        let ones = |sizes: Option<Vec<i64>>| sizes.is_none_or(|s| s.iter().all(|&n| n == 1));
        let padded = self.ints("pad").is_some_and(|pad| pad.iter().any(|&n| n != 0));
        let plain = kernel[2..].iter().all(|&n| n == 1) && ones(self.ints("strides")) && !padded;
        self.apart_from(x, |_| 1).filter(|axes| plain || axes.iter().all(|&axis| axis == 0))
    }

    fn matmul(&self, out: &[usize]) -> Axes {
        let mut all = BTreeSet::new();
        let rank = out.len();
        // Of each operand, which of its last two axes is summed over, counted from the end.
        let summed = [
            ("x", if self.flag("transpose_x") { 2 } else { 1 }, 2),
            ("y", if self.flag("transpose_y") { 1 } else { 2 }, 1),
        ];
        for (param, summed, kept) in summed {
            let id = self.argument(param)?;
            let operand = self.shape(id)?.len();
            let (summed, shift) = (operand.checked_sub(summed)?, rank.checked_sub(operand)?);
            for axis in self.axes(id)? {
                match axis {
                    axis if axis == summed => {}
                    axis if axis + 2 >= operand => drop(all.insert(rank - kept)),
                    axis => drop(all.insert(axis + shift)),
                }
            }
        }
        Some(all)
    }

    /// An axis goes where as many places lie before it, and it is as long.
    fn reshaped(&self, out: &[usize]) -> Axes {
        let x = self.argument("x")?;
        let shape = self.shape(x)?;
        let before = |shape: &[usize], axis: usize| shape[..axis].iter().product::<usize>();
        let to = |axis: usize| {
            let fits =
                |to: &usize| out[*to] == shape[axis] && before(out, *to) == before(&shape, axis);
            (0..out.len()).find(fits)
        };
        self.axes(x)?.into_iter().map(to).collect()
    }

    fn sliced(&self, out: &[usize]) -> Axes {
        let x = self.argument("x")?;
        let shape = self.shape(x)?;
        let flags = |param: &str| {
            let value = self.argument(param).map(|id| self.function.value(id));
            let flags = value.and_then(|value| value.constant.as_ref()?.as_bools());
            flags.unwrap_or_else(|| vec![false; shape.len()])
        };
        let (squeezed, from_start) = (flags("squeeze_mask"), flags("begin_mask"));
        let begin = self.ints("begin");
        let mut all = BTreeSet::new();
        let kept: Vec<usize> = (0..shape.len()).filter(|&axis| !squeezed[axis]).collect();
        for axis in self.axes(x)? {
            let to = kept.iter().position(|&kept| kept == axis);
            let size = to.map_or(Some(1), |to| out.get(to).copied())?;
            let is_first = from_start[axis] || begin.as_ref().is_some_and(|at| at[axis] == 0);
            match to {
                Some(to) if size == shape[axis] => drop(all.insert(to)),
                // The first token of a text is none of padding.
                _ if size == 1 && is_first => {}
                _ => return None,
            }
        }
        Some(all)
    }

    fn gathered(&self, out: &[usize]) -> Axes {
        let (x, indices) = (self.argument("x")?, self.argument("indices")?);
        let (shape, rank) = (self.shape(x)?, self.shape(indices)?.len());
        let axis = self.ints("axis").and_then(|axis| axis.first().copied()).unwrap_or(0);
        let axis = (if axis < 0 { axis + shape.len() as i64 } else { axis }) as usize;
        let batched = self.ints("batch_dims").is_some_and(|n| n != [0]);
        if batched || out.len() + 1 != shape.len() + rank {
            return None;
        }
        let mut all: BTreeSet<usize> =
            self.axes(indices)?.into_iter().map(|along| along + axis).collect();
        let is_first = self.ints("indices").is_some_and(|of| of.iter().all(|&i| i == 0));
        for along in self.axes(x)? {
            match along {
                along if along == axis && is_first => {}
                along if along == axis => return None,
                along if along < axis => drop(all.insert(along)),
                along => drop(all.insert(along + rank - 1)),
            }
        }
        Some(all)
    }

    fn reduced(&self) -> Axes {
        let x = self.argument("x")?;
        let rank = self.shape(x)?.len();
        let wrap = |axis: i64| (if axis < 0 { axis + rank as i64 } else { axis }) as usize;
        let over: BTreeSet<usize> = match self.argument("axes") {
            Some(_) => self.ints("axes")?.into_iter().map(wrap).collect(),
            None => (0..rank).collect(),
        };
        let keeps = self.flag("keep_dims");
        let to = |axis: usize| match keeps {
            true => axis,
            false => axis - over.range(..axis).count(),
        };
        Some(self.axes(x)?.difference(&over).map(|&axis| to(axis)).collect())
    }
}
