//! `quantize calibrate`: activations, counted.

use super::args::Global;
use super::data::{self, Counting};
use super::screen;
use clap::Args;
use rayon::prelude::*;
use regex::Regex;
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twolane::calibrate::{Calibration, Data, Entry, Grid, Model, Moments, Observer};
use twolane::calibrate::{Range, Statistics, Symmetry};
use twolane::execute::replace_file;
use twolane::text::{Column, Table, grouped};
use twolane::{Error, Result};

/// Activations, counted.
#[derive(Args, Debug)]
#[command(
    override_usage = "quantize calibrate [OPTIONS] PACKAGE DATA --out FILE\n       \
                      quantize calibrate [OPTIONS] --merge FILE... [--out FILE]",
    after_help = "\
Counted are the values that linear, conv, matmul, add, pooling and concat take and give, rounded to
FP16, while the package runs on the CPU. All counts are integers: files of parts of the data, merged,
are the file of the whole.

DATA is a text file, for which the tokenizer.json beside the package is needed: an encoder is fed
each line, a language model windows of its context. Or it is a .safetensors or .npz file of the
function's inputs, with samples along the first axis. Or a folder of PNGs and JPEGs, which become
inputs as the model's preprocessor_config.json beside the package says.

Shown, worst first, is each value's range, and what INT8 codes on it cost: `dB` is 10 log10(signal / squared
error), of a symmetric grid and of an asymmetric one; `clipped` is the share of numbers outside;
`columns` is how much larger the largest column is than the median one (root mean square), for
values that meet a weight.

Examples:
  quantize calibrate minilm-float16/ sentences.txt --out minilm.calibration.safetensors
  quantize calibrate resnet-float16/ pictures/ --out resnet.calibration.safetensors
  quantize calibrate digits.mlpackage images.safetensors --function fc1_weight --out fc1.safetensors
  quantize calibrate --merge part1.safetensors part2.safetensors --out whole.safetensors
  quantize calibrate --merge whole.safetensors --observer percentile:99.99 --json"
)]
pub(crate) struct Calibrate {
    /// A package, or an output folder of quantize; best one in float
    #[arg(required_unless_present = "merge")]
    pub(crate) package: Option<PathBuf>,
    /// A text file, a .safetensors or .npz file of named inputs, or a folder of images
    #[arg(required_unless_present = "merge")]
    pub(crate) data: Option<PathBuf>,
    /// Where the counts go
    #[arg(short, long, value_name = "FILE", required_unless_present = "merge")]
    pub(crate) out: Option<PathBuf>,
    /// Merge the counts of one model on several data; of a single file, show them
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["package", "data", "function"])]
    pub(crate) merge: Vec<PathBuf>,
    /// The function that takes images, or the rows of a .safetensors or .npz file [default: the
    /// package's]
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Also record Σxxᵀ of the layers' inputs, which --gptq quantizes by; of those values alone whose
    /// names match REGEX. A value of n columns takes 8·n² bytes, and 8192 columns are the most
    #[arg(long, value_name = "REGEX", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with = "merge")]
    pub(crate) hessians: Option<Regex>,
    /// How ranges are chosen: mse (least squared error), min-max, moving-average (mean of the samples'
    /// extremes), percentile:99.99 of |x|, or entropy [default: mse]
    #[arg(long, value_name = "WHICH")]
    pub(crate) observer: Option<Observer>,
    /// Whose ranges and clipped share are shown: symmetric or asymmetric [default: symmetric]
    #[arg(long, value_name = "GRID")]
    pub(crate) grid: Option<Symmetry>,
}

/// Counts or merges, writes the counts, and shows what follows from them.
pub(super) fn run(args: &Calibrate, global: &Global) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.out {
        // Before the work, which may take hours.
        check_folder(path)?;
    }
    let counted = match (&args.package, &args.data) {
        (Some(package), Some(data)) => {
            let (function, hessians) = (args.function.as_deref(), args.hessians.as_ref());
            let counting = Counting { function, hessians, quiet: global.quiet, beside: None };
            data::count(package, data, counting)?
        }
        _ => merge(args)?,
    };
    if let Some(path) = &args.out {
        let write = counted.write()?;
        replace_file(path, &write)?;
    }
    let observer = args.observer.unwrap_or_default();
    let symmetry = args.grid.unwrap_or(Symmetry::Symmetric);
    if global.json {
        screen::write_json(&Document::of(&counted, observer))?;
    } else if !global.quiet {
        let mut told = table(&Document::of(&counted, observer), symmetry);
        if let Some(path) = &args.out {
            told.push_str(&format!("wrote {}\n", path.display()));
        }
        screen::write(told.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that a file can be put where this path leads.
fn check_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => {
            let found =
                format!("--out {}: there is no folder {}", path.display(), folder.display());
            Err(Error::Usage(format!("{found}; make it first")))
        }
    }
}

/// All files as one.
fn merge(args: &Calibrate) -> Result<Calibration> {
    let mut files = args.merge.iter();
    let first = files.next().ok_or_else(|| Error::bug("--merge", "names no file"))?;
    let mut merged = Calibration::read(first)?;
    for file in files {
        merged.merge(Calibration::read(file)?)?;
    }
    Ok(merged)
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Document<'a> {
    model: &'a Model,
    data: &'a [Data],
    observer: String,
    values: Vec<Value<'a>>,
}

/// One value.
#[derive(serde::Serialize)]
struct Value<'a> {
    name: &'a str,
    made_by: &'a str,
    read_by: &'a [String],
    numbers: u64,
    /// NaN, or beyond FP16.
    non_finite: u64,
    /// The least and the largest number; null where none is finite, as is what follows.
    extremes: Option<Range>,
    symmetric: Option<Coded>,
    asymmetric: Option<Coded>,
    /// The largest column's root mean square over the median one's; null where the value meets no
    /// weight.
    columns: Option<f64>,
}

/// A range, and what INT8 codes on it cost.
#[derive(serde::Serialize)]
struct Coded {
    range: Range,
    grid: Grid,
    /// Numbers outside the range.
    clipped: u64,
    /// Null for no error.
    sqnr_db: f64,
}

impl<'a> Document<'a> {
    fn of(counted: &'a Calibration, observer: Observer) -> Self {
        let value = |(name, entry): (&'a String, &'a Entry)| {
            let statistics = &entry.statistics;
            let counts = statistics.counts();
            let moments = Moments::of(&counts);
            let coded = |symmetry| {
                let range = observer.range(statistics, symmetry)?;
                let grid = Grid::of(range, symmetry);
                let is_outside = |x: f64| !(range.low..=range.high).contains(&x);
                let clipped = counts.iter().filter(|(x, _)| is_outside(*x)).map(|(_, n)| n).sum();
                Some(Coded { range, grid, clipped, sqnr_db: moments.sqnr_db(grid) })
            };
            let extremes = counts.first().zip(counts.last());
            Value {
                name,
                made_by: &entry.made_by,
                read_by: &entry.read_by,
                numbers: statistics.numbers(),
                non_finite: statistics.non_finite(),
                extremes: extremes.map(|(low, high)| Range { low: low.0, high: high.0 }),
                symmetric: coded(Symmetry::Symmetric),
                asymmetric: coded(Symmetry::Asymmetric),
                columns: largest_column(statistics),
            }
        };
        Self {
            model: &counted.model,
            data: &counted.data,
            observer: observer.to_string(),
            values: counted.values.par_iter().map(value).collect(),
        }
    }
}

/// The largest column's root mean square over the median one's.
fn largest_column(statistics: &Statistics) -> Option<f64> {
    let mut squares = statistics.squares();
    squares.sort_by(f64::total_cmp);
    let median = *squares.get(squares.len() / 2)?;
    let largest = *squares.last()?;
    (median > 0.0).then(|| (largest / median).sqrt())
}

/// About five digits.
fn shown_number(x: f64) -> String {
    match x {
        0.0 => "0".into(),
        x if x.abs() < 0.01 => format!("{x:.2e}"),
        x => format!("{x:.4}"),
    }
}

/// What was counted, worst first.
fn table(document: &Document<'_>, symmetry: Symmetry) -> String {
    let Document { model, data, observer, values } = document;
    let samples: u64 = data.iter().map(|data| data.samples).sum();
    let files = data.iter().map(|data| data.file.as_str());
    let mut told =
        format!("{model} on {}: {} samples\n", twolane::text::listed(files), grouped(samples));
    let mut shown = Table::new(vec![
        Column::left("value").shrink_to(16),
        Column::left("made by → read by").cut_to(12),
        Column::right("min"),
        Column::right("max"),
        Column::right(format!("{observer} range")),
        Column::right("clipped").optional(),
        Column::right("dB"),
        Column::right("asymm. dB"),
        Column::right("columns").optional(),
    ]);
    let decibels = |value: &Value<'_>| value.symmetric.as_ref().map(|coded| coded.sqnr_db);
    let mut worst_first: Vec<&Value<'_>> = values.iter().collect();
    worst_first.sort_by(|a, b| decibels(a).partial_cmp(&decibels(b)).unwrap_or(Ordering::Equal));
    for value in worst_first {
        let Value { made_by, read_by, extremes, symmetric, asymmetric, .. } = value;
        let coded = match symmetry {
            Symmetry::Symmetric => symmetric,
            Symmetry::Asymmetric => asymmetric,
        };
        let number = |x: Option<f64>| x.map_or("-".into(), shown_number);
        let decibels = |coded: &Option<Coded>| {
            coded.as_ref().map_or("-".into(), |coded| format!("{:.2}", coded.sqnr_db))
        };
        let finite = value.numbers - value.non_finite;
        let clipped =
            |coded: &Coded| format!("{:.4} %", 100.0 * coded.clipped as f64 / finite.max(1) as f64);
        let range = |Coded { range, .. }: &Coded| {
            format!("{} … {}", shown_number(range.low), shown_number(range.high))
        };
        shown.row(vec![
            value.name.into(),
            format!("{made_by} → {}", read_by.join(", ")),
            number(extremes.map(|extremes| extremes.low)),
            number(extremes.map(|extremes| extremes.high)),
            coded.as_ref().map_or("-".into(), range),
            coded.as_ref().map_or("-".into(), clipped),
            decibels(symmetric),
            decibels(asymmetric),
            value.columns.map_or(String::new(), |ratio| format!("{ratio:.1}")),
        ]);
    }
    told.push_str(&shown.render(screen::width()));
    let beyond: Vec<&str> =
        values.iter().filter(|value| value.non_finite > 0).map(|value| value.name).collect();
    if !beyond.is_empty() {
        told.push_str(&format!(
            "beyond FP16 or NaN, and left out: some numbers of {}\n",
            twolane::text::listed(beyond)
        ));
    }
    told
}
