//! `quantize validate`: a package beside its source.

use super::args::{Global, Validate};
use super::{exit, screen, tokenizer};
use std::path::Path;
use std::process::ExitCode;
use twolane::execute::{Engine, replace_file};
use twolane::report::Validation;
use twolane::report::validation::{FILE, Limits};
use twolane::source::Package;
use twolane::validate::{Options, Text, validate};
use twolane::{Error, Result};

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
