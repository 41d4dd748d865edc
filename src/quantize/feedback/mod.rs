//! GPTQ: codes chosen column by column, each error made good by the columns that are still to come.
//!
//! A row's squared output error on the data is `(w − ŵ) H (w − ŵ)ᵀ` with `H = Σ x xᵀ`. Grids and tables
//! are chosen first, from the weights as they are. Then, column after column, the nearest value is
//! taken and its error `e` is spread over the later columns as `H` says best: with `H⁻¹ = Uᵀ U`, `U` upper
//! triangular, `w_k −= e · U_jk / U_jj` for `k > j`. A row that comes out worse than by rounding alone
//! keeps the rounded codes.
//!
//! `H` is damped by 1 % of its mean diagonal. So an input that was never active has no influence and
//! its weights are rounded. Columns are taken by falling diagonal, or as they stand.
//!
//! | module | what it does |
//! |---|---|
//! | `factor` | `U` and its inverse |
//!
//! # Source
//! Frantar et al. 2022 (arXiv:2210.17323): Cholesky form, lazy updates in blocks of columns, and, in
//! its code, the order by the diagonal ("act order").

mod factor;
#[cfg(test)]
mod tests;

use factor::{Factor, TILE, subtract};

/// The share of the mean diagonal that is added to the diagonal.
const DAMPING: f64 = 0.01;

/// Columns whose errors reach the columns behind them together.
const BLOCK: usize = 64;

/// Rows that are updated together, while a block of `U` is near: callers give as many as they can.
const ROWS: usize = 64;

/// In which order columns are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The column whose input has the most energy first.
    #[default]
    Energy,
    /// As they stand.
    Natural,
}

/// The Hessians of the weights that read a value in one way, ready for use.
#[derive(Debug)]
pub struct Feedback {
    groups: Vec<Group>,
    columns: usize,
}

/// Of one group of a convolution, or of all rows.
#[derive(Debug)]
struct Group {
    /// The columns as they are taken.
    order: Vec<usize>,
    factor: Factor,
}

impl Feedback {
    /// From a Hessian `[columns, columns]` for each group; `None` where they are of other sizes, or none of
    /// real numbers.
    pub fn new(hessians: &[Vec<f64>], columns: usize, order: Order) -> Option<Self> {
        (!hessians.is_empty() && columns > 0).then_some(())?;
        let group = |hessian: &Vec<f64>| Group::new(hessian, columns, order);
        let groups = hessians.iter().map(group).collect::<Option<_>>()?;
        Some(Self { groups, columns })
    }

    /// Whether it is one for a weight `[O, I, *taps]`.
    pub fn fits(&self, shape: &[usize]) -> bool {
        let [rows, rest @ ..] = shape else { return false };
        self.columns == rest.iter().product::<usize>() && rows.is_multiple_of(self.groups.len())
    }

    /// Chooses the codes of some rows of a weight, from `first` on, whose numbers `x` are; `all` is how many
    /// it has. `pick` says which code is nearest to a number in the place of a weight (row among
    /// these, column), and what it stands for. Returns the squared output errors of rounding alone and of
    /// these codes, by the damped Hessian.
    pub(super) fn assign(
        &self,
        all: usize,
        first: usize,
        x: &[f64],
        pick: &dyn Fn(usize, usize, f64) -> (u8, f64),
        codes: &mut [u8],
    ) -> [f64; 2] {
        let (n, of_group) = (self.columns, all / self.groups.len());
        let mut sums = [0.0; 2];
        let mut done = 0;
        while done * n < x.len() {
            let row = first + done;
            let end = (done + ROWS).min(x.len() / n).min(done + of_group - row % of_group);
            let pick = |row, col, x| pick(done + row, col, x);
            let (x, codes) = (&x[done * n..end * n], &mut codes[done * n..end * n]);
            let [before, after] = self.groups[row / of_group].assign(x, &pick, codes);
            sums = [sums[0] + before, sums[1] + after];
            done = end;
        }
        sums
    }
}

impl Group {
    fn new(hessian: &[f64], n: usize, order: Order) -> Option<Self> {
        (hessian.len() == n * n).then_some(())?;
        let diagonal = |i: usize| hessian[i * n + i];
        let mut columns: Vec<usize> = (0..n).collect();
        match order {
            Order::Natural => {}
            Order::Energy => columns.sort_by(|&a, &b| diagonal(b).total_cmp(&diagonal(a))),
        }
        let mean = (0..n).map(diagonal).sum::<f64>() / n as f64;
        // All silent: any damping will do.
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        let mut damped = Vec::with_capacity(n * n);
        for &i in &columns {
            damped.extend(columns.iter().map(|&j| hessian[i * n + j]));
        }
        (0..n).for_each(|i| damped[i * n + i] += damping);
        Some(Self { order: columns, factor: Factor::new(damped, n)? })
    }

    fn assign(
        &self,
        x: &[f64],
        pick: &dyn Fn(usize, usize, f64) -> (u8, f64),
        codes: &mut [u8],
    ) -> [f64; 2] {
        let n = self.order.len();
        let Factor { spread, whole } = &self.factor;
        let rows = x.len() / n;
        let mut work: Vec<f64> =
            x.chunks_exact(n).flat_map(|x| self.order.iter().map(|&j| x[j])).collect();
        let mut after = vec![0.0; rows];
        let mut errors = vec![0.0; rows * BLOCK];
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            for (row, work) in work.chunks_exact_mut(n).enumerate() {
                let errors = &mut errors[row * BLOCK..][..end - start];
                for j in start..end {
                    let (col, spread) = (self.order[j], &spread[j * n..(j + 1) * n]);
                    let (code, value) = pick(row, col, work[j]);
                    codes[row * n + col] = code;
                    let error = (work[j] - value) / spread[j];
                    after[row] += error * error;
                    errors[j - start] = error;
                    subtract(&mut work[j + 1..end], &[error], &spread[j + 1..end], n);
                }
            }
            spread_errors(&mut work, n, end, &errors, &spread[start * n..], end - start);
        }

        // By rounding alone: |(w − ŵ) U⁻¹|².
        let mut rounded = vec![0; rows * n];
        for (row, (x, rounded)) in x.chunks_exact(n).zip(rounded.chunks_exact_mut(n)).enumerate() {
            for (&col, error) in self.order.iter().zip(&mut work[row * n..]) {
                let (code, value) = pick(row, col, x[col]);
                rounded[col] = code;
                *error = x[col] - value;
            }
        }
        let mut product = vec![0.0; rows * n];
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            for (errors, work) in errors.chunks_exact_mut(BLOCK).zip(work.chunks_exact(n)) {
                errors[..end - start].copy_from_slice(&work[start..end]);
            }
            spread_errors(&mut product, n, start, &errors, &whole[start * n..], end - start);
        }
        let mut sums = [0.0; 2];
        for (row, product) in product.chunks_exact(n).enumerate() {
            let before: f64 = product.iter().map(|x| x * x).sum();
            sums[0] += before;
            sums[1] += before.min(after[row]);
            if before < after[row] {
                let of_row = row * n..(row + 1) * n;
                codes[of_row.clone()].copy_from_slice(&rounded[of_row]);
            }
        }
        sums
    }
}

/// `row −= errors · lines` in the columns from `from` on, of rows `[rows, n]`, whose errors are `[rows, BLOCK]`;
/// `lines` are `count` of `n`.
fn spread_errors(
    rows: &mut [f64],
    n: usize,
    from: usize,
    errors: &[f64],
    lines: &[f64],
    count: usize,
) {
    for tile in (from..n).step_by(TILE) {
        let columns = tile..n.min(tile + TILE);
        for (row, errors) in rows.chunks_exact_mut(n).zip(errors.chunks_exact(BLOCK)) {
            subtract(&mut row[columns.clone()], &errors[..count], &lines[tile..], n);
        }
    }
}
