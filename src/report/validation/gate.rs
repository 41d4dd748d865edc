//! Thresholds → failures.

use super::{CodesCheck, Figures, NotFinite, OutputCheck, TextCheck, Validation};
use crate::text::{grouped, printable};
use std::fmt;

/// The largest difference between two backends, as a share of the largest output: 2⁻¹⁵ = 3e-5, 512
/// roundings of f32. Both compute the same mathematics from the same stored numbers, and round only
/// in f32. Measured over every architecture and scheme they part by 2.3e-6 at most, by 2.8e-6 behind
/// 28 layers of a thousand channels; and with one channel wrong, its scale doubled or each of its codes
/// a step away, by 4.3e-5 at least where the channel is read at all, of 844 such faults.
const AGREEMENT: f64 = 1.0 / 32_768.0;

/// How far beyond a tie an activation may be rounded to its code, in steps of the code: what
/// [`AGREEMENT`] allows of the 128 steps that a range has above its zero. Numbers that lie nearer to a
/// tie than the roundings of f32 become one of two neighbouring codes, by backend; any other code is a
/// fault. Measured over MiniLM's packages, one code in a million differs, and lies 6e-5 beyond at most;
/// one channel of a weight with its scale doubled, or each of its codes a step away, puts some code further
/// out in every layer of the tests.
const BEYOND_TIE: f64 = 128.0 * AGREEMENT;

/// What a difference is of which no share of the largest element can be told.
pub(super) const BROKEN: &str = "without measure: elements are finite, or not 0, on one side only";

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
        let reaches = |cosine: f64| within(cosine, figures.cosine) && figures.broken == 0;
        if let Some(cosine) = self.min_cosine.filter(|cosine| !reaches(*cosine)) {
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
        for check in &self.agreement {
            if within(check.relative, AGREEMENT) {
                continue;
            }
            let [one, other] = &check.between;
            let by = match check.relative {
                by if by.is_finite() => format!("by {by:.1e} of the largest element"),
                _ => BROKEN.into(),
            };
            let place = place(&check.function, &check.output);
            failed.push(format!("{place}: {one} and {other} differ {by}"));
        }
        for check in self.codes.iter().filter(|check| !within(check.beyond_tie, BEYOND_TIE)) {
            failed.push(check.to_string());
        }
        for broken in &self.not_finite {
            let remedy = match self.against {
                None => "; --against SOURCE tells whether the source's are",
                Some(_) => "",
            };
            failed.push(format!("{broken}{remedy}"));
        }
        for OutputCheck { function, output, figures, .. } in &self.outputs {
            let told = |n: &NotFinite| n.function == *function && n.output == *output;
            if figures.broken > 0 && !self.not_finite.iter().any(told) {
                let (place, broken) = (place(function, output), figures.broken);
                failed.push(format!("{place}: {broken} elements are finite on one side only"));
            }
        }
        if let Some(TextCheck { quantized, source, .. }) = &self.text
            && !quantized.nll.is_finite()
        {
            let theirs = source.map_or("", |source| match source.nll.is_finite() {
                true => ", the source does",
                false => ", nor does the source",
            });
            failed.push(format!("text: the package predicts no finite likelihood{theirs}"));
        }
        failed.extend(self.misses(limits));
        self.failed = failed;
    }

    /// What misses the limits.
    pub fn misses(&self, limits: &Limits) -> Vec<String> {
        let mut failed = vec![];
        let mut miss = |place: &str, misses: Vec<String>| {
            failed.extend(misses.into_iter().map(|miss| format!("{place}: {miss}")));
        };
        for layer in &self.layers {
            let name = printable(&layer.weight);
            for (what, figures) in [("weight", layer.weights), ("layer", layer.outputs)] {
                let misses = figures.map(|figures| limits.misses(&figures));
                miss(&format!("{what} {name}"), misses.unwrap_or_default());
            }
        }
        for output in &self.outputs {
            let place = place(&output.function, &output.output);
            miss(&place, limits.misses(&output.figures));
            // A text says more of a model's predictions than drawn tokens do.
            if let (Some(most), Some(classes), None) = (limits.max_kl, output.classes, &self.text)
                && !within(classes.kl_mean, most)
            {
                miss(&place, vec![format!("mean KL {:.3e}, more than {most}", classes.kl_mean)]);
            }
        }
        let text = self.text.as_ref().and_then(|text| text.classes);
        if let (Some(most), Some(classes)) = (limits.max_kl, text)
            && !within(classes.kl_mean, most)
        {
            miss("text", vec![format!("mean KL {:.3e}, more than {most}", classes.kl_mean)]);
        }
        let compared = self.layers.iter().any(|layer| layer.weights.or(layer.outputs).is_some());
        if !limits.is_empty() && !compared && self.outputs.is_empty() {
            failed.push("nothing was compared with a source; give one with --against".into());
        } else if limits.max_kl.is_some()
            && text.is_none()
            && self.outputs.iter().all(|o| o.classes.is_none())
        {
            let why = "no output is a distribution over classes; name one with --logits";
            failed.push(format!("--max-kl: {why}"));
        }
        failed
    }
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, elements, index, value, backend, .. } = self;
        let place = place(&self.function, &self.output);
        let are = if *count == 1 { "is" } else { "are" };
        write!(
            f,
            "{place}: {count} of {elements} elements {are} not finite on {backend}, the first {value} at {index:?}"
        )?;
        if self.step > 0 { write!(f, " of step {}", self.step) } else { Ok(()) }
    }
}

impl fmt::Display for CodesCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edges, codes, differ, most, beyond_tie, .. } = self;
        let [one, other] = &self.between;
        write!(f, "INT8 activations of {}: ", printable(&self.function))?;
        let (codes, worst) = (grouped(*codes), printable(&self.worst));
        match (*differ, *beyond_tie) {
            (_, by) if !by.is_finite() => {
                write!(f, "{one} and {other} give other codes, `{worst}`")
            }
            (0, _) => write!(f, "{codes} codes of {edges} edges are those of {one} on {other}"),
            (n, by) => write!(
                f,
                "{} of {codes} codes of {edges} edges differ on {one} and {other}, by {most} at most, \
                 {by:.1e} of a step beyond a tie (`{worst}`)",
                grouped(n)
            ),
        }
    }
}

/// Whether x ≤ most: NaN is within nothing.
fn within(x: f64, most: f64) -> bool {
    x <= most
}

fn place(function: &str, output: &str) -> String {
    format!("output {} of {}", printable(output), printable(function))
}
