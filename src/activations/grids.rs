//! Statistics → the scale and zero point of each quantized value.

use super::{Given, Zero};
use crate::calibrate::{Grid, Moments, Observer, Statistics, Symmetry};
use crate::graph::{Flow, ValueId};
use std::collections::BTreeMap;

/// What an asymmetric grid must gain for it to be taken, in dB: it costs a sum of weights a channel, and
/// half of the 6 dB that a range on one side of zero would gain.
const WORTH: f64 = 3.0;

/// The grid of every value of each group that was seen: one grid a group.
pub(super) fn choose(
    flow: &Flow<'_>,
    groups: &[Vec<ValueId>],
    given: Given<'_>,
) -> BTreeMap<ValueId, Grid> {
    let (observer, zero) = given.how.ranges();
    let mut grids = BTreeMap::new();
    for group in groups {
        let names = group.iter().map(|&id| flow.function.value(id).name.as_str());
        let seen = names.filter_map(|name| given.calibration.values.get(name));
        let all = Statistics::together(seen.map(|entry| &entry.statistics));
        if let Some(grid) = grid(&all, observer, zero) {
            grids.extend(group.iter().map(|&id| (id, grid)));
        }
    }
    grids
}

/// The grid of what was counted; `None` if there was no finite number.
fn grid(statistics: &Statistics, observer: Observer, zero: Zero) -> Option<Grid> {
    let of = |symmetry| Some(Grid::of(observer.range(statistics, symmetry)?, symmetry));
    let symmetric = of(Symmetry::Symmetric)?;
    if zero == Zero::Symmetric {
        return Some(symmetric);
    }
    let asymmetric = of(Symmetry::Asymmetric)?;
    let moments = Moments::of(&statistics.counts());
    let gain = moments.sqnr_db(asymmetric) - moments.sqnr_db(symmetric);
    match zero {
        Zero::Auto if gain.is_nan() || gain < WORTH => Some(symmetric),
        _ => Some(asymmetric),
    }
}
