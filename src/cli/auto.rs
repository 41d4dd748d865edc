//! `--scheme auto` and `--plan FILE`: a scheme for each weight, measured or replayed.

use super::args::Convert;
use super::args::SchemeWord;
use super::{data, screen, tokenizer};
use std::path::Path;
use std::rc::Rc;
use twolane::auto::{Budget, Plan};
use twolane::chips::Chip;
use twolane::execute::RowData;
use twolane::pipeline::Progress;
use twolane::pipeline::auto::{Data, ROWS, Timed, Wanted, auto};
use twolane::plan::Options;
use twolane::scheme::{Float, Scheme};
use twolane::validate::Text;
use twolane::{Error, Result};

/// Adds to the options what a plan chooses: the one of `--plan`, or one that is measured now. Returns
/// what it reaches, in words.
pub(super) fn choose(
    args: &Convert,
    input: &Path,
    options: &mut Options,
    progress: &dyn Progress,
) -> Result<Option<String>> {
    let is_auto = args.scheme == Some(SchemeWord::Auto);
    if !is_auto {
        refuse_without_auto(args)?;
        let Some(file) = &args.plan else { return Ok(None) };
        take(&Plan::read(file)?, file, options)?;
        return Ok(None);
    }
    let wanted = Wanted {
        timed: timed(args)?,
        budget: budget(args)?,
        candidates: args.candidate.clone(),
        data: measured_on(args, input)?,
        file: args.plan.clone(),
        converts: !args.dry_run,
    };
    let chosen = auto(input, options, &wanted, progress)?;
    take(&chosen.plan, &chosen.file, options)?;
    options.output.get_or_insert(chosen.folder);
    Ok(Some(format!("plan: {}; {}\n", chosen.plan.reached, chosen.file.display())))
}

/// The scheme of what no rule and no plan chooses for, where one does: float.
pub(super) fn scheme(args: &Convert, default: Scheme) -> Scheme {
    match (args.scheme, &args.plan) {
        (Some(SchemeWord::Of(scheme)), _) => scheme,
        (Some(SchemeWord::Auto), _) | (None, Some(_)) => Scheme::Float(Float::F16),
        (None, None) => default,
    }
}

/// Adds a plan's schemes to the rules, and what it keeps in float to the activations' exceptions.
fn take(plan: &Plan, file: &Path, options: &mut Options) -> Result<()> {
    let place = file.display().to_string();
    options.rules.extend(plan.rules(&place)?);
    match &mut options.activations {
        Some(activations) => {
            activations.float.extend(plan.in_float());
            activations.planned = plan.in_float().next().is_some();
        }
        None if plan.has_int8() => {
            return Err(Error::Usage(format!(
                "--plan {place}: some of its layers read INT8 activations; add --activations int8 and \
                 --calibration with data, or set `activations` of all to \"float\""
            )));
        }
        None => {}
    }
    Ok(())
}

/// Whose time is chosen by.
fn timed(args: &Convert) -> Result<Option<Timed>> {
    let Some(chip) = &args.chip else {
        return match (&args.time_of, args.max_ms) {
            (None, None) => Ok(None),
            (_, Some(_)) => Err(needs_chip("--max-ms")),
            (Some(_), None) => Err(needs_chip("--time-of")),
        };
    };
    Ok(Some(Timed { chip: Chip::find(chip)?, function: args.time_of.clone() }))
}

fn needs_chip(word: &str) -> Error {
    Error::Usage(format!("{word}: time is a chip's; add --chip NAME"))
}

fn refuse_without_auto(args: &Convert) -> Result<()> {
    let given = [
        ("--target-bpw", args.target_bpw.is_some()),
        ("--max-kl", args.max_kl.is_some()),
        ("--min-sqnr", args.min_sqnr.is_some()),
        ("--data", args.data.is_some()),
        ("--candidate", !args.candidate.is_empty()),
        ("--chip", args.chip.is_some()),
        ("--time-of", args.time_of.is_some()),
        ("--max-ms", args.max_ms.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((word, _)) => Err(Error::Usage(format!(
            "{word} is for --scheme auto, which measures; with another scheme or with --plan nothing is \
             chosen: leave it out"
        ))),
    }
}

/// What must hold.
fn budget(args: &Convert) -> Result<Budget> {
    let budget = match (args.target_bpw, args.max_ms, args.max_kl, args.min_sqnr) {
        (Some(bits), ..) => Budget::Bits(bits),
        (_, Some(ms), ..) => Budget::Time(ms),
        (.., Some(nats), _) => Budget::Kl(nats),
        (.., Some(db)) => Budget::Sqnr(db),
        (None, None, None, None) => {
            return Err(Error::Usage(
                "--scheme auto: say what the plan must hold, with --target-bpw BITS, --max-kl NATS, \
                 --min-sqnr DB or, with --chip, --max-ms MS"
                    .into(),
            ));
        }
    };
    let (Budget::Bits(limit) | Budget::Time(limit) | Budget::Kl(limit) | Budget::Sqnr(limit)) =
        budget;
    let can_be = limit.is_finite() && (limit >= 0.0 || matches!(budget, Budget::Sqnr(_)));
    match can_be {
        true => Ok(budget),
        false => Err(Error::Usage(format!("{budget}: give a number that can be reached"))),
    }
}

/// What is measured on.
fn measured_on(args: &Convert, input: &Path) -> Result<Data> {
    let Some(path) = &args.data else { return Ok(Data::Drawn) };
    let folder = if input.is_file() { input.parent().unwrap_or(Path::new("")) } else { input };
    if let Some(rows) = RowData::open(path, folder)? {
        return Ok(Data::Rows(Rc::new(rows.spread(ROWS))));
    }
    let text = screen::read_text(path)?;
    let tokenizer = tokenizer::beside(folder, data::INSTEAD)?;
    let (begin, ids) = tokenizer::encode_open(&tokenizer, &text)?;
    Ok(Data::Text(Text { begin, ids }))
}
