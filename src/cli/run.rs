//! `quantize run`: one function of a package, on inputs from a file or on drawn ones.

use super::args::{Global, mode};
use super::screen;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twolane::execute::{Engine, Inputs, choose, run as execute, write_outputs};
use twolane::model::decoder::ane::Host;
use twolane::report::Outputs;
use twolane::runtime::Mode;
use twolane::source::{Package, Source};
use twolane::{Error, Result};

/// One function, on inputs from a file or on drawn ones.
#[derive(Args, Debug)]
#[command(after_help = "\
Inputs are tensors of a safetensors file, whose names say what they are for:
  [FUNCTION.][stepN.][in.]NAME    an input; without stepN, of every step
  [FUNCTION.]state.NAME           what a state holds before the first step
`/` may stand for `.`; other names are left alone. Numbers become the declared types: FP16 is
rounded to, integers must fit. An image may be [1, C, H, W], [C, H, W], [H, W, C] or [H, W], in the
channel order that the package declares; its pixels are whole numbers from 0 to 255. An input with
a default value may be left out. With steps, states are carried from one to the next.

Without --inputs they are drawn, the same on any machine: floating-point numbers nearly standard
normal, integers over the rows of the table that they choose from (else 0), flags either way; masks
and angles of a language model for the Neural Engine are those of a text's beginning.

Examples:
  quantize run model.mlpackage
  quantize run model.mlpackage --function decode --inputs steps.safetensors --out out.safetensors
  quantize run model.mlpackage --inputs x.safetensors --mode ane")]
pub(crate) struct Run {
    /// An .mlpackage, or an output folder of quantize
    pub(crate) package: PathBuf,
    /// Inputs, as safetensors; see below [default: drawn]
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,
    /// Which function [default: the package's own default]
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Write outputs as safetensors: NAME, of several steps stepN.NAME, and states as final.NAME
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How many steps [default: as many as the file has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) steps: Option<u16>,
    /// Who evaluates: cpu (fast) or reference (the definition) [default: cpu, where it can]
    #[arg(long, value_name = "BACKEND")]
    pub(crate) on: Option<Engine>,
    /// How the reference rounds: f32 (not at all), f16 (each value of type FP16), ane (so, with the
    /// accumulator that the Neural Engine is reported to have) [default: f32]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub(crate) mode: Option<Mode>,
}

/// Runs a function, and prints or writes what comes out.
pub(super) fn run(args: &Run, global: &Global) -> anyhow::Result<ExitCode> {
    let mode = args.mode.unwrap_or_default();
    let mut engine = engine(args.on, mode)?;
    let package = Package::open(&args.package)?;
    let (name, function) = choose(&package.program, args.function.as_deref())?;
    let steps = args.steps.map(usize::from);
    let inputs = match &args.inputs {
        Some(file) => Inputs::read(&Source::open(file)?, &package.program, name, steps)?,
        None => {
            let host = Host::of(&package.program)?;
            Inputs::drawn(name, function, host.as_ref(), steps.unwrap_or(1))?
        }
    };
    let mut refused = None;
    let ran = match execute(function, &inputs, engine, mode) {
        // Nobody asked for the fast one.
        Err(why @ Error::Input { .. }) if args.on.is_none() && engine == Engine::Cpu => {
            refused = Some(format!("cpu cannot run it: {why}"));
            engine = Engine::Reference;
            execute(function, &inputs, engine, mode)?
        }
        ran => ran?,
    };
    if let Some(path) = &args.out {
        write_outputs(path, &ran.named())?;
    }
    let (steps, states) = ran.described();
    let over = |(layer, sums): (&String, &u64)| {
        format!(
            "{layer}: {sums} sums pass 32768 on the way, where a Neural Engine's may become infinite"
        )
    };
    let outputs = Outputs {
        package: file_name(&package.dir),
        function: name.into(),
        other_functions: match args.function {
            Some(_) => vec![],
            None => package.program.functions.keys().filter(|n| *n != name).cloned().collect(),
        },
        backend: match engine {
            Engine::Cpu => engine.to_string(),
            Engine::Reference => format!("{engine}, {}", mode_word(mode)),
        },
        inputs: args.inputs.as_deref().map_or("drawn".into(), file_name),
        steps,
        states,
        warnings: ran.overflows.iter().map(over).chain(refused).collect(),
    };
    if global.json {
        screen::write_json(&outputs)?;
    } else if !global.quiet {
        let mut text = outputs.to_text(screen::width());
        if let Some(path) = &args.out {
            text.push_str(&format!("wrote {}\n", path.display()));
        }
        screen::write(text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The backend that was asked for; without a word the fast one, where it rounds as asked.
fn engine(on: Option<Engine>, mode: Mode) -> Result<Engine> {
    match (on, mode) {
        (Some(Engine::Cpu), Mode::F16 | Mode::Ane) => Err(Error::Usage(format!(
            "--mode {} is the reference's; use --on reference",
            mode_word(mode)
        ))),
        (Some(engine), _) => Ok(engine),
        (None, Mode::F32) => Ok(Engine::Cpu),
        (None, Mode::F16 | Mode::Ane) => Ok(Engine::Reference),
    }
}

pub(super) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::F32 => "f32",
        Mode::F16 => "f16",
        Mode::Ane => "ane",
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}
