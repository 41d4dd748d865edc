//! `quantize validate`: a package beside its source.

use super::args::{Global, mode};
use super::{exit, screen, tokenizer};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twolane::execute::{Engine, replace_file};
use twolane::report::Validation;
use twolane::report::validation::{FILE, Limits};
use twolane::runtime::Mode;
use twolane::source::Package;
use twolane::validate::{Options, Text, validate};
use twolane::{Error, Result};

/// A package beside its source.
#[derive(Args, Debug)]
#[command(after_help = "\
Shown, worst first: each compressed weight beside the source's; each layer, fed with the source's
activations; outputs for the same inputs, with KL divergence and top-1 agreement where the output
is a distribution over classes (its name holds `logit` or `prob`, softmax or classify makes it, or
--logits names it), where every position of every step is a row of its own; whether the backends
agree, within 3e-5 of the largest element, for both compute in f32 (of INT8 activations, code by
code); and speed beside a probe of this machine.

SOURCE is the package before it was compressed, or the checkpoint: then its weights take the place
of the compressed ones, in f32. Without it, STEM.golden.safetensors beside the package (quantize
--golden N) is what outputs are compared with.

Exit code 1 if a limit does not hold, the backends differ, an output is NaN or infinite where the
source's is not, or a weight has no counterpart.

Examples:
  quantize validate model-linear-int8/ --against model.safetensors
  quantize validate q.mlpackage --against f16.mlpackage --inputs data.safetensors --max-kl 0.01
  quantize validate model-linear-int8/ --against model/ --text test.txt
  quantize validate model-linear-int8/ --skip-speed --min-cosine 0.999 --quiet && echo good enough")]
pub(crate) struct Validate {
    /// An .mlpackage, or an output folder of quantize
    pub(crate) package: PathBuf,
    /// What it was made from: an .mlpackage or safetensors
    #[arg(long, value_name = "SOURCE")]
    pub(crate) against: Option<PathBuf>,
    /// Who evaluates: reference and cpu, with a comma between; the outputs of the first are compared
    /// with the source's [default: reference,cpu]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) on: Vec<Engine>,
    /// Inputs, as safetensors named as for `quantize run` [default: recorded, else drawn]
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,
    /// Recorded inputs and outputs [default: STEM.golden.safetensors beside the package]
    #[arg(long, value_name = "FILE", conflicts_with = "inputs")]
    pub(crate) golden: Option<PathBuf>,
    /// Only this function
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Drawn inputs of each function [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) samples: Option<u16>,
    /// How the reference rounds the quantized package: f32, f16, or ane, which also counts sums beyond
    /// a Neural Engine's accumulator [default: f32]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub(crate) mode: Option<Mode>,
    /// An output whose last dimension (of [N, C, 1, 1] the second) runs over classes; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) logits: Vec<String>,
    /// A plain text for a language model: perplexity of package and source, KL divergence and top-1
    /// agreement over its tokens
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// Do not measure time
    #[arg(long)]
    pub(crate) skip_speed: bool,
    /// Keep the document as validation.json in the package's folder, for `quantize inspect`
    #[arg(long)]
    pub(crate) save: bool,
    /// Fail (exit code 1) if a weight, layer or output has a lower cosine
    #[arg(long, value_name = "X", help_heading = "Limits", allow_negative_numbers = true)]
    pub(crate) min_cosine: Option<f64>,
    /// Fail (exit code 1) if a weight, layer or output is below this SQNR
    #[arg(long, value_name = "DB", help_heading = "Limits", allow_negative_numbers = true)]
    pub(crate) min_sqnr: Option<f64>,
    /// Fail (exit code 1) if an output has a higher mean KL divergence, in nats
    #[arg(long, value_name = "X", help_heading = "Limits", allow_negative_numbers = true)]
    pub(crate) max_kl: Option<f64>,
}

/// Prints what was found, and holds it against the limits.
pub(super) fn run(args: &Validate, global: &Global) -> anyhow::Result<ExitCode> {
    let limits = Limits {
        min_cosine: finite("--min-cosine", args.min_cosine)?,
        min_sqnr_db: finite("--min-sqnr", args.min_sqnr)?,
        max_kl: finite("--max-kl", args.max_kl)?,
    };
    let options = Options {
        package: args.package.clone(),
        against: args.against.clone(),
        golden: args.golden.clone(),
        inputs: args.inputs.clone(),
        function: args.function.clone(),
        samples: args.samples.map_or(1, usize::from),
        engines: match args.on.is_empty() {
            true => Engine::ALL.into(),
            false => args.on.clone(),
        },
        mode: args.mode.unwrap_or_default(),
        logits: args.logits.clone(),
        speed: !args.skip_speed,
        text: args.text.as_deref().map(|file| text(args, file)).transpose()?,
    };
    let mut found = validate(&options, &screen::Bar::new(global.quiet))?;
    found.judge(&limits);
    if args.save {
        let place = match Package::is_in_chunks(&args.package) {
            true => args.package.join(FILE),
            false => Package::open(&args.package)?.dir.with_file_name(FILE),
        };
        let text = found.to_json();
        replace_file(&place, &|file| file.write_all(text.as_bytes()))?;
    }
    let verdict = tell(&found, global)?;
    if limits.is_empty() && !global.json && !global.quiet {
        eprintln!(
            "no limit was given: figures are for you to judge (--min-cosine, --min-sqnr, --max-kl)"
        );
    }
    Ok(verdict)
}

/// A file of text as ids.
fn text(args: &Validate, file: &Path) -> Result<Text> {
    let text = screen::read_text(file)?;
    let tokenizer = tokenizer::beside(&args.package, "")?;
    // Tokens at the beginning stand before each window.
    let (begin, ids) = tokenizer::encode_open(&tokenizer, &text)?;
    Ok(Text { begin, ids })
}

/// Prints a validation; its verdict is the exit code.
pub(super) fn tell(found: &Validation, global: &Global) -> anyhow::Result<ExitCode> {
    let shown = match (global.json, global.quiet) {
        (true, _) => found.to_json(),
        (false, false) => found.to_text(screen::width()),
        (false, true) => String::new(),
    };
    if global.quiet && !global.json {
        found.failed.iter().for_each(|failure| eprintln!("failed: {failure}"));
    }
    match screen::write(shown.as_bytes()) {
        // A reader that has seen enough does not change the verdict.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ if found.failed.is_empty() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(exit::FAILED_CHECK)),
    }
}

/// A limit that is a number.
pub(super) fn finite(word: &str, limit: Option<f64>) -> Result<Option<f64>> {
    match limit {
        Some(limit) if !limit.is_finite() => {
            Err(Error::Usage(format!("{word} {limit} is no finite number")))
        }
        limit => Ok(limit),
    }
}
