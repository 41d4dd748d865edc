//! The loop of all products of many rows: sums stay in registers while columns pass.

use super::lanes::Lanes;
use super::{Dot, PANELS, Quad, ROWS, Simd, Sums};

/// What the sums of sixteen rows gain by a column of weights (f32) or a quad of them (integers).
pub(in super::super) trait Step: Copy {
    /// A sum.
    type Number: Copy;
    /// Weights of sixteen rows.
    type Weights;
    /// What they are multiplied by.
    type X: Copy;
    /// Any of those in registers.
    type Lanes: Copy;
    /// Whether the registers hold a tile's sums with both panels.
    const BOTH: bool;

    fn sums(self, sums: &[Self::Number; ROWS]) -> Self::Lanes;
    fn weights(self, weights: &Self::Weights) -> Self::Lanes;
    fn spread(self, x: Self::X) -> Self::Lanes;
    fn step(self, sums: Self::Lanes, w: Self::Lanes, x: Self::Lanes) -> Self::Lanes;
    fn put(self, lanes: Self::Lanes, sums: &mut [Self::Number; ROWS]);
}

/// `sums[i] += Σ_k w[panel][k] · x[k][i]`.
///
/// # Panics
/// If a panel has fewer columns than `x`.
#[inline(always)]
pub(in super::super) fn tile<S: Step, const M: usize>(
    step: S,
    w: [&[S::Weights]; PANELS],
    x: &[[S::X; M]],
    sums: &mut [Sums<S::Number>; M],
) {
    if S::BOTH {
        panels(step, w, x, sums, 0);
    } else {
        for (p, w) in w.into_iter().enumerate() {
            panels(step, [w], x, sums, p);
        }
    }
}

/// `P` panels from `first` on.
// Iterators are closures: one that is not inlined would lose the processor's instructions.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
fn panels<S: Step, const M: usize, const P: usize>(
    step: S,
    mut w: [&[S::Weights]; P],
    x: &[[S::X; M]],
    sums: &mut [Sums<S::Number>; M],
    first: usize,
) {
    for w in &mut w {
        *w = &w[..x.len()];
    }
    let mut lanes = [[step.sums(&sums[0][first]); P]; M];
    for i in 0..M {
        for p in 0..P {
            lanes[i][p] = step.sums(&sums[i][first + p]);
        }
    }
    for (k, x) in x.iter().enumerate() {
        let mut column = [step.weights(&w[0][k]); P];
        for p in 1..P {
            column[p] = step.weights(&w[p][k]);
        }
        for i in 0..M {
            let x = step.spread(x[i]);
            for p in 0..P {
                lanes[i][p] = step.step(lanes[i][p], column[p], x);
            }
        }
    }
    for i in 0..M {
        for p in 0..P {
            step.put(lanes[i][p], &mut sums[i][first + p]);
        }
    }
}

/// Steps in f32: a column.
#[derive(Clone, Copy)]
pub(in super::super) struct Floats<S>(pub(in super::super) S);

impl<S: Simd> Step for Floats<S> {
    type Number = f32;
    type Weights = [f32; ROWS];
    type X = f32;
    type Lanes = S::Row;
    const BOTH: bool = S::BOTH;

    #[inline(always)]
    fn sums(self, sums: &[f32; ROWS]) -> S::Row {
        self.0.get(sums)
    }
    #[inline(always)]
    fn weights(self, weights: &[f32; ROWS]) -> S::Row {
        self.0.get(weights)
    }
    #[inline(always)]
    fn spread(self, x: f32) -> S::Row {
        self.0.splat(x)
    }
    #[inline(always)]
    fn step(self, sums: S::Row, w: S::Row, x: S::Row) -> S::Row {
        self.0.fma(sums, w, x)
    }
    #[inline(always)]
    fn put(self, lanes: S::Row, sums: &mut [f32; ROWS]) {
        self.0.put(lanes, sums);
    }
}

/// Steps in integers: a quad.
#[derive(Clone, Copy)]
pub(in super::super) struct Quads<D>(pub(in super::super) D);

impl<D: Dot> Step for Quads<D> {
    type Number = i32;
    type Weights = Quad;
    type X = [u8; 4];
    type Lanes = Lanes<D>;
    const BOTH: bool = D::Simd::BOTH;

    #[inline(always)]
    fn sums(self, sums: &[i32; ROWS]) -> Lanes<D> {
        self.0.simd().load(bytemuck::cast_ref(sums))
    }
    #[inline(always)]
    fn weights(self, weights: &Quad) -> Lanes<D> {
        self.0.simd().load(weights)
    }
    #[inline(always)]
    fn spread(self, x: [u8; 4]) -> Lanes<D> {
        self.0.simd().lanes(u32::from_le_bytes(x))
    }
    #[inline(always)]
    fn step(self, sums: Lanes<D>, w: Lanes<D>, x: Lanes<D>) -> Lanes<D> {
        self.0.dot(sums, w, x)
    }
    #[inline(always)]
    fn put(self, lanes: Lanes<D>, sums: &mut [i32; ROWS]) {
        self.0.simd().store(lanes, bytemuck::cast_mut(sums));
    }
}
