//! Tensors seen through strides: transposed, sliced, broadcast; and copies of what is seen.

use super::blocks;

/// The most dimensions that a view can need after neighbours are joined; MIL has at most 5.
const RANK: usize = 8;

/// Elements that one thread copies at a time.
const BLOCK: usize = 1 << 14;

/// Element (i₀, i₁, …) of a view of `shape` stands at `offset + Σ iₐ · strideₐ` of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    offset: usize,
    /// (size, stride), outermost first; neighbours that can be one dimension are.
    dims: Vec<(usize, isize)>,
    len: usize,
}

/// The strides of row-major order.
pub(super) fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as isize;
    }
    strides
}

impl View {
    /// A view with these strides; `None` if it has too many dimensions.
    pub(super) fn new(shape: &[usize], strides: &[isize], offset: usize) -> Option<Self> {
        let len = shape.iter().product();
        let mut dims: Vec<(usize, isize)> = Vec::with_capacity(shape.len());
        for (&size, &stride) in shape.iter().zip(strides).filter(|(size, _)| **size != 1) {
            match dims.last_mut() {
                Some((outer, step)) if *step == stride * size as isize => {
                    (*outer, *step) = (*outer * size, stride);
                }
                _ => dims.push((size, stride)),
            }
        }
        (dims.len() <= RANK).then_some(Self { offset, dims, len })
    }

    /// A tensor of shape `from`, broadcast to `to` as numpy does.
    pub(super) fn broadcast(from: &[usize], to: &[usize]) -> Option<Self> {
        let missing = to.len().checked_sub(from.len())?;
        let mut strides = row_major(from);
        for (stride, size) in strides.iter_mut().zip(from) {
            if *size == 1 {
                *stride = 0;
            }
        }
        strides.splice(0..0, std::iter::repeat_n(0, missing));
        Self::new(to, &strides, 0)
    }

    /// Whether the view is the source itself, from its start.
    pub(super) fn is_whole(&self) -> bool {
        self.offset == 0 && matches!(self.dims[..], [] | [(_, 1)])
    }

    /// Whether all of the view is one element.
    pub(super) fn is_one(&self) -> bool {
        matches!(self.dims[..], [] | [(_, 0)])
    }

    /// Copies elements `start..` of the view, as many as `to` holds, `shift` elements further on in
    /// the source.
    pub(super) fn read<S: Copy, T>(
        &self,
        from: &[S],
        start: usize,
        to: &mut [T],
        shift: usize,
        convert: impl Fn(S) -> T + Copy,
    ) {
        let origin = self.offset + shift;
        let Some((&(inner, stride), outer)) = self.dims.split_last() else {
            to.iter_mut().for_each(|to| *to = convert(from[origin]));
            return;
        };
        // The place of the first element, dimension by dimension.
        let mut at = [0; RANK];
        let (mut rest, mut column) = (start / inner, start % inner);
        for (at, (size, _)) in at.iter_mut().zip(outer).rev() {
            (rest, *at) = (rest / size, rest % size);
        }
        let mut row = origin as isize;
        row += at.iter().zip(outer).map(|(&at, (_, stride))| at as isize * stride).sum::<isize>();
        let mut to = to;
        while !to.is_empty() {
            let run = (inner - column).min(to.len());
            let (now, later) = std::mem::take(&mut to).split_at_mut(run);
            copy_run(from, row + column as isize * stride, stride, now, convert);
            (to, column) = (later, 0);
            row += next(&mut at, outer);
        }
    }

    /// Puts elements where the view shows, `shift` elements further on: the opposite of reading.
    pub(super) fn write<T: Copy>(&self, from: &[T], to: &mut [T], shift: usize) {
        let one = (1, 1);
        let (&(inner, stride), outer) = self.dims.split_last().unwrap_or((&one, &[]));
        let mut at = [0; RANK];
        let mut row = (self.offset + shift) as isize;
        for from in from[..self.len].chunks_exact(inner.max(1)) {
            if stride == 1 {
                to[row as usize..][..inner].copy_from_slice(from);
            } else {
                for (i, &element) in from.iter().enumerate() {
                    to[(row + i as isize * stride) as usize] = element;
                }
            }
            row += next(&mut at, outer);
        }
    }

    /// Copies all of the view; `to` is as long as the view.
    pub(super) fn copy<T: Copy + Send + Sync>(&self, from: &[T], to: &mut [T], shift: usize) {
        blocks::each(to, BLOCK, |start, block| self.read(from, start, block, shift, |x| x));
    }
}

/// Goes on to the next row; gives how far away that is.
fn next(at: &mut [usize; RANK], outer: &[(usize, isize)]) -> isize {
    let mut way = 0;
    for (at, (size, stride)) in at.iter_mut().zip(outer).rev() {
        (*at, way) = (*at + 1, way + stride);
        if *at < *size {
            break;
        }
        (*at, way) = (0, way - *size as isize * stride);
    }
    way
}

/// Every `stride`-th element from `first` on.
fn copy_run<S: Copy, T>(
    from: &[S],
    first: isize,
    stride: isize,
    to: &mut [T],
    convert: impl Fn(S) -> T,
) {
    let first = usize::try_from(first).expect("a view lies in its source");
    match stride {
        0 => to.iter_mut().for_each(|to| *to = convert(from[first])),
        1 => to.iter_mut().zip(&from[first..]).for_each(|(to, &from)| *to = convert(from)),
        2.. => {
            let step = stride.unsigned_abs();
            let picked = from[first..].iter().step_by(step);
            to.iter_mut().zip(picked).for_each(|(to, &from)| *to = convert(from));
        }
        _ => {
            let step = stride.unsigned_abs();
            let picked = from[..=first].iter().rev().step_by(step);
            to.iter_mut().zip(picked).for_each(|(to, &from)| *to = convert(from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(view: &View, from: &[i32]) -> Vec<i32> {
        let mut to = vec![0; view.len];
        view.copy(from, &mut to, 0);
        // From any place on, the same elements.
        for start in 0..to.len() {
            let mut tail = vec![0; to.len() - start];
            view.read(from, start, &mut tail, 0, |x| x);
            assert_eq!(tail, to[start..]);
        }
        to
    }

    #[test]
    fn a_view_reads_what_its_strides_say() {
        let from: Vec<i32> = (0..6).collect();
        #[rustfmt::skip]
        type Case<'a> = (&'a str, &'a [usize], &'a [isize], usize, &'a [i32]);
        let cases: [Case<'_>; 6] = [
            ("as it is", &[2, 3], &[3, 1], 0, &[0, 1, 2, 3, 4, 5]),
            ("transposed", &[3, 2], &[1, 3], 0, &[0, 3, 1, 4, 2, 5]),
            ("reversed", &[2, 3], &[3, -1], 2, &[2, 1, 0, 5, 4, 3]),
            ("broadcast", &[2, 2, 3], &[0, 0, 1], 3, &[3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5]),
            ("one", &[2, 2], &[0, 0], 4, &[4, 4, 4, 4]),
            ("every other", &[1, 3], &[9, 2], 1, &[1, 3, 5]),
        ];
        for (name, shape, strides, offset, want) in cases {
            assert_eq!(all(&View::new(shape, strides, offset).unwrap(), &from), want, "{name}");
        }
        // What is written is what is read, wherever a view shows each element once.
        for (name, shape, strides, offset, want) in
            cases.into_iter().filter(|case| !case.2.contains(&0))
        {
            let (view, mut to) = (View::new(shape, strides, offset).unwrap(), vec![-1; 6]);
            view.write(want, &mut to, 0);
            assert_eq!(all(&view, &to), want, "{name}");
            assert_eq!(to.iter().filter(|&&x| x == -1).count(), 6 - want.len(), "{name}");
        }
        let view = View::broadcast(&[2, 1], &[2, 2, 2]).unwrap();
        assert_eq!(all(&view, &[7, 8]), [7, 7, 8, 8, 7, 7, 8, 8]);
        assert!(View::new(&[2, 3, 4], &row_major(&[2, 3, 4]), 0).unwrap().is_whole());
        assert!(View::broadcast(&[1, 1], &[4, 4]).unwrap().is_one());
    }
}
