//! Thresholds → failures.

use super::{Figures, Validation};
use crate::text::printable;

/// The largest difference between two backends, as a share of the largest output: sums of many
/// products in f32 differ by their order.
const AGREEMENT: f64 = 1e-4;

/// What must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Each compressed weight, each layer and each output must reach this cosine.
    pub min_cosine: Option<f64>,
    /// Each of them must reach this SQNR in dB; what is exact passes.
    pub min_sqnr_db: Option<f64>,
    /// The mean KL of each output that is a distribution must not pass this, in nats.
    pub max_kl: Option<f64>,
}

impl Limits {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What figures miss.
    fn misses(&self, figures: &Figures) -> Vec<String> {
        let mut misses = vec![];
        if let Some(db) = self.min_sqnr_db.filter(|db| figures.rank_db() < *db) {
            let is = figures.sqnr_db.map_or("no SQNR".into(), |is| format!("{is:.2} dB"));
            misses.push(format!("{is}, less than {db} dB"));
        }
        // Not `<`: a cosine that is NaN passes nothing.
        if let Some(cosine) =
            self.min_cosine.filter(|cosine| !(figures.cosine >= *cosine) || figures.broken > 0)
        {
            misses.push(format!("cosine {:.6}, less than {cosine}", figures.cosine));
        }
        misses
    }
}

impl Validation {
    /// Everything that fails: findings, backends that part, outputs that are no longer finite, and
    /// figures beyond the limits.
    pub fn judge(&mut self, limits: &Limits) {
        let mut failed = self.findings.clone();
        let mut miss = |place: String, misses: Vec<String>| {
            failed.extend(misses.into_iter().map(|miss| format!("{place}: {miss}")));
        };
        for layer in &self.layers {
            let name = printable(&layer.weight);
            let weights = layer.weights.iter().flat_map(|figures| limits.misses(figures)).collect();
            miss(format!("weight {name}"), weights);
            let outputs = layer.outputs.iter().flat_map(|figures| limits.misses(figures)).collect();
            miss(format!("layer {name}"), outputs);
        }
        for output in &self.outputs {
            let place =
                format!("output {} of {}", printable(&output.output), printable(&output.function));
            let mut misses = limits.misses(&output.figures);
            if output.figures.broken > 0 {
                let broken = output.figures.broken;
                misses.push(format!("{broken} elements are finite on one side only"));
            }
            let kl = output.classes.map(|classes| classes.kl_mean);
            if let (Some(most), Some(kl)) = (limits.max_kl, kl)
                && !(kl <= most)
            {
                misses.push(format!("mean KL {kl:.3e}, more than {most}"));
            }
            miss(place, misses);
        }
        for check in self.agreement.iter().filter(|check| !(check.relative <= AGREEMENT)) {
            let [one, other] = &check.between;
            let place =
                format!("output {} of {}", printable(&check.output), printable(&check.function));
            let by = format!(
                "{one} and {other} differ by {:.1e} of the largest element",
                check.relative
            );
            miss(place, vec![by]);
        }
        if limits.max_kl.is_some() && !self.outputs.iter().any(|output| output.classes.is_some()) {
            let why = "no output is a distribution over classes; name one with --logits";
            miss("--max-kl".into(), vec![why.into()]);
        }
        let compared = self.layers.iter().any(|layer| layer.weights.or(layer.outputs).is_some());
        if !limits.is_empty() && !compared && self.outputs.is_empty() {
            let why = "nothing was compared with a source; give one with --against";
            miss("the limits".into(), vec![why.into()]);
        }
        self.failed = failed;
    }
}
