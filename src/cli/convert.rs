//! The default command: words → options → the pipeline.

use super::args::{Convert, Global};
use super::counts::Stored;
use super::{auto, counts, interrupt, misspelt, screen};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use twolane::activations::Activations;
use twolane::pipeline::{self, is_package};
use twolane::plan::{ModelOptions, Options, Output, Rule, pattern_of_names};
use twolane::smooth::Smooth;
use twolane::text::printable;
use twolane::{Error, Result};

/// The largest file of rules.
const MOST_RULES_BYTES: u64 = 1 << 20;

/// Quantizes, or prints what would be done.
pub(super) fn run(args: &Convert, global: &Global) -> anyhow::Result<ExitCode> {
    let Some(input) = &args.input else {
        return Err(Error::Usage("INPUT is missing; see quantize --help".into()).into());
    };
    if let Some(meant) = misspelt::of(input) {
        return Err(Error::Usage(format!(
            "there is no file `{}`; did you mean the subcommand `{meant}`?",
            input.display()
        ))
        .into());
    }
    refuse_of_models(input, &of_models(args))?;
    let mut options = options(args)?;
    refuse_idle_counts(args, &options)?;
    if let Some(path) = &args.calibration {
        match counts::stored(path)? {
            Some(Stored::Counts(counts)) => options.calibration = Some(Arc::new(counts)),
            Some(Stored::Imatrix(imatrix)) => {
                refuse_beyond_importance(args, path)?;
                options.imatrix = Some(Arc::new(imatrix));
            }
            None if args.dry_run => return Err(needs_counts(path).into()),
            None => counts::count(input, path, &mut options, global.quiet)?,
        }
    }
    let told = auto::choose(args, input, &mut options, &screen::Bar::new(global.quiet))?;
    let job = pipeline::prepare(input, &options)?;
    if args.dry_run {
        match global.json {
            true => screen::write_json(job.plan())?,
            false => screen::write(job.plan().to_text(screen::width()).as_bytes())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::abandon_on_signal(job.folder())?;
    let report = job.run(&screen::Bar::new(global.quiet))?;
    if global.quiet {
        report.warnings.iter().for_each(|warning| eprintln!("warning: {}", printable(warning)));
    }
    if global.json {
        screen::write(report.to_json().as_bytes())?;
    } else if !global.quiet {
        let wrote = format!("wrote {}\n", job.folder().display());
        let told = told.unwrap_or_default();
        screen::write((report.to_text(screen::width()) + &told + &wrote).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses what an importance matrix cannot decide.
fn refuse_beyond_importance(args: &Convert, path: &Path) -> Result<()> {
    let given = [
        ("--activations", args.activations.is_some()),
        ("--smooth", args.smooth.is_some()),
        ("--equalize", args.equalize),
        ("--bias-correction", args.bias_correction),
        ("--gptq", args.gptq.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((word, _)) => Err(Error::Usage(format!(
            "{word}: {} is an imatrix, which knows the mean square of each input column and nothing else: \
             enough for --importance; let `quantize calibrate` count the rest",
            path.display()
        ))),
    }
}

/// Counts that nothing is decided by were meant for something: hours of counting, maybe.
fn refuse_idle_counts(args: &Convert, options: &Options) -> Result<()> {
    let scales = matches!(options.smooth, Some(Smooth::Measured(_)));
    match args.calibration.is_some() && !scales && options.counted_for().is_empty() {
        false => Ok(()),
        true => Err(Error::Usage(
            "--calibration: nothing would be decided by it; say what for: --activations int8 (INT8 \
             layers), --smooth (outlier columns), --bias-correction, --importance or --gptq (weights \
             that know their inputs); what --scheme auto measures on is --data"
                .into(),
        )),
    }
}

/// A plan follows from counts, and counting is no part of a dry run.
fn needs_counts(data: &Path) -> Error {
    Error::Usage(format!(
        "--dry-run: what becomes INT8 follows from counts, and {} holds none; let `quantize calibrate` \
         count first, and give what it wrote",
        data.display()
    ))
}

/// What chooses the graph of a model, and whether it was given.
fn of_models(args: &Convert) -> [(&'static str, bool); 9] {
    [
        ("--context", args.context.is_some()),
        ("--prefill-chunk", args.prefill_chunk.is_some()),
        ("--prefill-logits", args.prefill_logits.is_some()),
        // Beside --chip it says whose time is chosen by.
        ("--unit", args.unit.is_some() && args.chip.is_none()),
        ("--kv", args.kv.is_some()),
        ("--argmax", args.argmax),
        ("--names", args.names.is_some()),
        ("--layer-package", args.layer_package),
        ("--layers", args.layers.is_some()),
    ]
}

/// Refuses beside a package, whose graph stays, what would choose the graph of a model.
pub(super) fn refuse_of_models(input: &Path, words: &[(&'static str, bool)]) -> Result<()> {
    let given: Vec<&str> = words.iter().filter_map(|(word, is)| is.then_some(*word)).collect();
    match given.is_empty() || !is_package(input) {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{}: a package is compressed as it is; leave it out, or convert the model's own folder",
            given.join(", ")
        ))),
    }
}

/// The words, resolved; the counts of --calibration are not among them.
fn options(args: &Convert) -> Result<Options> {
    let default = Options::default();
    let mut rules = args.rule.iter().map(|rule| Rule::parse(rule)).collect::<Result<Vec<_>>>()?;
    if let Some(file) = &args.rules {
        rules.extend(read_rules(file)?);
    }
    let layers = args.layers.as_deref().map(pattern_of_names).transpose();
    let layers = layers.map_err(|why| Error::Usage(format!("--layers: {why}")))?;
    let mut outputs: BTreeSet<Output> = match args.to.is_empty() {
        // A package is compressed into a package.
        true if args.input.as_deref().is_some_and(is_package) => [Output::Mlpackage].into(),
        true => default.outputs,
        false => args.to.iter().copied().collect(),
    };
    if args.golden.is_some() {
        outputs.insert(Output::Golden);
    }
    let golden = match outputs.contains(&Output::Golden) {
        true => args.golden.map_or(1, usize::from),
        false => 0,
    };
    let activations = args.activations.clone();
    Ok(Options {
        calibration: None,
        imatrix: None,
        importance: args.importance,
        gptq: args.gptq,
        bias_correction: args.bias_correction,
        recalibration: None,
        smooth: args.equalize.then_some(Smooth::Equalized).or(args.smooth.map(Smooth::Measured)),
        activations: activations.map(|how| {
            let pairs = args.pairs.unwrap_or_default();
            Activations { float: args.a16.clone(), pairs, ..how }
        }),
        scheme: auto::scheme(args, default.scheme),
        rules,
        min_elements: args.min_elements.unwrap_or(default.min_elements),
        clip: args.clip.unwrap_or(default.clip),
        target: args.target.unwrap_or(default.target),
        keep_target: args.target.is_none(),
        requantize: args.requantize,
        non_finite: args.non_finite.unwrap_or(default.non_finite),
        outputs,
        golden,
        lanes: args.layout.unwrap_or(default.lanes),
        model: ModelOptions {
            layer_package: args.layer_package || layers.is_some(),
            context: args.context,
            prefill_chunk: args.prefill_chunk,
            unit: args.unit.unwrap_or(default.model.unit),
            kv: args.kv,
            argmax: args.argmax,
            prefill_logits: args.prefill_logits,
            names: args.names.unwrap_or(default.model.names),
            chunks: args.chunks.map_or(default.model.chunks, usize::from),
        },
        layers,
        sha256: args.sha256,
        output: args.output.clone(),
        force: args.force,
    })
}

fn read_rules(file: &Path) -> Result<Vec<Rule>> {
    let place = file.display().to_string();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MOST_RULES_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::Usage(format!("--rules {place}: there is no such file"))
            }
            std::io::ErrorKind::InvalidData => Error::Usage(format!(
                "--rules {place}: it is not UTF-8; a file of rules is TOML text"
            )),
            _ => Error::io("read", &place, error),
        })?;
    if text.len() as u64 > MOST_RULES_BYTES {
        return Err(Error::Usage(format!(
            "--rules {place}: it is larger than {MOST_RULES_BYTES} bytes; a file of rules is a few lines of TOML"
        )));
    }
    Rule::from_toml(&text, &place)
}
