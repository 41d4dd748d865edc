//! Windows that slide along an axis: of convolutions and pools.

use crate::runtime::cpu::node::{Found, Node};

/// Windows along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    pub input: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Padding.
    pub before: usize,
    pub after: usize,
    pub output: usize,
}

impl Windows {
    /// An axis of one element and one window.
    pub(super) const ONE: Self =
        Self { input: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, output: 1 };

    /// The windows of an operation over inputs of these sizes, as three axes, the missing ones
    /// first; `None` for more than three. `same` pads so that there are ⌈d / stride⌉ windows, the
    /// odd element behind, with `same_lower` before.
    pub(super) fn read(
        node: Node<'_>,
        input: &[usize],
        kernel: &[usize],
        output: &[usize],
    ) -> Found<Option<[Self; 3]>> {
        let rank = input.len();
        if rank > 3 || kernel.len() != rank || output.len() != rank {
            return Ok(None);
        }
        let strides = node.sizes("strides", rank)?;
        let dilations = match node.operation.row.param("dilations") {
            Some(_) => node.sizes("dilations", rank)?,
            None => vec![1; rank],
        };
        let pad_type = node.text("pad_type")?;
        let pad = match pad_type {
            "custom" => node.sizes("pad", 2 * rank)?,
            _ => vec![0; 2 * rank],
        };
        let mut axes = [Self::ONE; 3];
        for axis in 0..rank {
            let (input, kernel, stride) = (input[axis], kernel[axis], strides[axis]);
            let (mut before, mut after) = (pad[2 * axis], pad[2 * axis + 1]);
            let dilation = dilations[axis];
            if pad_type.starts_with("same") {
                let last = input.div_ceil(stride.max(1)).saturating_sub(1) * stride;
                let total = (last + kernel.saturating_sub(1) * dilation + 1).saturating_sub(input);
                before = if pad_type == "same" { total / 2 } else { total - total / 2 };
                after = total - before;
            }
            let output = output[axis];
            axes[3 - rank + axis] = Self { input, kernel, stride, dilation, before, after, output };
        }
        Ok(Some(axes))
    }

    /// The input's element under element `tap` of a window; `None` in the padding.
    #[inline(always)]
    pub(super) fn source(&self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap * self.dilation)
            .checked_sub(self.before)
            .filter(|&place| place < self.input)
    }

    /// The same for a transposed convolution: where the output lies that element `tap` of the window
    /// of an input's element reaches; `None` where it is cut off.
    #[inline(always)]
    pub(super) fn target(&self, place: usize, tap: usize) -> Option<usize> {
        (place * self.stride + tap * self.dilation)
            .checked_sub(self.before)
            .filter(|&place| place < self.output)
    }
}
