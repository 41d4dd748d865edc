//! Columns → powers of two.

/// The largest exponent either way: a norm's gains and a layer's weights are within FP16's range then,
/// unless they were near its end before.
const MOST: i32 = 6;

/// `2^round(log₂ s)` for `s = x^α / w^(1−α)` of each column over its geometric mean, from the sizes of
/// activations (or of what makes them) and weights. A column that is zero on either side is left alone.
pub(super) fn choose(activations: &[f64], weights: &[f64], alpha: f64) -> Vec<f32> {
    let log = |(&x, &w): (&f64, &f64)| {
        (x > 0.0 && w > 0.0).then(|| alpha * x.log2() - (1.0 - alpha) * w.log2())
    };
    let logs: Vec<Option<f64>> = activations.iter().zip(weights).map(log).collect();
    let known: Vec<f64> = logs.iter().copied().flatten().collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let exponent = |log: &Option<f64>| match log {
        Some(log) => ((log - mean).round() as i32).clamp(-MOST, MOST),
        None => 0,
    };
    logs.iter().map(|log| 2f32.powi(exponent(log))).collect()
}

/// Of these further factors as much as keeps the product with those so far within bounds.
pub(super) fn within(so_far: &[f32], more: &[f32]) -> Vec<f32> {
    let most = 2f32.powi(MOST);
    let each = so_far.iter().zip(more);
    each.map(|(&all, &more)| (all * more).clamp(1.0 / most, most) / all).collect()
}

/// The largest of these over their median; 1 for none.
pub(super) fn spread(columns: &[f64]) -> f64 {
    let mut sorted = columns.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(&median), Some(&largest)) if median > 0.0 => largest / median,
        _ => 1.0,
    }
}
