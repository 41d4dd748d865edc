//! `quantize plan`: what each scheme would cost on a chip, before anything is quantized.

use super::args::{Global, size};
use super::convert::refuse_of_models;
use super::forecast::OnChip;
use super::screen;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use twolane::chips::Chip;
use twolane::chips::forecast::{Activations, Load};
use twolane::pipeline;
use twolane::plan::{ModelOptions, Options, Output, Unit};
use twolane::scheme::Scheme;
use twolane::target::Target;
use twolane::{Error, Result};

/// Schemes on a chip, before anything is quantized.
#[derive(Args, Debug)]
#[command(after_help = "\
For each function of the package that each scheme would give, and each unit of the chip: the least time
of a call, and what most of it waits for, bytes or arithmetic. A product waits for its weight's bytes
or for its multiplications, whichever takes longer; keys and values are read once a call, of a full
context. This is a model of published figures, each with its source in --json; nothing is measured,
and real calls take longer. `unknown` is a unit of which nobody published what it needs; `~` stands
where nobody measured how fast a Neural Engine reads weights: then it is 83 % of the DRAM's
bandwidth, and no more than 159 GB/s.

Only headers are read.

Examples:
  quantize plan --chip M4 model/
  quantize plan --chip M4 --context 4096 --prefill-chunk 512 model/
  quantize plan --chip 'M5 Max' --scheme linear-int8 --scheme palette-4,group:16 --unit ane model/
  quantize plan --chip m1 --json model.safetensors")]
pub(crate) struct Plan {
    /// What would be quantized: safetensors (a file, a folder, an index of shards) or an .mlpackage
    pub(crate) input: PathBuf,
    /// The chip, as Apple writes it; case, spaces and hyphens do not matter
    #[arg(long, value_name = "NAME")]
    pub(crate) chip: String,
    /// A scheme to look at; may be repeated [default: float16, linear-int8, linear-int4,block:32,
    /// palette-8,lut-int8, palette-6 and palette-4,group:16]
    #[arg(long, value_name = "SCHEME")]
    pub(crate) scheme: Vec<Scheme>,
    /// Which systems must read the package [default: ios18]
    #[arg(long, value_name = "OS")]
    pub(crate) target: Option<Target>,
    /// Which hardware the operations of a language model suit [default: gpu]
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<Unit>,
    /// The longest text that a language model's package takes, in tokens
    #[arg(long, value_name = "N", value_parser = size)]
    pub(crate) context: Option<usize>,
    /// How many tokens of a prompt a language model takes at once
    #[arg(long, value_name = "N", value_parser = size)]
    pub(crate) prefill_chunk: Option<usize>,
}

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
