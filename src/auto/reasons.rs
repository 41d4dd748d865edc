//! Why each weight has its variant.

use super::Subject;
use super::path::{Path, Step};

/// What the step to the next variant would have been worth, beside the least that a step was worth that
/// was taken. Steps cost time, or bytes.
pub(super) fn reasons(
    subject: &Subject,
    path: &Path,
    chosen: &[usize],
    by_time: bool,
) -> Vec<String> {
    // Steps of a weight come in the order of its hull: those up to its variant were taken.
    let mut at = path.start.clone();
    let mut least: Option<&Step> = None;
    let mut next = vec![None; chosen.len()];
    for step in &path.steps {
        if at[step.weight] == chosen[step.weight] {
            next[step.weight].get_or_insert(step);
        } else {
            at[step.weight] = step.to;
            least = Some(step);
        }
    }
    let taken = match least {
        None => "no step was taken".to_owned(),
        Some(least) => {
            format!("steps taken gain {} or more", More::of(least, by_time).rate(least.gain))
        }
    };
    let reason = |(weight, step): (usize, &Option<&Step>)| match step {
        None if subject.weights[weight].variants.len() == 1 => "the only candidate".to_owned(),
        None => "no candidate is nearer".to_owned(),
        Some(step) => {
            let to = subject.weights[weight].variants[step.to].form;
            let more = More::of(step, by_time);
            format!("{to} takes {} more and gains {}; {taken}", more.told(), more.rate(step.gain))
        }
    };
    next.iter().enumerate().map(reason).collect()
}

/// What a step costs.
enum More {
    Bytes(f64),
    Seconds(f64),
}

impl More {
    fn of(step: &Step, by_time: bool) -> Self {
        if by_time { Self::Seconds(step.cost) } else { Self::Bytes(step.cost) }
    }

    fn told(&self) -> String {
        match self {
            Self::Bytes(bytes) => format!("{bytes} bytes"),
            Self::Seconds(seconds) => format!("{:.4} µs", seconds * 1e6),
        }
    }

    fn rate(&self, gain: f64) -> String {
        match self {
            Self::Bytes(bytes) => format!("{:.2e} a KiB", gain / bytes * 1024.0),
            Self::Seconds(seconds) => format!("{:.2e} a µs", gain / seconds * 1e-6),
        }
    }
}
