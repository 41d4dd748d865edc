//! The words of the command line, and what `--help` says of them.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use twolane::plan::{Lanes, NonFinite, Output};
use twolane::scheme::{Clip, Scheme};
use twolane::target::Target;

const EXAMPLES: &str = "\
Examples:
  quantize model.safetensors
      INT8, one scale a channel: ./model-linear-int8/ with an .mlpackage and a Metal blob
  quantize --scheme palette-4,group:16 --rule 'lm_head|embed=palette-8' model/
      4-bit palettes for 16 channels each, 8 bits where the pattern matches
  quantize --dry-run --scheme linear-int4,block:32 model.safetensors
      what would be done, and every size, without reading a weight
  quantize inspect model-linear-int8/
      what quantizing cost, worst tensor first

Schemes:
  linear-int8, linear-int4    w ~ scale * (code - zero point)
      channel (default), tensor or block:32 share a scale; axis:1 for scales along the input;
      asymmetric adds zero points
  palette-8, -6, -4, -3, -2, -1    w ~ table[index]; the best table there is for these weights
      tensor (default) or group:16 share a table; vector:2 and vector:4 let one index stand for
      several weights; axis:1 turns groups and vectors along the input; lut-int8 stores INT8
      entries; unique is lossless or an error; channel-scale divides each output channel by a
      scale of its own (group:1, one table a channel, is usually better and costs about as much)
  float16, float32    not quantized

Rules in a file (--rules):
  [[rule]]
  match = \"lm_head|embed\"
  scheme = \"palette-8\"

Exit codes: 0 done, 1 failed check, 2 usage, 3 bad input, 4 machine, 70 bug in quantize, 130
interrupted (nothing is left behind)";

/// Quantize safetensors checkpoints for Apple silicon, on any machine
///
/// Reads F16, BF16 and F32 safetensors (a file, a folder, an index of shards), quantizes each
/// weight, and writes a CoreML .mlpackage, a blob that Metal maps, and a report of what it cost.
#[derive(Debug, Parser)]
#[command(
    name = "quantize",
    version,
    override_usage = "quantize [OPTIONS] INPUT\n       quantize inspect [OPTIONS] PATH",
    after_help = "See `quantize --help` for schemes and examples",
    after_long_help = EXAMPLES,
    subcommand_precedence_over_arg = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) convert: Convert,
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags of every command, before or after a subcommand.
#[derive(Args, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print one JSON document for machines instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Threads to work on; the bytes are the same on any number [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// The default command. Nothing has a clap default: a value means that it was given.
#[derive(Args, Debug)]
pub(crate) struct Convert {
    /// A .safetensors file, a folder of shards, or their index
    #[arg(required = true)]
    pub(crate) input: Option<PathBuf>,

    /// How weights are stored: linear-int8, linear-int4, palette-4, float16, ... with options after
    /// commas, such as linear-int4,block:32 (see --help) [default: linear-int8]
    #[arg(short, long, value_name = "S", help_heading = "Schemes")]
    pub(crate) scheme: Option<Scheme>,
    /// The scheme of tensors whose name the pattern matches anywhere; the first rule that matches
    /// wins, and rules come before those of --rules. May be repeated
    #[arg(short, long, value_name = "REGEX=S", help_heading = "Schemes")]
    pub(crate) rule: Vec<String>,
    /// More rules, from a TOML file of tables `rule` with match = "REGEX" and scheme = "S"
    #[arg(long, value_name = "FILE", help_heading = "Schemes")]
    pub(crate) rules: Option<PathBuf>,
    /// The range of linear codes: mse (least squared error), none (the absolute maximum) or
    /// percentile:99.9 of |w| [default: mse]
    #[arg(long, value_name = "C", help_heading = "Schemes")]
    pub(crate) clip: Option<Clip>,
    /// Leave tensors with fewer elements in float, unless a rule chooses for them [default: 2048]
    #[arg(long, value_name = "N", help_heading = "Schemes", allow_negative_numbers = true)]
    pub(crate) min_elements: Option<u64>,
    /// What a NaN or infinity does: error, or keep its tensor in float [default: error]
    #[arg(long, value_name = "WHAT", help_heading = "Schemes")]
    pub(crate) non_finite: Option<NonFinite>,

    /// The oldest system that must read the package: ios16, ios17, ios18, ios26, or macos13,
    /// macos14, macos15, macos26 [default: ios18]
    #[arg(short, long, value_name = "T", help_heading = "Outputs")]
    pub(crate) target: Option<Target>,
    /// What to write: mlpackage, metal, dense (dequantized FP16 safetensors), with commas between
    /// [default: mlpackage,metal]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Outputs")]
    pub(crate) to: Vec<Output>,
    /// The order of codes in the Metal blob: k2, k4, o2 or row [default: k2]
    #[arg(long, value_name = "LANES", help_heading = "Outputs")]
    pub(crate) layout: Option<Lanes>,
    /// Only matrices whose name this matches become functions of the layer package
    #[arg(long, value_name = "REGEX", help_heading = "Outputs")]
    pub(crate) layers: Option<String>,
    /// The output folder [default: ./STEM-SCHEME]
    #[arg(short, long, value_name = "DIR", help_heading = "Outputs")]
    pub(crate) output: Option<PathBuf>,
    /// Exchange an output folder that exists, if quantize made it
    #[arg(short, long, help_heading = "Outputs")]
    pub(crate) force: bool,
    /// Give the SHA-256 of each input in the report, beside its BLAKE3
    #[arg(long, help_heading = "Outputs")]
    pub(crate) sha256: bool,
    /// Print the plan with its exact sizes, and write nothing
    #[arg(short = 'n', long, help_heading = "Outputs")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what quantizing cost: a table of all tensors, worst first, or one tensor with plots
    Inspect(Inspect),
    /// Print a shell's completion script
    #[command(hide = true)]
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man {
        /// Of this subcommand
        of: Option<String>,
    },
}

/// The reader of reports.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quantize inspect model-linear-int8/
  quantize inspect model-linear-int8/ --tensor lm_head.weight
  quantize inspect model-linear-int8/ --min-sqnr 30 --quiet && echo good enough")]
pub(crate) struct Inspect {
    /// An output folder of quantize, the .mlpackage in it, or its report.json
    pub(crate) path: PathBuf,
    /// One tensor, with its error histogram and clip curve; part of a name will do if it is the
    /// only one
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: Option<String>,
    /// Fail (exit code 1) if a quantized tensor is below this SQNR
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub(crate) min_sqnr: Option<f64>,
    /// Also write all figures as CSV; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}
