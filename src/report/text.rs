//! Reports as people read them, and as spreadsheets do.

use super::{ClipCurve, ErrorReport, Histogram, Report, TensorReport};
use crate::advice::in_short;
use crate::scheme::Scheme;
use crate::text::{
    Column, Left, Table, bars, curve, exact_size, grouped, left, printable, shape, size,
};
use std::fmt::Write;

/// Rows of a plot.
const ROWS: usize = 8;

/// Columns of a plot: one a bin of the histogram.
const COLUMNS: usize = 64;

impl Report {
    /// The quantized tensors, worst first, then why the others were left; totals and warnings.
    /// Names and notes are shortened to fit `width` columns, if there is a terminal.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let mut out = String::new();
        let worst = self.worst_first();
        if !worst.is_empty() {
            out.push_str(&quantized(&worst).render(width));
        }
        let rest: Vec<_> = self.tensors.iter().filter(|t| t.error.is_none()).map(as_left).collect();
        if !rest.is_empty() {
            out.push_str(if worst.is_empty() { "" } else { "\n" });
            out.push_str(&left(&rest).render(width));
        }
        out.push('\n');
        out.push_str(&self.totals_text());
        self.int8_path.iter().for_each(|package| out.push_str(&package.to_text(width)));
        out.push_str(&in_short(&self.remarks, width));
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {}", printable(warning));
        }
        out
    }

    fn totals_text(&self) -> String {
        let t = &self.totals;
        let mut out = format!(
            "{} tensors: {} quantized, {} in float, {} copied\n",
            t.tensors, t.quantized, t.float, t.copied
        );
        let _ =
            write!(out, "weights: {} → {}", exact_size(t.bytes_before), exact_size(t.bytes_after));
        if let Some(bits) = t.bits_per_weight {
            let _ = write!(out, ", {bits:.3} bits a weight");
        }
        out.push('\n');
        if t.quantized > 0 {
            let noisy = self.tensors.iter().flat_map(|t| &t.error).any(|error| error.noise > 0.0);
            let sqnr = match t.sqnr_db {
                Some(db) => format!("{db:.2} dB"),
                None if noisy => "no signal".into(),
                None => "exact".into(),
            };
            let _ = writeln!(out, "SQNR of all quantized weights: {sqnr}");
        }
        for output in &self.outputs {
            let (kind, path) = (printable(&output.kind), printable(&output.path));
            let _ = writeln!(out, "{kind}: {path}, {}", exact_size(output.bytes));
        }
        out
    }

    /// One tensor: its measures, its error histogram and its clip curve.
    pub fn tensor_text(&self, tensor: &TensorReport) -> String {
        let mut out = String::new();
        let scheme = scheme_word(tensor.scheme);
        let (name, dtype) = (printable(&tensor.name), printable(&tensor.dtype));
        let _ = writeln!(out, "{name}  {}  {dtype} → {scheme}", shape(&tensor.shape));
        let _ = writeln!(out, "chosen by: {}", printable(&tensor.rule));
        for note in &tensor.notes {
            let _ = writeln!(out, "note: {}", printable(note));
        }
        let _ = write!(out, "{} → {}", size(tensor.bytes_before), size(tensor.bytes_after));
        if let Some(bits) = tensor.bits_per_weight() {
            let _ = write!(out, ", {bits:.2} bits a weight");
        }
        out.push('\n');
        if let Some(error) = &tensor.error {
            out.push_str(&measures(error));
            out.push('\n');
            out.push_str(&histogram_plot(&error.histogram));
            if let Some(curve) = &error.clip_curve {
                out.push('\n');
                out.push_str(&curve_plot(curve));
            }
        }
        out
    }

    /// All tensors as CSV (RFC 4180, line feeds), in the order of the plan, with a heading.
    pub fn to_csv(&self) -> String {
        let mut out = String::from(
            "name,dtype,shape,scheme,requested,rule,notes,elements,bytes_before,bytes_after,\
             bits_per_weight,sqnr_db,rmse,max_abs,cosine,clipped_share,clipped_energy_share,\
             codes_possible,codes_used,code_entropy_bits\n",
        );
        for t in &self.tensors {
            let error = t.error.as_ref();
            let figure = |of: fn(&ErrorReport) -> f64| number(error.map(of));
            let word = |s: Option<Scheme>| s.map(|s| s.to_string()).unwrap_or_default();
            let cells = [
                t.name.clone(),
                t.dtype.clone(),
                t.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
                word(t.scheme),
                word(t.requested),
                t.rule.clone(),
                t.notes.join("; "),
                t.elements.to_string(),
                t.bytes_before.to_string(),
                t.bytes_after.to_string(),
                number(t.bits_per_weight()),
                number(error.and_then(|e| e.sqnr_db)),
                figure(|e| e.rmse),
                figure(|e| e.max_abs),
                figure(|e| e.cosine),
                figure(|e| e.clipped_share),
                figure(|e| e.clipped_energy_share),
                error.map(|e| e.codes.possible.to_string()).unwrap_or_default(),
                error.map(|e| e.codes.used.to_string()).unwrap_or_default(),
                figure(|e| e.codes.entropy_bits),
            ];
            let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }
}

fn scheme_word(scheme: Option<Scheme>) -> String {
    scheme.map_or("copied".into(), |scheme| scheme.to_string())
}

fn as_left(tensor: &TensorReport) -> Left<'_> {
    Left {
        name: &tensor.name,
        dtype: &tensor.dtype,
        shape: &tensor.shape,
        stored_as: scheme_word(tensor.scheme),
        rule: tensor.rule.clone(),
        before: tensor.bytes_before,
        after: tensor.bytes_after,
        notes: &tensor.notes,
    }
}

fn quantized(worst: &[(&TensorReport, &ErrorReport)]) -> Table {
    let mut table = Table::new(vec![
        Column::left("tensor").shrink_to(32),
        Column::left("shape").optional(),
        Column::left("scheme"),
        Column::right("SQNR dB"),
        Column::right("RMSE").optional(),
        Column::right("max error").optional(),
        Column::right("cosine").optional(),
        Column::right("clipped").optional(),
        Column::right("codes used").optional(),
        Column::right("after"),
        Column::left("notes").cut_to(12),
    ]);
    for (tensor, error) in worst {
        table.row(vec![
            tensor.name.clone(),
            shape(&tensor.shape),
            scheme_word(tensor.scheme),
            sqnr(error),
            figure(error.rmse),
            figure(error.max_abs),
            format!("{:.6}", error.cosine),
            percent(error.clipped_share),
            format!("{}/{}", error.codes.used, error.codes.possible),
            size(tensor.bytes_after),
            tensor.notes.join("; "),
        ]);
    }
    table
}

fn measures(error: &ErrorReport) -> String {
    let codes = &error.codes;
    format!(
        "SQNR {} dB, RMSE {}, max |error| {}, cosine {:.6}\n\
         clipped: {} of the weights, {} of their energy\n\
         codes: {} of {} used, entropy {:.2} of {:.2} bits ({} weights counted)\n",
        sqnr(error),
        figure(error.rmse),
        figure(error.max_abs),
        error.cosine,
        percent(error.clipped_share),
        percent(error.clipped_energy_share),
        codes.used,
        codes.possible,
        codes.entropy_bits,
        f64::from(codes.possible.max(1)).log2(),
        grouped(codes.counted),
    )
}

fn histogram_plot(histogram: &Histogram) -> String {
    let heights: Vec<f64> = histogram.bins.iter().map(|&n| n as f64).collect();
    let tallest = histogram.bins.iter().copied().max().unwrap_or(0);
    let edge = figure(histogram.range);
    let ends = COLUMNS.saturating_sub(edge.chars().count() + 1);
    format!(
        "errors (weight − quantized), {} bins, the tallest {}:\n{}{}\n-{edge}{}{edge}\n",
        histogram.bins.len(),
        grouped(tallest),
        bars(&heights, ROWS),
        axis(),
        " ".repeat(ends.saturating_sub(edge.chars().count())),
    )
}

/// An axis with a tick at its middle.
fn axis() -> String {
    format!("{}┼{}", "─".repeat(COLUMNS / 2), "─".repeat(COLUMNS / 2 - 1))
}

fn curve_plot(clip: &ClipCurve) -> String {
    let points: Vec<(f64, f64)> =
        clip.points.iter().filter_map(|p| Some((p.factor, p.sqnr_db?))).collect();
    let plot = curve(&points, clip.chosen.factor, COLUMNS, ROWS);
    if plot.is_empty() {
        return String::new();
    }
    let (low, high) = ends(points.iter().map(|p| p.1));
    let (left, right) = ends(points.iter().map(|p| p.0));
    let (left, right) = (format!("{left:.2}"), format!("{right:.2}"));
    let gap = " ".repeat(COLUMNS.saturating_sub(left.len() + right.len()));
    let reached = clip.chosen.sqnr_db.map_or(String::new(), |db| format!(", {db:.2} dB"));
    format!(
        "SQNR of a sample of rows against range (share of max |w|), {low:.2} to {high:.2} dB; chosen ▲ \
         {:.3}{reached}:\n{plot}{left}{gap}{right}\n",
        clip.chosen.factor,
    )
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

fn sqnr(error: &ErrorReport) -> String {
    match error.sqnr_db {
        Some(db) => format!("{db:.2}"),
        None if error.noise > 0.0 => "no signal".into(),
        None => "exact".into(),
    }
}

/// Four significant digits, with an exponent where zeros would fill the column.
pub(super) fn figure(x: f64) -> String {
    let magnitude = x.abs();
    if x == 0.0 {
        "0".into()
    } else if !x.is_finite() {
        "–".into()
    } else if (1e-3..1e4).contains(&magnitude) {
        let places = (3 - magnitude.log10().floor() as i32).max(0) as usize;
        format!("{x:.places$}")
    } else {
        format!("{x:.3e}")
    }
}

fn percent(share: f64) -> String {
    if share == 0.0 { "0 %".into() } else { format!("{} %", figure(share * 100.0)) }
}

/// A number for a spreadsheet; nothing where there is none.
fn number(x: Option<f64>) -> String {
    x.filter(|x| x.is_finite()).map(|x| x.to_string()).unwrap_or_default()
}

/// A cell of CSV, printable, quoted where it must be. A leading sign that would make a formula of a name in a
/// spreadsheet is kept apart by an apostrophe, as spreadsheets themselves do.
fn quoted(cell: &str) -> String {
    let formula =
        cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    let cell = printable(cell);
    let cell = if formula { format!("'{cell}").into() } else { cell };
    if cell.contains([',', '"']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.into_owned()
    }
}
