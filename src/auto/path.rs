//! The best mixes, from the smallest to the nearest.
//!
//! Of one weight's variants, those on the lower convex hull of (cost, divergence) are worth having:
//! between two of them, each unit of cost takes off less divergence than those before. If the
//! divergences of weights add up, the steps of all hulls in the order of what a unit takes off give,
//! after any number of them, the least divergence for their cost (Fox 1966, marginal analysis; Shoham
//! and Gersho 1988 allocate bits so). One weight's steps come in their own order, as its hull is
//! convex. Cost is bytes, or time.

/// From one variant of a weight to a dearer one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Which weight.
    pub weight: usize,
    /// The variant that it leaves.
    pub from: usize,
    /// The variant that it takes.
    pub to: usize,
    /// What it costs more, above zero.
    pub cost: f64,
    /// Divergence less, above zero.
    pub gain: f64,
}

impl Step {
    /// Divergence that each unit of cost takes off.
    pub fn rate(&self) -> f64 {
        self.gain / self.cost
    }
}

/// The mixes: where all weights begin, and the steps from there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path {
    /// The cheapest variant of each weight; of several that are as cheap, the nearest.
    pub start: Vec<usize>,
    /// The steps, those that gain most for what they cost first.
    pub steps: Vec<Step>,
}

/// The path of weights whose variants cost so much, and move the model so far.
pub fn path(costs: &[Vec<f64>], divergences: &[Vec<f64>]) -> Path {
    let mut path = Path::default();
    for (weight, (costs, divergences)) in costs.iter().zip(divergences).enumerate() {
        let points: Vec<(f64, f64)> =
            costs.iter().copied().zip(divergences.iter().copied()).collect();
        let hull = hull(&points);
        path.start.extend(hull.first());
        path.steps.extend(hull.windows(2).map(|ends| {
            let (from, to) = (points[ends[0]], points[ends[1]]);
            // An infinite divergence is left before all others.
            let gain = if from.1.is_infinite() { f64::INFINITY } else { from.1 - to.1 };
            Step { weight, from: ends[0], to: ends[1], cost: to.0 - from.0, gain }
        }));
    }
    // Stable: of equal steps the first weight's comes first, and its own keep their order.
    path.steps.sort_by(|a, b| b.rate().total_cmp(&a.rate()));
    path
}

impl Path {
    /// The variants after so many steps.
    pub fn after(&self, steps: usize) -> Vec<usize> {
        let mut chosen = self.start.clone();
        self.steps.iter().take(steps).for_each(|step| chosen[step.weight] = step.to);
        chosen
    }

    /// The variants after all steps, in their order, that so much more cost than the start's allows. A
    /// weight whose step does not fit stays where it is; smaller steps of others may follow.
    pub fn within(&self, mut cost: f64) -> Vec<usize> {
        let mut chosen = self.start.clone();
        for step in &self.steps {
            if chosen[step.weight] == step.from && step.cost <= cost {
                cost -= step.cost;
                chosen[step.weight] = step.to;
            }
        }
        chosen
    }
}

/// The points of (cost, divergence) on the lower convex hull, from the least cost to the least
/// divergence.
fn hull(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    let before = |a: &(f64, f64), b: &(f64, f64)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    order.sort_by(|&a, &b| before(&points[a], &points[b]));
    let rate = |a: usize, b: usize| (points[a].1 - points[b].1) / (points[b].0 - points[a].0);
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
