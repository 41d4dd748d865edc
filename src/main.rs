//! `quantize`: words in, words out.
//!
//! | module | what it does |
//! |---|---|
//! | `args` | the words: flags, subcommands, help |
//! | `convert` | the default command: words → options → the pipeline |
//! | `inspect` | a finished run: table, plots, CSV, gate |
//! | `run` | a function of a package, on this machine |
//! | `validate` | a package beside its source |
//! | `interrupt` | Ctrl-C: nothing half-built is left |
//! | `misspelt` | the subcommand that a word that is no file looks like |
//! | `screen` | standard output, its width, the progress bar |
//! | `exit` | errors → exit codes |

mod cli;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os().collect())
}
