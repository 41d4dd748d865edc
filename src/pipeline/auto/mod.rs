//! `--scheme auto`: the model that is converted, run with its weights stored in many ways.
//!
//! | module | what it does |
//! |---|---|
//! | [`auto()`] | input, options and a budget → a plan's file |
//! | `subject` | which weights are chosen for, and what they could become |
//! | `trial` | the functions in f32, some weights replaced by what their codes stand for |
//! | `pairs` | pairs around layers whose weights were given INT8 inputs |
//! | `clock` | what weights cost a call on a chip |
//! | `text` | a text through a language model, beside the model in float |
//! | `steps` | inputs through functions, beside the same in float |

mod clock;
mod pairs;
mod steps;
mod subject;
mod text;
mod trial;

pub use clock::Timed;

use super::prepare::{Opened, open};
use super::{Progress, output};
use crate::auto::{self, Budget, Candidate, Choice, Measured, Metric, Plan, Row, Variant};
use crate::execute::{RowData, replace_file};
use crate::plan::Options;
use crate::scheme::Scheme;
use crate::validate::Text;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;
pub use steps::ROWS;
use subject::Found;
use trial::Trial;

/// What a plan is measured on.
#[derive(Clone, Debug)]
pub enum Data {
    /// A text for a language model.
    Text(Text),
    /// A function's inputs, or images.
    Rows(Rc<RowData>),
    /// Inputs that follow from names alone.
    Drawn,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the plan must hold.
    pub budget: Budget,
    /// What weights may become, with activations in INT8 each beside both kinds where it can be; without
    /// any, [`CANDIDATES`] and [`INT8_CANDIDATES`].
    pub candidates: Vec<Scheme>,
    /// Whose time the cost is; without it, cost is bytes.
    pub timed: Option<Timed>,
    /// What it is measured on.
    pub data: Data,
    /// The plan's file; where one stands of the same model and data, what it knows is not measured
    /// again. Without it, [`beside`] the output folder.
    pub file: Option<PathBuf>,
    /// Whether a conversion follows: an output folder that it may not replace is refused before the
    /// work.
    pub converts: bool,
}

/// What weights may become by default, where the target has it. Tables of bytes are half as large, which
/// counts where weights are small.
pub const CANDIDATES: [&str; 9] = [
    "palette-4",
    "palette-4,lut-int8",
    "palette-4,group:16",
    "palette-6",
    "palette-6,lut-int8",
    "palette-6,group:16",
    "palette-8",
    "linear-int8",
    "float16",
];

/// What weights may become beside INT8 activations by default, where the target has it.
pub const INT8_CANDIDATES: [&str; 6] = [
    "palette-4,lut-int8",
    "palette-4,lut-int8,group:16",
    "palette-6,lut-int8",
    "palette-6,lut-int8,group:16",
    "palette-8,lut-int8",
    "linear-int8",
];

/// What came of it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The plan.
    pub plan: Plan,
    /// Where it was written.
    pub file: PathBuf,
    /// The output folder of a conversion that names none.
    pub folder: PathBuf,
    /// The choice in figures.
    pub choice: Choice,
    /// What its divergence is.
    pub metric: Metric,
}

/// Where the plan of an output folder stands: beside it, `FOLDER.plan.toml`.
pub fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".plan.toml");
    folder.with_file_name(name)
}

/// Measures what each weight costs the model in each scheme, chooses, and writes the plan's file, after
/// each weight as well. Weights that a rule of `options` chooses for are not touched.
///
/// The model is held in f32, all of it: as much memory as four bytes a weight.
///
/// # Errors
/// [`Error::Usage`] for a budget that no plan holds, data that is none for this model, and an existing
/// file that is no plan; as [`prepare`](super::prepare()) and the evaluation.
pub fn auto(
    input: &Path,
    options: &Options,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Chosen> {
    let opened = open(input, options)?;
    let folder = options.output.clone();
    let folder = folder.unwrap_or_else(|| format!("{}-auto", opened.source.stem()).into());
    if wanted.converts {
        output::check_target(&folder, options.force)?;
    }
    let file = wanted.file.clone().unwrap_or_else(|| beside(&folder));
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        let failed = |why| Error::io("create", parent.display().to_string(), why);
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let metric = wanted.budget.metric(matches!(wanted.data, Data::Text(_)));
    if metric == Metric::Kl && !matches!(wanted.data, Data::Text(_)) {
        let found = "it is measured on a text; add --data with a file of text";
        return Err(Error::Usage(format!("{}: {found}", wanted.budget)));
    }
    let found = subject::of(opened, options, wanted)?;
    let mut plan = Plan {
        model: model_hash(&found.opened),
        data: data_hash(&wanted.data),
        measured: measured_how(options, metric),
        chip: found.clock.as_ref().map(|clock| clock.words().to_owned()).unwrap_or_default(),
        ..Plan::default()
    };
    let mut known = known(&file, &plan)?;
    let mut trial = Trial::new(&found, options, &wanted.data, metric)?;
    let subject = &found.subject;
    let mut save = |known: &Measured| {
        plan.rows = rows(&found, known, None);
        write(&file, &plan)
    };
    let divergences = auto::measure(subject, &mut trial, &mut known, &mut save, progress)?;
    let choice = auto::choose(subject, &divergences, wanted.budget, metric, &mut trial)?;
    plan.budget = wanted.budget.to_string();
    plan.reached = format!("{:.3} bits a weight, {}", choice.bits, metric.told(choice.divergence));
    if let Some(time) = choice.price.time {
        plan.reached.push_str(&format!(", {:.4} ms", time.call * 1e3));
    }
    plan.rows = rows(&found, &known, Some(&choice));
    write(&file, &plan)?;
    Ok(Chosen { plan, file, folder, choice, metric })
}

/// What a plan that stands there knows, if it is about the same.
fn known(file: &Path, plan: &Plan) -> Result<Measured> {
    if !file.exists() {
        return Ok(Measured::new());
    }
    let before = Plan::read(file)?;
    let same = (&before.model, &before.data, &before.measured)
        == (&plan.model, &plan.data, &plan.measured);
    Ok(if same { before.known() } else { Measured::new() })
}

fn write(file: &Path, plan: &Plan) -> Result<()> {
    let text = plan.to_toml();
    replace_file(file, &|out| out.write_all(text.as_bytes()))
}

/// The rows of a plan's file: what is known of each weight, and what was chosen.
fn rows(found: &Found, known: &Measured, choice: Option<&Choice>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (place, weight) in found.subject.weights.iter().enumerate() {
        let candidate = |&Variant { form, price }: &Variant| {
            let scheme = form.scheme.to_string();
            let key = (weight.name.clone(), scheme.clone(), form.input);
            let divergence = *known.get(&key)?;
            let us = price.time.map(|time| time.call * 1e6);
            let (activations, bytes) = (form.input, price.bytes);
            Some(Candidate { scheme, activations, bytes, us, divergence })
        };
        let chosen = choice.map(|choice| weight.variants[choice.variants[place]].form);
        let scheme = chosen.map(|form| form.scheme.to_string());
        let activations = chosen.filter(|_| found.pairs.is_some()).map(|form| form.input);
        let why = choice.map(|c| c.why[place].clone()).unwrap_or_default();
        rows.push(Row {
            name: weight.name.clone(),
            scheme: scheme.clone(),
            activations,
            why,
            candidates: weight.variants.iter().filter_map(candidate).collect(),
        });
        rows.extend(found.copies(place).map(|copy| Row {
            name: copy.into(),
            scheme: scheme.clone(),
            activations,
            why: format!("a copy of {}", weight.name),
            candidates: Vec::new(),
        }));
    }
    rows
}

/// What tells this model from others.
fn model_hash(opened: &Opened) -> String {
    let mut hash = blake3::Hasher::new();
    for (_, bytes) in opened.source.inputs() {
        // With its length, nothing can move from one file to the next.
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update_rayon(bytes);
    }
    hash.finalize().to_hex().to_string()
}

fn data_hash(data: &Data) -> String {
    let mut hash = blake3::Hasher::new();
    match data {
        Data::Drawn => return "drawn".into(),
        Data::Rows(data) => return data.hash().to_hex().to_string(),
        Data::Text(text) => {
            hash.update(&(text.begin.len() as u64).to_le_bytes());
            for id in text.begin.iter().chain(&text.ids) {
                hash.update(&id.to_le_bytes());
            }
        }
    }
    hash.finalize().to_hex().to_string()
}

/// What measurements follow from beside model and data.
fn measured_how(options: &Options, metric: Metric) -> String {
    let mut words = format!("{}, --clip {}", metric.name(), options.clip);
    if let Some(context) = options.model.context {
        words.push_str(&format!(", --context {context}"));
    }
    if let Some(imatrix) = options.imatrix.as_ref().filter(|_| options.importance) {
        words.push_str(&format!(", --importance by {}", imatrix.blake3));
    }
    if let Some(calibration) = &options.calibration {
        let data = calibration.data.iter().map(|data| data.blake3.as_str());
        if let Some(how) = &options.activations {
            words.push_str(&format!(", --activations {how}"));
        }
        if options.importance {
            words.push_str(", --importance");
        }
        if let Some(order) = options.gptq {
            words.push_str(&format!(", --gptq={order}"));
        }
        if options.importance || options.gptq.is_some() || options.activations.is_some() {
            words.push_str(&format!(" by {}", data.collect::<Vec<_>>().join(" and ")));
        }
    }
    words
}
