//! Errors and panics → words and exit codes.

use super::screen;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use twolane::text::printable;
use twolane::{Error, formats};

/// A check that the user asked for failed.
pub(crate) const FAILED_CHECK: u8 = 1;
const USAGE: u8 = 2;
/// What was given cannot be used.
pub(crate) const BAD_INPUT: u8 = 3;
const MACHINE: u8 = 4;
const BUG: u8 = 70;

/// Prints the error, if there is one, and gives the exit code; for machines the error is also the document
/// that they wait for. A closed pipe ends quietly.
pub(crate) fn finish(outcome: anyhow::Result<ExitCode>, json: bool) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let (message, code) = (shown(&error), code(&error));
            eprintln!("error: {message}");
            if json {
                let error = serde_json::json!({ "message": message, "exit_code": code });
                // Where the document goes has been closed: there is nobody to tell.
                let _ = screen::write_json(&serde_json::json!({ "error": error }));
            }
            ExitCode::from(code)
        }
    }
}

/// The error on one line; findings, which are printable themselves, one a line.
fn shown(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    match error.downcast_ref::<Error>() {
        Some(Error::Findings { .. }) => text.lines().map(printable).collect::<Vec<_>>().join("\n"),
        _ => printable(&text).into_owned(),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Whose fault it was, as a number.
fn code(error: &anyhow::Error) -> u8 {
    if error.is::<io::Error>() {
        return MACHINE;
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Usage(_)) => USAGE,
        Some(Error::Input { .. } | Error::Findings { .. }) => BAD_INPUT,
        Some(Error::Io { .. }) => MACHINE,
        Some(Error::Format(error)) => match error {
            formats::Error::Io { .. } => MACHINE,
            formats::Error::Malformed { .. } | formats::Error::Unsupported { .. } => BAD_INPUT,
            _ => BUG,
        },
        _ => BUG,
    }
}

/// Makes a panic say that it is our bug, in one line.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or("an unknown place".into(), ToString::to_string);
        let payload = panic.payload();
        let why = payload
            .downcast_ref::<&str>()
            .map(|s| s.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        eprintln!("error: bug in twolane, {place}: {why}; please report it");
    }));
}

/// Runs `work`; a panic, which has been reported, becomes its exit code.
pub(crate) fn catch_panic(
    work: impl FnOnce() -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Ok(ExitCode::from(BUG)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_exit_code() {
        let io = || io::Error::other("x");
        let malformed = formats::Error::Malformed {
            format: "safetensors",
            place: "x".into(),
            found: "x".into(),
            remedy: "x",
        };
        let unsupported =
            formats::Error::Unsupported { place: "x".into(), found: "x".into(), can: "x".into() };
        #[rustfmt::skip]
        let cases: Vec<(Error, u8)> = vec![
            (Error::Usage("x".into()), 2),
            (Error::input("x", "x", "x"), 3),
            (malformed.into(), 3),
            (unsupported.into(), 3),
            (Error::io("read", "x", io()), 4),
            (formats::Error::Io { what: "x".into(), source: io() }.into(), 4),
            (Error::bug("x", "x"), 70),
            (formats::Error::Bug { place: "x".into(), why: "x".into() }.into(), 70),
        ];
        for (error, want) in cases {
            let words = error.to_string();
            assert_eq!(code(&error.into()), want, "{words}");
        }
        assert_eq!(code(&io().into()), 4);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert!(is_closed_pipe(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
        assert!(!is_closed_pipe(&io::Error::other("x").into()));
    }
}
