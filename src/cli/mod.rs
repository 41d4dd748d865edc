//! The command line: parses words, runs one command, turns its outcome into an exit code.

mod args;
mod auto;
mod calibrate;
mod convert;
mod counts;
mod data;
mod embed;
mod exit;
mod forecast;
mod generate;
mod inspect;
mod int8_path;
mod interrupt;
mod misspelt;
mod plan;
mod run;
mod screen;
mod tokenizer;
mod validate;

use args::{Cli, Command};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args as _, CommandFactory, FromArgMatches, parser::ValueSource};
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use twolane::{Error, text};

/// Runs the program on its words, the program's own name first.
pub(crate) fn main(words: Vec<OsString>) -> ExitCode {
    exit::report_panics();
    let cli = match parse(&words) {
        Ok(cli) => cli,
        Err(Stop::Clap(error)) => {
            // Where the words go has been closed: there is nobody to tell.
            let _ = error.print();
            let tip = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidValue);
            if let Some(meant) = tip.then(|| misspelt::in_words(&words)).flatten() {
                eprintln!("\n  tip: did you mean the subcommand `{meant}`?");
            } else if let Some(word) = second_input(&error) {
                eprintln!(
                    "\n  tip: one INPUT is converted at a time; an output folder is `--output {word}`"
                );
            }
            return ExitCode::from(error.exit_code() as u8);
        }
        Err(Stop::Usage(error)) => return exit::finish(Err(error.into()), false),
    };
    let json = cli.global.json;
    exit::finish(exit::catch_panic(|| dispatch(cli)), json)
}

/// The word that clap had no place for, if it is no flag: a second path.
fn second_input(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(word) if error.kind() == ErrorKind::UnknownArgument => {
            (!word.starts_with('-')).then(|| text::printable(word).into_owned())
        }
        _ => None,
    }
}

/// Why no command is run.
enum Stop {
    /// Clap's own errors, help and version.
    Clap(clap::Error),
    /// What clap cannot see.
    Usage(Error),
}

fn parse(words: &[OsString]) -> Result<Cli, Stop> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(words).map_err(Stop::Clap)?;
    if let Some((name, _)) = matches.subcommand() {
        refuse_stray_flags(&matches, name).map_err(Stop::Usage)?;
    }
    Cli::from_arg_matches(&matches).map_err(|error| Stop::Clap(error.format(&mut command)))
}

/// Refuses arguments of the default command beside a subcommand, which clap would let pass.
fn refuse_stray_flags(matches: &ArgMatches, subcommand: &str) -> Result<(), Error> {
    let default = args::Convert::augment_args(clap::Command::new("quantize"));
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let Some(stray) = default.get_arguments().find(|arg| given(arg.get_id().as_str())) else {
        return Ok(());
    };
    let word = match stray.get_long() {
        Some(long) => format!("--{long}"),
        None => "an INPUT".into(),
    };
    Err(Error::Usage(format!(
        "{word} stands before the subcommand `{subcommand}` and belongs to `quantize INPUT`; leave \
         one of them out (a file named {subcommand} is ./{subcommand})"
    )))
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, convert, command } = cli;
    if let Some(threads) = global.threads {
        // A pool does not exist yet, for this is the first use: only the machine can refuse.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
        let refused =
            |error| Error::io("start", format!("{threads} threads"), io::Error::other(error));
        pool.map_err(refused)?;
    }
    match command {
        None => convert::run(&convert, &global),
        Some(Command::Inspect(args)) => inspect::run(&args, &global),
        Some(Command::Validate(args)) => validate::run(&args, &global),
        Some(Command::Run(args)) => run::run(&args, &global),
        Some(Command::Generate(args)) => generate::run(&args, &global),
        Some(Command::Embed(args)) => embed::run(&args, &global),
        Some(Command::Calibrate(args)) => calibrate::run(&args, &global),
        Some(Command::Plan(args)) => plan::run(&args, &global),
        Some(Command::Completions { shell }) => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "quantize", &mut script);
            screen::write(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Man { of }) => {
            screen::write(&man(of.as_deref())?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The manual page of the program or of one of its subcommands.
fn man(of: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let page = match of {
        None => command,
        Some(name) => match command.find_subcommand(name) {
            Some(sub) => sub.clone(),
            None => {
                return Err(Error::Usage(format!(
                    "there is no subcommand `{name}`; use inspect, validate, run, generate, embed, calibrate or plan"
                ))
                .into());
            }
        },
    };
    let mut out = vec![];
    clap_mangen::Man::new(page).render(&mut out)?;
    Ok(out)
}
