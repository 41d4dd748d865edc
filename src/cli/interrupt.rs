//! Ctrl-C and `kill`: what is half-built goes with the process.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use twolane::pipeline::output;

/// From now on, a signal to end removes what this process has built for `folder`, and ends it with
/// the exit code that shells give to such an end.
///
/// A hang-up is left as it is, for `nohup` to ignore. Another call changes nothing: a process writes one
/// folder.
pub(super) fn abandon_on_signal(folder: &Path) -> io::Result<()> {
    static LISTENS: AtomicBool = AtomicBool::new(false);
    if LISTENS.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        // Held to the end: threads that lose their files must not print an error of their own.
        let mut screen = io::stderr().lock();
        output::abandon(&folder);
        // If standard error is closed, nobody waits for the word.
        let _ = writeln!(screen, "\ninterrupted");
        std::process::exit(128 + signal);
    });
    Ok(())
}
