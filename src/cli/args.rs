//! The words of the command line, and what `--help` says of them.

use super::calibrate::Calibrate;
use super::embed::Embed;
use super::generate::Generate;
use super::inspect::Inspect;
use super::plan::Plan;
use super::run::Run;
use super::validate::Validate;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use regex::Regex;
use std::path::PathBuf;
use twolane::activations::{Activations, Pairs};
use twolane::plan::{
    FeatureNames, Kv, Lanes, NonFinite, Output, PrefillLogits, Unit, pattern_of_names,
};
use twolane::quantize::Order;
use twolane::runtime::Mode;
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
  quantize validate model-linear-int8/ --against model.safetensors --min-sqnr 30
      weights, layers and outputs beside the source's, and speed; exit code 1 below 30 dB
  quantize run model-linear-int8/ --function lm_head_weight --inputs x.safetensors
      one function of the package, on this machine
  quantize generate model-linear-int8/ --prompt 'Once upon a time'
      what a language model makes of it
  quantize embed model-linear-int8/ --text 'a cat' --text 'a kitten'
      an encoder's vectors, and how near they are
  quantize calibrate model-float16/ texts.txt --out model.calibration.safetensors
      what its activations are: counts, and the INT8 ranges that follow
  quantize plan --chip M4 model/
      what each scheme would cost on that chip, predicted from bytes and operations
  quantize --activations int8 --calibration texts.txt model/
      W8A8: layers that multiply INT8 by INT8; --calibration takes such counts as well
  quantize --scheme auto --target-bpw 5 --data text.txt model/
      a scheme for each weight, measured on the text; model-auto.plan.toml says why
  quantize --scheme auto --max-kl 0.02 --chip M5 --time-of prefill --activations int8 \
      --calibration texts.txt --data text.txt model/
      the fastest plan that is near enough: INT8 by INT8 where that chip is faster so
  quantize --plan model-auto.plan.toml model/
      the same again, or as the plan was edited
  quantize --scheme palette-4,group:16 --unit ane --chunks 4 model/
      a language model for the Neural Engine, in four packages
  quantize --scheme palette-4,group:16 --names swift-transformers model/
      a language model as Hugging Face's Swift runtime loads it

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
  auto    each weight's own: the model is run with each weight alone in each candidate, and the mix
      is taken that is nearest to the model in float for its size

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
    override_usage = "quantize [OPTIONS] INPUT\n       quantize inspect [OPTIONS] PATH\n       \
                      quantize validate [OPTIONS] PACKAGE\n       quantize run [OPTIONS] PACKAGE\n       \
                      quantize generate [OPTIONS] PACKAGE\n       \
                      quantize embed [OPTIONS] PACKAGE\n       \
                      quantize calibrate [OPTIONS] PACKAGE DATA --out FILE\n       \
                      quantize plan [OPTIONS] --chip NAME INPUT",
    after_help = "See `quantize --help` for schemes and examples",
    after_long_help = EXAMPLES,
    subcommand_precedence_over_arg = true,
    subcommand_negates_reqs = true,
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
    /// Print errors and warnings only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Threads to work on; the bytes are the same on any number [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// The default command. Nothing has a clap default: a value means that it was given.
#[derive(Args, Debug)]
pub(crate) struct Convert {
    /// A .safetensors file, a folder of shards or their index (with config.json: the whole model), or
    /// an .mlpackage to compress
    #[arg(required = true)]
    pub(crate) input: Option<PathBuf>,

    /// How weights are stored: linear-int8, linear-int4, palette-4, float16, ... with options after
    /// commas, such as linear-int4,block:32 (see --help); or auto, which chooses for each weight by
    /// running the model [default: linear-int8]
    #[arg(short, long, value_name = "S", help_heading = "Schemes")]
    pub(crate) scheme: Option<SchemeWord>,
    /// The scheme of tensors whose name the pattern matches anywhere, or of constants of an .mlpackage
    /// that an operation takes as its weight (op:conv=S); the first rule that matches wins, and rules
    /// come before those of --rules. May be repeated
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
    #[arg(long, value_name = "N", help_heading = "Schemes", allow_negative_numbers = true, value_parser = whole)]
    pub(crate) min_elements: Option<u64>,
    /// Also compress weights of an .mlpackage that are compressed already: from the values that their
    /// codes stand for [default: they stay as they are]
    #[arg(long, help_heading = "Schemes")]
    pub(crate) requantize: bool,
    /// Quantize activations too, so that layers compute in INT8: int8, with options after commas:
    /// symmetric or asymmetric (default: whichever suits a value), matmul (attention's products as
    /// well), and how ranges are chosen: mse (default), min-max, moving-average, entropy or
    /// percentile:99.99. Needs --calibration
    #[arg(long, value_name = "A", help_heading = "Activations", requires = "calibration")]
    pub(crate) activations: Option<Activations>,
    /// What the model's activations in float are: counts that `quantize calibrate` wrote, or data as it
    /// takes them (a text, a file of inputs, a folder of images), to be counted first. For --importance
    /// also what llama-imatrix wrote (imatrix.gguf)
    #[arg(long, value_name = "DATA", help_heading = "Activations")]
    pub(crate) calibration: Option<PathBuf>,
    /// Move outlier columns between what layers read and their weights, by powers of two, which changes
    /// no product: 0.5 shares them (for --activations), 0 evens out the weights' columns, 1 those of the
    /// activations. Needs --calibration, which counts again once they have moved, if it is data
    #[arg(long, value_name = "ALPHA", help_heading = "Activations", num_args = 0..=1, default_missing_value = "0.5", require_equals = true, value_parser = share, requires = "calibration")]
    pub(crate) smooth: Option<f64>,
    /// The same without data: even out what rows of one layer (or a norm's gains) and columns of the next
    /// have between them
    #[arg(long, help_heading = "Activations", conflicts_with = "smooth")]
    pub(crate) equalize: bool,
    /// Layers, by the name of their weight, that read float activations all the same. May be repeated
    #[arg(long, value_name = "REGEX", help_heading = "Activations", requires = "activations", value_parser = pattern_of_names)]
    pub(crate) a16: Vec<Regex>,
    /// Where activations are quantized: chains (before INT8 layers, and between them where that keeps
    /// INT8), or coremltools (where its own pass does so; ranges are then symmetric extremes unless
    /// --activations says otherwise) [default: chains]
    #[arg(long, value_name = "WHERE", help_heading = "Activations", requires = "activations")]
    pub(crate) pairs: Option<Pairs>,
    /// Weigh errors of weights by the mean square of the inputs that --calibration counted, where
    /// ranges and palettes are chosen for the least error
    #[arg(long, help_heading = "Schemes", requires = "calibration")]
    pub(crate) importance: bool,
    /// Choose codes by GPTQ, from the Hessians that `quantize calibrate --hessians` recorded. Columns are
    /// taken by ORDER: energy (largest first) or natural [default: energy]
    #[arg(long, value_name = "ORDER", help_heading = "Schemes", num_args = 0..=1, require_equals = true, default_missing_value = "energy", requires = "calibration")]
    pub(crate) gptq: Option<Order>,
    /// Take from the biases of layers what rounding their weights adds to their outputs on the mean input,
    /// which --calibration counted
    #[arg(long, help_heading = "Schemes", requires = "calibration")]
    pub(crate) bias_correction: bool,
    /// With --scheme auto: at most so many stored bits a weight, over all tensors; the nearest plan
    #[arg(long, value_name = "BITS", help_heading = "Auto", conflicts_with_all = ["max_kl", "min_sqnr", "max_ms"], allow_negative_numbers = true)]
    pub(crate) target_bpw: Option<f64>,
    /// With --scheme auto and --chip: a call of at most so many milliseconds; the nearest plan
    #[arg(long, value_name = "MS", help_heading = "Auto", conflicts_with_all = ["max_kl", "min_sqnr"], allow_negative_numbers = true)]
    pub(crate) max_ms: Option<f64>,
    /// With --scheme auto: what is cheap is what is fast on this chip, as M4 or M5 Max, on the hardware
    /// of --unit, by the roofline; without it, what takes few bytes
    #[arg(long, value_name = "NAME", help_heading = "Auto")]
    pub(crate) chip: Option<String>,
    /// With --chip: the function whose call is timed, such as prefill [default: the package's, of a
    /// language model decode]
    #[arg(long, value_name = "FUNCTION", help_heading = "Auto")]
    pub(crate) time_of: Option<String>,
    /// With --scheme auto: a mean KL divergence from the model in float of at most so many nats; the
    /// cheapest plan. Needs --data with a text
    #[arg(
        long,
        value_name = "NATS",
        help_heading = "Auto",
        conflicts_with = "min_sqnr",
        allow_negative_numbers = true
    )]
    pub(crate) max_kl: Option<f64>,
    /// With --scheme auto: outputs of at least this SQNR, the mean error over outputs; the cheapest plan
    #[arg(long, value_name = "DB", help_heading = "Auto", allow_negative_numbers = true)]
    pub(crate) min_sqnr: Option<f64>,
    /// With --scheme auto: what is measured on: a text for a language model with its tokenizer.json, a
    /// .safetensors or .npz file of inputs, samples along the first axis, or a folder of images
    /// [default: drawn inputs]
    #[arg(long, value_name = "DATA", help_heading = "Auto")]
    pub(crate) data: Option<PathBuf>,
    /// With --scheme auto: what weights may become; with --activations int8, beside activations in float
    /// and, where it can be, beside INT8 ones. May be repeated [default: palette-4, palette-6 (both also
    /// with lut-int8, and with group:16), palette-8, linear-int8, float16; beside INT8 activations
    /// linear-int8, and palettes of 8, 6 and 4 bits with lut-int8]
    #[arg(long, value_name = "S", help_heading = "Auto")]
    pub(crate) candidate: Vec<Scheme>,
    /// Convert as this plan says, which --scheme auto wrote and anyone may have edited. With --scheme
    /// auto: where it is written, and where measurements are found again [default: beside the output
    /// folder, FOLDER.plan.toml]
    #[arg(long, value_name = "FILE", help_heading = "Auto")]
    pub(crate) plan: Option<PathBuf>,
    /// What a NaN or infinity does: error, or keep its tensor in float [default: error]
    #[arg(long, value_name = "WHAT", help_heading = "Schemes")]
    pub(crate) non_finite: Option<NonFinite>,

    /// The oldest system that must read the package: ios16, ios17, ios18, ios26, or macos13,
    /// macos14, macos15, macos26 [default: ios18; of an .mlpackage its own]
    #[arg(short, long, value_name = "T", help_heading = "Outputs")]
    pub(crate) target: Option<Target>,
    /// What to write: mlpackage, metal, dense (dequantized FP16 safetensors, in the
    /// checkpoint's own names and shapes), golden (see --golden),
    /// with commas between
    /// [default: mlpackage,metal]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Outputs")]
    pub(crate) to: Vec<Output>,
    /// The order of codes in the Metal blob: k2, k4, o2 or row [default: k2]
    #[arg(long, value_name = "LANES", help_heading = "Outputs")]
    pub(crate) layout: Option<Lanes>,
    /// Only matrices whose name this matches become functions of the layer package
    #[arg(long, value_name = "REGEX", help_heading = "Outputs")]
    pub(crate) layers: Option<String>,
    /// The longest text that the package of a language model takes, in tokens [default: what the model
    /// was trained for, at most 2048]
    #[arg(long, value_name = "N", help_heading = "Models", value_parser = size)]
    pub(crate) context: Option<usize>,
    /// Tokens of one call of its function `prefill` [default: 64]
    #[arg(long, value_name = "N", help_heading = "Models", value_parser = size)]
    pub(crate) prefill_chunk: Option<usize>,
    /// Whose logits that call returns: last, of the row that its input last_row names, which spares the
    /// head of the others, or all [default: last]
    #[arg(long, value_name = "ROWS", help_heading = "Models")]
    pub(crate) prefill_logits: Option<PrefillLogits>,
    /// The hardware that its operations suit: gpu, ane (channels first, 1x1 convolutions, one fixed
    /// shape), or cpu, which is as gpu [default: gpu]
    #[arg(long, value_name = "UNIT", help_heading = "Models")]
    pub(crate) unit: Option<Unit>,
    /// Where it keeps keys and values: state (from ios18 on), with --unit ane also io: as inputs and
    /// outputs [default: state where the target has it]
    #[arg(long, value_name = "PLACE", help_heading = "Models")]
    pub(crate) kv: Option<Kv>,
    /// What its inputs, outputs and states are called: transformers (input_ids, ...), or
    /// swift-transformers (inputIds, ...): one function whose position shapes say, as Hugging Face's
    /// Swift runtime loads it [default: transformers]
    #[arg(long, value_name = "WHOSE", help_heading = "Models")]
    pub(crate) names: Option<FeatureNames>,
    /// Split a language model by its layers into so many packages of about equal size, which run one
    /// after the other [default: 1]
    #[arg(long, value_name = "N", help_heading = "Models", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) chunks: Option<u16>,
    /// Also return the likeliest next token, as `next_token`
    #[arg(long, help_heading = "Models")]
    pub(crate) argmax: bool,
    /// Write one function for each weight matrix, also where config.json describes a model
    #[arg(long, help_heading = "Models")]
    pub(crate) layer_package: bool,
    /// The output folder [default: ./STEM-SCHEME]
    #[arg(short, long, value_name = "DIR", help_heading = "Outputs")]
    pub(crate) output: Option<PathBuf>,
    /// Exchange an output folder that exists, if quantize made it
    #[arg(short, long, help_heading = "Outputs")]
    pub(crate) force: bool,
    /// Also record N drawn inputs of each function, of ranged shapes three sizes in turn, and what the
    /// source's weights make of them in f32, as STEM.golden.safetensors: `validate` finds it
    #[arg(long, value_name = "N", help_heading = "Outputs", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) golden: Option<u16>,
    /// Give the SHA-256 of each input in the report, beside its BLAKE3
    #[arg(long, help_heading = "Outputs")]
    pub(crate) sha256: bool,
    /// Print the plan with its exact sizes, and write nothing
    #[arg(short = 'n', long, help_heading = "Outputs")]
    pub(crate) dry_run: bool,
}

/// What `--scheme` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SchemeWord {
    /// Each weight's own, by what it costs the model.
    Auto,
    /// One for all weights that no rule chooses for.
    Of(Scheme),
}

impl std::str::FromStr for SchemeWord {
    type Err = twolane::scheme::ParseError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word.trim() {
            "auto" => Ok(Self::Auto),
            word => word.parse().map(Self::Of),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what quantizing cost: a table of all tensors, worst first, or one tensor with plots; or
    /// what a package holds, and everything that is wrong with it
    Inspect(Inspect),
    /// Prove a package against its source: weights, layers, outputs, backends and speed
    Validate(Validate),
    /// Run a function of a package on this machine
    Run(Run),
    /// Continue a text with a language model's package, on this machine
    Generate(Generate),
    /// Turn texts into vectors with an encoder's package, on this machine
    Embed(Embed),
    /// Count a package's activations on data, and show the INT8 ranges that follow
    Calibrate(Calibrate),
    /// Predict what each scheme would cost on a chip: bytes, and the least time of a call
    Plan(Plan),
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

/// Token ids with commas between.
#[derive(Clone, Debug)]
pub(crate) struct Ids(pub(crate) Vec<i32>);

impl std::str::FromStr for Ids {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let ids = word.split(',').map(|id| {
            let wrong = || format!("`{}` is no token; give whole numbers from 0 on", id.trim());
            id.trim().parse().ok().filter(|id| *id >= 0).ok_or_else(wrong)
        });
        ids.collect::<Result<_, _>>().map(Self)
    }
}

/// A number from 0 on.
pub(super) fn whole(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| "give a whole number from 0 on".into())
}

/// A number of tokens: what follows from it, such as masks, stays within 32 bits.
pub(super) fn size(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(size @ 1..=1_048_576) => Ok(size),
        Ok(_) | Err(_) => Err("give a whole number from 1 to 1048576".into()),
    }
}

/// A share of a whole.
fn share(word: &str) -> Result<f64, String> {
    let number = word.parse().ok().filter(|x| (0.0..=1.0).contains(x));
    number.ok_or_else(|| "give a number from 0 to 1".into())
}

/// How a run rounds.
pub(super) fn mode(word: &str) -> Result<Mode, String> {
    match word.to_ascii_lowercase().as_str() {
        "f32" => Ok(Mode::F32),
        "f16" => Ok(Mode::F16),
        "ane" => Ok(Mode::Ane),
        _ => Err(format!("unknown mode `{word}`; use f32, f16 or ane")),
    }
}
