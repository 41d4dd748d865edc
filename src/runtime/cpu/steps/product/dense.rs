//! `gemm` behind a safe border.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A matrix: element (i, j) at `i · strides[0] + j · strides[1]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub data: &'a [f32],
    pub strides: [usize; 2],
}

impl Matrix<'_> {
    /// Whether all elements of `[rows, cols]` are there.
    fn holds(&self, [rows, cols]: [usize; 2]) -> bool {
        let last = |count: usize, stride: usize| count.saturating_sub(1).checked_mul(stride);
        let [down, across] = [last(rows, self.strides[0]), last(cols, self.strides[1])];
        let end = down.zip(across).and_then(|(down, across)| down.checked_add(across));
        rows == 0 || cols == 0 || end.is_some_and(|end| end < self.data.len())
    }
}

/// `to = a · b`: a `[m, k]`, b `[k, n]`, `to` `[m, n]`, row-major. `shared`: on all threads.
///
/// # Panics
/// If a slice is too short.
pub(super) fn multiply(
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    to: &mut [f32],
    shared: bool,
) {
    assert!(a.holds([m, k]) && b.holds([k, n]), "an operand is too short");
    assert!(m.checked_mul(n).is_some_and(|len| len == to.len()), "the result has another size");
    let parallelism = if shared { Parallelism::Rayon(0) } else { Parallelism::None };
    let [a_rows, a_cols] = a.strides.map(|stride| stride as isize);
    let [b_rows, b_cols] = b.strides.map(|stride| stride as isize);
    // SAFETY: `gemm` reads a's elements (i, j) for i < m, j < k and b's for i < k, j < n, all of
    // which lie in their slices, and writes exactly the m · n elements of `to`, which are not read
    // (`read_dst` is false) and, being borrowed exclusively, overlap neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a_cols,
            a_rows,
            b.data.as_ptr(),
            b_cols,
            b_rows,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let sizes = [[1, 1, 1], [1, 70, 33], [5, 3, 0], [7, 1, 19], [33, 65, 40], [128, 17, 300]];
        for [m, n, k] in sizes {
            let numbers = |len: usize| (0..len).map(|i| ((i * 29) % 17) as f32 - 8.0);
            let (a, b): (Vec<_>, Vec<_>) = (numbers(m * k).collect(), numbers(k * n).collect());
            for (a_strides, b_strides) in [([k, 1], [n, 1]), ([1, m], [1, k])] {
                let mut to = vec![f32::NAN; m * n];
                let left = Matrix { data: &a, strides: a_strides };
                let right = Matrix { data: &b, strides: b_strides };
                multiply([m, n, k], left, right, &mut to, true);
                for (i, got) in to.iter().enumerate() {
                    let (row, col) = (i / n, i % n);
                    let pair = |j: usize| {
                        a[row * a_strides[0] + j * a_strides[1]]
                            * b[j * b_strides[0] + col * b_strides[1]]
                    };
                    assert_eq!(
                        *got,
                        (0..k).map(pair).sum::<f32>(),
                        "[{m}, {n}, {k}] at {row}, {col}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic = "an operand is too short"]
    fn a_short_operand_is_refused() {
        let short = Matrix { data: &[1.0; 5], strides: [3, 1] };
        let whole = Matrix { data: &[1.0; 6], strides: [2, 1] };
        multiply([2, 2, 3], short, whole, &mut [0.0; 4], false);
    }
}
