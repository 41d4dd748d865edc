//! Where products go: a strided matrix that threads fill together.
#![allow(unsafe_code)]

use super::Out;
use super::kernel::ROWS;
use std::marker::PhantomData;

/// An [`Out`] of known extent, whose elements do not overlap.
pub(super) struct Sink<'a, T> {
    data: *mut T,
    strides: [usize; 2],
    /// Rows of activations and output channels.
    shape: [usize; 2],
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a unique borrow of elements, and each caller of `put` keeps to elements of its own.
unsafe impl<T: Send> Send for Sink<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Sink<'_, T> {}

impl<'a, T: Copy> Sink<'a, T> {
    /// # Panics
    /// If an element lies outside the slice, or two may lie in one place.
    pub(super) fn new(out: Out<'a, T>, [m, n]: [usize; 2]) -> Self {
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
        let strides = [row_stride, col_stride];
        Self { data: data.as_mut_ptr(), strides, shape: [m, n], borrow: PhantomData }
    }

    /// Writes what of `panel`'s sixteen channels exists for the activation rows from `first` on.
    ///
    /// # Safety
    /// No other thread writes this panel of these rows at the same time.
    #[inline(always)]
    pub(super) unsafe fn put(&self, first: usize, panel: usize, rows: &[[T; ROWS]]) {
        let ([m, n], [down, across]) = (self.shape, self.strides);
        let channel = panel * ROWS;
        assert!(rows.len() <= m && first <= m - rows.len(), "rows from {first} on, of {m}");
        assert!(channel < n, "panel {panel} of {n} channels");
        let count = ROWS.min(n - channel);
        // SAFETY: the rows and `count` channels lie inside the shape, all of whose elements are in the
        // slice, each in a place of its own; the caller keeps other threads away.
        unsafe {
            let start = self.data.add(first * down + channel * across);
            if across == 1 && count == ROWS {
                for (i, values) in rows.iter().enumerate() {
                    start.add(i * down).cast::<[T; ROWS]>().write_unaligned(*values);
                }
                return;
            }
            for c in 0..count {
                for (i, values) in rows.iter().enumerate() {
                    *start.add(i * down + c * across) = values[c];
                }
            }
        }
    }
}

/// A sink of numbers, and the bias that is added to them.
pub(super) struct Biased<'a> {
    sink: Sink<'a, f32>,
    bias: Option<&'a [f32]>,
}

impl<'a> Biased<'a> {
    /// # Panics
    /// As [`Sink::new`]; if the bias is too short.
    pub(super) fn new(out: Out<'a>, shape: [usize; 2], bias: Option<&'a [f32]>) -> Self {
        let n = shape[1];
        assert!(bias.is_none_or(|bias| bias.len() >= n), "a bias for {n} channels");
        Self { sink: Sink::new(out, shape), bias }
    }

    /// The biases of a panel; 0 where there is none.
    #[inline(always)]
    pub(super) fn bias(&self, panel: usize) -> [f32; ROWS] {
        let biases = self.bias.and_then(|bias| bias.get(panel * ROWS..)).unwrap_or_default();
        let mut padded = [0.0; ROWS];
        match biases.first_chunk() {
            Some(biases) => padded = *biases,
            None => padded[..biases.len()].copy_from_slice(biases),
        }
        padded
    }

    /// Writes a panel of the rows from `first` on, which hold the bias already.
    ///
    /// # Safety
    /// As [`Sink::put`].
    #[inline(always)]
    pub(super) unsafe fn put(&self, first: usize, panel: usize, rows: &[[f32; ROWS]]) {
        // SAFETY: the caller's promise.
        unsafe { self.sink.put(first, panel, rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(len: usize, shape: [usize; 2], row_stride: usize, col_stride: usize) -> Vec<f32> {
        let mut data = vec![0.0; len];
        let sink = Sink::new(Out { data: &mut data, row_stride, col_stride }, shape);
        let rows: Vec<_> = (0..shape[0]).map(|i| [1.0 + i as f32; ROWS]).collect();
        for panel in 0..shape[1].div_ceil(ROWS) {
            // SAFETY: there is one thread.
            unsafe { sink.put(0, panel, &rows) };
        }
        data
    }

    #[test]
    fn rows_and_columns_go_by_their_strides() {
        assert_eq!(sink(6, [2, 3], 3, 1), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(sink(6, [2, 3], 1, 2), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert_eq!(sink(7, [2, 2], 4, 2), [1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 2.0]);
        assert_eq!(sink(2, [1, 2], 0, 1), [1.0, 1.0]);
        assert_eq!(sink(35, [2, 17], 18, 1)[16..20], [1.0, 0.0, 2.0, 2.0]);
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
