//! The rows that a weight's columns are multiplied with, taken from a tensor.

use super::feed::Window;

/// Calls `f` with each row of a tensor in row-major order: its numbers along an axis, or what lies under
/// each place of a window, `[channels, *taps]` with zeros for padding. `None` where the shape has no
/// such rows.
pub(super) fn each<T: Copy + Default>(
    elements: &[T],
    shape: &[usize],
    axis: usize,
    window: Option<&Window>,
    mut f: impl FnMut(&[T]),
) -> Option<()> {
    let columns = *shape.get(axis)?;
    let Some(window) = window else {
        let inner: usize = shape[axis + 1..].iter().product();
        if inner == 1 {
            elements.chunks_exact(columns.max(1)).for_each(f);
            return Some(());
        }
        let mut row = vec![T::default(); columns];
        for outer in elements.chunks_exact((columns * inner).max(1)) {
            for i in 0..inner {
                row.iter_mut().zip(outer[i..].iter().step_by(inner)).for_each(|(to, &x)| *to = x);
                f(&row);
            }
        }
        return Some(());
    };
    let spatial = shape.get(2..)?;
    let places = window.places(spatial)?;
    let (area, taps) = (spatial.iter().product::<usize>(), window.taps()?);
    let mut row = vec![T::default(); columns.checked_mul(taps)?];
    let counts: Vec<usize> = places.iter().map(|places| places.count).collect();
    for image in elements.chunks_exact((columns * area).max(1)) {
        for at in Odometer::over(&counts) {
            for (t, tap) in Odometer::over(&window.kernel).enumerate() {
                let along = places.iter().zip(&at).zip(&tap);
                let mut sources = along.map(|((places, &at), &tap)| places.source(at, tap));
                let from = sources.try_fold((0, spatial), |(place, sizes), source| {
                    let (size, rest) = sizes.split_first()?;
                    Some((place * size + source?, rest))
                });
                for c in 0..columns {
                    row[c * taps + t] =
                        from.map_or(T::default(), |(place, _)| image[c * area + place]);
                }
            }
            f(&row);
        }
    }
    Some(())
}

/// All indices of an array of these sizes, in row-major order.
struct Odometer<'s> {
    sizes: &'s [usize],
    next: Option<Vec<usize>>,
}

impl<'s> Odometer<'s> {
    fn over(sizes: &'s [usize]) -> Self {
        Self { sizes, next: (!sizes.contains(&0)).then(|| vec![0; sizes.len()]) }
    }
}

impl Iterator for Odometer<'_> {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        let now = self.next.take()?;
        let mut then = now.clone();
        for axis in (0..then.len()).rev() {
            then[axis] += 1;
            if then[axis] < self.sizes[axis] {
                self.next = Some(then);
                break;
            }
            then[axis] = 0;
        }
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(shape: &[usize], axis: usize, window: Option<&Window>) -> Vec<Vec<i32>> {
        let elements: Vec<i32> = (1..=shape.iter().product::<usize>() as i32).collect();
        let mut rows = Vec::new();
        each(&elements, shape, axis, window, |row| rows.push(row.to_vec())).unwrap();
        rows
    }

    #[test]
    fn rows_lie_along_their_axis() {
        assert_eq!(rows(&[2, 3], 1, None), [[1, 2, 3], [4, 5, 6]]);
        assert_eq!(rows(&[1, 2, 3], 1, None), [[1, 4], [2, 5], [3, 6]]);
        assert_eq!(rows(&[2, 0], 1, None), Vec::<Vec<i32>>::new());
    }

    #[test]
    fn windows_hold_their_channels_taps_and_padding() {
        let window = |kernel: &[usize], stride: usize, pad_type: &str, pad: &[usize]| Window {
            kernel: kernel.to_vec(),
            strides: vec![stride; kernel.len()],
            dilations: vec![1; kernel.len()],
            pad_type: pad_type.into(),
            pad: pad.to_vec(),
            groups: 1,
        };
        // Two channels of [1, 2, 3] and [4, 5, 6].
        let two = window(&[2], 1, "valid", &[]);
        assert_eq!(rows(&[1, 2, 3], 1, Some(&two)), [[1, 2, 4, 5], [2, 3, 5, 6]]);
        let same = window(&[2], 2, "same", &[]);
        assert_eq!(rows(&[1, 2, 3], 1, Some(&same)), [[1, 2, 4, 5], [3, 0, 6, 0]]);
        let lower = window(&[2], 2, "same_lower", &[]);
        assert_eq!(rows(&[1, 2, 3], 1, Some(&lower)), [[0, 1, 0, 4], [2, 3, 5, 6]]);
        let custom = window(&[3], 1, "custom", &[1, 0]);
        let dilated = Window { dilations: vec![2], ..custom };
        assert_eq!(rows(&[1, 1, 4], 1, Some(&dilated)), [[0, 2, 4]]);
        // [[1, 2], [3, 4]] under [2, 1]: one row of windows.
        let tall = window(&[2, 1], 1, "valid", &[]);
        assert_eq!(rows(&[1, 1, 2, 2], 1, Some(&tall)), [[1, 3], [2, 4]]);
        assert!(each(&[1], &[1, 1, 1], 1, Some(&two), |_| {}).is_none(), "no window fits");
    }
}
