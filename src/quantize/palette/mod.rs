//! Palettes: `w ≈ table[index]`, times the row's channel scale where there is one.
//!
//! | module | what it does |
//! |---|---|
//! | `shape` | which weights share a table, and which stand behind one index |
//! | `points` | a region's values and how often each occurs |
//! | `solver` | one-dimensional k-means to the global optimum |
//! | `seed`, `vector` | k-means of vectors of 2 and 4: k-means++, then Lloyd |
//! | `table` | centroids → stored entries, FP16 or INT8 |
//! | `assign` | values → indices of the nearest stored entries |
//! | `tally` | error statistics |
//! | `input` | weights that no palette can hold |
//!
//! **What is optimal.** Scalar tables minimise `Σ (w − w̄)²` over all choices of `2^bits` *real*
//! entries. Each entry is then rounded to FP16, which adds `n·δ²` for the `n` weights of an entry
//! moved by δ ≤ 2⁻¹¹ of its value (2⁻²⁵ if that is less than 2⁻¹⁴): never more than 2⁻²² of the signal
//! above 2⁻¹⁴, so at an SQNR of R dB at most `10·log₁₀(1 + 10^(R/10 − 6.62))` dB: 0.01 dB at 40 dB.
//! Indices point to the nearest rounded entry.
//!
//! **Channel scales.** `s = max |row|`, rounded up to FP16 (1 for a row of zeros), so that `y = w / s`
//! is in [−1, 1]. Tables are fitted to `y` with weight `s²`, so the error that is minimised is that of
//! the original weights. Decoded: `f16(table · s)`.
//!
//! **Importances.** Where columns have some, each weight counts as often in all of the above. The index
//! of a scalar is the nearest entry's all the same.
//!
//! **Statistics.** Where a table's values were counted, its errors follow from the counts; those of
//! tables that all rows share are handed out with the piece that holds row 0.

mod assign;
mod decode;
mod input;
mod points;
mod seed;
mod shape;
mod solver;
mod table;
mod tally;
mod vector;

pub(super) use decode::dequantize;

use super::{Encoded, Feedback, Guide, Params};
use crate::metrics::Stats;
use crate::scheme::{self, Entries};
use crate::tensor::{FloatType, Weights};
use crate::{Error, Result};
use assign::Lookup;
use half::f16;
use rayon::prelude::*;
use shape::{Line, Region, Shape};
use solver::{Points, Sums};
use std::ops::Range;
use table::Table;

/// A tensor being quantized with palettes.
pub struct Palette<'a> {
    weights: Weights<'a>,
    scheme: scheme::Palette,
    guide: Guide,
    shape: Shape,
    /// Where all rows share the tables: the tables, the rows' scales, and the statistics.
    shared: Option<Box<Shared>>,
}

struct Shared {
    tables: Vec<Fitted>,
    scales: Vec<f16>,
    /// Statistics of the whole tensor, where they follow from counts.
    stats: Option<Stats>,
    /// For one scalar table and weights of 16 bits: the index of each bit pattern.
    by_bits: Option<Box<[u8; 1 << 16]>>,
}

/// A table and how its indices are found.
struct Fitted {
    table: Table,
    finder: Finder,
    /// The values that it was fitted to, each with its exact count; none where values were binned,
    /// scaled, parts of vectors, or of different importance in a type that is not of 16 bits.
    counts: Option<Points>,
}

enum Finder {
    Scalar(Lookup),
    Pairs(Vec<[f32; 2]>),
    Quads(Vec<[f32; 4]>),
}

/// Weights that one job encodes, about; the bytes do not depend on it.
const BLOCK: usize = 1 << 17;

/// From so many weights on, a table of all 65,536 bit patterns is worth its making.
const BY_BITS_FROM: usize = 1 << 15;

impl<'a> Palette<'a> {
    /// Prepares to quantize; fits the tables that all rows share.
    ///
    /// # Errors
    /// [`Error::Input`] at the first weight that is not finite or beyond FP16's range, if tables are
    /// shared; `unique` where there are more distinct values than entries, or one that FP16 does not
    /// hold. [`Error::Bug`] for a scheme that does not go with the shape.
    pub fn new(weights: Weights<'a>, scheme: scheme::Palette, guide: Guide) -> Result<Self> {
        let shape = Shape::new(weights.name, scheme, weights.shape)?;
        if scheme.unique
            && (scheme.vector > 1 || scheme.channel_scale || scheme.entries == Entries::Int8)
        {
            return Err(Error::bug(weights.name, "unique goes with plain FP16 entries alone"));
        }
        let mut palette = Self { weights, scheme, guide, shape, shared: None };
        if !shape.tables_by_row() {
            palette.shared = Some(Box::new(palette.share()?));
        }
        Ok(palette)
    }

    fn share(&self) -> Result<Shared> {
        let scales = self.channel_scales(0..self.shape.rows)?;
        let one = self.shape.groups == 1;
        let tables: Vec<Result<Fitted>> =
            (0..self.shape.groups).into_par_iter().map(|g| self.fit(g, &scales, one)).collect();
        let mut tables = tables.into_iter().collect::<Result<Vec<_>>>()?;
        let fed = self.feedback().is_some();
        let mut stats = (!fed).then(Stats::default);
        for fitted in &mut tables {
            match (&mut stats, fitted.counts.take()) {
                (Some(stats), Some(counts)) => fitted.tally(&counts, stats),
                _ => stats = None,
            }
        }
        let by_bits = match &tables[..] {
            [Fitted { finder: Finder::Scalar(lookup), .. }]
                if scales.is_empty() && !fed && self.weights.dtype != FloatType::F32 =>
            {
                Some(lookup.by_bits(self.weights.dtype))
            }
            _ => None,
        };
        Ok(Shared { tables, scales, stats, by_bits })
    }

    /// The scales of some rows; none where the scheme has none.
    fn channel_scales(&self, rows: Range<usize>) -> Result<Vec<f16>> {
        if !self.scheme.channel_scale {
            return Ok(Vec::new());
        }
        let cols = self.shape.cols;
        let scale = |row: usize, buffer: &mut Vec<f32>| {
            buffer.resize(cols, 0.0);
            self.weights.decode(row * cols..(row + 1) * cols, buffer);
            // A NaN would not show in a maximum: it is caught by the sum.
            let largest = buffer.iter().fold(0f32, |m, x| m.max(x.abs()));
            let odd = buffer.iter().map(|x| x * 0.0).sum::<f32>().is_nan();
            if odd { f32::NAN } else { largest }
        };
        let largest: Vec<f32> =
            rows.clone().into_par_iter().map_init(Vec::new, |b, r| scale(r, b)).collect();
        if !largest.iter().all(|&x| input::fits(x)) {
            return Err(self.refusal(&Region { rows, cols: 0..cols }));
        }
        let up = |x: f32| {
            let near = f16::from_f32(x);
            if near.to_f32() < x { f16::from_bits(near.to_bits() + 1) } else { near }
        };
        Ok(largest.into_iter().map(|x| if x == 0.0 { f16::ONE } else { up(x) }).collect())
    }

    /// The error for a region that holds a weight which no palette can.
    fn refusal(&self, region: &Region) -> Error {
        // Shared tables see columns of the whole matrix: its first such weight is the one to name.
        let all = Region { rows: 0..self.shape.rows, cols: 0..self.shape.cols };
        let region = if self.shape.tables_by_row() { region } else { &all };
        match input::check(&self.weights, region) {
            Err(error) => error,
            Ok(()) => Error::bug(self.weights.name, "a weight was refused and then found sound"),
        }
    }

    /// Fits the table of one group. `scales` are those of its rows, or none.
    fn fit(&self, group: usize, scales: &[f16], parallel: bool) -> Result<Fitted> {
        let (weights, region) = (&self.weights, self.shape.region(group));
        let (bits, entries) = (self.scheme.bits, self.scheme.entries);
        let importance = self.guide.importance.as_deref();
        let largest_scale = scales.iter().fold(0f32, |m, s| m.max(s.to_f32()));
        let limit = (input::FP16_MAX / largest_scale).min(input::FP16_MAX);
        if self.shape.vector > 1 {
            input::check(weights, &region).map_err(|_| self.refusal(&region))?;
            let (weights, shape) = (*weights, self.shape);
            let source = vector::Source { weights, shape, region, scales, group, importance };
            let found = match self.shape.vector {
                2 => source.entries::<2>(1 << bits).0,
                _ => source.entries::<4>(1 << bits).0,
            };
            let table = Table::vectors(&found, entries, limit);
            return Ok(Fitted::new(table, self.shape.vector, None));
        }
        if self.scheme.unique {
            let points = self.distinct(&region)?;
            let table = Table::of_values(&points.x, bits);
            return Ok(Fitted::new(table, 1, Some(points)));
        }
        let halves = scales.is_empty() && weights.dtype != FloatType::F32;
        let points = if halves {
            points::of_halves(weights, &region, importance, parallel)
        } else {
            points::of_floats(weights, &region, scales, importance, parallel)
        };
        let points = points.ok_or_else(|| self.refusal(&region))?;
        let mut sums = Sums::new(&points);
        let cuts = sums.partition(1 << bits);
        let table = Table::scalar(&sums, &points.x, &cuts, bits, entries, limit);
        let exact = halves || scales.is_empty() && region.len() <= points::SORTED_LIMIT;
        let counts = match importance {
            None => exact.then_some(points),
            Some(_) if halves => points::of_halves(weights, &region, None, parallel),
            Some(_) => None,
        };
        // Counts tell errors only where each value has the nearest entry.
        let counts = counts.filter(|_| self.feedback().is_none());
        Ok(Fitted::new(table, 1, counts))
    }

    /// The distinct values of a region, which a table of this many bits can hold exactly.
    fn distinct(&self, region: &Region) -> Result<Points> {
        let place = || format!("tensor `{}`", self.weights.name);
        let points = points::of_exact_halves(&self.weights, region).map_err(|e| match e {
            None => self.refusal(region),
            Some((index, x)) => Error::input(
                format!("{}, element {index}", place()),
                format!("{x:e} is not an FP16 number, so no FP16 table holds it exactly"),
                "leave out `unique`, or convert the weights to FP16 first",
            ),
        })?;
        let (found, bits) = (points.x.len(), self.scheme.bits);
        if found > 1 << bits {
            let group = if self.shape.groups > 1 { format!(" in {region}") } else { String::new() };
            let enough = [2, 3, 4, 6, 8].into_iter().find(|&b| found <= 1 << b);
            let remedy = match enough {
                Some(enough) => format!("palette-{enough},unique holds them"),
                None => "no palette does, the largest holds 256: leave out `unique`".into(),
            };
            let found = format!(
                "{found} distinct values{group}, more than the {} of palette-{bits}",
                1 << bits
            );
            return Err(Error::input(place(), found, remedy));
        }
        Ok(points)
    }

    pub(super) fn granule_rows(&self) -> usize {
        self.shape.granule_rows()
    }

    pub(super) fn code_len(&self, rows: usize) -> usize {
        rows / self.shape.rows_per_line() * self.shape.codes_per_line()
    }

    pub(super) fn shared(&self) -> Params {
        let mut params = Params::default();
        for fitted in self.shared.iter().flat_map(|s| &s.tables) {
            fitted.table.append_to(&mut params);
        }
        params
    }

    pub(super) fn encode(&self, rows: Range<usize>, codes: &mut [u8]) -> Result<Encoded> {
        self.check_rows(&rows, codes.len())?;
        match &self.shared {
            Some(shared) => Ok(self.encode_shared(shared, rows, codes)),
            None => self.encode_groups(rows, codes),
        }
    }

    fn check_rows(&self, rows: &Range<usize>, codes: usize) -> Result<()> {
        let granule = self.granule_rows();
        let whole = rows.start.is_multiple_of(granule)
            && rows.end.is_multiple_of(granule)
            && rows.end <= self.shape.rows;
        if !whole || rows.start > rows.end || codes != self.code_len(rows.len()) {
            let why = format!("{codes} codes for rows {rows:?} of {:?}", self.shape);
            return Err(Error::bug(self.weights.name, why));
        }
        Ok(())
    }

    fn encode_shared(&self, shared: &Shared, rows: Range<usize>, codes: &mut [u8]) -> Encoded {
        let mut params = Params::default();
        if !shared.scales.is_empty() {
            params.channel_scale = shared.scales[rows.clone()].to_vec();
        }
        // Statistics that belong to all rows go with the first.
        let given = shared.stats.as_ref().filter(|_| rows.start == 0);
        let mut stats = given.cloned().unwrap_or_default();
        if let Some(by_bits) = &shared.by_bits {
            let start = rows.start * self.shape.cols;
            codes.par_chunks_mut(BLOCK).enumerate().for_each(|(i, codes)| {
                let start = start + i * BLOCK;
                assign::by_table(self.weights.slice(start..start + codes.len()), by_bits, codes);
            });
            return Encoded { params, stats };
        }
        let step = self.shape.rows_per_line();
        let lines = (BLOCK / (self.shape.cols * step)).max(1);
        let parts: Vec<Stats> = codes
            .par_chunks_mut(lines * self.shape.codes_per_line())
            .enumerate()
            .map(|(i, codes)| {
                let first = rows.start + i * lines * step;
                self.encode_lines(
                    &shared.tables,
                    &shared.scales,
                    0,
                    first,
                    codes,
                    shared.stats.is_none(),
                )
            })
            .collect();
        parts.iter().for_each(|part| stats.merge(part));
        Encoded { params, stats }
    }

    fn encode_groups(&self, rows: Range<usize>, codes: &mut [u8]) -> Result<Encoded> {
        let first = self.shape.group_of_row(rows.start);
        let parts: Vec<Result<Encoded>> = codes
            .par_chunks_mut(self.code_len(self.granule_rows()))
            .enumerate()
            .map(|(i, codes)| self.encode_group(first + i, codes))
            .collect();
        let mut all = Encoded { params: Params::default(), stats: Stats::default() };
        for part in parts {
            let part = part?;
            all.params.append(&part.params);
            all.stats.merge(&part.stats);
        }
        Ok(all)
    }

    /// Fits and encodes one group of rows.
    fn encode_group(&self, group: usize, codes: &mut [u8]) -> Result<Encoded> {
        let region = self.shape.region(group);
        let scales = self.channel_scales(region.rows.clone())?;
        let fitted = self.fit(group, &scales, false)?;
        let mut params = Params::default();
        fitted.table.append_to(&mut params);
        let mut stats = Stats::default();
        if let Some(counts) = &fitted.counts {
            fitted.tally(counts, &mut stats);
        }
        match &fitted.finder {
            Finder::Scalar(lookup)
                if self.weights.dtype != FloatType::F32
                    && scales.is_empty()
                    && self.feedback().is_none()
                    && codes.len() >= BY_BITS_FROM =>
            {
                let start = region.rows.start * self.shape.cols;
                let bytes = self.weights.slice(start..start + codes.len());
                assign::by_table(bytes, &lookup.by_bits(self.weights.dtype), codes);
            }
            _ => {
                let (first, tally) = (region.rows.start, fitted.counts.is_none());
                let tables = std::slice::from_ref(&fitted);
                stats.merge(&self.encode_lines(tables, &scales, first, first, codes, tally));
            }
        }
        params.channel_scale = scales;
        Ok(Encoded { params, stats })
    }

    /// Encodes successive lines from row `first` on, as many as `codes` holds. `scales` start at row
    /// `scales_from`. Returns their statistics if `tally` asks for them.
    fn encode_lines(
        &self,
        tables: &[Fitted],
        scales: &[f16],
        scales_from: usize,
        first: usize,
        codes: &mut [u8],
        tally: bool,
    ) -> Stats {
        let (step, run) = (self.shape.rows_per_line(), self.shape.run());
        let mut stats = tally::Tally::new(&self.shape);
        let mut line = Line::default();
        let output = match self.feedback() {
            Some(feedback) => self.feed_back(feedback, tables, scales, scales_from, first, codes),
            None => [0.0; 2],
        };
        for (i, codes) in codes.chunks_exact_mut(self.shape.codes_per_line()).enumerate() {
            let row = first + i * step;
            let of_line = if scales.is_empty() {
                scales
            } else {
                &scales[row - scales_from..row - scales_from + step]
            };
            let importance = self.guide.importance.as_deref();
            line.read(&self.weights, &self.shape, row, 0..self.shape.cols, of_line, importance);
            if self.feedback().is_none() {
                for (j, (codes, fitted)) in codes.chunks_exact_mut(run).zip(tables).enumerate() {
                    fitted.find(&line, &self.shape, j * run, codes);
                }
            }
            if tally {
                stats.add(&line, codes, tables.iter().map(|t| &t.table), row);
            }
        }
        Stats { output, ..stats.finish() }
    }

    /// How errors are fed back; vectors and exact values are found without.
    fn feedback(&self) -> Option<&Feedback> {
        let one_by_one = self.scheme.vector == 1 && !self.scheme.unique;
        self.guide.feedback.as_deref().filter(|_| one_by_one)
    }

    /// Chooses indices with errors fed back, of the rows that [`Self::encode_lines`] encodes; the output's
    /// squared errors, before and after.
    fn feed_back(
        &self,
        feedback: &Feedback,
        tables: &[Fitted],
        scales: &[f16],
        scales_from: usize,
        first: usize,
        codes: &mut [u8],
    ) -> [f64; 2] {
        let (run, cols) = (self.shape.run(), self.shape.cols);
        let mut x = vec![0.0; codes.len()];
        self.weights.decode(first * cols..first * cols + codes.len(), &mut x);
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        let scale: Vec<f32> = match scales {
            [] => vec![1.0; codes.len() / cols],
            _ => scales[first - scales_from..].iter().map(|scale| scale.to_f32()).collect(),
        };
        let pick = |row: usize, col: usize, x: f64| {
            let fitted = &tables[if tables.len() == 1 { 0 } else { col / run }];
            let Finder::Scalar(lookup) = &fitted.finder else {
                unreachable!("vectors are found without feedback")
            };
            let index = lookup.index((x / f64::from(scale[row])) as f32);
            let value = fitted.table.values[usize::from(index)].to_f32() * scale[row];
            (index, f16::from_f32(value).to_f64())
        };
        feedback.assign(self.shape.rows, first, &x, &pick, codes)
    }

    pub(super) fn decode(
        &self,
        rows: Range<usize>,
        codes: &[u8],
        params: &Params,
        out: &mut [f16],
    ) -> Result<()> {
        self.check_rows(&rows, codes.len())?;
        let shared;
        let tables = if self.shared.is_some() {
            shared = self.shared();
            &shared
        } else {
            params
        };
        decode::rows(&self.shape, self.scheme, codes, tables, &params.channel_scale, out)
            .map_err(|why| Error::bug(self.weights.name, format!("{why}, rows {rows:?}")))
    }
}

impl Fitted {
    fn new(table: Table, vector: usize, counts: Option<Points>) -> Self {
        fn entries<const V: usize>(table: &Table) -> Vec<[f32; V]> {
            let entry = |e: &[f16]| std::array::from_fn(|d| e[d].to_f32());
            table.values.chunks_exact(V).map(entry).collect()
        }
        let finder = match vector {
            1 => Finder::Scalar(Lookup::new(&table.values)),
            2 => Finder::Pairs(entries(&table)),
            _ => Finder::Quads(entries(&table)),
        };
        Self { table, finder, counts }
    }

    /// Adds the statistics of counted values.
    fn tally(&self, counts: &Points, stats: &mut Stats) {
        let Finder::Scalar(lookup) = &self.finder else { return };
        let indices = lookup.indices_of_ascending(&counts.x);
        for ((&x, &w), index) in counts.x.iter().zip(&counts.w).zip(indices) {
            let decoded = self.table.values[usize::from(index)].to_f32();
            stats.add_weighted(x as f32, decoded, w as u64);
            stats.add_code(index, w as u64);
        }
    }

    /// The indices of the points of a line from `start` on.
    fn find(&self, line: &Line, shape: &Shape, start: usize, codes: &mut [u8]) {
        match &self.finder {
            Finder::Scalar(lookup) => {
                for (code, &y) in codes.iter_mut().zip(&line.y()[start..]) {
                    *code = lookup.index(y);
                }
            }
            Finder::Pairs(entries) => find_vectors(entries, line, shape, start, codes),
            Finder::Quads(entries) => find_vectors(entries, line, shape, start, codes),
        }
    }
}

fn find_vectors<const V: usize>(
    entries: &[[f32; V]],
    line: &Line,
    shape: &Shape,
    start: usize,
    codes: &mut [u8],
) {
    let (mut index, mut distance) = (vec![0; codes.len()], vec![0.0; codes.len()]);
    let s = vector::scales_of(line, shape);
    let planes = vector::Planes {
        y: &line.y()[start..],
        importance: line.importance.get(start..).unwrap_or_default(),
        stride: shape.codes_per_line(),
    };
    vector::nearest(planes, entries, s, &mut index, &mut distance);
    codes.iter_mut().zip(index).for_each(|(code, index)| *code = index as u8);
}

#[cfg(test)]
mod tests;
