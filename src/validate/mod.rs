//! Proving a quantized package against its source, on any machine.
//!
//! ```text
//!            the same inputs
//!          ┌────────┴────────┐
//!       source, f32      quantized: reference, cpu
//!          │  └── activations ──▶ each layer alone
//!          └────────┬────────┘
//!    weights, layers, outputs, agreement ──▶ Validation
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`validate()`], [`Options`] | function after function; the documents are [`crate::report::Validation`] |
//! | `source` | the source as a program: a package, or a checkpoint's weights in the package's own functions |
//! | `function` | one function: its weights, layers and outputs |
//! | `layers` | one layer beside its counterpart |
//! | `outputs` | outputs beside the source's, and which of them are distributions |
//! | `agreement` | backends beside each other |
//! | `codes` | codes of activations beside the reference's, edge by edge |
//! | `finite` | outputs that are NaN or infinite, where the source's are not |
//! | `names` | names of weights without what converters append |
//! | [`golden`] | recorded inputs and outputs that travel with a package |
//! | `chunks` | a model in several packages: the text alone |
//! | `text` | a text through both: perplexity |
//! | `speed` | latency and rates |
//! | `probe` | what the machine does at the best; peak memory |

mod agreement;
mod chunks;
mod codes;
mod finite;
mod function;
pub mod golden;
mod layers;
mod names;
mod outputs;
mod probe;
mod source;
mod speed;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use source::widened;
pub use text::Text;

use crate::execute::{Engine, Inputs, choose};
use crate::graph::{Function, Program};
use crate::model::decoder::ane::Host;
use crate::progress::Progress;
use crate::report::Validation;
use crate::runtime::Mode;
use crate::source::{Package, Source};
use crate::{Error, Result};
use function::Check;
use golden::Golden;
use source::Against;
use std::path::{Path, PathBuf};

/// What is validated, with what, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// An .mlpackage, or an output folder that holds one.
    pub package: PathBuf,
    /// The source: a package or a checkpoint. Without it, the golden file beside the package, if there
    /// is one.
    pub against: Option<PathBuf>,
    /// A golden file.
    pub golden: Option<PathBuf>,
    /// Inputs; without them they are recorded ones, or drawn.
    pub inputs: Option<PathBuf>,
    /// Only this function.
    pub function: Option<String>,
    /// Drawn inputs of each function.
    pub samples: usize,
    /// The backends; the first gives the outputs that are compared with the source's.
    pub engines: Vec<Engine>,
    /// How the reference rounds the quantized program. The source is always evaluated in f32.
    pub mode: Mode,
    /// Outputs that are distributions over classes, beside those whose name or making says so.
    pub logits: Vec<String>,
    /// Whether time is measured.
    pub speed: bool,
    /// A text for a language model.
    pub text: Option<Text>,
}

impl Options {
    /// Words that contradict each other.
    fn check(&self) -> Result<()> {
        let has_reference = self.engines.contains(&Engine::Reference);
        if self.mode != Mode::F32 && !has_reference {
            let found = "--mode is how the reference rounds, and it does not run; add it to --on";
            return Err(Error::Usage(found.into()));
        }
        let mut before = self.engines.iter().enumerate().map(|(i, e)| (e, &self.engines[..i]));
        match before.find(|(engine, before)| before.contains(engine)) {
            Some((engine, _)) => Err(Error::Usage(format!("--on names {engine} twice"))),
            None => Ok(()),
        }
    }
}

/// Validates a package. The verdict is [`Validation::judge`]'s.
///
/// Functions are looked at one after the other: what is held at once is one function of the source in
/// f32, and one decoded layer.
///
/// # Errors
/// [`Error::Usage`] for a function, an input or an output that is not there, for a mode without the
/// reference, a backend given twice, and for a source that has none of the weights; as
/// [`Package::open`], [`Source::open`] and the backends.
pub fn validate(options: &Options, progress: &dyn Progress) -> Result<Validation> {
    options.check()?;
    if Package::is_in_chunks(&options.package) {
        return chunks::validate(options, progress);
    }
    let package = Package::open(&options.package)?;
    let program = &package.program;
    let against =
        options.against.as_deref().map(|path| Against::open(path, program)).transpose()?;
    let golden = match (&options.golden, &against, &options.inputs) {
        (Some(path), ..) => Some(Golden::open(path)?),
        (None, None, None) => Golden::beside(&package.dir)?,
        (None, ..) => None,
    };
    let file = options.inputs.as_deref().map(Source::open).transpose()?;
    let functions: Vec<(&str, &Function)> = match &options.function {
        Some(name) => vec![choose(program, Some(name))?],
        None => program.functions.iter().map(|(name, f)| (name.as_str(), f)).collect(),
    };
    for name in &options.logits {
        let has =
            |(_, f): &(&str, &Function)| f.outputs.iter().any(|o| f.value(o.value).name == *name);
        if !functions.iter().any(has) {
            return Err(Error::Usage(format!("--logits {name}: no function has such an output")));
        }
    }
    if options.text.is_some() {
        text::language_model(program)?;
    }
    let words = input_words(options, &golden, &file, functions.len());
    let mut found = Validation::new(last_name(&package.dir), words);
    let golden_name = || golden.as_ref().map(|golden| last_name(&golden.path));
    found.against = options.against.as_deref().map(last_name).or_else(golden_name);

    progress.start(functions.iter().map(|(_, function)| stored_bytes(function)).sum());
    let feeds = Feeds { options, program, golden: &golden, file: &file };
    let time = speed::budget(functions.len() * options.engines.len());
    let (mut taken, mut rescaled) = (0, false);
    for (name, function) in functions {
        let Some(inputs) = feeds.inputs(name, function, &mut found)? else { continue };
        let counterpart = against.as_ref().map(|a| a.counterpart(program, name, function));
        let counterpart = counterpart.transpose()?;
        if let Some(counterpart) = &counterpart {
            taken += counterpart.taken;
            rescaled |= counterpart.rescaled;
        }
        let check = Check {
            options,
            name,
            function,
            inputs: &inputs,
            original: &program.metadata.user,
            golden: golden.as_ref(),
        };
        let ran = check.run(counterpart, &mut found)?;
        if let (true, Some(first)) = (options.speed, inputs.steps.first()) {
            for engine in ran {
                let backend = engine.backend(options.mode);
                found.speed.push(speed::measure(&*backend, name, function, first, time)?);
            }
        }
        progress.advance(stored_bytes(function));
    }
    // Without anything of the source, the package would be compared with itself, or with nothing.
    let compared = rescaled || found.layers.iter().any(|layer| layer.weights.is_some());
    if options.against.is_some() && (taken == 0 || !found.layers.is_empty() && !compared) {
        return Err(nothing_in_common(found.against.as_deref().unwrap_or_default()));
    }
    if let Some(text) = &options.text {
        found.text = Some(text::check(options, text, &[program], against.as_ref(), progress)?);
    }
    found.peak_memory_bytes = probe::peak_memory_bytes();
    found.probe = options.speed.then(probe::probe);
    progress.finish();
    tell_unproven(options, &golden, &mut found);
    Ok(found)
}

/// Where inputs come from.
struct Feeds<'a> {
    options: &'a Options,
    program: &'a Program,
    golden: &'a Option<Golden>,
    file: &'a Option<Source>,
}

impl Feeds<'_> {
    /// The inputs of a function; `None`, with a word on it, if the golden file has none.
    fn inputs(
        &self,
        name: &str,
        function: &Function,
        found: &mut Validation,
    ) -> Result<Option<Inputs>> {
        if let Some(file) = self.file {
            return Inputs::read(file, self.program, name, None).map(Some);
        }
        let Some(golden) = self.golden else {
            let host = Host::of(self.program)?;
            let drawn = Inputs::drawn(name, function, host.as_ref(), self.options.samples);
            return drawn.map(Some);
        };
        let recorded = golden.inputs(self.program, name)?;
        if recorded.is_none() {
            let file = last_name(&golden.path);
            found.unproven.push(format!("function {name}: {file} holds nothing of it"));
        }
        Ok(recorded)
    }
}

fn input_words(
    options: &Options,
    golden: &Option<Golden>,
    file: &Option<Source>,
    functions: usize,
) -> String {
    let of = match functions {
        1 => "one function".into(),
        n => format!("each of {n} functions"),
    };
    match (file, golden, &options.inputs) {
        (Some(_), _, Some(path)) => format!("{}, for {of}", last_name(path)),
        (_, Some(golden), _) => format!("{}, for {of}", last_name(&golden.path)),
        _ => {
            let samples = match options.samples {
                1 => "one sample".into(),
                n => format!("{n} samples"),
            };
            format!("drawn, {samples} for {of}")
        }
    }
}

/// Says what this validation does not show.
fn tell_unproven(options: &Options, golden: &Option<Golden>, found: &mut Validation) {
    let mut say = |what: &str| found.unproven.push(what.into());
    match (&options.against, golden) {
        (None, None) => say(
            "that the outputs are right: nothing to compare with; give the source with --against, or \
             quantize with --golden N",
        ),
        (None, Some(_)) => say(
            "each weight, and layers apart from those before them: a golden file holds outputs; give \
             the source with --against",
        ),
        (Some(_), _) => {}
    }
    if options.engines.len() < 2 {
        say("that the backends agree: only one ran; give --on reference,cpu");
    } else if options.mode != Mode::F32 {
        say("that the backends agree: cpu computes as --mode f32 does");
    }
    if options.mode != Mode::Ane {
        say("sums beyond a Neural Engine's accumulator: --mode ane looks for them");
    }
    say("how a device runs it: nothing ran on Apple hardware");
}

/// Stored bytes of a function's weights: the measure of progress.
fn stored_bytes(function: &Function) -> u64 {
    function.weights().map(|(_, weight)| weight.storage.byte_len()).sum()
}

fn last_name(path: &Path) -> String {
    let own = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let real = || Some(path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned());
    own.or_else(real).unwrap_or_else(|| path.display().to_string())
}

/// That nothing matched is an error of the words, not a finding.
fn nothing_in_common(name: &str) -> Error {
    Error::Usage(format!(
        "--against {name}: it has none of the functions or compressed weights of the package, nor a \
         weight that the package's metadata name; give the checkpoint or the package that this one was \
         made from"
    ))
}
