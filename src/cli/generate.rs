//! `quantize generate`: a text, continued.

use super::args::{Global, Ids, size, whole};
use super::screen;
use super::tokenizer::{self, Pieces};
use clap::Args;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokenizers::Tokenizer;
use twolane::execute::Engine;
use twolane::generate::{Generated, Sampler, Session, Stop, generate};
use twolane::model::ENDS;
use twolane::model::decoder::ane::Host;
use twolane::runtime::Mode;
use twolane::source::Package;
use twolane::{Error, Result};

/// A text and what follows it.
#[derive(Args, Debug)]
#[command(after_help = "\
Without --temperature the likeliest token is taken each time, and the same text comes out on any
machine whose arithmetic rounds alike.

Examples:
  quantize generate model-linear-int8/ --prompt 'Once upon a time'
  quantize generate model-linear-int8/ --prompt 'The ' --temperature 0.8 --seed 7 --max-tokens 64
  quantize generate model.mlpackage --ids 1,403,407 --json")]
pub(crate) struct Generate {
    /// The package of a language model, or an output folder of quantize
    pub(crate) package: PathBuf,
    /// The text to continue; needs the tokenizer.json that quantize puts beside the package
    #[arg(long, value_name = "TEXT", required_unless_present = "ids")]
    pub(crate) prompt: Option<String>,
    /// The text to continue, as token ids with commas between
    #[arg(long, value_name = "LIST", conflicts_with = "prompt", allow_negative_numbers = true)]
    pub(crate) ids: Option<Ids>,
    /// The most tokens that follow [default: 256, or what fits]
    #[arg(short = 'n', long, value_name = "N", value_parser = size)]
    pub(crate) max_tokens: Option<usize>,
    /// Go on behind the token that ends a text
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Choose at random, by softmax(logits / T) [default: 0, the likeliest]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// The seed of random choices, which --temperature asks for [default: 0]
    #[arg(long, value_name = "N", requires = "temperature", allow_negative_numbers = true, value_parser = whole)]
    pub(crate) seed: Option<u64>,
    /// Who evaluates: cpu or reference [default: cpu]
    #[arg(long, value_name = "BACKEND")]
    pub(crate) on: Option<Engine>,
}

/// Tokens that follow, if nobody says how many.
const MOST: usize = 256;

/// Continues a text, and prints it as it comes.
pub(super) fn run(args: &Generate, global: &Global) -> anyhow::Result<ExitCode> {
    let packages = Package::open_all(&args.package)?;
    let tokenizer = match &args.prompt {
        Some(_) => Some(tokenizer::beside(&args.package, ", or give --ids instead of text")?),
        None => tokenizer::beside(&args.package, "").ok(),
    };
    let prompt = match (&args.prompt, &tokenizer) {
        (Some(text), Some(tokenizer)) => {
            let (before, own) = tokenizer::encode_open(tokenizer, text)?;
            [before, own].concat()
        }
        _ => args.ids.as_ref().map_or(Vec::new(), |ids| ids.0.clone()),
    };
    let engine = args.on.unwrap_or(Engine::Cpu);
    let hosts = packages.iter().map(|package| Host::of(&package.program));
    let hosts = hosts.collect::<Result<Vec<_>>>()?;
    let functions = packages.iter().map(|package| package.program.functions.values());
    let chain = functions.zip(hosts.iter().map(Option::as_ref));
    let mut session = Session::chain(chain, engine.backend(Mode::F32))?;
    let mut sampler = Sampler::new(args.temperature.unwrap_or(0.0), args.seed.unwrap_or(0))?;
    let ends = match args.ignore_eos {
        true => Vec::new(),
        false => packages.first().map(ends).transpose()?.unwrap_or_default(),
    };
    session.check(&prompt)?;
    let mut text = Text::begin(tokenizer.as_ref(), args.prompt.as_deref(), &prompt, !global.json)?;
    let most = args.max_tokens.unwrap_or(MOST);
    let mut listen = |token: i32| match text.push(token) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if is_closed_pipe(&error) => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    };
    let generated = generate(&mut session, &prompt, &mut sampler, most, &ends, &mut listen)?;
    text.finish()?;
    if global.json {
        let text = tokenizer.is_some().then_some(text.new);
        screen::write_json(&Document::new(&prompt, &generated, text))?;
    } else {
        screen::write(b"\n")?;
        if !global.quiet {
            eprintln!("{}", times(prompt.len(), &generated));
            if generated.stop == Stop::Context {
                eprintln!(
                    "the package takes no more than {} tokens; --context N at its conversion chooses",
                    session.context()
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tokens that end a text, by the package's metadata.
fn ends(package: &Package) -> Result<Vec<i32>> {
    let ends = package.program.metadata.user.get(ENDS).map_or("", String::as_str);
    let ids = ends.split(',').map(str::trim).filter(|id| !id.is_empty());
    let wrong = |_| {
        Error::input(
            format!("{ENDS} in the package's metadata"),
            format!("holds {ends:?}"),
            "token ids stand there, with commas between; convert the model again",
        )
    };
    ids.map(|id| id.parse().map_err(wrong)).collect()
}

/// The text as it grows: pieces of the tokenizer, or ids.
struct Text<'t> {
    pieces: Option<Pieces<'t>>,
    show: bool,
    /// What follows the prompt.
    new: String,
}

impl<'t> Text<'t> {
    /// A text that begins with a prompt, which is shown as it was given.
    fn begin(
        tokenizer: Option<&'t Tokenizer>,
        given: Option<&str>,
        ids: &[i32],
        show: bool,
    ) -> Result<Self> {
        let mut text = Self { pieces: tokenizer.map(Pieces::new), show: false, new: String::new() };
        for &id in ids {
            text.push(id)?;
        }
        let seen = std::mem::take(&mut text.new);
        text.show = show;
        text.put(given.unwrap_or(&seen))?;
        Ok(text)
    }

    fn push(&mut self, id: i32) -> Result<()> {
        let piece = match &mut self.pieces {
            Some(pieces) => pieces.push(id)?,
            None => format!("{id} "),
        };
        self.put(&piece)?;
        self.new.push_str(&piece);
        Ok(())
    }

    /// Shows what was held back.
    fn finish(&mut self) -> Result<()> {
        let Some(pieces) = &mut self.pieces else { return Ok(()) };
        let piece = pieces.finish()?;
        self.put(&piece)?;
        self.new.push_str(&piece);
        Ok(())
    }

    fn put(&self, text: &str) -> Result<()> {
        if self.show {
            put(text).map_err(|why| Error::io("write", "the text", why))
        } else {
            Ok(())
        }
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether whoever read the text has gone.
fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

/// Tokens a second; `None` for no time.
fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}

fn times(prompt: usize, generated: &Generated) -> String {
    let shown = |rate: Option<f64>| rate.map_or("–".into(), |rate| format!("{rate:.1}"));
    let decoded = generated.ids.len().saturating_sub(1);
    format!(
        "prefill: {prompt} tokens, {} tokens/s; decode: {} tokens, {} tokens/s",
        shown(rate(prompt, generated.prefill)),
        generated.ids.len(),
        shown(rate(decoded, generated.decode)),
    )
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Document<'a> {
    prompt_ids: &'a [i32],
    #[serde(flatten)]
    generated: &'a Generated,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    prefill_seconds: f64,
    decode_seconds: f64,
    prefill_tokens_per_second: Option<f64>,
    decode_tokens_per_second: Option<f64>,
}

impl<'a> Document<'a> {
    fn new(prompt_ids: &'a [i32], generated: &'a Generated, text: Option<String>) -> Self {
        Self {
            prompt_ids,
            generated,
            text,
            prefill_seconds: generated.prefill.as_secs_f64(),
            decode_seconds: generated.decode.as_secs_f64(),
            prefill_tokens_per_second: rate(prompt_ids.len(), generated.prefill),
            decode_tokens_per_second: rate(generated.ids.len().saturating_sub(1), generated.decode),
        }
    }
}
