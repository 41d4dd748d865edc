//! Which weights share a table, and which stand behind one index.
//!
//! The weight `[O, I, *taps]` is a matrix of `O` rows. A *line* is the weights behind one row of
//! indices: one row of the matrix, or, where vectors run along axis 0, V successive rows.

use crate::quantize::Importance;
use crate::quantize::importance::shares;
use crate::scheme::{self, PaletteGranularity};
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use std::ops::Range;

/// A palette's view of a weight's shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) cols: usize,
    taps: usize,
    /// Weights behind one index.
    pub(super) vector: usize,
    /// The axis of groups and vectors.
    axis: usize,
    /// Channels along the axis that share a table; all of them where the tensor has one table.
    group: usize,
    /// The number of tables.
    pub(super) groups: usize,
}

/// The rectangle of the matrix whose weights share one table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Region {
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { rows, cols } = self;
        write!(f, "rows {}..{}, columns {}..{}", rows.start, rows.end, cols.start, cols.end)
    }
}

impl Region {
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.cols.len()
    }
}

impl Shape {
    /// # Errors
    /// [`Error::Bug`] if groups or vectors do not divide the shape: planning must have seen to it.
    pub(super) fn new(name: &str, scheme: scheme::Palette, shape: &[usize]) -> Result<Self> {
        let bug = |why: &str| Err(Error::bug(name, format!("{scheme:?} of {shape:?}: {why}")));
        let (vector, axis) = (usize::from(scheme.vector), usize::from(scheme.axis));
        if shape.len() < 2 || shape.contains(&0) {
            return bug("only tensors of two dimensions or more, none of them zero, have palettes");
        }
        if !matches!(scheme.bits, 1 | 2 | 3 | 4 | 6 | 8) || !matches!(vector, 1 | 2 | 4) || axis > 1
        {
            return bug("no such palette");
        }
        let group = match scheme.granularity {
            PaletteGranularity::Tensor => shape[axis],
            PaletteGranularity::Group { size } => size as usize,
        };
        if group == 0 || !shape[axis].is_multiple_of(group) || !group.is_multiple_of(vector) {
            return bug("groups and vectors must divide the axis, and vectors the groups");
        }
        Ok(Self {
            rows: shape[0],
            cols: shape[1..].iter().product(),
            taps: shape[2..].iter().product(),
            vector,
            axis,
            group,
            groups: shape[axis] / group,
        })
    }

    /// Whether each table belongs to some rows alone.
    pub(super) fn tables_by_row(&self) -> bool {
        self.axis == 0 && self.groups > 1
    }

    /// Pieces of rows start and end at multiples of this.
    pub(super) fn granule_rows(&self) -> usize {
        if self.tables_by_row() { self.group } else { self.rows_per_line() }
    }

    /// Rows of the matrix behind one row of indices.
    pub(super) fn rows_per_line(&self) -> usize {
        if self.axis == 0 { self.vector } else { 1 }
    }

    /// Indices in one row of indices.
    pub(super) fn codes_per_line(&self) -> usize {
        if self.axis == 0 { self.cols } else { self.cols / self.vector }
    }

    /// Successive indices of a line that share one table.
    pub(super) fn run(&self) -> usize {
        if self.axis == 0 { self.cols } else { self.group / self.vector * self.taps }
    }

    /// Where component `d` of the line's point `p` lies among the line's weights.
    #[inline]
    pub(super) fn position(&self, p: usize, d: usize) -> usize {
        if self.axis == 0 {
            d * self.cols + p
        } else if self.vector == 1 {
            p
        } else {
            (p / self.taps * self.vector + d) * self.taps + p % self.taps
        }
    }

    /// Whole channels of one row, in the order of the planes of a line.
    fn arrange(&self, row: &[f32], planes: &mut [f32]) {
        if self.axis == 0 || self.vector == 1 {
            return planes.copy_from_slice(row);
        }
        let (v, taps, points) = (self.vector, self.taps, row.len() / self.vector);
        for (i, channels) in row.chunks_exact(v * taps).enumerate() {
            for (d, channel) in channels.chunks_exact(taps).enumerate() {
                let start = d * points + i * taps;
                planes[start..start + taps].copy_from_slice(channel);
            }
        }
    }

    /// What the table of group `g` stands for.
    pub(super) fn region(&self, g: usize) -> Region {
        if self.axis == 0 {
            Region { rows: g * self.group..(g + 1) * self.group, cols: 0..self.cols }
        } else {
            let width = self.group * self.taps;
            Region { rows: 0..self.rows, cols: g * width..(g + 1) * width }
        }
    }

    /// The group of the first of these rows, for tables that belong to rows.
    pub(super) fn group_of_row(&self, row: usize) -> usize {
        row / self.group
    }
}

/// One line's weights: what they are, and what meets the table.
#[derive(Default)]
pub(super) struct Line {
    /// The weights, `[V, points]`.
    pub(super) x: Vec<f32>,
    /// The weights divided by their channels' scales; empty where there are none.
    scaled: Vec<f32>,
    /// The importances of the weights of vectors, `[V, points]`; empty where there are none.
    pub(super) importance: Vec<f32>,
    /// The scale of each component; 1 where there is none.
    pub(super) scale: [f32; 4],
    row: Vec<f32>,
}

impl Line {
    /// Reads the line that starts at `row`, of some whole channels `cols`. `scales` are those of
    /// the line's rows, or none.
    pub(super) fn read(
        &mut self,
        weights: &Weights,
        shape: &Shape,
        row: usize,
        cols: Range<usize>,
        scales: &[f16],
        importance: Option<&Importance>,
    ) {
        let v = shape.vector;
        self.x.resize(cols.len() * shape.rows_per_line(), 0.0);
        self.importance.clear();
        if let Some(importance) = importance.filter(|_| v > 1) {
            for row in row..row + shape.rows_per_line() {
                self.row.clear();
                self.row.extend(shares(&importance.row(row)[cols.clone()]));
                let at = self.importance.len();
                self.importance.resize(at + cols.len(), 0.0);
                shape.arrange(&self.row, &mut self.importance[at..]);
            }
        }
        let at = |row: usize| row * shape.cols + cols.start..row * shape.cols + cols.end;
        if shape.axis == 0 || v == 1 {
            for (d, plane) in self.x.chunks_exact_mut(cols.len()).enumerate() {
                weights.decode(at(row + d), plane);
            }
        } else {
            self.row.resize(cols.len(), 0.0);
            weights.decode(at(row), &mut self.row);
            shape.arrange(&self.row, &mut self.x);
        }
        self.scale = [1.0; 4];
        self.scaled.clear();
        if !scales.is_empty() {
            for d in 0..v {
                self.scale[d] = scales[if shape.axis == 0 { d } else { 0 }].to_f32();
            }
            let points = self.x.len() / v;
            for (plane, s) in self.x.chunks_exact(points).zip(self.scale) {
                self.scaled.extend(plane.iter().map(|x| x / s));
            }
        }
    }

    /// What meets the table, `[V, points]`.
    pub(super) fn y(&self) -> &[f32] {
        if self.scaled.is_empty() { &self.x } else { &self.scaled }
    }
}
