//! What people read and give: standard output, its width, the progress bar on standard error, and files
//! of text.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use twolane::pipeline::Progress;
use twolane::{Error, Result};

/// Writes to standard output.
pub(crate) fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes a value as indented JSON to standard output, with a line feed at its end.
pub(crate) fn write_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(write(&text)?)
}

/// The largest file of text: none that a model is tried on is near it.
const MOST_TEXT_BYTES: u64 = 1 << 30;

/// Reads a file of text.
///
/// # Errors
/// [`Error::Input`] for none, one that is too large, and what is not UTF-8; [`Error::Io`].
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let place = path.display().to_string();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_TEXT_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::input(&place, "there is no such file", "check the path")
            }
            io::ErrorKind::InvalidData => {
                Error::input(&place, "it is not UTF-8", "give a file of plain text")
            }
            _ => Error::io("read", &place, error),
        })?;
    if text.len() as u64 > MOST_TEXT_BYTES {
        let found = format!("it is larger than {MOST_TEXT_BYTES} bytes");
        return Err(Error::input(&place, found, "give a part of it"));
    }
    Ok(text)
}

/// The columns of the terminal that standard output is; `None` for a file or a pipe.
pub(crate) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// Says on a terminal what long work comes now; silent elsewhere.
pub(crate) fn tell(what: &str, quiet: bool) {
    if !quiet && io::stderr().is_terminal() {
        eprintln!("{what}");
    }
}

/// Progress with the time left, on a terminal; silent elsewhere.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar of bytes that shows from [`Progress::start`] on, unless it is to be quiet.
    pub(crate) fn new(quiet: bool) -> Self {
        Self::of("{bytes} of {total_bytes}  {bytes_per_sec}", quiet)
    }

    /// The same of anything else: tokens, texts, rows.
    pub(crate) fn counting(quiet: bool) -> Self {
        Self::of("{human_pos} of {human_len}  {per_sec}", quiet)
    }

    fn of(figures: &str, quiet: bool) -> Self {
        let hidden = quiet || !io::stderr().is_terminal();
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = format!("{{wide_bar}} {{percent:>3}} %  {figures}  {{eta}} left");
        // The template is a constant; should it be malformed, indicatif's own is as good.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        Self(bar)
    }
}

impl Progress for Bar {
    fn start(&self, total_bytes: u64) {
        self.0.set_length(total_bytes);
        self.0.reset();
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    /// An error leaves no half a bar behind.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
