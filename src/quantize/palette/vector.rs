//! Vector palettes: Lloyd's algorithm on all points, in threads, from k-means++ seeds.
//!
//! Points are read line by line from the weights as stored and never held all at once. They are
//! processed in blocks of lines whose size follows from the shape alone, and sums of blocks are
//! joined in order, so the result depends neither on threads nor on pieces. Large regions are first
//! brought to rest on every n-th line, then moved by a few rounds on all. Unlike in one dimension, the
//! result is a local optimum.

use super::seed::{Random, plus_plus};
use super::shape::{Line, Region, Shape};
use crate::quantize::Importance;
use crate::tensor::Weights;
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// Points whose distances are computed side by side.
const TILE: usize = 128;

/// Points in a block, about.
const BLOCK: usize = 1 << 15;

/// Rounds stop when one lowers the error by less than this share, or after [`ROUNDS`].
const TOLERANCE: f64 = 1e-5;
const ROUNDS: usize = 100;

/// Regions of more points come to rest on a subset of about so many, whose lines are evenly spaced,
/// and see all their points in only so many rounds.
const SUBSET: usize = 1 << 18;
const ROUNDS_ON_ALL: usize = 3;

/// Rounds without gain that are allowed while empty clusters are moved to the worst points.
const PATIENCE: usize = 2;

/// Up to so many points, k-means++ is tried with four seeds and the best kept.
const RETRY_LIMIT: usize = 1 << 15;

/// Points, component by component.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    /// `[V, n]`.
    pub(super) y: &'a [f32],
    /// As many importances, or none.
    pub(super) importance: &'a [f32],
    /// From plane to plane.
    pub(super) stride: usize,
}

/// Fills `index` with the nearest entry of each point, the lower of two equally near, and
/// `distance` with its squared distance, `Σ (s_d·y_d − s_d·c_d)²`, each term times its importance.
///
/// `entries` are `[P, V]`, `s` the components' scales.
pub(super) fn nearest<const V: usize>(
    planes: Planes,
    entries: &[[f32; V]],
    s: [f32; V],
    index: &mut [u32],
    distance: &mut [f32],
) {
    match planes.importance {
        [] => nearest_of::<V, false>(planes, entries, s, index, distance),
        _ => nearest_of::<V, true>(planes, entries, s, index, distance),
    }
}

fn nearest_of<const V: usize, const WEIGHTED: bool>(
    Planes { y, importance, stride }: Planes,
    entries: &[[f32; V]],
    s: [f32; V],
    index: &mut [u32],
    distance: &mut [f32],
) {
    let n = index.len();
    let plain = s == [1.0; V];
    let scaled: Vec<[f32; V]>;
    let entries = if plain {
        entries
    } else {
        scaled = entries.iter().map(|c| std::array::from_fn(|d| s[d] * c[d])).collect();
        &scaled
    };
    let mut start = 0;
    while start < n {
        let len = TILE.min(n - start);
        // Local tiles: the compiler sees that nothing overlaps, and vectorises over points.
        let mut tile = [[0f32; TILE]; V];
        for (d, tile) in tile.iter_mut().enumerate() {
            let at = d * stride + start;
            tile[..len].copy_from_slice(&y[at..at + len]);
            if !plain {
                tile.iter_mut().for_each(|y| *y *= s[d]);
            }
        }
        let mut often = [[0f32; TILE]; V];
        if WEIGHTED {
            for (d, often) in often.iter_mut().enumerate() {
                let at = d * stride + start;
                often[..len].copy_from_slice(&importance[at..at + len]);
            }
        }
        let mut best = [f32::INFINITY; TILE];
        let mut found = [0u32; TILE];
        for (c, entry) in entries.iter().enumerate() {
            for p in 0..TILE {
                let mut sum = 0.0;
                for d in 0..V {
                    let e = tile[d][p] - entry[d];
                    sum += if WEIGHTED { often[d][p] * (e * e) } else { e * e };
                }
                let nearer = sum < best[p];
                best[p] = if nearer { sum } else { best[p] };
                found[p] = if nearer { c as u32 } else { found[p] };
            }
        }
        index[start..start + len].copy_from_slice(&found[..len]);
        distance[start..start + len].copy_from_slice(&best[..len]);
        start += len;
    }
}

/// Where points come from: the lines of a region.
pub(super) struct Source<'a> {
    pub(super) weights: Weights<'a>,
    pub(super) shape: Shape,
    pub(super) region: Region,
    /// Scales of the region's rows, or none.
    pub(super) scales: &'a [f16],
    /// The table's number, part of the seed.
    pub(super) group: usize,
    /// Of the weights, where they have some.
    pub(super) importance: Option<&'a Importance>,
}

/// Sums of one block, or of all.
struct Sums<const V: usize> {
    /// Σ u·y and Σ u of each cluster and component.
    moments: Vec<[[f64; 2]; V]>,
    error: f64,
    /// The point farthest from its centroid, and its distance.
    worst: (f32, [f32; V]),
}

impl Source<'_> {
    fn points_per_line(&self) -> usize {
        self.region.len() / self.lines() / self.shape.vector
    }

    fn lines(&self) -> usize {
        self.region.rows.len() / self.shape.rows_per_line()
    }

    /// Ranges of the lines that are multiples of `every`, by their number among them.
    fn blocks(&self, every: usize) -> Vec<Range<usize>> {
        let lines = (BLOCK / self.points_per_line()).max(1);
        let all = self.lines().div_ceil(every);
        (0..all).step_by(lines).map(|start| start..all.min(start + lines)).collect()
    }

    fn read(&self, line: usize, into: &mut Line) {
        let step = self.shape.rows_per_line();
        let row = self.region.rows.start + line * step;
        let scales = if self.scales.is_empty() {
            self.scales
        } else {
            &self.scales[line * step..(line + 1) * step]
        };
        let cols = self.region.cols.clone();
        into.read(&self.weights, &self.shape, row, cols, scales, self.importance);
    }

    /// `k` entries, `[P, V]`, and the error they were left with. All weights are finite.
    pub(super) fn entries<const V: usize>(&self, k: usize) -> (Vec<f32>, f64) {
        let points = self.lines() * self.points_per_line();
        let attempts = if points <= RETRY_LIMIT { 4 } else { 1 };
        let mut best: Option<(Vec<[f32; V]>, f64)> = None;
        for attempt in 0..attempts {
            let mut random = Random::new(self.weights.name, self.group, attempt);
            let sample = self.sample::<V>((16 * k).max(256), &mut random);
            let mut start = plus_plus(&sample, k, &mut random);
            let every = (points / SUBSET).min(self.lines() / 64).max(1);
            if every > 1 {
                start = self.lloyd(start, every, ROUNDS).0;
            }
            let found = self.lloyd(start, 1, if every > 1 { ROUNDS_ON_ALL } else { ROUNDS });
            if best.as_ref().is_none_or(|best| found.1 < best.1) {
                best = Some(found);
            }
        }
        let (mut entries, error) = best.expect("at least one attempt");
        entries.sort_by(|a, b| {
            let orders = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
            orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        (entries.concat(), error)
    }

    /// Some points, drawn with replacement by line and column; all of them where there are no more.
    fn sample<const V: usize>(&self, wanted: usize, random: &mut Random) -> Vec<[f32; V]> {
        use rand::Rng;
        let (lines, per_line) = (self.lines(), self.points_per_line());
        let mut picks: Vec<usize> = if lines * per_line <= wanted {
            (0..lines * per_line).collect()
        } else {
            (0..wanted).map(|_| random.random_range(0..lines * per_line)).collect()
        };
        picks.sort_unstable();
        let mut line = Line::default();
        let mut held = None;
        picks
            .into_iter()
            .map(|pick| {
                if held != Some(pick / per_line) {
                    self.read(pick / per_line, &mut line);
                    held = Some(pick / per_line);
                }
                std::array::from_fn(|d| line.y()[d * per_line + pick % per_line])
            })
            .collect()
    }

    /// Rounds of assignment and means until they no longer help; the best state seen.
    fn lloyd<const V: usize>(
        &self,
        mut centroids: Vec<[f32; V]>,
        every: usize,
        rounds: usize,
    ) -> (Vec<[f32; V]>, f64) {
        let mut best = (centroids.clone(), f64::INFINITY);
        let mut idle = 0;
        for _ in 0..rounds {
            let (sums, mut worst) = self.assign(&centroids, every);
            let gain = best.1 - sums.error;
            if gain > 0.0 {
                best = (centroids.clone(), sums.error);
            }
            let mut reseeded = false;
            for (centroid, moments) in centroids.iter_mut().zip(&sums.moments) {
                if moments[0][1] > 0.0 {
                    *centroid = moments.map(|[sum, weight]| (sum / weight) as f32);
                } else if let Some((_, point)) = worst.pop() {
                    *centroid = point;
                    reseeded = true;
                }
            }
            // A moved centroid may need a few rounds to pay.
            idle = if gain > TOLERANCE * sums.error { 0 } else { idle + 1 };
            if best.1 == 0.0 || idle > if reseeded { PATIENCE } else { 0 } {
                break;
            }
        }
        let last = self.assign(&centroids, every).0.error;
        if last < best.1 { (centroids, last) } else { best }
    }

    /// Assigns all points: sums over all, and the worst point of each block, the worst last.
    fn assign<const V: usize>(
        &self,
        centroids: &[[f32; V]],
        every: usize,
    ) -> (Sums<V>, Vec<(f32, [f32; V])>) {
        let parts: Vec<Sums<V>> = self
            .blocks(every)
            .into_par_iter()
            .map(|lines| self.assign_block(lines, every, centroids))
            .collect();
        let mut total = Sums {
            moments: vec![[[0.0; 2]; V]; centroids.len()],
            error: 0.0,
            worst: (0.0, [0.0; V]),
        };
        let mut worst: Vec<_> = parts.iter().map(|p| p.worst).filter(|w| w.0 > 0.0).collect();
        worst.sort_by(|a, b| a.0.total_cmp(&b.0));
        for part in parts {
            total.error += part.error;
            for (total, more) in total.moments.iter_mut().zip(part.moments) {
                for (total, more) in total.iter_mut().zip(more) {
                    *total = [total[0] + more[0], total[1] + more[1]];
                }
            }
        }
        (total, worst)
    }

    fn assign_block<const V: usize>(
        &self,
        lines: Range<usize>,
        every: usize,
        centroids: &[[f32; V]],
    ) -> Sums<V> {
        let n = self.points_per_line();
        let mut line = Line::default();
        let (mut index, mut distance) = (vec![0; n], vec![0.0; n]);
        let mut sums = Sums {
            moments: vec![[[0.0; 2]; V]; centroids.len()],
            error: 0.0,
            worst: (0.0, [0.0; V]),
        };
        for at in lines {
            self.read(at * every, &mut line);
            let s: [f32; V] = scales_of(&line, &self.shape);
            // An error counts as that of the original weight.
            let u = s.map(|s| f64::from(s * s));
            let y = line.y();
            let importance = &line.importance[..];
            let planes = Planes { y, importance, stride: n };
            nearest(planes, centroids, s, &mut index, &mut distance);
            for (p, (&c, &e)) in index.iter().zip(&distance).enumerate() {
                let moments = &mut sums.moments[c as usize];
                for d in 0..V {
                    let often = importance.get(d * n + p).map_or(1.0, |&often| f64::from(often));
                    let u = u[d] * often;
                    moments[d][0] += u * f64::from(y[d * n + p]);
                    moments[d][1] += u;
                }
                sums.error += f64::from(e);
                if e > sums.worst.0 {
                    sums.worst = (e, std::array::from_fn(|d| y[d * n + p]));
                }
            }
        }
        sums
    }
}

/// The channel's scale of each component. Along axis 1 all components are of one channel.
pub(super) fn scales_of<const V: usize>(line: &Line, shape: &Shape) -> [f32; V] {
    std::array::from_fn(|d| line.scale[if shape.rows_per_line() > 1 { d } else { 0 }])
}

#[cfg(test)]
mod tests {
    use super::super::seed::Point;
    use super::*;
    use crate::scheme::{self, Entries, PaletteGranularity};
    use crate::tensor::FloatType;

    fn bytes(n: usize) -> Vec<u8> {
        let mut state = 3u64;
        let mut unit = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..n)
            .map(|_| ((0..6).map(|_| unit()).sum::<f32>() - 3.0) * 0.02)
            .flat_map(f32::to_le_bytes)
            .collect()
    }

    #[test]
    fn the_nearest_entry_is_found_and_the_lower_of_two() {
        let planes = [0.0, 1.0, 2.0, 0.5, 9.0, 0.0, 0.0, 0.0, 0.0, 9.0];
        let entries = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [10.0, 10.0]];
        let (mut index, mut distance) = ([0; 5], [0.0; 5]);
        let planes = Planes { y: &planes, importance: &[], stride: 5 };
        nearest(planes, &entries, [1.0, 1.0], &mut index, &mut distance);
        assert_eq!(index, [0, 1, 1, 0, 3]);
        assert_eq!(distance, [0.0, 0.0, 1.0, 0.25, 2.0]);
        nearest(planes, &entries, [0.0, 1.0], &mut index, &mut distance);
        assert_eq!(index, [0, 0, 0, 0, 3], "a component without weight does not count");
        let importance = [1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0];
        let entries = [[0.0, 0.0], [9.0, 1.0]];
        let planes = Planes { importance: &importance, ..planes };
        nearest(planes, &entries, [1.0, 1.0], &mut index, &mut distance);
        assert_eq!(index, [0, 0, 0, 0, 1]);
        assert_eq!(distance, [0.0, 1.0, 4.0, 0.25, 9.0 * 64.0]);
    }

    #[test]
    fn our_rounds_end_no_worse_than_the_crate_that_seeds_them() {
        let bytes = bytes(64 * 96);
        let weights = Weights { name: "w", dtype: FloatType::F32, shape: &[64, 96], bytes: &bytes };
        let palette = scheme::Palette {
            bits: 4,
            granularity: PaletteGranularity::Tensor,
            vector: 2,
            axis: 0,
            entries: Entries::F16,
            channel_scale: false,
            unique: false,
        };
        let shape = Shape::new("w", palette, weights.shape).unwrap();
        let source = Source {
            weights,
            shape,
            region: shape.region(0),
            scales: &[],
            group: 0,
            importance: None,
        };
        let (entries, error) = source.entries::<2>(16);
        assert_eq!(entries.len(), 32);
        let points: Vec<Point<2>> = source
            .sample::<2>(usize::MAX, &mut Random::new("w", 0, 0))
            .into_iter()
            .map(Point)
            .collect();
        assert_eq!(points.len(), 64 * 96 / 2);
        let theirs = kmeans_colors::get_kmeans(16, 100, 1e-9, false, &points, 5);
        let distance = |(p, &i): (&Point<2>, &u8)| {
            use kmeans_colors::Calculate;
            f64::from(Point::difference(p, &theirs.centroids[usize::from(i)]))
        };
        let their_error: f64 = points.iter().zip(&theirs.indices).map(distance).sum();
        assert!(error <= their_error * 1.01, "{error} against {their_error}");
    }
}
