//! What a layer's inputs have to do with each other: `H = Σ x xᵀ`, exactly.
//!
//! A layer's squared output error on the data is `Σ_rows (w − ŵ) H (w − ŵ)ᵀ`. `H` is the Hessian of
//! that sum, up to a factor of 2, which GPTQ quantizes by.
//!
//! Numbers are FP16, whole multiples `u` of 2⁻²⁴ with `|u| ≤ 2⁴⁰`; products are of 2⁻⁴⁸, and sums of
//! them are kept as INT128. Rows are gathered and then multiplied in f64, where all of this is exact:
//! with `u = h·2²⁰ + l` and `|l| ≤ 2¹⁹`, sums of 256 products of these parts need 48 of the 53 bits, so
//! that neither the order of additions nor a fused multiply-add changes a bit.

use super::feed::Window;
use super::{rows, tally};
use crate::graph::weight::Bytes;
use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use rayon::prelude::*;

/// The most columns of a Hessian: 512 MiB.
pub(super) const MOST_COLUMNS: usize = 8192;

/// Rows that are multiplied at once.
const ROWS: usize = 256;

/// Rows of a Hessian that one job adds to.
const PANEL: usize = 64;

/// Bytes of a sum.
const SUM: usize = 16;

/// Bits of the lower part of a number.
const LOW: u32 = 20;

/// The Hessian of the layers that read a value in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hessian {
    /// How they read it; along its columns, if `None`.
    pub window: Option<Window>,
    /// The columns of the layers' weights.
    pub columns: usize,
    /// Groups of columns, each with sums of its own; 1 but for a convolution.
    pub groups: usize,
    /// `[groups, columns (columns + 1) / 2]`: upper triangles, row by row, INT128 in units of 2⁻⁴⁸, low
    /// byte first. May lie in a mapped file.
    pub(super) sums: Bytes,
}

/// The elements of an upper triangle.
pub(super) fn triangle(columns: usize) -> usize {
    columns * (columns + 1) / 2
}

impl Hessian {
    /// The shape of the sums in a file.
    pub(super) fn shape(&self) -> [usize; 3] {
        [self.groups, triangle(self.columns), 2]
    }

    /// The sums of a group.
    fn sums(&self, group: usize) -> &[[u8; SUM]] {
        let n = triangle(self.columns);
        &self.sums.as_chunks().0[group * n..(group + 1) * n]
    }

    /// The diagonal of a group, in units of 2⁻⁴⁸.
    pub(super) fn diagonal(&self, group: usize) -> Vec<i128> {
        let (n, sums) = (self.columns, self.sums(group));
        let place = |i: usize| triangle(n) - triangle(n - i);
        (0..n).map(|i| i128::from_le_bytes(sums[place(i)])).collect()
    }

    /// The Hessian of a group, `[columns, columns]`.
    pub fn of_group(&self, group: usize) -> Vec<f64> {
        let n = self.columns;
        let mut whole = vec![0.0; n * n];
        let mut sums = self.sums(group).iter();
        for i in 0..n {
            for (j, &sum) in (i..n).zip(&mut sums) {
                let sum = i128::from_le_bytes(sum) as f64 / (1u64 << 48) as f64;
                (whole[i * n + j], whole[j * n + i]) = (sum, sum);
            }
        }
        whole
    }

    /// Adds another of the same window; `None` for other columns and for sums beyond all bounds.
    pub(super) fn merge(&mut self, other: &Self) -> Option<()> {
        (self.shape() == other.shape()).then_some(())?;
        let mut sums: Vec<[u8; SUM]> = self.sums.as_chunks().0.to_vec();
        for (sum, more) in sums.iter_mut().zip(other.sums.as_chunks().0) {
            let (here, more) = (i128::from_le_bytes(*sum), i128::from_le_bytes(*more));
            *sum = here.checked_add(more)?.to_le_bytes();
        }
        self.sums = sums.into_flattened().into();
        Some(())
    }
}

/// A Hessian, while its rows come in.
#[derive(Debug)]
pub(super) struct Gathering {
    window: Option<Window>,
    /// None before the first rows.
    columns: Option<usize>,
    groups: usize,
    /// As [`Hessian::sums`].
    sums: Vec<[u8; SUM]>,
    /// Rows that wait, each of the columns of all groups.
    rows: Vec<f16>,
}

impl Gathering {
    pub(super) fn new(window: Option<Window>) -> Self {
        let groups = window.as_ref().map_or(1, |window| window.groups);
        Self { window, columns: None, groups, sums: Vec::new(), rows: Vec::new() }
    }

    /// Adds the rows of a tensor of the value `name`, whose columns lie along `axis`.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of columns than before; [`Error::Usage`] for more than
    /// [`MOST_COLUMNS`].
    pub(super) fn add(
        &mut self,
        name: &str,
        x: &[f32],
        shape: &[usize],
        axis: usize,
    ) -> Result<()> {
        let wrong = || {
            let found = format!("its shape {shape:?} is not the one of before, or of its layer");
            Error::input(format!("value `{name}`"), found, "name the one function that is meant")
        };
        let window = self.window.as_ref();
        let taps = window.map_or(Some(1), Window::taps);
        let all = taps.and_then(|taps| shape.get(axis)?.checked_mul(taps)).ok_or_else(wrong)?;
        let groups = self.groups;
        if !all.is_multiple_of(groups) || all == 0 {
            return Err(wrong());
        }
        let columns = all / groups;
        if columns > MOST_COLUMNS {
            return Err(Error::Usage(format!(
                "--hessians: `{name}` has {columns} columns, whose Hessian would take {} MiB, and \
                 {MOST_COLUMNS} columns are the most; choose other values with --hessians=REGEX",
                triangle(columns).saturating_mul(16) >> 20
            )));
        }
        if *self.columns.get_or_insert(columns) != columns {
            return Err(wrong());
        }
        self.sums.resize(groups * triangle(columns), [0; SUM]);
        let mut rounded = vec![f16::ZERO; x.len()];
        rounded.convert_from_f32_slice(x);
        rounded.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = f16::ZERO);
        let (sums, rows) = (&mut self.sums, &mut self.rows);
        let taken = rows::each(&rounded, shape, axis, window, |row| {
            rows.extend_from_slice(row);
            if rows.len() == ROWS * all {
                multiply(columns, groups, rows, sums);
                rows.clear();
            }
        });
        taken.ok_or_else(wrong)
    }

    /// What was gathered; `None` if nothing was.
    pub(super) fn finish(mut self) -> Option<Hessian> {
        let columns = self.columns?;
        multiply(columns, self.groups, &self.rows, &mut self.sums);
        let sums = self.sums.into_flattened().into();
        Some(Hessian { window: self.window, columns, groups: self.groups, sums })
    }
}

/// Adds the products of some rows, at most [`ROWS`].
fn multiply(columns: usize, groups: usize, rows: &[f16], sums: &mut [[u8; SUM]]) {
    for (group, sums) in sums.chunks_exact_mut(triangle(columns)).enumerate() {
        let of_group = rows.chunks_exact(columns).skip(group).step_by(groups);
        let units: Vec<i64> = of_group.flatten().map(|x| tally::units(x.to_bits())).collect();
        let part = |part: fn(i64) -> i64| {
            let part: Vec<f64> = units.iter().map(|&u| part(u) as f64).collect();
            Array2::from_shape_vec((units.len() / columns, columns), part)
        };
        let (Ok(high), Ok(low)) = (part(high_part), part(|u| u - (high_part(u) << LOW))) else {
            unreachable!("rows are whole");
        };
        let mut panels = Vec::new();
        let mut rest = &mut sums[..];
        for start in (0..columns).step_by(PANEL) {
            let end = columns.min(start + PANEL);
            let (panel, behind) =
                rest.split_at_mut(triangle(columns - start) - triangle(columns - end));
            panels.push((start, end, panel));
            rest = behind;
        }
        panels.into_par_iter().for_each(|(start, end, sums)| {
            let product = |terms: &[[&Array2<f64>; 2]]| {
                let mut out = Array2::zeros((end - start, columns - start));
                for [a, b] in terms {
                    let (a, b) = (a.slice(s![.., start..end]), b.slice(s![.., start..]));
                    general_mat_mul(1.0, &a.t(), &b, 1.0, &mut out);
                }
                out
            };
            let highs = product(&[[&high, &high]]);
            let mixed = product(&[[&high, &low], [&low, &high]]);
            let lows = product(&[[&low, &low]]);
            let mut sums = sums.iter_mut();
            for i in 0..end - start {
                for (j, sum) in (i..columns - start).zip(&mut sums) {
                    let [high, mixed, low] = [&highs, &mixed, &lows].map(|m| m[[i, j]] as i128);
                    let more = (high << (2 * LOW)) + (mixed << LOW) + low;
                    *sum = i128::from_le_bytes(*sum).wrapping_add(more).to_le_bytes();
                }
            }
        });
    }
}

/// The upper part of a number, rounded, so that the lower has a sign.
fn high_part(units: i64) -> i64 {
    (units + (1 << (LOW - 1))) >> LOW
}
