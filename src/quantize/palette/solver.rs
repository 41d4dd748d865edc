//! One-dimensional k-means, solved to the global optimum.
//!
//! Sorted values `x₀ < x₁ < …` with weights are cut into `k` runs so that `Σ w (x − mean of its
//! run)²` is least. A run's cost comes from prefix sums in constant time, `Q − S²/W`, and obeys the
//! quadrangle inequality (it is *Monge*). So the least cost is convex in the number of runs, and
//! paying a penalty λ for each run turns the constraint "exactly k" into a search on λ, each
//! step of which is a least-weight subsequence problem, solved from left to right with a queue of
//! candidates.
//!
//! Where no λ gives exactly k runs (a tie: several counts are optimal at one λ), the two optimal
//! paths with fewer and with more runs are crossed where one overtakes the other; by the Monge
//! inequality the crossed path is optimal too.
//!
//! # Sources
//! Aggarwal, Schieber, Tokuyama 1994, "Finding a minimum-weight k-link path in graphs with the
//! concave Monge property" (penalty and exchange); Galil, Park 1990, "A linear-time algorithm for
//! concave one-dimensional dynamic programming" (the queue).

/// Values in strictly ascending order, each with its weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Points {
    /// Finite values, strictly ascending.
    pub(super) x: Vec<f64>,
    /// Positive weights: counts, or counts times importance.
    pub(super) w: Vec<f64>,
}

/// Prefix sums up to one cut, relative to the reference value, and the cheapest way there.
#[derive(Clone, Copy, Default)]
struct Cut {
    /// Σ w.
    w: f64,
    /// Σ w·x.
    s: f64,
    /// Σ w·x².
    q: f64,
    /// Least penalised cost from the first cut to this one.
    d: f64,
}

/// Cost of a run whose ends have these prefix sums.
#[inline(always)]
fn cost(a: &Cut, b: &Cut) -> f64 {
    let s = b.s - a.s;
    ((b.q - a.q) - s * s / (b.w - a.w)).max(0.0)
}

/// Prefix sums of points: what the solver and the table makers ask for sums and costs of runs.
pub(super) struct Sums {
    cuts: Vec<Cut>,
    reference: f64,
}

impl Sums {
    /// Sums run outward from the value nearest to zero, which is also the reference that values
    /// are measured from: floating-point values lie densest there, and the sums of a run are
    /// blurred only by values between it and the reference, never by outliers beyond it.
    pub(super) fn new(points: &Points) -> Self {
        let n = points.x.len();
        let right = points.x.partition_point(|&x| x < 0.0).min(n.saturating_sub(1));
        let nearer = right > 0 && -points.x[right - 1] < points.x[right].abs();
        let start = if nearer { right - 1 } else { right };
        let reference = points.x.get(start).copied().unwrap_or(0.0);
        let mut cuts = vec![Cut::default(); n + 1];
        let terms = |i: usize| {
            let (x, w) = (points.x[i] - reference, points.w[i]);
            (w, w * x, w * x * x)
        };
        for i in start..n {
            let ((w, s, q), at) = (terms(i), cuts[i]);
            cuts[i + 1] = Cut { w: at.w + w, s: at.s + s, q: at.q + q, d: 0.0 };
        }
        for i in (0..start).rev() {
            let ((w, s, q), at) = (terms(i), cuts[i + 1]);
            cuts[i] = Cut { w: at.w - w, s: at.s - s, q: at.q - q, d: 0.0 };
        }
        Self { cuts, reference }
    }

    /// The number of points.
    pub(super) fn len(&self) -> usize {
        self.cuts.len() - 1
    }

    /// The weighted mean of the points `from..to`, which are not none.
    pub(super) fn mean(&self, from: usize, to: usize) -> f64 {
        let (a, b) = (&self.cuts[from], &self.cuts[to]);
        self.reference + (b.s - a.s) / (b.w - a.w)
    }

    /// Σ w over the points `from..to`.
    pub(super) fn weight(&self, from: usize, to: usize) -> f64 {
        self.cuts[to].w - self.cuts[from].w
    }

    /// Σ w·(x − c)² over the points `from..to`.
    pub(super) fn error(&self, from: usize, to: usize, c: f64) -> f64 {
        let (a, b) = (&self.cuts[from], &self.cuts[to]);
        let c = c - self.reference;
        ((b.q - a.q) - 2.0 * c * (b.s - a.s) + c * c * (b.w - a.w)).max(0.0)
    }

    /// The cuts `0 = b₀ < b₁ < … < n` that part the points into `min(k, n)` runs at the least
    /// cost.
    pub(super) fn partition(&mut self, k: usize) -> Vec<u32> {
        let n = self.len();
        if k >= n {
            return (0..=n as u32).collect();
        }
        if k <= 1 {
            return vec![0, n as u32];
        }
        // The right penalty follows from a coarser problem, whose cuts are every r-th of ours
        // (costs stay exact), and which starts from the high-resolution estimate.
        let r = n / (16 * k);
        if r < 2 {
            let guess = density_guess(&self.cuts, k);
            return search::<true>(&mut self.cuts, k, guess).0.bounds;
        }
        let mut coarse: Vec<Cut> = self.cuts[..n].iter().step_by(r).copied().collect();
        coarse.push(self.cuts[n]);
        let guess = density_guess(&coarse, k);
        let (_, guess) = search::<false>(&mut coarse, k, guess);
        search::<true>(&mut self.cuts, k, guess).0.bounds
    }
}

/// The penalty at which about `k` runs are optimal, from the high-resolution limit of the error,
/// `(∫ f^⅓)³ / 12k²` for a density `f` (Panter and Dite 1951), whose slope in `k` the penalty is.
fn density_guess(cuts: &[Cut], k: usize) -> f64 {
    // The span of an interval is taken from its mean and its neighbour's.
    let mean = |i: usize| (cuts[i + 1].s - cuts[i].s) / (cuts[i + 1].w - cuts[i].w);
    let n = cuts.len() - 1;
    let mut integral = 0.0;
    let mut here = mean(0);
    for i in 0..n - 1 {
        let next = mean(i + 1);
        let weight = (cuts[i + 2].w - cuts[i].w) / 2.0;
        integral += (weight * (next - here) * (next - here)).max(0.0).cbrt();
        here = next;
    }
    (integral / k as f64).powi(3) / 6.0
}

/// A way from the first cut to the last.
#[derive(Clone)]
struct Path {
    bounds: Vec<u32>,
    error: f64,
}

impl Path {
    fn runs(&self) -> usize {
        self.bounds.len() - 1
    }
}

/// Rounds that may guess the penalty from the counts seen; later rounds use the slope between the
/// two nearest counts, which either finds a new count or proves a tie.
const GUESSES: usize = 8;

/// The cheapest path of exactly `k` runs, `1 < k < n`, and its penalty. `UNIT`: neighbouring cuts
/// enclose a single point, whose cost is zero.
fn search<const UNIT: bool>(cuts: &mut [Cut], k: usize, guess: f64) -> (Path, f64) {
    let n = cuts.len() - 1;
    let mut steps = Steps { from: vec![0; n + 1], queue: Vec::with_capacity(n) };
    let mut few = Path { bounds: vec![0, n as u32], error: cost(&cuts[0], &cuts[n]) };
    // All points alone, at no cost, stands behind `None`.
    let mut many: Option<Path> = None;
    // Penalties known to give too few and too many runs, with their counts.
    let (mut high, mut low): (Option<f64>, Option<f64>) = (None, None);
    let mut penalty = guess;
    let mut critical = false;
    for round in 0.. {
        let most = many.as_ref().map_or(n, Path::runs);
        let slope = {
            let least = many.as_ref().map_or(0.0, |p| p.error);
            (few.error - least) / (most - few.runs()) as f64
        };
        let usable = |p: f64| p.is_finite() && p > 0.0;
        if !usable(penalty) || round >= GUESSES || most - few.runs() == 2 {
            (penalty, critical) = (slope, true);
        }
        if !usable(penalty) {
            break;
        }
        let path = steps.cheapest::<UNIT>(cuts, penalty);
        let runs = path.runs();
        if runs == k {
            return (steps.sharpened::<UNIT>(cuts, path, penalty), penalty);
        }
        let progress = if runs < k { runs > few.runs() } else { runs < most };
        if critical && !progress {
            break;
        }
        if runs < k {
            high = Some(penalty);
            if progress {
                few = path;
            }
        } else {
            low = Some(penalty);
            if progress {
                many = Some(path);
            }
        }
        // The error falls about as k⁻², so the penalty as k⁻³.
        let next = match (low, high, &many) {
            (Some(low), Some(high), Some(many)) => {
                let (a, b) = ((few.runs() as f64).ln(), (many.runs() as f64).ln());
                let t = ((k as f64).ln() - a) / (b - a);
                let between = high.ln() + t * (low.ln() - high.ln());
                Some(between.exp()).filter(|p| low < *p && *p < high && progress)
            }
            _ => Some(penalty * (runs as f64 / k as f64).powi(3).clamp(1e-6, 1e6)),
        };
        (penalty, critical) = match next {
            Some(next) => (next, false),
            None => (f64::NAN, false),
        };
    }
    let many = many.unwrap_or_else(|| Path { bounds: (0..=n as u32).collect(), error: 0.0 });
    let slope = (few.error - many.error) / (many.runs() - few.runs()) as f64;
    (exchange(&few, &many, k), slope)
}

/// Crosses two paths that are optimal at one penalty into an optimal one of `k` runs, between
/// theirs.
///
/// The crossed path follows `many` for `p` runs, then joins `few` at its cut `q`, where
/// `p + 1 + (few.runs − q) = k`. With the smallest q whose cut is not before `many`'s cut `p + 1`,
/// the joining run overlaps so that the two new runs cost no more than the two old ones.
fn exchange(few: &Path, many: &Path, k: usize) -> Path {
    let offset = k - few.runs() - 1;
    let q = (1..few.bounds.len())
        .find(|&q| many.bounds[q + offset + 1] <= few.bounds[q])
        .expect("both paths end at the last cut");
    let bounds = [&many.bounds[..=q + offset], &few.bounds[q..]].concat();
    // Linear between the two, as both are optimal at the same penalty.
    let share = (k - few.runs()) as f64 / (many.runs() - few.runs()) as f64;
    Path { bounds, error: few.error + share * (many.error - few.error) }
}

/// Scratch of one search.
struct Steps {
    /// The cut before each, on the cheapest path to it.
    from: Vec<u32>,
    /// Candidates for the cut before, each with the first cut that it serves best; ascending in both.
    queue: Vec<(u32, u32)>,
}

impl Steps {
    /// The same problem solved again at a smaller penalty where this one was so large that its
    /// rounding hid differences between costs. With E(k) the least cost of k runs, every penalty
    /// from E(k) − E(k+1) to E(k−1) − E(k) gives k runs, and E(k) itself is above the former.
    fn sharpened<const UNIT: bool>(
        &mut self,
        cuts: &mut [Cut],
        mut path: Path,
        mut penalty: f64,
    ) -> Path {
        while 0.0 < path.error && path.error < penalty {
            penalty = path.error;
            let next = self.cheapest::<UNIT>(cuts, penalty);
            if next.runs() != path.runs() {
                break;
            }
            path = next;
        }
        path
    }

    /// The cheapest path when each run costs `penalty` more; of equal ones, one with long runs.
    fn cheapest<const UNIT: bool>(&mut self, cuts: &mut [Cut], penalty: f64) -> Path {
        let n = cuts.len() - 1;
        let queue = &mut self.queue;
        queue.clear();
        queue.push((0, 1));
        let mut head = 0;
        cuts[0].d = 0.0;
        let run = |cuts: &[Cut], i: usize, j: usize| {
            let cost = cost(&cuts[i], &cuts[j]);
            if UNIT && j - i == 1 { 0.0 } else { cost }
        };
        let to = |cuts: &[Cut], i: usize, j: usize| cuts[i].d + run(cuts, i, j);
        for j in 1..=n {
            while queue.get(head + 1).is_some_and(|next| next.1 as usize <= j) {
                head += 1;
            }
            let i = queue[head].0 as usize;
            cuts[j].d = to(cuts, i, j) + penalty;
            self.from[j] = i as u32;
            if j == n {
                break;
            }
            // From which cut on is j better than the last candidate? Once better, always better.
            let beats = |b: usize, t: usize| to(cuts, j, t) < to(cuts, b, t);
            loop {
                if queue.len() == head {
                    queue.push((j as u32, j as u32 + 1));
                    break;
                }
                let (b, start) = queue[queue.len() - 1];
                let (b, first) = (b as usize, (start as usize).max(j + 1));
                if beats(b, first) {
                    queue.pop();
                    continue;
                }
                // The crossing lies near the last one: gallop, then bisect.
                let (mut below, mut step) = (first, 1);
                let above = loop {
                    let t = (below + step).min(n);
                    if t == below {
                        break None;
                    }
                    if beats(b, t) {
                        break Some(t);
                    }
                    (below, step) = (t, step * 2);
                };
                if let Some(mut above) = above {
                    while above - below > 1 {
                        let middle = below + (above - below) / 2;
                        if beats(b, middle) { above = middle } else { below = middle }
                    }
                    queue.push((j as u32, above as u32));
                }
                break;
            }
        }
        let mut bounds = vec![n as u32];
        let mut error = 0.0;
        let mut j = n;
        while j > 0 {
            let i = self.from[j] as usize;
            error += run(cuts, i, j);
            bounds.push(i as u32);
            j = i;
        }
        bounds.reverse();
        Path { bounds, error }
    }
}

#[cfg(test)]
mod tests;
