//! The solver against dynamic programmes that know neither penalties nor prefix tricks.

use super::{Points, Sums};
use half::f16;

/// Exact costs of runs of FP16 values with integer weights: all sums are integers in units of
/// 2⁻²⁴, and only the last division rounds.
pub(super) struct Exact {
    cuts: Vec<[i128; 3]>,
}

impl Exact {
    pub(super) fn new(points: &Points) -> Self {
        let mut cuts = vec![[0i128; 3]];
        for (x, w) in points.x.iter().zip(&points.w) {
            let (x, w) = ((x * 16_777_216.0) as i128, *w as i128);
            let [a, b, c] = cuts[cuts.len() - 1];
            cuts.push([a + w, b + w * x, c + w * x * x]);
        }
        Self { cuts }
    }

    /// In units of 2⁻⁴⁸.
    pub(super) fn cost(&self, i: usize, j: usize) -> f64 {
        let [w, s, q] = [0, 1, 2].map(|m| self.cuts[j][m] - self.cuts[i][m]);
        // Q − S²/W = Q − S·⌊S/W⌋ − S·r/W; the first two terms are exact integers.
        let (whole, rest) = (s.div_euclid(w), s.rem_euclid(w));
        let top = (q - s * whole) * w - s * rest;
        top as f64 / w as f64
    }

    pub(super) fn total(&self, bounds: &[u32]) -> f64 {
        bounds.windows(2).map(|b| self.cost(b[0] as usize, b[1] as usize)).sum()
    }

    fn len(&self) -> usize {
        self.cuts.len() - 1
    }
}

/// Least cost of `k` runs by the plain O(k·n²) programme.
fn plain(exact: &Exact, k: usize) -> f64 {
    let n = exact.len();
    let mut best: Vec<f64> = (0..=n).map(|j| if j == 0 { 0.0 } else { exact.cost(0, j) }).collect();
    for _ in 1..k {
        let last = best.clone();
        for j in 1..=n {
            best[j] = (1..j).map(|i| last[i] + exact.cost(i, j)).fold(last[j], f64::min);
        }
    }
    best[n]
}

/// Least cost of `k` runs by divide and conquer, O(k·n·log n): only the order of the best cuts is
/// assumed.
pub(super) fn conquer(exact: &Exact, k: usize) -> f64 {
    fn fill(exact: &Exact, last: &[f64], best: &mut [f64], j: (usize, usize), i: (usize, usize)) {
        if j.0 > j.1 {
            return;
        }
        let middle = (j.0 + j.1) / 2;
        let mut found = (f64::INFINITY, i.0);
        let tried = i.0..=i.1.min(middle - 1);
        for (cut, before) in tried.clone().zip(&last[tried]) {
            let value = before + exact.cost(cut, middle);
            if value < found.0 {
                found = (value, cut);
            }
        }
        best[middle] = found.0;
        fill(exact, last, best, (j.0, middle - 1), (i.0, found.1));
        fill(exact, last, best, (middle + 1, j.1), (found.1, i.1));
    }
    let n = exact.len();
    let mut best: Vec<f64> = (0..=n).map(|j| if j == 0 { 0.0 } else { exact.cost(0, j) }).collect();
    for runs in 2..=k {
        let last = best.clone();
        best.fill(f64::INFINITY);
        fill(exact, &last, &mut best, (runs, n), (runs - 1, n - 1));
    }
    best[n]
}

/// A small generator: the tests need no quality, only the same numbers every time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn points(values: impl IntoIterator<Item = f64>) -> Points {
    let mut values: Vec<f64> =
        values.into_iter().map(|x| f16::from_f64(x).to_f64() + 0.0).collect();
    values.sort_by(f64::total_cmp);
    let mut points = Points::default();
    for x in values {
        if points.x.last() == Some(&x) {
            *points.w.last_mut().expect("as long as x") += 1.0;
        } else {
            points.x.push(x);
            points.w.push(1.0);
        }
    }
    points
}

/// Kinds of data that have broken solvers.
fn kinds(n: usize, dice: &mut Dice) -> Vec<(&'static str, Points)> {
    let mut make = |name: &'static str, f: &mut dyn FnMut(&mut Dice) -> f64| {
        (name, points((0..n).map(|_| f(dice)).collect::<Vec<_>>()))
    };
    let mut step = 0.0;
    vec![
        make("gaussian", &mut |d| d.normal() * 0.02),
        make("uniform", &mut |d| d.unit()),
        make("heavy tail", &mut |d| d.normal() * 0.02 / (d.unit() + 1e-3)),
        make("few values", &mut |d| d.below(20) as f64 - 7.0),
        make("equal-count grid", &mut |_| {
            step += 1.0;
            step
        }),
        make("quantized to 4 bits", &mut |d| (d.normal() * 3.0).round() * 0.11),
        make("quantized to 8 bits", &mut |d| (d.normal() * 40.0).round() * 0.0017),
        make("with ±65504", &mut |d| match d.below(9) {
            0 => 65504.0,
            1 => -65504.0,
            _ => d.normal() * 0.02,
        }),
        make("near ±65504 and near 0", &mut |d| match d.below(3) {
            0 => 65504.0 - 32.0 * d.below(6) as f64,
            1 => -65504.0 + 32.0 * d.below(6) as f64,
            _ => d.below(30) as f64 * 5.960_464_477_539_063e-8,
        }),
        make("subnormal", &mut |d| d.below(900) as f64 * 5.960_464_477_539_063e-8),
        make("far from zero", &mut |d| 1000.0 + d.normal()),
        make("powers of two", &mut |d| {
            (2f64).powi(d.below(30) as i32 - 20) * if d.below(2) == 0 { 1.0 } else { -1.0 }
        }),
        make("two clumps", &mut |d| d.normal() * 0.01 + if d.below(2) == 0 { -1.0 } else { 1.0 }),
    ]
}

fn check(name: &str, points: &Points, k: usize, want: f64) {
    let exact = Exact::new(points);
    let bounds = Sums::new(points).partition(k);
    let n = points.x.len();
    assert_eq!(bounds.len() - 1, k.min(n), "{name}, {n} values, k = {k}");
    assert!(bounds.windows(2).all(|b| b[0] < b[1]), "{name}: cuts ascend");
    assert_eq!((bounds[0], bounds[k.min(n)]), (0, n as u32), "{name}: all points are in runs");
    let got = exact.total(&bounds);
    assert!(got <= want * (1.0 + 1e-12), "{name}, {n} values, k = {k}: {got} > {want}");
}

#[test]
fn small_problems_are_solved_as_well_as_by_the_plain_programme() {
    let mut dice = Dice(1);
    for n in [1, 2, 3, 5, 9, 17, 33, 80] {
        for _ in 0..6 {
            for (name, points) in kinds(n, &mut dice) {
                let exact = Exact::new(&points);
                for k in [1, 2, 3, 4, 5, 7, 8, 16, 31, 64] {
                    let k_used = k.min(points.x.len());
                    check(name, &points, k, plain(&exact, k_used));
                }
            }
        }
    }
}

#[test]
fn large_problems_are_solved_as_well_as_by_divide_and_conquer() {
    let mut dice = Dice(2);
    for n in [700, 6000] {
        for (name, points) in kinds(n, &mut dice) {
            let exact = Exact::new(&points);
            for k in [2, 3, 4, 8, 15, 16, 64, 256] {
                let k_used = k.min(points.x.len());
                check(name, &points, k, conquer(&exact, k_used));
            }
        }
    }
}

#[test]
fn ties_are_solved_by_exchange() {
    // On a grid of equal counts, runs of lengths m and m + 1 tie: most k have no penalty.
    for n in [7, 12, 30, 64, 100] {
        let points = points((0..n).map(|i| i as f64));
        let exact = Exact::new(&points);
        for k in 1..=n {
            check("grid", &points, k, plain(&exact, k));
        }
    }
}

#[test]
fn exchange_joins_two_paths_where_one_overtakes_the_other() {
    let few = super::Path { bounds: vec![0, 5, 10], error: 4.0 };
    let many = super::Path { bounds: vec![0, 2, 4, 6, 8, 10], error: 1.0 };
    assert_eq!(super::exchange(&few, &many, 3).bounds, [0, 2, 5, 10]);
    assert_eq!(super::exchange(&few, &many, 4).bounds, [0, 2, 4, 6, 10]);
}
