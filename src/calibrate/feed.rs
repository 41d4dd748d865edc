//! How operations multiply values with constant weights.

use crate::graph::{Function, Operation, ValueId};
use serde::{Deserialize, Serialize};

/// A value that meets a constant weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The value.
    pub value: ValueId,
    /// The weight.
    pub weight: ValueId,
    /// The value's axis that is summed over: each place along it is a column of the weight, of a
    /// convolution one for each tap.
    pub axis: usize,
    /// Which of its numbers meet a row of the weight; those along the axis, if `None`.
    pub window: Option<Window>,
    /// Whether the weight has its inputs first, `[K, N]`.
    pub turned: bool,
}

/// The windows of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Taps along each spatial axis.
    pub kernel: Vec<usize>,
    /// Steps between windows.
    pub strides: Vec<usize>,
    /// Steps between taps.
    pub dilations: Vec<usize>,
    /// `valid`, `same`, `same_lower` or `custom`.
    pub pad_type: String,
    /// Before and after each axis, where padding is custom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pad: Vec<usize>,
    /// Groups of channels, each read by as many output channels.
    pub groups: usize,
}

impl Feed {
    /// Of an operation that multiplies a value with a constant.
    pub fn of(function: &Function, operation: &Operation) -> Option<Self> {
        let is_constant = |id: ValueId| function.value(id).constant.is_some();
        let constant = |param| function.value(operation.argument(param)?).constant.as_ref();
        let flag = |param| constant(param).and_then(|c| c.as_bool()).unwrap_or(false);
        let pair = |value: &str, weight: &str| {
            let (value, weight) = (operation.argument(value)?, operation.argument(weight)?);
            let rank = function.value(value).ty.tensor()?.rank();
            (is_constant(weight) && !is_constant(value)).then_some((value, weight, rank))
        };
        let plain = |(value, weight, rank): (ValueId, ValueId, usize), from_end, turned| {
            let axis = rank.checked_sub(from_end)?;
            Some(Self { value, weight, axis, window: None, turned })
        };
        match operation.row.name {
            "linear" => plain(pair("x", "weight")?, 1, false),
            "conv" => {
                let (value, weight, rank) = pair("x", "weight")?;
                let window = Window::of(function, operation, weight)?;
                let window = (!window.is_plain()).then_some(window);
                (rank > 1).then_some(Self { value, weight, axis: 1, window, turned: false })
            }
            "matmul" => match pair("x", "y") {
                Some(found) => {
                    let from_end = if flag("transpose_x") { 2 } else { 1 };
                    plain(found, from_end, !flag("transpose_y"))
                }
                None => {
                    let from_end = if flag("transpose_y") { 1 } else { 2 };
                    plain(pair("y", "x")?, from_end, flag("transpose_x"))
                }
            },
            _ => None,
        }
    }
}

impl Window {
    fn of(function: &Function, operation: &Operation, weight: ValueId) -> Option<Self> {
        let kernel = function.value(weight).ty.tensor()?.shape()?.get(2..)?.to_vec();
        let constant = |param| function.value(operation.argument(param)?).constant.as_ref();
        let sizes = |param, each, count| match constant(param) {
            None => Some(vec![each; count]),
            Some(given) => given.as_ints()?.into_iter().map(|n| usize::try_from(n).ok()).collect(),
        };
        let rank = kernel.len();
        let pad_type = constant("pad_type").map_or(Some("valid"), |given| given.as_text())?;
        let custom = pad_type == "custom";
        let window = Self {
            strides: sizes("strides", 1, rank)?,
            dilations: sizes("dilations", 1, rank)?,
            pad_type: pad_type.into(),
            pad: if custom { sizes("pad", 0, 2 * rank)? } else { Vec::new() },
            groups: sizes("groups", 1, 1)?.first().copied()?,
            kernel,
        };
        window.is_sound().then_some(window)
    }

    /// Whether all parts go together.
    pub(super) fn is_sound(&self) -> bool {
        let Self { kernel, strides, dilations, pad_type, pad, groups } = self;
        let rank = kernel.len();
        (1..=3).contains(&rank)
            && strides.len() == rank
            && dilations.len() == rank
            && match pad_type.as_str() {
                "valid" | "same" | "same_lower" => pad.is_empty(),
                "custom" => pad.len() == 2 * rank,
                _ => false,
            }
            && [kernel, strides, dilations].into_iter().all(|sizes| sizes.iter().all(|&n| n > 0))
            && *groups > 0
    }

    /// Whether every number meets the weight once, alone: a linear layer over the channels.
    fn is_plain(&self) -> bool {
        let ones = |sizes: &[usize]| sizes.iter().all(|&n| n == 1);
        ones(&self.kernel) && ones(&self.strides) && ones(&[self.groups]) && {
            self.pad.iter().all(|&n| n == 0)
        }
    }

    /// Taps of one input channel; `None` for more than there can be.
    pub(super) fn taps(&self) -> Option<usize> {
        self.kernel.iter().try_fold(1usize, |taps, &n| taps.checked_mul(n))
    }

    /// Where windows begin along each axis of an input of these sizes, and how many there are; `None`
    /// where none fits.
    pub(super) fn places(&self, input: &[usize]) -> Option<Vec<Places>> {
        let place = |axis: usize| {
            let (size, stride) = (*input.get(axis)?, self.strides[axis]);
            let reach =
                (self.kernel[axis] - 1).checked_mul(self.dilations[axis])?.checked_add(1)?;
            let (before, after) = match self.pad_type.as_str() {
                "custom" => (self.pad[2 * axis], self.pad[2 * axis + 1]),
                "valid" => (0, 0),
                same => {
                    let last = size.div_ceil(stride).checked_sub(1)?.checked_mul(stride)?;
                    let all = last.checked_add(reach)?.saturating_sub(size);
                    let less = all / 2;
                    if same == "same" { (less, all - less) } else { (all - less, less) }
                }
            };
            let room = size.checked_add(before)?.checked_add(after)?.checked_sub(reach)?;
            let (dilation, count) = (self.dilations[axis], room / stride + 1);
            Some(Places { size, stride, dilation, before, count })
        };
        (0..self.kernel.len()).map(place).collect()
    }
}

/// Windows along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    size: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    /// How many.
    pub(super) count: usize,
}

impl Places {
    /// Where a window's tap lies; `None` in the padding.
    pub(super) fn source(&self, window: usize, tap: usize) -> Option<usize> {
        let place = (window * self.stride + tap * self.dilation).checked_sub(self.before)?;
        (place < self.size).then_some(place)
    }
}
