//! The output stage: sums become codes in one go.

use super::Affine;
use std::fmt;

/// A function of each number in place.
pub type Function = Box<dyn Fn(&mut [f32]) + Send + Sync>;

/// What happens to the sums S of a layer's channels, in f32 operations of this order:
///
/// 1. `v = S · rescale + shift`, two roundings (and that of S to f32);
/// 2. with a function, `v = f(v)`, then `v / scale` of the output; without one, `rescale` and `shift`
///    are in steps of the output already;
/// 3. `clamp(round(v) + zero_point, low, high)`, half to even. NaN becomes the zero point.
pub struct Stage {
    /// By channel: `x.scale · w.scale`, by the output's scale where there is no function.
    pub(crate) rescale: Vec<f32>,
    /// By channel: the bias, in the same unit.
    pub(crate) shift: Vec<f32>,
    /// The smallest and the largest code.
    pub(crate) range: [i8; 2],
    /// What the codes stand for.
    pub(crate) to: Affine,
    pub(crate) function: Option<Function>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rescale, shift, range, to, function } = self;
        let mut shown = f.debug_struct("Stage");
        shown.field("rescale", rescale).field("shift", shift).field("range", range);
        shown.field("to", to).field("function", &function.is_some()).finish()
    }
}

impl Stage {
    /// A stage for channels whose sums are multiples of `units`, with a bias each, and codes between
    /// `range[0]` and `range[1]`.
    ///
    /// Where a factor or what is added is not finite in steps of the output, numbers are divided by its
    /// scale one by one, as with a function.
    ///
    /// # Panics
    /// If there is another number of biases than of units, or a range without a code.
    pub fn new(
        units: &[f64],
        bias: Option<&[f32]>,
        function: Option<Function>,
        to: Affine,
        range: [i8; 2],
    ) -> Self {
        assert!(bias.is_none_or(|bias| bias.len() == units.len()), "a bias for each channel");
        assert!(range[0] <= range[1], "codes from {} to {}", range[0], range[1]);
        let by = |step: f64| -> [Vec<f32>; 2] {
            let bias = |i: usize| bias.map_or(0.0, |bias| f64::from(bias[i]));
            let shift = (0..units.len()).map(|i| (bias(i) / step) as f32);
            [units.iter().map(|unit| (unit / step) as f32).collect(), shift.collect()]
        };
        if function.is_none() {
            let [rescale, shift] = by(to.scale.into());
            if rescale.iter().chain(&shift).all(|x| x.is_finite()) {
                return Self { rescale, shift, range, to, function };
            }
        }
        let [rescale, shift] = by(1.0);
        let function = function.or_else(|| Some(Box::new(|_| ())));
        Self { rescale, shift, range, to, function }
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.rescale.len()
    }

    /// The code for a sum of a channel.
    pub fn code(&self, channel: usize, sum: i32) -> i8 {
        let mut v = [sum as f32 * self.rescale[channel] + self.shift[channel]];
        if let Some(function) = &self.function {
            function(&mut v);
            v[0] /= self.to.scale;
        }
        self.round(v[0])
    }

    /// The codes for numbers that are no sums: steps 2 and 3 alone, the numbers divided by the output's
    /// scale in any case.
    pub fn finish(&self, numbers: &mut [f32], codes: &mut [i8]) {
        if let Some(function) = &self.function {
            function(numbers);
        }
        for (code, number) in codes.iter_mut().zip(numbers) {
            *code = self.round(*number / self.to.scale);
        }
    }

    /// The code for a number in steps of the output.
    fn round(&self, steps: f32) -> i8 {
        let [low, high] = self.range.map(i64::from);
        let steps = steps.round_ties_even() as i64;
        steps.saturating_add(self.to.zero_point.into()).clamp(low, high) as i8
    }
}
