//! The best mixes, from the smallest to the nearest.
//!
//! Of one weight's candidates, those on the lower convex hull of (bytes, divergence) are worth having:
//! between two of them, each byte takes off less divergence than the bytes before. If the divergences
//! of weights add up, the steps of all hulls in the order of what a byte takes off give, after any
//! number of them, the least divergence for their bytes (Fox 1966, marginal analysis; Shoham and
//! Gersho 1988 allocate bits so). One weight's steps come in their own order, as its hull is convex.

use super::Weight;

/// From one candidate of a weight to a dearer one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Which weight.
    pub weight: usize,
    /// The candidate that it leaves.
    pub from: usize,
    /// The candidate that it takes.
    pub to: usize,
    /// Bytes more, at least one.
    pub bytes: u64,
    /// Divergence less, above zero.
    pub gain: f64,
}

impl Step {
    /// Divergence that each byte takes off.
    pub fn rate(&self) -> f64 {
        self.gain / self.bytes as f64
    }
}

/// The mixes: where all weights begin, and the steps from there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path {
    /// The smallest candidate of each weight; of several that are as small, the nearest.
    pub start: Vec<usize>,
    /// The steps, those that gain most for a byte first.
    pub steps: Vec<Step>,
}

/// The path of weights whose candidates move the model so far, candidate by candidate.
pub fn path(weights: &[Weight], divergences: &[Vec<f64>]) -> Path {
    let mut path = Path::default();
    for (weight, (of, divergences)) in weights.iter().zip(divergences).enumerate() {
        let points: Vec<(u64, f64)> =
            of.candidates.iter().zip(divergences).map(|((_, bytes), d)| (*bytes, *d)).collect();
        let hull = hull(&points);
        path.start.extend(hull.first());
        path.steps.extend(hull.windows(2).map(|ends| {
            let (from, to) = (points[ends[0]], points[ends[1]]);
            // An infinite divergence is left before all others.
            let gain = if from.1.is_infinite() { f64::INFINITY } else { from.1 - to.1 };
            Step { weight, from: ends[0], to: ends[1], bytes: to.0 - from.0, gain }
        }));
    }
    // Stable: of equal steps the first weight's comes first, and its own keep their order.
    path.steps.sort_by(|a, b| b.rate().total_cmp(&a.rate()));
    path
}

impl Path {
    /// The candidates after so many steps.
    pub fn after(&self, steps: usize) -> Vec<usize> {
        let mut chosen = self.start.clone();
        self.steps.iter().take(steps).for_each(|step| chosen[step.weight] = step.to);
        chosen
    }

    /// The candidates after all steps, in their order, that so many more bytes than the start's allow. A weight whose step
    /// does not fit stays where it is; smaller steps of others may follow.
    pub fn within(&self, mut bytes: u64) -> Vec<usize> {
        let mut chosen = self.start.clone();
        for step in &self.steps {
            if chosen[step.weight] == step.from && step.bytes <= bytes {
                bytes -= step.bytes;
                chosen[step.weight] = step.to;
            }
        }
        chosen
    }
}

/// The points of (bytes, divergence) on the lower convex hull, from the fewest bytes to the least
/// divergence.
fn hull(points: &[(u64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].0.cmp(&points[b].0).then(points[a].1.total_cmp(&points[b].1)));
    let rate = |a: usize, b: usize| {
        (points[a].1 - points[b].1) / points[b].0.saturating_sub(points[a].0) as f64
    };
    let mut hull: Vec<usize> = Vec::new();
    for next in order {
        if hull.last().is_some_and(|&last| points[next].1 >= points[last].1) {
            continue;
        }
        while let [.., before, last] = hull[..]
            && rate(before, last) <= rate(last, next)
        {
            hull.pop();
        }
        hull.push(next);
    }
    hull
}
