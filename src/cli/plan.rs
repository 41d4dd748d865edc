//! `quantize plan`: what each scheme would cost on a chip, before anything is quantized.

use super::args::{Global, Plan};
use super::convert::refuse_of_models;
use super::forecast::OnChip;
use super::screen;
use std::process::ExitCode;
use twolane::chips::Chip;
use twolane::chips::forecast::{Activations, Load};
use twolane::pipeline;
use twolane::plan::{ModelOptions, Options, Output};
use twolane::scheme::Scheme;
use twolane::{Error, Result};

/// What is compared where nothing is asked for.
const SCHEMES: [&str; 6] = [
    "float16",
    "linear-int8",
    "linear-int4,block:32",
    "palette-8,lut-int8",
    "palette-6",
    "palette-4,group:16",
];

/// Prints the least time of each function's call, scheme by scheme.
pub(super) fn run(args: &Plan, global: &Global) -> anyhow::Result<ExitCode> {
    let chip = Chip::find(&args.chip)?;
    let of_models = [
        ("--unit", args.unit.is_some()),
        ("--context", args.context.is_some()),
        ("--prefill-chunk", args.prefill_chunk.is_some()),
    ];
    refuse_of_models(&args.input, &of_models)?;
    let mut on = OnChip::new(chip);
    for (scheme, asked) in schemes(args)? {
        let options = options(args, scheme);
        let job = match pipeline::prepare(&args.input, &options) {
            // What a target lacks is no fault of who asks for all.
            Err(Error::Usage(_)) if !asked => continue,
            other => other?,
        };
        let words = scheme.to_string();
        let plan = job.plan();
        on.add(Some(&words), Activations::AsTheyAre, &plan.loads);
        if plan.loads.values().any(Load::gains_from_pairs) {
            on.add(Some(&words), Activations::Int8, &plan.loads);
        }
    }
    match global.json {
        true => screen::write_json(&on)?,
        false if global.quiet => {}
        false => screen::write(on.to_text(screen::width()).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The schemes to compare, and whether they were asked for.
fn schemes(args: &Plan) -> Result<Vec<(Scheme, bool)>> {
    if !args.scheme.is_empty() {
        return Ok(args.scheme.iter().map(|scheme| (*scheme, true)).collect());
    }
    let parse = |word: &&str| {
        let scheme = word.parse().map_err(|_| Error::bug(*word, "it is no scheme"))?;
        Ok((scheme, false))
    };
    SCHEMES.iter().map(parse).collect()
}

fn options(args: &Plan, scheme: Scheme) -> Options {
    let default = Options::default();
    Options {
        scheme,
        target: args.target.unwrap_or(default.target),
        keep_target: args.target.is_none(),
        outputs: [Output::Mlpackage].into(),
        model: ModelOptions {
            unit: args.unit.unwrap_or(default.model.unit),
            context: args.context,
            prefill_chunk: args.prefill_chunk,
            ..default.model
        },
        ..default
    }
}
