//! Where products go: a strided matrix that threads fill together.
#![allow(unsafe_code)]

use super::Out;
use super::kernel::ROWS;
use std::marker::PhantomData;

/// An [`Out`] of known extent, whose elements do not overlap, with the bias that is added.
pub(super) struct Sink<'a> {
    data: *mut f32,
    strides: [usize; 2],
    /// Rows of activations and output channels.
    shape: [usize; 2],
    bias: Option<&'a [f32]>,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a unique borrow of numbers, and each caller of `put` keeps to elements of its own.
unsafe impl Send for Sink<'_> {}
// SAFETY: as above.
unsafe impl Sync for Sink<'_> {}

impl<'a> Sink<'a> {
    /// # Panics
    /// If an element lies outside the slice, two may lie in one place, or the bias is too short.
    pub(super) fn new(out: Out<'a>, [m, n]: [usize; 2], bias: Option<&'a [f32]>) -> Self {
        let Out { data, row_stride, col_stride } = out;
        let reach = |count: usize, stride: usize| count.saturating_sub(1).checked_mul(stride);
        if m > 0 && n > 0 {
            let (rows, cols) = (reach(m, row_stride), reach(n, col_stride));
            let ends = rows.zip(cols);
            let last = ends.and_then(|(rows, cols)| rows.checked_add(cols));
            let len = data.len();
            assert!(last.is_some_and(|last| last < len), "[{m}, {n}] does not fit {len} elements");
            let apart = ends.is_some_and(|(rows, cols)| {
                (m == 1 || cols < row_stride) && (n == 1 || col_stride > 0)
                    || (n == 1 || rows < col_stride) && (m == 1 || row_stride > 0)
            });
            assert!(apart, "strides {row_stride} and {col_stride} fold [{m}, {n}]");
        }
        assert!(bias.is_none_or(|bias| bias.len() >= n), "a bias for {n} channels");
        let strides = [row_stride, col_stride];
        Self { data: data.as_mut_ptr(), strides, shape: [m, n], bias, borrow: PhantomData }
    }

    /// Writes what of `panel`'s sixteen channels exists for activation row `i`, plus the bias.
    ///
    /// # Safety
    /// No other thread writes this panel of this row at the same time.
    pub(super) unsafe fn put(&self, i: usize, panel: usize, values: &[f32; ROWS]) {
        let [m, n] = self.shape;
        let first = panel * ROWS;
        assert!(i < m && first < n, "row {i}, panel {panel} of [{m}, {n}]");
        let count = ROWS.min(n - first);
        let start = i * self.strides[0];
        for (channel, value) in (first..first + count).zip(values) {
            let value = value + self.bias.map_or(0.0, |bias| bias[channel]);
            // SAFETY: `i` and `channel` lie inside the shape, all of whose elements are in the
            // slice, each in a place of its own; the caller keeps other threads away.
            unsafe { *self.data.add(start + channel * self.strides[1]) = value };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(len: usize, shape: [usize; 2], row_stride: usize, col_stride: usize) -> Vec<f32> {
        let mut data = vec![0.0; len];
        let sink = Sink::new(Out { data: &mut data, row_stride, col_stride }, shape, None);
        for i in 0..shape[0] {
            for panel in 0..shape[1].div_ceil(ROWS) {
                // SAFETY: there is one thread.
                unsafe { sink.put(i, panel, &[1.0 + i as f32; ROWS]) };
            }
        }
        data
    }

    #[test]
    fn rows_and_columns_go_by_their_strides() {
        assert_eq!(sink(6, [2, 3], 3, 1), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(sink(6, [2, 3], 1, 2), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert_eq!(sink(7, [2, 2], 4, 2), [1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 2.0]);
        assert_eq!(sink(2, [1, 2], 0, 1), [1.0, 1.0]);
        assert!(sink(0, [0, 5], 0, 0).is_empty());
    }

    #[test]
    #[should_panic(expected = "does not fit 5 elements")]
    fn an_element_outside_is_refused() {
        sink(5, [2, 3], 3, 1);
    }

    #[test]
    #[should_panic(expected = "fold")]
    fn elements_in_one_place_are_refused() {
        sink(9, [2, 3], 2, 1);
    }
}
