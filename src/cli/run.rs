//! `quantize run`: one function of a package, on inputs from a file or on drawn ones.

use super::args::{Global, Run};
use super::screen;
use std::path::Path;
use std::process::ExitCode;
use twolane::execute::{Engine, Inputs, choose, run as execute, write_outputs};
use twolane::model::decoder::ane::Host;
use twolane::report::Outputs;
use twolane::runtime::Mode;
use twolane::source::{Package, Source};
use twolane::{Error, Result};

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
