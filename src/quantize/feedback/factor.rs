//! Triangular factors of a positive definite matrix, in f64.
//!
//! Everything is made of one step, `row −= Σ c_b · panel_b`, whose additions have one order: the same
//! bits on any number of threads and, as nothing is fused, on any processor.

use rayon::prelude::*;

/// Rows and columns that are eliminated together.
const BLOCK: usize = 64;

/// Rows that one job updates.
const ROWS: usize = 16;

/// Columns that are updated together: `BLOCK` lines of them stay in a core's second cache.
pub(super) const TILE: usize = 256;

/// `H⁻¹ = Uᵀ U`, both `[n, n]` with zeros below the diagonal.
#[derive(Debug)]
pub(super) struct Factor {
    /// `U`.
    pub(super) spread: Vec<f64>,
    /// `U⁻¹`, so that `H = U⁻¹ U⁻ᵀ`.
    pub(super) whole: Vec<f64>,
}

/// `row_j −= Σ_b c_b · panel_bj`, one `b` after the other; lines of the panel are `stride` apart.
pub(super) fn subtract(row: &mut [f64], c: &[f64], panel: &[f64], stride: usize) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let len = row.len();
            let line = |b: usize| &panel[b * stride..][..len];
            let fours = c.len() / 4 * 4;
            for b in (0..fours).step_by(4) {
                let [c0, c1, c2, c3] = [c[b], c[b + 1], c[b + 2], c[b + 3]];
                let lines = line(b).iter().zip(line(b + 1)).zip(line(b + 2)).zip(line(b + 3));
                for (x, (((p0, p1), p2), p3)) in row.iter_mut().zip(lines) {
                    *x = (((*x - c0 * p0) - c1 * p1) - c2 * p2) - c3 * p3;
                }
            }
            for (b, &c) in c.iter().enumerate().skip(fours) {
                for (x, p) in row.iter_mut().zip(line(b)) {
                    *x -= c * p;
                }
            }
        },
    );
}

impl Factor {
    /// Of a symmetric matrix `[n, n]`; `None` if it is not positive definite.
    pub(super) fn new(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        // With rows and columns in reverse, a lower factor is the upper one that is wanted.
        matrix.reverse();
        cholesky(&mut matrix, n)?;
        let mut inverse = inverse(&matrix, n);
        matrix.reverse();
        inverse.reverse();
        inverse.iter().all(|x| x.is_finite()).then_some(Self { spread: inverse, whole: matrix })
    }
}

/// The lower factor `L`, `A = L Lᵀ`, in the place of `A`, with zeros above.
fn cholesky(a: &mut [f64], n: usize) -> Option<()> {
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let (above, below) = a.split_at_mut(end * n);
        let block = &mut above[start * n..];
        for i in 0..end - start {
            for j in 0..=i {
                let [x, y] = [i, j].map(|row| &block[row * n + start..][..j]);
                let sum: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                let rest = block[i * n + start + j] - sum;
                block[i * n + start + j] = if i > j {
                    rest / block[j * n + start + j]
                } else {
                    (rest > 0.0 && rest.is_finite()).then(|| rest.sqrt())?
                };
            }
            block[i * n + start + i + 1..(i + 1) * n].fill(0.0);
        }
        let block = &*block;
        let rows = below.par_chunks_exact_mut(n);
        rows.for_each(|row| {
            for j in 0..end - start {
                let (done, rest) = row[start..].split_at_mut(j);
                let known = &block[j * n + start..][..j];
                let sum: f64 = done.iter().zip(known).map(|(x, y)| x * y).sum();
                rest[0] = (rest[0] - sum) / block[j * n + start + j];
            }
        });
        // The panel, turned: line b holds column b of the rows below.
        let left = n - end;
        let mut panel = vec![0.0; (end - start) * left];
        for (i, row) in below.chunks_exact(n).enumerate() {
            for (b, &x) in row[start..end].iter().enumerate() {
                panel[b * left + i] = x;
            }
        }
        below.par_chunks_mut(ROWS * n).enumerate().for_each(|(chunk, rows)| {
            for tile in (0..left.min((chunk + 1) * ROWS)).step_by(TILE) {
                for (i, row) in (chunk * ROWS..).zip(rows.chunks_exact_mut(n)) {
                    let (done, rest) = row.split_at_mut(end);
                    let columns = tile.min(i + 1)..(i + 1).min(tile + TILE);
                    subtract(&mut rest[columns], &done[start..end], &panel[tile..], left);
                }
            }
        });
    }
    Some(())
}

/// `L⁻¹` of a lower triangular matrix.
fn inverse(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let (done, rest) = inverse.split_at_mut(start * n);
        let block = &mut rest[..(end - start) * n];
        block.par_chunks_mut(ROWS * n).enumerate().for_each(|(chunk, rows)| {
            for before in (0..start).step_by(BLOCK) {
                // Line b is zero behind its column b.
                for tile in (0..before + BLOCK).step_by(TILE) {
                    let columns = tile..(before + BLOCK).min(tile + TILE);
                    for (i, row) in (start + chunk * ROWS..).zip(rows.chunks_exact_mut(n)) {
                        let c = &l[i * n..][before..before + BLOCK];
                        subtract(&mut row[columns.clone()], c, &done[before * n + tile..], n);
                    }
                }
            }
        });
        for i in 0..end - start {
            let (above, row) = block.split_at_mut(i * n);
            let row = &mut row[..n];
            row[start + i] = 1.0;
            let line = &l[(start + i) * n..][..n];
            subtract(&mut row[..start + i], &line[start..start + i], above, n);
            row[..=start + i].iter_mut().for_each(|x| *x /= line[start + i]);
        }
    }
    inverse
}
