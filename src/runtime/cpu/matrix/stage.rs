//! The output stage of integer products on vectors.

use super::kernel::{Dot, ROWS, Simd};
use crate::runtime::integer;

/// An [`integer::Stage`] whose channels are padded to whole panels.
#[derive(Debug)]
pub struct Stage {
    stage: integer::Stage,
    rescale: Vec<f32>,
    shift: Vec<f32>,
    /// The ends of the range and the zero point, in steps.
    ends: [f32; 2],
    zero: f32,
}

impl From<integer::Stage> for Stage {
    fn from(stage: integer::Stage) -> Self {
        let padded = |numbers: &[f32]| {
            let mut padded = numbers.to_vec();
            padded.resize(numbers.len().next_multiple_of(ROWS), 0.0);
            padded
        };
        let zero = f32::from(stage.to.zero_point);
        let ends = stage.range.map(|end| f32::from(end) - zero);
        let (rescale, shift) = (padded(&stage.rescale), padded(&stage.shift));
        Self { stage, rescale, shift, ends, zero }
    }
}

impl Stage {
    /// Output channels.
    pub fn channels(&self) -> usize {
        self.stage.channels()
    }

    /// As [`integer::Stage::finish`].
    pub fn finish(&self, numbers: &mut [f32], codes: &mut [i8]) {
        self.stage.finish(numbers, codes);
    }

    /// The codes of a panel's sums, row by row.
    #[inline(always)]
    pub(super) fn codes<D: Dot, const M: usize>(
        &self,
        d: D,
        panel: usize,
        sums: &[[i32; ROWS]; M],
    ) -> [[i8; ROWS]; M] {
        let s = d.simd();
        let at = panel * ROWS;
        let row = |all: &[f32]| s.get(all[at..].first_chunk().expect("whole panels"));
        let (rescale, shift) = (row(&self.rescale), row(&self.shift));
        let mut steps = [[0.0; ROWS]; M];
        for (steps, sums) in steps.iter_mut().zip(sums) {
            let sums = s.number(s.load(bytemuck::cast_ref(sums)));
            s.put(s.add(s.mul(sums, rescale), shift), steps);
        }
        if let Some(function) = &self.stage.function {
            let steps = steps.as_flattened_mut();
            function(steps);
            let scale = self.stage.to.scale;
            for step in steps {
                *step /= scale;
                *step = if step.is_nan() { 0.0 } else { *step };
            }
        }
        let ends = self.ends.map(|end| s.splat(end));
        let mut codes = [[0; ROWS]; M];
        for (codes, steps) in codes.iter_mut().zip(&steps) {
            let steps = s.least(s.most(s.get(steps), ends[0]), ends[1]);
            s.nearest(steps, self.zero, codes);
        }
        codes
    }
}
