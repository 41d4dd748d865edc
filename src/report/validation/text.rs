//! A validation as people read it.

use super::gate::BROKEN;
use super::{OutputCheck, Perplexity, Speed, Validation};
use crate::report::text::figure;
use crate::text::{Column, Table, exact_size, grouped, printable, shape, size};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Rows of a table; what is better or faster is summed up.
const ROWS: usize = 20;

/// Failures that are printed.
const FAILURES: usize = 20;

impl Validation {
    /// The tables: layers worst first, outputs, backends, speed; then what is not proven, and the
    /// verdict. Names are shortened to fit `width` columns, if there is a terminal.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let mut out = printable(&self.package).into_owned();
        if let Some(against) = &self.against {
            let _ = write!(out, " against {}", printable(against));
        }
        let _ = writeln!(out, "\ninputs: {}", printable(&self.inputs));
        for part in [
            self.layers_text(width),
            self.outputs_text(width),
            self.perplexity_text(),
            self.agreement_text(),
            self.overflow_text(),
            self.speed_text(width),
        ] {
            if !part.is_empty() {
                out.push('\n');
                out.push_str(&part);
            }
        }
        out.push('\n');
        for unproven in &self.unproven {
            let _ = writeln!(out, "not proven: {}", printable(unproven));
        }
        for failure in self.failed.iter().take(FAILURES) {
            let _ = writeln!(out, "failed: {}", printable(failure));
        }
        if let Some(more) = self.failed.len().checked_sub(FAILURES).filter(|more| *more > 0) {
            let _ = writeln!(out, "failed: and {more} more");
        }
        out.push_str(if self.failed.is_empty() { "passed\n" } else { "" });
        out
    }

    fn layers_text(&self, width: Option<usize>) -> String {
        if self.layers.is_empty() {
            return String::new();
        }
        // A weight that several functions multiply by has a row for each.
        let weights: BTreeSet<_> = self.layers.iter().map(|layer| &layer.weight).collect();
        let is_shared = weights.len() < self.layers.len();
        let function = is_shared.then(|| Column::left("function").optional());
        let columns = [Column::left("layer").shrink_to(24)].into_iter().chain(function).chain([
            Column::left("operation").optional(),
            Column::left("shape").optional(),
            Column::left("stored as").cut_to(12).optional(),
            Column::right("weight dB"),
            Column::right("output dB"),
            Column::right("cosine"),
            Column::right("max error").optional(),
        ]);
        let mut table = Table::new(columns.collect());
        let worst = self.worst_layers();
        for layer in worst.iter().take(ROWS) {
            let shown = layer.outputs.or(layer.weights);
            let function = is_shared.then(|| layer.function.clone());
            let cells = [layer.weight.clone()].into_iter().chain(function).chain([
                layer.operation.clone(),
                shape(&layer.shape),
                layer.stored_as.clone(),
                decibels(layer.weights.as_ref()),
                decibels(layer.outputs.as_ref()),
                shown.map_or("–".into(), |f| format!("{:.6}", f.cosine)),
                shown.map_or("–".into(), |f| figure(f.max_abs)),
            ]);
            table.row(cells.collect());
        }
        let mut out = table.render(width);
        if let Some(next) = worst.get(ROWS) {
            let more = worst.len() - ROWS;
            let least = next.outputs.or(next.weights);
            let least = least.map_or("not compared".into(), |figures| in_words(&figures));
            let _ = writeln!(out, "and {more} more layers, the worst {least}");
        }
        out
    }

    /// Outputs that are no layer's own: a layer's stand in its row.
    fn outputs_text(&self, width: Option<usize>) -> String {
        if self.outputs.is_empty() {
            return String::new();
        }
        let worst = self.worst_outputs();
        let functions: BTreeSet<_> = self.outputs.iter().map(|o| &o.function).collect();
        let mut out = String::new();
        if self.outputs.iter().any(|o| o.classes.is_some()) || functions.len() == 1 {
            let classes = self.outputs.iter().any(|o| o.classes.is_some());
            let mut columns = vec![
                Column::left("output").shrink_to(16),
                Column::right("SQNR dB"),
                Column::right("cosine"),
                Column::right("max error").optional(),
            ];
            if classes {
                columns.extend([
                    Column::right("KL mean"),
                    Column::right("KL p99").optional(),
                    Column::right("KL max").optional(),
                    Column::right("rows").optional(),
                    Column::right("top-1 same"),
                ]);
            }
            let shown = columns.len();
            let mut table = Table::new(columns);
            for output in worst.iter().take(ROWS) {
                let mut cells = output_row(output, functions.len() > 1);
                cells.truncate(shown);
                table.row(cells);
            }
            out = table.render(width);
            if let Some(next) = worst.get(ROWS) {
                let (more, least) = (worst.len() - ROWS, in_words(&next.figures));
                let _ = writeln!(out, "and {more} more outputs, the worst {least}");
            }
        }
        if functions.len() > 1 {
            let first = worst[0];
            let cosine = worst.iter().map(|o| o.figures.cosine).fold(f64::INFINITY, f64::min);
            let _ = writeln!(
                out,
                "{} outputs of {} functions: the worst {} ({}), cosine at least {cosine:.6}",
                worst.len(),
                functions.len(),
                in_words(&first.figures),
                printable(&first.function),
            );
        }
        out
    }

    fn perplexity_text(&self) -> String {
        let Some(text) = &self.text else { return String::new() };
        let mut out = format!(
            "text: {} tokens predicted in {} windows of {}\n",
            grouped(text.tokens),
            grouped(text.windows),
            grouped(text.window)
        );
        if text.at_once == 1 {
            out.pop();
            out.push_str(", one by one: no function returns the logits of several\n");
        }
        let one = |p: &Perplexity| format!("{:.4} ± {:.4}", p.perplexity, p.error);
        let _ = match (&text.source, text.ratio()) {
            (Some(source), Some(ratio)) => writeln!(
                out,
                "perplexity: source {}, quantized {}, ratio {ratio:.4}",
                one(source),
                one(&text.quantized)
            ),
            _ => writeln!(out, "perplexity: {}", one(&text.quantized)),
        };
        if let Some(classes) = &text.classes {
            let _ = writeln!(
                out,
                "KL in nats: mean {:.2e}, p99 {:.2e}, max {:.2e}; same top-1: {:.2} %",
                classes.kl_mean,
                classes.kl_p99,
                classes.kl_max,
                100.0 * classes.top1
            );
        }
        out
    }

    fn agreement_text(&self) -> String {
        let Some(worst) = self.agreement.iter().max_by(|a, b| a.relative.total_cmp(&b.relative))
        else {
            return String::new();
        };
        let [one, other] = &worst.between;
        let by = match worst.relative {
            0.0 => "are equal in every bit".into(),
            by if !by.is_finite() => {
                format!("differ {BROKEN} ({})", printable(&worst.function))
            }
            by => format!(
                "differ by {by:.1e} of the largest element at most ({})",
                printable(&worst.function)
            ),
        };
        let compared = match self.agreement.len() {
            1 => "one output".into(),
            n => format!("{n} outputs"),
        };
        let elements = grouped(self.agreement.iter().map(|check| check.elements).sum());
        let mut out = format!("{one} and {other} {by}; {compared}, {elements} elements\n");
        let own = self.agreement.iter().filter_map(|check| check.own_codes).reduce(f64::max);
        if let Some(own) = own.filter(|own| *own > 0.0) {
            out.pop();
            let _ =
                writeln!(out, ", both from the same INT8 codes; from its own each, by {own:.1e}");
        }
        self.codes.iter().for_each(|check| _ = writeln!(out, "{check}"));
        out
    }

    fn overflow_text(&self) -> String {
        let asked = self.layers.iter().any(|layer| layer.overflows.is_some());
        let over: Vec<_> = self.layers.iter().filter(|l| l.overflows.unwrap_or(0) > 0).collect();
        if !asked {
            return String::new();
        }
        let mut out = match over.len() {
            0 => "no partial sum of a layer passes 32768\n".to_string(),
            n => format!(
                "partial sums of {n} layers pass 32768 and may become infinite on a Neural Engine:\n"
            ),
        };
        for layer in over.iter().take(ROWS) {
            let _ = writeln!(
                out,
                "  {}: {} sums",
                printable(&layer.weight),
                layer.overflows.unwrap_or(0)
            );
        }
        out.push_str(
            "(one study of the M4 and M6 found this, a Q15.16 accumulator; another source disputes it: an \
             accumulator of f32 class)\n",
        );
        out
    }

    fn speed_text(&self, width: Option<usize>) -> String {
        if self.speed.is_empty() {
            return self.peak_text();
        }
        let mut backends: Vec<&str> = vec![];
        for speed in &self.speed {
            if !backends.contains(&speed.backend.as_str()) {
                backends.push(&speed.backend);
            }
        }
        // Rates are those of the backend named last, where it ran: by default cpu, the fast one.
        let last = backends.last().copied().unwrap_or_default();
        let elsewhere = |s: &&Speed| !self.on(last).any(|other| other.function == s.function);
        let others = backends.iter().rev().skip(1).flat_map(|name| self.on(name)).filter(elsewhere);
        let mut slowest: Vec<_> = self.on(last).chain(others).collect();
        let mut seen = BTreeSet::new();
        slowest.retain(|speed| seen.insert(&speed.function));
        slowest.sort_by(|a, b| b.median_ms.total_cmp(&a.median_ms));

        let mut columns = vec![Column::left("function").shrink_to(16)];
        columns.extend(backends.iter().map(|name| Column::right(format!("{name} ms"))));
        columns.extend([
            Column::right("p5 … p95").optional(),
            Column::right("per second"),
            Column::right("moved").optional(),
            Column::right("GB/s"),
            Column::right("of probe").optional(),
            Column::right("GMAC/s"),
            Column::right("of probe").optional(),
        ]);
        let mut table = Table::new(columns);
        let share = |is: f64, best: Option<f64>| match best {
            Some(best) if best > 0.0 => format!("{:.0} %", is / best * 100.0),
            _ => "–".into(),
        };
        for speed in slowest.iter().take(ROWS) {
            let mut row = vec![speed.function.clone()];
            row.extend(backends.iter().map(|backend| {
                let same = self.on(backend).find(|other| other.function == speed.function);
                same.map_or("–".into(), |same| figure(same.median_ms))
            }));
            row.extend([
                format!("{} … {}", figure(speed.p5_ms), figure(speed.p95_ms)),
                format!("{} {}", figure(speed.units_per_second), speed.unit),
                size(speed.bytes_moved),
                figure(speed.gb_per_second),
                share(speed.gb_per_second, self.probe.map(|p| p.gb_per_second)),
                figure(speed.gmac_per_second),
                share(speed.gmac_per_second, self.probe.map(|p| p.gmac_per_second)),
            ]);
            table.row(row);
        }
        let mut out = table.render(width);
        if let Some(more) = slowest.len().checked_sub(ROWS).filter(|more| *more > 0) {
            let _ = writeln!(out, "and {more} functions that are faster on {last}");
        }
        let _ = match backends.len() {
            1 => writeln!(out, "median of runs on {last}"),
            _ => writeln!(out, "medians; p5 … p95 and what follows are of {last}"),
        };
        for backend in backends.iter().filter(|_| slowest.len() > 1) {
            let all: f64 = self.on(backend).map(|speed| speed.median_ms).sum();
            let functions = self.on(backend).count();
            let _ = writeln!(
                out,
                "{backend}: {functions} functions, one run of each {} ms",
                figure(all)
            );
        }
        if let Some(probe) = &self.probe {
            let _ = writeln!(
                out,
                "probe, in this process: {} GB/s read, {} GMAC/s in f32, {} in INT8, {} threads",
                figure(probe.gb_per_second),
                figure(probe.gmac_per_second),
                figure(probe.int8_gmac_per_second),
                probe.threads,
            );
        }
        out + &self.peak_text()
    }

    /// What was measured on one backend.
    fn on<'a>(&'a self, backend: &'a str) -> impl Iterator<Item = &'a Speed> {
        self.speed.iter().filter(move |speed| speed.backend == backend)
    }

    fn peak_text(&self) -> String {
        let without = if self.probe.is_some() { ", the probe's aside" } else { "" };
        let peak = self
            .peak_memory_bytes
            .map(|bytes| format!("peak memory{without}: {}\n", exact_size(bytes)));
        peak.unwrap_or_default()
    }
}

fn output_row(output: &OutputCheck, several: bool) -> Vec<String> {
    let name = match several {
        true => format!("{}.{}", output.function, output.output),
        false => output.output.clone(),
    };
    let class = |of: fn(&super::Classes) -> String| output.classes.as_ref().map_or("–".into(), of);
    vec![
        name,
        decibels(Some(&output.figures)),
        format!("{:.6}", output.figures.cosine),
        figure(output.figures.max_abs),
        class(|c| figure(c.kl_mean)),
        class(|c| figure(c.kl_p99)),
        class(|c| figure(c.kl_max)),
        class(|c| grouped(c.rows)),
        class(|c| format!("{:.2} %", c.top1 * 100.0)),
    ]
}

/// SQNR with its unit, where it is a number.
fn in_words(figures: &super::Figures) -> String {
    let unit = if figures.sqnr_db.is_some() { " dB" } else { "" };
    decibels(Some(figures)) + unit
}

fn decibels(figures: Option<&super::Figures>) -> String {
    match figures {
        None => "–".into(),
        Some(figures) => match figures.sqnr_db {
            Some(db) => format!("{db:.2}"),
            None if figures.broken > 0 => "broken".into(),
            None if figures.noise > 0.0 => "no signal".into(),
            None => "exact".into(),
        },
    }
}
