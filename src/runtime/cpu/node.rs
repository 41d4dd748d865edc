//! An operation as the planner reads it: its parameters, with the row's defaults.

use super::buffers::Kind;
use crate::graph::ops::Default;
use crate::graph::weight::Weight;
use crate::graph::{Constant, DataType, Function, Operation, Value, ValueId, ValueType};
use crate::runtime::constant::tensor_of;
use crate::runtime::{Data, Mode};

/// An operation of a specialized function.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub function: &'a Function,
    pub operation: &'a Operation,
}

/// A sentence on what does not fit.
pub(super) type Found<T> = Result<T, String>;

impl<'a> Node<'a> {
    pub(super) fn kind(&self) -> &'static str {
        self.operation.row.name
    }

    pub(super) fn value(&self, id: ValueId) -> &'a Value {
        self.function.value(id)
    }

    pub(super) fn id(&self, name: &str) -> Found<ValueId> {
        self.operation.argument(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    /// All values that are bound to a parameter.
    pub(super) fn ids(&self, name: &str) -> Vec<ValueId> {
        let bound = self.operation.arguments.iter().filter(|argument| argument.param == name);
        bound.map(|argument| argument.value).collect()
    }

    pub(super) fn constant(&self, name: &str) -> Option<&'a Constant> {
        self.value(self.operation.argument(name)?).constant.as_ref()
    }

    pub(super) fn weight(&self, name: &str) -> Option<&'a Weight> {
        self.constant(name)?.as_weight()
    }

    /// The shape of an argument.
    pub(super) fn shape(&self, name: &str) -> Found<Vec<usize>> {
        shape(self.value(self.id(name)?))
    }

    pub(super) fn dtype(&self, name: &str) -> Found<DataType> {
        dtype(self.value(self.id(name)?))
    }

    /// The shape of a result.
    pub(super) fn out_shape(&self, index: usize) -> Found<Vec<usize>> {
        shape(self.value(self.operation.outputs[index]))
    }

    pub(super) fn out_dtype(&self, index: usize) -> Found<DataType> {
        dtype(self.value(self.operation.outputs[index]))
    }

    fn default(&self, name: &str) -> Default {
        self.operation.row.param(name).map_or(Default::Required, |param| param.default)
    }

    /// Whether something that is not constant is bound.
    pub(super) fn varies(&self, name: &str) -> bool {
        self.operation.argument(name).is_some_and(|id| self.value(id).constant.is_none())
    }

    fn numbers(&self, name: &str) -> Found<Option<Vec<f64>>> {
        if self.varies(name) {
            return Err(format!("`{name}` must be constant"));
        }
        let Some(weight) = self.weight(name) else { return Ok(None) };
        Ok(Some(match tensor_of(weight, Mode::F32)?.data {
            Data::Float(array) => array.iter().map(|&x| x.into()).collect(),
            Data::Int(array) => array.iter().map(|&x| x.into()).collect(),
            Data::Bool(array) => array.iter().map(|&x| f64::from(u8::from(x))).collect(),
            Data::Label(_) | Data::Scores(_) => vec![],
        }))
    }

    /// The elements of a constant, if one is bound.
    pub(super) fn floats(&self, name: &str) -> Found<Option<Vec<f32>>> {
        Ok(self.numbers(name)?.map(|all| all.iter().map(|&x| x as f32).collect()))
    }

    /// Integers; those of the default are `each` many where it says "each". `None` where nothing is
    /// bound and there is no default.
    pub(super) fn optional_ints(&self, name: &str, each: usize) -> Found<Option<Vec<i64>>> {
        Ok(match (self.numbers(name)?, self.default(name)) {
            (Some(numbers), _) => Some(numbers.iter().map(|&n| n as i64).collect()),
            (None, Default::Each(n)) => Some(vec![n; each]),
            (None, Default::Int(n)) => Some(vec![n]),
            (None, _) => None,
        })
    }

    pub(super) fn ints(&self, name: &str, each: usize) -> Found<Vec<i64>> {
        self.optional_ints(name, each)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    pub(super) fn int(&self, name: &str) -> Found<i64> {
        let ints = self.ints(name, 1)?;
        ints.first().copied().ok_or_else(|| format!("`{name}` is empty"))
    }

    /// Sizes, none negative.
    pub(super) fn sizes(&self, name: &str, each: usize) -> Found<Vec<usize>> {
        let ints = self.ints(name, each)?;
        let sizes: Option<Vec<usize>> = ints.iter().map(|&n| usize::try_from(n).ok()).collect();
        let sizes = sizes.filter(|sizes| sizes.len() == each);
        sizes.ok_or_else(|| format!("`{name}` is {ints:?}, not {each} sizes"))
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Found<f32> {
        if let Some(numbers) = self.floats(name)? {
            return numbers.first().copied().ok_or_else(|| format!("`{name}` is empty"));
        }
        match self.default(name) {
            Default::Int(n) => Ok(n as f32),
            Default::Float(x) => Ok(x),
            _ => Err(format!("`{name}` is missing")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Found<bool> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_bool().ok_or_else(|| format!("`{name}` holds no flag"))
            }
            (None, Default::Bool(flag)) => Ok(flag),
            (None, _) => Ok(false),
        }
    }

    /// Flags of a mask over `rank` dimensions; none is set where nothing is bound.
    pub(super) fn mask(&self, name: &str, rank: usize) -> Found<Vec<bool>> {
        let mut mask: Vec<bool> =
            self.numbers(name)?.unwrap_or_default().iter().map(|&flag| flag != 0.0).collect();
        mask.resize(rank, false);
        Ok(mask)
    }

    pub(super) fn text(&self, name: &str) -> Found<&'a str> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_text().ok_or_else(|| format!("`{name}` holds no word"))
            }
            (None, Default::Text(text)) => Ok(text),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    /// An axis of a tensor of `rank` dimensions.
    pub(super) fn axis(&self, name: &str, rank: usize) -> Found<usize> {
        axis(name, self.int(name)?, rank)
    }

    /// Axes in ascending order; all where none are bound.
    pub(super) fn axes(&self, name: &str, rank: usize) -> Found<Vec<usize>> {
        let Some(axes) = self.optional_ints(name, 1)? else { return Ok((0..rank).collect()) };
        let mut axes = axes.iter().map(|&n| axis(name, n, rank)).collect::<Found<Vec<usize>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }
}

fn axis(name: &str, n: i64, rank: usize) -> Found<usize> {
    let axis = if n < 0 { n + rank as i64 } else { n };
    let axis = usize::try_from(axis).ok().filter(|&axis| axis < rank);
    axis.ok_or_else(|| format!("`{name}` is {n} for {rank} dimensions"))
}

/// Whether a value lies in a buffer: labels and scores do not.
pub(super) fn has_elements(value: &Value) -> bool {
    matches!(&value.ty, ValueType::Tensor(ty) if Kind::of(ty.dtype).is_some())
}

/// The shape of a value of a specialized function.
pub(super) fn shape(value: &Value) -> Found<Vec<usize>> {
    let shape = value.ty.tensor().and_then(|ty| ty.shape());
    shape.ok_or_else(|| format!("`{}`, {}, has no fixed shape", value.name, value.ty))
}

fn dtype(value: &Value) -> Found<DataType> {
    let ty = value.ty.tensor();
    ty.map(|ty| ty.dtype).ok_or_else(|| format!("`{}` is {}, no tensor", value.name, value.ty))
}
