//! What a chip allows, as tables and JSON: the least time of a call, for `inspect --chip` and `plan`.

use serde::Serialize;
use std::collections::BTreeMap;
use twolane::chips::forecast::{Activations, Forecast, Load};
use twolane::chips::roofline::{Bound, Unit};
use twolane::chips::{Chip, Fact};
use twolane::text::{Column, Table, grouped, size, wrapped};

/// What the figures are.
const ABOUT: &str = "predicted from bytes and operations by published figures of the chip; nothing was \
                     measured, and real calls take longer";

/// The units, in the order of their columns.
const UNITS: [(Unit, &str); 3] =
    [(Unit::Ane, "Neural Engine"), (Unit::Gpu, "GPU"), (Unit::Cpu, "CPU")];

/// The least times of functions on a chip.
#[derive(Debug, Serialize)]
pub(super) struct OnChip {
    /// The chip, with every figure and its source.
    chip: &'static Chip,
    /// What the figures are.
    about: &'static str,
    calls: Vec<Call>,
}

/// A call of a function.
#[derive(Debug, Serialize)]
struct Call {
    function: String,
    /// How the weights are stored; not given where that is the package's own business.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<String>,
    activations: Activations,
    /// Tokens that it takes, of a language model.
    tokens: Option<u64>,
    /// Bytes of weights and states as they are stored.
    stored_bytes: f64,
    ane: Option<Forecast>,
    gpu: Option<Forecast>,
    cpu: Option<Forecast>,
}

impl OnChip {
    pub(super) fn new(chip: &'static Chip) -> Self {
        Self { chip, about: ABOUT, calls: vec![] }
    }

    /// Adds a call of each function.
    pub(super) fn add(
        &mut self,
        scheme: Option<&str>,
        activations: Activations,
        loads: &BTreeMap<String, Load>,
    ) {
        self.calls.extend(loads.iter().map(|(function, load)| {
            let on = |unit| load.on(self.chip, unit, activations);
            Call {
                function: function.clone(),
                scheme: scheme.map(str::to_owned),
                activations,
                tokens: load.tokens,
                stored_bytes: load.stored_bytes(),
                ane: on(Unit::Ane),
                gpu: on(Unit::Gpu),
                cpu: on(Unit::Cpu),
            }
        }));
    }

    /// A table a function: a row for each way to store its weights, a column for each unit.
    pub(super) fn to_text(&self, width: Option<usize>) -> String {
        let mut out = wrapped(&format!("{}: {ABOUT}", self.chip.name), width, 2);
        out.push_str(&wrapped(&int8_in_words(self.chip), width, 2));
        let mut functions: Vec<&str> = Vec::new();
        for call in &self.calls {
            if !functions.contains(&call.function.as_str()) {
                functions.push(&call.function);
            }
        }
        for function in functions {
            let calls = self.calls.iter().filter(|call| call.function == function);
            out.push('\n');
            out.push_str(&table(function, calls).render(width));
        }
        out
    }
}

fn table<'a>(function: &str, calls: impl Iterator<Item = &'a Call>) -> Table {
    let mut calls = calls.peekable();
    let tokens = calls.peek().and_then(|call| call.tokens);
    let heading = match tokens {
        Some(1) => format!("{function}, token by token"),
        Some(tokens) => format!("{function}, {tokens} tokens"),
        None => format!("{function}, a call"),
    };
    let mut columns = vec![Column::left(heading).shrink_to(20), Column::right("stored").optional()];
    columns.extend(UNITS.iter().map(|(_, name)| Column::left(*name)));
    let mut table = Table::new(columns);
    for call in calls {
        let mut cells = vec![call.label(), size(call.stored_bytes as u64)];
        cells.extend([call.ane, call.gpu, call.cpu].map(|forecast| cell(forecast, call.tokens)));
        table.row(cells);
    }
    table
}

impl Call {
    fn label(&self) -> String {
        let scheme = self.scheme.as_deref().unwrap_or("as it is");
        match self.activations {
            Activations::AsTheyAre => scheme.to_owned(),
            Activations::Int8 => format!("{scheme} + INT8 activations"),
        }
    }
}

/// `12.4 ms, bytes`; of tokens `80.6 tok/s, bytes`; with `~` where a bandwidth is assumed.
fn cell(forecast: Option<Forecast>, tokens: Option<u64>) -> String {
    let Some(Forecast { seconds, bound, assumed, .. }) = forecast else {
        return "unknown".into();
    };
    let bound = match bound {
        Bound::Bandwidth => "bytes",
        Bound::Arithmetic => "arithmetic",
        Bound::Call => "the call",
    };
    let about = if assumed { "~" } else { "" };
    match tokens {
        Some(tokens) if seconds > 0.0 => {
            format!("{about}{} tok/s, {bound}", rate(tokens as f64 / seconds))
        }
        Some(_) | None => format!("{about}{}, {bound}", time(seconds)),
    }
}

fn rate(a_second: f64) -> String {
    match a_second {
        r if r < 100.0 => format!("{r:.1}"),
        r => grouped(r.round() as u64),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} us", s * 1e6),
    }
}

/// What is known of INT8 on the chip's Neural Engine.
fn int8_in_words(chip: &Chip) -> String {
    let Some(Fact { holds, kind, source }) = chip.ane_int8_path else {
        return "no source says whether its Neural Engine is faster in INT8".into();
    };
    let gain = chip.ane_int8_gain().map_or_else(String::new, |gain| format!(", {gain:.2} times"));
    let faster = if holds { "faster" } else { "no faster" };
    let kind = kind.word();
    format!("its Neural Engine is {faster} where both operands are INT8{gain} ({kind}: {source})")
}
