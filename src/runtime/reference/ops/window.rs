//! Windows that slide over the spatial dimensions of `[n, C, *d]`: for convolutions and pools.

use super::Arguments;

/// Where windows lie, for each spatial axis.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub(super) axes: Vec<Axis>,
}

/// Where windows lie along one axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Elements of the input.
    pub(super) input: usize,
    /// Elements of a window.
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Padding before and after.
    pub(super) before: usize,
    pub(super) after: usize,
    /// Number of windows.
    pub(super) output: usize,
}

impl Windows {
    /// Windows of these sizes over an input of these sizes: `strides`, `dilations` if the operation
    /// has them, `pad_type`, `pad`, `ceil_mode` if it has one.
    ///
    /// `same` pads so that there are ⌈d / stride⌉ windows, the odd element behind, with `same_lower`
    /// before. With `ceil_mode` a window may hang over the end, if it starts inside.
    pub(super) fn new(
        arguments: &Arguments<'_>,
        input: &[usize],
        kernel: &[usize],
    ) -> Result<Self, String> {
        let count = input.len();
        if !(1..=3).contains(&count) || kernel.len() != count {
            return Err(format!(
                "{kernel:?} does not slide over {input:?}; 1 to 3 spatial dimensions"
            ));
        }
        let has = |name| arguments.call.row.param(name).is_some();
        let strides = arguments.sizes("strides", count, 1)?;
        let dilations = match has("dilations") {
            true => arguments.sizes("dilations", count, 1)?,
            false => vec![1; count],
        };
        let ceil = has("ceil_mode") && arguments.flag("ceil_mode")?;
        let pad_type = arguments.text("pad_type")?;
        let pad = match pad_type {
            "custom" => arguments.sizes("pad", 2 * count, 0)?,
            "valid" | "same" | "same_lower" => vec![0; 2 * count],
            _ => return Err(format!("`pad_type` is `{pad_type}`")),
        };
        let axes = (0..count).map(|axis| {
            let far = || format!("`kernel` {kernel:?} reaches over the end of {input:?}");
            let (input, kernel) = (input[axis], kernel[axis]);
            let (stride, dilation) = (strides[axis], dilations[axis]);
            let (mut before, mut after) = (pad[2 * axis], pad[2 * axis + 1]);
            let reach = kernel.checked_sub(1).and_then(|k| k.checked_mul(dilation)?.checked_add(1));
            let reach = reach.ok_or_else(far)?;
            if pad_type.starts_with("same") {
                let covered = (input.div_ceil(stride).saturating_sub(1)).checked_mul(stride);
                let covered = covered.and_then(|start| start.checked_add(reach)).ok_or_else(far)?;
                let total = covered.saturating_sub(input);
                before = if pad_type == "same" { total / 2 } else { total - total / 2 };
                after = total - before;
            }
            let padded = input.checked_add(before).and_then(|n| n.checked_add(after));
            let padded = padded.ok_or_else(far)?;
            let room = padded.checked_sub(reach).ok_or_else(far)?;
            let mut output = room / stride + 1;
            if ceil {
                output = room.div_ceil(stride) + 1;
                // The last window must start inside the input or the padding before it.
                if (before + after) > 0 && (output - 1).saturating_mul(stride) >= input + before {
                    output -= 1;
                }
            }
            Ok(Axis { input, kernel, stride, dilation, before, after, output })
        });
        Ok(Self { axes: axes.collect::<Result<_, String>>()? })
    }

    /// The number of windows along each axis.
    pub(super) fn output(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.output).collect()
    }
}

impl Axis {
    /// The input's element under element `tap` of window `window`; `None` in the padding.
    pub(super) fn source(&self, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride + tap * self.dilation)
            .checked_sub(self.before)
            .filter(|&place| place < self.input)
    }

    /// The same for a transposed convolution, whose windows lie over the output: the input's element
    /// that reaches output `output` through element `tap` of its window.
    pub(super) fn transposed_source(&self, output: usize, tap: usize) -> Option<usize> {
        let start = (output + self.before).checked_sub(tap * self.dilation)?;
        Some(start / self.stride).filter(|&place| start % self.stride == 0 && place < self.input)
    }
}
