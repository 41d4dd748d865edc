//! What the functions of operations read: arguments by name, with the row's defaults.

use super::{Argument, Call, Tensor, places};
use crate::graph::ops::Default;
use crate::graph::{DataType, Labels};
use crate::runtime::Data;
use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::cell::Cell;

/// The arguments of one operation, defaults included.
pub(in crate::runtime) struct Arguments<'a> {
    pub call: &'a Call<'a>,
    /// Sums of products that passed the limit of the accumulator: see `ane`.
    pub overflows: Cell<u64>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(call: &'a Call<'a>) -> Self {
        Self { call, overflows: Cell::new(0) }
    }

    fn find(&self, name: &str) -> Option<Argument<'a>> {
        let bound = self.call.arguments.iter().find(|(param, _)| *param == name);
        bound.map(|(_, argument)| *argument)
    }

    fn default(&self, name: &str) -> Default {
        self.call.row.param(name).map_or(Default::Required, |param| param.default)
    }

    /// A tensor, if one is bound.
    pub(super) fn optional(&self, name: &str) -> Option<&'a Tensor> {
        match self.find(name)? {
            Argument::Tensor(tensor) => Some(tensor),
            Argument::Text(_) | Argument::Labels(_) => None,
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&'a Tensor, String> {
        self.optional(name).ok_or_else(|| format!("`{name}` is no tensor"))
    }

    /// All tensors of a parameter that takes several.
    pub(super) fn many(&self, name: &str) -> Result<Vec<&'a Tensor>, String> {
        let bound = self.call.arguments.iter().filter(|(param, _)| *param == name);
        bound
            .map(|(_, argument)| match argument {
                Argument::Tensor(tensor) => Ok(*tensor),
                Argument::Text(_) | Argument::Labels(_) => Err(format!("`{name}` is no tensor")),
            })
            .collect()
    }

    /// A floating-point array.
    pub(super) fn float(&self, name: &str) -> Result<&'a ArrayD<f32>, String> {
        let tensor = self.tensor(name)?;
        tensor.as_float().ok_or_else(|| format!("`{name}` is {}, not of numbers", tensor.ty()))
    }

    /// A floating-point array, if one is bound.
    pub(super) fn optional_float(&self, name: &str) -> Result<Option<&'a ArrayD<f32>>, String> {
        self.optional(name).map(|_| self.float(name)).transpose()
    }

    /// Integers, one or more; those of the default are `spatial` many where it says "each".
    pub(super) fn ints(&self, name: &str, spatial: usize) -> Result<Vec<i64>, String> {
        match (self.optional(name).map(|tensor| (tensor, &tensor.data)), self.default(name)) {
            (Some((_, Data::Int(array))), _) => Ok(array.iter().map(|&n| n.into()).collect()),
            (Some((tensor, _)), _) => Err(format!("`{name}` is {}, not of integers", tensor.ty())),
            (None, Default::Each(n)) => Ok(vec![n; spatial]),
            (None, Default::Int(n)) => Ok(vec![n]),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    /// Integers, if some are bound.
    pub(super) fn optional_ints(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        self.optional(name).map(|_| self.ints(name, 0)).transpose()
    }

    pub(super) fn int(&self, name: &str) -> Result<i64, String> {
        match self.ints(name, 1)?[..] {
            [n] => Ok(n),
            ref several => Err(format!("`{name}` holds {} integers, not one", several.len())),
        }
    }

    /// A count or size.
    pub(super) fn size(&self, name: &str) -> Result<usize, String> {
        let n = self.int(name)?;
        usize::try_from(n).map_err(|_| format!("`{name}` is {n}, which is negative"))
    }

    /// `count` counts or sizes, none below `least`.
    pub(super) fn sizes(
        &self,
        name: &str,
        count: usize,
        least: usize,
    ) -> Result<Vec<usize>, String> {
        let ints = self.ints(name, count)?;
        let sizes: Vec<_> = ints.iter().filter_map(|&n| usize::try_from(n).ok()).collect();
        if ints.len() != count || sizes.len() != count || sizes.iter().any(|&n| n < least) {
            return Err(format!("`{name}` is {ints:?}, not {count} numbers from {least}"));
        }
        Ok(sizes)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.flags(name)?[..] {
            [flag] => Ok(flag),
            ref several => Err(format!("`{name}` holds {} flags, not one", several.len())),
        }
    }

    /// Flags; empty for a mask that is not bound.
    pub(super) fn flags(&self, name: &str) -> Result<Vec<bool>, String> {
        match (self.optional(name).map(|tensor| &tensor.data), self.default(name)) {
            (Some(Data::Bool(array)), _) => Ok(array.iter().copied().collect()),
            (Some(_), _) => Err(format!("`{name}` holds no flags")),
            (None, Default::Bool(flag)) => Ok(vec![flag]),
            (None, Default::Absent) => Ok(vec![]),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, String> {
        match (self.find(name), self.default(name)) {
            (Some(Argument::Text(text)), _) => Ok(text),
            (Some(_), _) => Err(format!("`{name}` is no word")),
            (None, Default::Text(text)) => Ok(text),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    /// One number, of any numeric type.
    pub(super) fn number(&self, name: &str) -> Result<f64, String> {
        let one = |tensor: &Tensor| match &tensor.data {
            Data::Float(array) if array.len() == 1 => array.first().map(|&x| x.into()),
            Data::Int(array) if array.len() == 1 => array.first().map(|&x| x.into()),
            Data::Bool(array) if array.len() == 1 => array.first().map(|&x| x.into()),
            _ => None,
        };
        match (self.optional(name), self.default(name)) {
            (Some(tensor), _) => {
                one(tensor).ok_or_else(|| format!("`{name}` is {}, not a number", tensor.ty()))
            }
            (None, Default::Int(n)) => Ok(n as f64),
            // A default has the type of x: 1e-12 is nothing beside FP16.
            (None, Default::Float(number)) => Ok(match self.optional("x").map(|x| x.dtype) {
                Some(DataType::Float16) => f16::from_f32(number).into(),
                _ => number.into(),
            }),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    /// A scalar as a vector of one; a default has the type of a number or flag.
    pub(super) fn scalar(&self, name: &str) -> Result<Tensor, String> {
        match (self.optional(name), self.default(name)) {
            (Some(tensor), _) => places::reshaped(tensor, &[1])
                .map_err(|_| format!("`{name}` is {}, no scalar", tensor.ty())),
            (None, Default::Int(n)) => {
                Ok(Tensor::int(DataType::Int32, ArrayD::from_elem(IxDyn(&[1]), n as i32)))
            }
            (None, Default::Float(number)) => {
                Ok(Tensor::float(DataType::Float32, ArrayD::from_elem(IxDyn(&[1]), number)))
            }
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    pub(super) fn labels(&self, name: &str) -> Result<&'a Labels, String> {
        match self.find(name) {
            Some(Argument::Labels(labels)) => Ok(labels),
            _ => Err(format!("`{name}` holds no labels")),
        }
    }

    /// An axis of a tensor of `rank` dimensions, counted from the end where negative.
    pub(super) fn axis(&self, name: &str, rank: usize) -> Result<usize, String> {
        axis(name, self.int(name)?, rank)
    }

    /// Several axes, in order and each once; all where none are bound.
    pub(super) fn axes(&self, name: &str, rank: usize) -> Result<Vec<usize>, String> {
        let Some(ints) = self.optional_ints(name)? else { return Ok((0..rank).collect()) };
        let axes: Result<Vec<_>, _> = ints.iter().map(|&n| axis(name, n, rank)).collect();
        let mut axes = axes?;
        axes.sort_unstable();
        let given = axes.len();
        axes.dedup();
        if axes.len() != given {
            return Err(format!("`{name}` is {ints:?}, which names an axis twice"));
        }
        Ok(axes)
    }
}

/// Axis `n` of `rank`, counted from the end where negative.
pub(super) fn axis(name: &str, n: i64, rank: usize) -> Result<usize, String> {
    let from_start = if n < 0 { n.checked_add(rank as i64) } else { Some(n) };
    let axis = from_start.and_then(|n| usize::try_from(n).ok()).filter(|&axis| axis < rank);
    axis.ok_or_else(|| format!("`{name}` is {n} for {rank} dimensions"))
}
