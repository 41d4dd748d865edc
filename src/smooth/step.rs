//! What is done about one value.

use std::collections::BTreeSet;

/// One value and the columns of the layers that read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The value, by name.
    pub value: String,
    /// The layers that read it divided, by name.
    pub layers: BTreeSet<String>,
    /// What it is divided by, a power of two for each column.
    pub factors: Vec<f32>,
    /// Weights whose columns are multiplied, and weights whose rows are divided, by number.
    pub scaled: BTreeSet<Scaled>,
    /// Whether a multiplication must be put in behind the value.
    pub inserted: bool,
}

/// A weight that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scaled {
    /// Which.
    pub weight: usize,
    /// Its axis that has the factors.
    pub axis: usize,
    /// Whether it is divided by them.
    pub divided: bool,
    /// How the axis has them.
    pub repeat: Repeat,
}

/// How the channels of a value lie along an axis of a weight: `block` of them, `times` over, then
/// the next `block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repeat {
    /// Channels that stand together.
    pub block: usize,
    /// How often they stand.
    pub times: usize,
}

impl Repeat {
    /// Each channel once.
    pub const ONCE: Self = Self { block: 1, times: 1 };

    /// The channel at a place along the axis.
    pub fn channel(self, place: usize) -> usize {
        let Self { block, times } = self;
        place / (block * times) * block + place % block
    }
}

impl Scaled {
    /// What the axis is multiplied by, place by place, for these factors of the value's channels.
    pub fn multipliers(&self, factors: &[f32]) -> Vec<f32> {
        let of = |place| {
            let factor = factors[self.repeat.channel(place)];
            if self.divided { 1.0 / factor } else { factor }
        };
        (0..factors.len() * self.repeat.times).map(of).collect()
    }
}
